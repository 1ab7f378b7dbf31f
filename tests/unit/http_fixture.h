/* What the tests of the HTTP server share: a server that says back what arrived, and raw sockets.
 * Client and server share the process and the loop, so that what happens between two bytes is
 * decided here and not by a scheduler. */
#ifndef COUNTERSIGN_TESTS_HTTP_FIXTURE_H
#define COUNTERSIGN_TESTS_HTTP_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/http_internal.h"

#define HOST "Host: x\r\n"
#define SMUGGLED "GET /smuggled HTTP/1.1\r\n" HOST "\r\n"
#define CHUNKED "PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
#define ANSWER_MAX (4 * 1024 * 1024)

enum mode { IN_BATCH, IN_REQUEST, HELD };

struct world {
    sd_event *loop;
    struct http_server *server;
    char dir[64];
    char path[96];
    int port;
    enum mode mode;
    struct http_exchange *held[512];
    size_t n_held;
    size_t most_held;
    unsigned requests, batches, gones;
    size_t fds_before;
    const char *fixed; /* the answer's body, instead of the echo */
    int status;
    const char *type;
    const char *const *extra;
};

struct answer {
    char *text; /* all that came */
    size_t len;
    bool closed;
};

static inline size_t count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static inline int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline uint32_t checksum(const void *p, size_t n)
{
    const uint8_t *b = p;
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 16777619u;
    return h;
}

/* Says back what arrived. */
static inline void echo(struct world *w, struct http_exchange *x)
{
    const struct http_request *q = http_request_of(x);
    const char *token = http_header(x, "x-vault-token");
    struct buf b = BUF_INIT(ANSWER_MAX);

    assert_int_equal(q->body[q->body_len], 0);
    if (w->fixed)
        buf_puts(&b, w->fixed);
    else
        buf_putf(&b, "%s|%s|%s|%zu|%08x|%s", q->method, q->path, q->query, q->body_len,
                 checksum(q->body, q->body_len), token ? token : "-");
    http_reply(x, w->status, w->type, &b, w->extra);
    assert_null(b.data);
}

static inline void echo_held(struct world *w)
{
    for (size_t i = 0; i < w->n_held; i++)
        echo(w, w->held[i]);
    w->n_held = 0;
}

static inline void on_request(struct http_exchange *x, void *data)
{
    struct world *w = data;

    w->requests++;
    if (w->mode == IN_REQUEST) {
        echo(w, x);
        return;
    }
    assert_true(w->n_held < ARRAY_LEN(w->held));
    http_set_data(x, w);
    assert_ptr_equal(http_data(x), w);
    w->held[w->n_held++] = x;
    if (w->n_held > w->most_held)
        w->most_held = w->n_held;
}

static inline void on_batch(void *data)
{
    struct world *w = data;

    w->batches++;
    if (w->mode == IN_BATCH)
        echo_held(w);
}

static inline void on_gone(struct http_exchange *x, void *data)
{
    struct world *w = data;

    assert_non_null(x);
    w->gones++;
}

static inline void listen_unix(struct world *w)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof(a.sun_path), "%s", w->path);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(chmod(w->path, 0666), 0);
    assert_int_equal(listen(fd, 512), 0);
    assert_int_equal(http_listen(w->server, fd), 0);
}

static inline void listen_tcp(struct world *w)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    w->port = ntohs(a.sin_port);
    assert_int_equal(http_listen(w->server, fd), 0);
}

