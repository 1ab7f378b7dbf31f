/* The command line: vault's grammar, and what is said about mistakes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "cli/args.h"

static char why[512];

static int parse(struct args *a, char **argv)
{
    int argc = 0;

    while (argv[argc])
        argc++;
    return args_parse(argc, argv, a, why, sizeof(why));
}

#define PARSE(a, ...) parse(a, (char *[]){(char[]){"countersign"}, __VA_ARGS__, NULL})
#define W(s) ((char[]){s})

/* Goal: words of a command, its flags with one and two dashes, values behind '=' or a blank. */
static void flags_in_every_form(void **state)
{
    struct args a;

    (void)state;
    assert_int_equal(PARSE(&a, W("--format"), W("json"), W("kv"), W("get"), W("-mount=secret"),
                           W("app"), W("--version"), W("3"), W("-no-color")),
                     0);
    assert_string_equal(a.command->name, "kv get");
    assert_int_equal(a.n_pos, 1);
    assert_string_equal(args_pos(&a, 0), "app");
    assert_null(args_pos(&a, 1));
    assert_string_equal(args_str(&a, "format"), "json");
    assert_string_equal(args_str(&a, "mount"), "secret");
    assert_int_equal(args_int(&a, "version", 0), 3);
    assert_true(args_bool(&a, "no-color"));
    assert_false(args_has(&a, "field"));
    assert_int_equal(args_check_count(&a, why, sizeof(why)), 0);
}

/* Goal: the longest command wins, and arguments that look like words of commands stay arguments. */
static void longest_command_wins(void **state)
{
    struct args a;

    (void)state;
    assert_int_equal(PARSE(&a, W("kv"), W("metadata"), W("get"), W("get")), 0);
    assert_string_equal(a.command->name, "kv metadata get");
    assert_string_equal(args_pos(&a, 0), "get");
    assert_int_equal(PARSE(&a, W("list"), W("kv")), 0);
    assert_string_equal(a.command->name, "list");
    assert_string_equal(args_pos(&a, 0), "kv");
    assert_int_equal(PARSE(&a, W("kv")), 0);
    assert_null(a.command);
    assert_string_equal(a.words, "kv");
    assert_int_equal(PARSE(&a, W("kv get"), W("x")), 0);
    assert_null(a.command);
}

/* Goal: "-" is an argument and "--" ends the flags. */
static void dashes_that_are_no_flags(void **state)
{
    struct args a;

    (void)state;
    assert_int_equal(PARSE(&a, W("write"), W("secret/x"), W("-"), W("--"), W("-field=x")), 0);
    assert_int_equal(a.n_pos, 3);
    assert_string_equal(args_pos(&a, 1), "-");
    assert_string_equal(args_pos(&a, 2), "-field=x");
    assert_false(args_has(&a, "field"));
}

