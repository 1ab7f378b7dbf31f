/* Shamir's secret sharing: the field, the format, the limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "vault/shamir.h"

#define LEN 32
#define SHARE (LEN + 1)

/* The field's product is AES's (FIPS 197, section 4.2: 57 x 83 = c1; and 53 x ca = 01). */
static void test_field(void **state)
{
    (void)state;
    /* Two shares (y, x) and (0, x2): the value at 0 is y * x2 / (x2 - x). Pick x2 and x so that
     * x2 / (x2 ^ x) is the factor wanted: with x2 = f and x2 ^ x = 1, it is f itself. */
    static const struct {
        uint8_t y, factor, product;
    } rows[] = {
        {0x53, 0xca, 0x01}, {0x57, 0x83, 0xc1}, {0x57, 0x13, 0xfe}, {0xca, 0x53, 0x01},
        {0x02, 0x80, 0x1b}, {0xff, 0xff, 0x13}, {0x00, 0x77, 0x00}, {0xb7, 0x02, 0x75},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t shares[4] = {rows[i].y, rows[i].factor ^ 1, 0, rows[i].factor}, out;
        assert_int_equal(shamir_join(shares, 2, 2, &out), 0);
        assert_int_equal(out, rows[i].product);
    }
}

/* Five shares of 10 11 … 2f with threshold 3, made by another program (log tables, generator 3). */
static const char *const vector[5] = {
    "d736d3dbfdc9ad96f6742fa8ea5e04ec9e05e5227ba6c6fda7b369cfeaaa92a007",
    "7af08dc1011cc6adb8e0a67ab09c4a40cac2f35c35392d370410702a3ca54a8cf3",
    "8c5b4e86083509d868b8c6c2d66a4f40199c4b5fbe3d7714477401e7cb3df8ce51",
    "d93f5f514ad4c696a73c0144af7c3f3ef467dd574cf298c58685016b7d038df701",
    "6c1df8480ac831a34b5fd450be7d0c45ccf91caa1a7cfce11a64facdc0b4e79cff",
};

/* Calls join on every subset of t of five shares; counts those that gave the secret. */
static int count_subsets(uint8_t all[5][SHARE], unsigned t, const uint8_t *secret)
{
    int good = 0;
    for (unsigned set = 0; set < 32; set++) {
        uint8_t some[5 * SHARE], out[LEN];
        unsigned n = 0;
        if ((unsigned)__builtin_popcount(set) != t)
            continue;
        for (unsigned i = 0; i < 5; i++)
            if (set & (1u << i))
                memcpy(some + SHARE * n++, all[i], SHARE);
        assert_int_equal(shamir_join(some, SHARE, t, out), 0);
        good += memcmp(out, secret, LEN) == 0;
    }
    return good;
}

/* Shares from elsewhere, in Vault's format, give the secret by every three (or more) of the five.
 */
static void test_known_shares(void **state)
{
    (void)state;
    uint8_t all[5][SHARE], secret[LEN];
    for (size_t i = 0; i < LEN; i++)
        secret[i] = (uint8_t)(0x10 + i);
    for (size_t i = 0; i < 5; i++) {
        size_t n;
        assert_int_equal(encode_from_hex(vector[i], all[i], SHARE, &n), 0);
        assert_int_equal(n, SHARE);
    }
    assert_int_equal(count_subsets(all, 2, secret), 0);
    assert_int_equal(count_subsets(all, 3, secret), 10);
    assert_int_equal(count_subsets(all, 4, secret), 5);
    assert_int_equal(count_subsets(all, 5, secret), 1);
}

/* What split makes, every 3-of-5 subset joins, and no pair does. */
static void test_all_subsets(void **state)
{
    (void)state;
    uint8_t all[5][SHARE], secret[LEN];
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < LEN; i++)
            secret[i] = (uint8_t)(rand() & 0xff);
        assert_int_equal(shamir_split(secret, LEN, 5, 3, all[0]), 0);
        assert_int_equal(count_subsets(all, 3, secret), 10);
        assert_int_equal(count_subsets(all, 2, secret), 0);
    }
}

