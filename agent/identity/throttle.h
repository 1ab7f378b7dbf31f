/* Slowing down guesses, per (person, source), with a budget per person over all new sources.
 *
 * A source that this person has come from successfully in the last 30 days is "usual": the budget
 * doesn't count against it, so that guessing from elsewhere locks nobody out of where they always
 * log in from. Unknown names share THROTTLE_BUCKETS fixed buckets, so that they cost the same and
 * can't fill the disk. Counters are durable; rows vanish by themselves (their deadline). */
#ifndef COUNTERSIGN_IDENTITY_THROTTLE_H
#define COUNTERSIGN_IDENTITY_THROTTLE_H

#include "base/json.h"
#include "vault/vault.h"

#define THROTTLE_BUCKETS 64
#define THROTTLE_TRIES 5                   /* wrong answers from one source before it is locked */
#define THROTTLE_LOCK_MS (5 * 60 * 1000LL) /* first lock; doubles with each further one … */
#define THROTTLE_LOCK_MAX_MS (60 * 60 * 1000LL) /* … up to this */
#define THROTTLE_DELAY_MAX_MS 8000              /* wrong answers answer after 1, 2, 4, 8 s */
#define THROTTLE_BUDGET 30 /* wrong answers per person and hour from unusual sources */
#define THROTTLE_FORGET_MS (24 * 3600 * 1000LL)
#define THROTTLE_USUAL_MS (30 * 24 * 3600 * 1000LL)

struct throttle {
    bool locked;      /* do not even ask (MAXTRIES) */
    int64_t until;    /* wall ms when the lock ends */
    int64_t delay_ms; /* hold the denial back this long */
    char reason[128]; /* for the audit log: "5 wrong codes from 192.0.2.7" */
};

/* source: numeric address, "local", or any bounded text. known: NSS has the name. */
int throttle_check(struct vault *v, const char *user, bool known, const char *source,
                   int64_t now_ms, struct throttle *out);
int throttle_failed(struct vault *v, const char *user, bool known, const char *source,
                    int64_t now_ms, struct throttle *out);
/* Clears this source's counters and makes it usual. Only after a proved factor. */
int throttle_passed(struct vault *v, const char *user, const char *source, int64_t now_ms);
/* Operator's pardon: forgets locks and budget of a person (usual sources stay). */
int throttle_pardon(struct vault *v, const char *user);
/* The latest lock on the person's budget or sources; 0 = none. */
int throttle_locked_until(struct vault *v, const char *user, int64_t now_ms, int64_t *until);
/* Deletes rows whose deadline has passed; at most limit. */
int throttle_sweep(struct vault *v, int64_t now_ms, size_t limit);

#endif
