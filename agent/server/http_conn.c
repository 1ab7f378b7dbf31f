#include "server/http_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_KEPT 1024
#define IN_MAX (HTTP_HEAD_MAX + 2 * HTTP_READ_SIZE)

static void set_phase(struct http_conn *c, enum http_phase phase)
{
    struct http_server *s = c->server;
    int64_t lasts = s->limits.phase_ms[phase];

    TAILQ_REMOVE(&s->phases[c->phase], c, by_phase);
    TAILQ_INSERT_TAIL(&s->phases[phase], c, by_phase);
    c->phase = phase;
    c->deadline = lasts > 0 ? http_now(s) + lasts : INT64_MAX;
    if (lasts > 0)
        http_arm(s, c->deadline);
}

/* Asks the epoll for other events. Without memory for it the connection is given up. */
static void set_events(struct http_conn *c, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};

    if (events == c->events)
        return;
    c->events = events;
    if (epoll_ctl(c->server->epoll, EPOLL_CTL_MOD, c->fd, &ev) < 0)
        (void)shutdown(c->fd, SHUT_RDWR);
}

/* Once: it is what it was when they connected, whatever they become. */
static void ask_cred(struct http_conn *c)
{
    socklen_t n = sizeof(c->cred);

    c->has_cred = c->unix_peer && getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &c->cred, &n) == 0 &&
                  n == sizeof(c->cred);
}

int http_conn_new(struct http_server *s, int fd, bool unix_peer)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP};
    struct http_conn *c = calloc(1, sizeof(*c));

    if (!c)
        return -ENOMEM;
    c->peer = http_accept_enter(s, fd, unix_peer);
    if (!c->peer) {
        free(c);
        return -EDQUOT;
    }
    ev.data.ptr = c;
    if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
        int r = -errno;

        http_accept_leave(s, c->peer);
        free(c);
        return r;
    }
    c->server = s;
    c->fd = fd;
    c->unix_peer = unix_peer;
    c->events = ev.events;
    ask_cred(c);
    c->number = ++s->numbers;
    c->in = BUF_INIT(IN_MAX);
    TAILQ_INSERT_TAIL(&s->phases[HTTP_IDLE], c, by_phase);
    set_phase(c, HTTP_IDLE);
    return 0;
}

void http_conn_drop_exchange(struct http_exchange *x)
{
    if (!x)
        return;
    if (x->conn)
        http_accept_discharge(x->conn->server, x->conn->peer, x->charged);
    mem_free(x->text, x->text_len);
    buf_clear(&x->body);
    free(x);
}

static void drop_exchange(struct http_conn *c)
{
    http_conn_drop_exchange(c->exchange);
    c->exchange = NULL;
}

void http_conn_free(struct http_conn *c)
{
    struct http_server *s = c->server;

    if (c->queued)
        TAILQ_REMOVE(&s->turn, c, by_turn);
    TAILQ_REMOVE(&s->phases[c->phase], c, by_phase);
    drop_exchange(c);
    buf_clear(&c->in);
    buf_clear(&c->out_head);
    buf_clear(&c->out_body);
    (void)close(c->fd);
    http_accept_leave(s, c->peer);
    free(c);
}

/* Marks a connection for freeing where it must not be freed on the spot. */
static void give_up(struct http_conn *c)
{
    set_phase(c, HTTP_DEAD);
    http_queue(c);
}

/* The last answer of this connection, made by this layer. */
static void refuse(struct http_conn *c, int status, const char *sentence)
{
    c->head_only = c->exchange && strcmp(c->exchange->head.method, "HEAD") == 0;
    c->last = true;
    drop_exchange(c);
    if (http_answer_error(c, status, sentence) < 0) {
        give_up(c);
        return;
    }
    set_phase(c, HTTP_WRITING);
    http_queue(c);
}

/* The next n received bytes are done with. An idle connection keeps a small buffer at most. */
static void consume(struct http_conn *c, size_t n)
{
    mem_wipe(c->in.data + c->in.pos, n);
    c->in.pos += n;
    c->scanned = 0;
    if (c->in.pos < c->in.len)
        return;
    if (c->in.cap > IN_KEPT)
        buf_clear(&c->in);
    else
        c->in.pos = c->in.len = 0; /* all of it was wiped, piece by piece */
}

static void hand_up(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct http_exchange *x = c->exchange;

    x->request = (struct http_request){
        .method = x->head.method,
        .path = x->head.path,
        .query = x->head.query,
        .body = buf_str(&x->body),
        .body_len = x->body.len,
        .fd = c->fd,
        .unix_peer = c->unix_peer,
        .has_cred = c->has_cred,
        .cred = c->cred,
        .connection = c->number,
    };
    set_phase(c, HTTP_WAITING);
    c->served = true;
    s->handed_up++;
    s->callbacks.request(x, s->data);
}

