/* Slowing down guesses: per person and source, with a budget over all unusual sources. */
#include "vault_fixture.h"

#include "identity/throttle.h"

#define NOW 1700000000000LL
#define MINUTE (60 * 1000LL)
#define HOUR (60 * MINUTE)

static struct throttle failed(struct vault *v, const char *user, const char *source, int64_t now)
{
    struct throttle t;
    assert_int_equal(throttle_failed(v, user, true, source, now, &t), 0);
    return t;
}

static struct throttle check(struct vault *v, const char *user, const char *source, int64_t now)
{
    struct throttle t;
    assert_int_equal(throttle_check(v, user, true, source, now, &t), 0);
    return t;
}

static void assert_open(struct throttle t)
{
    assert_false(t.locked);
    assert_int_equal(t.until, 0);
}

static void assert_locked(struct throttle t, int64_t until)
{
    assert_true(t.locked);
    assert_int_equal(t.until, until);
    assert_true(t.reason[0]);
}

static void fail_times(struct vault *v, const char *user, const char *source, int n, int64_t now)
{
    for (int i = 0; i < n; i++)
        failed(v, user, source, now);
}

static int64_t rows(struct vault *v)
{
    int64_t n;
    assert_int_equal(record_count(v, RECORD_THROTTLE, &n), 0);
    return n;
}

/* Goal: wrong answers are held back 1, 2, 4, 8 s, and the fifth locks for five minutes. */
static void test_delays(void **state)
{
    struct fixture *f = *state;
    static const int64_t delays[] = {1000, 2000, 4000, 8000};
    for (size_t i = 0; i < ARRAY_LEN(delays); i++) {
        assert_open(check(f->v, "bob", "192.0.2.7", NOW));
        struct throttle t = failed(f->v, "bob", "192.0.2.7", NOW);
        assert_int_equal(t.delay_ms, delays[i]);
        assert_open(t);
    }
    struct throttle t = failed(f->v, "bob", "192.0.2.7", NOW);
    assert_int_equal(t.delay_ms, THROTTLE_DELAY_MAX_MS);
    assert_locked(t, NOW + 5 * MINUTE);
    assert_string_equal(t.reason, "5 wrong codes from 192.0.2.7");
    assert_locked(check(f->v, "bob", "192.0.2.7", NOW + 5 * MINUTE - 1), NOW + 5 * MINUTE);
    assert_open(check(f->v, "bob", "192.0.2.7", NOW + 5 * MINUTE));
}

/* Goal: a lock is one person's from one source only, and survives a restart. */
static void test_apart(void **state)
{
    struct fixture *f = *state;
    fail_times(f->v, "bob", "192.0.2.7", 5, NOW);
    assert_open(check(f->v, "bob", "192.0.2.8", NOW));
    assert_open(check(f->v, "eve", "192.0.2.7", NOW));
    assert_open(check(f->v, "bo", "b192.0.2.7", NOW));
    fixture_reopen(f);
    assert_locked(check(f->v, "bob", "192.0.2.7", NOW), NOW + 5 * MINUTE);
}

/* Goal: each further lock is twice as long, up to an hour; a day of quiet forgets. */
static void test_doubling(void **state)
{
    struct fixture *f = *state;
    static const int64_t locks[] = {5, 10, 20, 40, 60, 60};
    int64_t now = NOW;
    for (size_t i = 0; i < ARRAY_LEN(locks); i++) {
        fail_times(f->v, "bob", "a", 4, now);
        assert_open(check(f->v, "bob", "a", now));
        assert_locked(failed(f->v, "bob", "a", now), now + locks[i] * MINUTE);
        now += 2 * HOUR; /* beyond the budget's hour */
    }
    now += THROTTLE_FORGET_MS;
    fail_times(f->v, "bob", "a", 4, now);
    assert_locked(failed(f->v, "bob", "a", now), now + 5 * MINUTE);
}

/* Goal: a right answer clears the counters of its source. */
static void test_passed(void **state)
{
    struct fixture *f = *state;
    fail_times(f->v, "bob", "a", 4, NOW);
    assert_int_equal(throttle_passed(f->v, "bob", "a", NOW), 0);
    struct throttle t = failed(f->v, "bob", "a", NOW);
    assert_int_equal(t.delay_ms, 1000);
    assert_open(t);
}

/* Goal: a flood from elsewhere locks all unusual sources and leaves the usual one alone. */
static void test_flood(void **state)
{
    struct fixture *f = *state;
    char source[32];
    struct throttle t = {0};
    assert_int_equal(throttle_passed(f->v, "bob", "home", NOW - HOUR), 0);
    for (int i = 0; i < THROTTLE_BUDGET; i++) {
        assert_open(check(f->v, "bob", "elsewhere", NOW + i));
        snprintf(source, sizeof(source), "198.51.100.%d", i);
        t = failed(f->v, "bob", source, NOW + i);
    }
    int64_t until = NOW + THROTTLE_BUDGET - 1 + HOUR;
    assert_locked(t, until);
    assert_locked(check(f->v, "bob", "elsewhere", NOW + MINUTE), until);
    assert_open(check(f->v, "bob", "home", NOW + MINUTE));
    assert_open(check(f->v, "eve", "elsewhere", NOW + MINUTE));
    assert_open(check(f->v, "bob", "elsewhere", until));
    assert_open(failed(f->v, "bob", "elsewhere", until)); /* a new hour, a new budget */
}

