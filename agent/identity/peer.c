#include "identity/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/encode.h"
#include "identity/cgroup.h"
#include "identity/proc.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

#define CGROUP_TEXT_MAX (32 * 1024)

/* What is believed of a peer of whom nothing but the uid is known: it may have been a container's
 * process that sent its request and left. */
static struct peer unknown_process(uid_t uid, gid_t gid)
{
    return (struct peer){.known = true,
                         .uid = uid,
                         .gid = gid,
                         .pidfd = -1,
                         .assurance = ASSURANCE_UID,
                         .audit_session = PEER_NO_SESSION,
                         .loginuid = PEER_NO_LOGINUID,
                         .foreign = true};
}

static bool alive(int pidfd)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    return poll(&p, 1, 0) == 0;
}

/* sd_booted(3), asked once: it doesn't change under a running agent. */
static bool by_systemd(void)
{
    static int known = -1;

    if (known < 0)
        known = access("/run/systemd/system", F_OK) == 0;
    return known;
}

/* Anew for each request, as all that /proc says: a process that connected on the host may have been
 * moved since. Of a connection only what SO_PEERCRED said stays as it is. */
static int read_cgroup(int dir, struct peer *p)
{
    struct cgroup c;
    char *text = malloc(CGROUP_TEXT_MAX);

    if (!text)
        return -ENOMEM;
    int r = proc_read(dir, "cgroup", text, CGROUP_TEXT_MAX);
    if (r == 0) {
        cgroup_judge(text, by_systemd(), &c);
        p->foreign = c.foreign;
        memcpy(p->unit, c.unit, sizeof(p->unit));
    }
    free(text);
    return r;
}

static int read_comm(int dir, struct peer *p)
{
    _cleanup_buf_ struct buf shown = BUF_INIT(sizeof(p->comm));
    char text[64];

    int r = proc_read(dir, "comm", text, sizeof(text));
    if (r < 0)
        return r;
    text[strcspn(text, "\n")] = '\0';
    encode_printable(&shown, text, sizeof(p->comm) - 1);
    snprintf(p->comm, sizeof(p->comm), "%s", buf_str(&shown));
    return buf_error(&shown);
}

/* A kernel without auditing has no such file: then there is no session. */
static int read_audit(int dir, const char *name, uint32_t *out)
{
    int r = proc_read_u32(dir, name, out);
    return r == -ENOENT ? 0 : r;
}

/* Fills in what /proc says of the process that p->pidfd pins. It was alive after the folder was
 * opened, so the folder is its own; it was alive after the reading, so all of it was of one life.
 */
static int read_process(struct peer *p)
{
    struct peer found = *p;
    uid_t uid = 0;
    gid_t gid = 0;

    int dir = proc_open(p->pid);
    if (dir < 0)
        return dir;
    int r = alive(p->pidfd) ? 0 : -ESRCH;
    if (r == 0)
        r = read_audit(dir, "sessionid", &found.audit_session);
    if (r == 0)
        r = read_audit(dir, "loginuid", &found.loginuid);
    if (r == 0)
        r = read_cgroup(dir, &found);
    if (r == 0)
        r = read_comm(dir, &found);
    if (r == 0)
        r = proc_read_ids(dir, &uid, &gid);
    close(dir);
    if (r == 0 && uid != p->uid)
        r = -EPERM; /* it has become another's process since it connected */
    if (r == 0 && !alive(p->pidfd))
        r = -ESRCH;
    if (r == 0)
        *p = found;
    return r;
}

/* The process number behind a pidfd, as this process sees it; -ESRCH when it is gone or not ours to
 * see. */
static int pid_of(int pidfd, pid_t *pid)
{
    char path[64], text[1024];

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
    int r = proc_read(AT_FDCWD, path, text, sizeof(text));
    if (r < 0)
        return r;
    const char *at = strstr(text, "\nPid:\t"); /* the first line is another */
    long n = at ? strtol(at + 6, NULL, 10) : 0;
    if (n <= 0 || n > INT_MAX)
        return -ESRCH;
    *pid = (pid_t)n;
    return 0;
}

/* The kernel's own pin on whoever connected. Only a kernel that doesn't know the question
 * (ENOPROTOOPT) lets us look the process up by number; every other error means that it is gone. */
static int pin_peer(int fd, struct peer *p, enum assurance *how)
{
    int pidfd = -1;
    socklen_t len = sizeof(pidfd);
    pid_t pid = 0;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0) {
        p->pidfd = pidfd;
        *how = ASSURANCE_PIDFD;
        int r = pid_of(pidfd, &pid);
        return r == 0 && pid != p->pid ? -ESRCH : r;
    }
    if (errno != ENOPROTOOPT)
        return -errno;
    pidfd = pidfd_open(p->pid, 0);
    if (pidfd < 0)
        return -errno;
    p->pidfd = pidfd;
    *how = ASSURANCE_PID;
    return 0;
}

/* A peer that was looked up by number must still hold its end, or the number may be another's. */
static bool still_connected(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) >= 0 && !(p.revents & (POLLHUP | POLLERR | POLLNVAL));
}

int peer_read(int fd, struct peer *out)
{
    struct ucred cred;
    socklen_t len = sizeof(cred);
    int domain = 0;
    socklen_t domain_len = sizeof(domain);
    enum assurance how = ASSURANCE_UID;

    *out = (struct peer){.pidfd = -1};
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) < 0)
        return -errno;
    if (domain != AF_UNIX)
        return -EAFNOSUPPORT;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return -errno;
    if (len != sizeof(cred) || cred.uid == (uid_t)-1)
        return -ENOTCONN;
    *out = unknown_process(cred.uid, cred.gid);
    out->pid = cred.pid;
    if (cred.pid <= 0) /* a process of a namespace that we can't see into */
        return 0;
    int r = pin_peer(fd, out, &how);
    if (r == 0)
        r = read_process(out);
    if (r == 0 && how == ASSURANCE_PID && !still_connected(fd))
        r = -ESRCH;
    if (r == 0) {
        out->assurance = how;
        return 0;
    }
    pid_t pid = out->pid;
    peer_clear(out);
    *out = unknown_process(cred.uid, cred.gid);
    out->pid = pid;
    return 0;
}

void peer_clear(struct peer *p)
{
    if (!p)
        return;
    if (p->known && p->pidfd >= 0)
        close(p->pidfd);
    *p = (struct peer){.pidfd = -1};
}

int peer_read_pid(pid_t pid, struct peer *out)
{
    uid_t uid = 0;
    gid_t gid = 0;

    *out = (struct peer){.pidfd = -1};
    if (pid <= 0)
        return -EINVAL;
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0)
        return -errno;
    int dir = proc_open(pid);
    int r = dir < 0 ? dir : proc_read_ids(dir, &uid, &gid);
    if (dir >= 0)
        close(dir);
    *out = unknown_process(uid, gid);
    out->pid = pid;
    out->pidfd = pidfd;
    if (r == 0)
        r = read_process(out);
    if (r < 0)
        peer_clear(out);
    else
        out->assurance = ASSURANCE_PID;
    return r;
}
