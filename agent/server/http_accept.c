#include "server/http_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAUSE_MS 200

static bool is_privileged(const struct http_server *s, uid_t uid)
{
    return uid == 0 || uid == s->limits.own_uid;
}

static struct http_peer *find_peer(struct http_server *s, uid_t uid)
{
    struct http_peer *p;

    TAILQ_FOREACH(p, &s->peers, list)
    {
        if (p->uid == uid)
            return p;
    }
    p = calloc(1, sizeof(*p));
    if (p) {
        p->uid = uid;
        TAILQ_INSERT_HEAD(&s->peers, p, list);
    }
    return p;
}

/* Ordinary peers share `connections`; the reserve on top can be filled by the privileged only. */
static bool has_room(const struct http_server *s, const struct http_peer *p)
{
    const struct http_limits *l = &s->limits;

    if (is_privileged(s, p->uid))
        return p->connections < l->per_uid + l->reserve &&
               s->connections < l->connections + l->reserve;
    return p->connections < l->per_uid && s->connections < l->connections;
}

struct http_peer *http_accept_enter(struct http_server *s, int fd, bool unix_peer)
{
    struct http_peer *p;
    uid_t uid = (uid_t)-1;

    if (unix_peer && s->limits.peer_uid(fd, &uid) < 0)
        return NULL;
    p = find_peer(s, uid);
    if (!p)
        return NULL;
    if (has_room(s, p)) {
        p->connections++;
        s->connections++;
        return p;
    }
    if (p->connections == 0) {
        TAILQ_REMOVE(&s->peers, p, list);
        free(p);
    }
    return NULL;
}

void http_accept_leave(struct http_server *s, struct http_peer *p)
{
    s->connections--;
    if (--p->connections > 0)
        return;
    TAILQ_REMOVE(&s->peers, p, list);
    free(p);
}

bool http_accept_charge(struct http_server *s, struct http_peer *p, size_t n)
{
    const struct http_limits *l = &s->limits;
    size_t total = l->bytes + (is_privileged(s, p->uid) ? l->bytes_per_uid : 0);

    p->bytes += n;
    s->bytes += n;
    return p->bytes <= l->bytes_per_uid && s->bytes <= total;
}

void http_accept_discharge(struct http_server *s, struct http_peer *p, size_t n)
{
    p->bytes -= n;
    s->bytes -= n;
}

void http_accept_pause(struct http_server *s, bool pause)
{
    for (size_t i = 0; i < s->n_listeners; i++)
        (void)sd_event_source_set_enabled(s->listeners[i].source,
                                          pause ? SD_EVENT_OFF : SD_EVENT_ON);
    s->accept_again = pause ? http_now(s) + PAUSE_MS : 0;
    if (pause)
        http_arm(s, s->accept_again);
    else if (s->spare < 0)
        s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Without descriptors the backlog would stay ready for ever and the loop would spin: one spare
 * descriptor is given up to take the connection and close it. As accept4(); the descriptor is
 * closed already. (Out of descriptors, accept4() says so even when nobody waits.) */
static int shed(struct http_listener *l)
{
    struct http_server *s = l->server;
    int fd, saved;

    if (s->spare < 0)
        return -1;
    (void)close(s->spare);
    fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    saved = errno;
    if (fd >= 0)
        (void)close(fd);
    s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    errno = saved;
    return fd;
}

/* Whether there may be more to accept. */
static bool accept_one(struct http_listener *l)
{
    static const int on = 1;
    int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0) {
        if (!l->unix_peer)
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)http_adopt(l->server, fd, l->unix_peer);
        return true;
    }
    if ((errno == EMFILE || errno == ENFILE) && shed(l) >= 0)
        return true;
    if (errno == EAGAIN)
        return false;
    if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO)
        return true;
    http_accept_pause(l->server, true);
    return false;
}

void http_accept_ready(struct http_listener *l)
{
    for (int i = 0; i < HTTP_ACCEPTS_PER_ROUND; i++)
        if (!accept_one(l))
            return;
}
