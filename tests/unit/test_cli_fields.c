/* KEY=VALUE and its other forms. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/fields.h"

static char folder[64];
static char why[512];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/cli-fields-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static void put_file(const char *name, const void *text, size_t n)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

static int parse(json_t **out, size_t n, const char *const *words)
{
    bool used = false;
    int r;

    *out = json_object();
    r = fields_parse(words, n, &used, *out, why, sizeof(why));
    if (r < 0) {
        json_decref(*out);
        *out = NULL;
    }
    return r;
}

#define PARSE(out, ...)                                                                            \
    parse(out, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *),                             \
          (const char *[]){__VA_ARGS__})

static const char *str(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

/* Goal: values are strings, empty ones too; only the first '=' separates; \@ is an @. */
static void plain_values(void **state)
{
    json_t *o;

    (void)state;
    assert_int_equal(PARSE(&o, "a=1", "b=", "c=x=y", "d=\\@home", "e=-1", "f=true"), 0);
    assert_string_equal(str(o, "a"), "1");
    assert_string_equal(str(o, "b"), "");
    assert_string_equal(str(o, "c"), "x=y");
    assert_string_equal(str(o, "d"), "@home");
    assert_string_equal(str(o, "e"), "-1");
    assert_string_equal(str(o, "f"), "true");
    json_decref(o);
}

/* Goal: a key that comes again makes a list, in order. */
static void repeated_keys(void **state)
{
    json_t *o, *list;

    (void)state;
    assert_int_equal(PARSE(&o, "k=1", "k=2", "k=3"), 0);
    list = json_object_get(o, "k");
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(json_string_value(json_array_get(list, 2)), "3");
    json_decref(o);
}

/* Goal: @FILE gives its exact bytes as a value, and an object when it stands alone. */
static void files(void **state)
{
    char value[128], object[128];
    json_t *o;

    (void)state;
    put_file("value", "line\n", 5);
    put_file("object", "{\"x\": {\"y\": [1, 2]}, \"z\": true}", 31);
    snprintf(value, sizeof(value), "v=@%s/value", folder);
    snprintf(object, sizeof(object), "@%s/object", folder);
    assert_int_equal(PARSE(&o, value, object), 0);
    assert_string_equal(str(o, "v"), "line\n");
    assert_true(json_is_true(json_object_get(o, "z")));
    assert_int_equal(json_array_size(json_object_get(json_object_get(o, "x"), "y")), 2);
    json_decref(o);
}

/* Goal: standard input is read for "-", once. */
static void standard_input(void **state)
{
    int fds[2], before = dup(STDIN_FILENO);
    json_t *o;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "hunter2", 7), 7);
    close(fds[1]);
    dup2(fds[0], STDIN_FILENO);
    close(fds[0]);
    assert_int_equal(PARSE(&o, "password=-"), 0);
    assert_string_equal(str(o, "password"), "hunter2");
    json_decref(o);
    assert_true(PARSE(&o, "a=-", "b=-") < 0);
    assert_non_null(strstr(why, "only once"));
    dup2(before, STDIN_FILENO);
    close(before);
}

/* Goal: what cannot be a field is refused with its reason. */
static void refused(void **state)
{
    char array[128], binary[128], big[128];
    static char zeros[FIELDS_FILE_MAX + 1];
    json_t *o;

    (void)state;
    assert_true(PARSE(&o, "novalue") < 0);
    assert_true(PARSE(&o, "=x") < 0);
    assert_true(PARSE(&o, "k=@/nonexistent/file") < 0);
    assert_non_null(strstr(why, "No such file"));
    put_file("array", "[1]", 3);
    put_file("binary", "\xff\xfe", 2);
    memset(zeros, 'x', sizeof(zeros));
    put_file("big", zeros, sizeof(zeros));
    snprintf(array, sizeof(array), "@%s/array", folder);
    snprintf(binary, sizeof(binary), "k=@%s/binary", folder);
    snprintf(big, sizeof(big), "k=@%s/big", folder);
    assert_true(PARSE(&o, array) < 0);
    assert_non_null(strstr(why, "no JSON object"));
    assert_true(PARSE(&o, binary) < 0);
    assert_true(PARSE(&o, big) < 0);
    assert_non_null(strstr(why, "larger than"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_values),   cmocka_unit_test(repeated_keys), cmocka_unit_test(files),
        cmocka_unit_test(standard_input), cmocka_unit_test(refused),
    };

    json_init();
    return cmocka_run_group_tests(tests, setup, teardown);
}
