#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

/* Stamps are written in UTC, before 1970 and in leap years too. */
static void test_stamp(_unused_ void **state)
{
    static const struct {
        int64_t ms;
        int with_ms;
        const char *text;
    } rows[] = {
        {0, 0, "1970-01-01T00:00:00Z"},
        {0, 1, "1970-01-01T00:00:00.000Z"},
        {-1, 1, "1969-12-31T23:59:59.999Z"},
        {-1, 0, "1969-12-31T23:59:59Z"},
        {951782400123, 1, "2000-02-29T00:00:00.123Z"},
        {1795332600000, 0, "2026-11-22T07:30:00Z"},
        {253402300799999, 1, "9999-12-31T23:59:59.999Z"},
        {INT64_MAX, 1, "9999-12-31T23:59:59.999Z"},
        {INT64_MIN, 1, "0000-01-01T00:00:00.000Z"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[CLOCK_STAMP_LEN];

        clock_stamp(rows[i].ms, rows[i].with_ms, out);
        assert_string_equal(out, rows[i].text);
    }
}

/* What is written can be read, over the whole range and with the C library's calendar. */
static void test_stamp_round_trip(_unused_ void **state)
{
    for (int64_t ms = -62167219200000; ms <= 253402300799999;
         ms += 86400000 * INT64_C(97) + 12345) {
        char out[CLOCK_STAMP_LEN];
        struct tm tm = {0};
        int64_t back;

        clock_stamp(ms, 1, out);
        assert_int_equal(clock_parse_stamp(out, &back), 0);
        assert_true(back == ms);
        assert_non_null(strptime(out, "%Y-%m-%dT%H:%M:%S", &tm));
        assert_true(timegm(&tm) == (ms - ((ms % 1000) + 1000) % 1000) / 1000);
    }
}

/* RFC 3339 in its permitted variants. */
static void test_parse_stamp(_unused_ void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"2026-11-22T07:30:00Z", 1795332600000},
        {"2026-11-22t07:30:00z", 1795332600000},
        {"2026-11-22T08:30:00+01:00", 1795332600000},
        {"2026-11-21T23:30:00-08:00", 1795332600000},
        {"2026-11-22T07:30:00.5Z", 1795332600500},
        {"2026-11-22T07:30:00.123456789Z", 1795332600123},
        {"2026-11-22T07:30:00.00000000000000000000000000000000000001Z", 1795332600000},
        {"2026-11-22", 1795305600000},
        {"2024-02-29", 1709164800000},
        {"2016-12-31T23:59:60Z", 1483228800000},
        {"1969-12-31T23:59:59.999Z", -1},
        {"0000-01-01T00:00:00Z", -62167219200000},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t ms;

        assert_int_equal(clock_parse_stamp(rows[i].text, &ms), 0);
        assert_true(ms == rows[i].ms);
    }
}

/* Anything else is refused, down to dates that do not exist. */
static void test_parse_stamp_malformed(_unused_ void **state)
{
    static const char *const bad[] = {
        "",
        "2026",
        "2026-11",
        "2026-11-2",
        "2026-13-01",
        "2026-00-01",
        "2026-01-00",
        "2026-02-29",
        "1900-02-29",
        "2026-04-31",
        "2026-11-22T",
        "2026-11-22T07:30",
        "2026-11-22T07:30:00",
        "2026-11-22T07:30:00.Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T07:60:00Z",
        "2026-11-22T07:30:61Z",
        "2026-11-22T07:30:00ZZ",
        "2026-11-22T07:30:00Z ",
        " 2026-11-22T07:30:00Z",
        "2026-11-22 07:30:00Z",
        "2026-11-22T07:30:00+1:00",
        "2026-11-22T07:30:00+24:00",
        "2026-11-22T07:30:00+0100",
        "-026-11-22",
        "20260-11-22",
        "99999999999999999999-01-01",
        "2026-+1-22",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ms = 42;

        assert_int_equal(clock_parse_stamp(bad[i], &ms), -EINVAL);
        assert_true(ms == 42);
    }
}

/* Durations as people and as Vault write them. */
static void test_duration(_unused_ void **state)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } rows[] = {
        {"0", 0},
        {"90", 90},
        {"90s", 90},
        {"15m", 900},
        {"1h30m", 5400},
        {"2d", 172800},
        {"1d2h3m4s", 93784},
        {"0s", 0},
        {"007m", 420},
        {"1m1h", 3660},
        {"316224000", CLOCK_DURATION_MAX},
        {"3660d", CLOCK_DURATION_MAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t seconds = -1;

        assert_int_equal(clock_parse_duration(rows[i].text, &seconds), 0);
        assert_true(seconds == rows[i].seconds);
    }
}

