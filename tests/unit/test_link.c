#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <countersign/connector.h>

#include "base/mem.h"
#include "server/link.h"

#define HELLO "{\"hello\": 1, \"program\": \"fake\"}"

struct world {
    sd_event *loop;
    struct link *link;
    int fd; /* the fake connector's end, -1 when it has gone */
    int ups;
};

static struct world w;

/* What a call was told. */
struct told {
    int times;
    json_t *answer;
    struct told *then; /* asked from within the answer */
};

static void on_up(void *data _unused_)
{
    w.ups++;
}

static void connect_fake(void)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair),
                     0);
    assert_int_equal(link_attach(w.link, pair[0]), 0);
    w.fd = pair[1];
}

static int setup(void **state)
{
    (void)state;
    w = (struct world){.fd = -1};
    if (sd_event_new(&w.loop) < 0 || link_new(w.loop, &w.link) < 0)
        return -1;
    link_on_up(w.link, on_up, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    link_free(w.link);
    if (w.fd >= 0)
        close(w.fd);
    sd_event_unref(w.loop);
    return 0;
}

/* Runs the loop until nothing is left to do. */
static void drain(void)
{
    while (sd_event_run(w.loop, 0) > 0)
        continue;
}

static void say(const char *frame)
{
    assert_int_equal(send(w.fd, frame, strlen(frame), MSG_NOSIGNAL), (ssize_t)strlen(frame));
    drain();
}

static void greet(void)
{
    connect_fake();
    say(HELLO);
    assert_true(link_up(w.link));
}

/* The next frame that the connector got; NULL when there is none. */
static json_t *heard(void)
{
    static char text[CONNECTOR_FRAME_MAX + 1];
    char why[128];
    json_t *frame = NULL;
    ssize_t n = recv(w.fd, text, sizeof(text), MSG_DONTWAIT);
    if (n <= 0)
        return NULL;
    assert_int_equal(json_parse(text, (size_t)n, &frame, why, sizeof(why)), 0);
    return frame;
}

static void call(struct told *t);

static void on_answer(const json_t *answer, void *data)
{
    struct told *t = data;
    t->times++;
    t->answer = json_deep_copy(answer);
    if (t->then)
        call(t->then);
}

static void call(struct told *t)
{
    int before = t->times;
    assert_int_equal(link_call(w.link, json_pack("{s:s}", "op", "check"), on_answer, t), 0);
    assert_int_equal(t->times, before); /* never from within */
}

static void is_told(struct told *t, bool ok, const char *kind)
{
    assert_int_equal(t->times, 1);
    assert_int_equal(json_bool(t->answer, "ok", !ok), ok);
    assert_string_equal(json_str_or(t->answer, "kind", ""), kind);
    if (!ok)
        assert_true(strlen(json_str_or(t->answer, "message", "")) > 5);
    json_decref(t->answer);
    t->answer = NULL;
}

static int64_t id_of_next(void)
{
    json_t *frame = heard();
    assert_non_null(frame);
    int64_t id = json_int(frame, "id", -1);
    json_decref(frame);
    return id;
}

static void answer(int64_t id)
{
    char text[96];
    snprintf(text, sizeof(text), "{\"id\": %lld, \"ok\": true}", (long long)id);
    say(text);
}

/* Goal: nothing is up before the connector has said hello, and then it is told once. */
static void test_hello(void **state)
{
    (void)state;
    assert_false(link_up(w.link));
    connect_fake();
    drain();
    assert_false(link_up(w.link));
    say(HELLO);
    assert_true(link_up(w.link));
    assert_int_equal(w.ups, 1);
    say(HELLO);
    assert_int_equal(w.ups, 1);
}

/* Goal: a call goes out with its id and time limit, and its answer finds it, in any order. */
static void test_answers(void **state)
{
    (void)state;
    struct told a = {0}, b = {0};
    greet();
    call(&a);
    call(&b);
    json_t *frame = heard();
    assert_string_equal(json_str_or(frame, "op", ""), "check");
    assert_int_equal(json_int(frame, "timeout_ms", 0), LINK_TIMEOUT_MS);
    int64_t first = json_int(frame, "id", -1), second = id_of_next();
    json_decref(frame);
    assert_true(first > 0 && second > first);
    answer(second);
    assert_int_equal(a.times, 0);
    is_told(&b, true, "");
    answer(first);
    is_told(&a, true, "");
}

/* Goal: what nobody asked for, or what was answered already, changes nothing. */
static void test_unknown_ids(void **state)
{
    (void)state;
    struct told a = {0};
    greet();
    call(&a);
    int64_t id = id_of_next();
    say("{\"id\": 99999, \"ok\": true}");
    say("{\"id\": 0, \"ok\": true}");
    say("{\"id\": -1, \"ok\": true}");
    say("{\"id\": \"1x\", \"ok\": true}");
    say("{\"ok\": true}");
    assert_int_equal(a.times, 0);
    answer(id);
    is_told(&a, true, "");
    answer(id);
    assert_int_equal(a.times, 1);
    assert_true(link_up(w.link));
}

/* Goal: without a connector a call fails at once, but from the loop. */
static void test_away(void **state)
{
    (void)state;
    struct told a = {0}, b = {0};
    call(&a);
    drain();
    is_told(&a, false, "unreachable");
    connect_fake(); /* there, but not yet a connector */
    call(&b);
    drain();
    is_told(&b, false, "unreachable");
    assert_null(heard());
}

/* Goal: while a connector is expected calls wait for it, and reach it in their order; when it does
 * not come they are told so. */
static void test_expected(void **state)
{
    (void)state;
    struct told a = {0}, b = {0}, c = {0};
    link_expect(w.link, 60000);
    call(&a);
    connect_fake();
    call(&b);
    drain();
    assert_int_equal(a.times + b.times, 0);
    assert_null(heard());
    say(HELLO);
    int64_t first = id_of_next(), second = id_of_next();
    assert_true(second > first);
    answer(first);
    answer(second);
    is_told(&a, true, "");
    is_told(&b, true, "");
    close(w.fd);
    w.fd = -1;
    drain();
    link_expect(w.link, 30);
    call(&c);
    drain();
    assert_int_equal(c.times, 0);
    assert_true(sd_event_run(w.loop, 5000000) > 0);
    drain();
    is_told(&c, false, "unreachable");
}

/* Goal: a connector that leaves in order answers what it has; what came too late for it goes to the
 * next one. */
static void test_leaving(void **state)
{
    (void)state;
    struct told a = {0}, b = {0}, c = {0};
    greet();
    call(&a);
    int64_t first = id_of_next();
    assert_int_equal(shutdown(w.fd, SHUT_RD), 0);
    call(&b);
    call(&c);
    drain();
    assert_int_equal(b.times + c.times, 0);
    answer(first);
    is_told(&a, true, "");
    close(w.fd);
    drain();
    assert_int_equal(b.times + c.times, 0);
    greet();
    answer(id_of_next());
    answer(id_of_next());
    is_told(&b, true, "");
    is_told(&c, true, "");
}

/* Goal: a hang-up fails what waits, in the order of asking, and the next connector finds a clean
 * link. */
static void test_hang_up(void **state)
{
    (void)state;
    struct told a = {0}, b = {0}, c = {0};
    greet();
    call(&a);
    call(&b);
    close(w.fd);
    w.fd = -1;
    drain();
    is_told(&a, false, "unreachable");
    is_told(&b, false, "unreachable");
    assert_false(link_up(w.link));
    greet();
    assert_int_equal(w.ups, 2);
    call(&c);
    answer(id_of_next());
    is_told(&c, true, "");
}

/* Goal: a connector of another version, garbage, an array or a frame that is too long ends the
 * connection, and with it what was asked. */
static void test_garbage(void **state)
{
    (void)state;
    static char huge[CONNECTOR_FRAME_MAX + 2];
    memset(huge, ' ', sizeof(huge) - 1);
    memcpy(huge, "{}", 2);
    const char *const bad[] = {"nonsense",          "[1]",      "\"hello\"", "{\"id\": 1",
                               "{\"a\":1,\"a\":2}", "\xff\xfe", huge};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct told a = {0};
        greet();
        call(&a);
        say(bad[i]);
        assert_false(link_up(w.link));
        is_told(&a, false, "unreachable");
        assert_int_equal(close(w.fd), 0);
    }
    static const char *const versions[] = {
        "{\"hello\": 2}",     "{\"hello\": 0}", "{}", "{\"id\": 1, \"ok\": true}",
        "{\"hello\": \"x\"}", "nonsense"};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        connect_fake();
        say(versions[i]);
        assert_false(link_up(w.link));
        char byte;
        assert_int_equal(recv(w.fd, &byte, 1, 0), 0);
        close(w.fd);
    }
    w.fd = -1;
}

