#include "engine/scram.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/encode.h"

#define HASH_LEN crypto_auth_hmacsha256_BYTES

_Static_assert(HASH_LEN == crypto_hash_sha256_BYTES, "HMAC and hash are of one size");

static void hmac(const uint8_t *key, size_t keylen, const void *text, size_t n,
                 uint8_t out[HASH_LEN])
{
    crypto_auth_hmacsha256_state state;

    (void)crypto_auth_hmacsha256_init(&state, key, keylen);
    (void)crypto_auth_hmacsha256_update(&state, text, n);
    (void)crypto_auth_hmacsha256_final(&state, out);
    mem_wipe(&state, sizeof(state));
}

/* Hi() of RFC 5802: PBKDF2 with one block of output. The keyed state is made once and copied, which
 * halves the work of every round. */
static void stretch(const char *password, const uint8_t salt[SCRAM_SALT_LEN], unsigned iterations,
                    uint8_t out[HASH_LEN])
{
    static const uint8_t first_block[4] = {0, 0, 0, 1};
    crypto_auth_hmacsha256_state keyed, state;
    uint8_t round[HASH_LEN];

    (void)crypto_auth_hmacsha256_init(&keyed, (const uint8_t *)password, strlen(password));
    state = keyed;
    (void)crypto_auth_hmacsha256_update(&state, salt, SCRAM_SALT_LEN);
    (void)crypto_auth_hmacsha256_update(&state, first_block, sizeof(first_block));
    (void)crypto_auth_hmacsha256_final(&state, round);
    memcpy(out, round, HASH_LEN);
    for (unsigned i = 1; i < iterations; i++) {
        state = keyed;
        (void)crypto_auth_hmacsha256_update(&state, round, sizeof(round));
        (void)crypto_auth_hmacsha256_final(&state, round);
        for (size_t k = 0; k < HASH_LEN; k++)
            out[k] ^= round[k];
    }
    mem_wipe(&keyed, sizeof(keyed));
    mem_wipe(&state, sizeof(state));
    mem_wipe(round, sizeof(round));
}

static bool printable_ascii(const char *s)
{
    size_t n = strlen(s);

    if (n == 0 || n > SCRAM_PASSWORD_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < 0x20 || s[i] > 0x7e)
            return false;
    }
    return true;
}

int scram_verifier_salted(const char *password, const uint8_t salt[SCRAM_SALT_LEN],
                          unsigned iterations, struct buf *out)
{
    uint8_t salted[HASH_LEN], client[HASH_LEN], stored[HASH_LEN], server[HASH_LEN];

    if (!printable_ascii(password) || iterations == 0)
        return -EINVAL;
    stretch(password, salt, iterations, salted);
    hmac(salted, sizeof(salted), "Client Key", 10, client);
    (void)crypto_hash_sha256(stored, client, sizeof(client));
    hmac(salted, sizeof(salted), "Server Key", 10, server);
    buf_putf(out, "SCRAM-SHA-256$%u:", iterations);
    encode_base64(out, salt, SCRAM_SALT_LEN);
    buf_putc(out, '$');
    encode_base64(out, stored, sizeof(stored));
    buf_putc(out, ':');
    encode_base64(out, server, sizeof(server));
    mem_wipe(salted, sizeof(salted));
    mem_wipe(client, sizeof(client));
    mem_wipe(stored, sizeof(stored));
    mem_wipe(server, sizeof(server));
    return buf_error(out);
}

int scram_verifier(const char *password, struct buf *out)
{
    uint8_t salt[SCRAM_SALT_LEN];

    randombytes_buf(salt, sizeof(salt));
    return scram_verifier_salted(password, salt, SCRAM_ITERATIONS, out);
}
