/* Whether somebody is locked out, as a fact for the decision: the one place that asks the store. */
#ifndef COUNTERSIGN_SERVER_LOCKOUT_H
#define COUNTERSIGN_SERVER_LOCKOUT_H

#include "identity/lock.h"
#include "server/agent.h"

#define LOCKOUT_TEXT 640

/* Fills f->locked where the person (f->user) is locked; text[] must outlive the facts. 0, or -errno
 * when that can't be known: then nothing may be granted. In a turn. */
int lockout_facts(struct agent *a, struct decide_facts *f, char text[LOCKOUT_TEXT]);

/* Locks, and takes a lock away again, in a turn. */
int lockout_lock(struct agent *a, const char *user, const struct lock *l);
int lockout_unlock(struct agent *a, const char *user); /* 0, LOCK_E_NONE, -errno */
/* The store is another one now, or sealed: what was known of it is forgotten. */
void lockout_forget(struct agent *a);

#endif
