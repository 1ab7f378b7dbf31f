/* The HTTP server: the life of connections: waiting, leaving, deadlines, memory. */
#include "unit/http_fixture.h"

static int reply_later(sd_event_source *source, uint64_t us, void *data)
{
    (void)source;
    (void)us;
    echo_held(data);
    return 0;
}

/* Goal: a request that waits is answered from a timer of the same loop, without anything else
 * happening on the server's sockets. */
static void test_reply_later(void **state)
{
    struct world *w = *state;
    sd_event_source *timer = NULL;
    struct answer a = {0};
    int fd = dial(w);

    w->mode = HELD;
    SAY(w, fd, "GET /later HTTP/1.1\r\n" HOST "\r\n", &a);
    assert_int_equal(a.len, 0);
    assert_int_equal(w->n_held, 1);
    assert_true(sd_event_add_time_relative(w->loop, &timer, CLOCK_MONOTONIC, 30000, 1000,
                                           reply_later, w) >= 0);
    pump_for(w, 80);
    collect(fd, &a);
    assert_string_equal(body_of(&a), "GET|/later||0|811c9dc5|-");
    forget(&a);
    sd_event_source_unref(timer);
    close(fd);
}

/* Goal: answering inside `request` works, also along a pipeline longer than one round. */
static void test_reply_at_once(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    char all[8192] = "";
    int fd = dial(w);

    w->mode = IN_REQUEST;
    for (int i = 0; i < 100; i++)
        strcat(all, "GET / HTTP/1.1\r\n" HOST "\r\n");
    talk(w, fd, all, strlen(all), SIZE_MAX, &a);
    assert_int_equal(w->requests, 100);
    assert_int_equal(w->batches, 100);
    forget(&a);
    close(fd);
}

/* Goal: a client that closes while it waits is told about exactly once; its answer goes nowhere and
 * the connection is counted until then. */
static void test_gone(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    int fd = dial(w);

    w->mode = HELD;
    SAY(w, fd, "GET / HTTP/1.1\r\n" HOST "\r\n" SMUGGLED, &a);
    assert_int_equal(w->gones, 0);
    close(fd);
    pump_for(w, 30);
    assert_int_equal(w->gones, 1);
    assert_int_equal(http_connections(w->server), 1);
    assert_string_equal(http_request_of(w->held[0])->path, "/");
    echo_held(w);
    pump(w);
    assert_int_equal(w->gones, 1);
    assert_int_equal(w->requests, 1);
    assert_int_equal(http_connections(w->server), 0);
    forget(&a);
}

/* Goal: a Unix client that shut down its sending side is not gone: it gets its answers, the loop
 * does not spin meanwhile, and when it then closes it is gone. */
static void test_half_close(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    unsigned turns = 0;
    int fd = dial(w);

    w->mode = HELD;
    SAY(w, fd, "GET /1 HTTP/1.1\r\n" HOST "\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n", &a);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    for (int64_t end = now_ms() + 100; now_ms() < end;)
        turns += sd_event_run(w->loop, 10000) > 0;
    assert_true(turns < 10);
    assert_int_equal(w->gones, 0);
    echo_held(w);
    pump(w);
    collect(fd, &a);
    assert_non_null(strstr(a.text, "GET|/1|"));
    assert_int_equal(w->n_held, 1);
    echo_held(w);
    pump(w);
    collect(fd, &a);
    assert_non_null(strstr(a.text, "GET|/2|"));
    assert_true(a.closed);
    forget(&a);
    close(fd);
    fd = dial(w);
    SAY(w, fd, "GET /3 HTTP/1.1\r\n" HOST "\r\n", &a);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    pump(w);
    close(fd);
    pump(w);
    assert_int_equal(w->gones, 1);
    echo_held(w);
    forget(&a);
}

/* Goal: requests that come while one waits don't make the loop spin, and are read afterwards. */
static void test_no_spin_while_waiting(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    unsigned turns = 0;
    int fd = dial(w);

    w->mode = HELD;
    SAY(w, fd, "GET /1 HTTP/1.1\r\n" HOST "\r\n", &a);
    SAY(w, fd, "GET /2 HTTP/1.1\r\n" HOST "\r\n", &a);
    for (int64_t end = now_ms() + 100; now_ms() < end;)
        turns += sd_event_run(w->loop, 10000) > 0;
    assert_true(turns < 5);
    assert_int_equal(w->requests, 1);
    w->mode = IN_BATCH;
    echo_held(w);
    pump(w);
    collect(fd, &a);
    assert_non_null(strstr(a.text, "GET|/2|"));
    assert_int_equal(w->gones, 0);
    forget(&a);
    close(fd);
}

