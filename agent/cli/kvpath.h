/* Where a KV secret is: which mount, which version, which API path. */
#ifndef COUNTERSIGN_CLI_KVPATH_H
#define COUNTERSIGN_CLI_KVPATH_H

#include "cli/call.h"

struct kvpath {
    bool v2;
    char *mount; /* "secret/" */
    char *rest;  /* "app/db", without slashes around; "" for the mount itself */
};

void kvpath_clear(struct kvpath *k);
#define _cleanup_kvpath_ _cleanup_(kvpath_clear)

/* Asks the agent which mount a path lies in (the preflight of vault's kv commands). arg is
 * "secret/app", or with -mount=secret only "app"; Vault's "secret/data/app" is accepted for v2.
 * Returns an exit code. */
int kvpath_find(struct cli *c, const char *arg, struct kvpath *k);
/* The API path for a kind of request ("data", "metadata", "delete", …; left out for v1). NULL on
 * lack of memory. */
char *kvpath_api(const struct kvpath *k, const char *kind);

#endif
