/* Second factors: the standard's own numbers, replay, skew, recovery codes, passphrases, equal
 * cost. */
#include "vault_fixture.h"

#include <dlfcn.h>
#include <liboath/oath.h>
#include <sodium.h>

#include "base/encode.h"
#include "identity/factor.h"
#include "identity/totp.h"

#define NOW 1700000010LL /* not at the edge of a step */
#define STEP 30

/* --- Counting what a check computes, by standing in front of the libraries
 * -------------------------- */

static unsigned n_codes, n_compares;

int oath_totp_generate2(const char *secret, size_t secret_length, time_t now, unsigned step,
                        time_t start, unsigned digits, int flags, char *out)
{
    static __typeof__(&oath_totp_generate2) real;
    if (!real)
        *(void **)(&real) = dlsym(RTLD_NEXT, "oath_totp_generate2");
    n_codes++;
    return real(secret, secret_length, now, step, start, digits, flags, out);
}

int sodium_memcmp(const void *const a, const void *const b, size_t n)
{
    static __typeof__(&sodium_memcmp) real;
    if (!real)
        *(void **)(&real) = dlsym(RTLD_NEXT, "sodium_memcmp");
    n_compares++;
    return real(a, b, n);
}

/* --- RFC 6238, appendix B
 * ------------------------------------------------------------------------- */

static struct totp rfc_totp(const char *algorithm)
{
    struct totp t = {.digits = 8, .last_step = -1};
    t.algorithm = totp_algorithm(algorithm, &t.secret_len);
    assert_non_null(t.algorithm);
    for (size_t i = 0; i < t.secret_len; i++)
        t.secret[i] = (uint8_t)('0' + (i + 1) % 10);
    return t;
}

/* Goal: the appendix's 18 values come out, and their last 6 digits for 6-digit factors. */
static void test_rfc6238(void **state)
{
    static const struct {
        int64_t at;
        const char *code[3];
    } rows[] = {
        {59, {"94287082", "46119246", "90693936"}},
        {1111111109, {"07081804", "68084774", "25091201"}},
        {1111111111, {"14050471", "67062674", "99943326"}},
        {1234567890, {"89005924", "91819424", "93441116"}},
        {2000000000, {"69279037", "90698825", "38618901"}},
        {20000000000, {"65353130", "77737706", "47863826"}},
    };
    static const char *const names[] = {"SHA1", "SHA256", "sha512"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t k = 0; k < 3; k++) {
            struct totp t = rfc_totp(names[k]);
            int64_t step;
            assert_int_equal(totp_check(&t, rows[i].code[k], rows[i].at, &step), 0);
            assert_int_equal(step, rows[i].at / STEP);
            assert_int_equal(totp_check(&t, rows[i].code[k] + 2, rows[i].at, &step), TOTP_E_WRONG);
            t.digits = 6;
            assert_int_equal(totp_check(&t, rows[i].code[k] + 2, rows[i].at, &step), 0);
            assert_int_equal(totp_check(&t, rows[i].code[k], rows[i].at, &step), TOTP_E_WRONG);
        }
    }
    assert_null(totp_algorithm("MD5", &(size_t){0}));
    assert_null(totp_algorithm("", &(size_t){0}));
    assert_null(totp_algorithm(NULL, &(size_t){0}));
}

/* Goal: one step before and after counts, two do not. */
static void test_window(void **state)
{
    struct totp t = rfc_totp("SHA1");
    int64_t step;
    (void)state;
    for (int d = -3; d <= 3; d++) {
        int want = d >= -1 && d <= 1 ? 0 : TOTP_E_WRONG;
        assert_int_equal(totp_check(&t, "14050471", 1111111111 + d * STEP, &step), want);
        if (want == 0)
            assert_int_equal(step, 1111111111 / STEP);
    }
    assert_int_equal(totp_check(&t, "14050471", -1, &step), -EINVAL);
    assert_int_equal(totp_check(&t, "14050471", INT64_MAX, &step), -EINVAL);
}

