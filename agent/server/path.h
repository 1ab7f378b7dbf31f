/* Request paths and query strings, from the wire to the text that policies and handlers see.
 *
 * Escapes are decoded exactly once, here; the decision and the handler then look at the same bytes.
 */
#ifndef COUNTERSIGN_SERVER_PATH_H
#define COUNTERSIGN_SERVER_PATH_H

#include "base/json.h"

#define PATH_TEXT_MAX 2048 /* decoded */

/* Decodes "/v1/a/b%20c" to "a/b c". Returns 0 and new text; -ENOENT when it does not lie below
 * /v1/; -EINVAL with the reason in why[]: a bad escape, NUL or control bytes, malformed UTF-8, an
 * empty, "." or ".." segment (one ending '/' is kept), too long; -ENOMEM. */
int path_decode(const char *raw, char **out, char *why, size_t whylen);
/* Decodes "a=b&c" into an object of strings ('+' is a space). A name given twice is -EINVAL. An
 * empty query gives NULL. */
int path_query(const char *raw, json_t **out, char *why, size_t whylen);

#endif
