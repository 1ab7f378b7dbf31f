/* The vault: one encrypted SQLite file, the keys that open it, and the turn that changes it.
 *
 * Two states of key: sealed (the file can be opened, migrated and counted, nothing can be read) and
 * unsealed (the keyring is in locked memory). Rooms above see three ways of keeping things:
 *
 *     entry.h    named values in a tree (secrets, policies, configuration): hidden names, listing
 *     record.h   things with an identity, a deadline and indexes (leases, tokens, sessions)
 *     audit.h    the hash-chained log, rows of the same transaction as what they tell
 *
 * Turn: everything one round of the agent's loop does is one SQLite transaction. vault_begin()
 * once, a mark around each request, vault_commit() once; only then may anything leave the process.
 * All functions are for one thread. A write outside of a turn is a durable turn of its own.
 *
 * Errors here and in entry.h, record.h, audit.h: 0; a positive named outcome; or -errno: -EACCES
 * sealed, -EBADMSG a row that fails its authentication (tampered with or moved), -ENOSPC disk full,
 * -EROFS, -EIO, -ENOMEM, -EINVAL a name that is not allowed. After any negative error inside a mark
 * the caller must vault_undo() that mark; if that fails, the turn must be vault_rollback()ed (a
 * full disk can take the whole transaction with it: then everything fails with that error until
 * then). vault_keep() and vault_commit() refuse, with -EIO, what a write failed in halfway. -EINVAL
 * is also for a call in the wrong place: a second vault_begin(), a mark without a turn, seal
 * operations in a turn, unsealing what was never initialised, vault_commit() with a mark open
 * (undoes the turn).
 */
#ifndef COUNTERSIGN_VAULT_VAULT_H
#define COUNTERSIGN_VAULT_VAULT_H

#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"

struct vault;

#define VAULT_KEY_LEN 32
#define VAULT_HASH_LEN 32

enum vault_state { VAULT_UNINITIALISED, VAULT_SEALED, VAULT_UNSEALED };

/* Opens (creating it 0600 when missing) the store at path: WAL, synchronous=FULL, secure_delete,
 * foreign_keys, integer schema migrations inside a transaction, an exclusive lock so that a second
 * agent on the same file is refused. Returns 0; -EBUSY another process has it; -EPROTO the schema
 * is newer than this program (the file is left unchanged); other -errno. why[] tells a person. */
int vault_open(const char *path, struct vault **out, char *why, size_t whylen);
void vault_close(struct vault *v);
DEFINE_CLEANUP(struct vault *, vault_close)

enum vault_state vault_state(const struct vault *v);
/* The file, as an absolute path. Borrowed. */
const char *vault_path(const struct vault *v);
/* The store's identity (UUID, made at vault_init; "" before). It names accounts made elsewhere. */
const char *vault_instance(const struct vault *v);

/* --- Seal --------------------------------------------------------------------------------------
 * root key (32 random bytes) wraps the keyring; the unseal key wraps the root key (wrap.h). The
 * root key is kept nowhere in the clear but in locked memory while unsealed. These work outside of
 * a turn (each is its own transaction). */

enum vault_seal_kind {
    VAULT_SEAL_HOST,  /* an unseal key, kept by the host, opens it; the shares are for recovery */
    VAULT_SEAL_SHARES /* the shares alone open it */
};

/* Makes the root key, keyring and instance id; the root key is wrapped by unseal_key (NULL: by
 * none, the seal is the shares), and given to the caller once, in root_out, for splitting into
 * shares (wipe it). threshold and shares are only remembered, for seal-status. 0, -EALREADY,
 * -errno. The vault is unsealed afterwards. */
int vault_init(struct vault *v, const uint8_t *unseal_key, unsigned shares, unsigned threshold,
               uint8_t root_out[VAULT_KEY_LEN]);
/* Positive outcome of unsealing. */
#define VAULT_E_WRONG_KEY 1
int vault_unseal(struct vault *v, const uint8_t unseal_key[VAULT_KEY_LEN]);
int vault_unseal_root(struct vault *v, const uint8_t root_key[VAULT_KEY_LEN]);
enum vault_seal_kind vault_seal_kind(const struct vault *v);
/* Whether this is the root key, in constant time. False while sealed. */
bool vault_root_is(const struct vault *v, const uint8_t root_key[VAULT_KEY_LEN]);

/* Another root key takes the place of the one there is, for everything: the keyring (with a new
 * data key) is wrapped by it, and it by the unseal key, which stays good. Shares of the root key
 * before open nothing of this store any more. One transaction: after a crash either the old or the
 * new one holds. A reseal under way is called off. 0; VAULT_E_NO_WRAP: nothing was changed, since
 * the store is of an earlier version and its unseal key hasn't opened it since (unseal with it, or
 * reseal); -EACCES, -errno. */
