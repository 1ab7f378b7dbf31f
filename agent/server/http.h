/* HTTP/1.1 for the agent, inside sd-event.
 *
 * A request is handed up only when it is whole; it waits until the pipeline answers it after the
 * turn's commit. Each connection has one request under way at a time; pipelined ones are answered
 * in order. Refused by this layer itself, as {"errors":["..."]} with Connection: close: 400
 * malformed or ambiguous, 408 not whole in time, 413, 414, 417 unknown Expect, 431, 501 transfer
 * coding other than chunked, 503 too many large bodies at once, 505 other versions of HTTP. A
 * connection over a limit is closed at once. Why there is a reader of our own: the note in http.c.
 * Documents: RFC 9110, RFC 9112. */
#ifndef COUNTERSIGN_SERVER_HTTP_H
#define COUNTERSIGN_SERVER_HTTP_H

#include <systemd/sd-event.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/buf.h"

#define HTTP_BODY_MAX (1024 * 1024)    /* 413 above */
#define HTTP_PATH_MAX 4096             /* 414 above; the query may fill the target up to 8192 */
#define HTTP_HEADERS_MAX 64            /* 431 above */
#define HTTP_REQUEST_DEADLINE_MS 30000 /* first byte to whole request: 408/closed after */
#define HTTP_IDLE_MS 120000            /* keep-alive without a request */
#define HTTP_CONNECTIONS_MAX 4096
#define HTTP_CONNECTIONS_PER_UID                                                                   \
    256 /* unix peers; uid 0 and the agent's own uid have HTTP_RESERVE                             \
           more, so that nobody can crowd the operator out */
#define HTTP_RESERVE 64

struct http_server;
struct http_exchange; /* one request and its answer */

/* A whole request. All pointers live until http_reply() was called for its exchange, also after
 * `gone`; so does the descriptor, but -1 stands for it once http_free() was called. */
struct http_request {
    const char *method; /* "GET", "LIST", … 1..16 upper-case letters */
    const char *path;   /* as sent, percent-escapes untouched, without the query; begins with '/' */
    const char *query;  /* as sent, behind '?'; "" if none */
    const char *body;   /* NUL-terminated for convenience */
    size_t body_len;
    int fd;         /* the connection (owned by the server): for reading the peer's credentials */
    bool unix_peer; /* came over AF_UNIX */
    bool has_cred; /* … and the kernel said who connected (SO_PEERCRED never changes after that) */
    struct ucred cred;
    uint64_t connection; /* number of the connection, never used twice */
};

/* A request header's value, case-insensitive name; NULL when absent. A header that came twice and
 * may not (Content-Length, Content-Type, Host, X-Vault-Token, X-Vault-Namespace, X-Vault-Wrap-TTL,
 * Authorization, Transfer-Encoding, Expect) has been answered 400 already; of others the first
 * counts. */
const char *http_header(const struct http_exchange *x, const char *name);
const struct http_request *http_request_of(const struct http_exchange *x);

struct http_callbacks {
    /* A whole request; answer it now or later with http_reply(), exactly once. */
    void (*request)(struct http_exchange *x, void *data);
    /* All requests that this round found ready were handed up: do the turn. */
    void (*batch)(void *data);
    /* The client hung up before its answer: x is still to be answered (the answer goes nowhere),
     * and may be right here. Called at most once. A Unix client that only shut down its sending
     * side is not gone; a TCP client is, since TCP can't tell the two apart. May be NULL. */
    void (*gone)(struct http_exchange *x, void *data);
};

/* Makes a server on the loop. The callbacks' struct is copied. 0 or -errno. */
int http_new(sd_event *loop, const struct http_callbacks *cb, void *data, struct http_server **out);
/* Adds a listening stream socket (AF_UNIX or loopback TCP), 8 at most. 0: the server owns fd from
 * then on. -errno: it still belongs to the caller. */
int http_listen(struct http_server *s, int fd);
/* Stops accepting, closes everything, frees. `gone` is called for unanswered exchanges; each lives
 * on until http_reply() frees it. Not to be called from within a callback. NULL is allowed. */
void http_free(struct http_server *s);

/* Towards the end of the server: nobody new is accepted (who waits in the listener's backlog is the
 * next server's), idle connections are closed such that no request is lost in one (over a Unix
 * socket the client's sending fails), and each answer from now on is its connection's last. To be
 * called again and again: a connection that has not sent a request yet is given HTTP_FRESH_MS.
 * True when no request is under way any more. */
#define HTTP_FRESH_MS 500
bool http_drain(struct http_server *s);

/* Pointer-sized memory for the pipeline's own state of an exchange. */
void http_set_data(struct http_exchange *x, void *data);
void *http_data(const struct http_exchange *x);

/* Answers. body (NULL: none) is moved out of (and left empty); bodies are wiped after they were
 * sent. content_type NULL for an empty body (204). Every answer carries Cache-Control: no-store, a
 * Date and a Content-Length. extra: NULL, or pairs of name, value, …, NULL; a control character in
 * one, a body with 204 or 304, or a status outside 200..599 makes it a 500. Never fails: out of
 * memory (also a body's sticky error) closes the connection. May be called from anywhere, callbacks
 * included. After it x may not be touched. The bytes go out at the end of the round or when the
 * loop next runs. */
void http_reply(struct http_exchange *x, int status, const char *content_type, struct buf *body,
                const char *const *extra);

/* For metrics and limits. */
size_t http_connections(const struct http_server *s);

#endif
