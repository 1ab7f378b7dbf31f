#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <libpq-fe.h>
#include <sodium.h>
#include <string.h>

#include "base/encode.h"
#include "engine/scram.h"

/* The exchange of RFC 7677 section 3: user "user", password "pencil". */
static const char vector_salt[] = "W22ZaJ0SNY7soEsUEjb6gQ==";
static const char vector_auth[] =
    "n=user,r=rOprNGfwEbeRWgbNEkqO,"
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
static const char vector_proof[] = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
static const char vector_signature[] = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

static int make_vector(void **state)
{
    (void)state;
    return sodium_init() < 0 ? -1 : 0;
}

static void decode(const char *text, uint8_t *out, size_t want)
{
    size_t n;

    assert_int_equal(encode_from_base64(text, out, want, &n), 0);
    assert_int_equal(n, want);
}

/* Takes the two keys out of a verifier. */
static void split(const char *verifier, char stored[64], char server[64])
{
    const char *keys = strrchr(verifier, '$');
    const char *colon = keys ? strchr(keys, ':') : NULL;

    assert_non_null(colon);
    assert_in_range(colon - keys - 1, 1, 63);
    memcpy(stored, keys + 1, (size_t)(colon - keys - 1));
    stored[colon - keys - 1] = '\0';
    assert_in_range(strlen(colon + 1), 1, 63);
    memcpy(server, colon + 1, strlen(colon + 1) + 1);
}

static void hmac(const uint8_t key[32], const char *text, uint8_t out[32])
{
    assert_int_equal(crypto_auth_hmacsha256(out, (const uint8_t *)text, strlen(text), key), 0);
}

/* With the RFC's password and salt, both keys are those its exchange was made with. */
static void test_rfc7677(_unused_ void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(256);
    uint8_t salt[16], stored[32], server[32], proof[32], made[32], want[32];
    char stored64[64], server64[64];

    decode(vector_salt, salt, sizeof(salt));
    assert_int_equal(scram_verifier_salted("pencil", salt, 4096, &b), 0);
    assert_memory_equal(buf_str(&b), "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$", 44);
    split(buf_str(&b), stored64, server64);
    decode(stored64, stored, sizeof(stored));
    decode(server64, server, sizeof(server));

    decode(vector_signature, want, sizeof(want));
    hmac(server, vector_auth, made);
    assert_memory_equal(made, want, sizeof(made));

    /* ClientProof = ClientKey xor HMAC(StoredKey, AuthMessage), and StoredKey = H(ClientKey). */
    decode(vector_proof, proof, sizeof(proof));
    hmac(stored, vector_auth, made);
    for (size_t i = 0; i < sizeof(proof); i++)
        proof[i] ^= made[i];
    assert_int_equal(crypto_hash_sha256(made, proof, sizeof(proof)), 0);
    assert_memory_equal(made, stored, sizeof(made));
}

/* libpq makes the same verifier from the same password and salt. */
static void test_as_libpq(_unused_ void **state)
{
    static const char *const passwords[] = {
        "x", "correct horse battery staple", "~!@#$%^&*()_+\"'\\",
        "0123456789012345678901234567890123456789012345678901234567890123456789"};
    PGconn *conn = PQconnectStart("host=/nonexistent");

    assert_non_null(conn);
    for (size_t i = 0; i < ARRAY_LEN(passwords); i++) {
        char *theirs = PQencryptPasswordConn(conn, passwords[i], "role", "scram-sha-256");
        _cleanup_buf_ struct buf ours = BUF_INIT(256);
        char salt64[25] = "";
        uint8_t salt[16];

        assert_non_null(theirs);
        memcpy(salt64, strchr(theirs, ':') + 1, 24);
        decode(salt64, salt, sizeof(salt));
        assert_int_equal(scram_verifier_salted(passwords[i], salt, 4096, &ours), 0);
        assert_string_equal(buf_str(&ours), theirs);
        PQfreemem(theirs);
    }
    PQfinish(conn);
}

/* The salt is fresh each time. */
static void test_fresh_salt(_unused_ void **state)
{
    _cleanup_buf_ struct buf a = BUF_INIT(256);
    _cleanup_buf_ struct buf b = BUF_INIT(256);

    assert_int_equal(scram_verifier("pencil", &a), 0);
    assert_int_equal(scram_verifier("pencil", &b), 0);
    assert_int_equal(strncmp(buf_str(&a), "SCRAM-SHA-256$4096:", 19), 0);
    assert_string_not_equal(buf_str(&a), buf_str(&b));
}

/* Passwords that SASLprep would change or forbid are refused, and nothing is written. */
static void test_refused(_unused_ void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(256);
    char large[SCRAM_PASSWORD_MAX + 2];

    memset(large, 'a', sizeof(large));
    large[SCRAM_PASSWORD_MAX + 1] = '\0';
    assert_int_equal(scram_verifier("", &b), -EINVAL);
    assert_int_equal(scram_verifier("p\xc3\xa4ncil", &b), -EINVAL);
    assert_int_equal(scram_verifier("pen\ncil", &b), -EINVAL);
    assert_int_equal(scram_verifier("pen\x7f", &b), -EINVAL);
    assert_int_equal(scram_verifier(large, &b), -EINVAL);
    assert_int_equal(b.len, 0);
    large[SCRAM_PASSWORD_MAX] = '\0';
    assert_int_equal(scram_verifier(large, &b), 0);
}

/* A buffer that is too small is an error, not half a verifier taken for a whole one. */
static void test_bounded(_unused_ void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(60);

    assert_int_equal(scram_verifier("pencil", &b), -EMSGSIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc7677),    cmocka_unit_test(test_as_libpq),
        cmocka_unit_test(test_fresh_salt), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounded),
    };

    return cmocka_run_group_tests(tests, make_vector, NULL);
}
