#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/effect.h"
#include "base/mem.h"

/* What happened, in order: a capital for run, a small letter for drop. */
static char happened[64];

struct letter {
    char name;
    struct effects *queue; /* where running it queues `then` */
    struct letter *then;
    bool nested;  /* running it runs the queue again */
    bool unwinds; /* running it drops from mark 0 */
};

static void note(char c)
{
    size_t n = strlen(happened);

    assert_true(n + 1 < sizeof(happened));
    happened[n] = c;
}

static void drop(void *data)
{
    const struct letter *l = data;

    note((char)(l->name | 0x20));
}

static void run(void *data)
{
    const struct letter *l = data;

    note(l->name);
    if (l->then)
        assert_int_equal(effects_push(l->queue, run, drop, l->then), 0);
    if (l->nested)
        effects_run(l->queue);
    if (l->unwinds)
        effects_drop(l->queue, 0);
}

static void push(struct effects *q, struct letter *l)
{
    assert_int_equal(effects_push(q, run, drop, l), 0);
}

static int fresh(_unused_ void **state)
{
    memset(happened, 0, sizeof(happened));
    return 0;
}

/* Effects run once, in the order of their queueing, and not before. */
static void test_order(_unused_ void **state)
{
    struct letter a = {.name = 'A'}, b = {.name = 'B'}, c = {.name = 'C'};
    struct effects *q = effects_new();

    push(q, &a);
    push(q, &b);
    push(q, &c);
    assert_string_equal(happened, "");
    effects_run(q);
    assert_string_equal(happened, "ABC");
    effects_run(q);
    effects_free(q);
    assert_string_equal(happened, "ABC");
}

/* Dropping takes exactly what came after the mark. */
static void test_drop_to_mark(_unused_ void **state)
{
    struct letter a = {.name = 'A'}, b = {.name = 'B'}, c = {.name = 'C'}, d = {.name = 'D'};
    struct effects *q = effects_new();
    size_t mark;

    push(q, &a);
    mark = effects_mark(q);
    push(q, &b);
    push(q, &c);
    effects_drop(q, mark);
    assert_string_equal(happened, "cb");
    effects_drop(q, mark);
    effects_drop(q, 1000);
    push(q, &d);
    effects_run(q);
    assert_string_equal(happened, "cbAD");
    effects_free(q);
}

/* Whatever never ran is dropped with the queue; a missing drop is allowed. */
static void test_free_drops(_unused_ void **state)
{
    struct letter a = {.name = 'A'}, b = {.name = 'B'};
    struct effects *q = effects_new();

    push(q, &a);
    assert_int_equal(effects_push(q, run, NULL, &b), 0);
    effects_free(q);
    assert_string_equal(happened, "a");
    effects_free(NULL);
}

/* What running queues runs too, behind what was there, even if it runs the queue itself. */
static void test_running_queues(_unused_ void **state)
{
    struct effects *q = effects_new();
    struct letter d = {.name = 'D'};
    struct letter c = {.name = 'C', .queue = q, .then = &d};
    struct letter a = {.name = 'A', .queue = q, .then = &c, .nested = true}, b = {.name = 'B'};

    push(q, &a);
    push(q, &b);
    effects_run(q);
    assert_string_equal(happened, "ABCD");
    assert_int_equal(effects_mark(q), 0);
    effects_free(q);
}

/* Dropping from inside a run spares what has run, and each effect sees one of its two ends. */
static void test_drop_while_running(_unused_ void **state)
{
    struct effects *q = effects_new();
    struct letter a = {.name = 'A'}, b = {.name = 'B', .queue = q, .unwinds = true};
    struct letter c = {.name = 'C'};

    push(q, &a);
    push(q, &b);
    push(q, &c);
    effects_run(q);
    assert_string_equal(happened, "ABc");
    effects_free(q);
    assert_string_equal(happened, "ABc");
}

static void count(void *data)
{
    ++*(int *)data;
}

/* Many effects, over the queue's growth and its reuse. */
static void test_many(_unused_ void **state)
{
    struct effects *q = effects_new();
    int ran = 0, dropped = 0;

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10000; i++)
            assert_int_equal(effects_push(q, count, NULL, &ran), 0);
        effects_run(q);
    }
    assert_int_equal(ran, 30000);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(effects_push(q, count, count, &dropped), 0);
    effects_drop(q, 0);
    assert_int_equal(dropped, 10000);
    effects_free(q);
    assert_int_equal(dropped, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_order, fresh),
        cmocka_unit_test_setup(test_drop_to_mark, fresh),
        cmocka_unit_test_setup(test_free_drops, fresh),
        cmocka_unit_test_setup(test_running_queues, fresh),
        cmocka_unit_test_setup(test_drop_while_running, fresh),
        cmocka_unit_test_setup(test_many, fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
