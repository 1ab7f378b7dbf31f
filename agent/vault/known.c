#include "vault/known.h"

#include <string.h>

/* FNV-1a. Who makes names meet in one slot makes them slower, no more. */
static size_t slot_of(enum keyring_name kind, const uint8_t *text, size_t n)
{
    uint32_t h = 2166136261U ^ (uint32_t)kind;
    for (size_t i = 0; i < n; i++)
        h = (h ^ text[i]) * 16777619U;
    return (h ^ h >> 16) % KNOWN_SLOTS;
}

/* The parts one behind the other, as they are hashed. 0: too long to be kept. */
static size_t join(const struct keyring_part *parts, size_t nparts, uint8_t text[KNOWN_TEXT_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < nparts; i++) {
        if (parts[i].n > KNOWN_TEXT_MAX - n)
            return 0;
        if (parts[i].n)
            memcpy(text + n, parts[i].p, parts[i].n);
        n += parts[i].n;
    }
    return n;
}

void known_hash(struct known *m, const struct keyring *ring, enum keyring_name kind,
                const char *personal, const struct keyring_part *parts, size_t nparts,
                uint8_t out[KEYRING_HASH])
{
    uint8_t text[KNOWN_TEXT_MAX];
    size_t n = join(parts, nparts, text);
    if (n == 0) {
        keyring_hash(ring, kind, personal, parts, nparts, out);
        return;
    }
    struct known_name *s = &m->slot[slot_of(kind, text, n)];
    if (s->len == n && s->kind == (uint8_t)kind && memcmp(s->text, text, n) == 0) {
        memcpy(out, s->k, KEYRING_HASH);
        return;
    }
    keyring_hash(ring, kind, personal, parts, nparts, out);
    s->len = (uint16_t)n;
    s->kind = (uint8_t)kind;
    memcpy(s->text, text, n);
    memcpy(s->k, out, KEYRING_HASH);
    m->any = true;
}

void known_clear(struct known *m)
{
    if (m->any)
        mem_wipe(m, sizeof(*m));
}
