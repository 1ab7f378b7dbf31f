/* The HTTP server: who gets in when many want to, and what each may make it hold. */
#include "unit/http_fixture.h"

static uid_t pretended;

static int pretend_uid(int fd, uid_t *uid)
{
    (void)fd;
    *uid = pretended;
    return 0;
}

/* Dials as a pretended uid and says whether the server kept the connection; *kept is it then. */
static bool dial_as(struct world *w, uid_t uid, int *kept)
{
    struct answer a = {0};

    pretended = uid;
    *kept = dial(w);
    pump(w);
    collect(*kept, &a);
    free(a.text);
    if (a.closed) {
        close(*kept);
        *kept = -1;
    }
    return !a.closed;
}

static void crowd_limits(struct world *w)
{
    struct http_limits *l = http_limits_of(w->server);

    l->connections = 40;
    l->per_uid = 10;
    l->reserve = 5;
    l->own_uid = 77;
    l->peer_uid = pretend_uid;
}

/* Goal: one uid gets no more than its share out of 5,000 tries, all uids together no more than all;
 * uid 0 and the agent's own uid still get in, up to the reserve, and work. */
static void test_crowding(void **state)
{
    struct world *w = *state;
    int fds[128], fd;
    size_t n = 0, got;

    crowd_limits(w);
    for (int i = 0; i < 5000; i++)
        if (dial_as(w, 1000, &fd))
            fds[n++] = fd;
    assert_int_equal(n, 10);
    for (uid_t uid = 2000; uid < 2100; uid++)
        if (dial_as(w, uid, &fd))
            fds[n++] = fd;
    assert_int_equal(n, 40);
    for (got = 0; dial_as(w, got % 2 ? 0 : 77, &fd); got++)
        fds[n++] = fd;
    assert_int_equal(got, 5);
    struct answer a = {0};
    SAY(w, fds[n - 1], "GET / HTTP/1.1\r\n" HOST "\r\n", &a);
    assert_int_equal(status_of(&a), 200);
    forget(&a);
    assert_int_equal(http_connections(w->server), 45);
    /* Who leaves makes room for another, uid by uid. */
    close(fds[0]);
    for (size_t i = 40; i < 45; i++)
        close(fds[i]);
    pump(w);
    assert_true(dial_as(w, 1000, &fds[0]));
    assert_false(dial_as(w, 1000, &fd));
    for (size_t i = 0; i < 40; i++)
        close(fds[i]);
    pump(w);
    assert_int_equal(http_connections(w->server), 0);
    assert_true(TAILQ_EMPTY(&w->server->peers));
}

/* Goal: a crowd that connects without ever being accepted one by one is shed quickly: the backlog
 * does not stay full, so that a later peer's connect gets through. */
static void test_backlog_drains(void **state)
{
    struct world *w = *state;
    int crowd[300], fd;

    crowd_limits(w);
    pretended = 1000;
    for (size_t i = 0; i < ARRAY_LEN(crowd); i++)
        crowd[i] = dial(w);
    pump(w);
    assert_int_equal(http_connections(w->server), 10);
    assert_true(dial_as(w, 0, &fd));
    close(fd);
    for (size_t i = 0; i < ARRAY_LEN(crowd); i++)
        close(crowd[i]);
}

/* Goal: a peer whose uid can't be learned is not served. */
static int unknown_uid(int fd, uid_t *uid)
{
    (void)fd;
    (void)uid;
    return -EPERM;
}

static void test_unknown_peer(void **state)
{
    struct world *w = *state;
    int fd;

    http_limits_of(w->server)->peer_uid = unknown_uid;
    assert_false(dial_as(w, 0, &fd));
}

/* Goal: the same with the kernel's word for who it is, another user's process crowding for real. */
static void test_crowding_for_real(void **state)
{
    struct world *w = *state;
    int ready[2], fd, status;
    char said = 0;
    pid_t child;

    if (geteuid() != 0)
        skip();
    http_limits_of(w->server)->per_uid = 20;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct sockaddr_un a = {.sun_family = AF_UNIX};

        snprintf(a.sun_path, sizeof(a.sun_path), "%s", w->path);
        if (setgid(65534) < 0 || setuid(65534) < 0)
            _exit(2);
        for (int i = 0; i < 300; i++) {
            fd = socket(AF_UNIX, SOCK_STREAM, 0);
            if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
                _exit(3);
        }
        (void)!write(ready[1], "r", 1);
        pause();
        _exit(0);
    }
    assert_true(fcntl(ready[0], F_SETFL, O_NONBLOCK) >= 0);
    for (int64_t end = now_ms() + 5000; now_ms() < end && said == 0;) {
        pump_for(w, 10);
        (void)!read(ready[0], &said, 1);
    }
    assert_int_equal(said, 'r');
    pump(w);
    assert_int_equal(http_connections(w->server), 20);
    struct answer a = {0};
    fd = dial(w);
    SAY(w, fd, "GET / HTTP/1.1\r\n" HOST "\r\n", &a);
    assert_int_equal(status_of(&a), 200);
    forget(&a);
    close(fd);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    pump(w);
    assert_int_equal(http_connections(w->server), 0);
    close(ready[0]);
    close(ready[1]);
}

/* Goal: without descriptors newcomers are turned away and the loop stays calm; with them it goes
 * on. */
static void test_no_descriptors(void **state)
{
    struct world *w = *state;
    struct answer a = {0}, b = {0};
    struct rlimit old, low;
    unsigned turns = 0;
    int first = dial(w), late;

    pump(w);
    late = dial(w);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)late + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    for (int64_t end = now_ms() + 100; now_ms() < end;)
        turns += sd_event_run(w->loop, 10000) > 0;
    collect(late, &b);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_true(b.closed);
    assert_true(turns < 20);
    SAY(w, first, "GET / HTTP/1.1\r\n" HOST "\r\n", &a);
    assert_int_equal(status_of(&a), 200);
    close(late);
    forget(&a);
    forget(&b);
    late = dial(w);
    SAY(w, late, "GET / HTTP/1.1\r\n" HOST "\r\n", &a);
    assert_int_equal(status_of(&a), 200);
    forget(&a);
    close(late);
    close(first);
}

/* Goal: bodies that wait are bounded for each peer and for all; uid 0 has room of its own. */
static void test_bytes(void **state)
{
    struct world *w = *state;
    char *body = padded("", 3000, ""), *request;
    size_t len;
    static const struct {
        uid_t uid;
        int status; /* 0: it waits */
    } steps[] = {{1000, 0}, {1000, 503}, {1001, 0}, {1002, 503}, {0, 0}, {0, 503}};
    int fds[ARRAY_LEN(steps)];

    crowd_limits(w);
    http_limits_of(w->server)->bytes_per_uid = 4000;
    http_limits_of(w->server)->bytes = 7000;
    w->mode = HELD;
    request = put_request("Content-Length: 3000\r\n", body, 3000, &len);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        struct answer a = {0};

        assert_true(dial_as(w, steps[i].uid, &fds[i]));
        talk(w, fds[i], request, len, SIZE_MAX, &a);
        assert_int_equal(a.len > 0 ? status_of(&a) : 0, steps[i].status);
        forget(&a);
    }
    echo_held(w);
    pump(w);
    assert_int_equal(w->server->bytes, 0);
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        close(fds[i]);
    free(request);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(test_crowding),       HTTP_TEST(test_backlog_drains),
        HTTP_TEST(test_unknown_peer),   HTTP_TEST(test_crowding_for_real),
        HTTP_TEST(test_no_descriptors), HTTP_TEST(test_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
