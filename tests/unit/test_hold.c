#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <countersign/connector.h>

#include "server/assemble.h"
#include "server/hold.h"
#include "vault_fixture.h"

/* A whole agent, and the other end of its connector. */
static struct {
    struct fixture *fixture;
    struct agent agent;
    int fd;
    int answers;
} w;

static void drain(void)
{
    while (sd_event_run(w.agent.loop, 0) > 0)
        continue;
}

static void say(const char *frame)
{
    assert_int_equal(send(w.fd, frame, strlen(frame), MSG_NOSIGNAL), (ssize_t)strlen(frame));
    drain();
}

static int setup(void **state)
{
    int pair[2];
    memset(&w, 0, sizeof(w));
    if (fixture_setup(state) != 0 || sd_event_new(&w.agent.loop) < 0)
        return -1;
    w.fixture = *state;
    w.agent.vault = w.fixture->v;
    w.agent.dev = true; /* whichever machine this is */
    if (assemble_workers(&w.agent) < 0 || assemble_open(&w.agent) < 0 || hold_load(&w.agent) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0 ||
        link_attach(w.agent.link, pair[0]) < 0)
        return -1;
    w.fd = pair[1];
    say("{\"hello\": 1, \"program\": \"fake\"}");
    return link_up(w.agent.link) ? 0 : -1;
}

static int teardown(void **state)
{
    close(w.fd);
    drain();
    assemble_close(&w.agent);
    w.fixture->v = NULL;
    assemble_free_workers(&w.agent);
    sd_event_unref(w.agent.loop);
    return fixture_teardown(state);
}

static void on_answer(const json_t *answer, void *data _unused_)
{
    (void)answer;
    w.answers++;
}

/* Calls, and leaves what the connector was sent: its id, and the claim. */
static json_t *deed(int64_t *id)
{
    static char text[CONNECTOR_FRAME_MAX + 1];
    char why[128];
    json_t *sent = NULL;
    json_t *frame =
        json_pack("{s:s, s:{s:s, s:s}}", "op", "create", "db", "name", "shop", "username", "admin");
    assert_int_equal(hold_call(&w.agent, "space", frame, on_answer, NULL), 0);
    drain();
    ssize_t n = recv(w.fd, text, sizeof(text), MSG_DONTWAIT);
    assert_true(n > 0);
    assert_int_equal(json_parse(text, (size_t)n, &sent, why, sizeof(why)), 0);
    *id = json_int(sent, "id", 0);
    return sent;
}

static void answer(int64_t id, const char *rest)
{
    char text[256];
    int before = w.answers;
    snprintf(text, sizeof(text), "{\"id\": %lld, %s}", (long long)id, rest);
    say(text);
    assert_int_equal(w.answers, before + 1);
}

static const char *token_of(const json_t *sent)
{
    return json_str_or(json_object_get(sent, "claim"), "next", "");
}

static bool knows(const json_t *sent, const char *token)
{
    return json_has_str(json_object_get(json_object_get(sent, "claim"), "known"), token);
}

/* Goal: what an answer to a call from before a lost commit left in the database stays known, so
 * that our own token is never taken for a stranger's. */
static void test_late_claim(void **state _unused_)
{
    int64_t first, second, third;
    _cleanup_json_ json_t *a = deed(&first);
    assert_int_equal(hold_load(&w.agent), 0);
    _cleanup_json_ json_t *b = deed(&second);
    assert_string_not_equal(token_of(a), token_of(b));
    assert_true(knows(b, token_of(a)));
    answer(first, "\"ok\": true, \"claimed\": true");
    answer(second, "\"ok\": false, \"kind\": \"unreachable\", \"message\": \"x\"");
    _cleanup_json_ json_t *c = deed(&third);
    assert_true(knows(c, token_of(a)));
    answer(third, "\"ok\": true, \"claimed\": true");
    json_decref(deed(&first));
    answer(first, "\"ok\": true, \"claimed\": true");
}

/* Goal: a call from before a lost commit that finds our own later token does not hold the database;
 * one of today that finds a stranger's does. */
static void test_late_stranger(void **state _unused_)
{
    static const char stranger[] = "\"ok\": false, \"kind\": \"superseded\", \"message\": \"x\"";
    int64_t first, second;
    json_decref(deed(&first));
    assert_int_equal(hold_load(&w.agent), 0);
    json_decref(deed(&second));
    answer(first, stranger);
    assert_null(hold_database(&w.agent, "space", "shop"));
    answer(second, stranger);
    assert_non_null(hold_database(&w.agent, "space", "shop"));
}

/* Goal: a claim that was answered for is the only token that is known from then on. */
static void test_claimed(void **state _unused_)
{
    int64_t id;
    _cleanup_json_ json_t *a = deed(&id);
    assert_int_equal(hold_load(&w.agent), 0);
    answer(id, "\"ok\": true, \"claimed\": true");
    _cleanup_json_ json_t *b = deed(&id);
    assert_true(knows(b, token_of(a)));
    answer(id, "\"ok\": true, \"claimed\": true");
    _cleanup_json_ json_t *c = deed(&id);
    assert_false(knows(c, token_of(a)));
    assert_string_equal(token_of(b), token_of(c));
    answer(id, "\"ok\": true, \"claimed\": true");
}

/* Goal: while what is held could not be read everything is held, and the next deed reads it again.
 */
static void test_looks_again(void **state _unused_)
{
    int64_t id;
    hold_clear(w.agent.hold);
    assert_non_null(hold_reason(&w.agent));
    json_decref(deed(&id));
    assert_null(hold_reason(&w.agent));
    answer(id, "\"ok\": true, \"claimed\": true");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_late_claim, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_stranger, setup, teardown),
        cmocka_unit_test_setup_teardown(test_claimed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_looks_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
