/* The life of a lease: pending -> active -> revoking -> gone, and quarantined.
 *
 *   pending      its row (with the recipe for undoing it) is committed before anything exists
 * outside active       what it gives exists and was handed over; ends by TTL, lifetime, operator or
 * parent revoking     to be undone; tried until it is, with capped back-off, never forgotten
 *   quarantined  can't be dropped yet (objects depend on it): without login, tried again slowly
 *
 * One row per lease; its deadline column is when something must happen next (expiry of an active
 * one, giving up on a pending one, the next try of a revoking one), so that one timer at the
 * earliest deadline serves a million leases and a restart reads nothing but that index. All
 * functions but leases_new()/free() work inside the caller's turn; what must happen outside is an
 * effect. Times: wall milliseconds for instants (checked against the boot clock by the caller),
 * seconds for TTLs.
 *
 * A lease is handed around as a JSON object (borrowed or owned as stated):
 *   {"v":1, "id", "path", "mount", "engine", "space", "state", "principal", "uid"(int|null),
 * "binding", "token"(token id|""), "lifetime":{"kind":"session|token|none","id","name"},
 * "issued"(ms), "expires"(ms), "max_expires"(ms, 0 = none), "last_renewal"(ms), "ttl"(s, as
 * issued), "renewable"(bool), "recipe":{…the engine's…}, "attempts", "next_try"(ms),
 * "last_error"(text|""), "reason"(why it is being revoked), "revoking_since"(ms), "objects":[…]}
 * and three members for this room alone: "claimed"(ms; a revocation is under way until then, 0 =
 * none), "making"(bool; revoked while it was still being made) and "again"(bool; the making ended
 * while an attempt at undoing it was under way).
 *
 * A pending lease that is revoked is not undone at once: its account may be on its way just now,
 * and undoing would overtake it and find nothing. It waits until the making is over
 * (lease_activate() or lease_unmake()), at most LEASE_PENDING_MS after its issue. Where the making
 * ends later still, while it is being undone, a "gone" of that attempt does not count.
 *
 * One row that fails its authentication or makes no sense holds up nothing: what visits many passes
 * it over, which is an audit line of type "alert" (record.h); the queue drops it.
 *
 * Each step is an audit line of type "lease". A retry is told when its error is a new one, and at
 * the 1st, 2nd, 4th, 8th … attempt. */
#ifndef COUNTERSIGN_LEASE_LEASE_H
#define COUNTERSIGN_LEASE_LEASE_H

#include "base/effect.h"
#include "base/json.h"
#include "vault/record.h"
#include "vault/vault.h"

#define LEASE_E_NONE 1    /* no such lease */
#define LEASE_E_REFUSED 2 /* not possible in this state: why[] says it */

#define LEASE_ID_MAX 1100
#define LEASE_PENDING_MS 60000    /* a pending lease not activated by then is revoked */
#define LEASE_CLAIM_MS 60000      /* a revocation under way that gives no answer is tried again */
#define LEASE_RETRY_FIRST_MS 1000 /* back-off 1, 2, 4 … s */
#define LEASE_RETRY_MAX_MS 60000  /* … capped, for ever */
#define LEASE_QUARANTINE_RETRY_MS 600000

struct leases;

struct lease_ops {
    /* Undo what this lease gave (an effect, after the commit; lease borrowed). The answer comes
     * back, in a later turn, by lease_revoked(). */
    void (*revoke)(const char *id, const json_t *lease, void *data);
    /* The earliest deadline may be earlier now (an effect). */
    void (*changed)(void *data);
};

int leases_new(struct vault *v, struct effects *effects, const struct lease_ops *ops, void *data,
               struct leases **out);
/* Effects that were queued must have been run or dropped before. */
void leases_free(struct leases *l);

struct lease_spec {
    const char *id;   /* from lease_make_id() */
    const char *path; /* the API path that was read: "database/creds/shop-ro" */
    const char *mount, *engine, *space;
    const char *principal; /* "user:alice", "uid:0", "token:<accessor>" */
    bool has_uid;
    uint32_t uid;
    const char *binding; /* what allowed it, or "" */
    const char *token;   /* token id or "" */
    const char *lifetime_kind, *lifetime_id, *lifetime_name;
    int64_t ttl, max_ttl; /* seconds; max_ttl 0 = none */
    bool renewable;
    const json_t *recipe; /* borrowed */
};

/* "<path>/<24 base62>". -EMSGSIZE when the path is too long. */
int lease_make_id(const char *path, char out[LEASE_ID_MAX]);
/* Adds it, pending. A ttl above max_ttl is shortened to it. -EINVAL for a ttl, max_ttl or time
 * that is out of all range. */
int lease_create(struct leases *l, const struct lease_spec *s, int64_t now_ms);
/* pending -> active. LEASE_E_NONE; LEASE_E_REFUSED when it is being revoked by now. */
int lease_activate(struct leases *l, const char *id, int64_t now_ms);
int lease_get(struct leases *l, const char *id,
              json_t **out); /* 0 and a new object, LEASE_E_NONE */
