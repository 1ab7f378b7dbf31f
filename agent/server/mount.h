/* The mount table: which engine answers below which path. */
#ifndef COUNTERSIGN_SERVER_MOUNT_H
#define COUNTERSIGN_SERVER_MOUNT_H

#include "base/effect.h"
#include "engine/engine.h"
#include "vault/vault.h"

#define MOUNT_E_NONE 1
#define MOUNT_E_REFUSED 2

struct mount {
    char *path; /* "database/" */
    const struct engine *engine;
    char space[40]; /* UUID: the engine's space in the store */
    char accessor[40];
    char *description;
    json_t *options;              /* object or NULL */
    int64_t default_ttl, max_ttl; /* seconds; 0 = the system's */
};

struct mounts;
struct mounts *mounts_new(void);
void mounts_free(struct mounts *m);
/* Reads the table from the store; on -errno it stays as it was. */
int mounts_load(struct mounts *m, struct vault *v);
void mounts_clear(struct mounts *m);
/* The mount that a path ("database/creds/x") lies below, NULL if none. */
const struct mount *mounts_find(const struct mounts *m, const char *path);
const struct mount *mounts_by_space(const struct mounts *m, const char *space);
size_t mounts_count(const struct mounts *m);
const struct mount *mounts_at(const struct mounts *m, size_t i);
/* path with or without its ending '/'. Reserved: sys, auth, identity, cubbyhole, … and anything
 * below or above an existing mount. Two changes of one path within a turn are refused, the second
 * one. */
int mounts_enable(struct mounts *m, struct vault *v, struct effects *e, const char *path,
                  const char *type, const char *description, json_t *options, int64_t default_ttl,
                  int64_t max_ttl, char *why, size_t whylen);
/* Removes the mount and all it kept. The caller has revoked its leases. */
int mounts_disable(struct mounts *m, struct vault *v, struct effects *e, const char *path,
                   char *why, size_t whylen);
int mounts_tune(struct mounts *m, struct vault *v, struct effects *e, const char *path,
                const json_t *change, char *why, size_t whylen);
/* As sys/mounts shows it. */
json_t *mounts_json(const struct mount *m);

#endif
