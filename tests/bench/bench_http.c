/* Requests per second of a constant answer: this server, with every request waiting for its batch,
 * against bare libmicrohttpd answering at once and against it suspended until a batch. Sixteen
 * connections over a Unix socket, one request under way on each; server and client are two
 * processes.
 *
 *   gcc -std=gnu17 -D_GNU_SOURCE -O2 -Iagent -Iinclude tests/bench/bench_http.c
 * agent/server/http*.c \ agent/base/buf.c agent/base/mem.c -lsystemd -lsodium -lmicrohttpd -o
 * bench_http && ./bench_http
 *
 * Arguments: seconds per run (2), rounds (3). Prints the median of each and the ratios. */
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/http.h"

#define CONNECTIONS 16
#define ROUNDS_MAX 99

static const char payload[] = "{\"request_id\":\"\",\"lease_id\":\"\",\"renewable\":false,"
                              "\"lease_duration\":0,\"data\":{\"value\":\"constant\"},"
                              "\"wrap_info\":null,\"warnings\":null,\"auth\":null}\n";
static const char request[] = "GET /v1/secret/data/constant HTTP/1.1\r\nHost: localhost\r\n"
                              "User-Agent: bench\r\nAccept: */*\r\nX-Vault-Request: true\r\n"
                              "X-Vault-Token: hvs.AAAAAAAAAAAAAAAAAAAAAAAA\r\n\r\n";

/* ---- ours ---- */

static struct http_exchange *waiting[4096];
static size_t n_waiting;

static void on_request(struct http_exchange *x, void *data)
{
    (void)data;
    waiting[n_waiting++] = x;
}

static void on_batch(void *data)
{
    (void)data;
    for (size_t i = 0; i < n_waiting; i++) {
        struct buf b = BUF_INIT(4096);

        buf_put(&b, payload, sizeof(payload) - 1);
        http_reply(waiting[i], 200, "application/json", &b, NULL);
    }
    n_waiting = 0;
}

static void serve_ours(int fd)
{
    static const struct http_callbacks cb = {.request = on_request, .batch = on_batch};
    struct http_server *s;
    sd_event *loop;

    if (sd_event_new(&loop) < 0 || http_new(loop, &cb, NULL, &s) < 0 || http_listen(s, fd) < 0)
        _exit(1);
    (void)sd_event_loop(loop);
}

/* ---- libmicrohttpd ---- */

static struct MHD_Connection *suspended[4096];
static size_t n_suspended;
static int first_call, second_call;

