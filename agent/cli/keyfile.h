/* Keeping the unseal key: in a file, or as a systemd credential encrypted for this host. */
#ifndef COUNTERSIGN_CLI_KEYFILE_H
#define COUNTERSIGN_CLI_KEYFILE_H

#include "base/mem.h"

struct keyfile {
    bool sealed_by_host; /* by systemd-creds, else in the clear */
    char *path;          /* where it is kept */
    int fd;              /* of the new file, when made and not yet written; else 0 */
    char tool[256];      /* systemd-creds */
};

/* Makes sure, before there is a key, that it can be kept. file NULL: as a credential, which needs
 * root and systemd-creds. 0, or -errno with a sentence in why[]. */
int keyfile_prepare(struct keyfile *k, const char *file, char *why, size_t whylen);
/* Keeps the key (text, one line). A credential from before is kept beside it. 0, or -errno with
 * why. */
int keyfile_store(struct keyfile *k, const char *key, char *why, size_t whylen);
/* Frees; removes a file that was made and never written. */
void keyfile_clear(struct keyfile *k);

#endif
