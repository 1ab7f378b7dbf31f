/* People and groups from NSS. These functions may hang (LDAP, SSSD), so they run on the worker pool
 * only; their results are plain data. getpwnam_r(3), getgrouplist(3). */
#ifndef COUNTERSIGN_IDENTITY_PERSON_H
#define COUNTERSIGN_IDENTITY_PERSON_H

#include <sys/types.h>

#include "base/mem.h"

#define PERSON_NAME_MAX 256
#define PERSON_GROUPS_MAX 1024

struct person {
    bool exists;
    char name[PERSON_NAME_MAX + 1];
    uid_t uid;
    size_t n_groups;
    char **groups; /* names, owned */
};

/* Whether a name may be a user name at all: 1..PERSON_NAME_MAX bytes of UTF-8 without control
 * bytes, '/', ':' or white space, not beginning with '-'. */
bool person_valid_name(const char *name);

/* By name, or by uid (name NULL). Returns 0 with exists = false when NSS knows no such person
 * (sshd's made-up names included); -errno when NSS failed (then nothing is known: fail closed). */
int person_lookup(const char *name, uid_t uid, struct person **out);
void person_free(struct person *p);
DEFINE_CLEANUP(struct person *, person_free)

#endif
