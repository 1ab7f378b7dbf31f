/* Snapshots: a sealed copy of the whole store, taken while it is used, opened elsewhere with the
 * recovery shares.
 *
 *     "CSsnap1\n"                                             8 bytes
 *     u32 length | head                                       JSON, readable by everybody: below
 *     secretstream header                                     24 bytes
 *     u32 length | ciphertext, at most SNAPSHOT_CHUNK + 17    … the last one tagged FINAL
 *
 * The ciphertext is libsodium's secretstream (XChaCha20-Poly1305) of the SQLite file, under a key
 * that crypto_kdf derives from the root key ("CSsnap--", 1); the BLAKE2b-256 of all before it is
 * associated data of every piece. So a changed head, a missing, swapped or repeated piece and a
 * missing end are all noticed. Integers are little-endian. head:
 *     {"format":1, "program", "instance", "host", "made"(stamp), "generation"(audit seq), "bytes",
 *      "shares", "threshold", "check"(hex: tells wrong shares from a damaged file)} */
#ifndef COUNTERSIGN_VAULT_SNAPSHOT_H
#define COUNTERSIGN_VAULT_SNAPSHOT_H

#include "vault/vault.h"

#define SNAPSHOT_MAGIC "CSsnap1\n"
#define SNAPSHOT_HEAD_MAX 4096 /* of the JSON */
#define SNAPSHOT_CHUNK (64 * 1024)
/* What a piece is longer than what it holds: its length and secretstream's own. */
#define SNAPSHOT_PIECE_MORE (4 + 17)

/* --- Taking one ------------------------------------------------------------------------------ */

struct snapshot_save;

/* Begins to copy the store to <store>.snapshot (0600, removed by snapshot_save_free()). v is
 * unsealed, outside of a turn, and must stay open until that is freed. 0 or -errno. */
int snapshot_save_new(struct vault *v, struct snapshot_save **out);
/* Copies a little; between the turns. What was written meanwhile is in the copy as well. 1 there is
 * more, 0 the copy is whole, -errno. */
int snapshot_save_step(struct snapshot_save *s);
/* Once it is whole: appends the beginning of the snapshot, up to the first piece. 0 or -errno. */
int snapshot_save_head(struct snapshot_save *s, const char *host, struct buf *out);
/* How large the copy is. */
int64_t snapshot_save_bytes(const struct snapshot_save *s);
/* Appends further pieces of at most max bytes in all (at least one). *last: that was all. */
int snapshot_save_read(struct snapshot_save *s, size_t max, struct buf *out, bool *last);
void snapshot_save_free(struct snapshot_save *s);
DEFINE_CLEANUP(struct snapshot_save *, snapshot_save_free)

/* --- Reading one ----------------------------------------------------------------------------- */

/* How many bytes the beginning has, of a file that begins with these n (at least 12) bytes; 0 when
 * it is no snapshot. */
size_t snapshot_head_length(const uint8_t *p, size_t n);

struct snapshot_load;

/* Takes a beginning, as snapshot_save_head() made it; what follows is decrypted into the new file
 * path (0600). 0; SNAPSHOT_E_NONE it is no snapshot; SNAPSHOT_E_NEWER of a later format; -errno. */
#define SNAPSHOT_E_NONE 1
#define SNAPSHOT_E_NEWER 2
int snapshot_load_new(const char *path, const uint8_t *head, size_t n, struct snapshot_load **out);
/* The head's JSON; nothing in it is proved before snapshot_load_finish(). Borrowed. */
const json_t *snapshot_load_head(const struct snapshot_load *l);
/* The root key that it is to be opened with. 0; SNAPSHOT_E_KEY it is another's; -errno. */
#define SNAPSHOT_E_KEY 3
int snapshot_load_key(struct snapshot_load *l, const uint8_t root[VAULT_KEY_LEN]);
/* Further bytes of the snapshot, however they are cut. 0; SNAPSHOT_E_DAMAGED; -EINVAL before the
 * key; -errno. After anything but 0 it is of no more use. */
#define SNAPSHOT_E_DAMAGED 4
int snapshot_load_write(struct snapshot_load *l, const uint8_t *p, size_t n);
/* That was all: the copy is whole, genuine and on the disk. 0, SNAPSHOT_E_DAMAGED (cut short),
 * -errno. */
int snapshot_load_finish(struct snapshot_load *l);
/* Opens the finished copy as a vault of its own, unsealed. 0, -errno with why[]. */
int snapshot_load_open(struct snapshot_load *l, struct vault **out, char *why, size_t whylen);
/* Removes the copy, where it was not taken over by snapshot_replace(). */
void snapshot_load_free(struct snapshot_load *l);
DEFINE_CLEANUP(struct snapshot_load *, snapshot_load_free)

/* Puts the finished copy (closed) in the place of v's file; v is sealed, outside of a turn. A store
 * that was initialised is kept beside it under the name in aside[] ("" if there was none). v is
 * sealed afterwards. 0; -errno with why[], and v is what it was, unless it can't be opened any
 * more (then every use of it fails). */
int snapshot_replace(struct vault *v, struct snapshot_load *l, char *aside, size_t asidelen,
                     char *why, size_t whylen);

#endif
