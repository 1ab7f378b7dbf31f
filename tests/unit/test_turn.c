#include "vault_fixture.h"

#include <systemd/sd-event.h>
#include <unistd.h>

#include "server/turn.h"

/* What happened, one letter each. */
static char happened[128];

static void note(char c)
{
    size_t n = strlen(happened);
    assert_true(n + 1 < sizeof(happened));
    happened[n] = c;
    happened[n + 1] = '\0';
}

struct world {
    struct fixture *fixture;
    sd_event *loop;
    struct turn *turn;
};

static struct world w;

/* An item: notes its name when it runs (upper case) and when it is done (lower case, '!' before it
 * when it failed), writes an entry of its name, queues an effect (its digit). */
struct item {
    char name;
    int result;
    bool swallows; /* says nothing of a write that failed halfway */
    bool breaks_commit, kills;
    struct item *then; /* queued from done() */
    int error;
};

static void effect_run(void *data)
{
    note((char)('0' + (((struct item *)data)->name - 'A')));
}

static void effect_drop(void *data _unused_)
{
    note('x');
}

static int run(void *data)
{
    struct item *i = data;
    char path[2] = {i->name, '\0'};
    note(i->name);
    assert_true(vault_in_turn(w.fixture->v));
    assert_int_equal(entry_put(w.fixture->v, "kv", path, "1", 1), 0);
    assert_int_equal(effects_push(turn_effects(w.turn), effect_run, effect_drop, i), 0);
    if (i->swallows)
        w.fixture->v->spoilt = w.fixture->v->depth + 1;
    if (i->breaks_commit)
        assert_int_equal(vault_mark(w.fixture->v), 0);
    if (i->kills)
        w.fixture->v->dead = -ENOSPC;
    return i->result;
}

static void done(void *data, int error)
{
    struct item *i = data;
    assert_false(vault_in_turn(w.fixture->v));
    if (error)
        note('!');
    note((char)(i->name | 0x20));
    i->error = error;
    if (i->then)
        assert_int_equal(turn_add(w.turn, TURN_API, run, done, i->then), 0);
}

static void on_failure(void *data _unused_)
{
    note('F');
}

static void on_commit(void *data _unused_)
{
    note('C');
}

static int setup(void **state)
{
    if (fixture_setup(state) != 0)
        return -1;
    happened[0] = '\0';
    w = (struct world){.fixture = *state};
    if (sd_event_new(&w.loop) < 0 || turn_new(w.loop, w.fixture->v, &w.turn) < 0)
        return -1;
    turn_on_failure(w.turn, on_failure, NULL);
    turn_on_commit(w.turn, on_commit, NULL);
    return 0;
}

static int teardown(void **state)
{
    turn_free(w.turn);
    sd_event_unref(w.loop);
    return fixture_teardown(state);
}

static void add(enum turn_class c, struct item *i)
{
    assert_int_equal(turn_add(w.turn, c, run, done, i), 0);
}

static bool stored(char name)
{
    char path[2] = {name, '\0'};
    return fixture_get(w.fixture->v, path, "1") == 0;
}

/* Goal: nothing leaves before the commit; then effects in order, then the answers, then the export.
 */
static void test_order(void **state)
{
    (void)state;
    struct item a = {.name = 'A'}, b = {.name = 'B'};
    add(TURN_API, &a);
    add(TURN_API, &b);
    turn_now(w.turn);
    assert_string_equal(happened, "AB01abC");
    assert_true(stored('A') && stored('B'));
}

/* Goal: logins go before the API, in a transaction of their own, and the API before what can wait,
 * however they came. */
static void test_classes(void **state)
{
    (void)state;
    struct item a = {.name = 'A'}, b = {.name = 'B'}, c = {.name = 'D'}, d = {.name = 'E'};
    add(TURN_BACKGROUND, &a);
    add(TURN_API, &b);
    add(TURN_PAM, &c);
    add(TURN_PAM, &d);
    turn_now(w.turn);
    assert_string_equal(happened, "DE34deCBA10baC");
}

/* Goal: an item that fails loses its own rows and effects, and no one else's. */
static void test_failed_item(void **state)
{
    (void)state;
    struct item a = {.name = 'A'}, b = {.name = 'B', .result = -EIO}, c = {.name = 'D'};
    add(TURN_API, &a);
    add(TURN_API, &b);
    add(TURN_API, &c);
    turn_now(w.turn);
    assert_string_equal(happened, "ABxD03a!bdC");
    assert_int_equal(b.error, -EIO);
    assert_true(stored('A') && stored('D'));
    assert_false(stored('B'));
}

/* Goal: an item that is silent about a write that failed halfway is refused alone, not with its
 * turn. */
static void test_spoilt_item(void **state)
{
    (void)state;
    struct item a = {.name = 'A'}, b = {.name = 'B', .swallows = true}, c = {.name = 'D'};
    add(TURN_API, &a);
    add(TURN_API, &b);
    add(TURN_API, &c);
    turn_now(w.turn);
    assert_string_equal(happened, "ABxD03a!bdC");
    assert_int_equal(b.error, -EIO);
    assert_true(stored('A') && stored('D'));
    assert_false(stored('B'));
}

/* Goal: a positive outcome is no failure. */
static void test_positive(void **state)
{
    (void)state;
    struct item a = {.name = 'A', .result = 7};
    add(TURN_API, &a);
    turn_now(w.turn);
    assert_string_equal(happened, "A0aC");
    assert_int_equal(a.error, 0);
    assert_true(stored('A'));
}

