/* The decision: one pure function from facts and rules to a verdict and its explanation.
 *
 * Rules (design, "Who may have what"):
 *  1. Principals or'ed, conditions and'ed; an absent fact is false.
 *  2. `services` grants PAM access, `policies` grants API paths.
 *  3. The policies of all satisfied bindings are united under Vault's rules; a policy's deny counts
 *     whenever its binding's principals match, even where conditions fail.
 *  4. TTLs come from the satisfied binding that allows the path with the largest max_ttl (one that
 *     is named counts before none; then the larger ttl; then the order of the bindings).
 *  5. PAM auth: a satisfied binding for the service: allow without a prompt; else challenge for a
 *     binding that fails on mfa only (first one whose factors the person has enrolled; then the
 *     largest max_age, where none counts as the largest); no binding names the service: the
 * built-in requirement, any one enrolled factor (challenge; allowed without by exemption or grace);
 *     bindings name it but no principals match: deny.
 *     PAM account: the same decision afresh, except that a service which no binding names is none
 * of our business (IGNORE); and a challenge is only returned as such, the caller turns it into a
 *     denial where it must not prompt.
 *  6. scope session: a proof in this live session; scope source: sshd only, a proof from this
 * source, max_age required.
 *  7. Enrolment grace and exemption satisfy `mfa` for services, never for policies. `from` matches
 *     the numeric source, never a name ("local" = no remote host). */
#ifndef COUNTERSIGN_POLICY_DECIDE_H
#define COUNTERSIGN_POLICY_DECIDE_H

#include "policy/acl.h"
#include "policy/binding.h"

struct decide_proof {
    enum factor factor;
    int64_t age;  /* seconds since it was proved, on the boot clock; negative is never valid */
    bool session; /* in the caller's live session */
    bool source;  /* by the same user, address and key */
};

/* Everything the agent knows of who asks. Zero means unknown. Groups and an exemption are a
 * person's: without a user they count for nothing. */
struct decide_facts {
    const char *user; /* NSS name; NULL: no person (uid:0 without a session, unknown uid) */
    bool has_uid;
    uint32_t uid;
    const char *const *groups; /* NSS group names */
    size_t n_groups;
    enum assurance assurance;
    bool has_source;    /* a login source is known (PAM, or a recorded session) */
    const char *source; /* numeric address; "" = local; NULL = remote but not numeric */
    const struct decide_proof *proofs;
    size_t n_proofs;
    unsigned enrolled;      /* factors this person has */
    bool exempt;            /* by group or by grace: mfa counts as met for services */
    const char *exempt_why; /* "grace until 2026-12-01", "exempt group robots" */
    int64_t now;            /* wall-clock seconds */
    /* Seconds east of UTC of a zone at a time. 0 or -errno (the condition is then false). */
    int (*zone_offset)(const char *zone, int64_t when, int *offset);
};

/* The rules in force. */
struct decide_rules {
    const struct binding *const *bindings;
    size_t n_bindings;
    const struct acl_policy *const *policies;
    size_t n_policies;
};

enum decide_verdict {
    DECIDE_DENY = 0,
    DECIDE_ALLOW,
    DECIDE_CHALLENGE, /* would be allowed once one of `factors` is proved now */
    DECIDE_IGNORE,    /* PAM account for a service nobody named */
};

struct decision {
    enum decide_verdict verdict;
    unsigned factors;     /* CHALLENGE: those of which one must be proved (enrolled or not) */
    bool mfa_would_help;  /* DENY on an API path: only mfa was missing (for the error text) */
    int64_t ttl, max_ttl; /* seconds; 0: the binding names none */
    char binding[ACL_NAME_MAX + 1]; /* the binding that decided, "" if none */
    char policy[ACL_NAME_MAX + 1];
    char rule[ACL_PATH_MAX + 1]; /* the path pattern that decided */
    char why[512];               /* one sentence for a person: the rule that decided */
    struct acl_result acl;       /* API: what decided, for acl_check_params() */
    json_t *trace;               /* when asked for: each binding, each condition; the caller's */
};

enum decide_hook { DECIDE_PAM_AUTH, DECIDE_PAM_ACCOUNT };

/* Fills *d, whatever stood there (a zeroed decision means deny; decision_clear() it afterwards).
 * trace: also fill d->trace, NULL on lack of memory:
 *   {"verdict", "why", "binding", "policy", "rule" (null where there is none),
 *    "bindings": [{"name", "principal" (the one that matched, or null), "satisfied",
 *                  "conditions": [{"condition", "met", "detail"}], "policies", "services"}],
 *    "principals": [of the caller]}
 * Lack of memory denies. What is shown of names is made printable. */
void decide_pam(const struct decide_rules *rules, const struct decide_facts *f, const char *service,
                enum decide_hook hook, bool trace, struct decision *d);
/* need: ACL_ bits of which ONE must be granted ("create or update" is two bits); sudo additionally
 * needs ACL_SUDO when need_sudo. path has no leading slash. */
void decide_path(const struct decide_rules *rules, const struct decide_facts *f, const char *path,
                 unsigned need, bool need_sudo, bool trace, struct decision *d);
/* The policies in force for these facts, for issuing a token: names of the satisfied bindings'
 * policies, and "!name" for a policy whose denials alone count (rule 3), so that nobody sheds a
 * denial by asking for a token. A new array, or NULL on lack of memory. */
json_t *decide_policies(const struct decide_rules *rules, const struct decide_facts *f);
/* The capabilities on a path for these facts: ACL_ bits, ACL_DENY alone when denied, 0 for none
 * (and on lack of memory). */
unsigned decide_caps(const struct decide_rules *rules, const struct decide_facts *f,
                     const char *path);
void decision_clear(struct decision *d);

#endif