static void drain_until(struct world *w, bool done)
{
    int64_t end = now_ms() + 5000;

    while (http_drain(w->server) != done && now_ms() < end)
        pump_for(w, 5);
    assert_int_equal(http_drain(w->server), done);
}

/* Goal: at the server's end what is under way is answered, with Connection: close; a request that
 * an idle connection has sent already, too; and nobody new is accepted. */
static void test_drain(void **state)
{
    struct world *w = *state;
    struct answer waiting = {0}, idle = {0}, late = {0};
    int a = dial(w), b = dial(w), c;

    SAY(w, b, "GET /b HTTP/1.1\r\n" HOST "\r\n", &idle);
    assert_int_equal(status_of(&idle), 200);
    forget(&idle);
    w->mode = HELD;
    SAY(w, a, "GET /a HTTP/1.1\r\n" HOST "\r\n", &waiting);
    assert_int_equal(w->n_held, 1);
    assert_true(send(b, "GET /c HTTP/1.1\r\n" HOST "\r\n", 29, MSG_NOSIGNAL) == 29);
    assert_false(http_drain(w->server));
    pump_for(w, 20);
    assert_int_equal(w->n_held, 2);
    c = dial(w);
    echo_held(w);
    drain_until(w, true);
    collect(a, &waiting);
    collect(b, &idle);
    assert_int_equal(status_of(&waiting), 200);
    assert_int_equal(status_of(&idle), 200);
    assert_non_null(strstr(waiting.text, "Connection: close"));
    assert_true(waiting.closed && idle.closed);
    SAY(w, c, SMUGGLED, &late);
    assert_int_equal(late.len, 0);
    assert_false(late.closed);
    close(a);
    close(b);
    close(c);
    forget(&waiting);
    forget(&idle);
    forget(&late);
}

/* Goal: an idle connection's next request is not lost but can't be sent; one that has not sent any
 * is given a moment to. */
static void test_drain_idle(void **state)
{
    struct world *w = *state;
    struct answer answer = {0};
    int idle = dial(w), fresh = dial(w), silent = dial(w);

    SAY(w, idle, "GET /a HTTP/1.1\r\n" HOST "\r\n", &answer);
    forget(&answer);
    assert_false(http_drain(w->server));
    pump_for(w, 20);
    assert_int_equal(send(idle, "G", 1, MSG_NOSIGNAL), -1);
    assert_int_equal(errno, EPIPE);
    assert_false(http_drain(w->server));
    SAY(w, fresh, "GET /b HTTP/1.1\r\n" HOST "\r\n", &answer);
    assert_int_equal(status_of(&answer), 200);
    drain_until(w, true);
    assert_int_equal(send(silent, "G", 1, MSG_NOSIGNAL), -1);
    close(idle);
    close(fresh);
    close(silent);
    forget(&answer);
}

/* Goal: over TCP requests work the same, have no Unix peer, and a FIN counts as leaving. */
static void test_tcp(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    int fd = dial_tcp(w);

    pump_for(w, 20);
    assert_true(send(fd, "GET /t HTTP/1.1\r\n" HOST "\r\n", 28, 0) == 28);
    pump_for(w, 20);
    collect(fd, &a);
    assert_string_equal(body_of(&a), "GET|/t||0|811c9dc5|-");
    w->mode = HELD;
    assert_true(send(fd, "GET /u HTTP/1.1\r\n" HOST "\r\n", 28, 0) == 28);
    pump_for(w, 20);
    assert_int_equal(w->n_held, 1);
    assert_false(http_request_of(w->held[0])->unix_peer);
    close(fd);
    pump_for(w, 20);
    assert_int_equal(w->gones, 1);
    echo_held(w);
    pump(w);
    assert_int_equal(http_connections(w->server), 0);
    forget(&a);
}

/* Goal: over TCP a refusal reaches a client that is still sending its too large body. */
static void test_tcp_refusal_arrives(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    static const char head[] = "PUT / HTTP/1.1\r\n" HOST "Content-Length: 3145728\r\n\r\n";
    char *junk = calloc(1, 3 * HTTP_BODY_MAX);
    int fd = dial_tcp(w);

    assert_non_null(junk);
    pump_for(w, 20);
    memcpy(junk, head, strlen(head));
    /* A client that sends first and reads then must not be stopped by a reset in the middle. */
    for (int i = 0; i < 90; i++) {
        assert_true(send(fd, junk + i * 30000, 30000, MSG_NOSIGNAL) > 0 || errno == EAGAIN);
        pump_for(w, 1);
    }
    pump_for(w, 50);
    collect(fd, &a);
    assert_int_equal(status_of(&a), 413);
    free(junk);
    forget(&a);
    close(fd);
    pump_for(w, 50);
    assert_int_equal(http_connections(w->server), 0);
}

