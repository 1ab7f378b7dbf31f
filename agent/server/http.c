/* Why not libmicrohttpd: version 0.9.75, asked with strict settings, takes a NUL in the path or in
 * a header for the string's end ("/a\0b" arrives as "/a", and its callbacks can't tell), takes bare
 * line feeds and two different Content-Lengths, joins a folded line to the header's name, sends the
 * head of some of its own error pages twice, and those pages are HTML. Each of these is a promise
 * of http.h that could then not be kept; the reader that keeps them is http_parse.c. */
#include "server/http_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMER_COARSE_MS 100
#define TIMER_ACCURACY_US 50000
#define FLUSHES_PER_ROUND 16
#define DESCRIPTORS_FOR_OTHERS 128

/* A body's time on its way in or in a handler's hands is bounded, so these are bounds of memory. */
#define BYTES_MAX ((size_t)64 * 1024 * 1024)
#define BYTES_PER_UID ((size_t)16 * 1024 * 1024)
#define DROP_MAX ((size_t)4 * 1024 * 1024)

int64_t http_now(const struct http_server *s)
{
    uint64_t us = 0;

    (void)sd_event_now(s->loop, CLOCK_MONOTONIC, &us);
    return (int64_t)(us / 1000);
}

void http_arm(struct http_server *s, int64_t when)
{
    if (when >= s->armed)
        return;
    s->armed = when;
    (void)sd_event_source_set_time(s->timer, (uint64_t)when * 1000);
    (void)sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT);
}

void http_queue(struct http_conn *c)
{
    struct http_server *s = c->server;

    if (!c->queued) {
        c->queued = true;
        TAILQ_INSERT_TAIL(&s->turn, c, by_turn);
    }
    if (!s->in_round)
        (void)sd_event_source_set_enabled(s->soon, SD_EVENT_ONESHOT);
}

/* Flushes those in line now; who comes back into the line meanwhile waits for the next time. */
static void flush(struct http_server *s)
{
    struct http_conns line = TAILQ_HEAD_INITIALIZER(line);
    struct http_conn *c;

    TAILQ_CONCAT(&line, &s->turn, by_turn);
    while ((c = TAILQ_FIRST(&line))) {
        TAILQ_REMOVE(&line, c, by_turn);
        c->queued = false;
        http_conn_flush(c);
    }
}

/* Ends a round: the turn for what was handed up, then the answers, which may let the next requests
 * of their connections through. What is left after a few times waits for the loop's next turn, so
 * that one busy connection can't keep the others out. */
static void end_round(struct http_server *s)
{
    for (int i = 0; i < FLUSHES_PER_ROUND && (s->handed_up > 0 || !TAILQ_EMPTY(&s->turn)); i++) {
        if (s->handed_up > 0) {
            s->handed_up = 0;
            s->callbacks.batch(s->data);
        }
        flush(s);
    }
    s->in_round = false;
    if (s->handed_up > 0 || !TAILQ_EMPTY(&s->turn))
        (void)sd_event_source_set_enabled(s->soon, SD_EVENT_ONESHOT);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *data)
{
    struct epoll_event ev[HTTP_EVENTS_PER_ROUND];
    struct http_server *s = data;
    int n;

    (void)source;
    (void)revents;
    n = epoll_wait(fd, ev, HTTP_EVENTS_PER_ROUND, 0);
    s->in_round = true;
    for (int i = 0; i < n; i++)
        http_conn_event(ev[i].data.ptr, ev[i].events);
    end_round(s);
    return 0;
}

static int on_soon(sd_event_source *source, void *data)
{
    struct http_server *s = data;

    (void)source;
    s->in_round = true;
    end_round(s);
    return 0;
}

/* The phases' lists are in the order of their deadlines, so only their fronts have to be looked at.
 */
static int64_t expire(struct http_server *s, int64_t now)
{
    int64_t next = s->accept_again > 0 ? s->accept_again : INT64_MAX;

    for (int phase = 0; phase < HTTP_PHASES; phase++) {
        struct http_conn *c;

        while ((c = TAILQ_FIRST(&s->phases[phase])) && c->deadline <= now)
            http_conn_expired(c);
        if (c && c->deadline < next)
            next = c->deadline;
    }
    return next;
}

