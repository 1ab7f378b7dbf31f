#include "base/effect.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/fault.h"

struct effect {
    effect_fn run, drop;
    void *data;
};

struct effects {
    struct effect *row;
    size_t count;
    size_t cap;
    size_t done; /* how many of row have been run in the current effects_run() */
    bool running;
};

struct effects *effects_new(void)
{
    return calloc(1, sizeof(struct effects));
}

void effects_free(struct effects *q)
{
    if (!q)
        return;
    effects_drop(q, 0);
    free(q->row);
    free(q);
}

int effects_push(struct effects *q, effect_fn run, effect_fn drop, void *data)
{
    if (q->count == q->cap) {
        size_t cap = q->cap ? q->cap * 2 : 8;
        struct effect *row = reallocarray(q->row, cap, sizeof(*row));

        if (!row)
            return -ENOMEM;
        q->row = row;
        q->cap = cap;
    }
    q->row[q->count++] = (struct effect){.run = run, .drop = drop, .data = data};
    return 0;
}

size_t effects_mark(const struct effects *q)
{
    return q->count;
}

void effects_drop(struct effects *q, size_t mark)
{
    /* What has run already can't be taken back, even by a mark from before the run. */
    if (mark < q->done)
        mark = q->done;
    while (q->count > mark) {
        struct effect e = q->row[--q->count];

        if (e.drop)
            e.drop(e.data);
    }
}

void effects_run(struct effects *q)
{
    if (q->running)
        return; /* the run under way comes to everything */
    q->running = true;
    while (q->done < q->count) {
        struct effect e = q->row[q->done++]; /* copied: running it may queue and move the rows */

        e.run(e.data);
        FAULT_POINT(turn_effect_ran);
    }
    q->count = 0;
    q->done = 0;
    q->running = false;
}
