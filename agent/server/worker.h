/* A small bounded pool of threads for what may block: NSS and Argon2id. The loop never waits. */
#ifndef COUNTERSIGN_SERVER_WORKER_H
#define COUNTERSIGN_SERVER_WORKER_H

#include <stdint.h>
#include <systemd/sd-event.h>

struct workers;

/* threads >= 1; queue: how many jobs may wait. 0 or -errno. */
int workers_new(sd_event *loop, unsigned threads, unsigned queue, struct workers **out);
/* The place of its answers in the loop (sd_event_source_set_priority(3)); 0 unless said. 0, -errno.
 */
int workers_set_priority(struct workers *w, int64_t priority);
/* Waits for nothing: a thread that hangs in NSS is left behind with its job's data, which must
 * outlive it. No job is told any more. Not from within a done(). */
void workers_free(struct workers *w);

/* Runs work(data) on a thread, then done(data, 0) on the loop. When the deadline passes first,
 * done(data, -ETIMEDOUT) is called on the loop and, whenever work returns (at once when it had not
 * begun), free_late(data) on the loop or, at shutdown, never; data must not be touched by the loop
 * between. Returns 0, -EBUSY when the queue is full, -ENOMEM; then nothing is called. */
int workers_run(struct workers *w, void (*work)(void *data), void (*done)(void *data, int error),
                void (*free_late)(void *data), void *data, uint64_t deadline_ms);

#endif
