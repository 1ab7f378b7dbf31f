/* ACL policies as Vault's: paths with capabilities, `+` and `*`, deny wins, the documented
 * priority. Semantics follow Vault's "Policies" concept page. Pure: memory only. */
#ifndef COUNTERSIGN_POLICY_ACL_H
#define COUNTERSIGN_POLICY_ACL_H

#include "base/json.h"

enum acl_cap {
    ACL_CREATE = 1 << 0,
    ACL_READ = 1 << 1,
    ACL_UPDATE = 1 << 2,
    ACL_DELETE = 1 << 3,
    ACL_LIST = 1 << 4,
    ACL_SUDO = 1 << 5,
    ACL_PATCH = 1 << 6,
    ACL_DENY = 1 << 7,
};

#define ACL_NAME_MAX 128
#define ACL_PATH_MAX 1024
#define ACL_RULES_MAX 4096 /* path blocks in one policy */
#define ACL_PARAMS_MAX 16  /* constrained rules of one pattern; more of them refuse every body */

struct acl_policy;

/* Parses a policy in HCL or JSON (base/hcl.h). Path blocks may carry capabilities,
 * allowed_parameters, denied_parameters, required_parameters (all enforced), and the old `policy =
 * "read|write|sudo|deny"` shorthand; anything else is refused (a limit that is not understood must
 * not be silently dropped). So are patterns that would not do what they seem to: a '*' elsewhere
 * than at the end, a template
 * ("{{"), a path block without any capability. One leading slash of a pattern is dropped; the same
 * pattern given twice is united. The name is kept in lower case, [a-z0-9._@:/+-], and "root" is
 * nothing special here. A policy without path blocks is allowed and grants nothing.
 * Returns 0; -EINVAL with the reason in why[]; -ENOMEM. */
int acl_parse(const char *name, const char *text, size_t n, struct acl_policy **out, char *why,
              size_t whylen);
void acl_free(struct acl_policy *p);
DEFINE_CLEANUP(struct acl_policy *, acl_free)
const char *acl_name(const struct acl_policy *p);
/* Whether any of its paths is a denial. */
bool acl_denies(const struct acl_policy *p);

/* One policy in force. deny_only: only its deny rules count (a binding whose principals match but
 * whose conditions fail). */
struct acl_use {
    const struct acl_policy *policy;
    bool deny_only;
};

struct acl_result {
    unsigned caps; /* ACL_ bits; ACL_DENY alone when denied; 0 = nothing granted */
    const struct acl_policy *policy; /* the policy that decided (the first of equals; the denying
                                        one when denied); NULL when no rule matches */
    const char *path;                /* its path pattern as written; NULL likewise */
    const void *rule;                /* the room's own, as are those for acl_check_params(): */
    const void *params[ACL_PARAMS_MAX];
    size_t n_params; /* more than ACL_PARAMS_MAX: too many to check */
};

/* What the policies together say of a request path (no leading slash; a list request's path ends in
 * '/'). The pattern of highest priority decides alone; the same pattern in several policies is
 * united; deny wins there. Never fails; nothing matching is caps = 0.
 *
 * Vault lets a rule without the trailing slash match a list request; so it is tried here too, after
 * the path itself (exact patterns: with the slash, then without; then those with wildcards in the
 * same order), and then grants no more than list (and sudo). The result points into the policies.
 */
void acl_check(const struct acl_use *uses, size_t n, const char *path, struct acl_result *out);

/* Whether the body's top-level parameters are allowed by what decided: for requests that create,
 * update or patch (Vault asks for no others). 0, or -EACCES with the reason in why[]. body may be
 * NULL. Names compare without regard to (ASCII) case; values may begin or end in '*'. Of several
 * rules of the same pattern, required and denied parameters add up, the allowed ones are united,
 * and a rule without constraints lifts none. A list is looked at item by item (as Vault does
 * since 1.21), and so is a string with commas, which many fields take for a list: every part must
 * be allowed, none may be denied. */
int acl_check_params(const struct acl_result *r, const json_t *body, char *why, size_t whylen);

/* The names in alphabetical order, as in Vault's sys/capabilities; ["deny"] for none. A new array
 * or NULL. */
json_t *acl_caps_json(unsigned caps);
const char *acl_cap_name(enum acl_cap cap);

#endif
