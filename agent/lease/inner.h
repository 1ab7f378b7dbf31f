/* Inside the lease room: one row, from and to its JSON, and the steps between the states. */
#ifndef COUNTERSIGN_LEASE_INNER_H
#define COUNTERSIGN_LEASE_INNER_H

#include "lease/lease.h"
#include "vault/record.h"

struct leases {
    struct vault *vault;
    struct effects *effects;
    struct lease_ops ops;
    void *data;
    bool announced; /* ops.changed is queued */
};

/* Record index slots. */
enum lease_slot {
    LEASE_BY_PRINCIPAL,
    LEASE_BY_TOKEN,
    LEASE_BY_LIFETIME, /* "kind:id" */
    LEASE_BY_STATE,
};

#define LEASE_STATE_PENDING "pending"
#define LEASE_STATE_ACTIVE "active"
#define LEASE_STATE_REVOKING "revoking"
#define LEASE_STATE_QUARANTINED "quarantined"

#define LEASE_KEY_MAX (RECORD_ID_MAX + 1)

bool lease_is(const json_t *lease, const char *state);
/* "kind:id" into out; NULL for the lifetime "none". -EMSGSIZE. */
int lease_lifetime_key(const char *kind, const char *id, char out[LEASE_KEY_MAX], const char **key);
/* The lease in a row; RECORD_E_BROKEN when it is none. */
int lease_parse(const struct record *r, json_t **out);
/* Writes the row; due is when something must happen next. */
int lease_put(struct leases *l, const json_t *lease, int64_t due);
/* One audit line; reason and error may be NULL. */
int lease_tell(struct leases *l, const json_t *lease, const char *event, const char *reason,
               const char *error);
/* Sets one wall-clock or counting member. */
int lease_set(json_t *lease, const char *key, int64_t value);
/* The number of the next attempt at undoing it, 1 … */
int64_t lease_next_attempt(const json_t *lease);
/* Whether an attempt at undoing it is under way. */
bool lease_in_flight(const json_t *lease, int64_t now_ms);
/* Any state -> revoking in the object, with its audit line; the caller puts it. */
int lease_begin_revoking(struct leases *l, json_t *lease, const char *reason, int64_t now_ms);
/* Revokes the row of a visit that matched. made: whatever was being made is there by now, or never
 * will be. */
int lease_revoke_row(struct leases *l, json_t *lease, const char *reason, bool made,
                     int64_t now_ms);

#endif