#define VAULT_E_NO_WRAP 2
int vault_rekey(struct vault *v, const uint8_t root_key[VAULT_KEY_LEN], unsigned shares,
                unsigned threshold);
/* A new unseal key in two steps, so that at no moment neither opens the store. begin: this key
 * opens it as well as the one before (another begin replaces it). finish: this key, and it alone.
 * cancel: not this key. check: whether this is the key that finish waits for. Unsealing with the
 * new key finishes, too. All need the vault unsealed and a seal of the kind HOST (-EINVAL). 0;
 * check, finish: VAULT_E_WRONG_KEY; -errno. */
int vault_reseal_begin(struct vault *v, const uint8_t unseal_key[VAULT_KEY_LEN]);
int vault_reseal_check(struct vault *v, const uint8_t unseal_key[VAULT_KEY_LEN]);
int vault_reseal_finish(struct vault *v, const uint8_t unseal_key[VAULT_KEY_LEN]);
int vault_reseal_cancel(struct vault *v);
/* Both steps at once, for a store that nobody uses yet. */
int vault_new_unseal_key(struct vault *v, const uint8_t unseal_key[VAULT_KEY_LEN]);

/* Forgets (wipes) every key. Idempotent. A turn that is open can then only be rolled back. */
void vault_seal(struct vault *v);
/* What vault_init() remembered. */
void vault_seal_config(const struct vault *v, unsigned *shares, unsigned *threshold);
/* Adds a new version to the keyring; values written from now on use it. Own transaction. */
int vault_rotate(struct vault *v);

/* --- Keys for other purposes ----------------------------------------------------------------- */

/* Keyed BLAKE2b of data under a key derived for purpose (at most 16 characters, e.g. "token"):
 * stable for the life of the store. -EACCES when sealed. */
int vault_hash(const struct vault *v, const char *purpose, const void *p, size_t n,
               uint8_t out[VAULT_HASH_LEN]);

/* --- The turn -------------------------------------------------------------------------------- */

int vault_begin(struct vault *v);
/* Writes the turn's audit lines and commits. A turn that changed entries or records is durable when
 * this returns 0 (fsync'd). A turn that only has audit lines of reads is committed without waiting
 * for the disk (it survives the process, and the next durable commit covers it). A turn with
 * neither writes nothing. On failure everything of the turn is undone and -errno returned. */
int vault_commit(struct vault *v);
void vault_rollback(struct vault *v);
bool vault_in_turn(const struct vault *v);
/* Marks nest: savepoints over rows and audit lines alike. keep() releases the newest mark, undo()
 * takes back everything since it and releases it. */
int vault_mark(struct vault *v);
int vault_keep(struct vault *v);
int vault_undo(struct vault *v);

/* --- Room on disk ----------------------------------------------------------------------------
 * A reserve on the store's and one on the audit log's file system (vault/reserve.h), for what must
 * work when they are full: PAM decisions and unsealing. Once the store's is touched, or a write
 * found no room, all other writes and audit lines are refused with -ENOSPC until there is room
 * again; it is then made whole by itself. */
#define VAULT_RESERVE_STORE (8 * 1024 * 1024)
#define VAULT_RESERVE_AUDIT (4 * 1024 * 1024)
/* Makes them, beside the store and (NULL: none) beside the log. What can't be made now is made
 * later. 0, -ENOMEM. */
int vault_reserve(struct vault *v, const char *store_path, const char *audit_path);
/* From now until it is taken back, all that is done may use them. */
void vault_lend(struct vault *v, bool lend);

struct vault_room {
    int64_t free;           /* bytes this process may still use there; -1: it can't be told */
    int64_t reserve, whole; /* bytes that are kept back, and that ought to be */
    bool full;              /* what is not lent the reserve is refused */
    int64_t since_ms;       /* full since then (wall time); 0 */
};
struct vault_health {
    struct vault_room store, audit; /* zeroed where there is no reserve */
    int error;                      /* -errno of the last commit that wrote; 0: it worked */
    int64_t error_since_ms;         /* wall time; 0 */
};
void vault_health(const struct vault *v, struct vault_health *out);
/* The little of it that can be asked for after every turn. */
struct vault_alarm {
    bool store_full, audit_full;
    int error;
};
struct vault_alarm vault_alarm(const struct vault *v);
/* Whether the turn that is open has changed something, so that its commit waits for the disk. */
bool vault_changed(const struct vault *v);

/* --- Plain settings (not secret, readable while sealed): the seal's own rows live here ------- */
int vault_meta_get(struct vault *v, const char *key, struct buf *out); /* 0, 1 = absent, -errno */
int vault_meta_put(struct vault *v, const char *key, const void *p, size_t n);

#endif
