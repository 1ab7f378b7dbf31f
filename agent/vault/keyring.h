/* Inside the vault room: keys, and sealing bytes with them.
 *
 *     unseal key --wraps--> root key --wraps--> keyring = stable key + data keys 1..n
 *
 * stable key  never changes; through crypto_kdf ("CSstable", 1..4) the keys for hashing entry
 * names, record ids, other purposes (vault_hash) and for the audit chain. data keys   vault_rotate
 * adds one; new values use the newest, old ones go on being read. Through crypto_kdf
 * ("CS-data-", 1..3) the keys for entries, records and audit rows.
 *
 * Everything here is XChaCha20-Poly1305-IETF with a random nonce (draft-irtf-cfrg-xchacha).
 *
 *     sealed value   u32 data key version | nonce 24 | ciphertext and tag
 *                    associated data: u8 use | u32 version | what the caller binds (table, row key,
 * …) plaintext: u8 format (KEYRING_FORMAT) | the value box            nonce 24 | ciphertext and
 * tag, under one given key (root key, keyring) associated data: the label, NUL, the instance id
 *                    plaintext: u8 format | the value
 *     keyring        stable key 32 | u32 n | n times: u32 version, u64 made (wall ms), key 32
 *
 * Integers are little-endian. Keys live in guarded, locked memory that is read-only, except while
 * they are made. */
#ifndef COUNTERSIGN_VAULT_KEYRING_H
#define COUNTERSIGN_VAULT_KEYRING_H

#include <stdint.h>

#include "base/buf.h"

#define KEYRING_KEY 32
#define KEYRING_HASH 32
#define KEYRING_FORMAT 1
#define KEYRING_VERSIONS_MAX 4096
#define KEYRING_AAD_MAX 192
#define KEYRING_E_WRONG 1

enum keyring_use { KEYRING_ENTRY, KEYRING_RECORD, KEYRING_AUDIT, KEYRING_USES };

enum keyring_name {
    KEYRING_NAME_ENTRY,
    KEYRING_NAME_RECORD,
    KEYRING_NAME_PURPOSE,
    KEYRING_NAME_AUDIT,
    KEYRING_NAMES
};

struct keyring;

/* Random keys, one version. NULL on lack of memory. */
struct keyring *keyring_new(void);
/* A copy with one more version. */
int keyring_grow(const struct keyring *k, struct keyring **out);
void keyring_free(struct keyring *k);
DEFINE_CLEANUP(struct keyring *, keyring_free)

/* 32 bytes of guarded, locked memory. NULL on lack of memory. */
uint8_t *keyring_key_new(void);
void keyring_key_free(uint8_t *key);
DEFINE_CLEANUP(uint8_t *, keyring_key_free)

/* Boxes: n bytes under one key. Appends to out. open: 0, KEYRING_E_WRONG (wrong key, or changed).
 */
int keyring_box(const uint8_t key[KEYRING_KEY], const char *label, const char *instance,
                const void *p, size_t n, struct buf *out);
int keyring_unbox(const uint8_t key[KEYRING_KEY], const char *label, const char *instance,
                  const void *p, size_t n, struct buf *out);
/* The keyring in a box. */
int keyring_wrap(const struct keyring *k, const uint8_t root[KEYRING_KEY], const char *instance,
                 struct buf *out);
int keyring_unwrap(const uint8_t root[KEYRING_KEY], const char *instance, const void *p, size_t n,
                   struct keyring **out);

struct keyring_part {
    const void *p;
    size_t n;
};

/* Appends the sealed parts (one behind the other) to out. aad is at most KEYRING_AAD_MAX bytes. */
int keyring_seal(const struct keyring *k, enum keyring_use use, const void *aad, size_t naad,
                 const struct keyring_part *parts, size_t nparts, struct buf *out);
/* Appends the plaintext without its format byte; -EBADMSG when anything does not fit. */
int keyring_open(const struct keyring *k, enum keyring_use use, const void *aad, size_t naad,
                 const void *p, size_t n, struct buf *out);

/* Keyed BLAKE2b-256 of the parts; personal is at most 16 bytes and separates purposes. */
void keyring_hash(const struct keyring *k, enum keyring_name name, const char *personal,
                  const struct keyring_part *parts, size_t nparts, uint8_t out[KEYRING_HASH]);

#endif
