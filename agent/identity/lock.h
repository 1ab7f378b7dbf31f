/* Who is locked out: people who left. A lock is durable, names its maker, and denies every login
 * and every request of that person until it is taken away (policy/decide.h). Kept by name, so that
 * it also holds for somebody whom NSS doesn't know (any more). Works inside the caller's turn. */
#ifndef COUNTERSIGN_IDENTITY_LOCK_H
#define COUNTERSIGN_IDENTITY_LOCK_H

#include "base/json.h"
#include "vault/vault.h"

#define LOCK_E_NONE 1
#define LOCK_REASON_MAX 200 /* bytes */

struct lock {
    int64_t at_ms; /* wall */
    char by[300];  /* the principal that locked */
    char reason[LOCK_REASON_MAX + 1];
    bool has_uid; /* NSS knew the person then */
    uint32_t uid;
    json_t *principals; /* of tokens that were revoked with it ("token:ACCESSOR"): what they leased
                           may still wait; owned, or NULL */
};
void lock_clear(struct lock *l);

/* 0, LOCK_E_NONE, -errno: then nothing is known, and who asks has to deny. */
int lock_get(struct vault *v, const char *user, struct lock *out);
/* Makes or replaces it. -EINVAL for what is no user name. */
int lock_put(struct vault *v, const char *user, const struct lock *l);
int lock_remove(struct vault *v, const char *user); /* 0, LOCK_E_NONE */
/* Names of all who are locked, in order. */
typedef int (*lock_fn)(const char *user, void *data);
int lock_each(struct vault *v, lock_fn fn, void *data);
/* Whether anybody is locked. 0 or -errno. */
int lock_any(struct vault *v, bool *any);

#endif
