#include "base/encode.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#define BASE64 sodium_base64_VARIANT_ORIGINAL

void encode_hex(const void *p, size_t n, char *out)
{
    out[0] = '\0';
    if (n > 0)
        sodium_bin2hex(out, 2 * n + 1, p, n);
}

void encode_base64(struct buf *b, const void *p, size_t n)
{
    size_t room; /* with the NUL, for which a buffer always has a place */
    uint8_t *out;

    if (n == 0)
        return;
    if (n > SIZE_MAX / 2) {
        if (!b->error)
            b->error = -EMSGSIZE;
        return;
    }
    room = sodium_base64_encoded_len(n, BASE64);
    out = buf_extend(b, room - 1);
    if (out)
        sodium_bin2base64((char *)out, room, p, n, BASE64);
}

int encode_from_hex(const char *s, void *out, size_t max, size_t *n)
{
    size_t len = strlen(s);

    *n = 0;
    if (len % 2 != 0 || strspn(s, "0123456789abcdefABCDEF") != len)
        return -EBADMSG;
    if (len / 2 > max)
        return -EMSGSIZE;
    if (len == 0)
        return 0;
    if (sodium_hex2bin(out, max, s, len, NULL, n, NULL) == 0)
        return 0;
    mem_wipe(out, max);
    *n = 0;
    return -EBADMSG;
}

int encode_from_base64(const char *s, void *out, size_t max, size_t *n)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = strlen(s);
    size_t body = strspn(s, alphabet);
    size_t padding = strspn(s + body, "=");

    *n = 0;
    if (len % 4 != 0 || body + padding != len || padding > 2)
        return -EBADMSG;
    if (len / 4 * 3 - padding > max)
        return -EMSGSIZE;
    if (len == 0)
        return 0;
    if (sodium_base642bin(out, max, s, len, NULL, n, NULL, BASE64) == 0)
        return 0;
    mem_wipe(out, max);
    *n = 0;
    return -EBADMSG;
}

void encode_random_base62(char *out, size_t n)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint8_t pool[64];
    size_t used = sizeof(pool);

    for (size_t i = 0; i < n;) {
        if (used == sizeof(pool)) {
            randombytes_buf(pool, sizeof(pool));
            used = 0;
        }
        /* 248 is the last multiple of 62 in a byte: beyond it the first digits would be likelier.
         */
        if (pool[used] < 248)
            out[i++] = digits[pool[used] % 62];
        used++;
    }
    out[n] = '\0';
    mem_wipe(pool, sizeof(pool));
}

void encode_random_uuid(char out[ENCODE_UUID_LEN + 1])
{
    uint8_t raw[ENCODE_UUID_RAW];

    randombytes_buf(raw, sizeof(raw));
    encode_uuid(raw, out);
    mem_wipe(raw, sizeof(raw));
}

void encode_uuid(uint8_t raw[ENCODE_UUID_RAW], char out[ENCODE_UUID_LEN + 1])
{
    static const size_t groups[] = {4, 2, 2, 2, 6};
    size_t from = 0, to = 0;

    raw[6] = (uint8_t)((raw[6] & 0x0f) | 0x40);
    raw[8] = (uint8_t)((raw[8] & 0x3f) | 0x80);
    for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
        encode_hex(raw + from, groups[i], out + to);
        from += groups[i];
        to += 2 * groups[i];
        if (i + 1 < ARRAY_LEN(groups))
            out[to++] = '-';
    }
}

/* The length of the well-formed sequence at p (RFC 3629) and its code point; 0 if there is none. */
static size_t utf8_next(const uint8_t *p, size_t n, uint32_t *point)
{
    static const struct {
        uint8_t mask, lead;
        uint32_t least;
    } forms[] = {{0x80, 0x00, 1}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    uint32_t c;

    for (size_t form = 0; form < ARRAY_LEN(forms); form++) {
        if ((p[0] & forms[form].mask) != forms[form].lead)
            continue;
        if (form >= n)
            return 0;
        c = p[0] & (uint8_t)~forms[form].mask;
        for (size_t i = 1; i <= form; i++) {
            if ((p[i] & 0xc0) != 0x80)
                return 0;
            c = c << 6 | (p[i] & 0x3f);
        }
        if (c < forms[form].least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
            return 0;
        *point = c;
        return form + 1;
    }
    return 0;
}

bool encode_is_utf8(const void *p, size_t n)
{
    const uint8_t *at = p;
    uint32_t point;
    size_t step;

    for (size_t i = 0; i < n; i += step) {
        step = at[i] > 0 && at[i] < 0x80 ? 1 : utf8_next(at + i, n - i, &point);
        if (step == 0)
            return false;
    }
    return true;
}

/* Whether showing the character could move the cursor, break the line or reorder what is around. */
static bool misleads(uint32_t c)
{
    static const struct {
        uint32_t from, to;
    } ranges[] = {
        {0x0000, 0x001f}, /* C0 */
        {0x007f, 0x009f}, /* DEL, C1 */
        {0x061c, 0x061c}, /* Arabic letter mark */
        {0x200e, 0x200f}, /* left-to-right and right-to-left mark */
        {0x2028, 0x202e}, /* line and paragraph separator, embeddings, overrides */
        {0x2066, 0x2069}, /* isolates */
    };

    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        if (c >= ranges[i].from && c <= ranges[i].to)
            return true;
    }
    return false;
}

void encode_printable(struct buf *b, const char *s, size_t max)
{
    const uint8_t *p = (const uint8_t *)s;
    size_t left = strlen(s);
    size_t written = 0;

    while (left > 0 && written < max) {
        uint32_t point;
        size_t step = utf8_next(p, left, &point);
        bool plain = step > 0 && !misleads(point);
        size_t n = plain ? step : 1;

        if (n > max - written)
            return;
        buf_put(b, plain ? (const void *)p : "?", n);
        written += n;
        step = step > 0 ? step : 1;
        p += step;
        left -= step;
    }
}
