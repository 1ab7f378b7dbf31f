/* What leaves the process after the commit.
 *
 * A handler never sends, never changes shared memory that the store must agree with: it queues an
 * effect. After the turn's commit the queue runs in order; when a request fails, what it queued
 * since its mark is dropped (each dropped effect's `drop` is called so that it can free its data).
 */
#ifndef COUNTERSIGN_BASE_EFFECT_H
#define COUNTERSIGN_BASE_EFFECT_H

#include <stddef.h>

typedef void (*effect_fn)(void *data);

struct effects;

struct effects *effects_new(void); /* NULL on lack of memory */
void effects_free(struct effects *q);

/* Queues run(data), to be called once after the commit; drop(data) (may be NULL) is called instead
 * if it never will be. Exactly one of the two is called. 0 or -ENOMEM (then neither is, and data is
 * still the caller's). */
int effects_push(struct effects *q, effect_fn run, effect_fn drop, void *data);

/* A mark, and dropping everything queued after it. */
size_t effects_mark(const struct effects *q);
void effects_drop(struct effects *q, size_t mark);

/* Runs everything queued, including what running queues. */
void effects_run(struct effects *q);

#endif