static enum MHD_Result send_constant(struct MHD_Connection *c)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(
        sizeof(payload) - 1, (void *)(uintptr_t)payload, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result ok;

    (void)MHD_add_response_header(r, "Content-Type", "application/json");
    (void)MHD_add_response_header(r, "Cache-Control", "no-store");
    ok = MHD_queue_response(c, 200, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result handle(void *suspends, struct MHD_Connection *c, const char *url,
                              const char *method, const char *version, const char *body, size_t *n,
                              void **state)
{
    (void)url, (void)method, (void)version, (void)body, (void)n;
    if (!*state) {
        *state = &first_call;
        return MHD_YES;
    }
    if (!suspends || *state == &second_call)
        return send_constant(c);
    *state = &second_call;
    MHD_suspend_connection(c);
    suspended[n_suspended++] = c;
    return MHD_YES;
}

static void run_all(struct MHD_Daemon *d)
{
    MHD_UNSIGNED_LONG_LONG left;
    size_t resumed;

    do {
        (void)MHD_run(d);
        resumed = n_suspended;
        for (size_t i = 0; i < n_suspended; i++)
            MHD_resume_connection(suspended[i]);
        n_suspended = 0;
    } while (resumed > 0 || (MHD_get_timeout(d, &left) == MHD_YES && left == 0));
}

static void serve_mhd(int fd, void *suspends)
{
    struct MHD_Daemon *d =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle, suspends,
                         MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_END);
    const union MHD_DaemonInfo *info = d ? MHD_get_daemon_info(d, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    struct epoll_event ev = {.events = EPOLLIN};
    int outer = epoll_create1(EPOLL_CLOEXEC);

    if (!info || epoll_ctl(outer, EPOLL_CTL_ADD, info->epoll_fd, &ev) < 0)
        _exit(1);
    for (;;) {
        (void)epoll_wait(outer, &ev, 1, 1000);
        run_all(d);
    }
}

static void serve_mhd_plain(int fd)
{
    serve_mhd(fd, NULL);
}

static void serve_mhd_suspended(int fd)
{
    serve_mhd(fd, &first_call);
}

/* ---- the client ---- */

struct client {
    int fd;
    size_t have;
    char in[2048];
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool ask(struct client *c)
{
    c->have = 0;
    return send(c->fd, request, sizeof(request) - 1, MSG_NOSIGNAL) == sizeof(request) - 1;
}

/* 1: a whole answer was read and the next request sent; 0: more has to come; -1: something is
 * wrong. */
static int step(struct client *c)
{
    ssize_t n = recv(c->fd, c->in + c->have, sizeof(c->in) - 1 - c->have, 0);

    if (n <= 0)
        return -1;
    c->have += (size_t)n;
    c->in[c->have] = '\0';
    if (c->have < sizeof(payload) || strcmp(c->in + c->have - (sizeof(payload) - 1), payload) != 0)
        return 0;
    if (strncmp(c->in, "HTTP/1.1 200 ", 13) != 0 || !ask(c))
        return -1;
    return 1;
}

static double load(const struct sockaddr_un *a, double seconds)
{
    static struct client clients[CONNECTIONS];
    struct epoll_event ev[CONNECTIONS];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    unsigned long done = 0;
    double began, ends;

    for (int i = 0; i < CONNECTIONS; i++) {
        struct client *c = &clients[i];
        struct epoll_event want = {.events = EPOLLIN, .data.ptr = c};

        c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(c->fd, (const struct sockaddr *)a, sizeof(*a)) < 0 || !ask(c) ||
            epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &want) < 0)
            return -1;
    }
    began = now();
    ends = began + seconds;
    while (now() < ends) {
        int n = epoll_wait(epoll, ev, CONNECTIONS, 1000);

        for (int i = 0; i < n; i++) {
            int r = step(ev[i].data.ptr);

            if (r < 0)
                return -1;
            done += (unsigned long)r;
        }
    }
    for (int i = 0; i < CONNECTIONS; i++)
        (void)close(clients[i].fd);
    (void)close(epoll);
    return (double)done / (now() - began);
}

/* Requests per second; *cost becomes the server's own time for one, in microseconds, which is what
 * is left to compare when the client is the slower of the two. */
static double run(void (*serve)(int), double seconds, double *cost)
{
    struct rusage used;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    double rate;
    pid_t child;

    (void)snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "bench_http.%d", (int)getpid());
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 128) < 0)
        return -1;
    child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(fd);
        _exit(1);
    }
    (void)close(fd);
    rate = load(&a, seconds);
    (void)kill(child, SIGKILL);
    (void)wait4(child, NULL, 0, &used);
    *cost = ((double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
             (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec)) /
            (rate * seconds);
    return rate;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*serve)(int);
    } servers[] = {{"ours, waiting for the batch", serve_ours},
                   {"libmicrohttpd, bare", serve_mhd_plain},
                   {"libmicrohttpd, suspended until a batch", serve_mhd_suspended}};
    double seconds = argc > 1 ? atof(argv[1]) : 2, rates[3][ROUNDS_MAX], costs[3][ROUNDS_MAX];
    int rounds = argc > 2 ? atoi(argv[2]) : 3;

    if (rounds < 1 || rounds > ROUNDS_MAX || seconds <= 0)
        return 2;
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < 3; i++) {
            rates[i][round] = run(servers[i].serve, seconds, &costs[i][round]);
            if (rates[i][round] < 0) {
                fprintf(stderr, "%s: failed\n", servers[i].name);
                return 1;
            }
        }
    for (int i = 0; i < 3; i++) {
        qsort(rates[i], (size_t)rounds, sizeof(double), compare);
        qsort(costs[i], (size_t)rounds, sizeof(double), compare);
        printf("%-40s %9.0f requests/s, %5.2f us of the server's time each\n", servers[i].name,
               rates[i][rounds / 2], costs[i][rounds / 2]);
    }
    printf("ours / bare: %.2f   ours / suspended: %.2f\n",
           rates[0][rounds / 2] / rates[1][rounds / 2],
           rates[0][rounds / 2] / rates[2][rounds / 2]);
    return 0;
}