/* New expiry of an active, renewable lease: now + increment (0 = its ttl), at most max_expires. The
 * engine is told by the caller first. 0 and what is granted, LEASE_E_NONE, LEASE_E_REFUSED. dry:
 * only say. */
int lease_renew(struct leases *l, const char *id, int64_t increment, int64_t now_ms, bool dry,
                int64_t *ttl, char *why, size_t whylen);

/* active, pending or quarantined -> revoking, due at once (a pending one: above). Already revoking:
 * 0 (tried again now, unless an attempt is under way). */
int lease_revoke(struct leases *l, const char *id, const char *reason, int64_t now_ms);
/* The same from its maker, who knows that the making is over, well or badly: due at once, pending
 * or not. */
int lease_unmake(struct leases *l, const char *id, const char *reason, int64_t now_ms);
/* All of a kind; *n counts, those that are being revoked already included. ids (may be NULL): an
 * array that gets each id. A prefix ends at a '/' of the id or at its end; "" is all. A pending
 * one: above. */
int lease_revoke_prefix(struct leases *l, const char *prefix, const char *reason, int64_t now_ms,
                        size_t *n, json_t *ids);
int lease_revoke_principal(struct leases *l, const char *principal, const char *reason,
                           int64_t now_ms, size_t *n, json_t *ids);
int lease_revoke_token(struct leases *l, const char *token_id, const char *reason, int64_t now_ms,
                       size_t *n);
int lease_revoke_lifetime(struct leases *l, const char *kind, const char *lifetime_id,
                          const char *reason, int64_t now_ms, size_t *n);

/* The first two a slice a turn (struct record_slice), for what may be many thousands: nobody else
 * is kept waiting for all of them. *n and ids go on counting. */
int lease_revoke_prefix_some(struct leases *l, const char *prefix, const char *reason,
                             int64_t now_ms, struct record_slice *s, size_t *n, json_t *ids);
int lease_revoke_principal_some(struct leases *l, const char *principal, const char *reason,
                                int64_t now_ms, struct record_slice *s, size_t *n, json_t *ids);

enum lease_outcome {
    LEASE_RETRY = 0,  /* it did not work: again later */
    LEASE_GONE,       /* undone, or was not there any more */
    LEASE_QUARANTINE, /* disabled, but objects depend on it */
};
/* What became of a revocation. error: for a person (RETRY, QUARANTINE); objects: borrowed array or
 * NULL. A lease that is not revoking (any more) is left alone. 0, LEASE_E_NONE. */
int lease_revoked(struct leases *l, const char *id, enum lease_outcome outcome, const char *error,
                  const json_t *objects, int64_t now_ms);
/* Drops the row without undoing anything (sys/leases/revoke-force). */
int lease_forget(struct leases *l, const char *id);

/* Does what is due: expired active and stale pending leases become revoking, revoking and
 * quarantined ones whose time has come are (re)tried by ops->revoke. At most limit rows. *more:
 * call again. */
int lease_due(struct leases *l, int64_t now_ms, size_t limit, bool *more);
/* After a start, a slice a turn (begin with part and slice.after 0, call again while slice.more):
 * what was under way when the agent stopped is due at once. That is each pending lease, and each
 * claimed or held revocation, from before began_ms, the lease time of this start; what began since
 * is left alone, so requests may be answered meanwhile. Rows that only wait for their next try are
 * not touched: that is a minute off at most. Nothing is lost where it never gets to its end: all of
 * it comes due by itself within LEASE_CLAIM_MS or LEASE_PENDING_MS. */
struct lease_tour {
    unsigned part;
    struct record_slice slice;
};
int lease_restart(struct leases *l, int64_t began_ms, int64_t now_ms, struct lease_tour *t);
/* What may be reached again: waiting revocations of a mount (space; NULL = all) are due at once. A
 * slice a turn, as above. */
int lease_wake(struct leases *l, const char *space, int64_t now_ms, struct record_slice *s);
int lease_next_due(struct leases *l, int64_t *due_ms); /* 0, LEASE_E_NONE */

/* Visits all, or those of a principal (NULL = all) or below a path prefix (NULL = all; as above),
 * at most limit (0 = all). A negative value from fn ends it and is returned. */
typedef int (*lease_fn)(const json_t *lease, void *data);
int lease_each(struct leases *l, const char *principal, const char *prefix, size_t limit,
               lease_fn fn, void *data);
/* The same for those of a state ("quarantined"). */
int lease_each_state(struct leases *l, const char *state, size_t limit, lease_fn fn, void *data);
int lease_count_session(struct leases *l, const char *session_id, int64_t *n);

#define LEASE_LOOKED 500

struct lease_counts {
    int64_t pending, active, revoking, quarantined;
    /* revoking_since of the oldest that failed at least once, 0 = none; of very many revocations
     * only the LEASE_LOOKED leases issued first are looked at, so that asking stays cheap. */
    int64_t oldest_waiting_ms;
    char last_error[256]; /* of that one */
};
int lease_counts(struct leases *l, struct lease_counts *out);

#endif
