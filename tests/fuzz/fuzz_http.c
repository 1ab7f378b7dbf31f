/* A live HTTP server on a live loop, fed through a socketpair in odd pieces.
 *
 *   clang -std=gnu17 -D_GNU_SOURCE -O1 -g -fsanitize=fuzzer,address,undefined -Iagent -Iinclude \
 *       tests/fuzz/fuzz_http.c agent/server/http*.c agent/base/buf.c agent/base/mem.c \
 *       -lsystemd -lsodium -o fuzz_http && ./fuzz_http -max_total_time=60
 *
 * The input's first byte says how it is cut, whether answers come at once, in the batch or after
 * everything was sent, and whether the client leaves early. Held against what arrives: the promises
 * of http.h about a request, and that every answer is one whole, well-formed answer. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http_internal.h"

#define PROMISE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "broken: %s\n", #condition);                                           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct game {
    struct http_exchange *held;
    unsigned mode; /* 0: at once, 1: in the batch, else: late */
    unsigned requests;
    unsigned gone;
    size_t answered;
};

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void answer(struct game *g)
{
    struct buf b = BUF_INIT(64);

    if (!g->held)
        return;
    buf_puts(&b, "{}");
    http_reply(g->held, 200, "application/json", &b, NULL);
    g->held = NULL;
    g->answered++;
}

static void check_text(const char *s, char lowest)
{
    for (; *s; s++)
        PROMISE((unsigned char)*s >= (unsigned char)lowest && *s != 0x7f);
}

static void on_request(struct http_exchange *x, void *data)
{
    const struct http_request *q = http_request_of(x);
    struct game *g = data;
    size_t method = strlen(q->method);

    PROMISE(!g->held);
    PROMISE(method >= 1 && method <= HTTP_METHOD_MAX);
    PROMISE(strspn(q->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == method);
    PROMISE(q->path[0] == '/' && strlen(q->path) <= HTTP_PATH_MAX && !strchr(q->path, '?'));
    check_text(q->path, '!');
    check_text(q->query, '!');
    PROMISE(q->body_len <= HTTP_BODY_MAX && q->body[q->body_len] == '\0');
    PROMISE(x->head.minor == 0 || http_header(x, "host"));
    PROMISE(!(http_header(x, "content-length") && http_header(x, "transfer-encoding")));
    for (size_t i = 0; i < x->head.n_fields; i++)
        check_text(x->head.fields[i].value, '\t');
    g->held = x;
    g->requests++;
    if (g->mode == 0)
        answer(g);
}

static void on_batch(void *data)
{
    struct game *g = data;

    if (g->mode == 1)
        answer(g);
}

static void on_gone(struct http_exchange *x, void *data)
{
    struct game *g = data;

    PROMISE(x == g->held);
    PROMISE(g->gone++ == 0);
}

static void pump(sd_event *loop)
{
    for (unsigned turns = 0; sd_event_run(loop, 0) > 0; turns++)
        PROMISE(turns < 10000);
}

/* The answers so far have to be whole ones, one behind the other; a HEAD's has no body, which can't
 * be told from here, so a body is stepped over only where it stands. */
static void check_answers(const char *s)
{
    while (*s) {
        const char *end = strstr(s, "\r\n\r\n");

        PROMISE(strncmp(s, "HTTP/1.1 ", 9) == 0 && end);
        s = end + 4;
        if (strncmp(s, "{}", 2) == 0) {
            s += 2;
        } else if (strncmp(s, "{\"errors\":[\"", 12) == 0) {
            s = strstr(s, "\"]}\n");
            PROMISE(s);
            s += 4;
        }
    }
}

static void play(sd_event *loop, struct game *g, struct http_server *s, const uint8_t *p, size_t n,
                 unsigned how)
{
    static const size_t steps[] = {1, 2, 3, 7, 61, 509, 16384, SIZE_MAX};
    static char got[1 << 20];
    size_t step = steps[how & 7], len = 0;
    int sv[2];
    ssize_t r;

    PROMISE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) == 0);
    PROMISE(http_adopt(s, sv[1], true) == 0);
    while (n > 0) {
        size_t part = n < step ? n : step;

        r = send(sv[0], p, part, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (r < 0 && errno != EAGAIN)
            break;
        p += r > 0 ? r : 0;
        n -= r > 0 ? (size_t)r : 0;
        pump(loop);
        while (len < sizeof(got) - 1 &&
               (r = recv(sv[0], got + len, sizeof(got) - 1 - len, MSG_DONTWAIT)) > 0)
            len += (size_t)r;
        if (g->mode == 3 || (r < 0 && errno == EAGAIN && g->held))
            answer(g);
    }
    if (how & 8)
        (void)shutdown(sv[0], SHUT_WR);
    if (how & 16)
        (void)close(sv[0]);
    pump(loop);
    while (g->held) {
        answer(g);
        pump(loop);
    }
    if (!(how & 16)) {
        while (len < sizeof(got) - 1 &&
               (r = recv(sv[0], got + len, sizeof(got) - 1 - len, MSG_DONTWAIT)) > 0)
            len += (size_t)r;
        got[len] = '\0';
        check_answers(got);
        (void)close(sv[0]);
    }
    pump(loop);
    PROMISE(http_connections(s) == 0 && s->bytes == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const struct http_callbacks cb = {
        .request = on_request, .batch = on_batch, .gone = on_gone};
    struct http_server *s = NULL;
    struct game g = {0};
    sd_event *loop = NULL;

    if (n == 0)
        return 0;
    g.mode = p[0] >> 5 & 3;
    PROMISE(sd_event_new(&loop) >= 0);
    PROMISE(http_new(loop, &cb, &g, &s) == 0);
    play(loop, &g, s, p + 1, n - 1, p[0]);
    http_free(s);
    sd_event_unref(loop);
    return 0;
}