/* Goal: a new connection takes the place of the old one. */
static void test_replaced(void **state)
{
    (void)state;
    struct told a = {0};
    greet();
    int old = w.fd;
    call(&a);
    connect_fake();
    drain();
    is_told(&a, false, "unreachable");
    char byte;
    while (recv(old, &byte, 1, MSG_DONTWAIT) > 0)
        continue; /* the frame that it got */
    assert_int_equal(recv(old, &byte, 1, MSG_DONTWAIT), 0);
    close(old);
    say(HELLO);
    assert_true(link_up(w.link));
}

/* Goal: a request that doesn't fit into a frame is refused, and the link goes on. */
static void test_too_large(void **state)
{
    (void)state;
    struct told a = {0}, b = {0};
    greet();
    char *text = calloc(1, CONNECTOR_FRAME_MAX + 1);
    memset(text, 'x', CONNECTOR_FRAME_MAX);
    assert_int_equal(link_call(w.link, json_pack("{s:s}", "op", text), on_answer, &a), 0);
    free(text);
    drain();
    is_told(&a, false, "invalid");
    call(&b);
    answer(id_of_next());
    is_told(&b, true, "");
}

/* Goal: a connector that doesn't read is "busy", not waited for; no more than LINK_PENDING_MAX
 * wait. */
