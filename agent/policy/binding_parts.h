/* What a binding is made of. Internal to policy/: written by binding.c, read by condition.c,
 * decide.c and explain.c. */
#ifndef COUNTERSIGN_POLICY_BINDING_PARTS_H
#define COUNTERSIGN_POLICY_BINDING_PARTS_H

#include "policy/binding.h"
#include "policy/cidr.h"
#include "policy/hours.h"

enum binding_principal_kind {
    BINDING_ANYBODY, /* "*" */
    BINDING_USER,
    BINDING_GROUP,
    BINDING_UID,
};

struct binding_principal {
    enum binding_principal_kind kind;
    uint32_t uid;
    uint64_t hash;    /* text_hash(name) */
    const char *name; /* behind the colon */
    const char *text;
};

struct binding_policy {
    uint64_t hash; /* text_hash(name) */
    const char *name;
};

enum binding_condition {
    BINDING_MFA = 1 << 0,
    BINDING_FROM = 1 << 1,
    BINDING_HOURS = 1 << 2,
    BINDING_ASSURANCE = 1 << 3,
};

struct binding_mfa {
    unsigned factors;
    int64_t max_age; /* seconds; 0: any age in this session */
    enum binding_scope scope;
};

struct binding {
    char name[BINDING_NAME_MAX + 1];
    json_t *object; /* the normalised object; owns every string below */
    struct binding_principal *principals;
    size_t n_principals;
    struct binding_policy *policies;
    size_t n_policies;
    const json_t *services; /* array of strings */
    unsigned conditions;    /* which are asked: bits of enum binding_condition */
    struct binding_mfa mfa;
    struct cidr *from;
    size_t n_from;
    struct hours *hours;
    enum assurance assurance;
    int64_t ttl, max_ttl; /* 0: none named */
};

#endif
