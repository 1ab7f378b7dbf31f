/* Reading google-authenticator files and otpauth URIs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/otpfile.h"

#define SECRET "GEZDGNBVGY3TQOJQGEZDGNBVGY"

/* Goal: a file as google-authenticator writes it, and its variations, give their secret and
 * options. */
static void test_files(void **state)
{
    static const struct {
        const char *text;
        int period, skew;
        unsigned emergency;
    } rows[] = {
        {SECRET "\n\" RATE_LIMIT 3 30 1700000000\n\" WINDOW_SIZE 17\n\" DISALLOW_REUSE 56666666\n"
                "\" TOTP_AUTH\n12345678\n87654321\n",
         30, 0, 2},
        {SECRET "\r\n\" TOTP_AUTH\r\n", 30, 0, 0},
        {SECRET "\n\" TOTP_AUTH", 30, 0, 0},
        {SECRET "\n\" STEP_SIZE 60\n\" TIME_SKEW -4\n\" TOTP_AUTH\n\" LAST0 1\n\n11111111\n", 60,
         -4, 1},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct otpfile f;
        char why[256] = "";
        if (otpfile_parse(rows[i].text, strlen(rows[i].text), &f, why, sizeof(why)) != 0)
            fail_msg("row %zu: %s", i, why);
        assert_string_equal(f.secret, SECRET);
        assert_string_equal(f.algorithm, "SHA1");
        assert_int_equal(f.digits, 6);
        assert_int_equal(f.period, rows[i].period);
        assert_int_equal(f.skew, rows[i].skew);
        assert_int_equal(f.emergency, rows[i].emergency);
    }
}

/* Goal: otpauth URIs with all their parameters, escapes and white space around them. */
static void test_uris(void **state)
{
    static const struct {
        const char *text, *secret, *algorithm;
        int digits, period;
    } rows[] = {
        {"otpauth://totp/x?secret=" SECRET, SECRET, "SHA1", 6, 30},
        {" otpauth://TOTP/A%20B:c%40d?issuer=A%20B&secret=" SECRET
         "&algorithm=SHA256&digits=8&period=30\n",
         SECRET, "SHA256", 8, 30},
        {"otpauth://totp/?period=60&image=http%3A%2F%2Fx&secret=gezd%20gnbv%3D%3D%3D", "gezdgnbv",
         "SHA1", 6, 60},
        {"OTPAUTH://totp/x?Secret=" SECRET "&Digits=6&", SECRET, "SHA1", 6, 30},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct otpfile f;
        char why[256] = "";
        if (otpfile_parse(rows[i].text, strlen(rows[i].text), &f, why, sizeof(why)) != 0)
            fail_msg("row %zu: %s", i, why);
        assert_string_equal(f.secret, rows[i].secret);
        assert_string_equal(f.algorithm, rows[i].algorithm);
        assert_int_equal(f.digits, rows[i].digits);
        assert_int_equal(f.period, rows[i].period);
    }
}

/* Goal: everything else is refused, with a reason that quotes nothing of it, and leaves no secret.
 */
static void test_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "empty"},
        {" \n\n", "empty"},
        {SECRET, "no TOTP_AUTH"},
        {SECRET "\n\" HOTP_COUNTER 3\n", "HOTP"},
        {SECRET "\n\" HOTP_COUNTER 3\n\" TOTP_AUTH\n", "HOTP"},
        {SECRET "\n\" TOTP_AUTH\nroot:x:0:0\n", "no file"},
        {SECRET "\n\" TOTP_AUTH\n1234567\n", "no file"},
        {SECRET "\n\" STEP_SIZE thirty\n\" TOTP_AUTH\n", "STEP_SIZE"},
        {"hunter2-of-mine!\n\" TOTP_AUTH\n", "base32"},
        {"otpauth://hotp/x?secret=" SECRET "&counter=1", "HOTP"},
        {"otpauth://totp/x", "URI"},
        {"otpauth://totp/x?issuer=y", "no secret"},
        {"otpauth://totp/x?secret=", "no secret"},
        {"otpauth://totp/x?secret=" SECRET "&secret=" SECRET, "twice"},
        {"otpauth://totp/x?secret=" SECRET "&digits=six", "number"},
        {"otpauth://totp/x?secret=" SECRET "&digits=6000000", "number"},
        {"otpauth://totp/x?secret=%0", "malformed"},
        {"otpauth://totp/x?secret=%zz", "malformed"},
        {"otpauth://totp/x?secret=%00", "malformed"},
        {"otpauth://totp/x?secret=" SECRET "&algorithm=SHA1024-and-more", "algorithm"},
        {"otpauth-migration://offline?data=x", "several accounts"},
        {"otpauth://", "URI"},
        {"otpauth://totp", "URI"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct otpfile f;
        char why[256] = "";
        if (otpfile_parse(rows[i].text, strlen(rows[i].text), &f, why, sizeof(why)) != -EINVAL)
            fail_msg("row %zu is taken", i);
        if (!strstr(why, rows[i].why))
            fail_msg("row %zu: \"%s\" does not say \"%s\"", i, why, rows[i].why);
        assert_null(strstr(why, "hunter2"));
        assert_null(strstr(why, SECRET));
        assert_string_equal(f.secret, "");
    }
}

/* Goal: too long ones are refused before they are copied anywhere. */
static void test_limits(void **state)
{
    char text[2000], why[256];
    struct otpfile f;
    (void)state;
    for (size_t n = OTPFILE_SECRET_MAX - 1; n <= OTPFILE_SECRET_MAX + 1; n++) {
        memset(text, 'A', n);
        strcpy(text + n, "\n\" TOTP_AUTH\n");
        assert_int_equal(otpfile_parse(text, strlen(text), &f, why, sizeof(why)),
                         n <= OTPFILE_SECRET_MAX ? 0 : -EINVAL);
    }
    assert_int_equal(otpfile_parse("AAAA\n\" TOTP_AUTH\0x", 19, &f, why, sizeof(why)), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_uris),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