/* Goal: the budget counts nothing that happens at usual sources, which lock by their own tries
 * only. */
static void test_usual_own(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 10; i++) {
        char home[16];
        snprintf(home, sizeof(home), "home%d", i);
        assert_int_equal(throttle_passed(f->v, "bob", home, NOW), 0);
        fail_times(f->v, "bob", home, 4, NOW);
    }
    assert_open(check(f->v, "bob", "elsewhere", NOW)); /* 40 wrong answers, none of them unusual */
    assert_locked(failed(f->v, "bob", "home3", NOW), NOW + 5 * MINUTE);
    assert_locked(check(f->v, "bob", "home3", NOW), NOW + 5 * MINUTE);
    assert_open(check(f->v, "bob", "home4", NOW));
}

/* Goal: a source is usual for 30 days; failing there doesn't make it less so. */
static void test_usual_ends(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(throttle_passed(f->v, "bob", "home", NOW), 0);
    failed(f->v, "bob", "home", NOW + 1);
    int64_t late = NOW + THROTTLE_USUAL_MS;
    for (int i = 0; i < THROTTLE_BUDGET; i++) {
        char source[32];
        snprintf(source, sizeof(source), "s%d", i);
        failed(f->v, "bob", source, late);
    }
    assert_open(check(f->v, "bob", "home", late));
    assert_true(check(f->v, "bob", "home", late + 1).locked);
}

/* Goal: guesses spread over hours never use up the budget's hour. */
static void test_slow(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3 * THROTTLE_BUDGET; i++) {
        char source[32];
        snprintf(source, sizeof(source), "s%d", i);
        assert_open(failed(f->v, "bob", source, NOW + i * 3 * MINUTE));
    }
}

/* Goal: unknown names share a bounded number of rows, whatever is asked, and are slowed alike. */
static void test_unknown(void **state)
{
    struct fixture *f = *state;
    struct throttle t;
    for (int i = 0; i < 600; i++) {
        char user[32], source[32];
        snprintf(user, sizeof(user), "guess%d", i);
        snprintf(source, sizeof(source), "2001:db8::%x", i);
        assert_int_equal(throttle_failed(f->v, user, false, source, NOW, &t), 0);
        assert_true(t.delay_ms >= 1000 && t.delay_ms <= THROTTLE_DELAY_MAX_MS);
    }
    assert_true(rows(f->v) <= 2 * THROTTLE_BUCKETS); /* one kind for sources, one for budgets */
    for (int i = 0; i < THROTTLE_TRIES; i++)
        assert_int_equal(throttle_failed(f->v, "guess1", false, "2001:db8::1", NOW, &t), 0);
    assert_int_equal(throttle_check(f->v, "guess1", false, "2001:db8::1", NOW, &t), 0);
    assert_true(t.locked);
}

/* Goal: an unknown name that is tried five times is locked as a known one is, with the same words.
 */
static void test_unknown_same(void **state)
{
    struct fixture *f = *state;
    struct throttle known, unknown;
    for (int i = 0; i < 5; i++) {
        known = failed(f->v, "bob", "a", NOW);
        assert_int_equal(throttle_failed(f->v, "nobody", false, "a", NOW, &unknown), 0);
        assert_int_equal(unknown.delay_ms, known.delay_ms);
        assert_int_equal(unknown.locked, known.locked);
        assert_int_equal(unknown.until, known.until);
        assert_string_equal(unknown.reason, known.reason);
    }
    assert_true(unknown.locked);
}

/* Goal: a known person is not in an unknown bucket, nor called like one. */
static void test_unknown_apart(void **state)
{
    struct fixture *f = *state;
    struct throttle t;
    for (int i = 0; i < 400; i++) {
        char user[32];
        snprintf(user, sizeof(user), "guess%d", i);
        assert_int_equal(throttle_failed(f->v, user, false, "a", NOW, &t), 0);
    }
    for (int i = 0; i < THROTTLE_BUCKETS; i++) {
        char user[32];
        snprintf(user, sizeof(user), "%d", i);
        assert_open(check(f->v, user, "a", NOW));
    }
}

