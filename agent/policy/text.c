#include "policy/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"

#define REASON_MAX 512

void text_copy(char *out, size_t n, const struct buf *b, const char *fallback)
{
    const char *s = buf_error(b) < 0 ? fallback : buf_str(b);
    size_t len = strlen(s);

    if (n == 0)
        return;
    if (len > n - 1) {
        len = n - 1;
        while (len > 0 && ((unsigned char)s[len] & 0xc0) == 0x80)
            len--;
    }
    memcpy(out, s, len);
    out[len] = '\0';
}

int text_refuse(char *why, size_t whylen, const char *fmt, ...)
{
    _cleanup_buf_ struct buf shown = BUF_INIT(2 * REASON_MAX);
    char raw[REASON_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(raw, sizeof(raw), fmt, ap);
    va_end(ap);
    encode_printable(&shown, raw, shown.max);
    text_copy(why, whylen, &shown, "refused");
    return -EINVAL;
}

void text_put(struct buf *b, const char *s)
{
    encode_printable(b, s, TEXT_PIECE_MAX);
    if (strnlen(s, TEXT_PIECE_MAX + 1) > TEXT_PIECE_MAX)
        buf_puts(b, "…");
}

uint64_t text_hash(const char *s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
    return h;
}

void text_lower(char *s)
{
    for (; *s; s++) {
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s + ('a' - 'A'));
    }
}

bool text_is_name(const char *s, size_t max, const char *more)
{
    size_t n = strnlen(s, max + 1);

    if (n == 0 || n > max)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            !strchr(more, c))
            return false;
    }
    return true;
}
