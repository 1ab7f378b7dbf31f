#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "server/path.h"

/* What path_decode() makes of raw: the text when it is fine (out is then freed by the next call),
 * else NULL after checking the error and that a reason for a person was given. */
static char *decoded;

static const char *decode(const char *raw, int want)
{
    char why[256] = "";
    free(decoded);
    decoded = NULL;
    int r = path_decode(raw, &decoded, why, sizeof(why));
    if (r != want)
        fail_msg("%s: %d instead of %d (%s)", raw, r, want, why);
    if (want == -EINVAL)
        assert_true(strlen(why) > 10);
    if (want != 0)
        assert_null(decoded);
    return decoded;
}

/* Goal: plain paths lose /v1/ and nothing else; escapes are decoded exactly once. */
static void test_plain(void **state)
{
    (void)state;
    assert_string_equal(decode("/v1/sys/health", 0), "sys/health");
    assert_string_equal(decode("/v1/secret/data/a%20b", 0), "secret/data/a b");
    assert_string_equal(decode("/v1/a%2520b", 0), "a%20b");
    assert_string_equal(decode("/v1/a%2Fb", 0), "a/b");
    assert_string_equal(decode("/v1/a+b", 0), "a+b");
    assert_string_equal(decode("/v1/folder/", 0), "folder/");
    assert_string_equal(decode("/v1/", 0), "");
    assert_string_equal(decode("/v1/%c3%a4/%E2%82%AC", 0), "\xc3\xa4/\xe2\x82\xac");
    assert_string_equal(decode("/v1/...", 0), "...");
    assert_string_equal(decode("/v1/.hidden/a.b", 0), ".hidden/a.b");
}

/* Goal: what does not lie below /v1/ is no path of ours. */
static void test_elsewhere(void **state)
{
    (void)state;
    static const char *const raws[] = {"/",        "/v1",         "/v2/sys", "/V1/sys",
                                       "//v1/sys", "/%76%31/sys", ""};
    for (size_t i = 0; i < ARRAY_LEN(raws); i++)
        decode(raws[i], -ENOENT);
}

/* Goal: an escape that is cut off or not hexadecimal is refused wherever it stands, read no
 * further. */
static void test_escapes(void **state)
{
    (void)state;
    static const char *const raws[] = {"/v1/a%",   "/v1/a%4",   "/v1/a%4z",  "/v1/a%z4",
                                       "/v1/%",    "/v1/%%41",  "/v1/a%4/b", "/v1/a%-1",
                                       "/v1/a% 1", "/v1/a%0x41"};
    for (size_t i = 0; i < ARRAY_LEN(raws); i++) {
        /* In memory of exactly its length, so that one byte too far is seen. */
        char *exact = strdup(raws[i]);
        decode(exact, -EINVAL);
        free(exact);
    }
}

/* Goal: NUL and other control bytes are refused, escaped or not. */
static void test_control(void **state)
{
    (void)state;
    static const char *const raws[] = {"/v1/a%00", "/v1/a%00b", "/v1/%0a",  "/v1/a%0Db", "/v1/%1f",
                                       "/v1/a%7f", "/v1/a\x01", "/v1/a\tb", "/v1/a\x7f"};
    for (size_t i = 0; i < ARRAY_LEN(raws); i++)
        decode(raws[i], -EINVAL);
}

/* Goal: no way up or around: empty, "." and ".." segments are refused after decoding, too. */
static void test_segments(void **state)
{
    (void)state;
    static const char *const raws[] = {
        "/v1/a/../b", "/v1/..",         "/v1/../sys",   "/v1/a/..", "/v1/a/../",   "/v1/a/%2e%2e/b",
        "/v1/%2E%2e", "/v1/a%2f..%2fb", "/v1/./a",      "/v1/a/.",  "/v1/a/%2e/b", "/v1//a",
        "/v1/a//b",   "/v1/a//",        "/v1/a%2f%2fb", "/v1//",    "/v1/%2f",     "/v1/a/.%2e/b"};
    for (size_t i = 0; i < ARRAY_LEN(raws); i++)
        decode(raws[i], -EINVAL);
}

/* Goal: only well-formed UTF-8. */
static void test_utf8(void **state)
{
    (void)state;
    static const char *const raws[] = {"/v1/%ff",          "/v1/%c3",       "/v1/%c0%af",
                                       "/v1/%c0%ae%c0%ae", "/v1/%ed%a0%80", "/v1/%e2%82",
                                       "/v1/%80",          "/v1/a\xff",     "/v1/%f5%80%80%80"};
    for (size_t i = 0; i < ARRAY_LEN(raws); i++)
        decode(raws[i], -EINVAL);
}

/* Goal: the longest path is taken, one byte more is not; 10 KiB of anything is refused and nothing
 * more. */
static void test_long(void **state)
{
    (void)state;
    char raw[4 + 3 * 10240 + 1] = "/v1/";
    memset(raw + 4, 'a', PATH_TEXT_MAX);
    raw[4 + PATH_TEXT_MAX] = '\0';
    assert_int_equal(strlen(decode(raw, 0)), PATH_TEXT_MAX);
    raw[4 + PATH_TEXT_MAX] = 'a';
    raw[4 + PATH_TEXT_MAX + 1] = '\0';
    decode(raw, -EINVAL);
    memset(raw + 4, 'a', 10240);
    raw[4 + 10240] = '\0';
    decode(raw, -EINVAL);
    for (size_t i = 0; i < 10240; i++)
        memcpy(raw + 4 + 3 * i, "%61", 3);
    raw[4 + 3 * 10240] = '\0';
    decode(raw, -EINVAL);
}

static json_t *query(const char *raw, int want)
{
    char why[256] = "";
    json_t *out = NULL;
    int r = path_query(raw, &out, why, sizeof(why));
    if (r != want)
        fail_msg("%s: %d instead of %d (%s)", raw, r, want, why);
    if (want != 0)
        assert_null(out);
    return out;
}

/* Goal: names and values, with '+' as a space; what is left out is "". */
static void test_query(void **state)
{
    (void)state;
    json_t *q = query("list=true&a+b=c%2Bd&empty=&bare&x=%3D%26", 0);
    assert_string_equal(json_str(q, "list"), "true");
    assert_string_equal(json_str(q, "a b"), "c+d");
    assert_string_equal(json_str(q, "empty"), "");
    assert_string_equal(json_str(q, "bare"), "");
    assert_string_equal(json_str(q, "x"), "=&");
    assert_int_equal(json_object_size(q), 5);
    json_decref(q);
    assert_null(query("", 0));
    q = query("&&a=1&", 0);
    assert_int_equal(json_object_size(q), 1);
    json_decref(q);
}

/* Goal: a parameter given twice, a broken escape, NUL and bytes that are no text are refused. */
static void test_bad_query(void **state)
{
    (void)state;
    static const char *const raws[] = {"a=1&a=2", "a=1&%61=2", "a=%",   "a=%4",
                                       "%4=1",    "a=%00",     "a=%ff", "a=%0a"};
    for (size_t i = 0; i < ARRAY_LEN(raws); i++)
        query(raws[i], -EINVAL);
}

static int finish(void **state)
{
    (void)state;
    free(decoded);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),     cmocka_unit_test(test_elsewhere),
        cmocka_unit_test(test_escapes),   cmocka_unit_test(test_control),
        cmocka_unit_test(test_segments),  cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_long),      cmocka_unit_test(test_query),
        cmocka_unit_test(test_bad_query),
    };
    json_init();
    return cmocka_run_group_tests(tests, NULL, finish);
}