/* The x-coordinates are never 0, never twice the same, and not always the same ones. */
static void test_coordinates(void **state)
{
    (void)state;
    static uint8_t out[255 * 2], out2[255 * 2];
    uint8_t secret = 0x5a, joined;
    assert_int_equal(shamir_split(&secret, 1, 255, 255, out), 0);
    bool seen[256] = {false};
    for (int i = 0; i < 255; i++) {
        uint8_t x = out[2 * i + 1];
        assert_true(x && !seen[x]);
        seen[x] = true;
    }
    assert_int_equal(shamir_join(out, 2, 255, &joined), 0);
    assert_int_equal(joined, secret);
    assert_int_equal(shamir_split(&secret, 1, 255, 255, out2), 0);
    assert_memory_not_equal(out, out2, sizeof(out));
}

/* Splitting twice gives different shares, and one share alone takes every value equally often. */
static void test_a_share_says_nothing(void **state)
{
    (void)state;
    unsigned count[256] = {0};
    uint8_t secret = 0, out[4];
    for (int i = 0; i < 25600; i++) {
        assert_int_equal(shamir_split(&secret, 1, 2, 2, out), 0);
        count[out[0]]++;
    }
    for (int i = 0; i < 256; i++)
        assert_in_range(count[i], 20, 180); /* 100 expected; eight standard deviations */
}

/* One share of one is the secret and an x. */
static void test_one_of_one(void **state)
{
    (void)state;
    uint8_t secret[3] = {1, 2, 3}, share[4], out[3];
    assert_int_equal(shamir_split(secret, 3, 1, 1, share), 0);
    assert_memory_equal(share, secret, 3);
    assert_int_not_equal(share[3], 0);
    assert_int_equal(shamir_join(share, 4, 1, out), 0);
    assert_memory_equal(out, secret, 3);
}

/* Lengths, counts and coordinates that make no sense are refused. */
static void test_limits(void **state)
{
    (void)state;
    static uint8_t secret[SHAMIR_SECRET_MAX + 1], out[300 * (SHAMIR_SECRET_MAX + 2)];
    static const struct {
        size_t len;
        unsigned n, t;
        int want;
    } rows[] = {
        {0, 5, 3, -EINVAL},    {SHAMIR_SECRET_MAX + 1, 5, 3, -EINVAL},
        {32, 5, 6, -EINVAL},   {32, 5, 1, -EINVAL},
        {32, 5, 0, -EINVAL},   {32, 0, 0, -EINVAL},
        {32, 256, 2, -EINVAL}, {SHAMIR_SECRET_MAX, 255, 2, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(shamir_split(secret, rows[i].len, rows[i].n, rows[i].t, out),
                         rows[i].want);
    uint8_t zero[4] = {1, 0, 2, 3}, twice[4] = {1, 7, 2, 7}, good[4] = {1, 7, 2, 8};
    assert_int_equal(shamir_join(zero, 2, 2, out), -EINVAL);
    assert_int_equal(shamir_join(twice, 2, 2, out), -EINVAL);
    assert_int_equal(shamir_join(good, 2, 2, out), 0);
    assert_int_equal(shamir_join(good, 1, 2, out), -EINVAL);
    assert_int_equal(shamir_join(good, 2, 0, out), -EINVAL);
    assert_int_equal(shamir_join(good, 2, 256, out), -EINVAL);
    assert_int_equal(shamir_join(good, SHAMIR_SECRET_MAX + 2, 1, out), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_field),
        cmocka_unit_test(test_known_shares),
        cmocka_unit_test(test_all_subsets),
        cmocka_unit_test(test_coordinates),
        cmocka_unit_test(test_a_share_says_nothing),
        cmocka_unit_test(test_one_of_one),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
