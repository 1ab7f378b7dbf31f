/* What is printed: tables that line up, JSON whose tokens are untouched, nothing a terminal obeys.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/table.h"

static FILE *caught;
static int real_stdout;
static char text[64 * 1024];

static void catch_stdout(void)
{
    fflush(stdout);
    real_stdout = dup(STDOUT_FILENO);
    caught = tmpfile();
    assert_non_null(caught);
    dup2(fileno(caught), STDOUT_FILENO);
}

static const char *caught_text(void)
{
    size_t n;

    fflush(stdout);
    dup2(real_stdout, STDOUT_FILENO);
    close(real_stdout);
    rewind(caught);
    n = fread(text, 1, sizeof(text) - 1, caught);
    text[n] = '\0';
    fclose(caught);
    return text;
}

static const struct output plain = {.utf8 = true};

#define ROW(...) ((const char *const[]){__VA_ARGS__})

/* Goal: Key and Value line up as vault's, without blanks at line ends. */
static void pairs(void **state)
{
    struct table *t = table_new(ROW("Key", "Value"), 2);

    (void)state;
    table_add(t, ROW("lease_id", "database/creds/x/1"));
    table_add(t, ROW("a", ""));
    catch_stdout();
    assert_int_equal(table_print(t, &plain), 0);
    assert_string_equal(caught_text(), "Key         Value\n"
                                       "---         -----\n"
                                       "lease_id    database/creds/x/1\n"
                                       "a\n");
    table_free(t);
}

/* Goal: columns line up with characters of several bytes, wide ones, and cells of several lines. */
static void wide_and_tall(void **state)
{
    struct table *t = table_new(ROW("A", "B", "C"), 3);

    (void)state;
    table_add(t, ROW("é", "one\ntwo", "x"));
    table_add(t, ROW("plain", "b", "y"));
    catch_stdout();
    assert_int_equal(table_print(t, &plain), 0);
    assert_string_equal(caught_text(), "A      B    C\n"
                                       "-      -    -\n"
                                       "é      one  x\n"
                                       "       two\n"
                                       "plain  b    y\n");
    table_free(t);
}

/* Goal: a terminal too narrow gets the rows one below the other. */
static void narrow(void **state)
{
    const struct output small = {.utf8 = true, .terminal = true, .width = 20};
    struct table *t = table_new(ROW("Lease", "State", "Until"), 3);

    (void)state;
    table_add(t, ROW("database/creds/x", "active", ""));
    catch_stdout();
    assert_int_equal(table_print(t, &small), 0);
    assert_string_equal(caught_text(), "database/creds/x\n    State        active\n");
    table_free(t);
}

/* Goal: what a terminal would obey is not printed. */
static void harmless(void **state)
{
    struct table *t = table_new(ROW("Key", "Value"), 2);

    (void)state;
    table_add(t, ROW("k", "a\033[2Jb\x7f\xc2\x9b"
                          "c\xe2\x80\xae\xff\td"));
    catch_stdout();
    assert_int_equal(table_print(t, &plain), 0);
    caught_text();
    assert_null(strchr(text, '\033'));
    assert_null(strchr(text, '\x7f'));
    assert_null(strstr(text, "\xc2\x9b"));
    assert_null(strstr(text, "\xe2\x80\xae"));
    assert_null(strchr(text, '\xff'));
    assert_non_null(strstr(text, "a?[2Jb"));
    table_free(t);
}

/* Goal: values of every kind read well; reals as they were written. */
static void values(void **state)
{
    static const struct {
        const char *json, *shown;
    } rows[] = {
        {"\"s\"", "s"},
        {"12", "12"},
        {"1.1", "1.1"},
        {"0.1", "0.1"},
        {"true", "true"},
        {"null", "n/a"},
        {"[\"a\", 1]", "[a 1]"},
        {"[]", "[]"},
        {"{\"a\": [1]}", "{\"a\":[1]}"},
        {"[{\"a\": 1}]", "[{\"a\":1}]"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        json_t *v = json_loads(rows[i].json, JSON_DECODE_ANY, NULL);

        output_value(&b, v);
        assert_string_equal(buf_str(&b), rows[i].shown);
        json_decref(v);
    }
}

/* Goal: JSON is indented but its tokens stay as they were; controls are escaped, and it reads back.
 */
static void json_text(void **state)
{
    static const char in[] =
        "{\"a\":1.10,\"b\":[],\"c\":{ },\"d\":[1,{\"e\":\"x\\\"y, {\xc2\x9b\xe2\x80\xae\x7f\"}]}";
    json_t *before, *after;

    (void)state;
    catch_stdout();
    output_json_text(in, sizeof(in) - 1);
    assert_string_equal(caught_text(),
                        "{\n  \"a\": 1.10,\n  \"b\": [],\n  \"c\": {},\n  \"d\": [\n    1,\n"
                        "    {\n      \"e\": \"x\\\"y, {\\u009b\\u202e\\u007f\"\n    }\n  ]\n}\n");
    before = json_loads(in, 0, NULL);
    after = json_loads(text, 0, NULL);
    assert_non_null(before);
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
}

/* Goal: times in the past and to come, as stamps and as seconds. */
static void times(void **state)
{
    json_t *ago = json_integer(clock_wall_s() - 125), *bad = json_string("yesterday");
    char stamp[CLOCK_STAMP_LEN], out[64];
    json_t *soon;

    (void)state;
    clock_stamp((clock_wall_s() + 3 * 3600 + 30) * 1000, 0, stamp);
    soon = json_string(stamp);
    output_when(ago, out, sizeof(out));
    assert_string_equal(out, "2m5s ago");
    output_when(soon, out, sizeof(out));
    assert_memory_equal(out, "in 3h", 5);
    output_when(bad, out, sizeof(out));
    assert_string_equal(out, "");
    output_when(NULL, out, sizeof(out));
    assert_string_equal(out, "");
    json_decref(ago);
    json_decref(bad);
    json_decref(soon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs),    cmocka_unit_test(wide_and_tall), cmocka_unit_test(narrow),
        cmocka_unit_test(harmless), cmocka_unit_test(values),        cmocka_unit_test(json_text),
        cmocka_unit_test(times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
