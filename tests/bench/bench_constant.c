/* The bare limit of an HTTP API in one process: libmicrohttpd answering a constant at once, from
 * its epoll descriptor in one thread, on a Unix socket. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

#ifdef BENCH_MICROHTTPD
#include <microhttpd.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SIZE_MAX_ANSWER (1024 * 1024)

static char *constant;
static size_t constant_len;

static enum MHD_Result send_constant(struct MHD_Connection *c)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(constant_len, constant, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result ok;
    (void)MHD_add_response_header(r, "Content-Type", "application/json");
    (void)MHD_add_response_header(r, "Cache-Control", "no-store");
    ok = MHD_queue_response(c, 200, r);
    MHD_destroy_response(r);
    return ok;
}

/* Called once with the headers, and once when the whole request is there. */
static enum MHD_Result handle(void *data, struct MHD_Connection *c, const char *url,
                              const char *method, const char *version, const char *body, size_t *n,
                              void **state)
{
    static int seen;
    (void)data, (void)url, (void)method, (void)version, (void)body;
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    *n = 0;
    return send_constant(c);
}

static void run_all(struct MHD_Daemon *d)
{
    MHD_UNSIGNED_LONG_LONG left;
    do {
        (void)MHD_run(d);
    } while (MHD_get_timeout(d, &left) == MHD_YES && left == 0);
}

static int serve(int fd)
{
    struct MHD_Daemon *d = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, handle, NULL,
                                            MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_END);
    const union MHD_DaemonInfo *info = d ? MHD_get_daemon_info(d, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    struct epoll_event ev = {.events = EPOLLIN};
    int outer = epoll_create1(EPOLL_CLOEXEC);
    if (!info || epoll_ctl(outer, EPOLL_CTL_ADD, info->epoll_fd, &ev) < 0)
        return bench_failed("libmicrohttpd");
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        (void)epoll_wait(outer, &ev, 1, 1000);
        run_all(d);
    }
}

int bench_constant(const struct bench *b)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    constant_len = b->size < SIZE_MAX_ANSWER ? b->size : SIZE_MAX_ANSWER;
    constant = malloc(constant_len + 1);
    if (!constant)
        return bench_failed("out of memory");
    memset(constant, 'x', constant_len);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", b->arg[0]);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 128) < 0)
        return bench_failed(b->arg[0]);
    return serve(fd);
}

#else

int bench_constant(const struct bench *b)
{
    (void)b;
    fprintf(stderr, "bench: built without libmicrohttpd (Debian: libmicrohttpd-dev)\n");
    return 3;
}

#endif