static int on_timer(sd_event_source *source, uint64_t us, void *data)
{
    struct http_server *s = data;
    int64_t now = http_now(s), next;

    (void)source;
    (void)us;
    if (s->accept_again > 0 && s->accept_again <= now)
        http_accept_pause(s, false);
    s->armed = INT64_MAX;
    s->in_round = true;
    next = expire(s, now);
    end_round(s);
    if (next < INT64_MAX)
        http_arm(s, next > now + TIMER_COARSE_MS ? next : now + TIMER_COARSE_MS);
    return 0;
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *data)
{
    (void)source;
    (void)fd;
    (void)revents;
    http_accept_ready(data);
    return 0;
}

static int peer_uid(int fd, uid_t *uid)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return -errno;
    if (len != sizeof(cred) || cred.uid == (uid_t)-1)
        return -EPERM;
    *uid = cred.uid;
    return 0;
}

/* The reserve is one only as long as there are descriptors for it. */
static size_t connections_max(void)
{
    const rlim_t aside = HTTP_RESERVE + DESCRIPTORS_FOR_OTHERS;
    struct rlimit have;

    if (getrlimit(RLIMIT_NOFILE, &have) < 0 || have.rlim_cur == RLIM_INFINITY ||
        have.rlim_cur >= HTTP_CONNECTIONS_MAX + aside)
        return HTTP_CONNECTIONS_MAX;
    return have.rlim_cur > 2 * aside ? (size_t)(have.rlim_cur - aside) : (size_t)aside;
}

static struct http_limits default_limits(void)
{
    return (struct http_limits){
        .connections = connections_max(),
        .per_uid = HTTP_CONNECTIONS_PER_UID,
        .reserve = HTTP_RESERVE,
        .bytes = BYTES_MAX,
        .bytes_per_uid = BYTES_PER_UID,
        .own_uid = geteuid(),
        .phase_ms = {[HTTP_IDLE] = HTTP_IDLE_MS,
                     [HTTP_READING] = HTTP_REQUEST_DEADLINE_MS,
                     [HTTP_WRITING] = HTTP_REQUEST_DEADLINE_MS,
                     [HTTP_CLOSING] = 2000},
        .drop_max = DROP_MAX,
        .peer_uid = peer_uid,
    };
}

static int add_sources(struct http_server *s)
{
    int r;

    r = sd_event_add_io(s->loop, &s->io, s->epoll, EPOLLIN, on_io, s);
    if (r < 0)
        return r;
    r = sd_event_add_time(s->loop, &s->timer, CLOCK_MONOTONIC, UINT64_MAX, TIMER_ACCURACY_US,
                          on_timer, s);
    if (r < 0)
        return r;
    r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
    if (r < 0)
        return r;
    r = sd_event_add_defer(s->loop, &s->soon, on_soon, s);
    if (r < 0)
        return r;
    return sd_event_source_set_enabled(s->soon, SD_EVENT_OFF);
}

int http_new(sd_event *loop, const struct http_callbacks *cb, void *data, struct http_server **out)
{
    struct http_server *s;
    int r;

    if (!cb->request || !cb->batch)
        return -EINVAL;
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->loop = sd_event_ref(loop);
    s->callbacks = *cb;
    s->data = data;
    s->limits = default_limits();
    s->armed = INT64_MAX;
    TAILQ_INIT(&s->peers);
    TAILQ_INIT(&s->turn);
    for (int i = 0; i < HTTP_PHASES; i++)
        TAILQ_INIT(&s->phases[i]);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    r = s->epoll < 0 || s->spare < 0 ? -errno : add_sources(s);
    if (r < 0) {
        http_free(s);
        return r;
    }
    *out = s;
    return 0;
}

