#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

/* The parsed text, which must be good. */
static json_t *parsed_n(const char *text, size_t n)
{
    char why[200];
    json_t *v;
    int r = json_parse(text, n, &v, why, sizeof(why));

    if (r != 0)
        fail_msg("refused: %s", why);
    assert_string_equal(why, "");
    return v;
}

static json_t *parsed(const char *text)
{
    return parsed_n(text, strlen(text));
}

/* The reason why the text was refused, as it must be. Valid until the next call. */
static const char *refused_n(const char *text, size_t n)
{
    static char why[200];
    json_t *v = json_true();

    why[0] = '\0';
    if (json_parse(text, n, &v, why, sizeof(why)) != -EBADMSG)
        fail_msg("accepted: %.60s", text);
    assert_null(v);
    assert_string_not_equal(why, "");
    return why;
}

static const char *refused(const char *text)
{
    return refused_n(text, strlen(text));
}

static void assert_dumps(const json_t *v, const char *want)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);

    json_put(&b, v);
    assert_int_equal(buf_error(&b), 0);
    assert_string_equal(buf_str(&b), want);
}

/* --- Parsing ------------------------------------------------------------------------------------
 */

/* Values of every kind are read, alone and inside others, with keys in their order. */
static void test_accepts(_unused_ void **state)
{
    static const char *const rows[][2] = {
        {"null", "null"},
        {" true ", "true"},
        {"\t\r\nfalse\n", "false"},
        {"\"\"", "\"\""},
        {"0", "0"},
        {"-0", "0"},
        {"-12", "-12"},
        {"1.5e2", "150.0"},
        {"1E-2", "0.01"},
        {"[]", "[]"},
        {"[ ]", "[]"},
        {"{}", "{}"},
        {"{ \"b\" : 1 , \"a\" : [ true , null ] }", "{\"b\":1,\"a\":[true,null]}"},
        {"{\"\":{\"\":{}}}", "{\"\":{\"\":{}}}"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
        {"\"\\u0041\\u00e4\\u20AC\\uD83d\\ude00\"", "\"A\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\"\\uffff\\udbff\\udfff\"", "\"\xef\xbf\xbf\xf4\x8f\xbf\xbf\""},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *v = parsed(rows[i][0]);

        assert_dumps(v, rows[i][1]);
    }
}

/* Malformed text of every kind is refused, and so is every beginning of a good one. */
static void test_refuses(_unused_ void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "nul",
        "nulll",
        "True",
        "truefalse",
        "1 2",
        "[1]]",
        "{}{}",
        "[] x",
        "{} //",
        "/**/1",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "{1:1}",
        "{,}",
        "]",
        "}",
        "[}",
        "{]",
        ":",
        "\"",
        "\"abc",
        "\"\\",
        "\"\\\"",
        "\"\\x41\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\u 123\"",
        "\"\\U0041\"",
        "\"a\nb\"",
        "\"a\tb\"",
        "\"\x1f\"",
        "'a'",
        "-",
        "+1",
        "01",
        "-01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "1.e3",
        "0x10",
        "1_000",
        "NaN",
        "Infinity",
        "-Infinity",
        "1a",
        "--1",
        "\xef\xbb\xbf{}",
    };
    static const char good[] = "{\"a\":[1,-2.5e3,\"x\\u00e4\\n\"],\"b\":{\"c\":null}}";

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        refused(bad[i]);
    for (size_t n = 0; n < strlen(good); n++) {
        _cleanup_(freep) char *exact = malloc(n + 1); /* so that reading on would be seen */

        assert_non_null(exact);
        memcpy(exact, good, n);
        refused_n(exact, n);
    }
    json_decref(parsed(good));
}

