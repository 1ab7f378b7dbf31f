#include "vault/peek.h"

#include <string.h>

/* Keys are keyed hashes: nobody chooses which of them meet in one slot. */
static size_t slot_of(const uint8_t k[VAULT_HASH_LEN])
{
    return (k[0] | (size_t)k[1] << 8) % PEEK_SLOTS;
}

json_t *peek_find(const struct peek *p, const uint8_t k[VAULT_HASH_LEN])
{
    size_t i = slot_of(k);
    if (!p->slot[i].value || memcmp(p->slot[i].k, k, VAULT_HASH_LEN) != 0)
        return NULL;
    return json_incref(p->slot[i].value);
}

void peek_keep(struct peek *p, const uint8_t k[VAULT_HASH_LEN], json_t *value)
{
    size_t i = slot_of(k);
    json_decref(p->slot[i].value);
    p->slot[i].value = json_incref(value);
    memcpy(p->slot[i].k, k, VAULT_HASH_LEN);
    p->any = true;
}

void peek_drop(struct peek *p, const uint8_t k[VAULT_HASH_LEN])
{
    size_t i = slot_of(k);
    if (!p->slot[i].value || memcmp(p->slot[i].k, k, VAULT_HASH_LEN) != 0)
        return;
    json_decref(p->slot[i].value);
    p->slot[i].value = NULL;
}

void peek_clear(struct peek *p)
{
    if (!p->any)
        return;
    for (size_t i = 0; i < PEEK_SLOTS; i++)
        json_decref(p->slot[i].value);
    memset(p, 0, sizeof(*p));
}
