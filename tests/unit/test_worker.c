#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "base/mem.h"
#include "server/worker.h"

#define LONG_MS 20000

/* A gate that work() waits at, so that the tests and not the scheduler say who is first. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool open;
    unsigned inside, left;
};

struct job {
    struct gate *gate;
    pthread_t worked_by;
    int worked, done, error, late;
};

static sd_event *loop;

static int setup(void **state)
{
    (void)state;
    return sd_event_new(&loop) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    loop = sd_event_unref(loop);
    return 0;
}

static void gate_init(struct gate *g)
{
    *g = (struct gate){0};
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->moved, NULL);
}

static void gate_open(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->open = true;
    pthread_cond_broadcast(&g->moved);
    pthread_mutex_unlock(&g->lock);
}

static void gate_await(struct gate *g, unsigned inside)
{
    pthread_mutex_lock(&g->lock);
    while (g->inside < inside)
        pthread_cond_wait(&g->moved, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void work(void *data)
{
    struct job *j = data;
    struct gate *g = j->gate;
    if (g) {
        pthread_mutex_lock(&g->lock);
        g->inside++;
        pthread_cond_broadcast(&g->moved);
        while (!g->open)
            pthread_cond_wait(&g->moved, &g->lock);
    }
    j->worked_by = pthread_self();
    j->worked++;
    if (g) {
        g->left++;
        pthread_cond_broadcast(&g->moved);
        pthread_mutex_unlock(&g->lock);
    }
}

static void done(void *data, int error)
{
    struct job *j = data;
    j->done++;
    j->error = error;
}

static void late(void *data)
{
    struct job *j = data;
    j->late++;
}

static void until(const int *what, int is)
{
    while (*what < is)
        assert_true(sd_event_run(loop, 5000000) > 0);
}

/* Goal: work runs on another thread, done() on the loop, once, with no error. */
static void test_plain(void **state)
{
    (void)state;
    struct workers *w;
    struct job j[8] = {0};
    assert_int_equal(workers_new(loop, 2, 8, &w), 0);
    for (size_t i = 0; i < ARRAY_LEN(j); i++)
        assert_int_equal(workers_run(w, work, done, late, &j[i], LONG_MS), 0);
    for (size_t i = 0; i < ARRAY_LEN(j); i++)
        until(&j[i].done, 1);
    for (size_t i = 0; i < ARRAY_LEN(j); i++) {
        assert_int_equal(j[i].worked, 1);
        assert_int_equal(j[i].done, 1);
        assert_int_equal(j[i].error, 0);
        assert_int_equal(j[i].late, 0);
        assert_false(pthread_equal(j[i].worked_by, pthread_self()));
    }
    workers_free(w);
}

/* Goal: a deadline is told at its time although the work hangs; the data is given back when the
 * work is over. */
static void test_deadline(void **state)
{
    (void)state;
    struct workers *w;
    struct gate g;
    struct job j = {.gate = &g};
    gate_init(&g);
    assert_int_equal(workers_new(loop, 1, 8, &w), 0);
    assert_int_equal(workers_run(w, work, done, late, &j, 30), 0);
    until(&j.done, 1);
    assert_int_equal(j.error, -ETIMEDOUT);
    assert_int_equal(j.late, 0);
    gate_open(&g);
    until(&j.late, 1);
    assert_int_equal(j.worked, 1);
    assert_int_equal(j.done, 1);
    workers_free(w);
}

/* Goal: a job whose deadline passes before a thread is free is never begun, and its place is free
 * at once. */
static void test_deadline_in_line(void **state)
{
    (void)state;
    struct workers *w;
    struct gate g;
    struct job first = {.gate = &g}, second = {0}, third = {0};
    gate_init(&g);
    assert_int_equal(workers_new(loop, 1, 1, &w), 0);
    assert_int_equal(workers_run(w, work, done, late, &first, LONG_MS), 0);
    gate_await(&g, 1);
    assert_int_equal(workers_run(w, work, done, late, &second, 30), 0);
    assert_int_equal(workers_run(w, work, done, late, &third, LONG_MS), -EBUSY);
    until(&second.done, 1);
    assert_int_equal(second.error, -ETIMEDOUT);
    assert_int_equal(second.late, 1);
    assert_int_equal(workers_run(w, work, done, late, &third, LONG_MS), 0);
    gate_open(&g);
    until(&third.done, 1);
    assert_int_equal(third.error, 0);
    assert_int_equal(second.worked, 0);
    assert_int_equal(first.done, 1);
    workers_free(w);
}

/* Goal: no more jobs wait than may; who is refused is not called at all. */
static void test_full(void **state)
{
    (void)state;
    struct workers *w;
    struct gate g;
    struct job busy = {.gate = &g}, waiting[3] = {0}, refused = {0};
    gate_init(&g);
    assert_int_equal(workers_new(loop, 1, ARRAY_LEN(waiting), &w), 0);
    assert_int_equal(workers_run(w, work, done, late, &busy, LONG_MS), 0);
    gate_await(&g, 1);
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
        assert_int_equal(workers_run(w, work, done, late, &waiting[i], LONG_MS), 0);
    assert_int_equal(workers_run(w, work, done, late, &refused, LONG_MS), -EBUSY);
    gate_open(&g);
    for (size_t i = 0; i < ARRAY_LEN(waiting); i++)
        until(&waiting[i].done, 1);
    assert_int_equal(refused.done + refused.late + refused.worked, 0);
    workers_free(w);
}

/* A job that starts another one from its done(). */
struct chain {
    struct workers *workers;
    int left;
};

static void chain_work(void *data _unused_)
{
}

static void chain_done(void *data, int error)
{
    struct chain *c = data;
    assert_int_equal(error, 0);
    if (--c->left > 0)
        assert_int_equal(workers_run(c->workers, chain_work, chain_done, NULL, c, LONG_MS), 0);
}

/* Goal: done() may start the next job, also when the line has room for one only. */
static void test_chain(void **state)
{
    (void)state;
    struct chain c = {.left = 200};
    assert_int_equal(workers_new(loop, 1, 1, &c.workers), 0);
    assert_int_equal(workers_run(c.workers, chain_work, chain_done, NULL, &c, LONG_MS), 0);
    while (c.left > 0)
        assert_true(sd_event_run(loop, 5000000) > 0);
    workers_free(c.workers);
}

/* Goal: the pool can be left with a thread that hangs and jobs that wait: nobody is told, nothing
 * is lost. */
static void test_free_while_busy(void **state)
{
    (void)state;
    struct workers *w;
    struct gate g;
    struct job busy = {.gate = &g}, waiting = {0};
    gate_init(&g);
    assert_int_equal(workers_new(loop, 1, 4, &w), 0);
    assert_int_equal(workers_run(w, work, done, late, &busy, LONG_MS), 0);
    gate_await(&g, 1);
    assert_int_equal(workers_run(w, work, done, late, &waiting, 10), 0);
    workers_free(w);
    gate_open(&g);
    assert_true(sd_event_run(loop, 50000) >= 0);
    assert_int_equal(busy.done + busy.late + waiting.done + waiting.late, 0);
    /* busy and the gate are on this stack: wait until the thread is through with them. */
    pthread_mutex_lock(&g.lock);
    while (!g.left)
        pthread_cond_wait(&g.moved, &g.lock);
    pthread_mutex_unlock(&g.lock);
    assert_int_equal(busy.worked, 1);
    assert_int_equal(waiting.worked, 0);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_plain), TEST(test_deadline), TEST(test_deadline_in_line),
        TEST(test_full),  TEST(test_chain),    TEST(test_free_while_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