/* The same key twice is refused, also when it is written in two ways. */
static void test_duplicate_keys(_unused_ void **state)
{
    static const char *const bad[] = {
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"b\":2,\"\\u0061\":3}",
        "[{\"x\":{\"\":1,\"\":2}}]",
        "{\"\xc3\xa4\":1,\"\\u00e4\":1}",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_non_null(strstr(refused(bad[i]), "same key"));
    json_decref(parsed("{\"a\":{\"a\":1},\"A\":[{\"a\":1},{\"a\":1}]}"));
}

/* A NUL is refused raw, escaped, in keys and behind the value. */
static void test_nul(_unused_ void **state)
{
    refused("\"a\\u0000b\"");
    refused("{\"a\\u0000\":1}");
    refused_n("\"a\0b\"", 5);
    refused_n("1\0", 2);
    refused_n("\0", 1);
    refused_n("{\"a\":1}\0{\"a\":2}", 15);
}

/* Text that is not UTF-8, overlong forms and halves of surrogate pairs are refused. */
static void test_encoding(_unused_ void **state)
{
    static const char *const bad[] = {
        "\"\xff\"",
        "\"\xc0\xaf\"",
        "\"\xe0\x80\xaf\"",
        "\"\xf0\x80\x80\xaf\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xc3\"",
        "{\"\xc3\":1}",
        "1\xff",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800x\"",
        "\"\\ud800\\n\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud800\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\\ud800\\udc0\"",
        "\"\\ud800\\",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        refused(bad[i]);
}

/* Integers are exact up to both ends of 64 bits and refused beyond them. */
static void test_integers(_unused_ void **state)
{
    static const char *const good[] = {"9223372036854775807", "-9223372036854775808",
                                       "9007199254740993"};
    static const char *const bad[] = {
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999999999999999999999",
        "[1,-99999999999999999999]",
    };

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        _cleanup_json_ json_t *v = parsed(good[i]);

        assert_true(json_is_integer(v));
        assert_dumps(v, good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_non_null(strstr(refused(bad[i]), "64 bits"));
}

/* Reals beyond a double are refused, tiny ones become zero, whatever the locale's comma is. */
static void test_reals(_unused_ void **state)
{
    static const char *const locales[] = {"C", "de_DE.UTF-8", "fr_FR.UTF-8"};

    assert_non_null(strstr(refused("1e309"), "too large"));
    assert_non_null(strstr(refused("-1e99999999999999999999"), "too large"));
    for (size_t i = 0; i < ARRAY_LEN(locales); i++) {
        _cleanup_json_ json_t *v = NULL;

        (void)setlocale(LC_ALL, locales[i]); /* where it is not installed, "C" stays */
        v = parsed("[1.7976931348623157e308,1e-400,1.10]");
        assert_true(json_real_value(json_array_get(v, 0)) > 1.79e308);
        assert_true(json_real_value(json_array_get(v, 1)) >= 0 &&
                    json_real_value(json_array_get(v, 1)) < 1e-300);
        assert_true(json_real_value(json_array_get(v, 2)) > 1.09);
        (void)setlocale(LC_ALL, "C");
    }
}

/* Nesting is allowed to JSON_DEPTH_MAX and not one deeper; 100,000 levels only cost a look. */
static void test_depth(_unused_ void **state)
{
    static const char *const open[] = {"[", "{\"a\":", "[{\"a\":"};
    static char text[800001];

    for (size_t levels = JSON_DEPTH_MAX; levels <= JSON_DEPTH_MAX + 1; levels++) {
        memset(text, '[', levels);
        memset(text + levels, ']', levels);
        text[2 * levels] = '\0';
        if (levels == JSON_DEPTH_MAX)
            json_decref(parsed(text));
        else
            assert_non_null(strstr(refused(text), "too deeply"));
    }
    for (size_t i = 0; i < ARRAY_LEN(open); i++) {
        size_t step = strlen(open[i]);

        for (size_t k = 0; k < 100000; k++)
            memcpy(text + k * step, open[i], step);
        text[100000 * step] = '\0';
        assert_non_null(strstr(refused(text), "too deeply"));
    }
}

/* Brackets inside strings are no nesting, and many values side by side are no depth. */
static void test_depth_not_fooled(_unused_ void **state)
{
    static char text[40003];

    text[0] = '"';
    memset(text + 1, '[', 40000);
    text[40001] = '"';
    json_decref(parsed(text));
    text[0] = '[';
    for (size_t i = 0; i < 10000; i++)
        memcpy(text + 1 + 3 * i, i < 9999 ? "[]," : "[] ", 3);
    text[30001] = ']';
    text[30002] = '\0';
    json_decref(parsed(text));
}

/* The reason says where, and does not repeat what stands there. */
static void test_reason(_unused_ void **state)
{
    char why[8];
    json_t *v;

    assert_string_equal(refused("{\"a\": 1,\n \"b\": hunter2}"),
                        "line 2, byte 7: a value is expected");
    assert_null(strstr(refused("{\"password\":\"hunter2\" \"x\"}"), "hunter2"));
    assert_null(strstr(refused("{\"hunter2\":1,\"hunter2\":1}"), "hunter2"));
    assert_int_equal(json_parse("[", 1, &v, why, sizeof(why)), -EBADMSG);
    assert_int_equal(strlen(why), sizeof(why) - 1);
    assert_int_equal(json_parse("[", 1, &v, NULL, 0), -EBADMSG);
}

/* --- Allocation ---------------------------------------------------------------------------------
 */

static long allocations_left;

static void *failing_malloc(size_t n)
{
    return allocations_left-- > 0 ? malloc(n) : NULL;
}

/* When the n-th allocation of jansson's fails, and all after it, the answer is -ENOMEM, for every n
 * until there is enough memory. */
static void test_out_of_memory(_unused_ void **state)
{
    static const char text[] = "{\"a\":[1,2.5,\"x\\n\",[],[],[],[],[],[],[],[]],\"b\":{\"c\":null},"
                               "\"d\":0,\"e\":0,\"f\":0,\"g\":0,\"h\":0,\"i\":0,\"j\":0,\"k\":0}";
    char why[100];
    json_t *v;
    int r = -ENOMEM;
    long n;

    json_set_alloc_funcs(failing_malloc, free);
    for (n = 0; r == -ENOMEM && n < 1000; n++) {
        allocations_left = n;
        r = json_parse(text, strlen(text), &v, why, sizeof(why));
        assert_string_equal(why, "");
    }
    assert_int_equal(r, 0);
    assert_in_range(n, 20, 999);
    allocations_left = 1000;
    json_decref(v);
    json_init();
}

/* --- The bytes of a member ----------------------------------------------------------------------
 */

/* A member's value is found byte for byte, by a key however it is written. */
static void test_raw_member(_unused_ void **state)
{
    static const struct {
        const char *text, *key, *want;
    } rows[] = {
        {"{\"data\":{\"n\":1.10}}", "data", "{\"n\":1.10}"},
        {" {\n\"a\" : [ 1 , 2 ] , \"data\" :\t{ \"b\" : 1e1 } } ", "data", "{ \"b\" : 1e1 }"},
        {"{\"\\u0064ata\":1.0,\"x\":2}", "data", "1.0"},
        {"{\"a\\n\\u00e4\\ud83d\\ude00\":-0}", "a\n\xc3\xa4\xf0\x9f\x98\x80", "-0"},
        {"{\"\":\"\"}", "", "\"\""},
        {"{\"x\":{\"data\":1},\"data\":2}", "data", "2"},
        {"{\"x\":\"\\\"data\\\":1,}]\",\"data\":\"}\\\\\"}", "data", "\"}\\\\\""},
        {"{\"x\":[[\"]\",{\"a\":\"}\"}],[]],\"data\":[{},\"[\"]}", "data", "[{},\"[\"]"},
        {"{\"dat\":1,\"datab\":2,\"data\":null}", "data", "null"},
        {"{\"a\":true,\"b\":false}", "b", "false"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *p;
        size_t n;

        json_decref(parsed(rows[i].text));
        assert_int_equal(json_raw_member(rows[i].text, strlen(rows[i].text), rows[i].key, &p, &n),
                         0);
        assert_int_equal(n, strlen(rows[i].want));
        assert_memory_equal(p, rows[i].want, n);
        assert_in_range(p - rows[i].text, 0, strlen(rows[i].text));
    }
}

/* What is not there is not found: other keys, keys further in, values, other kinds of text. */
static void test_raw_member_absent(_unused_ void **state)
{
    static const char *const rows[] = {
        "{}",
        "{\"x\":{\"data\":1}}",
        "{\"x\":\"data\"}",
        "[\"data\",1]",
        "\"data\"",
        "null",
        "{\"dat\":1,\"datax\":2,\"Data\":3}",
        "{\"x\":\"\\\"data\\\":1\"}",
        /* never accepted, but must not lead it astray */
        "",
        "{",
        "{\"data\"",
        "{\"data\":",
        "{\"data\":}",
        "{\"data\":[",
        "{\"data\":\"x",
        "{\"data\\",
        "{\"x\":]],\"data\":1}",
        "{\"data\" 1}",
        "{data:1}",
        "{,\"data\":1}",
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = strlen(rows[i]), n;
        _cleanup_(freep) char *exact = malloc(len + 1);
        const char *p;

        assert_non_null(exact);
        memcpy(exact, rows[i], len);
        assert_int_equal(json_raw_member(exact, len, "data", &p, &n), -ENOENT);
    }
}

/* --- Memory --------------------------------------------------------------------------------- */

/* The allocator that json_init() puts in: aligned, and safe against sizes that wrap. */
static void test_allocator(_unused_ void **state)
{
    json_malloc_t get;
    json_free_t put;
    void *p;

    json_get_alloc_funcs(&get, &put);
    assert_ptr_not_equal(put, free);
    p = get(1);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 16, 0);
    put(p);
    put(NULL);
    assert_null(get(SIZE_MAX));
    assert_null(get(SIZE_MAX - 15));
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HEAP_ELSEWHERE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HEAP_ELSEWHERE 1
#endif
#endif

#ifndef HEAP_ELSEWHERE
/* How often the needle stands in the process's heap, freed parts included. */
static int in_heap(const char *needle)
{
    char line[256];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "re");

    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps)) {
        char *dash;
        uintptr_t from = strtoul(line, &dash, 16), to = strtoul(dash + 1, NULL, 16);

        if (!strstr(line, "[heap]"))
            continue;
        for (const char *p = (const char *)from;
             (p = memmem(p, to - (uintptr_t)p, needle, strlen(needle)));)
            p++, found++;
    }
    fclose(maps);
    return found;
}
#endif

/* Nothing of a parsed, written and freed secret stays in the heap. */
static void test_nothing_stays(_unused_ void **state)
{
#ifdef HEAP_ELSEWHERE
    skip(); /* a sanitizer's heap can't be looked through after the free */
#else
    /* In static memory only, as the text is. */
    static char needle[40], text[200];
    json_t *v;
    struct buf b = BUF_INIT(4096);

    for (size_t i = 0; i + 1 < sizeof(needle); i++)
        needle[i] = (char)('a' + (i * 7 + 3) % 23);
    snprintf(text, sizeof(text), "{\"k\":\"%s\",\"l\":\"\\u0041%s\",\"%s\":[\"%s\"]}", needle,
             needle, needle, needle);
    v = parsed(text);
    json_put(&b, v);
    assert_int_equal(buf_error(&b), 0);
    assert_in_range(in_heap(needle), 8, 100);
    json_decref(v);
    buf_clear(&b);
    assert_int_equal(in_heap(needle), 0);
#endif
}

static int init(_unused_ void **state)
{
    json_init();
    return 0;
}

/* A string alone is written as the dump of its value would be, and what is no UTF-8 is refused. */
static void test_put_text(void **state)
{
    const char *const list[] = {"", "plain/path-1", "\"quoted\\",
                                "tab\t, newline\n, \x01 and \x1f, \x7f",
                                "caf\xc3\xa9 \xe2\x80\xae \xf0\x9f\x94\x91"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        _cleanup_buf_ struct buf got = BUF_INIT(256), want = BUF_INIT(256);
        _cleanup_json_ json_t *v = json_string(list[i]);
        json_put_ascii(&want, v);
        json_put_text(&got, list[i]);
        assert_string_equal(buf_str(&got), buf_str(&want));
        assert_int_equal(buf_error(&got), 0);
    }
    _cleanup_buf_ struct buf bad = BUF_INIT(256);
    json_put_text(&bad, "\xff");
    assert_int_equal(buf_error(&bad), -EINVAL);
}

/* What is written is what jansson writes, for all that it can hold. */
static void test_put_is_a_dump(void **state)
{
    static const char text[] =
        "{\"a\":1,\"z\":-9223372036854775808,\"b\":[1.5,1e300,-0.0,true,false,null,[],{}],"
        "\"caf\\u00e9 \\ud83d\\udd11\":\"\\u202e\\u0001\\\"\\\\/\\n\",\"\":\"plain\"}";
    char why[96];
    (void)state;
    _cleanup_json_ json_t *v = NULL;
    assert_int_equal(json_parse(text, strlen(text), &v, why, sizeof(why)), 0);
    for (int ascii = 0; ascii < 2; ascii++) {
        size_t flags = JSON_COMPACT | (ascii ? JSON_ENSURE_ASCII : 0);
        char want[512] = "";
        size_t n = json_dumpb(v, want, sizeof(want) - 1, flags);
        _cleanup_buf_ struct buf got = BUF_INIT(1024);
        (ascii ? json_put_ascii : json_put)(&got, v);
        assert_int_equal(got.len, n);
        assert_memory_equal(got.data, want, n);
    }
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    _cleanup_json_ json_t *deep = json_array();
    for (int i = 0; i < 600; i++) /* as deep as a cycle would be */
        deep = json_pack("[o]", deep);
    json_put(&b, deep);
    assert_int_equal(buf_error(&b), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_text),
        cmocka_unit_test(test_put_is_a_dump),
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_duplicate_keys),
        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_encoding),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_reals),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_depth_not_fooled),
        cmocka_unit_test(test_reason),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_raw_member),
        cmocka_unit_test(test_raw_member_absent),
        cmocka_unit_test(test_allocator),
        cmocka_unit_test(test_nothing_stays),
    };

    return cmocka_run_group_tests(tests, init, NULL);
}
