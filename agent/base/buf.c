#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FIRST_CAP 512

void buf_clear(struct buf *b)
{
    mem_free(b->data, b->cap);
    b->data = NULL;
    b->cap = 0;
    b->len = 0;
    b->pos = 0;
    b->error = 0;
}

void buf_reset(struct buf *b)
{
    mem_wipe(b->data, b->cap);
    b->len = 0;
    b->pos = 0;
    b->error = 0;
}

int buf_error(const struct buf *b)
{
    return b->error;
}

const char *buf_str(const struct buf *b)
{
    return b->data ? (const char *)b->data : "";
}

/* Whether n more bytes and the NUL fit into the memory there is. A cap may lie beyond max. */
static inline bool has_room(const struct buf *b, size_t n)
{
    return !b->error && b->len < b->cap && n < b->cap - b->len && b->len <= b->max &&
           n <= b->max - b->len;
}

/* Makes room for n more bytes and the NUL. Never realloc(): it would leave a copy behind. */
static int make_room(struct buf *b, size_t n)
{
    size_t need, cap;
    uint8_t *data;

    if (b->error)
        return b->error;
    if (b->len > b->max || n > b->max - b->len || b->len + n > SIZE_MAX / 4)
        return b->error = -EMSGSIZE;
    need = b->len + n + 1;
    if (need <= b->cap)
        return 0;
    for (cap = b->cap ? b->cap * 2 : FIRST_CAP; cap < need;)
        cap *= 2;
    data = malloc(cap);
    if (!data)
        return b->error = -ENOMEM;
    if (b->len > 0)
        memcpy(data, b->data, b->len);
    data[b->len] = '\0';
    mem_free(b->data, b->cap);
    b->data = data;
    b->cap = cap;
    return 0;
}

static inline int grow(struct buf *b, size_t n)
{
    return has_room(b, n) ? 0 : make_room(b, n);
}

char *buf_steal(struct buf *b)
{
    char *s;

    if (grow(b, 0) < 0)
        return NULL;
    s = (char *)b->data;
    b->data = NULL;
    buf_clear(b);
    return s;
}

uint8_t *buf_extend(struct buf *b, size_t n)
{
    uint8_t *p;

    if (grow(b, n) < 0)
        return NULL;
    p = b->data + b->len;
    b->len += n;
    memset(p, 0, n + 1);
    return p;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
    if (grow(b, n) < 0)
        return;
    if (n > 0)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
    if (grow(b, 1) < 0)
        return;
    b->data[b->len++] = (uint8_t)c;
    b->data[b->len] = '\0';
}

void buf_put_dec(struct buf *b, int64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);
    uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    if (v < 0)
        buf_putc(b, '-');
    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    buf_put(b, digits + at, sizeof(digits) - at);
}

void buf_putf(struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    uint8_t *to;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0 && !b->error)
        b->error = -EINVAL;
    to = n < 0 ? NULL : buf_extend(b, (size_t)n);
    if (to)
        (void)vsnprintf((char *)to, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
}

static void put_little(struct buf *b, uint64_t v, size_t n)
{
    uint8_t raw[8];

    for (size_t i = 0; i < n; i++)
        raw[i] = (uint8_t)(v >> (8 * i));
    buf_put(b, raw, n);
}

void buf_put_u8(struct buf *b, uint8_t v)
{
    put_little(b, v, 1);
}

void buf_put_u16(struct buf *b, uint16_t v)
{
    put_little(b, v, 2);
}

void buf_put_u32(struct buf *b, uint32_t v)
{
    put_little(b, v, 4);
}

void buf_put_u64(struct buf *b, uint64_t v)
{
    put_little(b, v, 8);
}

void buf_put_blob(struct buf *b, const void *p, size_t n)
{
    if (n > UINT32_MAX) {
        if (!b->error)
            b->error = -EMSGSIZE;
        return;
    }
    buf_put_u32(b, (uint32_t)n);
    buf_put(b, p, n);
}

int span_bytes(struct span *s, size_t n, const uint8_t **p)
{
    if (n > s->left)
        return -EBADMSG;
    *p = s->p;
    if (n > 0)
        s->p += n;
    s->left -= n;
    return 0;
}

static int get_little(struct span *s, size_t n, uint64_t *v)
{
    const uint8_t *p;
    int r = span_bytes(s, n, &p);

    if (r < 0)
        return r;
    *v = 0;
    for (size_t i = 0; i < n; i++)
        *v |= (uint64_t)p[i] << (8 * i);
    return 0;
}

int span_u8(struct span *s, uint8_t *v)
{
    uint64_t wide;
    int r = get_little(s, 1, &wide);

    if (r == 0)
        *v = (uint8_t)wide;
    return r;
}

int span_u16(struct span *s, uint16_t *v)
{
    uint64_t wide;
    int r = get_little(s, 2, &wide);

    if (r == 0)
        *v = (uint16_t)wide;
    return r;
}

int span_u32(struct span *s, uint32_t *v)
{
    uint64_t wide;
    int r = get_little(s, 4, &wide);

    if (r == 0)
        *v = (uint32_t)wide;
    return r;
}

int span_u64(struct span *s, uint64_t *v)
{
    return get_little(s, 8, v);
}

int span_blob(struct span *s, const uint8_t **p, size_t *n)
{
    struct span try = *s;
    uint32_t len;
    int r;

    r = span_u32(&try, &len);
    if (r == 0)
        r = span_bytes(&try, len, p);
    if (r < 0)
        return r;
    *n = len;
    *s = try;
    return 0;
}
