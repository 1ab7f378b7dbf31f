/* Text encodings and random names. Memory only. */
#ifndef COUNTERSIGN_BASE_ENCODE_H
#define COUNTERSIGN_BASE_ENCODE_H

#include "base/buf.h"

/* Lower-case hex of n bytes into out[2n+1]. Constant time in the data. */
void encode_hex(const void *p, size_t n, char *out);
/* Appends standard base64 with padding (RFC 4648 section 4). */
void encode_base64(struct buf *b, const void *p, size_t n);
/* Decodes hex or padded standard base64 strictly (no white space) into out[max]. Returns 0 and the
 * length, -EBADMSG on malformed text, -EMSGSIZE when it does not fit. */
int encode_from_hex(const char *s, void *out, size_t max, size_t *n);
int encode_from_base64(const char *s, void *out, size_t max, size_t *n);

/* Fills out[n] with random characters of [0-9A-Za-z] (5.95 bits each, without bias) and a NUL at
 * out[n]; the array has n+1 bytes. */
void encode_random_base62(char *out, size_t n);
/* A random UUID (RFC 9562 version 4) as 36 characters and a NUL. */
#define ENCODE_UUID_LEN 36
void encode_random_uuid(char out[ENCODE_UUID_LEN + 1]);
/* The same of the caller's own random bytes, which are changed. */
#define ENCODE_UUID_RAW 16
void encode_uuid(uint8_t raw[ENCODE_UUID_RAW], char out[ENCODE_UUID_LEN + 1]);

/* Whether n bytes are well-formed UTF-8 (no surrogates, no overlong forms, no NUL). */
bool encode_is_utf8(const void *p, size_t n);
/* Copies text for showing on a terminal or in a log: control bytes (C0, DEL, C1) and bidirectional
 * overrides become '?', malformed UTF-8 too; at most max bytes. */
void encode_printable(struct buf *b, const char *s, size_t max);

#endif
