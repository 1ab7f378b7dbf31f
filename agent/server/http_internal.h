/* What the files of the HTTP server share; for them and their tests only.
 *
 *   http.c         the server: its epoll, the round, the coarse timer, the public functions
 *   http_accept.c  listeners, limits per peer
 *   http_conn.c    one connection: reading, handing up, writing, closing
 *   http_answer.c  the bytes of an answer
 *   http_parse.c   the strict reader
 *
 * A round: read what is ready and hand whole requests up, call batch, write what was answered; that
 * may free pipelined requests, which are handed up, and so on, a bounded number of times. A
 * connection is freed by its own event, by the flush, or by the timer, and never below a callback,
 * so that no callback can pull a connection away from under the code that called it. */
#ifndef COUNTERSIGN_SERVER_HTTP_INTERNAL_H
#define COUNTERSIGN_SERVER_HTTP_INTERNAL_H

#include <sys/queue.h>

#include "server/http_parse.h"

#define HTTP_LISTENERS_MAX 8
#define HTTP_READ_SIZE (16 * 1024)
#define HTTP_EVENTS_PER_ROUND 128
#define HTTP_ACCEPTS_PER_ROUND 64

enum http_phase {
    HTTP_IDLE,    /* nothing of the next request is here */
    HTTP_READING, /* a part of a request is here */
    HTTP_WAITING, /* a request was handed up */
    HTTP_WRITING, /* an answer is going out */
    HTTP_CLOSING, /* the last answer is out; what the client still sends is dropped */
    HTTP_DEAD,    /* to be freed by the next flush */
    HTTP_PHASES
};

struct http_limits {
    size_t connections; /* of ordinary peers together */
    size_t per_uid;
    size_t reserve;       /* uid 0 and own_uid: on top of both */
    size_t bytes;         /* of unfinished and unanswered bodies, all together */
    size_t bytes_per_uid; /* the same, per peer; uid 0 and own_uid: on top of `bytes` */
    uid_t own_uid;
    int64_t phase_ms[HTTP_PHASES]; /* how long a phase may last; 0: as long as it likes */
    size_t drop_max;               /* bytes dropped while closing */
    /* Whose connection it is: 0 or -errno. Tests put their own here. */
    int (*peer_uid)(int fd, uid_t *uid);
};

/* All connections of one uid; those over TCP count as one peer, uid -1. */
struct http_peer {
    TAILQ_ENTRY(http_peer) list;
    uid_t uid;
    size_t connections;
    size_t bytes;
};
TAILQ_HEAD(http_peers, http_peer);

struct http_exchange {
    struct http_request request;
    struct http_head head;
    char *text; /* the head, cut into strings */
    size_t text_len;
    struct buf body;
    size_t charged;         /* bytes of body counted against the peer */
    struct http_conn *conn; /* NULL once the server was freed */
    void *data;
    bool gone;
};

struct http_conn {
    TAILQ_ENTRY(http_conn) by_phase;
    TAILQ_ENTRY(http_conn) by_turn;
    struct http_server *server;
    struct http_peer *peer;
    uint64_t number;
    int64_t deadline;
    int fd;
    enum http_phase phase;
    uint32_t events; /* what the epoll is asked for */
    bool unix_peer;
    bool has_cred;
    struct ucred cred;
    bool queued;    /* in the server's list of those to flush */
    bool served;    /* it has sent a request */
    bool left;      /* no further request can arrive */
    bool last;      /* close after the current answer */
    bool head_only; /* the current answer is one to HEAD */
    struct buf in;  /* received; in.pos is where the unread part begins */
    size_t scanned; /* how much of the unread part was searched for the head's end */
    uint64_t body_left;
    struct http_chunks chunks;
    struct http_exchange *exchange; /* being read, or handed up */
    struct buf out_head;
    struct buf out_body;
    size_t sent;
    size_t dropped;
};
TAILQ_HEAD(http_conns, http_conn);

struct http_listener {
    struct http_server *server;
    sd_event_source *source;
    int fd;
    bool unix_peer;
};

struct http_server {
    sd_event *loop;
    struct http_callbacks callbacks;
    void *data;
    struct http_limits limits;
    int epoll;
    int spare; /* given up for a moment when there are no descriptors left */
    sd_event_source *io;
    sd_event_source *soon;
    sd_event_source *timer;
    int64_t armed;        /* when the timer will fire; INT64_MAX: it is off */
    int64_t accept_again; /* 0, or when accepting is tried again */
    bool in_round;
    bool draining;
    size_t handed_up;
    struct http_listener listeners[HTTP_LISTENERS_MAX];
    size_t n_listeners;
    struct http_peers peers;
    struct http_conns phases[HTTP_PHASES];
    struct http_conns turn; /* answered, to be flushed */
    size_t connections;
    size_t bytes;
    uint64_t numbers;
    int64_t date_second;
    char date[40];
    uint8_t scratch[HTTP_READ_SIZE];
};

/* http.c */
/* The loop's idea of now, in milliseconds on CLOCK_MONOTONIC. */
int64_t http_now(const struct http_server *s);
/* Sees to it that the coarse timer fires by `when`. */
void http_arm(struct http_server *s, int64_t when);
/* Puts a connection in line for the next flush and sees to it that there is one. */
void http_queue(struct http_conn *c);
/* The limits, to be changed before the first connection. */
struct http_limits *http_limits_of(struct http_server *s);
/* Takes a connected socket as if it had been accepted; closes it when a limit says no. 0 or -errno.
 */
int http_adopt(struct http_server *s, int fd, bool unix_peer);

/* http_accept.c */
void http_accept_ready(struct http_listener *l);
/* Finds or makes the peer of a new connection and counts it in; NULL when a limit says no. */
struct http_peer *http_accept_enter(struct http_server *s, int fd, bool unix_peer);
void http_accept_leave(struct http_server *s, struct http_peer *peer);
/* Charges n more bytes to a peer: whether they are within the limits. */
bool http_accept_charge(struct http_server *s, struct http_peer *peer, size_t n);
void http_accept_discharge(struct http_server *s, struct http_peer *peer, size_t n);
/* Starts or stops listening to all listeners. */
void http_accept_pause(struct http_server *s, bool pause);

/* http_conn.c */
int http_conn_new(struct http_server *s, int fd, bool unix_peer);
void http_conn_free(struct http_conn *c);
void http_conn_event(struct http_conn *c, uint32_t events);
/* Writes what was answered and goes on with what is here already. May free c. */
void http_conn_flush(struct http_conn *c);
/* The server ends: lets an idle connection take no further request, unless it is fresh. What is in
 * its socket already is still served. */
void http_conn_leave(struct http_conn *c);
/* The phase's time is over. May free c. */
void http_conn_expired(struct http_conn *c);
/* The answer for a handed-up request; frees x. */
void http_conn_reply(struct http_exchange *x, int status, const char *content_type,
                     struct buf *body, const char *const *extra);
/* Frees an exchange and wipes what it held. */
void http_conn_drop_exchange(struct http_exchange *x);

/* http_answer.c */
/* Fills c->out_head and moves body (may be NULL) to c->out_body. 0 or -errno. */
int http_answer_put(struct http_conn *c, int status, const char *content_type, struct buf *body,
                    const char *const *extra);
/* The same with {"errors":[sentence]}. The sentence stands in JSON as it is. */
int http_answer_error(struct http_conn *c, int status, const char *sentence);

#endif
