#include "identity/emergency.h"

#include <sodium.h>
#include <string.h>

#define TYPED_MAX 128 /* bytes looked at, dashes and spaces included */

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
_Static_assert(sizeof(alphabet) - 1 == 32, "five bits a character");

/* Times x in GF(2^5) with x^5 + x^2 + 1. */
static unsigned times_x(unsigned a)
{
    return ((a << 1) ^ (0x25u & (0u - (a >> 4)))) & 0x1f;
}

/* The sum over GF(2^5) of the i-th character times x^(i+1): the factors of all places differ, so a
 * wrong character and a swap of two both change it. */
static unsigned check_of(const uint8_t value[EMERGENCY_CODE - 1])
{
    unsigned sum = 0;
    for (size_t i = EMERGENCY_CODE - 1; i > 0; i--)
        sum = times_x(sum ^ value[i - 1]);
    return sum;
}

static int value_of(char c)
{
    c = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    c = c == 'o' ? '0' : c == 'i' || c == 'l' ? '1' : c;
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

void emergency_new(char text[EMERGENCY_TEXT + 1])
{
    uint8_t value[EMERGENCY_CODE];
    randombytes_buf(value, sizeof(value));
    for (size_t i = 0; i < EMERGENCY_CODE; i++)
        value[i] &= 0x1f;
    value[EMERGENCY_CODE - 1] = (uint8_t)check_of(value);
    size_t n = 0;
    for (size_t i = 0; i < EMERGENCY_CODE; i++) {
        if (i && i % 4 == 0)
            text[n++] = '-';
        text[n++] = alphabet[value[i]];
    }
    text[n] = '\0';
    mem_wipe(value, sizeof(value));
}

int emergency_parse(const char *typed, char code[EMERGENCY_CODE + 1])
{
    uint8_t value[EMERGENCY_CODE];
    size_t n = 0, i = 0;
    int r = 0;
    for (; i < TYPED_MAX && typed[i] && r == 0; i++) {
        if (typed[i] == '-' || typed[i] == ' ')
            continue;
        int v = value_of(typed[i]);
        if (v < 0 || n == EMERGENCY_CODE)
            r = EMERGENCY_E_OTHER;
        else
            value[n++] = (uint8_t)v;
    }
    if (r == 0 && (n != EMERGENCY_CODE || typed[i]))
        r = EMERGENCY_E_OTHER;
    if (r == 0 && value[EMERGENCY_CODE - 1] != check_of(value))
        r = EMERGENCY_E_TYPO;
    for (i = 0; i < EMERGENCY_CODE; i++)
        code[i] = r == 0 ? alphabet[value[i]] : '\0';
    code[EMERGENCY_CODE] = '\0';
    mem_wipe(value, sizeof(value));
    return r;
}

void emergency_hash(const uint8_t salt[EMERGENCY_SALT], const char *user, const char *code,
                    uint8_t out[EMERGENCY_HASH])
{
    static const uint8_t personal[crypto_generichash_blake2b_PERSONALBYTES] = "CS-emergency";
    crypto_generichash_blake2b_state st;
    crypto_generichash_blake2b_init_salt_personal(&st, NULL, 0, EMERGENCY_HASH, salt, personal);
    crypto_generichash_blake2b_update(&st, (const uint8_t *)user, strlen(user) + 1);
    crypto_generichash_blake2b_update(&st, (const uint8_t *)code, EMERGENCY_CODE);
    crypto_generichash_blake2b_final(&st, out, EMERGENCY_HASH);
    mem_wipe(&st, sizeof(st));
}
