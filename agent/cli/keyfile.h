/* Keeping the unseal key: in a file, or as a systemd credential encrypted for this host. */
#ifndef COUNTERSIGN_CLI_KEYFILE_H
#define COUNTERSIGN_CLI_KEYFILE_H

#include "base/mem.h"

struct keyfile {
    bool sealed_by_host; /* by systemd-creds, else in the clear */
    char *path;          /* where it is kept */
    int fd;              /* of the new file, when made and not yet written; else 0 */
    char tool[256];      /* systemd-creds */
    bool placed;         /* the key is at path now */
    char aside[256];     /* where the credential from before is kept; "" none */
};

/* Makes sure, before there is a key, that it can be kept. file NULL: as a credential, which needs
 * root, systemd-creds, and this host's own agent: the key of another one (in dev mode, on another
 * socket) must not take its place. address: of the agent. 0, or -errno with a sentence in why[]. */
int keyfile_prepare(struct keyfile *k, const char *file, const char *address, char *why,
                    size_t whylen);
/* Keeps the key (text, one line). A credential from before is kept beside it. 0, or -errno with
 * why. */
int keyfile_store(struct keyfile *k, const char *key, char *why, size_t whylen);
/* What was stored, read again from where it is kept (decrypted by systemd), into key (a new string
 * to be wiped). 0, or -errno with why. */
int keyfile_read_back(const struct keyfile *k, char **key, char *why, size_t whylen);
/* The new key is no good: the file from before is put back (or, if there was none, the new file
 * removed); what was not placed is left alone. 0 or -errno. */
int keyfile_undo(struct keyfile *k);
/* The new key is good: the credential that it replaced is removed. 0 or -errno. */
int keyfile_drop_old(const struct keyfile *k);
/* A credential of an earlier store of this host's agent, now that none is needed, is put aside,
 * where no unit finds it. 0, or -errno. */
int keyfile_retire(const char *address);
/* Frees; removes a file that was made and never written. */
void keyfile_clear(struct keyfile *k);

#endif
