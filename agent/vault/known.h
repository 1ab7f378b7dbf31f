/* Row keys that were made a moment ago: a row's key is the keyed hash of its name, and most
 * requests name the same few rows.
 *
 * What is remembered can't become wrong while the vault is open, whatever is written, undone or
 * rolled back: a name's hash follows from the name and the stable key alone. Sealing wipes it all
 * (another store's key can only come behind that). The whole name is compared, never a hash of it.
 * Only for the names of entries and the ids of records: no secrets; values and what is hashed for
 * other purposes (a token's text) never come here. Hits are quicker than misses, which tells what
 * SQLite's page cache tells, too: that a row of this name was asked for lately. */
#ifndef COUNTERSIGN_VAULT_KNOWN_H
#define COUNTERSIGN_VAULT_KNOWN_H

#include "vault/keyring.h"

#define KNOWN_SLOTS 512
#define KNOWN_TEXT_MAX 152 /* longer names are hashed each time */

struct known_name {
    uint8_t k[KEYRING_HASH];
    uint16_t len; /* of text; 0: free */
    uint8_t kind; /* enum keyring_name */
    uint8_t text[KNOWN_TEXT_MAX];
};

struct known {
    struct known_name slot[KNOWN_SLOTS];
    bool any;
};

/* keyring_hash(), remembered. kind and personal must always go together. */
void known_hash(struct known *m, const struct keyring *ring, enum keyring_name kind,
                const char *personal, const struct keyring_part *parts, size_t nparts,
                uint8_t out[KEYRING_HASH]);
/* Wipes what is remembered. */
void known_clear(struct known *m);

#endif
