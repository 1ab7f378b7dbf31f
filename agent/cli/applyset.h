/* A configuration kept as files, read whole and checked before anything is asked of the agent:
 *
 *   mounts/NAME.json                     {"type", "description", "options", "config"}
 *   policies/NAME.hcl                    Vault's policy language
 *   database/MOUNT/config/NAME.json      the fields of MOUNT/config/NAME, but "password_file" (a
 * path outside) for "password", which never stands in these files database/MOUNT/roles/NAME.json
 * the fields of MOUNT/roles/NAME bindings/NAME.json                   the object of
 * sys/bindings/NAME enrolment.json                       the object of sys/enrolment pam.json
 * {"services": ["sshd", "sudo"]}
 *
 * Each thing has this one place and spelling; whatever else lies there is a mistake, but for names
 * that begin with a dot, and README or README.md. */
#ifndef COUNTERSIGN_CLI_APPLYSET_H
#define COUNTERSIGN_CLI_APPLYSET_H

#include "base/json.h"

/* In the order in which they depend on each other. */
enum apply_kind {
    APPLY_MOUNT,
    APPLY_POLICY,
    APPLY_CONFIG,
    APPLY_ROLE,
    APPLY_BINDING,
    APPLY_ENROLMENT,
    APPLY_PAM,
    APPLY_KINDS
};

enum apply_change { APPLY_NONE = 0, APPLY_CREATE, APPLY_UPDATE, APPLY_DELETE };

struct apply_item {
    enum apply_kind kind;
    char *name;  /* "dba"; "database/config/shop"; of PAM the service */
    char *mount; /* of a configuration or role: the mount it belongs to; else NULL */
    char *file;  /* relative to the folder; NULL for what is only to be deleted */
    json_t *body;
    /* found out later */
    enum apply_change change;
    bool unchecked; /* its mount is yet to be made, so the agent could not be asked */
    bool done;
};

struct applyset {
    struct apply_item *item; /* sorted by kind, then name */
    size_t n;
    bool has_pam; /* there is a pam.json */
};
void applyset_clear(struct applyset *set);
#define _cleanup_applyset_ _cleanup_(applyset_clear)

/* Reads the folder. problems: an array that gets a sentence for each thing that is wrong. 0 (look
 * at problems), or -errno when the folder can't be read, or -ENOMEM. */
int applyset_read(const char *dir, struct applyset *set, json_t *problems);
/* Adds an item without a file. 0 or -ENOMEM. */
int applyset_add(struct applyset *set, enum apply_kind kind, const char *name,
                 enum apply_change change);
const struct apply_item *applyset_find(const struct applyset *set, enum apply_kind kind,
                                       const char *name);

/* "policy" and the like, for people; and the list's name in sys/managed, NULL for what is never
 * deleted. Configurations and roles share one. */
const char *applyset_kind(enum apply_kind kind);
const char *applyset_list(enum apply_kind kind);
/* Where it is on the agent; NULL for PAM. A new string. */
char *applyset_path(const struct apply_item *i);

#endif