static void test_silent(void **state)
{
    (void)state;
    static struct told t[LINK_PENDING_MAX + 8];
    size_t failed = 0;
    memset(t, 0, sizeof(t));
    greet();
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        call(&t[i]);
    drain();
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        if (t[i].times) {
            is_told(&t[i], false, "busy");
            failed++;
        }
    }
    assert_true(failed >= 8);
    assert_int_equal(t[0].times, 0);
    close(w.fd);
    w.fd = -1;
    drain();
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        assert_int_equal(t[i].times, 1);
        json_decref(t[i].answer);
    }
}

/* Goal: an answer may ask the next question, also the answer that there is nobody to ask. */
static void test_ask_from_answer(void **state)
{
    (void)state;
    struct told b = {0}, a = {.then = &b};
    call(&a);
    drain();
    is_told(&a, false, "unreachable");
    is_told(&b, false, "unreachable");
}

/* Goal: a call that is never answered is told so after its time, and a late answer is nobody's. */
static void test_timeout(void **state)
{
    (void)state;
    struct told a = {0};
    greet();
    call(&a);
    int64_t id = id_of_next();
    uint64_t before, after;
    assert_true(sd_event_now(w.loop, CLOCK_MONOTONIC, &before) >= 0);
    while (!a.times)
        assert_true(sd_event_run(w.loop, 20000000) > 0);
    assert_true(sd_event_now(w.loop, CLOCK_MONOTONIC, &after) >= 0);
    assert_true(after - before >= LINK_TIMEOUT_MS * 1000ULL);
    is_told(&a, false, "timeout");
    answer(id);
    assert_int_equal(a.times, 1);
    assert_true(link_up(w.link));
}

/* Goal: the socket takes the connector's uid and nobody else's. */
static void test_listen(void **state)
{
    (void)state;
    char dir[] = "/tmp/countersign-link-XXXXXX";
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    assert_non_null(mkdtemp(dir));
    for (int right = 0; right < 2; right++) {
        snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/s", dir);
        int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(bind(listener, (const struct sockaddr *)&sa, sizeof(sa)), 0);
        assert_int_equal(listen(listener, 4), 0);
        assert_int_equal(link_listen(w.link, listener, right ? geteuid() : geteuid() + 1), 0);
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd, (const struct sockaddr *)&sa, sizeof(sa)), 0);
        assert_int_equal(send(fd, HELLO, strlen(HELLO), MSG_NOSIGNAL), (ssize_t)strlen(HELLO));
        drain();
        assert_int_equal(link_up(w.link), right);
        close(fd);
        unlink(sa.sun_path);
        link_free(w.link);
        assert_int_equal(link_new(w.loop, &w.link), 0);
    }
    assert_int_equal(rmdir(dir), 0);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

static void *no_memory(size_t n _unused_)
{
    return NULL;
}

/* Goal: without memory for the answer that stands in for a lost one, the caller is told all the
 * same. */
static void test_lost_without_memory(void **state)
{
    json_malloc_t malloc_was;
    json_free_t free_was;
    struct told t = {0};
    (void)state;
    greet();
    call(&t);
    json_get_alloc_funcs(&malloc_was, &free_was);
    json_set_alloc_funcs(no_memory, free_was);
    close(w.fd);
    w.fd = -1;
    drain();
    json_set_alloc_funcs(malloc_was, free_was);
    assert_int_equal(t.times, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hello),     TEST(test_answers), TEST(test_unknown_ids),
        TEST(test_away),      TEST(test_hang_up), TEST(test_garbage),
        TEST(test_expected),  TEST(test_leaving), TEST(test_replaced),
        TEST(test_too_large), TEST(test_silent),  TEST(test_ask_from_answer),
        TEST(test_timeout),   TEST(test_listen),  TEST(test_lost_without_memory),
    };
    json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