/* Goal: RFC 4648's base32 vectors (section 10), without padding. */
static void test_base32(void **state)
{
    static const char *const in[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    static const char *const out[] = {"",        "MY",       "MZXQ",      "MZXW6",
                                      "MZXW6YQ", "MZXW6YTB", "MZXW6YTBOI"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(64);
        totp_base32(&b, in[i], strlen(in[i]));
        assert_string_equal(buf_str(&b), out[i]);
    }
    _cleanup_buf_ struct buf all = BUF_INIT(64);
    static const uint8_t alphabet[] = {0x00, 0x44, 0x32, 0x14, 0xc7, 0x42, 0x54, 0xb6, 0x35, 0xcf,
                                       0x84, 0x65, 0x3a, 0x56, 0xd7, 0xc6, 0x75, 0xbe, 0x77, 0xdf};
    totp_base32(&all, alphabet, sizeof(alphabet));
    assert_string_equal(buf_str(&all), "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
}

/* Goal: base32 is read back however people write it; bits that fill no byte are dropped; what is
 * none is refused, and what does not fit. */
static void test_from_base32(void **state)
{
    static const struct {
        const char *text, *bytes;
    } good[] = {{"", ""},    {"MZXW6YTBOI", "foobar"},   {"mzxw6ytboi======", "foobar"},
                {"MY", "f"}, {"mzxw 6YTB oi", "foobar"}, {"MZXW-6YTB-OI", "foobar"},
                {"MZ", "f"}, {"MZXW6YTBOJ", "foobar"},   {"MZXW6YTBOI=", "foobar"}};
    static const char *const bad[] = {"1", "M0", "8", "MZ=W", "M!", "\xc3\xa4", "@", "[", "`", "{"};
    uint8_t out[64];
    size_t n;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(totp_from_base32(good[i].text, out, sizeof(out), &n), 0);
        assert_int_equal(n, strlen(good[i].bytes));
        assert_memory_equal(out, good[i].bytes, n);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(totp_from_base32(bad[i], out, sizeof(out), &n), -EBADMSG);
    for (unsigned c = 1; c < 256; c++) {
        char text[] = {(char)c, 'A', '\0'};
        bool known = c < 128 &&
                     strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz234567 -", (int)c);
        assert_int_equal(totp_from_base32(text, out, sizeof(out), &n), known ? 0 : -EBADMSG);
    }
    assert_int_equal(totp_from_base32("MZXW6YTBOI", out, 5, &n), -EMSGSIZE);
    assert_int_equal(totp_from_base32("MZXW6YTBOI", out, 6, &n), 0);
}

/* --- In the store
 * --------------------------------------------------------------------------------- */

/* A code as the person's device would show it. */
static void device(const json_t *begun, int64_t at, char code[16])
{
    char *secret;
    size_t n;
    int digits = (int)json_int(begun, "digits", 0);
    const char *algorithm = json_str(begun, "algorithm"), *text = json_str(begun, "secret");
    int flag = strcmp(algorithm, "SHA256") == 0   ? OATH_TOTP_HMAC_SHA256
               : strcmp(algorithm, "SHA512") == 0 ? OATH_TOTP_HMAC_SHA512
                                                  : 0;
    assert_int_equal(oath_base32_decode(text, strlen(text), &secret, &n), OATH_OK);
    assert_int_equal(n, flag == 0 ? 20 : flag == OATH_TOTP_HMAC_SHA256 ? 32 : 64);
    assert_int_equal(oath_totp_generate2(secret, n, at, STEP, 0, (unsigned)digits, flag, code),
                     OATH_OK);
    free(secret);
}

static json_t *begin(struct vault *v, const char *user, const char *algorithm, int digits)
{
    json_t *begun = NULL;
    char why[128] = "";
    if (factor_totp_begin(v, user, algorithm, digits, "Countersign", &begun, why, sizeof(why)) != 0)
        fail_msg("%s", why);
    return begun;
}

/* An enrolled person whose last used step is the one of NOW - 10 * STEP; *codes may be NULL. */
static json_t *enrol(struct vault *v, const char *user, const char *algorithm, int digits,
                     json_t **codes)
{
    json_t *begun = begin(v, user, algorithm, digits), *shown = NULL;
    char code[16];
    device(begun, NOW - 10 * STEP, code);
    assert_int_equal(factor_totp_confirm(v, user, code, NOW - 10 * STEP, &shown), 0);
    if (codes)
        *codes = shown;
    else
        json_decref(shown);
    return begun;
}

static int check(struct vault *v, const char *user, const char *answer, int64_t now)
{
    enum factor which = 0;
    int r = factor_check_code(v, user, FACTOR_ALL, answer, now, &which);
    if (r != 0)
        assert_int_equal(which, 0);
    return r;
}

static int check_at(struct vault *v, const char *user, const json_t *begun, int64_t device_time,
                    int64_t now)
{
    char code[16];
    device(begun, device_time, code);
    return check(v, user, code, now);
}

static unsigned enrolled(struct vault *v, const char *user)
{
    unsigned mask = 99;
    assert_int_equal(factor_enrolled(v, user, &mask), 0);
    return mask;
}

/* Goal: enrolment counts only once it is confirmed; all algorithms and lengths work. */
static void test_enrol(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"SHA1", "SHA256", "SHA512"};
    for (int i = 0; i < 6; i++) {
        char user[16], code[16];
        json_t *codes = NULL;
        snprintf(user, sizeof(user), "user%d", i);
        int digits = i < 3 ? 6 : 8;
        _cleanup_json_ json_t *begun = begin(f->v, user, names[i % 3], digits);
        assert_int_equal(enrolled(f->v, user), 0);
        device(begun, NOW, code);
        assert_int_equal(strlen(code), digits);
        assert_int_equal(check(f->v, user, code, NOW), FACTOR_E_WRONG);
        assert_int_equal(factor_totp_confirm(f->v, user, "000", NOW, &codes), FACTOR_E_WRONG);
        assert_null(codes);
        assert_int_equal(enrolled(f->v, user), 0);
        assert_int_equal(factor_totp_confirm(f->v, user, code, NOW, &codes), 0);
        assert_int_equal(json_array_size(codes), FACTOR_CODES);
        json_decref(codes);
        assert_int_equal(enrolled(f->v, user), FACTOR_TOTP | FACTOR_RECOVERY);
        assert_int_equal(check(f->v, user, code, NOW),
                         FACTOR_E_USED); /* the confirming code is used */
        assert_int_equal(check_at(f->v, user, begun, NOW + STEP, NOW + STEP), 0);
        assert_int_equal(factor_totp_confirm(f->v, user, code, NOW, &codes), FACTOR_E_NONE);
    }
}

/* Goal: nonsense is refused with a reason, before anything is kept. */
static void test_begin_refused(void **state)
{
    struct fixture *f = *state;
    json_t *out = NULL;
    char why[128], long_name[2000];
    memset(long_name, 'a', sizeof(long_name));
    long_name[sizeof(long_name) - 1] = '\0';
    static const struct {
        const char *user, *algorithm;
        int digits;
        const char *issuer;
    } bad[] = {
        {"u", "MD5", 6, "x"},   {"u", "SHA1", 7, "x"}, {"u", "SHA1", 0, "x"},
        {"u", "SHA1", -6, "x"}, {"u", "SHA1", 6, ""},  {"u", "SHA1", 6, "\xff"},
        {"", "SHA1", 6, "x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        why[0] = '\0';
        assert_int_equal(factor_totp_begin(f->v, bad[i].user, bad[i].algorithm, bad[i].digits,
                                           bad[i].issuer, &out, why, sizeof(why)),
                         FACTOR_E_REFUSED);
        assert_null(out);
        assert_true(why[0]);
    }
    assert_int_equal(factor_totp_begin(f->v, long_name, "SHA1", 6, "x", &out, why, sizeof(why)),
                     FACTOR_E_REFUSED);
    assert_int_equal(factor_totp_begin(f->v, "u", "SHA1", 6, long_name, &out, why, sizeof(why)),
                     FACTOR_E_REFUSED);
}

/* Goal: the URL is one that any device reads: percent-encoded, with every parameter. */
static void test_url(void **state)
{
    struct fixture *f = *state;
    json_t *out = NULL;
    char why[128], want[512];
    assert_int_equal(
        factor_totp_begin(f->v, "jürgen@x", "SHA256", 8, "Acme: a&b", &out, why, sizeof(why)), 0);
    snprintf(
        want, sizeof(want),
        "otpauth://totp/Acme%%3A%%20a%%26b:j%%C3%%BCrgen%%40x?secret=%s&issuer=Acme%%3A%%20a%%26b"
        "&algorithm=SHA256&digits=8&period=30",
        json_str(out, "secret"));
    assert_string_equal(json_str(out, "url"), want);
    assert_int_equal(json_int(out, "period", 0), 30);
    assert_string_equal(json_str(out, "algorithm"), "SHA256");
    json_decref(out);
}

/* Goal: a code works once, an older one no more, also after the store was closed and opened again.
 */
static void test_replay(void **state)
{
    struct fixture *f = *state;
    _cleanup_json_ json_t *bob = enrol(f->v, "bob", "SHA1", 6, NULL);
    assert_int_equal(check_at(f->v, "bob", bob, NOW, NOW), 0);
    assert_int_equal(check_at(f->v, "bob", bob, NOW, NOW), FACTOR_E_USED);
    assert_int_equal(check_at(f->v, "bob", bob, NOW - STEP, NOW),
                     FACTOR_E_USED); /* older, never typed */
    fixture_reopen(f);
    assert_int_equal(check_at(f->v, "bob", bob, NOW, NOW), FACTOR_E_USED);
    assert_int_equal(check_at(f->v, "bob", bob, NOW, NOW + STEP), FACTOR_E_USED);
    assert_int_equal(check_at(f->v, "bob", bob, NOW + STEP, NOW + STEP), 0);
    assert_int_equal(check_at(f->v, "bob", bob, NOW + STEP, NOW),
                     FACTOR_E_USED); /* clock put back */
}

/* Goal: a failed commit or an undone mark gives the code back: no state without its turn. */
static void test_undo(void **state)
{
    struct fixture *f = *state;
    _cleanup_json_ json_t *bob = enrol(f->v, "bob", "SHA1", 6, NULL);
    assert_int_equal(vault_begin(f->v), 0);
    assert_int_equal(vault_mark(f->v), 0);
    assert_int_equal(check_at(f->v, "bob", bob, NOW, NOW), 0);
    assert_int_equal(vault_undo(f->v), 0);
    assert_int_equal(check_at(f->v, "bob", bob, NOW, NOW), 0);
    assert_int_equal(vault_commit(f->v), 0);
    assert_int_equal(check_at(f->v, "bob", bob, NOW, NOW), FACTOR_E_USED);
}

/* Goal: two people with the same code at the same time are independent. */
static void test_people_apart(void **state)
{
    struct fixture *f = *state;
    _cleanup_json_ json_t *a = enrol(f->v, "a", "SHA1", 6, NULL),
                          *b = enrol(f->v, "b", "SHA1", 6, NULL);
    assert_int_equal(check_at(f->v, "b", a, NOW, NOW), FACTOR_E_WRONG);
    assert_int_equal(check_at(f->v, "a", a, NOW, NOW), 0);
    assert_int_equal(check_at(f->v, "b", b, NOW, NOW), 0);
}

/* Goal: a device that drifts is followed a step at a time, either way, but not beyond the bound. */
static void test_skew(void **state)
{
    struct fixture *f = *state;
    for (int sign = -1; sign <= 1; sign += 2) {
        const char *user = sign < 0 ? "slow" : "fast";
        _cleanup_json_ json_t *u = enrol(f->v, user, "SHA1", 6, NULL);
        int64_t now = NOW;
        assert_int_equal(check_at(f->v, user, u, now + 2 * sign * STEP, now), FACTOR_E_WRONG);
        for (int skew = 1; skew <= FACTOR_SKEW_MAX; skew++) {
            now += 1000 * STEP;
            assert_int_equal(check_at(f->v, user, u, now + skew * sign * STEP, now), 0);
        }
        /* one more is seen through the window, but not learned: two more never are */
        now += 1000 * STEP;
        assert_int_equal(check_at(f->v, user, u, now + (FACTOR_SKEW_MAX + 1) * sign * STEP, now),
                         0);
        now += 1000 * STEP;
        assert_int_equal(check_at(f->v, user, u, now + (FACTOR_SKEW_MAX + 2) * sign * STEP, now),
                         FACTOR_E_WRONG);
        assert_int_equal(check_at(f->v, user, u, now, now), FACTOR_E_WRONG); /* the window moved */
        assert_int_equal(check_at(f->v, user, u, now + FACTOR_SKEW_MAX * sign * STEP, now), 0);
    }
}

/* Goal: skew is learned from the confirming code and from right codes only. */
static void test_skew_learned_when(void **state)
{
    struct fixture *f = *state;
    char code[16];
    json_t *codes = NULL;
    _cleanup_json_ json_t *u = begin(f->v, "u", "SHA1", 6);
    device(u, NOW + STEP, code);
    assert_int_equal(factor_totp_confirm(f->v, "u", code, NOW, &codes), 0);
    json_decref(codes);
    int64_t now = NOW + 1000 * STEP;
    assert_int_equal(check_at(f->v, "u", u, now + 3 * STEP, now), FACTOR_E_WRONG);
    assert_int_equal(check_at(f->v, "u", u, now - STEP, now), FACTOR_E_WRONG);
    assert_int_equal(check_at(f->v, "u", u, now + 2 * STEP, now), 0);
}

/* Goal: answers that are no code at all are wrong, whatever they are. */
static void test_odd_answers(void **state)
{
    struct fixture *f = *state;
    _cleanup_json_ json_t *bob = enrol(f->v, "bob", "SHA1", 6, NULL);
    char code[16], text[64], huge[5000];
    device(bob, NOW, code);
    memset(huge, '1', sizeof(huge));
    huge[sizeof(huge) - 1] = '\0';
    snprintf(text, sizeof(text), "0%s", code);
    assert_int_equal(check(f->v, "bob", text, NOW), FACTOR_E_WRONG);
    snprintf(text, sizeof(text), "%s0", code);
    assert_int_equal(check(f->v, "bob", text, NOW), FACTOR_E_WRONG);
    snprintf(text, sizeof(text), "%.5s", code);
    assert_int_equal(check(f->v, "bob", text, NOW), FACTOR_E_WRONG);
    snprintf(text, sizeof(text), "+%.5s", code);
    assert_int_equal(check(f->v, "bob", text, NOW), FACTOR_E_WRONG);
    snprintf(text, sizeof(text), "%.5s\xc3\xa9", code);
    assert_int_equal(check(f->v, "bob", text, NOW), FACTOR_E_WRONG);
    static const char *const odd[] = {
        "", "-", "   ", "\b\n\r\177INCORRECT", "\xff\xfe", "-1", "1e5", "aaaaaaaaaaaaaaaa", "%s%n"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++)
        assert_int_equal(check(f->v, "bob", odd[i], NOW), FACTOR_E_WRONG);
    assert_int_equal(check(f->v, "bob", huge, NOW), FACTOR_E_WRONG);
    huge[0] = 'x';
    assert_int_equal(check(f->v, "bob", huge, NOW), FACTOR_E_WRONG);
    snprintf(text, sizeof(text), " %.3s-%s ", code, code + 3); /* as people type it */
    assert_int_equal(check(f->v, "bob", text, NOW), 0);
}

/* Goal: what is not allowed does not pass, is not used up, and tells nothing. */
static void test_allowed(void **state)
{
    struct fixture *f = *state;
    json_t *codes = NULL;
    enum factor which = 0;
    char code[16];
    _cleanup_json_ json_t *bob = enrol(f->v, "bob", "SHA1", 6, &codes);
    const char *recovery = json_string_value(json_array_get(codes, 0));
    device(bob, NOW, code);
    assert_int_equal(factor_check_code(f->v, "bob", 0, code, NOW, &which), FACTOR_E_WRONG);
    assert_int_equal(factor_check_code(f->v, "bob", FACTOR_RECOVERY, code, NOW, &which),
                     FACTOR_E_WRONG);
    assert_int_equal(factor_check_code(f->v, "bob", FACTOR_TOTP, recovery, NOW, &which),
                     FACTOR_E_WRONG);
    assert_int_equal(which, 0);
    assert_int_equal(factor_check_code(f->v, "bob", FACTOR_TOTP, code, NOW, &which), 0);
    assert_int_equal(which, FACTOR_TOTP);
    assert_int_equal(factor_check_code(f->v, "bob", FACTOR_TOTP, code, NOW, &which), FACTOR_E_USED);
    assert_int_equal(factor_check_code(f->v, "bob", 0, code, NOW, &which), FACTOR_E_WRONG);
    assert_int_equal(factor_check_code(f->v, "bob", FACTOR_RECOVERY, recovery, NOW, &which), 0);
    assert_int_equal(which, FACTOR_RECOVERY);
    json_decref(codes);
}

static int64_t remaining(struct vault *v, const char *user)
{
    _cleanup_json_ json_t *list = NULL;
    assert_int_equal(factor_list(v, user, &list), 0);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        if (strcmp(json_str(o, "type"), "recovery") == 0)
            return json_int(o, "remaining", -1);
    }
    return -1;
}

/* Goal: each recovery code works once, in any spelling, for its owner only, across restarts. */
static void test_recovery(void **state)
{
    struct fixture *f = *state;
    json_t *codes = NULL, *others = NULL;
    _cleanup_json_ _unused_ json_t *bob = enrol(f->v, "bob", "SHA1", 6, &codes);
    _cleanup_json_ _unused_ json_t *eve = enrol(f->v, "eve", "SHA1", 6, &others);
    for (size_t i = 0; i < FACTOR_CODES; i++) {
        const char *code = json_string_value(json_array_get(codes, i));
        char shout[64];
        assert_int_equal(strlen(code), 19);
        assert_int_equal(check(f->v, "eve", code, NOW), FACTOR_E_WRONG);
        snprintf(shout, sizeof(shout), "%s", code);
        for (char *p = shout; i % 2 && *p; p++)
            *p = *p == '-' ? ' ' : *p >= 'a' && *p <= 'z' ? (char)(*p - 32) : *p;
        assert_int_equal(check(f->v, "bob", shout, NOW), 0);
        assert_int_equal(remaining(f->v, "bob"), FACTOR_CODES - 1 - (int)i);
        if (i == 3)
            fixture_reopen(f);
        assert_int_equal(check(f->v, "bob", code, NOW), FACTOR_E_WRONG);
    }
    assert_int_equal(enrolled(f->v, "bob"), FACTOR_TOTP);
    assert_int_equal(remaining(f->v, "eve"), FACTOR_CODES);
    json_decref(codes);
    json_decref(others);
}

/* Goal: a new set replaces the old; codes of one set differ. */
static void test_recovery_new(void **state)
{
    struct fixture *f = *state;
    json_t *old = NULL, *fresh = NULL;
    _cleanup_json_ _unused_ json_t *bob = enrol(f->v, "bob", "SHA1", 6, &old);
    assert_int_equal(factor_recovery_new(f->v, "bob", &fresh), 0);
    assert_int_equal(json_array_size(fresh), FACTOR_CODES);
    for (size_t i = 0; i < FACTOR_CODES; i++) {
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(json_string_value(json_array_get(fresh, i)),
                                    json_string_value(json_array_get(fresh, k)));
        assert_int_equal(check(f->v, "bob", json_string_value(json_array_get(old, i)), NOW),
                         FACTOR_E_WRONG);
    }
    assert_int_equal(check(f->v, "bob", json_string_value(json_array_get(fresh, 9)), NOW), 0);
    json_decref(old);
    json_decref(fresh);
}

/* Goal: enrolling again keeps the old device until the new one is confirmed, and the old codes. */
static void test_enrol_again(void **state)
{
    struct fixture *f = *state;
    char code[16];
    json_t *codes = NULL;
    _cleanup_json_ json_t *old = enrol(f->v, "bob", "SHA1", 6, NULL);
    _cleanup_json_ json_t *fresh = begin(f->v, "bob", "SHA512", 8);
    assert_int_equal(check_at(f->v, "bob", fresh, NOW, NOW), FACTOR_E_WRONG);
    assert_int_equal(check_at(f->v, "bob", old, NOW, NOW), 0);
    device(fresh, NOW, code);
    assert_int_equal(factor_totp_confirm(f->v, "bob", code, NOW, &codes), 0);
    assert_int_equal(json_array_size(codes), 0);
    json_decref(codes);
    assert_int_equal(check_at(f->v, "bob", old, NOW + STEP, NOW + STEP), FACTOR_E_WRONG);
    assert_int_equal(check_at(f->v, "bob", fresh, NOW + STEP, NOW + STEP), 0);
}

/* Goal: the list tells types and times and no secrets; people are those with a confirmed factor. */
static void test_list(void **state)
{
    struct fixture *f = *state;
    json_t *people = NULL, *list = NULL;
    _cleanup_json_ _unused_ json_t *bob = enrol(f->v, "bob", "SHA256", 8, NULL);
    _cleanup_json_ _unused_ json_t *begun = begin(f->v, "newcomer", "SHA1", 6);
    assert_int_equal(factor_people(f->v, &people), 0);
    assert_int_equal(json_array_size(people), 1);
    assert_true(json_has_str(people, "bob"));
    json_decref(people);
    assert_int_equal(factor_list(f->v, "bob", &list), 0);
    assert_int_equal(json_array_size(list), 2);
    const json_t *totp = json_array_get(list, 0);
    assert_string_equal(json_str(totp, "type"), "totp");
    assert_string_equal(json_str(totp, "algorithm"), "SHA256");
    assert_int_equal(json_int(totp, "digits", 0), 8);
    assert_true(json_bool(totp, "confirmed", false));
    assert_string_equal(json_str(totp, "last_used"), "2023-11-14T22:08:30Z");
    assert_non_null(json_str(totp, "created"));
    assert_true(json_is_null(json_object_get(json_array_get(list, 1), "last_used")));
    _cleanup_buf_ struct buf text = BUF_INIT(65536);
    json_put(&text, list);
    assert_null(strstr(buf_str(&text), "secret"));
    assert_null(strstr(buf_str(&text), "hash"));
    json_decref(list);
    assert_int_equal(factor_list(f->v, "newcomer", &list), 0);
    assert_false(json_bool(json_array_get(list, 0), "confirmed", true));
    json_decref(list);
    assert_int_equal(factor_list(f->v, "nobody", &list), 0);
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

/* Goal: recovery codes go with the last other factor; reset takes all. */
static void test_remove(void **state)
{
    struct fixture *f = *state;
    char hash[FACTOR_HASH_MAX] = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaA";
    _cleanup_json_ json_t *bob = enrol(f->v, "bob", "SHA1", 6, NULL);
    assert_int_equal(factor_passphrase_set(f->v, "bob", hash), 0);
    assert_int_equal(enrolled(f->v, "bob"), FACTOR_ALL);
    assert_int_equal(factor_remove(f->v, "bob", FACTOR_TOTP), 0);
    assert_int_equal(enrolled(f->v, "bob"), FACTOR_PASSPHRASE | FACTOR_RECOVERY);
    assert_int_equal(check_at(f->v, "bob", bob, NOW, NOW), FACTOR_E_WRONG);
    assert_int_equal(factor_remove(f->v, "bob", FACTOR_TOTP), FACTOR_E_NONE);
    assert_int_equal(factor_remove(f->v, "bob", FACTOR_PASSPHRASE), 0);
    assert_int_equal(enrolled(f->v, "bob"), 0);
    int64_t n;
    assert_int_equal(record_count(f->v, RECORD_FACTOR, &n), 0);
    assert_int_equal(n, 0);
    _cleanup_json_ _unused_ json_t *eve = enrol(f->v, "eve", "SHA1", 6, NULL);
    _cleanup_json_ json_t *again = begin(f->v, "eve", "SHA1", 6);
    assert_int_equal(factor_reset(f->v, "eve"), 0);
    assert_int_equal(enrolled(f->v, "eve"), 0);
    json_t *codes = NULL;
    char code[16];
    device(again, NOW, code);
    assert_int_equal(factor_totp_confirm(f->v, "eve", code, NOW, &codes), FACTOR_E_NONE);
    assert_int_equal(factor_reset(f->v, "eve"), 0);
    assert_int_equal(factor_remove(f->v, "eve", (enum factor)64), -EINVAL);
}

/* --- Passphrases
 * ---------------------------------------------------------------------------------- */

/* Goal: a passphrase is known again and no other is; unknown people get a hash of the same cost. */
static void test_passphrase(void **state)
{
    struct fixture *f = *state;
    char hash[FACTOR_HASH_MAX], got[FACTOR_HASH_MAX], none[FACTOR_HASH_MAX], again[FACTOR_HASH_MAX];
    bool real;
    assert_int_equal(factor_passphrase_hash("correct horse battery", hash), 0);
    assert_int_equal(factor_passphrase_set(f->v, "bob", hash), 0);
    assert_int_equal(enrolled(f->v, "bob"), FACTOR_PASSPHRASE);
    fixture_reopen(f);
    assert_int_equal(factor_passphrase_get(f->v, "bob", got, &real), 0);
    assert_true(real);
    assert_string_equal(got, hash);
    assert_true(factor_passphrase_matches(got, "correct horse battery"));
    assert_false(factor_passphrase_matches(got, "correct horse batterY"));
    assert_false(factor_passphrase_matches(got, ""));
    assert_int_equal(factor_passphrase_get(f->v, "nobody", none, &real), 0);
    assert_false(real);
    assert_int_equal(factor_passphrase_get(f->v, "nobody", again, &real), 0);
    assert_string_equal(none, again);
    assert_int_equal(crypto_pwhash_str_needs_rehash(none, 3, 64U * 1024 * 1024), 0);
    assert_int_equal(crypto_pwhash_str_needs_rehash(hash, 3, 64U * 1024 * 1024), 0);
    assert_int_equal(strlen(none), strlen(hash));
    assert_false(factor_passphrase_matches(none, "correct horse battery"));
    assert_int_equal(factor_touch(f->v, "bob", FACTOR_PASSPHRASE, NOW), 0);
    assert_int_equal(factor_touch(f->v, "bob", FACTOR_TOTP, NOW), FACTOR_E_NONE);
    json_t *list = NULL;
    assert_int_equal(factor_list(f->v, "bob", &list), 0);
    assert_string_equal(json_str(json_array_get(list, 0), "last_used"), "2023-11-14T22:13:30Z");
    json_decref(list);
    assert_int_equal(factor_passphrase_set(f->v, "bob", "plain text"), -EINVAL);
}

/* Goal: the longest passphrase counts to its last byte, and a longer one with the same start does
 * not. */
static void test_passphrase_long(void **state)
{
    char hash[FACTOR_HASH_MAX], text[FACTOR_PASSPHRASE_MAX + 8];
    (void)state;
    memset(text, 'a', sizeof(text));
    text[FACTOR_PASSPHRASE_MAX + 1] = '\0';
    assert_int_equal(factor_passphrase_hash(text, hash), -EINVAL);
    text[FACTOR_PASSPHRASE_MAX] = '\0';
    assert_int_equal(factor_passphrase_hash(text, hash), 0);
    assert_true(factor_passphrase_matches(hash, text));
    text[FACTOR_PASSPHRASE_MAX] = 'a';
    assert_false(factor_passphrase_matches(hash, text));
}

/* Goal: what a new passphrase may be. */
static void test_passphrase_ok(void **state)
{
    char why[128], text[FACTOR_PASSPHRASE_MAX + 2];
    (void)state;
    assert_int_equal(factor_passphrase_ok("twelve chars", why, sizeof(why)), 0);
    assert_int_equal(factor_passphrase_ok("üüüüüüüüüüüü", why, sizeof(why)), 0);
    assert_int_equal(factor_passphrase_ok("eleven char", why, sizeof(why)), FACTOR_E_REFUSED);
    assert_int_equal(factor_passphrase_ok("üüüüüü", why, sizeof(why)), FACTOR_E_REFUSED);
    assert_int_equal(factor_passphrase_ok("", why, sizeof(why)), FACTOR_E_REFUSED);
    assert_int_equal(factor_passphrase_ok("twelve\tchars", why, sizeof(why)), FACTOR_E_REFUSED);
    assert_int_equal(factor_passphrase_ok("twelve\xc2\x9b"
                                          "chars!",
                                          why, sizeof(why)),
                     FACTOR_E_REFUSED);
    assert_int_equal(factor_passphrase_ok("twelve\xff"
                                          "chars!",
                                          why, sizeof(why)),
                     FACTOR_E_REFUSED);
    assert_int_equal(factor_passphrase_ok("twelve\177chars!", why, sizeof(why)), FACTOR_E_REFUSED);
    memset(text, 'a', sizeof(text));
    text[FACTOR_PASSPHRASE_MAX + 1] = '\0';
    assert_int_equal(factor_passphrase_ok(text, why, sizeof(why)), FACTOR_E_REFUSED);
    text[FACTOR_PASSPHRASE_MAX] = '\0';
    assert_int_equal(factor_passphrase_ok(text, why, sizeof(why)), 0);
}

/* --- Equal cost
 * ----------------------------------------------------------------------------------- */

struct cost {
    unsigned codes, compares;
};

static struct cost cost_of(struct vault *v, const char *user, unsigned allowed, const char *answer,
                           int64_t now)
{
    enum factor which;
    n_codes = n_compares = 0;
    (void)factor_check_code(v, user, allowed, answer, now, &which);
    return (struct cost){n_codes, n_compares};
}

static void assert_cost(struct cost c, unsigned codes, unsigned compares)
{
    assert_int_equal(c.codes, codes);
    assert_int_equal(c.compares, compares);
}

/* Goal: the same is computed for the enrolled, the unenrolled and the unknown, the right answer and
 * every wrong one. */
static void test_equal_cost(void **state)
{
    struct fixture *f = *state;
    json_t *codes = NULL;
    char right[16];
    _cleanup_json_ json_t *bob = enrol(f->v, "bob", "SHA1", 6, &codes);
    _cleanup_json_ _unused_ json_t *newcomer = begin(f->v, "newcomer", "SHA1", 6);
    device(bob, NOW, right);
    const char *people[] = {"bob", "newcomer", "nobody", ""};
    const char *answers[] = {"000000", "0000000", "00000000", "1", ""};
    for (size_t i = 0; i < ARRAY_LEN(people); i++) {
        for (size_t k = 0; k < ARRAY_LEN(answers); k++)
            assert_cost(cost_of(f->v, people[i], FACTOR_ALL, answers[k], NOW), 3, 3);
        assert_cost(cost_of(f->v, people[i], 0, right, NOW), 3, 3);
        assert_cost(cost_of(f->v, people[i], FACTOR_ALL, "aaaa-aaaa-aaaa-aaaa", NOW), 0,
                    FACTOR_CODES);
        assert_cost(cost_of(f->v, people[i], 0, "zz", NOW), 0, FACTOR_CODES);
    }
    assert_cost(cost_of(f->v, "bob", FACTOR_ALL, right, NOW), 3, 3);
    assert_cost(cost_of(f->v, "bob", FACTOR_ALL, right, NOW), 3, 3); /* used */
    for (size_t i = 0; i < 3; i++) /* fewer codes left, as much to compare */
        assert_cost(
            cost_of(f->v, "bob", FACTOR_ALL, json_string_value(json_array_get(codes, i)), NOW), 0,
            FACTOR_CODES);
    json_decref(codes);
}

/* Goal: nothing works while the vault is sealed. */
static void test_sealed(void **state)
{
    struct fixture *f = *state;
    unsigned mask;
    enum factor which;
    _cleanup_json_ _unused_ json_t *bob = enrol(f->v, "bob", "SHA1", 6, NULL);
    vault_seal(f->v);
    assert_int_equal(factor_enrolled(f->v, "bob", &mask), -EACCES);
    assert_int_equal(mask, 0);
    assert_int_equal(factor_check_code(f->v, "bob", FACTOR_ALL, "123456", NOW, &which), -EACCES);
    assert_int_equal(factor_check_code(f->v, "bob", FACTOR_ALL, "abc", NOW, &which), -EACCES);
}

static int import(struct vault *v, struct factor_import i, bool *weak)
{
    char why[200];
    if (!i.algorithm)
        i.algorithm = "SHA1";
    i.digits = i.digits ? i.digits : 6;
    i.period = i.period ? i.period : 30;
    return factor_totp_import(v, "bob", &i, weak, why, sizeof(why));
}

#define SECRET_128 "GEZDGNBVGY3TQOJQGEZDGNBVGY" /* "1234567890123456" */

/* Goal: a confirmed import counts at once, with the codes of its own secret and a known skew; it
 * goes over a factor only when that is said. */
static void test_import(void **state)
{
    struct fixture *f = *state;
    enum factor which;
    unsigned mask;
    char code[16];
    bool weak;
    const struct factor_import good = {.secret = SECRET_128, .confirmed = true};
    assert_int_equal(import(f->v, good, &weak), 0);
    assert_false(weak);
    assert_int_equal(factor_enrolled(f->v, "bob", &mask), 0);
    assert_int_equal(mask, FACTOR_TOTP);
    assert_int_equal(oath_totp_generate2("1234567890123456", 16, NOW, STEP, 0, 6, 0, code),
                     OATH_OK);
    assert_int_equal(factor_check_code(f->v, "bob", FACTOR_ALL, code, NOW, &which), 0);
    assert_int_equal(factor_check_code(f->v, "bob", FACTOR_ALL, code, NOW, &which), FACTOR_E_USED);
    assert_int_equal(import(f->v, good, &weak), FACTOR_E_USED);
    struct factor_import ahead = good;
    ahead.replace = true;
    ahead.skew = 7;
    assert_int_equal(import(f->v, ahead, &weak), 0);
    assert_int_equal(factor_check_code(f->v, "bob", FACTOR_ALL, code, NOW, &which), FACTOR_E_WRONG);
    assert_int_equal(factor_check_code(f->v, "bob", FACTOR_ALL, code, NOW - 7 * STEP, &which), 0);
}

/* Goal: one's own import counts once a code of it was right, and is no factor before that. */
static void test_import_unconfirmed(void **state)
{
    struct fixture *f = *state;
    _cleanup_json_ json_t *codes = NULL;
    unsigned mask;
    char code[16];
    bool weak;
    assert_int_equal(import(f->v, (struct factor_import){.secret = SECRET_128}, &weak), 0);
    assert_int_equal(factor_enrolled(f->v, "bob", &mask), 0);
    assert_int_equal(mask, 0);
    assert_int_equal(oath_totp_generate2("1234567890123456", 16, NOW, STEP, 0, 6, 0, code),
                     OATH_OK);
    assert_int_equal(factor_totp_confirm(f->v, "bob", "000000", NOW, &codes), FACTOR_E_WRONG);
    assert_int_equal(factor_totp_confirm(f->v, "bob", code, NOW, &codes), 0);
    assert_int_equal(json_array_size(codes), FACTOR_CODES);
    assert_int_equal(factor_enrolled(f->v, "bob", &mask), 0);
    assert_int_equal(mask, FACTOR_TOTP | FACTOR_RECOVERY);
}

/* Goal: what can't be checked here, or is too weak, is refused and leaves nothing; 80 bits are
 * taken, with a warning. */
static void test_import_refused(void **state)
{
    struct fixture *f = *state;
    static const struct factor_import bad[] = {
        {.secret = "GEZDGNBVGY3TQ"},
        {.secret = ""},
        {.secret = "not base32!"},
        {.secret = SECRET_128, .algorithm = "MD5"},
        {.secret = SECRET_128, .digits = 7},
        {.secret = SECRET_128, .digits = 10},
        {.secret = SECRET_128, .period = 60},
        {.secret = SECRET_128, .skew = FACTOR_SKEW_MAX + 1},
        {.secret = SECRET_128, .skew = -FACTOR_SKEW_MAX - 1},
    };
    char longest[120];
    bool weak;
    int64_t n;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct factor_import one = bad[i];
        one.confirmed = true;
        assert_int_equal(import(f->v, one, &weak), FACTOR_E_REFUSED);
    }
    memset(longest, 'A', sizeof(longest));
    longest[104] = '\0'; /* 520 bits */
    assert_int_equal(import(f->v, (struct factor_import){.secret = longest}, &weak),
                     FACTOR_E_REFUSED);
    assert_int_equal(record_count(f->v, RECORD_FACTOR, &n), 0);
    assert_int_equal(n, 0);
    longest[103] = '\0'; /* 515: 64 bytes and three bits to drop */
    assert_int_equal(import(f->v, (struct factor_import){.secret = longest}, &weak), 0);
    assert_false(weak);
    assert_int_equal(import(f->v,
                            (struct factor_import){.secret = "GEZDGNBVGY3TQOJQ", .confirmed = true},
                            &weak),
                     0);
    assert_true(weak);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc6238),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_base32),
        cmocka_unit_test(test_from_base32),
        FIXTURE_TEST(test_import),
        FIXTURE_TEST(test_import_unconfirmed),
        FIXTURE_TEST(test_import_refused),
        FIXTURE_TEST(test_enrol),
        FIXTURE_TEST(test_begin_refused),
        FIXTURE_TEST(test_url),
        FIXTURE_TEST(test_replay),
        FIXTURE_TEST(test_undo),
        FIXTURE_TEST(test_people_apart),
        FIXTURE_TEST(test_skew),
        FIXTURE_TEST(test_skew_learned_when),
        FIXTURE_TEST(test_odd_answers),
        FIXTURE_TEST(test_allowed),
        FIXTURE_TEST(test_recovery),
        FIXTURE_TEST(test_recovery_new),
        FIXTURE_TEST(test_enrol_again),
        FIXTURE_TEST(test_list),
        FIXTURE_TEST(test_remove),
        FIXTURE_TEST(test_passphrase),
        FIXTURE_TEST(test_passphrase_long),
        cmocka_unit_test(test_passphrase_ok),
        FIXTURE_TEST(test_equal_cost),
        FIXTURE_TEST(test_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
