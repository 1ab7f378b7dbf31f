#include "server/turn.h"

#include <errno.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include "base/fault.h"
#include "server/metrics.h"

#define TURN_PRIORITY (-50)
#define REST_MIN_US 500 /* shorter work is not worth a rest */
#define REST_MAX_US 100000
#define REST_LOGINS 4 /* times as long a rest while people log in */

struct item {
    struct item *next;
    enum turn_class class;
    turn_run_fn run;
    turn_done_fn done;
    void *data;
    int error;
};

struct queue {
    struct item *first, **last;
};

struct turn {
    struct vault *vault;
    struct effects *effects;
    sd_event_source *soon, *rest;
    struct queue queue[TURN_CLASSES];
    void (*on_failure)(void *data);
    void *failure_data;
    void (*on_commit)(void *data);
    void *commit_data;
    int64_t began_us; /* the turn under way, without its logins */
    bool running;
    bool resting; /* what can wait does, until the timer */
    bool heavy;
    bool logins; /* there were some since the last rest began */
};

static void queue_clear(struct queue *q)
{
    q->first = NULL;
    q->last = &q->first;
}

static bool waits(const struct turn *t, int c)
{
    return c == TURN_BACKGROUND && t->resting;
}

/* 0, or -errno: without memory the loop can't be asked for another round. */
static int run_soon(struct turn *t)
{
    for (int c = 0; c < TURN_CLASSES; c++) {
        if (t->queue[c].first && !waits(t, c))
            return sd_event_source_set_enabled(t->soon, SD_EVENT_ONESHOT);
    }
    return 0;
}

static int on_rested(sd_event_source *s _unused_, uint64_t usec _unused_, void *data)
{
    struct turn *t = data;
    t->resting = false;
    turn_now(t);
    return 0;
}

static int on_soon(sd_event_source *s _unused_, void *data)
{
    turn_now(data);
    return 0;
}

