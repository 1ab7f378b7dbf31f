#include "connector/uplink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <countersign/connector.h>

#include "base/clock.h"
#include "base/fault.h"
#include "connector/desk.h"
#include "connector/frame.h"

#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS 5000
#define OUT_MAX 512     /* unsent answers; then nothing more is read */
#define READS_A_TURN 32 /* so that a flood of requests doesn't starve the databases */
#define SEND_BUFFER (4 * CONNECTOR_FRAME_MAX)

struct out {
    struct out *next;
    struct buf frame;
};

struct uplink {
    sd_event *event;
    struct desk *desk;
    const char *path; /* NULL: one socket, and then the end */
    int fd;
    sd_event_source *io, *retry;
    unsigned retry_ms;
    int64_t since_ms;      /* when this connection began */
    bool ready;            /* systemd was told */
    bool leaving, emptied; /* nothing more is taken; nothing more is there to be read */
    sd_event_source *leave_by;
    struct out *first, **last;
    size_t unsent;
    char *packet; /* CONNECTOR_FRAME_MAX + 1 bytes */
};

static void schedule(struct uplink *u);

/* --- Sending. -------------------------------------------------------------------------------- */

static void drop_first(struct uplink *u)
{
    struct out *o = u->first;

    u->first = o->next;
    if (!u->first)
        u->last = &u->first;
    u->unsent--;
    buf_clear(&o->frame);
    free(o);
}

static int watch(struct uplink *u)
{
    uint32_t events = u->unsent < OUT_MAX && !u->emptied ? EPOLLIN : 0;

    return sd_event_source_set_io_events(u->io, events | (u->first ? EPOLLOUT : 0));
}

static void disconnect(struct uplink *u, const char *why)
{
    if (u->fd < 0)
        return;
    fprintf(stderr, "countersign-connector: the connection to the agent is closed: %s\n", why);
    u->io = sd_event_source_disable_unref(u->io);
    (void)close(u->fd);
    u->fd = -1;
    while (u->first)
        drop_first(u);
    desk_abandon(u->desk);
    /* An agent that hangs up on us at once each time is not to be stormed. */
    if (clock_boot_ms() - u->since_ms > RETRY_MAX_MS)
        u->retry_ms = 0;
    if (u->path && !u->leaving)
        schedule(u);
    else
        (void)sd_event_exit(u->event, 0);
}

static void go_if_done(struct uplink *u)
{
    if (u->emptied && !u->first && desk_jobs(u->desk) == 0)
        (void)sd_event_exit(u->event, 0);
}

/* Sends what there is; 0 or -errno. */
static int flush(struct uplink *u)
{
    while (u->first) {
        const struct buf *b = &u->first->frame;

        if (send(u->fd, b->data, b->len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            if (errno == EINTR)
                continue;
            return errno == EAGAIN || errno == EWOULDBLOCK ? watch(u) : -errno;
        }
        FAULT_POINT(connector_answered);
        drop_first(u);
    }
    return watch(u);
}

static int push(struct uplink *u, const struct buf *frame)
{
    struct out *o = calloc(1, sizeof(*o));

    if (!o)
        return -ENOMEM;
    o->frame = BUF_INIT(CONNECTOR_FRAME_MAX);
    buf_put(&o->frame, frame->data, frame->len);
    if (buf_error(&o->frame) < 0) {
        buf_clear(&o->frame);
        free(o);
        return -ENOMEM;
    }
    *u->last = o;
    u->last = &o->next;
    u->unsent++;
    return 0;
}

/* An answer that can't be made or kept leaves the agent waiting, so the connection ends: then it
 * knows. The socket is only shut here; what follows comes from the loop. */
static void on_answer(void *data, const struct buf *frame)
{
    struct uplink *u = data;

    if (u->fd < 0)
        return;
    FAULT_POINT(connector_answering);
    if (!frame || push(u, frame) < 0 || watch(u) < 0)
        (void)shutdown(u->fd, SHUT_RDWR);
}

/* --- Receiving. ------------------------------------------------------------------------------ */

/* One packet: 1, 0 when there is none now, or -errno (-ECONNRESET: the end). */
static int receive(struct uplink *u)
{
    ssize_t n = recv(u->fd, u->packet, CONNECTOR_FRAME_MAX + 1, MSG_DONTWAIT | MSG_TRUNC);
    int r;

    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -ECONNRESET;
    if (n > CONNECTOR_FRAME_MAX)
        r = -EMSGSIZE;
    else
        r = desk_take(u->desk, u->packet, (size_t)n);
    FAULT_POINT(connector_frame_taken);
    mem_wipe(u->packet, n > CONNECTOR_FRAME_MAX ? CONNECTOR_FRAME_MAX + 1 : (size_t)n);
    return r < 0 ? r : 1;
}

static int on_io(sd_event_source *s _unused_, int fd _unused_, uint32_t events, void *data)
{
    struct uplink *u = data;
    int r = 1;

    for (int i = 0; i < READS_A_TURN && r > 0 && u->unsent < OUT_MAX; i++)
        r = (events & (EPOLLIN | EPOLLHUP)) && !u->emptied ? receive(u) : 0;
    if (u->emptied && (events & (EPOLLHUP | EPOLLERR)))
        r = -ECONNRESET;
    if (r == -ECONNRESET && u->leaving && !(events & (EPOLLHUP | EPOLLERR))) {
        u->emptied = true;
        r = 0;
    }
    if (r >= 0)
        r = flush(u);
    if (r >= 0)
        go_if_done(u);
    if (r == -ECONNRESET)
        disconnect(u, "the agent hung up");
    else if (r == -EBADMSG || r == -EMSGSIZE)
        disconnect(u, "it sent what is not a request");
    else if (r < 0)
        disconnect(u, strerror(-r));
    return 0;
}

/* --- Connecting. ----------------------------------------------------------------------------- */

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, r;

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    r = -errno;
    (void)close(fd);
    return r;
}

