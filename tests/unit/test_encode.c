#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/encode.h"

/* RFC 4648's examples come out as printed there, and back. */
static void test_base64_vectors(_unused_ void **state)
{
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(100);
        char out[8];
        size_t n = 99;

        encode_base64(&b, pairs[i][0], strlen(pairs[i][0]));
        assert_string_equal(buf_str(&b), pairs[i][1]);
        assert_int_equal(encode_from_base64(pairs[i][1], out, sizeof(out), &n), 0);
        assert_int_equal(n, strlen(pairs[i][0]));
        assert_memory_equal(out, pairs[i][0], n);
    }
}

/* Base64 is appended, and a buffer that is too small says so. */
static void test_base64_limit(_unused_ void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(7);

    buf_puts(&b, "a:");
    encode_base64(&b, "foo", 3);
    assert_string_equal(buf_str(&b), "a:Zm9v");
    encode_base64(&b, "f", 1);
    assert_int_equal(buf_error(&b), -EMSGSIZE);
}

/* Malformed base64 of every kind is refused: one text per value, one value per text. */
static void test_base64_malformed(_unused_ void **state)
{
    static const char *const bad[] = {
        "Z",        "Zg",   "Zg=",    "Zg===",      "=",        "====",
        "Zm9v=",    "Zm 9", "Zm9v\n", "Zm9v    ",   "Zh==",     "Zm9=",
        "Zg==Zg==", "Z===", "Zm-_",   "\xc3\xa4Zg", "Zm9vZg=a", "Zm9v====",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char out[16];
        size_t n = 99;

        assert_int_equal(encode_from_base64(bad[i], out, sizeof(out), &n), -EBADMSG);
        assert_int_equal(n, 0);
    }
}

/* What does not fit is refused, at the byte. */
static void test_decode_limits(_unused_ void **state)
{
    char out[3];
    size_t n;

    assert_int_equal(encode_from_base64("Zm9v", out, 3, &n), 0);
    assert_int_equal(encode_from_base64("Zm9v", out, 2, &n), -EMSGSIZE);
    assert_int_equal(encode_from_base64("Zm9vYg==", out, 3, &n), -EMSGSIZE);
    assert_int_equal(encode_from_hex("010203", out, 3, &n), 0);
    assert_int_equal(encode_from_hex("010203", out, 2, &n), -EMSGSIZE);
    assert_int_equal(n, 0);
    assert_int_equal(encode_from_hex("", out, 0, &n), 0);
    assert_int_equal(encode_from_base64("", out, 0, &n), 0);
}

/* Hex goes both ways and takes capitals in reading. */
static void test_hex(_unused_ void **state)
{
    static const uint8_t raw[] = {0x00, 0x1f, 0xab, 0xff};
    static const char *const bad[] = {"0", "abc", "0g", "0x12", "01 2", "ab:c", " 01", "01 "};
    uint8_t out[4];
    char text[9];
    size_t n;

    encode_hex(raw, sizeof(raw), text);
    assert_string_equal(text, "001fabff");
    encode_hex(NULL, 0, text);
    assert_string_equal(text, "");
    assert_int_equal(encode_from_hex("001FabFF", out, sizeof(out), &n), 0);
    assert_int_equal(n, 4);
    assert_memory_equal(out, raw, 4);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(encode_from_hex(bad[i], out, sizeof(out), &n), -EBADMSG);
}

/* Random names use the whole alphabet, evenly, and nothing else. */
static void test_base62(_unused_ void **state)
{
    enum { DRAWN = 62 * 1000 };
    static char text[DRAWN + 1];
    int seen[256] = {0};

    encode_random_base62(text, 0);
    assert_string_equal(text, "");
    encode_random_base62(text, DRAWN);
    assert_int_equal(strlen(text), DRAWN);
    for (size_t i = 0; i < DRAWN; i++)
        seen[(unsigned char)text[i]]++;
    for (int c = 0; c < 256; c++) {
        bool digit =
            c != 0 &&
            strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", c) != NULL;

        /* 1000 are expected of each, with a deviation of about 31. */
        assert_in_range(seen[c], digit ? 750 : 0, digit ? 1250 : 0);
    }
}

