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
 * root key (32 random bytes) wraps the keyring; the unseal key wraps the root key. The root key is
 * kept nowhere in the clear but in locked memory while unsealed. These work outside of a turn (each
 * is its own transaction). */

/* Makes the root key, keyring and instance id; the root key is wrapped by unseal_key, and given to
 * the caller once, in root_out, for splitting into recovery shares (wipe it). threshold and shares
 * are only remembered, for seal-status. 0, -EALREADY, -errno. The vault is unsealed afterwards. */
int vault_init(struct vault *v, const uint8_t unseal_key[VAULT_KEY_LEN], unsigned shares,
               unsigned threshold, uint8_t root_out[VAULT_KEY_LEN]);
/* Positive outcome of unsealing. */
#define VAULT_E_WRONG_KEY 1
int vault_unseal(struct vault *v, const uint8_t unseal_key[VAULT_KEY_LEN]);
int vault_unseal_root(struct vault *v, const uint8_t root_key[VAULT_KEY_LEN]);
/* Forgets (wipes) every key. Idempotent. A turn that is open can then only be rolled back. */
void vault_seal(struct vault *v);
/* What vault_init() remembered. */
void vault_seal_config(const struct vault *v, unsigned *shares, unsigned *threshold);
/* Another unseal key takes the place of the one there is. Own transaction. */
int vault_new_unseal_key(struct vault *v, const uint8_t unseal_key[VAULT_KEY_LEN]);
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

/* --- Plain settings (not secret, readable while sealed): the seal's own rows live here ------- */
int vault_meta_get(struct vault *v, const char *key, struct buf *out); /* 0, 1 = absent, -errno */
int vault_meta_put(struct vault *v, const char *key, const void *p, size_t n);

#endif
