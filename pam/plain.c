#include "plain.h"

/* The length of the sequence that starts with this byte, or 0 for a byte that can't start one. */
static size_t sequence_length(uint8_t lead)
{
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2)
        return 0;
    if (lead < 0xe0)
        return 2;
    if (lead < 0xf0)
        return 3;
    return lead < 0xf5 ? 4 : 0;
}

/* Reads one character; returns how many bytes it took, or 0 when they are not well-formed. */
static size_t decode(const uint8_t *p, size_t n, uint32_t *character)
{
    static const uint8_t lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = sequence_length(p[0]);
    if (len == 0 || len > n)
        return 0;
    uint32_t c = p[0] & lead_bits[len];
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = (c << 6) | (p[i] & 0x3fu);
    }
    if (c < smallest[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *character = c;
    return len;
}

static bool is_unsafe(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } range[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},       {0x61c, 0x61c},
        {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f},
        {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe0fff},
    };
    for (size_t i = 0; i < sizeof(range) / sizeof(range[0]); i++) {
        if (c >= range[i].first && c <= range[i].last)
            return true;
    }
    return false;
}

bool plain_is_utf8(const char *s, size_t n)
{
    const uint8_t *p = (const uint8_t *)s;
    uint32_t c;
    for (size_t at = 0, len; at < n; at += len) {
        len = decode(p + at, n - at, &c);
        if (len == 0)
            return false;
    }
    return true;
}

void plain_clean(char *out, const char *s, size_t n, bool newlines)
{
    const uint8_t *p = (const uint8_t *)s;
    for (size_t at = 0; at < n;) {
        uint32_t c = 0;
        size_t len = decode(p + at, n - at, &c);
        if (len == 0 || (is_unsafe(c) && !(newlines && c == '\n'))) {
            *out++ = '?';
            at += len ? len : 1;
            continue;
        }
        while (len-- > 0)
            *out++ = s[at++];
    }
    *out = '\0';
}
