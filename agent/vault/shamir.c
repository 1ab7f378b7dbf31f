#include "vault/shamir.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/mem.h"

/* Product in GF(2^8) modulo x^8+x^4+x^3+x+1: eight shifts, each masked instead of branched on. */
static uint8_t mul(uint8_t a, uint8_t b)
{
    uint8_t product = 0;
    for (int i = 0; i < 8; i++) {
        product ^= (uint8_t)(a & -(b & 1));
        uint8_t carry = (uint8_t) - (a >> 7);
        a = (uint8_t)((a << 1) ^ (carry & 0x1b));
        b >>= 1;
    }
    return product;
}

/* a^254 = 1/a (and 0 for 0): 254 = 2+4+8+16+32+64+128. */
static uint8_t inverse(uint8_t a)
{
    uint8_t square = a, result = 1;
    for (int i = 1; i < 8; i++) {
        square = mul(square, square);
        result = mul(result, square);
    }
    return result;
}

/* n distinct values of 1..255 in random order. */
static void pick_xs(uint8_t *x, unsigned n)
{
    uint8_t all[SHAMIR_SHARES_MAX];
    for (unsigned i = 0; i < SHAMIR_SHARES_MAX; i++)
        all[i] = (uint8_t)(i + 1);
    for (unsigned i = 0; i < n; i++) {
        unsigned j = i + randombytes_uniform(SHAMIR_SHARES_MAX - i);
        x[i] = all[j];
        all[j] = all[i];
    }
}

/* The value at x of the polynomial with these coefficients, the lowest first (Horner). */
static uint8_t value_at(const uint8_t *coefficient, unsigned t, uint8_t x)
{
    uint8_t y = 0;
    for (unsigned i = t; i > 0; i--)
        y = mul(y, x) ^ coefficient[i - 1];
    return y;
}

int shamir_split(const uint8_t *secret, size_t len, unsigned n, unsigned t, uint8_t *out)
{
    bool alone = t == 1 && n == 1;
    if (!len || len > SHAMIR_SECRET_MAX || n > SHAMIR_SHARES_MAX || t > n || (t < 2 && !alone))
        return -EINVAL;
    if (sodium_init() < 0)
        return -EIO;
    uint8_t x[SHAMIR_SHARES_MAX], coefficient[SHAMIR_SHARES_MAX];
    pick_xs(x, n);
    for (size_t i = 0; i < len; i++) {
        coefficient[0] = secret[i];
        randombytes_buf(coefficient + 1, t - 1);
        for (unsigned s = 0; s < n; s++)
            out[s * (len + 1) + i] = value_at(coefficient, t, x[s]);
    }
    for (unsigned s = 0; s < n; s++)
        out[s * (len + 1) + len] = x[s];
    mem_wipe(coefficient, sizeof(coefficient));
    return 0;
}

static int check_xs(const uint8_t *shares, size_t share_len, unsigned t)
{
    bool seen[256] = {true}; /* 0 is where the secret is: no share may claim it */
    for (unsigned s = 0; s < t; s++) {
        uint8_t x = shares[s * share_len + share_len - 1];
        if (seen[x])
            return -EINVAL;
        seen[x] = true;
    }
    return 0;
}

/* Lagrange's weight of share s at 0: the product of x_j / (x_j - x_s). Minus is plus here. */
static uint8_t weight(const uint8_t *shares, size_t share_len, unsigned t, unsigned s)
{
    uint8_t xs = shares[s * share_len + share_len - 1], w = 1;
    for (unsigned j = 0; j < t; j++) {
        uint8_t xj = shares[j * share_len + share_len - 1];
        if (j != s)
            w = mul(w, mul(xj, inverse(xj ^ xs)));
    }
    return w;
}

int shamir_join(const uint8_t *shares, size_t share_len, unsigned t, uint8_t *out)
{
    if (share_len < 2 || share_len - 1 > SHAMIR_SECRET_MAX || !t || t > SHAMIR_SHARES_MAX)
        return -EINVAL;
    int r = check_xs(shares, share_len, t);
    if (r < 0)
        return r;
    memset(out, 0, share_len - 1);
    for (unsigned s = 0; s < t; s++) {
        uint8_t w = weight(shares, share_len, t, s);
        for (size_t i = 0; i < share_len - 1; i++)
            out[i] ^= mul(shares[s * share_len + i], w);
    }
    return 0;
}