/* A UUID has its form, its version and its variant, and does not repeat. */
static void test_uuid(_unused_ void **state)
{
    char one[ENCODE_UUID_LEN + 1], two[ENCODE_UUID_LEN + 1];

    for (int i = 0; i < 100; i++) {
        encode_random_uuid(one);
        encode_random_uuid(two);
        assert_int_equal(strlen(one), ENCODE_UUID_LEN);
        assert_int_equal(strspn(one, "0123456789abcdef-"), ENCODE_UUID_LEN);
        assert_true(one[8] == '-' && one[13] == '-' && one[18] == '-' && one[23] == '-');
        assert_int_equal(one[14], '4');
        assert_non_null(strchr("89ab", one[19]));
        assert_string_not_equal(one, two);
    }
}

/* UTF-8 is accepted up to its borders and refused one step past each. */
static void test_utf8(_unused_ void **state)
{
    static const char *const good[] = {
        "",
        "plain",
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
    };
    static const char *const bad[] = {
        "\x80",             /* a continuation alone */
        "\xc0\xaf",         /* '/' in two bytes */
        "\xc1\xbf",         /* overlong */
        "\xe0\x80\xaf",     /* '/' in three */
        "\xe0\x9f\xbf",     /* overlong */
        "\xf0\x80\x80\xaf", /* '/' in four */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xed\xa0\x80",     /* the first surrogate */
        "\xed\xbf\xbf",     /* the last one */
        "\xf4\x90\x80\x80", /* above U+10FFFF */
        "\xf8\x88\x80\x80\x80",
        "\xfe",
        "\xff",
        "\xc3",         /* cut off */
        "\xe2\x82",     /* cut off */
        "\xf0\x9f\x98", /* cut off */
        "\xc3(",        /* no continuation */
        "a\xe2\x82z",
    };

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(encode_is_utf8(good[i], strlen(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(encode_is_utf8(bad[i], strlen(bad[i])));
    assert_false(encode_is_utf8("a\0b", 3));
    assert_false(encode_is_utf8("\xc0\x80", 2));
    assert_false(encode_is_utf8("\xe2\x82\xac", 2)); /* what is behind n does not count */
}

/* Nothing that moves a cursor or reorders text reaches the terminal. */
static void test_printable(_unused_ void **state)
{
    static const struct {
        const char *in, *out;
        size_t max;
    } rows[] = {
        {"plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80",
         "plain \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80", 100},
        {"a\x1b[2Jb\n\r\t\x7f", "a?[2Jb????", 100},
        {"c1:\xc2\x9b"
         "31m",
         "c1:?31m", 100},
        {"rtl:\xe2\x80\xae"
         "x\xe2\x81\xa7",
         "rtl:?x?", 100},
        {"mark\xe2\x80\x8f\xd8\x9c", "mark??", 100},
        {"line\xe2\x80\xa8", "line?", 100},
        {"bad\xff\xc0\xaf", "bad???", 100},
        {"cut\xe2\x82", "cut??", 100},
        {"123456", "1234", 4},
        {"123\xe2\x82\xac", "123", 5}, /* never half a character */
        {"123\xe2\x82\xac", "123\xe2\x82\xac", 6},
        {"x", "", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(200);

        encode_printable(&b, rows[i].in, rows[i].max);
        assert_string_equal(buf_str(&b), rows[i].out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64_vectors),
        cmocka_unit_test(test_base64_limit),
        cmocka_unit_test(test_base64_malformed),
        cmocka_unit_test(test_decode_limits),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_base62),
        cmocka_unit_test(test_uuid),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_printable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
