/* Small things with text that the whole room shares. Internal to policy/. */
#ifndef COUNTERSIGN_POLICY_TEXT_H
#define COUNTERSIGN_POLICY_TEXT_H

#include <stdint.h>

#include "base/buf.h"

/* Writes the reason into why[] (made printable, cut to whylen) and returns -EINVAL, so that a check
 * reads `return text_refuse(…)`. */
int text_refuse(char *why, size_t whylen, const char *fmt, ...) _printf_(3, 4);

/* Appends at most TEXT_PIECE_MAX bytes of s, made printable; what was cut is shown as "…". */
#define TEXT_PIECE_MAX 96
void text_put(struct buf *b, const char *s);

/* Copies the contents into out[n], cut at a character's end; the fallback when the buffer failed.
 */
void text_copy(char *out, size_t n, const struct buf *b, const char *fallback);

/* A hash for finding names quickly (FNV-1a); every hit is confirmed by comparing the names. */
uint64_t text_hash(const char *s);

/* Lower-cases ASCII in place, in any locale. */
void text_lower(char *s);

/* Whether s has 1 to max bytes, all of them ASCII letters, digits or in `more`. */
bool text_is_name(const char *s, size_t max, const char *more);

#endif