/* Whether fd is a listening stream socket of a family we serve; sets *unix_peer. */
static int check_listener(int fd, bool *unix_peer)
{
    int domain, type, listening;
    socklen_t len = sizeof(int);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0)
        return -errno;
    if (type != SOCK_STREAM || !listening)
        return -EINVAL;
    if (domain != AF_UNIX && domain != AF_INET && domain != AF_INET6)
        return -EAFNOSUPPORT;
    *unix_peer = domain == AF_UNIX;
    return 0;
}

int http_listen(struct http_server *s, int fd)
{
    struct http_listener *l = &s->listeners[s->n_listeners];
    int r, flags;

    if (s->n_listeners == HTTP_LISTENERS_MAX)
        return -ENOSPC;
    r = check_listener(fd, &l->unix_peer);
    if (r < 0)
        return r;
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    r = sd_event_add_io(s->loop, &l->source, fd, EPOLLIN, on_accept, l);
    if (r < 0)
        return r;
    l->server = s;
    l->fd = fd;
    s->n_listeners++;
    return 0;
}

int http_adopt(struct http_server *s, int fd, bool unix_peer)
{
    int r = http_conn_new(s, fd, unix_peer);

    if (r < 0)
        (void)close(fd);
    return r;
}

/* The pipeline may still hold the exchange: it lives on without a connection until it is answered.
 */
static void orphan(struct http_conn *c)
{
    struct http_exchange *x = c->exchange;

    c->exchange = NULL;
    http_accept_discharge(c->server, c->peer, x->charged);
    x->conn = NULL;
    x->request.fd = -1;
    if (!x->gone && c->server->callbacks.gone)
        c->server->callbacks.gone(x, c->server->data);
}

static void stop_accepting(struct http_server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++)
        (void)sd_event_source_set_enabled(s->listeners[i].source, SD_EVENT_OFF);
    s->accept_again = 0;
    s->draining = true;
}

bool http_drain(struct http_server *s)
{
    struct http_conn *c;

    stop_accepting(s);
    TAILQ_FOREACH(c, &s->phases[HTTP_IDLE], by_phase)
    http_conn_leave(c);
    return TAILQ_EMPTY(&s->phases[HTTP_IDLE]) && TAILQ_EMPTY(&s->phases[HTTP_READING]) &&
           TAILQ_EMPTY(&s->phases[HTTP_WAITING]) && TAILQ_EMPTY(&s->phases[HTTP_WRITING]) &&
           TAILQ_EMPTY(&s->turn);
}

void http_free(struct http_server *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_listeners; i++) {
        (void)sd_event_source_disable_unref(s->listeners[i].source);
        (void)close(s->listeners[i].fd);
    }
    for (int phase = 0; phase < HTTP_PHASES; phase++) {
        struct http_conn *c;

        while ((c = TAILQ_FIRST(&s->phases[phase]))) {
            if (c->phase == HTTP_WAITING)
                orphan(c);
            http_conn_free(c);
        }
    }
    (void)sd_event_source_disable_unref(s->io);
    (void)sd_event_source_disable_unref(s->soon);
    (void)sd_event_source_disable_unref(s->timer);
    if (s->epoll >= 0)
        (void)close(s->epoll);
    if (s->spare >= 0)
        (void)close(s->spare);
    (void)sd_event_unref(s->loop);
    mem_free(s, sizeof(*s));
}

struct http_limits *http_limits_of(struct http_server *s)
{
    return &s->limits;
}

const char *http_header(const struct http_exchange *x, const char *name)
{
    return http_parse_field(&x->head, name);
}

const struct http_request *http_request_of(const struct http_exchange *x)
{
    return &x->request;
}

void http_set_data(struct http_exchange *x, void *data)
{
    x->data = data;
}

void *http_data(const struct http_exchange *x)
{
    return x->data;
}

void http_reply(struct http_exchange *x, int status, const char *content_type, struct buf *body,
                const char *const *extra)
{
    http_conn_reply(x, status, content_type, body, extra);
}

size_t http_connections(const struct http_server *s)
{
    return s->connections;
}
