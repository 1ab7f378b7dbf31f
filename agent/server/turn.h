/* One loop, one writer, one commit a turn.
 *
 * Work that reads or changes the store is queued as an item and runs in the next turn: each item
 * inside its own mark, all inside one transaction; then one commit, then the effects, then each
 * item's done(). A failed commit fails every item of its turn. PAM items have a turn of their own,
 * before the others', and are lent what is kept back on the disk (vault_lend()).
 *
 * What can wait (TURN_BACKGROUND) gets TURN_BUDGET_US a turn: items that find it spent run in a
 * later one. After a turn with such work the next is as far off as that turn took, and
 * four times as far while people log in, so that however
 * much there is, a login waits for a few milliseconds of it at most. */
#ifndef COUNTERSIGN_SERVER_TURN_H
#define COUNTERSIGN_SERVER_TURN_H

#include <systemd/sd-event.h>

#include "base/effect.h"
#include "vault/vault.h"

#define TURN_BUDGET_US 4000

enum turn_class { TURN_PAM, TURN_API, TURN_BACKGROUND, TURN_CLASSES };

/* Runs inside the turn. A negative value takes back everything this item did (rows, audit lines,
 * effects). */
typedef int (*turn_run_fn)(void *data);
/* After the commit: error is 0, or the item's own negative value, or the commit's. Here answers go
 * out. May be NULL. */
typedef void (*turn_done_fn)(void *data, int error);

struct turn;

int turn_new(sd_event *loop, struct vault *v, struct turn **out);
void turn_free(struct turn *t);
/* Queues an item; the turn runs by itself when the loop has nothing older to do. 0, -ENOMEM (then
 * nothing is called). */
int turn_add(struct turn *t, enum turn_class c, turn_run_fn run, turn_done_fn done, void *data);
/* Runs what is queued now, at once; of what can wait as much as there is time for. */
void turn_now(struct turn *t);
/* Inside a run function of work that goes on for very many rows: whether it has to stop, and to
 * queue itself again from its done(). */
bool turn_spent(const struct turn *t);
/* Inside an API item that does such work: its turn counts as one with work that can wait. */
void turn_heavy(struct turn *t);
/* The queue for what must happen after the commit. Only inside run functions. */
struct effects *turn_effects(struct turn *t);
/* Called after a turn whose commit failed, so that caches can be dropped. */
void turn_on_failure(struct turn *t, void (*fn)(void *data), void *data);
/* Called after every turn that was committed (the audit export). */
void turn_on_commit(struct turn *t, void (*fn)(void *data), void *data);

#endif
