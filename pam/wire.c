#include "wire.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_SECOND 1000000000LL
#define NS_PER_MS 1000000LL
#define FIRST_SAFE_FD 3
#define RETRY_FIRST_MS 2 /* between two tries at a full backlog, doubled up to the last */
#define RETRY_LAST_MS 64

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

/* Waits on fds (count 0: just sleeps) for at most most_ms and what is left of the budget, which it
 * charges. Returns what poll returned; a signal counts as nothing having happened. */
static int wait_some(struct wire *w, struct pollfd *fds, nfds_t count, int most_ms)
{
    int64_t ms = (w->left_ns + NS_PER_MS - 1) / NS_PER_MS;
    int64_t begun = now_ns();
    int n = poll(fds, count, ms < most_ms ? (int)ms : most_ms);
    int error = errno;
    w->left_ns -= now_ns() - begun;
    if (n < 0)
        return error == EINTR ? 0 : -error;
    return n;
}

static int wait_for(struct wire *w, short events)
{
    struct pollfd p = {.fd = w->fd, .events = events};
    while (w->left_ns > 0) {
        int n = wait_some(w, &p, 1, INT_MAX);
        if (n != 0)
            return n < 0 ? n : 0;
    }
    return -ETIMEDOUT;
}

/* A program may have closed its standard streams; our socket must not become one of them. */
static int safe_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (fd >= FIRST_SAFE_FD)
        return fd;
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_SAFE_FD);
    int error = errno;
    close(fd);
    return higher < 0 ? -error : higher;
}

/* Only what tells of the agent, not of this process: limits on descriptors or memory can be set by
 * the caller of a set-uid program, who must not be able to choose "unavailable" for himself. */
static bool says_absent(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ECONNREFUSED || error == EACCES;
}

static int try_connect(struct wire *w, const struct sockaddr_un *address)
{
    int pause_ms = RETRY_FIRST_MS;
    while (w->left_ns > 0) {
        if (connect(w->fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
            return 0;
        if (errno == EINTR)
            continue;
        /* EAGAIN: the backlog is full, and no descriptor tells when it no longer is. */
        if (errno != EAGAIN)
            return says_absent(errno) ? errno : -errno;
        int n = wait_some(w, NULL, 0, pause_ms);
        if (n < 0)
            return n;
        pause_ms = pause_ms < RETRY_LAST_MS ? pause_ms * 2 : RETRY_LAST_MS;
    }
    return -ETIMEDOUT;
}

int wire_reopen(struct wire *w, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = strlen(path);
    wire_close(w);
    if (n >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, n + 1);
    w->fd = safe_socket();
    if (w->fd < 0)
        return w->fd;
    int r = try_connect(w, &address);
    if (r != 0)
        wire_close(w);
    return r;
}

int wire_open(struct wire *w, const char *path, int timeout)
{
    *w = (struct wire){.fd = -1, .left_ns = timeout * NS_PER_SECOND};
    return wire_reopen(w, path);
}

bool wire_trusted(const struct wire *w, uid_t agent_uid)
{
    struct ucred server;
    socklen_t n = sizeof(server);
    if (getsockopt(w->fd, SOL_SOCKET, SO_PEERCRED, &server, &n) != 0 || n != sizeof(server))
        return false;
    return server.uid == 0 || server.uid == agent_uid;
}

int wire_send(struct wire *w, const struct dialogue_record *record)
{
    if (record->bad)
        return -EMSGSIZE;
    for (;;) {
        if (send(w->fd, record->bytes, record->len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return 0;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return -errno;
        int r = wait_for(w, POLLOUT);
        if (r < 0)
            return r;
    }
}

void wire_send_now(struct wire *w, const struct dialogue_record *record)
{
    if (!record->bad)
        (void)!send(w->fd, record->bytes, record->len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* With MSG_TRUNC the true length is returned. No room is given for control messages, so descriptors
 * an agent might pass are closed by the kernel. */
ssize_t wire_receive(struct wire *w, uint8_t *packet)
{
    for (;;) {
        int r = wait_for(w, POLLIN);
        if (r < 0)
            return r;
        ssize_t n = recv(w->fd, packet, DIALOGUE_RECORD_MAX, MSG_TRUNC | MSG_DONTWAIT);
        if (n > DIALOGUE_RECORD_MAX)
            return -EBADMSG;
        if (n >= 0)
            return n > 0 ? n : -ENODATA;
        if (errno != EINTR && errno != EAGAIN)
            return -errno;
    }
}

void wire_close(struct wire *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}