/* Goal: a request that drips in is cut off by an absolute deadline, in its head as in its body. */
static void test_dripping(void **state)
{
    struct world *w = *state;
    static const char *const starts[] = {"GET / HTTP/1.1\r\nX: ", "\r\n", CHUNKED "ffff\r\n",
                                         "PUT / HTTP/1.1\r\n" HOST "Content-Length: 9999\r\n\r\n"};

    http_limits_of(w->server)->phase_ms[HTTP_READING] = 200;
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        struct answer a = {0};
        int64_t began = now_ms();
        int fd = dial(w);

        talk(w, fd, starts[i], strlen(starts[i]), SIZE_MAX, &a);
        while (!a.closed && now_ms() < began + 3000) {
            if (i != 1)
                (void)!send(fd, "a", 1, MSG_NOSIGNAL);
            pump_for(w, 20);
            collect(fd, &a);
        }
        assert_true(a.closed);
        assert_int_equal(status_of(&a), 408);
        assert_true(now_ms() - began >= 190);
        assert_true(now_ms() - began < 1500);
        forget(&a);
        close(fd);
    }
    pump(w);
    assert_int_equal(w->requests, 0);
}

/* Goal: an idle connection is closed after its time, one that waits for its answer is not. */
static void test_idle(void **state)
{
    struct world *w = *state;
    struct answer a = {0}, b = {0}, c = {0};
    int idle, waits, used;

    http_limits_of(w->server)->phase_ms[HTTP_IDLE] = 150;
    idle = dial(w);
    used = dial(w);
    SAY(w, used, "GET / HTTP/1.1\r\n" HOST "\r\n", &c);
    w->mode = HELD;
    waits = dial(w);
    SAY(w, waits, "GET / HTTP/1.1\r\n" HOST "\r\n", &b);
    pump_for(w, 60);
    collect(idle, &a);
    assert_false(a.closed);
    pump_for(w, 400);
    collect(idle, &a);
    collect(used, &c);
    collect(waits, &b);
    assert_true(a.closed);
    assert_int_equal(a.len, 0);
    assert_true(c.closed);
    assert_false(b.closed);
    echo_held(w);
    pump(w);
    collect(waits, &b);
    assert_int_equal(status_of(&b), 200);
    forget(&a);
    forget(&b);
    forget(&c);
    close(idle);
    close(used);
    close(waits);
}

/* Goal: an answer larger than the socket's buffer arrives whole; a client that doesn't read it is
 * cut off by the deadline. */
static void test_slow_reader(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    char *big = padded("", 3 * 1024 * 1024, "");
    int64_t begun;
    int fd = dial(w), lazy;

    w->fixed = big;
    SAY(w, fd, "GET / HTTP/1.1\r\n" HOST "\r\n", &a);
    while (pump(w) > 0)
        collect(fd, &a);
    assert_string_equal(body_of(&a), big);
    forget(&a);
    close(fd);
    pump(w);
    http_limits_of(w->server)->phase_ms[HTTP_WRITING] = 150;
    lazy = dial(w);
    begun = now_ms();
    assert_true(send(lazy, SMUGGLED, strlen(SMUGGLED), 0) > 0);
    do {
        pump_for(w, 20);
        assert_true(now_ms() - begun < 20000);
    } while (w->requests < 2 || http_connections(w->server) > 0);
    assert_true(now_ms() - begun >= 150);
    close(lazy);
    free(big);
}

/* Goal: a client that leaves at any byte of its request leaves nothing behind. */
static void test_half_requests(void **state)
{
    struct world *w = *state;
    static const char request[] = CHUNKED "2\r\nab\r\n0\r\nA: b\r\n\r\n";
    struct answer a = {0};

    for (size_t n = 0; n < sizeof(request) - 1; n++) {
        int fd = dial(w);

        talk(w, fd, request, n, SIZE_MAX, &a);
        assert_int_equal(a.len, 0);
        close(fd);
        pump(w);
        assert_int_equal(http_connections(w->server), 0);
    }
    assert_int_equal(w->requests, 0);
    forget(&a);
}

/* Goal: garbage never becomes a request and never stops the server. */
static void test_garbage(void **state)
{
    struct world *w = *state;
    uint32_t x = 12345;

    for (int i = 0; i < 300; i++) {
        struct answer a = {0};
        char junk[512];
        int fd = dial(w);

        for (size_t k = 0; k < sizeof(junk); k++) {
            x = x * 1664525u + 1013904223u;
            junk[k] = (char)(x >> 24);
        }
        talk(w, fd, junk, sizeof(junk), 100, &a);
        assert_true(a.closed || a.len == 0);
        forget(&a);
        close(fd);
    }
    pump(w);
    assert_int_equal(w->requests, 0);
    check_once(w, "GET / HTTP/1.1\r\n" HOST "\r\n", 200, NULL);
}

