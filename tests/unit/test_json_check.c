#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

static json_t *parsed(const char *text)
{
    char why[200];
    json_t *v;

    if (json_parse(text, strlen(text), &v, why, sizeof(why)) != 0)
        fail_msg("refused: %s", why);
    return v;
}

static void assert_dumps(const json_t *v, const char *want)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);

    json_put(&b, v);
    assert_int_equal(buf_error(&b), 0);
    assert_string_equal(buf_str(&b), want);
}

/* --- Checking -----------------------------------------------------------------------------------
 */

static const struct json_field schema[] = {
    {.name = "name", .kind = JSON_KIND_STRING, .required = true, .min = 1, .max = 8},
    {.name = "count", .kind = JSON_KIND_INT, .min = -5, .max = 10},
    {.name = "any_int", .kind = JSON_KIND_INT},
    {.name = "on", .kind = JSON_KIND_BOOL},
    {.name = "ttl", .kind = JSON_KIND_DURATION},
    {.name = "short_ttl", .kind = JSON_KIND_DURATION, .min = 5, .max = 60},
    {.name = "list", .kind = JSON_KIND_STRINGS, .max = 3},
    {.name = "sql", .kind = JSON_KIND_STATEMENTS, .max = 2},
    {.name = "object", .kind = JSON_KIND_OBJECT},
    {.name = "any", .kind = JSON_KIND_ANY},
    {.name = NULL},
};

/* Everything Vault's clients send for one field comes out in one form. */
static void test_check_normalises(_unused_ void **state)
{
    static const char *const rows[][2] = {
        {"\"count\":\"-5\"", "\"count\":-5"},
        {"\"count\":10", "\"count\":10"},
        {"\"any_int\":\"9223372036854775807\"", "\"any_int\":9223372036854775807"},
        {"\"any_int\":\"-9223372036854775808\"", "\"any_int\":-9223372036854775808"},
        {"\"on\":\"true\"", "\"on\":true"},
        {"\"on\":\"false\"", "\"on\":false"},
        {"\"on\":false", "\"on\":false"},
        {"\"on\":null", "\"on\":null"},
        {"\"ttl\":\"1h30m\"", "\"ttl\":5400"},
        {"\"ttl\":\"90\"", "\"ttl\":90"},
        {"\"ttl\":0", "\"ttl\":0"},
        {"\"short_ttl\":\"1m\"", "\"short_ttl\":60"},
        {"\"list\":\" a, b c ,,d, \"", "\"list\":[\"a\",\"b c\",\"d\"]"},
        {"\"list\":\"\"", "\"list\":[]"},
        {"\"list\":\" , \"", "\"list\":[]"},
        {"\"list\":[\"a,b\"]", "\"list\":[\"a,b\"]"},
        {"\"sql\":\"A; B, C\"", "\"sql\":[\"A; B, C\"]"},
        {"\"sql\":\"\"", "\"sql\":[]"},
        {"\"sql\":[\"A\",\"B\"]", "\"sql\":[\"A\",\"B\"]"},
        {"\"object\":{\"x\":1}", "\"object\":{\"x\":1}"},
        {"\"any\":[1,null]", "\"any\":[1,null]"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char in[200], want[200], why[200];
        _cleanup_json_ json_t *v = NULL;

        snprintf(in, sizeof(in), "{\"name\":\"x\",%s}", rows[i][0]);
        snprintf(want, sizeof(want), "{\"name\":\"x\",%s}", rows[i][1]);
        v = parsed(in);
        assert_int_equal(json_check(v, schema, true, why, sizeof(why)), 0);
        assert_string_equal(why, "");
        assert_dumps(v, want);
    }
}

/* Wrong kinds, wrong sizes and wrong numbers are refused, and the reason names the field. */
static void test_check_refuses(_unused_ void **state)
{
    static const char *const rows[] = {
        "count:11",
        "count:-6",
        "count:1.0",
        "count:true",
        "count:\"\"",
        "count:\"1x\"",
        "count:\" 1\"",
        "count:\"+1\"",
        "count:\"0x1\"",
        "count:\"-\"",
        "count:[1]",
        "any_int:\"9223372036854775808\"",
        "any_int:\"-9223372036854775809\"",
        "on:1",
        "on:\"yes\"",
        "on:\"TRUE\"",
        "on:\"\"",
        "ttl:-1",
        "ttl:\"-1\"",
        "ttl:\"1h30\"",
        "ttl:\"\"",
        "ttl:1.5",
        "ttl:316224001",
        "ttl:\"3661d\"",
        "ttl:9223372036854775807",
        "ttl:\"99999999999999999999999\"",
        "short_ttl:61",
        "short_ttl:4",
        "list:\"a,b,c,d\"",
        "list:[\"a\",\"b\",\"c\",\"d\"]",
        "list:[\"a\",1]",
        "list:[[\"a\"]]",
        "list:1",
        "list:{}",
        "sql:[\"a\",\"b\",\"c\"]",
        "sql:[null]",
        "sql:1",
        "object:[]",
        "object:\"x\"",
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t name = strcspn(rows[i], ":");
        char in[200], quoted[40], why[200];
        _cleanup_json_ json_t *v = NULL;

        snprintf(in, sizeof(in), "{\"name\":\"x\",\"%.*s\"%s}", (int)name, rows[i], rows[i] + name);
        snprintf(quoted, sizeof(quoted), "'%.*s'", (int)name, rows[i]);
        v = parsed(in);
        if (json_check(v, schema, true, why, sizeof(why)) != -EINVAL)
            fail_msg("accepted: %s", rows[i]);
        assert_non_null(strstr(why, quoted));
    }
}

/* A required field must be there, be no null, and keep its length; a NULL object has no fields. */
static void test_check_required(_unused_ void **state)
{
    static const struct json_field nothing[] = {{.name = NULL}};
    static const char *const bad[] = {"{}",
                                      "{\"name\":null}",
                                      "{\"name\":\"\"}",
                                      "{\"name\":1}",
                                      "{\"name\":\"123456789\"}",
                                      "[]",
                                      "\"name\"",
                                      "null"};
    char why[100];

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        _cleanup_json_ json_t *v = parsed(bad[i]);

        assert_int_equal(json_check(v, schema, false, why, sizeof(why)), -EINVAL);
        assert_string_not_equal(why, "");
    }
    assert_int_equal(json_check(NULL, schema, true, why, sizeof(why)), -EINVAL);
    assert_int_equal(json_check(NULL, nothing, true, why, sizeof(why)), 0);
}

