/* What was read and parsed a moment ago: the JSON of rows that are read with nearly every request
 * (a token's, a key's metadata), so that they need not be found, opened and parsed each time.
 *
 * What is kept is what the store says, at any time: a row that is written or deleted is dropped
 * here, what a taken-back mark or turn may have changed drops all, sealing wipes all. Never for
 * values that are secret in themselves: what lies here lies in memory. */
#ifndef COUNTERSIGN_VAULT_PEEK_H
#define COUNTERSIGN_VAULT_PEEK_H

#include "base/json.h"
#include "vault/vault.h"

#define PEEK_SLOTS 1024
#define PEEK_BODY_MAX 4096 /* larger ones are not kept */

struct peek {
    struct {
        uint8_t k[VAULT_HASH_LEN]; /* the row's key */
        json_t *value;             /* NULL: free */
    } slot[PEEK_SLOTS];
    bool any;
};

/* A new reference to what is kept under k, NULL if nothing is. It is shared: never change it. */
json_t *peek_find(const struct peek *p, const uint8_t k[VAULT_HASH_LEN]);
/* Keeps value (takes a reference), in place of what shares the slot. */
void peek_keep(struct peek *p, const uint8_t k[VAULT_HASH_LEN], json_t *value);
void peek_drop(struct peek *p, const uint8_t k[VAULT_HASH_LEN]);
void peek_clear(struct peek *p);

#endif