/* Goal: freeing the server tells of unanswered requests, whose exchanges live until they are
 * answered. */
static void test_free_with_waiting(void **state)
{
    struct world *w = *state;
    struct answer a = {0};
    int one = dial(w), two = dial(w);

    w->mode = HELD;
    SAY(w, one, "PUT /1 HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", &a);
    SAY(w, two, "GET /2 HTTP/1.1\r\n" HOST "\r\n", &a);
    http_free(w->server);
    w->server = NULL;
    assert_int_equal(w->gones, 2);
    assert_int_equal(http_request_of(w->held[0])->fd, -1);
    assert_string_equal(http_request_of(w->held[0])->body, "abc");
    echo_held(w);
    collect(one, &a);
    assert_true(a.closed);
    assert_int_equal(a.len, 0);
    forget(&a);
    close(one);
    close(two);
}

/* Goal: only listening stream sockets of our families are taken, and a refused one stays the
 * caller's. */
static void test_listen(void **state)
{
    struct world *w = *state;
    int stream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int dgram = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_int_equal(http_listen(w->server, stream), -EINVAL);
    assert_int_equal(http_listen(w->server, dgram), -EINVAL);
    assert_int_equal(http_listen(w->server, -1), -EBADF);
    assert_int_equal(close(stream), 0);
    assert_int_equal(close(dgram), 0);
}

/* The sanitizers keep a heap of their own; each compiler has its way to say that they are there. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) &&                             \
    !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define PLAIN_HEAP
#endif

#ifdef PLAIN_HEAP
/* How often the mask-covered needle stands in the process's heap. */
static unsigned in_heap(const uint8_t *masked, size_t n)
{
    unsigned long from = 0, to = 0;
    unsigned found = 0;
    char line[512];
    FILE *f = fopen("/proc/self/maps", "re");

    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        if (strstr(line, "[heap]"))
            assert_int_equal(sscanf(line, "%lx-%lx", &from, &to), 2);
    fclose(f);
    assert_true(to > from);
    for (const uint8_t *p = (const uint8_t *)from; p + n <= (const uint8_t *)to; p++) {
        size_t i = 0;

        while (i < n && (p[i] ^ 0x5a) == masked[i])
            i++;
        found += i == n;
    }
    return found;
}

/* Goal: of a secret that came in a header and in a body, and went out in an answer, nothing is left
 * in the heap afterwards. */
static void test_wiped(void **state)
{
    struct world *w = *state;
    static const uint8_t masked[16] = {0x2b, 0x13, 0x2e, 0x37, 0x29, 0x6a, 0x0e, 0x1f,
                                       0x33, 0x3d, 0x12, 0x14, 0x6b, 0x0c, 0x19, 0x3f};
    char plain[17] = {0}, request[256];
    unsigned before;
    char got[512];
    int fd = dial(w);

    for (size_t i = 0; i < 16; i++)
        plain[i] = (char)(masked[i] ^ 0x5a);
    snprintf(request, sizeof(request),
             "PUT /a HTTP/1.1\r\n" HOST
             "X-Vault-Token: %s\r\nContent-Length: 16\r\n\r\n%sGET /next",
             plain, plain);
    assert_true(send(fd, request, strlen(request), 0) > 0);
    w->mode = HELD;
    pump(w);
    assert_int_equal(w->n_held, 1);
    before = in_heap(masked, 16);
    assert_true(before >= 2);
    echo_held(w);
    pump(w);
    assert_true(recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT) > 0);
    assert_non_null(memmem(got, sizeof(got), plain, 16));
    assert_int_equal(in_heap(masked, 16), 0);
    close(fd);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_reply_later),
        HTTP_TEST(test_reply_at_once),
        HTTP_TEST(test_gone),
        HTTP_TEST(test_half_close),
        HTTP_TEST(test_no_spin_while_waiting),
        HTTP_TEST(test_drain),
        HTTP_TEST(test_drain_idle),
        HTTP_TEST(test_tcp),
        HTTP_TEST(test_tcp_refusal_arrives),
        HTTP_TEST(test_dripping),
        HTTP_TEST(test_idle),
        HTTP_TEST(test_slow_reader),
        HTTP_TEST(test_half_requests),
        HTTP_TEST(test_garbage),
        HTTP_TEST(test_free_with_waiting),
        HTTP_TEST(test_listen),
#ifdef PLAIN_HEAP
        HTTP_TEST(test_wiped),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
