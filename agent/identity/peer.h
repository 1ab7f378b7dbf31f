/* Who is on the other end of a socket, as the kernel says. unix(7), pidfd_open(2), proc(5).
 *
 * The uid is the boundary. The process (pinned by a pidfd: SO_PEERPIDFD where the kernel has it,
 * else pidfd_open and a second look) gives the audit session and the cgroup; they are read, and
 * then the pidfd is checked to be alive still, so that a reused pid is never believed. */
#ifndef COUNTERSIGN_IDENTITY_PEER_H
#define COUNTERSIGN_IDENTITY_PEER_H

#include <stdint.h>
#include <sys/types.h>

#include "base/mem.h"
#include "base/terms.h"

#define PEER_NO_SESSION UINT32_MAX /* /proc/PID/sessionid of a process without a login */
#define PEER_NO_LOGINUID UINT32_MAX

struct peer {
    bool known; /* false: no credentials (TCP); everything else is then meaningless */
    uid_t uid;
    gid_t gid;
    pid_t pid;
    int pidfd;                /* owned; -1 = none */
    enum assurance assurance; /* UID, PID or PIDFD: how the fields below were learned */
    uint32_t audit_session;   /* PEER_NO_SESSION when unset or unreadable */
    uint32_t loginuid;        /* PEER_NO_LOGINUID likewise */
    bool foreign;   /* not shown to be of this host: in a container, or gone before its cgroup was
                       read (it could have been in one); never a host principal */
    char unit[256]; /* its systemd unit's name from the cgroup, "" if none; for display */
    char comm[32];  /* for the audit log only, printable */
};

/* Reads the peer of a connected AF_UNIX socket. Returns 0; a peer that died meanwhile, or whose
 * /proc can't be read, or that changed its uid since it connected, has known = true, its uid,
 * assurance UID, no session, and is foreign. -errno when the kernel gives no credentials. */
int peer_read(int fd, struct peer *out);
/* Closes the pidfd, zeroes. */
void peer_clear(struct peer *p);
/* The same facts for a process of one's own choosing (tests, re-checks at start-up). -ESRCH if
 * gone. */
int peer_read_pid(pid_t pid, struct peer *out);

#endif