/* Lets a client go on that waits for permission to send its body. The answer's socket is empty but
 * for a client that doesn't read; that one is let go. */
static void send_continue(struct http_conn *c)
{
    static const char go[] = "HTTP/1.1 100 Continue\r\n\r\n";

    if (send(c->fd, go, sizeof(go) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof(go) - 1)
        give_up(c);
}

static bool body_is_due(const struct http_exchange *x)
{
    return x->head.chunked || x->head.length > 0;
}

/* Makes an exchange of a whole head. Whether to go on reading. */
static bool start_exchange(struct http_conn *c, size_t len)
{
    struct http_exchange *x = calloc(1, sizeof(*x));
    const char *why = NULL;
    int status;

    if (!x || !(x->text = mem_dup(c->in.data + c->in.pos, len))) {
        free(x);
        give_up(c);
        return false;
    }
    x->text_len = len;
    x->body = BUF_INIT(HTTP_BODY_MAX);
    x->conn = c;
    c->exchange = x;
    consume(c, len);
    status = http_parse_head(x->text, len, &x->head, &why);
    if (status > 0) {
        refuse(c, status, why);
        return false;
    }
    c->body_left = x->head.length;
    c->chunks = (struct http_chunks){0};
    if (!body_is_due(x))
        hand_up(c);
    else if (x->head.expect_continue && c->in.len == 0)
        send_continue(c);
    return c->phase == HTTP_READING;
}

static bool take_head(struct http_conn *c)
{
    const char *why = NULL;
    size_t len;
    int status =
        http_parse_end(c->in.data + c->in.pos, c->in.len - c->in.pos, &c->scanned, &len, &why);

    if (status > 0)
        refuse(c, status, why);
    else if (len > 0)
        return start_exchange(c, len);
    return false;
}

/* Takes what is here of the body. */
static bool take_body(struct http_conn *c)
{
    struct http_exchange *x = c->exchange;
    const uint8_t *p = c->in.data + c->in.pos;
    size_t n = c->in.len - c->in.pos, used = n;
    const char *why = NULL;
    int r;

    if (x->head.chunked) {
        r = http_parse_chunks(&c->chunks, p, n, &used, &x->body, &why);
    } else {
        used = c->body_left < n ? (size_t)c->body_left : n;
        buf_put(&x->body, p, used);
        c->body_left -= used;
        r = c->body_left == 0 ? HTTP_CHUNKS_DONE : 0;
    }
    consume(c, used);
    if (r > HTTP_CHUNKS_DONE) {
        refuse(c, r, why);
    } else if (buf_error(&x->body) < 0) {
        give_up(c);
    } else {
        size_t more = x->body.len - x->charged;

        x->charged = x->body.len;
        if (!http_accept_charge(c->server, c->peer, more))
            refuse(c, 503, "too many large requests are under way; try again");
        else if (r == HTTP_CHUNKS_DONE)
            hand_up(c);
    }
    return false;
}

/* Goes on with what was received, up to the next request that is whole. */
static void advance(struct http_conn *c)
{
    if (c->phase == HTTP_IDLE && c->in.len > c->in.pos)
        set_phase(c, HTTP_READING); /* the deadline counts from the first byte */
    while (c->phase == HTTP_READING && c->in.len > c->in.pos)
        if (!(c->exchange ? take_body(c) : take_head(c)))
            return;
}

/* Moves the unread part to the front and wipes what it leaves. */
static void compact(struct http_conn *c)
{
    struct buf *b = &c->in;
    size_t left = b->len - b->pos;

    if (b->pos == 0)
        return;
    memmove(b->data, b->data + b->pos, left);
    mem_wipe(b->data + left, b->len - left);
    b->len = left;
    b->pos = 0;
}

/* False when the connection is at its end. */
static bool receive(struct http_conn *c)
{
    struct http_server *s = c->server;
    ssize_t n = recv(c->fd, s->scratch, sizeof(s->scratch), MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    compact(c);
    buf_put(&c->in, s->scratch, (size_t)n);
    mem_wipe(s->scratch, (size_t)n);
    if (buf_error(&c->in) < 0)
        return false;
    advance(c);
    return true;
}

/* While an answer is being made only the client's leaving matters. A Unix socket tells its two ends
 * apart: EPOLLRDHUP alone is a client that has finished sending and still reads, EPOLLHUP one that
 * closed. TCP sends the same FIN for both; there it is taken as leaving, since a lease handed to
 * nobody is worse than an answer withheld from a rare client. Anything else that arrives (the next
 * request) is left in the socket, and no longer asked about. */
static void watch(struct http_conn *c, uint32_t events)
{
    uint32_t leaving = EPOLLHUP | EPOLLERR | (c->unix_peer ? 0 : (uint32_t)EPOLLRDHUP);
    struct http_exchange *x = c->exchange;

    if (!(events & leaving)) {
        set_events(c, c->unix_peer ? 0 : EPOLLRDHUP);
        return;
    }
    (void)epoll_ctl(c->server->epoll, EPOLL_CTL_DEL, c->fd, NULL);
    if (x->gone)
        return;
    x->gone = true;
    if (c->server->callbacks.gone)
        c->server->callbacks.gone(x, c->server->data);
}

/* Drops what a client still sends behind its last answer, so that closing doesn't reset the
 * connection under the answer. False when that is over. */
static bool drop_input(struct http_conn *c)
{
    struct http_server *s = c->server;
    ssize_t n = recv(c->fd, s->scratch, sizeof(s->scratch), MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    mem_wipe(s->scratch, (size_t)n);
    c->dropped += (size_t)n;
    return n > 0 && c->dropped <= s->limits.drop_max;
}

void http_conn_event(struct http_conn *c, uint32_t events)
{
    switch (c->phase) {
    case HTTP_IDLE:
    case HTTP_READING:
        if (!receive(c))
            http_conn_free(c);
        break;
    case HTTP_WAITING:
        watch(c, events);
        break;
    case HTTP_WRITING:
        if (!c->queued)
            http_conn_flush(c);
        break;
    case HTTP_CLOSING:
        if (!drop_input(c))
            http_conn_free(c);
        break;
    default:
        break; /* dead: the flush of this round frees it */
    }
}

/* 1 when everything is out, 0 when the socket is full, -errno. */
static int send_answer(struct http_conn *c)
{
    const struct buf *head = &c->out_head, *body = &c->out_body;

    while (c->sent < head->len + body->len) {
        size_t of_head = c->sent < head->len ? c->sent : head->len, of_body = c->sent - of_head;
        struct iovec iov[2] = {
            {.iov_base = head->data + of_head, .iov_len = head->len - of_head},
            {.iov_base = body->len > 0 ? body->data + of_body : NULL,
             .iov_len = body->len - of_body},
        };
        struct msghdr m = {.msg_iov = iov, .msg_iovlen = ARRAY_LEN(iov)};
        ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        c->sent += n > 0 ? (size_t)n : 0;
    }
    return 1;
}

static void finish_answer(struct http_conn *c)
{
    buf_clear(&c->out_head);
    buf_clear(&c->out_body);
    if (c->last) {
        (void)shutdown(c->fd, SHUT_WR);
        buf_clear(&c->in);
        set_phase(c, HTTP_CLOSING);
        set_events(c, EPOLLIN);
        return;
    }
    set_phase(c, HTTP_IDLE);
    set_events(c, EPOLLIN | EPOLLRDHUP);
    advance(c);
    if (c->server->draining)
        http_conn_leave(c);
}

void http_conn_leave(struct http_conn *c)
{
    struct http_server *s = c->server;
    int64_t since = c->deadline - s->limits.phase_ms[HTTP_IDLE];

    if (c->phase != HTTP_IDLE || c->left || (!c->served && http_now(s) - since < HTTP_FRESH_MS))
        return;
    c->left = true;
    (void)shutdown(c->fd, SHUT_RD); /* its end is then read like any other */
}

void http_conn_flush(struct http_conn *c)
{
    int r;

    if (c->phase != HTTP_WRITING) {
        if (c->phase == HTTP_DEAD)
            http_conn_free(c);
        return;
    }
    r = send_answer(c);
    if (r < 0)
        http_conn_free(c);
    else if (r == 0)
        set_events(c, EPOLLOUT);
    else
        finish_answer(c);
}

void http_conn_expired(struct http_conn *c)
{
    if (c->phase == HTTP_READING)
        refuse(c, 408, "the request was not whole in time");
    else
        http_conn_free(c);
}

/* Puts the answer in line. What can't stand in an answer is our own mistake: the client learns
 * that. */
static void answer(struct http_conn *c, int status, const char *content_type, struct buf *body,
                   const char *const *extra)
{
    int r = http_answer_put(c, status, content_type, body, extra);

    if (r == -EINVAL) {
        c->last = true;
        r = http_answer_error(c, 500, "the answer could not be made");
    }
    if (r < 0) {
        give_up(c);
        return;
    }
    set_phase(c, HTTP_WRITING);
    http_queue(c);
}

void http_conn_reply(struct http_exchange *x, int status, const char *content_type,
                     struct buf *body, const char *const *extra)
{
    struct http_conn *c = x->conn;
    bool gone = x->gone;

    if (c) {
        c->last = !x->head.keep_alive || c->server->draining;
        c->head_only = strcmp(x->head.method, "HEAD") == 0;
        drop_exchange(c);
        if (gone)
            give_up(c);
        else
            answer(c, status, content_type, body, extra);
    } else {
        http_conn_drop_exchange(x);
    }
    if (body)
        buf_clear(body);
}