static int greet(struct uplink *u)
{
    struct buf hello _cleanup_buf_ = BUF_INIT(CONNECTOR_FRAME_MAX);
    const int room = SEND_BUFFER;
    int r = frame_hello(&hello);

    /* The largest answer has to fit even where the system's default is small. */
    (void)setsockopt(u->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    if (r == 0)
        r = push(u, &hello);
    if (r == 0)
        r = sd_event_add_io(u->event, &u->io, u->fd, EPOLLIN, on_io, u);
    if (r >= 0)
        r = flush(u);
    if (r < 0)
        return r;
    u->since_ms = clock_boot_ms();
    if (!u->ready)
        (void)sd_notify(0, "READY=1");
    u->ready = true;
    (void)sd_notify(0, "STATUS=Connected to the agent");
    return 0;
}

static int on_retry(sd_event_source *s _unused_, uint64_t usec _unused_, void *data)
{
    struct uplink *u = data;
    int r;

    u->retry = sd_event_source_disable_unref(u->retry);
    /* What is being committed for the last connection must be settled before the next one asks. */
    if (desk_jobs(u->desk) == 0) {
        u->fd = connect_to(u->path);
        r = u->fd < 0 ? u->fd : greet(u);
        if (r == 0)
            return 0;
        if (u->fd >= 0) {
            disconnect(u, strerror(-r));
            return 0;
        }
    }
    schedule(u);
    return 0;
}

static void schedule(struct uplink *u)
{
    uint64_t wait = (uint64_t)u->retry_ms * 1000;

    u->retry_ms = u->retry_ms ? u->retry_ms * 2 : RETRY_FIRST_MS;
    if (u->retry_ms > RETRY_MAX_MS)
        u->retry_ms = RETRY_MAX_MS;
    (void)sd_notify(0, "STATUS=Waiting for the agent");
    if (sd_event_add_time_relative(u->event, &u->retry, CLOCK_MONOTONIC, wait, 1000, on_retry, u) <
        0)
        (void)sd_event_exit(u->event, -ENOMEM);
}

static int check_socket(int fd)
{
    struct sockaddr_storage peer;
    socklen_t n = sizeof(int), m = sizeof(peer);
    int type = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 || type != SOCK_SEQPACKET ||
        getpeername(fd, (struct sockaddr *)&peer, &m) < 0)
        return -EINVAL;
    return 0;
}

int uplink_new(sd_event *event, const char *path, int fd, struct uplink **out)
{
    struct uplink *u;
    int r = path ? 0 : check_socket(fd);

    if (r < 0)
        return r;
    u = calloc(1, sizeof(*u));
    if (!u)
        return -ENOMEM;
    u->event = event;
    u->path = path;
    u->fd = path ? -1 : fd;
    u->last = &u->first;
    u->packet = malloc(CONNECTOR_FRAME_MAX + 1);
    r = u->packet ? desk_new(event, on_answer, u, &u->desk) : -ENOMEM;
    if (r == 0 && path)
        schedule(u);
    else if (r == 0)
        r = greet(u);
    if (r < 0) {
        uplink_free(u);
        return r;
    }
    *out = u;
    return 0;
}

static int on_leave_by(sd_event_source *s _unused_, uint64_t usec _unused_, void *data)
{
    struct uplink *u = data;

    return sd_event_exit(u->event, 0);
}

/* With the receiving side shut the agent's next frame fails with EPIPE, so it knows that this one
 * was not taken; what is in the socket already is read to its end. */
void uplink_leave(struct uplink *u)
{
    bool first = !u->leaving;

    u->leaving = true;
    if (!first || u->fd < 0 || shutdown(u->fd, SHUT_RD) < 0 || watch(u) < 0 ||
        sd_event_add_time_relative(u->event, &u->leave_by, CLOCK_MONOTONIC,
                                   UPLINK_LEAVE_MS * UINT64_C(1000), 0, on_leave_by, u) < 0)
        (void)sd_event_exit(u->event, 0);
}

void uplink_free(struct uplink *u)
{
    if (!u)
        return;
    desk_free(u->desk);
    sd_event_source_disable_unref(u->leave_by);
    sd_event_source_disable_unref(u->io);
    sd_event_source_disable_unref(u->retry);
    while (u->first)
        drop_first(u);
    if (u->fd >= 0)
        (void)close(u->fd);
    mem_free(u->packet, CONNECTOR_FRAME_MAX + 1);
    free(u);
}
