/* What a policy is made of. Internal to policy/: for acl.c and acl_parse.c; decide.c asks
 * acl_rule_caps() and the name's hash. */
#ifndef COUNTERSIGN_POLICY_ACL_RULE_H
#define COUNTERSIGN_POLICY_ACL_RULE_H

#include "policy/acl.h"

/* Keys are in lower case. NULL where the path block has none. */
struct acl_rule_params {
    json_t *allowed;  /* {"key": [values]} */
    json_t *denied;   /* likewise */
    json_t *required; /* ["key"] */
};

struct acl_rule {
    char *text;                     /* the pattern as written */
    const char *pattern;            /* in text, behind a leading slash */
    struct acl_rule_params *params; /* NULL: no constraints */
    uint16_t len;                   /* of the pattern */
    uint16_t first;                 /* where its first wildcard stands; len when there is none */
    uint16_t segments;              /* how many segments are '+' */
    bool glob;                      /* ends in '*' */
    uint8_t caps;
};

/* Rules without wildcards come first, ordered by acl_rule_order(); the others follow, the one of
 * highest priority first. A pattern may stand there more than once. */
struct acl_policy {
    char name[ACL_NAME_MAX + 1];
    uint64_t hash; /* text_hash(name) */
    struct acl_rule *rules;
    size_t n_exact;
    size_t n;
};

static inline bool acl_rule_is_exact(const struct acl_rule *r)
{
    return !r->glob && r->segments == 0;
}

/* Any total order of exact patterns: <0, 0, >0. */
int acl_rule_order(const struct acl_rule *a, const struct acl_rule *b);
/* Vault's priority of patterns with wildcards: >0 when a's is higher, 0 for the same pattern. */
int acl_rule_priority(const struct acl_rule *a, const struct acl_rule *b);
/* What this policy alone says at the very pattern that decided: ACL_ bits, 0 for nothing. */
unsigned acl_rule_caps(const struct acl_policy *p, const struct acl_result *decided);

#endif