/* Goal: a commit that fails fails every item, drops every effect and tells who keeps caches. */
static void test_failed_commit(void **state)
{
    (void)state;
    struct item a = {.name = 'A'}, b = {.name = 'B', .breaks_commit = true};
    add(TURN_BACKGROUND, &a);
    add(TURN_API, &b);
    turn_now(w.turn);
    assert_string_equal(happened, "BAxxF!b!a");
    assert_true(a.error < 0 && b.error < 0);
    assert_false(stored('A') || stored('B'));
    happened[0] = '\0';
    a.error = 0;
    add(TURN_API, &a);
    turn_now(w.turn);
    assert_string_equal(happened, "A0aC");
    assert_true(stored('A'));
}

/* Goal: what fails the API's transaction leaves the logins beside it alone, and the other way
 * round. */
static void test_apart(void **state)
{
    (void)state;
    struct item a = {.name = 'A'}, b = {.name = 'B', .breaks_commit = true};
    add(TURN_API, &a);
    add(TURN_PAM, &b);
    turn_now(w.turn);
    assert_string_equal(happened, "BxF!bA0aC");
    happened[0] = '\0';
    add(TURN_PAM, &a);
    add(TURN_API, &b);
    turn_now(w.turn);
    assert_string_equal(happened, "A0aCBxF!b");
}

/* Goal: when a full disk takes the transaction away, those behind don't run, and all fail with that
 * error. */
static void test_lost_transaction(void **state)
{
    (void)state;
    struct item a = {.name = 'A'}, b = {.name = 'B', .kills = true}, c = {.name = 'D'};
    add(TURN_API, &a);
    add(TURN_API, &b);
    add(TURN_API, &c);
    turn_now(w.turn);
    assert_string_equal(happened, "ABxxF!a!b!d");
    assert_int_equal(a.error, -ENOSPC);
    assert_int_equal(c.error, -ENOSPC);
    assert_false(vault_in_turn(w.fixture->v));
    assert_false(stored('A'));
}

/* Goal: what done() adds runs in a turn of its own, by itself. */
static void test_added_from_done(void **state)
{
    (void)state;
    struct item b = {.name = 'B'}, a = {.name = 'A', .then = &b};
    add(TURN_API, &a);
    assert_true(sd_event_run(w.loop, 1000000) > 0);
    assert_string_equal(happened, "A0aC");
    assert_true(sd_event_run(w.loop, 1000000) > 0);
    assert_string_equal(happened, "A0aCB1bC");
}

/* Goal: turn_now() with nothing queued does nothing at all, and an item without done() is fine. */
static void test_nothing(void **state)
{
    (void)state;
    struct item a = {.name = 'A'};
    turn_now(w.turn);
    assert_string_equal(happened, "");
    assert_int_equal(turn_add(w.turn, TURN_API, run, NULL, &a), 0);
    turn_now(w.turn);
    assert_string_equal(happened, "A0C");
}

static int run_again(void *data)
{
    turn_now(w.turn); /* must not run the others' items inside this one */
    return run(data);
}

/* Goal: a turn inside a turn is none. */
static void test_nested(void **state)
{
    (void)state;
    struct item a = {.name = 'A'}, b = {.name = 'B'};
    assert_int_equal(turn_add(w.turn, TURN_API, run_again, done, &a), 0);
    add(TURN_API, &b);
    turn_now(w.turn);
    assert_string_equal(happened, "AB01abC");
}

static int run_long(void *data)
{
    int r = run(data);
    while (!turn_spent(w.turn))
        usleep(500);
    return r;
}

/* Goal: what can wait stops where its time is spent, rests, and goes on behind the logins and the
 * API, in its order and without losing any. */
static void test_budget(void **state)
{
    (void)state;
    struct item a = {.name = 'A'}, b = {.name = 'B'}, c = {.name = 'C'}, d = {.name = 'D'},
                e = {.name = 'E'};
    assert_int_equal(turn_add(w.turn, TURN_BACKGROUND, run_long, done, &a), 0);
    add(TURN_BACKGROUND, &b);
    add(TURN_BACKGROUND, &c);
    turn_now(w.turn);
    assert_string_equal(happened, "A0aC");
    add(TURN_BACKGROUND, &d);
    add(TURN_API, &e);
    turn_now(w.turn);
    assert_string_equal(happened, "A0aCE4eC");
    for (int i = 0; i < 100 && !strchr(happened, 'd'); i++)
        assert_true(sd_event_run(w.loop, 1000000) >= 0);
    assert_string_equal(happened, "A0aCE4eCBCD123bcdC");
}

/* Goal: what is still queued at the end is neither run nor told. */
static void test_left_over(void **state)
{
    (void)state;
    struct item a = {.name = 'A'};
    add(TURN_API, &a);
    turn_free(w.turn);
    w.turn = NULL;
    assert_string_equal(happened, "");
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_order),       TEST(test_classes),          TEST(test_failed_item),
        TEST(test_spoilt_item), TEST(test_positive),         TEST(test_failed_commit),
        TEST(test_apart),       TEST(test_lost_transaction), TEST(test_added_from_done),
        TEST(test_nothing),     TEST(test_nested),           TEST(test_budget),
        TEST(test_left_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
