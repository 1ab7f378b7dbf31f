/* The strict reader of HTTP/1.x requests: bytes in, a request or a refusal out. No sockets, no
 * state of the server, so that it can be fuzzed alone.
 *
 * Stricter than RFC 9112 has to be, wherever two readers could disagree about where a request ends:
 * lines end in CRLF only; no NUL, no bare CR, no folded line, no space before a colon; one
 * Content-Length or one "Transfer-Encoding: chunked", never both; the origin form of the target
 * only.
 *
 * Functions that judge return 0, or the status (400 and above) to refuse with, and then set *why to
 * a constant sentence that can stand in JSON as it is. */
#ifndef COUNTERSIGN_SERVER_HTTP_PARSE_H
#define COUNTERSIGN_SERVER_HTTP_PARSE_H

#include "server/http.h"

#define HTTP_METHOD_MAX 16
#define HTTP_TARGET_MAX 8192      /* path, '?' and query: 414 above */
#define HTTP_HEAD_MAX (32 * 1024) /* request line and headers together: 431 above */

struct http_field {
    const char *name;
    const char *value;
};

struct http_head {
    const char *method;
    const char *path;
    const char *query;
    struct http_field fields[HTTP_HEADERS_MAX];
    size_t n_fields;
    int minor; /* HTTP/1.minor: 0 or 1 */
    bool keep_alive;
    bool expect_continue;
    bool chunked;
    uint64_t length; /* of the body when not chunked */
};

/* Looks for the end of the head in the n bytes received so far. *scanned is where the last call
 * stopped (0 at first). *len becomes the head's length with its empty line, or stays 0 while more
 * has to come. Refuses as early as it can: a wrong byte, a line that is too long, a head that is
 * too big. */
int http_parse_end(const uint8_t *p, size_t n, size_t *scanned, size_t *len, const char **why);

/* Takes a whole head apart. text holds its len bytes and is cut into strings in place; *h points
 * into it. Everything that says where the body ends is judged here. */
int http_parse_head(char *text, size_t len, struct http_head *h, const char **why);

/* The value of a field, by its name without regard to case; NULL when absent. */
const char *http_parse_field(const struct http_head *h, const char *name);

/* The reader of a chunked body; starts zeroed. */
struct http_chunks {
    int state;
    unsigned digits; /* of the current size */
    size_t line;     /* length of the current line after the size */
    size_t trailers; /* bytes in the trailer section */
    uint64_t left;   /* of the current chunk */
};

/* Decodes from n bytes at p, appends to body and counts in *used what was taken. Returns 0 when
 * more has to come, HTTP_CHUNKS_DONE at the end, else a status. Trailers are checked and dropped,
 * since nothing in them may count. */
#define HTTP_CHUNKS_DONE 1
int http_parse_chunks(struct http_chunks *k, const uint8_t *p, size_t n, size_t *used,
                      struct buf *body, const char **why);

#endif
