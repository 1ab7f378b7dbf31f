#include "server/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "server/pam.h"

enum door { DOOR_AGENT, DOOR_PAM, DOOR_PAM_USER, DOOR_CONNECTOR, DOORS };

static const struct {
    const char *name; /* FileDescriptorName= */
    int type;
    mode_t mode;
} doors[DOORS] = {
    [DOOR_AGENT] = {"agent", SOCK_STREAM, 0666},
    [DOOR_PAM] = {"pam", SOCK_SEQPACKET, 0600},
    [DOOR_PAM_USER] = {"pam-user", SOCK_SEQPACKET, 0666},
    [DOOR_CONNECTOR] = {"connector", SOCK_SEQPACKET, 0600},
};

static int connector_uid(const struct config *c, uid_t *uid)
{
    const struct passwd *p = getpwnam(c->connector_user);
    if (!p) {
        fprintf(stderr,
                "countersignd: there is no user %s for the connector (systemd-sysusers makes it)\n",
                c->connector_user);
        return -ENOENT;
    }
    *uid = p->pw_uid;
    return 0;
}

static int give(struct agent *a, const struct config *c, enum door d, int fd)
{
    uid_t uid;
    int e;
    switch (d) {
    case DOOR_AGENT:
        return http_listen(a->http, fd);
    case DOOR_PAM:
        return pam_listen(a->pam, fd, false);
    case DOOR_PAM_USER:
        return pam_listen(a->pam, fd, true);
    case DOOR_CONNECTOR:
        e = connector_uid(c, &uid);
        return e < 0 ? e : link_listen(a->link, fd, uid);
    case DOORS:
        break;
    }
    return -EINVAL;
}

/* A socket file that nobody answers behind is left over and may be replaced. */
static bool is_dead(const struct sockaddr_un *sa, int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    bool dead = fd >= 0 && connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 &&
                errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return dead;
}

static int make(const char *path, int type, mode_t mode)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(sa.sun_path))
        return -ENAMETOOLONG;
    memcpy(sa.sun_path, path, strlen(path));
    if (is_dead(&sa, type))
        (void)unlink(path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 || chmod(path, mode) < 0 ||
        listen(fd, 512) < 0) {
        int e = -errno;
        close(fd);
        return e;
    }
    return fd;
}

static int open_own(struct agent *a, const struct config *c, enum door d)
{
    const char *const paths[DOORS] = {
        [DOOR_AGENT] = c->agent_socket,
        [DOOR_PAM] = c->pam_socket,
        [DOOR_PAM_USER] = c->pam_user_socket,
        [DOOR_CONNECTOR] = c->connector_socket,
    };
    int fd = make(paths[d], doors[d].type, doors[d].mode);
    if (fd < 0) {
        fprintf(stderr, "countersignd: the socket %s can't be made: %s\n", paths[d], strerror(-fd));
        return fd;
    }
    return give(a, c, d, fd);
}

/* Dev mode only: a loopback address, for clients that can't speak over a Unix socket. */
static int open_tcp(struct agent *a, const char *where)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    char host[64];
    unsigned port;
    int end = 0;
    if (sscanf(where, "%63[0-9.]:%5u%n", host, &port, &end) != 2 || where[end] || port > 65535 ||
        inet_pton(AF_INET, host, &sa.sin_addr) != 1 || (ntohl(sa.sin_addr.s_addr) >> 24) != 127) {
        fprintf(stderr, "countersignd: --listen takes a loopback address: 127.0.0.1:8200\n");
        return -EINVAL;
    }
    sa.sin_port = htons((uint16_t)port);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    int e =
        bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 512) < 0 ? -errno : 0;
    if (e == 0)
        e = http_listen(a->http, fd);
    if (e < 0) {
        fprintf(stderr, "countersignd: can't listen on %s: %s\n", where, strerror(-e));
        close(fd);
    }
    return e;
}

static int take_from_systemd(struct agent *a, const struct config *c, bool taken[DOORS])
{
    char **names = NULL;
    int n = sd_listen_fds_with_names(1, &names), e = n < 0 ? n : 0;
    a->activated = n > 0;
    for (int i = 0; i < n && e == 0; i++) {
        e = -ENOENT;
        for (int d = 0; d < DOORS && e == -ENOENT; d++) {
            if (strcmp(names[i], doors[d].name) != 0 || taken[d])
                continue;
            taken[d] = true;
            e = give(a, c, (enum door)d, SD_LISTEN_FDS_START + i);
        }
        if (e < 0)
            fprintf(stderr, "countersignd: systemd passed a socket \"%s\" that can't be used: %s\n",
                    names[i], strerror(-e));
    }
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return e;
}

int sockets_open(struct agent *a, const struct config *c)
{
    bool taken[DOORS] = {false};
    int e = take_from_systemd(a, c, taken);
    bool activated = taken[DOOR_AGENT];
    for (int d = 0; d < DOORS && e == 0 && !activated; d++) {
        if (!taken[d] && !(c->dev && d == DOOR_CONNECTOR))
            e = open_own(a, c, (enum door)d);
    }
    if (e == 0 && c->listen)
        e = open_tcp(a, c->listen);
    return e;
}
