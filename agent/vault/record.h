/* Records: things with an identity, perhaps a deadline, and up to four indexes.
 *
 * Ids and index values are hashed with the name key before they touch the disk; id, deadline and
 * index hashes are authenticated together with the body, so a row whose plain columns were changed
 * fails (-EBADMSG) when read. The deadline column is plain, so that the expiry queue is an index.
 */
#ifndef COUNTERSIGN_VAULT_RECORD_H
#define COUNTERSIGN_VAULT_RECORD_H

#include "vault/vault.h"

#define RECORD_E_NONE 1
#define RECORD_KEYS 4
#define RECORD_ID_MAX 1200
#define RECORD_BODY_MAX (256 * 1024)

enum record_table {
    RECORD_LEASE,
    RECORD_TOKEN,
    RECORD_SESSION,
    RECORD_FACTOR,
    RECORD_PROOF,
    RECORD_THROTTLE,
    RECORD_HANDLE,
    RECORD_TABLES
};

struct record {
    const char *id;
    int64_t due;                  /* any unit the owner likes (ours: wall-clock ms); 0 = none */
    const char *key[RECORD_KEYS]; /* index values; NULL = not indexed there */
    const char *body;             /* NUL-terminated for convenience; body_len excludes the NUL */
    size_t body_len;
};

/* Inserts or replaces the record with this id. */
int record_put(struct vault *v, enum record_table t, const struct record *r);
/* Appends the body to out and gives the deadline (due may be NULL). 0, RECORD_E_NONE, -errno. */
int record_get(struct vault *v, enum record_table t, const char *id, struct buf *out, int64_t *due);
int record_delete(struct vault *v, enum record_table t, const char *id); /* 0 or RECORD_E_NONE */

/* Visits. The matching rows are collected first (their ids only), so fn may change the table; a row
 * that vanished meanwhile is passed over. limit 0 = all. A negative value from fn ends the visit
 * and is returned. In fn's record the key[] members are NULL. A row that fails its authentication
 * ends the visit with -EBADMSG. */
typedef int (*record_fn)(const struct record *r, void *data);
/* Rows with 0 < due <= until, earliest first. */
int record_each_due(struct vault *v, enum record_table t, int64_t until, size_t limit, record_fn fn,
                    void *data);
/* Rows whose index `slot` is value, in order of insertion. */
int record_each_key(struct vault *v, enum record_table t, unsigned slot, const char *value,
                    size_t limit, record_fn fn, void *data);
/* All rows, in order of insertion. */
int record_each(struct vault *v, enum record_table t, size_t limit, record_fn fn, void *data);

/* The same for work that must go on whatever a single row holds (expiry, revoking all of a kind):
 * rows that fail their authentication are passed over. Which ones is said in the log, one audit
 * line of type "alert" a visit. *broken (may be NULL) counts them: 0 with *broken > 0 is
 * not a complete answer, and what decides about a person reads strictly, above. fn may say
 * RECORD_E_BROKEN of a row whose body makes no sense, before it has changed anything.
 * record_pass_due() also takes them out of the queue, by turning their deadline negative: they
 * would be first in it for ever. limit counts the rows looked at, broken ones included. */
#define RECORD_E_BROKEN 2
int record_pass_due(struct vault *v, enum record_table t, int64_t until, size_t limit, record_fn fn,
                    void *data, size_t *broken);
int record_pass_key(struct vault *v, enum record_table t, unsigned slot, const char *value,
                    size_t limit, record_fn fn, void *data, size_t *broken);
int record_pass(struct vault *v, enum record_table t, size_t limit, record_fn fn, void *data,
                size_t *broken);
/* The same a slice at a time, for what may be very many: at most limit rows behind those of the
 * call before (begin with after = 0), all of them (slot -1) or those of an index value. more tells
 * whether to call again, which may be in another turn: rows added meanwhile are visited as well. */
struct record_slice {
    size_t limit;
    int64_t after;
    bool more;
};
int record_pass_slice(struct vault *v, enum record_table t, int slot, const char *value,
                      struct record_slice *s, record_fn fn, void *data);
/* How many broken rows were passed over since the vault was opened (a row counts each time). */
uint64_t record_passed_over(const struct vault *v);

/* The earliest deadline. 0, RECORD_E_NONE when no row has one. */
int record_next_due(struct vault *v, enum record_table t, int64_t *due);
/* How many rows (works while sealed). */
int record_count(struct vault *v, enum record_table t, int64_t *n);
int record_count_key(struct vault *v, enum record_table t, unsigned slot, const char *value,
                     int64_t *n);

/* JSON bodies. 0 and a new object; RECORD_E_NONE; -errno. */
int record_get_json(struct vault *v, enum record_table t, const char *id, json_t **out);
/* The same, remembered until it changes: for what nearly every request reads. The object is shared:
 * drop the reference as usual, but never change it. Not for what is secret in itself (peek.h). */
int record_peek_json(struct vault *v, enum record_table t, const char *id, json_t **out);

#endif
