/* A bounded byte buffer that wipes what it held.
 *
 * Used for everything that comes from or goes to another process. Writing has a sticky error: after
 * the first failure (-ENOMEM, or -EMSGSIZE past `max`) every further write does nothing, so that a
 * row of writes is checked once, by buf_error(). Growing wipes the old memory. */
#ifndef COUNTERSIGN_BASE_BUF_H
#define COUNTERSIGN_BASE_BUF_H

#include <stdarg.h>
#include <stdint.h>

#include "base/mem.h"

struct buf {
    uint8_t *data; /* always NUL-terminated behind len once anything was written */
    size_t len;
    size_t cap;
    size_t max; /* the most len may become */
    size_t pos; /* reading position */
    int error;  /* 0 or the first -errno */
};

#define BUF_INIT(limit)                                                                            \
    (struct buf)                                                                                   \
    {                                                                                              \
        .max = (limit)                                                                             \
    }

/* Wipes and frees the contents; the buffer can be used again. */
void buf_clear(struct buf *b);
#define _cleanup_buf_ _cleanup_(buf_clear)
/* Forgets (and wipes) the contents but keeps the memory. Clears the error. */
void buf_reset(struct buf *b);
/* 0, or the first error of the writes so far. */
int buf_error(const struct buf *b);
/* The contents as a NUL-terminated string, "" when empty. Valid until the next write. */
const char *buf_str(const struct buf *b);
/* Hands the memory to the caller (mem_free_str() it); the buffer is empty then. NULL on error. */
char *buf_steal(struct buf *b);

void buf_put(struct buf *b, const void *p, size_t n);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
/* As "%lld" does it, for what is written with every request. */
void buf_put_dec(struct buf *b, int64_t v);
void buf_putf(struct buf *b, const char *fmt, ...) _printf_(2, 3);
/* Little-endian integers. */
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
/* u32 length, then the bytes. */
void buf_put_blob(struct buf *b, const void *p, size_t n);
/* Opens n bytes for the caller to write into, counted as written. NULL on error. */
uint8_t *buf_extend(struct buf *b, size_t n);

/* Reading from a span. Each returns 0, or -EBADMSG when fewer bytes are left than asked for (the
 * position does not move then). Pointers point into the span. */
struct span {
    const uint8_t *p;
    size_t left;
};
int span_u8(struct span *s, uint8_t *v);
int span_u16(struct span *s, uint16_t *v);
int span_u32(struct span *s, uint32_t *v);
int span_u64(struct span *s, uint64_t *v);
int span_bytes(struct span *s, size_t n, const uint8_t **p);
int span_blob(struct span *s, const uint8_t **p, size_t *n);

#endif