static inline int setup(void **state)
{
    static const struct http_callbacks cb = {
        .request = on_request, .batch = on_batch, .gone = on_gone};
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    w->fds_before = count_fds();
    w->status = 200;
    w->type = "application/json";
    snprintf(w->dir, sizeof(w->dir), "/tmp/test_http.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(chmod(w->dir, 0755), 0);
    snprintf(w->path, sizeof(w->path), "%s/s", w->dir);
    assert_true(sd_event_new(&w->loop) >= 0);
    assert_int_equal(http_new(w->loop, &cb, w, &w->server), 0);
    listen_unix(w);
    listen_tcp(w);
    *state = w;
    return 0;
}

/* Every test also is one of descriptors: what it opened has to be closed when it ends. */
static inline int teardown(void **state)
{
    struct world *w = *state;
    size_t left;

    http_free(w->server);
    sd_event_unref(w->loop);
    unlink(w->path);
    rmdir(w->dir);
    left = count_fds();
    if (left != w->fds_before) {
        fprintf(stderr, "descriptors: %zu before, %zu after\n", w->fds_before, left);
        free(w);
        return -1;
    }
    free(w);
    return 0;
}

/* Runs the loop until it has nothing to do. */
static inline unsigned pump(struct world *w)
{
    unsigned n = 0;

    while (sd_event_run(w->loop, 0) > 0)
        assert_true(++n < 100000);
    return n;
}

static inline void pump_for(struct world *w, int64_t ms)
{
    int64_t end = now_ms() + ms;

    while (now_ms() < end)
        assert_true(sd_event_run(w->loop, 5000) >= 0);
}

static inline int dial(struct world *w)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(a.sun_path, sizeof(a.sun_path), "%s", w->path);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    return fd;
}

static inline int dial_tcp(struct world *w)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                            .sin_port = htons((uint16_t)w->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_true(fcntl(fd, F_SETFL, O_NONBLOCK) >= 0);
    return fd;
}

/* Reads what is there, without waiting. */
static inline void collect(int fd, struct answer *a)
{
    ssize_t n;

    if (!a->text)
        a->text = calloc(1, ANSWER_MAX + 1);
    assert_non_null(a->text);
    while ((n = recv(fd, a->text + a->len, ANSWER_MAX - a->len, MSG_DONTWAIT)) > 0)
        a->len += (size_t)n;
    a->text[a->len] = '\0';
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        a->closed = true;
}

static inline void forget(struct answer *a)
{
    free(a->text);
    *a = (struct answer){0};
}

/* Sends all of it in steps of `step` bytes, running the server in between, then collects. A server
 * that closes early is no error here. */
static inline void talk(struct world *w, int fd, const char *p, size_t n, size_t step,
                        struct answer *a)
{
    size_t sent = 0;

    while (sent < n) {
        size_t part = n - sent < step ? n - sent : step;
        ssize_t r = send(fd, p + sent, part, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (r > 0)
            sent += (size_t)r;
        else if (errno != EAGAIN)
            break;
        pump(w);
        collect(fd, a);
    }
    pump(w);
    collect(fd, a);
}

#define SAY(w, fd, text, a) talk(w, fd, text, sizeof(text) - 1, SIZE_MAX, a)

static inline int status_of(const struct answer *a)
{
    int status = 0;

    if (a->len < 12 || sscanf(a->text, "HTTP/1.1 %d ", &status) != 1)
        return -1;
    return status;
}

static const char *body_of(const struct answer *a)
{
    const char *end = strstr(a->text, "\r\n\r\n");

    return end ? end + 4 : NULL;
}

/* One request on a connection of its own; checks status and body. */
static inline void check_once(struct world *w, const char *request, int status, const char *body)
{
    struct answer a = {0};
    int fd = dial(w);

    talk(w, fd, request, strlen(request), SIZE_MAX, &a);
    assert_int_equal(status_of(&a), status);
    if (body)
        assert_string_equal(body_of(&a), body);
    forget(&a);
    close(fd);
    pump(w);
}

/* A request line and n bytes of the same letter at a place of one's choice. */
static inline char *padded(const char *before, size_t n, const char *after)
{
    size_t first = strlen(before);
    char *s = malloc(first + n + strlen(after) + 1);

    assert_non_null(s);
    memcpy(s, before, first);
    memset(s + first, 'a', n);
    strcpy(s + first + n, after);
    return s;
}

static inline char *put_request(const char *fields, const char *body, size_t n, size_t *len)
{
    char *s = malloc(n + 512);
    int head;

    assert_non_null(s);
    head = snprintf(s, 512, "PUT /b HTTP/1.1\r\n" HOST "%s\r\n", fields);
    memcpy(s + head, body, n);
    *len = (size_t)head + n;
    return s;
}

#define HTTP_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
