/* A hold: this store may not be the one that knows best, so the agent serves logins and reads, but
 * makes, renews, revokes, expires and sweeps nothing in a database, until an operator accepts that
 * it goes on from what it knows (countersign operator accept-rollback).
 *
 * All of it is held by one of three causes, which stand in the store until accepted:
 *   rollback   the audit log has seen lines that the store has not: an older store was put back
 *   restored   the store came from a snapshot
 *   moved      it was last open on another machine (/etc/machine-id): a disk moved, or a clone
 * and, should the record of it be unreadable, by
 *   damaged
 *
 * One database is held when another agent with a copy of this store has claimed it. A claim is a
 * random token, a new one for each start of the agent and database, committed here before it is
 * written there, beside the tokens that may still be there from before (countersign/connector.h).
 * Of two agents with the same store, whoever comes first replaces the token that both know by one
 * that only it knows; the other finds a stranger's, whenever it looks, and it looks before each
 * deed. A counter in place of tokens would not do: both sides of a copy count on from the same
 * number. Accepting takes the database over, whatever is there, and the other agent is held. */
#ifndef COUNTERSIGN_SERVER_HOLD_H
#define COUNTERSIGN_SERVER_HOLD_H

#include "server/agent.h"

struct request;

struct hold;

struct hold *hold_new(void);
void hold_free(struct hold *h);

/* After unsealing, outside of a turn: reads what the store knows, looks at the machine. 0 or
 * -errno. */
int hold_load(struct agent *a);
/* At sealing. */
void hold_clear(struct hold *h);

/* Holds everything. Cause and text are kept in the store; when that fails it is held all the same.
 * Nothing when it is held already. Outside of a turn. */
void hold_enter(struct agent *a, const char *cause, const char *text);
/* Makes v, a store that is not in use, one that is held once it is: cause "restored". 0 or -errno.
 */
int hold_mark_restored(struct vault *v, const char *text);

/* Why everything is held, NULL when it is not. */
const char *hold_reason(const struct agent *a);
/* Why nothing may be done in this database now, by the one cause or the other; NULL when it may. */
const char *hold_database(struct agent *a, const char *space, const char *name);

/* link_call() with the claim of the frame's database. Not in a turn. While the database is held the
 * answer is {"ok":false,"kind":"superseded","message":why}. 0 or -errno (then answer isn't called;
 * the frame is freed all the same). */
int hold_call(struct agent *a, const char *space, json_t *frame, link_answer_fn answer, void *data);

/* For handlers: 503 with the reason when everything is held. 0 go on; 1 answered; -errno. */
int hold_refuse(struct request *r);
/* For status: what is held and what to do, each a sentence appended to list. names: whether the
 * databases may be named. */
void hold_problems(const struct agent *a, json_t *list, bool names);
/* {"cause","reason","since"(stamp)} or null, and [{"mount","name","reason","since"}]. */
json_t *hold_show(const struct agent *a);
json_t *hold_show_databases(const struct agent *a);

/* In a turn: everything that is held goes on from what this store knows; every database is taken
 * over at its next use. What must happen outside follows as an effect. 0 or -errno. */
int hold_accept(struct agent *a);

#endif
