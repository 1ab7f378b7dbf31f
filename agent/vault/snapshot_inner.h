/* Inside the vault room: what taking and reading snapshots share. */
#ifndef COUNTERSIGN_VAULT_SNAPSHOT_INNER_H
#define COUNTERSIGN_VAULT_SNAPSHOT_INNER_H

#include <sodium.h>

#include "vault/inner.h"
#include "vault/snapshot.h"

#define SNAPSHOT_FORMAT 1
#define SNAPSHOT_HASH_LEN 32
#define SNAPSHOT_CHECK_LEN 16

struct snapshot_secret {
    uint8_t key[crypto_secretstream_xchacha20poly1305_KEYBYTES];
    char check[2 * SNAPSHOT_CHECK_LEN + 1];
};

/* What a root key opens; wipe it. */
void snapshot_key(const uint8_t *root, struct snapshot_secret *out);
void snapshot_head_hash(const uint8_t *p, size_t n, uint8_t out[SNAPSHOT_HASH_LEN]);
/* A new file, 0600; one from before, and SQLite's beside it, are removed. The descriptor or -errno.
 */
int snapshot_make_file(const char *path);

#endif
