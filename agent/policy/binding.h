/* Role bindings: who (principals) may have what (PAM services, policies) under which conditions.
 *
 *   {"principals": ["group:dba"], "services": ["sshd", "sudo"], "policies": ["db-read"],
 *    "mfa": {"factors": ["totp", "recovery"], "max_age": "15m", "scope": "session"},
 *    "from": ["10.0.0.0/8", "local"], "hours": "Mon..Fri 08:00-18:00 Europe/Berlin",
 *    "assurance": "uid", "ttl": "1h", "max_ttl": "8h"}
 *
 * Principals are or'ed, conditions and'ed; an omitted condition isn't asked, an absent fact is
 * false. Unknown fields, empty conditions, unknown principal kinds are refused when written. */
#ifndef COUNTERSIGN_POLICY_BINDING_H
#define COUNTERSIGN_POLICY_BINDING_H

#include "base/json.h"
#include "base/terms.h"

enum binding_scope {
    BINDING_SCOPE_SESSION, /* proved in a live login session owned by this uid */
    BINDING_SCOPE_SOURCE,  /* sshd only: proved from the same address (and SSH key) */
};

#define BINDING_NAME_MAX 128
#define BINDING_SERVICE_MAX 64    /* bytes of a PAM service's name, [A-Za-z0-9._-] */
#define BINDING_PRINCIPAL_MAX 256 /* bytes of a user's or group's name */
#define BINDING_ITEMS_MAX 256     /* in each list */

struct binding;

/* Reads and checks the object. Lists may be arrays or comma-separated strings. mfa with max_age
 * omitted means: once in this session; `"mfa": true` is any factor in this session. Principals
 * here: user:NAME, group:NAME, uid:N, * (literal names: no patterns). Policy names are kept in
 * lower case; "root" is refused. Services or policies may be empty, not both. scope "source" asks
 * for max_age, services of exactly ["sshd"] and no policies. ttl and max_ttl are positive, and ttl
 * is at most max_ttl. A null is refused, since leaving out a condition by accident would open a
 * door. For the grammar of hours see hours.h. The binding's name: [A-Za-z0-9._@+-], 1 to
 * BINDING_NAME_MAX. Returns 0; -EINVAL with the reason in why[]; -ENOMEM. obj is borrowed and not
 * changed. zone_known (may be NULL = accept all well-formed names) says whether a time zone of
 * `hours` exists; it is never asked about UTC nor about a name with a dot, an empty part or a slash
 * in front. */
int binding_parse(const char *name, const json_t *obj, bool (*zone_known)(const char *zone),
                  struct binding **out, char *why, size_t whylen);
void binding_free(struct binding *b);
DEFINE_CLEANUP(struct binding *, binding_free)
const char *binding_name(const struct binding *b);
/* The normalised object (lists as arrays, durations in seconds), new. NULL on lack of memory. */
json_t *binding_to_json(const struct binding *b);

#endif
