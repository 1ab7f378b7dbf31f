/* Text from outside: is it UTF-8, and what of it may reach a terminal or a log. */
#ifndef COUNTERSIGN_PAM_PLAIN_H
#define COUNTERSIGN_PAM_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the n bytes are well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates). */
bool plain_is_utf8(const char *s, size_t n);

/* Copies n bytes and a NUL into out, which has room for n + 1. What could drive a terminal or make
 * text look like something else becomes '?': control characters (C0, DEL, C1), characters that set
 * the direction of text or are not seen, line separators, and each byte that is not UTF-8. A
 * newline stays if `newlines`. */
void plain_clean(char *out, const char *s, size_t n, bool newlines);

#endif