/* Unknown fields are refused when strict, and can't write to the terminal. */
static void test_check_unknown(_unused_ void **state)
{
    _cleanup_json_ json_t *v = parsed("{\"name\":\"x\",\"\\u001b[2Jmore\":1}");
    char why[100];

    assert_int_equal(json_check(v, schema, false, why, sizeof(why)), 0);
    assert_int_equal(json_check(v, schema, true, why, sizeof(why)), -EINVAL);
    assert_string_equal(why, "unknown field '?[2Jmore'");
}

/* Without limits of their own, strings and lists keep to those of the house. */
static void test_check_default_limits(_unused_ void **state)
{
    static const struct json_field fields[] = {
        {.name = "s", .kind = JSON_KIND_STRING},
        {.name = "l", .kind = JSON_KIND_STRINGS},
        {.name = NULL},
    };
    static char text[4098], commas[2 * 1025 + 1];
    char why[100];

    memset(text, 'x', 4097);
    for (size_t i = 0; i < 1025; i++)
        memcpy(commas + 2 * i, "x,", 2);
    for (int over = 0; over <= 1; over++) {
        _cleanup_json_ json_t *s = json_pack("{s:s%}", "s", text, (size_t)(4096 + over));
        _cleanup_json_ json_t *l = json_pack("{s:s%}", "l", commas, (size_t)(2 * (1024 + over)));
        _cleanup_json_ json_t *item = json_pack("{s:[s%]}", "l", text, (size_t)(4096 + over));

        assert_true(s && l && item);
        assert_int_equal(json_check(s, fields, true, why, sizeof(why)), over ? -EINVAL : 0);
        assert_int_equal(json_check(l, fields, true, why, sizeof(why)), over ? -EINVAL : 0);
        assert_int_equal(json_check(item, fields, true, why, sizeof(why)), over ? -EINVAL : 0);
    }
}

/* --- Members ------------------------------------------------------------------------------------
 */

/* Reading gives the value, or the default where it is absent, null or of another kind. */
static void test_get(_unused_ void **state)
{
    _cleanup_json_ json_t *v =
        parsed("{\"s\":\"x\",\"i\":7,\"b\":true,\"n\":null,\"a\":[\"p\",1,\"q\"]}");

    assert_string_equal(json_str(v, "s"), "x");
    assert_null(json_str(v, "i"));
    assert_null(json_str(v, "n"));
    assert_null(json_str(NULL, "s"));
    assert_string_equal(json_str_or(v, "n", "d"), "d");
    assert_string_equal(json_str_or(v, "s", "d"), "x");
    assert_true(json_int(v, "i", 1) == 7);
    assert_true(json_int(v, "s", 1) == 1);
    assert_true(json_int(NULL, "i", -1) == -1);
    assert_true(json_bool(v, "b", false));
    assert_true(json_bool(v, "n", true));
    assert_false(json_bool(v, "i", false));
    assert_true(json_has_str(json_object_get(v, "a"), "q"));
    assert_false(json_has_str(json_object_get(v, "a"), "1"));
    assert_false(json_has_str(NULL, "q"));
    assert_false(json_has_str(v, "s"));
}

/* Setting writes what was said, and refuses what can't be written. */
static void test_set(_unused_ void **state)
{
    _cleanup_json_ json_t *v = json_object();

    assert_int_equal(json_set_str(v, "s", "x\"\n"), 0);
    assert_int_equal(json_set_str(v, "n", NULL), 0);
    assert_int_equal(json_set_int(v, "i", INT64_MIN), 0);
    assert_int_equal(json_set_bool(v, "b", true), 0);
    assert_int_equal(json_set_str(v, "bad", "\xff"), -EINVAL);
    assert_int_equal(json_set_str(NULL, "s", "x"), -ENOMEM);
    assert_int_equal(json_set_int(NULL, "s", 1), -ENOMEM);
    assert_dumps(v, "{\"s\":\"x\\\"\\n\",\"n\":null,\"i\":-9223372036854775808,\"b\":true}");
}

/* Writing beyond the buffer's limit and writing nothing are errors that stick. */
static void test_put_errors(_unused_ void **state)
{
    _cleanup_json_ json_t *v = parsed("[1,2,3,4,5]");
    _cleanup_buf_ struct buf b = BUF_INIT(5);

    json_put(&b, v);
    assert_int_equal(buf_error(&b), -EMSGSIZE);
    buf_reset(&b);
    json_put(&b, NULL);
    assert_int_equal(buf_error(&b), -EINVAL);
    json_put(&b, v);
    assert_int_equal(buf_error(&b), -EINVAL);
}

static int init(_unused_ void **state)
{
    json_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_normalises),
        cmocka_unit_test(test_check_refuses),
        cmocka_unit_test(test_check_required),
        cmocka_unit_test(test_check_unknown),
        cmocka_unit_test(test_check_default_limits),
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_put_errors),
    };

    return cmocka_run_group_tests(tests, init, NULL);
}