/* Goal: a pardon forgets locks and the budget, and leaves usual sources usual. */
static void test_pardon(void **state)
{
    struct fixture *f = *state;
    int64_t until = 1;
    assert_int_equal(throttle_locked_until(f->v, "bob", NOW, &until), 0);
    assert_int_equal(until, 0);
    assert_int_equal(throttle_passed(f->v, "bob", "home", NOW), 0);
    fail_times(f->v, "bob", "home", 5, NOW);
    assert_int_equal(throttle_locked_until(f->v, "bob", NOW, &until), 0);
    assert_int_equal(until, NOW + 5 * MINUTE);
    for (int i = 0; i < THROTTLE_BUDGET; i++)
        failed(f->v, "bob", "elsewhere", NOW);
    fail_times(f->v, "eve", "a", 5, NOW);
    assert_int_equal(throttle_locked_until(f->v, "bob", NOW, &until), 0);
    assert_int_equal(until, NOW + HOUR);
    assert_int_equal(throttle_pardon(f->v, "bob"), 0);
    assert_int_equal(throttle_locked_until(f->v, "bob", NOW, &until), 0);
    assert_int_equal(until, 0);
    assert_open(check(f->v, "bob", "home", NOW));
    assert_open(check(f->v, "bob", "elsewhere", NOW));
    assert_true(check(f->v, "eve", "a", NOW).locked);
    for (int i = 0; i < THROTTLE_BUDGET; i++)
        failed(f->v, "bob", "elsewhere", NOW);
    assert_open(check(f->v, "bob", "home", NOW)); /* usual still */
    assert_int_equal(throttle_pardon(f->v, "nobody"), 0);
}

/* Goal: rows vanish when their time is over: a day for failures, thirty for usual sources. */
static void test_sweep(void **state)
{
    struct fixture *f = *state;
    fail_times(f->v, "bob", "a", 2, NOW);
    failed(f->v, "bob", "b", NOW);
    assert_int_equal(throttle_passed(f->v, "bob", "home", NOW), 0);
    assert_int_equal(rows(f->v), 4); /* two sources, the budget, home */
    assert_int_equal(throttle_sweep(f->v, NOW + THROTTLE_FORGET_MS - 1, 0), 0);
    assert_int_equal(rows(f->v), 4);
    assert_int_equal(throttle_sweep(f->v, NOW + THROTTLE_FORGET_MS, 2), 0);
    assert_int_equal(rows(f->v), 2);
    assert_int_equal(throttle_sweep(f->v, NOW + THROTTLE_FORGET_MS, 100), 0);
    assert_int_equal(rows(f->v), 1);
    assert_int_equal(throttle_sweep(f->v, NOW + THROTTLE_USUAL_MS, 100), 0);
    assert_int_equal(rows(f->v), 0);
}

/* Goal: a lock made under a clock that was years ahead doesn't last years. */
static void test_wrong_clock(void **state)
{
    struct fixture *f = *state;
    int64_t ahead = NOW + 5000 * HOUR;
    fail_times(f->v, "bob", "a", 5, ahead);
    assert_true(check(f->v, "bob", "a", ahead).locked);
    assert_open(check(f->v, "bob", "a", NOW));
    assert_int_equal(throttle_passed(f->v, "bob", "home", ahead), 0);
    fail_times(f->v, "bob", "b", THROTTLE_BUDGET, NOW);
    assert_true(check(f->v, "bob", "home", NOW).locked); /* not usual: it never was so far */
}

/* Goal: odd and endless sources are bounded, and shown without control bytes. */
static void test_odd_source(void **state)
{
    struct fixture *f = *state;
    char endless[5000];
    memset(endless, 'a', sizeof(endless));
    endless[sizeof(endless) - 1] = '\0';
    for (int i = 0; i < 5; i++) {
        endless[2000 + i] = 'b'; /* a tail of its own each time */
        failed(f->v, "bob", endless, NOW);
    }
    assert_true(check(f->v, "bob", endless, NOW).locked);
    struct throttle t = failed(f->v, "bob", "\033[2J\xff", NOW);
    assert_string_equal(t.reason, "1 wrong codes from ?[2J?");
    failed(f->v, "bob", "", NOW);
}

/* Goal: sealed, nothing is known and nothing is let through as open. */
static void test_sealed(void **state)
{
    struct fixture *f = *state;
    struct throttle t;
    vault_seal(f->v);
    assert_int_equal(throttle_check(f->v, "bob", true, "a", NOW, &t), -EACCES);
    assert_int_equal(throttle_failed(f->v, "bob", false, "a", NOW, &t), -EACCES);
    assert_int_equal(throttle_passed(f->v, "bob", "a", NOW), -EACCES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_delays),        FIXTURE_TEST(test_apart),
        FIXTURE_TEST(test_doubling),      FIXTURE_TEST(test_passed),
        FIXTURE_TEST(test_flood),         FIXTURE_TEST(test_usual_own),
        FIXTURE_TEST(test_usual_ends),    FIXTURE_TEST(test_slow),
        FIXTURE_TEST(test_unknown),       FIXTURE_TEST(test_unknown_same),
        FIXTURE_TEST(test_unknown_apart), FIXTURE_TEST(test_pardon),
        FIXTURE_TEST(test_sweep),         FIXTURE_TEST(test_wrong_clock),
        FIXTURE_TEST(test_odd_source),    FIXTURE_TEST(test_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