/* Goal: a boolean takes a value behind '=' only, and lists collect and split. */
static void booleans_and_lists(void **state)
{
    struct args a;
    json_t *list;

    (void)state;
    assert_int_equal(PARSE(&a, W("token"), W("create"), W("-renewable=false"), W("-orphan"),
                           W("-policy=a,b"), W("-policy"), W("c")),
                     0);
    assert_true(args_has(&a, "renewable"));
    assert_false(args_bool(&a, "renewable"));
    assert_true(args_bool(&a, "orphan"));
    list = args_list(&a, "policy");
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(json_string_value(json_array_get(list, 1)), "b");
    assert_string_equal(json_string_value(json_array_get(list, 2)), "c");
    json_decref(list);
    list = args_list(&a, "metadata");
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

/* Goal: mistakes are refused and named: unknown flags, missing and malformed values, counts. */
static void mistakes_are_named(void **state)
{
    struct args a;

    (void)state;
    assert_int_equal(PARSE(&a, W("read"), W("-nonsense"), W("x")), -EINVAL);
    assert_non_null(strstr(why, "no flag -nonsense"));
    assert_int_equal(PARSE(&a, W("-mount=secret"), W("kv"), W("get")), -EINVAL);
    assert_non_null(strstr(why, "behind the command"));
    assert_int_equal(PARSE(&a, W("read"), W("x"), W("-field")), -EINVAL);
    assert_non_null(strstr(why, "-field needs a value"));
    assert_int_equal(PARSE(&a, W("kv"), W("get"), W("-version=two"), W("x")), -EINVAL);
    assert_non_null(strstr(why, "whole number"));
    assert_int_equal(PARSE(&a, W("read"), W("-json=maybe"), W("x")), -EINVAL);
    assert_int_equal(PARSE(&a, W("read")), 0);
    assert_int_equal(args_check_count(&a, why, sizeof(why)), -EINVAL);
    assert_int_equal(PARSE(&a, W("read"), W("x"), W("y")), 0);
    assert_int_equal(args_check_count(&a, why, sizeof(why)), -EINVAL);
    assert_non_null(strstr(why, "\"y\""));
}

/* Goal: very long words and very many of them neither overflow nor are taken for commands. */
static void long_lines(void **state)
{
    static char word[5000], flag[5000];
    char *many[ARGS_MAX + 2];
    struct args a;

    (void)state;
    memset(word, 'a', sizeof(word) - 1);
    memset(flag, 'a', sizeof(flag) - 1);
    flag[0] = '-';
    assert_int_equal(PARSE(&a, W("read"), word), 0);
    assert_int_equal(strlen(args_pos(&a, 0)), sizeof(word) - 1);
    assert_int_equal(PARSE(&a, word), 0);
    assert_null(a.command);
    assert_int_equal(PARSE(&a, W("read"), flag), -EINVAL);
    for (size_t i = 0; i < ARGS_MAX + 1; i++)
        many[i] = W("write");
    many[ARGS_MAX + 1] = NULL;
    assert_int_equal(parse(&a, many), -EINVAL);
}

/* Goal: every row of every table is complete, unique, and found by its own name. */
static void tables_are_sound(void **state)
{
    static const char *const some[] = {"read",          "kv metadata put", "operator init",
                                       "pam enable",    "lease revoke",    "audit verify",
                                       "factor enroll", "status"};
    char text[64 * 1024], *line, *save = NULL;
    FILE *f = tmpfile();
    size_t n, rows = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(some); i++)
        assert_non_null(command_find(some[i]));
    assert_non_null(f);
    command_completion(f);
    rewind(f);
    n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    fclose(f);
    for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const struct command *c;

        line[strcspn(line, "\t")] = '\0';
        if (!line[0])
            continue;
        c = command_find(line);
        assert_non_null(c);
        assert_true(c->run && c->purpose && c->purpose[0] && c->args);
        assert_true(c->max_args < 0 || c->min_args <= c->max_args);
        for (const struct flag *f2 = c->flags; f2 && f2->name; f2++) {
            assert_null(command_flag(command_globals, f2->name));
            assert_true((f2->kind == FLAG_BOOL) == (f2->value == NULL));
        }
        rows++;
    }
    assert_true(rows > 50);
}

/* Goal: the nearest command is suggested, by a word further on too, and none where nothing is near.
 */
static void suggestions(void **state)
{
    char near[128];

    (void)state;
    command_suggest("", "raed", near, sizeof(near));
    assert_string_equal(near, "read");
    command_suggest("", "statis", near, sizeof(near));
    assert_string_equal(near, "status");
    command_suggest("lease", "revok", near, sizeof(near));
    assert_string_equal(near, "lease revoke");
    command_suggest("", "break-glass", near, sizeof(near));
    assert_string_equal(near, "operator break-glass");
    command_suggest("", "offboard", near, sizeof(near));
    assert_string_equal(near, "person offboard");
    command_suggest("", "xylophone", near, sizeof(near));
    assert_string_equal(near, "");
    command_suggest("", "", near, sizeof(near));
    assert_string_equal(near, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_in_every_form),      cmocka_unit_test(longest_command_wins),
        cmocka_unit_test(dashes_that_are_no_flags), cmocka_unit_test(booleans_and_lists),
        cmocka_unit_test(mistakes_are_named),       cmocka_unit_test(long_lines),
        cmocka_unit_test(tables_are_sound),         cmocka_unit_test(suggestions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