int turn_new(sd_event *loop, struct vault *v, struct turn **out)
{
    struct turn *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->vault = v;
    t->effects = effects_new();
    for (int c = 0; c < TURN_CLASSES; c++)
        queue_clear(&t->queue[c]);
    int r = t->effects ? sd_event_add_defer(loop, &t->soon, on_soon, t) : -ENOMEM;
    if (r >= 0)
        r = sd_event_source_set_enabled(t->soon, SD_EVENT_OFF);
    /* After the PAM sockets that are ready, before everything else: a lower place could starve. */
    if (r >= 0)
        r = sd_event_source_set_priority(t->soon, TURN_PRIORITY);
    if (r >= 0)
        r = sd_event_add_time_relative(loop, &t->rest, CLOCK_MONOTONIC, 0, 1, on_rested, t);
    if (r >= 0)
        r = sd_event_source_set_enabled(t->rest, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_source_set_priority(t->rest, TURN_PRIORITY);
    if (r < 0) {
        turn_free(t);
        return r;
    }
    *out = t;
    return 0;
}

void turn_free(struct turn *t)
{
    if (!t)
        return;
    for (int c = 0; c < TURN_CLASSES; c++) {
        for (struct item *i = t->queue[c].first, *next; i; i = next) {
            next = i->next;
            free(i);
        }
    }
    sd_event_source_disable_unref(t->soon);
    sd_event_source_disable_unref(t->rest);
    effects_free(t->effects);
    free(t);
}

int turn_add(struct turn *t, enum turn_class c, turn_run_fn run, turn_done_fn done, void *data)
{
    struct item *i = calloc(1, sizeof(*i));
    if (!i)
        return -ENOMEM;
    *i = (struct item){.class = c, .run = run, .done = done, .data = data};
    struct item **last = t->queue[c].last;
    *last = i;
    t->queue[c].last = &i->next;
    int r = t->running ? 0 : run_soon(t); /* a turn under way looks at its end */
    if (r >= 0)
        return 0;
    *last = NULL;
    t->queue[c].last = last;
    free(i);
    return r;
}

struct effects *turn_effects(struct turn *t)
{
    return t->effects;
}

void turn_on_failure(struct turn *t, void (*fn)(void *data), void *data)
{
    t->on_failure = fn;
    t->failure_data = data;
}

void turn_on_commit(struct turn *t, void (*fn)(void *data), void *data)
{
    t->on_commit = fn;
    t->commit_data = data;
}

/* Runs one item inside a mark. Returns a negative value when the whole transaction is lost. */
static int run_item(struct turn *t, struct item *i)
{
    size_t effects = effects_mark(t->effects);
    int r = vault_mark(t->vault);
    if (r < 0) {
        i->error = r;
        return r;
    }
    i->error = i->run(i->data);
    FAULT_POINT(turn_item_ran);
    if (i->error >= 0)
        i->error = vault_keep(t->vault);
    if (i->error >= 0)
        return 0;
    effects_drop(t->effects, effects);
    return vault_undo(t->vault);
}

bool turn_spent(const struct turn *t)
{
    return metrics_now_us() - t->began_us >= TURN_BUDGET_US;
}

void turn_heavy(struct turn *t)
{
    t->heavy = true;
}

/* Moves the queued items of these classes into one list. */
static void gather(struct turn *t, enum turn_class from, enum turn_class to, struct queue *all)
{
    queue_clear(all);
    for (int c = (int)from; c <= (int)to; c++) {
        if (!t->queue[c].first || waits(t, c))
            continue;
        t->heavy |= c == TURN_BACKGROUND;
        *all->last = t->queue[c].first;
        all->last = t->queue[c].last;
        queue_clear(&t->queue[c]);
    }
}

/* What can wait and found no time any more goes back to the front of its queue. */
static void put_back(struct turn *t, struct queue *all, struct item **from)
{
    struct queue *q = &t->queue[TURN_BACKGROUND];
    struct item *rest = *from;
    if (!rest)
        return;
    *all->last = q->first;
    if (!q->first)
        q->last = all->last;
    q->first = rest;
    *from = NULL;
    all->last = from;
}

/* What waits for the disk is measured. */
static int commit(struct turn *t)
{
    bool durable = vault_changed(t->vault);
    int64_t begin = durable ? metrics_now_us() : 0;
    int r = vault_commit(t->vault);
    if (durable && r >= 0)
        metrics_commit(metrics_now_us() - begin);
    return r;
}

static int run_all(struct turn *t, struct queue *all)
{
    int r = vault_begin(t->vault);
    bool any = false; /* of what can wait at least one: it gets on, however slow the host */
    FAULT_POINT(turn_begun);
    for (struct item **i = &all->first; *i && r >= 0; i = &(*i)->next) {
        bool can_wait = (*i)->class == TURN_BACKGROUND;
        if (can_wait && any && turn_spent(t)) {
            put_back(t, all, i);
            break;
        }
        any |= can_wait;
        r = run_item(t, *i);
    }
    FAULT_POINT(turn_before_commit);
    if (r >= 0)
        r = commit(t);
    FAULT_POINT(turn_committed);
    if (r >= 0)
        return 0;
    if (vault_in_turn(t->vault))
        vault_rollback(t->vault);
    effects_drop(t->effects, 0);
    sd_journal_print(LOG_ERR, "a turn could not be committed, its requests are refused: %s",
                     strerror(-r));
    if (t->on_failure)
        t->on_failure(t->failure_data);
    return r;
}

static void run_classes(struct turn *t, enum turn_class from, enum turn_class to)
{
    struct queue all;
    t->began_us = metrics_now_us();
    gather(t, from, to, &all);
    if (!all.first)
        return;
    int failed = run_all(t, &all);
    if (!failed)
        effects_run(t->effects);
    FAULT_POINT(turn_effects_ran);
    for (struct item *i = all.first, *next; i; i = next) {
        next = i->next;
        if (i->done)
            i->done(i->data, failed ? failed : i->error);
        FAULT_POINT(turn_item_told);
        free(i);
    }
    if (!failed && t->on_commit)
        t->on_commit(t->commit_data);
}

/* After work that could have waited the loop belongs to all others for as long as that took. */
static void rest(struct turn *t)
{
    int64_t took = metrics_now_us() - t->began_us;
    if (!t->heavy || took < REST_MIN_US)
        return;
    took *= t->logins ? REST_LOGINS : 1;
    t->logins = false;
    took = took < REST_MAX_US ? took : REST_MAX_US;
    t->resting = sd_event_source_set_time_relative(t->rest, (uint64_t)took) >= 0 &&
                 sd_event_source_set_enabled(t->rest, SD_EVENT_ONESHOT) >= 0;
}

/* PAM's items have a transaction of their own: a full disk is no reason to keep people out (they
 * are lent what is kept back for that), and nobody else's request can make theirs fail. */
static void run_turn(struct turn *t)
{
    t->logins |= t->queue[TURN_PAM].first != NULL;
    vault_lend(t->vault, true);
    run_classes(t, TURN_PAM, TURN_PAM);
    vault_lend(t->vault, false);
    t->heavy = false;
    run_classes(t, TURN_API, TURN_BACKGROUND);
    FAULT_POINT(turn_over);
    rest(t);
}

void turn_now(struct turn *t)
{
    if (t->running)
        return;
    t->running = true;
    do {
        run_turn(t);
    } while (run_soon(t) < 0); /* what waits is not left lying */
    t->running = false;
}