/* Malformed and negative durations are refused, whatever their size. */
static void test_duration_malformed(_unused_ void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "s",
        "-1",
        "-5m",
        "+5m",
        "1.5h",
        "1h30",
        "30 m",
        "5m ",
        " 5m",
        "5w",
        "5ms",
        "1h m",
        "0x10",
        "1e3",
        "5mm",
        "h1",
        "99999999999999999999x",
        "99999999999999999999h1",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t seconds = 42;

        assert_int_equal(clock_parse_duration(bad[i], &seconds), -EINVAL);
        assert_true(seconds == 42);
    }
}

/* What would overflow is out of range: one above the maximum, 2^63, 2^64 seconds in days, and
 * 10,000 digits. */
static void test_duration_overflow(_unused_ void **state)
{
    static const char *const huge[] = {
        "316224001",
        "3660d1s",
        "3661d",
        "9223372036854775807",
        "9223372036854775808s",
        "18446744073709551616",
        "213503982334601d", /* 2^64 / 86400, rounded down */
        "213503982334602d",
        "316224000s316224000s316224000s",
        "99999999999999999999999999999999d99999999999999999999999999999h",
    };
    static char digits[10001];
    int64_t seconds = 42;

    for (size_t i = 0; i < ARRAY_LEN(huge); i++)
        assert_int_equal(clock_parse_duration(huge[i], &seconds), -ERANGE);
    memset(digits, '9', sizeof(digits) - 1);
    assert_int_equal(clock_parse_duration(digits, &seconds), -ERANGE);
    assert_true(seconds == 42);
}

/* People get at most two units, and never a negative time. */
static void test_human(_unused_ void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } rows[] = {
        {0, "0s"},
        {-5, "0s"},
        {59, "59s"},
        {60, "1m"},
        {898, "14m58s"},
        {3600, "1h"},
        {28799, "7h59m"},
        {3659, "1h"},
        {86400, "1d"},
        {266400, "3d2h"},
        {INT64_MAX, "106751991167300d15h"},
        {INT64_MIN, "0s"},
    };
    char out[32];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        clock_human(rows[i].seconds, out, sizeof(out));
        assert_string_equal(out, rows[i].text);
    }
    clock_human(898, out, 4); /* a short array is not overrun */
    assert_string_equal(out, "14m");
}

/* The clocks run forward and stand where the system's do. */
static void test_clocks(_unused_ void **state)
{
    int64_t boot = clock_boot_ms(), wall = clock_wall_ms();

    assert_true(clock_boot_ms() >= boot && boot > 0);
    assert_true(wall / 1000 - (int64_t)time(NULL) <= 1 && (int64_t)time(NULL) - wall / 1000 <= 5);
    assert_true(clock_wall_s() >= wall / 1000);
}

/* The boot id is the kernel's, and stays. */
static void test_boot_id(_unused_ void **state)
{
    const char *id = clock_boot_id();
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    char line[64] = "unknown\n";

    if (f) {
        assert_non_null(fgets(line, sizeof(line), f));
        fclose(f);
    }
    line[strcspn(line, "\n")] = '\0';
    assert_string_equal(id, line);
    assert_ptr_equal(clock_boot_id(), id);
}

/* Lease time is wall time until it is anchored, and then the boot clock's, whatever the offset. */
static void test_lease_time(_unused_ void **state)
{
    static const int64_t offsets[] = {0, 1, -5000, INT64_C(1800000000000)};
    int64_t offset;
    clock_lease_release();
    assert_false(clock_lease_anchored(&offset));
    int64_t wall = clock_wall_ms();
    assert_in_range(clock_lease_ms() - wall, 0, 10000);
    for (size_t i = 0; i < ARRAY_LEN(offsets); i++) {
        clock_lease_anchor(offsets[i]);
        assert_true(clock_lease_anchored(&offset));
        assert_int_equal(offset, offsets[i]);
        int64_t boot = clock_boot_ms();
        assert_in_range(clock_lease_ms() - boot - offsets[i], 0, 10000);
    }
    clock_lease_release();
    assert_false(clock_lease_anchored(&offset));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stamp),
        cmocka_unit_test(test_stamp_round_trip),
        cmocka_unit_test(test_parse_stamp),
        cmocka_unit_test(test_parse_stamp_malformed),
        cmocka_unit_test(test_duration),
        cmocka_unit_test(test_duration_malformed),
        cmocka_unit_test(test_duration_overflow),
        cmocka_unit_test(test_human),
        cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_boot_id),
        cmocka_unit_test(test_lease_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
