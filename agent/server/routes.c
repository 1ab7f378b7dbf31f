/* The route table: every path the agent answers, with what it takes to be let in.
 *
 * A row has a capability or an exempting flag; a unit test walks the rows and fails on one with
 * neither. */
#include "server/routes.h"

#include <errno.h>
#include <string.h>

#define GET VERB_GET
#define PUT VERB_PUT
#define DEL VERB_DELETE
#define LIST VERB_LIST
#define WRITE (ACL_CREATE | ACL_UPDATE)
#define ROOT_OUTSIDE (ROUTE_OUTSIDE | ROUTE_ROOT_PEER | ROUTE_BARE)
#define BARE (ROUTE_OUTSIDE | ROUTE_NO_IDENTITY | ROUTE_BARE | ROUTE_QUIET)

static const struct route rows[] = {
    /* seal */
    {GET, "sys/init", 0, BARE, NULL, route_init_status},
    {PUT, "sys/init", 0, ROUTE_OUTSIDE | ROUTE_ROOT_PEER | ROUTE_BARE, route_fields_init,
     route_init},
    {GET, "sys/seal-status", 0, BARE, NULL, route_seal_status},
    {PUT, "sys/unseal", 0, ROUTE_OUTSIDE | ROUTE_ROOT_PEER | ROUTE_BARE, route_fields_unseal,
     route_unseal},
    {PUT, "sys/seal", WRITE, ROUTE_SUDO | ROUTE_ROOT_OR_CAP, NULL, route_seal},
    {GET, "sys/health", 0, BARE, NULL, route_health},
    {GET, "sys/leader", 0, BARE, NULL, route_leader},
    {GET, "sys/status", 0, BARE & ~ROUTE_BARE, NULL, route_status},
    {GET, "sys/metrics", ACL_READ, ROUTE_ROOT_OR_CAP | ROUTE_WATCH | ROUTE_QUIET, NULL,
     route_metrics},
    {PUT, "sys/rotate", WRITE, ROUTE_SUDO, NULL, route_rotate},

    /* other keys */
    {GET, "sys/generate-root/attempt", 0, BARE, NULL, route_generate_root_status},
    {PUT, "sys/generate-root/attempt", 0, ROOT_OUTSIDE, route_fields_generate_root,
     route_generate_root_start},
    {DEL, "sys/generate-root/attempt", 0, ROOT_OUTSIDE, NULL, route_generate_root_cancel},
    {PUT, "sys/generate-root/update", 0, ROOT_OUTSIDE, route_fields_share,
     route_generate_root_update},
    {GET, "sys/rekey/init", 0, BARE, NULL, route_rekey_status},
    {PUT, "sys/rekey/init", 0, ROOT_OUTSIDE, route_fields_rekey, route_rekey_start},
    {DEL, "sys/rekey/init", 0, ROOT_OUTSIDE, NULL, route_rekey_cancel},
    {PUT, "sys/rekey/update", 0, ROOT_OUTSIDE, route_fields_share, route_rekey_update},
    {GET, "sys/rekey/verify", 0, BARE, NULL, route_rekey_verify_status},
    {PUT, "sys/rekey/verify", 0, ROOT_OUTSIDE, route_fields_share, route_rekey_verify},
    {DEL, "sys/rekey/verify", 0, ROOT_OUTSIDE, NULL, route_rekey_verify_restart},
    {GET, "sys/rekey-recovery-key/init", 0, BARE, NULL, route_rekey_status},
    {PUT, "sys/rekey-recovery-key/init", 0, ROOT_OUTSIDE, route_fields_rekey, route_rekey_start},
    {DEL, "sys/rekey-recovery-key/init", 0, ROOT_OUTSIDE, NULL, route_rekey_cancel},
    {PUT, "sys/rekey-recovery-key/update", 0, ROOT_OUTSIDE, route_fields_share, route_rekey_update},
    {GET, "sys/rekey-recovery-key/verify", 0, BARE, NULL, route_rekey_verify_status},
    {PUT, "sys/rekey-recovery-key/verify", 0, ROOT_OUTSIDE, route_fields_share, route_rekey_verify},
    {DEL, "sys/rekey-recovery-key/verify", 0, ROOT_OUTSIDE, NULL, route_rekey_verify_restart},
    {PUT, "sys/reseal/init", 0, ROOT_OUTSIDE, NULL, route_reseal_start},
    {DEL, "sys/reseal/init", 0, ROOT_OUTSIDE, NULL, route_reseal_cancel},
    {PUT, "sys/reseal/update", 0, ROOT_OUTSIDE, route_fields_reseal, route_reseal_finish},

    /* emergency codes */
    {GET, "sys/break-glass", ACL_READ, ROUTE_ROOT_OR_CAP, NULL, route_break_glass_list},
    {PUT, "sys/break-glass/{user}", 0, ROUTE_ROOT_PEER, route_fields_break_glass,
     route_break_glass_make},
    {DEL, "sys/break-glass/{user}", ACL_DELETE, ROUTE_SUDO | ROUTE_ROOT_OR_CAP, NULL,
     route_break_glass_revoke},

    {GET, "sys/hold", ACL_READ, ROUTE_ROOT_OR_CAP, NULL, route_hold},
    {PUT, "sys/hold/accept", WRITE, ROUTE_SUDO | ROUTE_ROOT_OR_CAP, NULL, route_hold_accept},

    /* snapshots */
    {PUT, "sys/snapshot", WRITE, ROUTE_SUDO | ROUTE_ROOT_OR_CAP, NULL, route_snapshot_take},
    {PUT, "sys/snapshot/read", WRITE, ROUTE_SUDO | ROUTE_ROOT_OR_CAP | ROUTE_QUIET,
     route_fields_snapshot, route_snapshot_read},
    {DEL, "sys/snapshot", ACL_DELETE, ROUTE_SUDO | ROUTE_ROOT_OR_CAP, NULL, route_snapshot_drop},
    {PUT, "sys/restore", 0, ROUTE_OUTSIDE | ROUTE_ROOT_PEER | ROUTE_BARE, route_fields_restore,
     route_restore_begin},
    {PUT, "sys/restore/share", 0, ROUTE_OUTSIDE | ROUTE_ROOT_PEER | ROUTE_BARE,
     route_fields_restore_share, route_restore_share},
    {PUT, "sys/restore/data", 0, ROUTE_OUTSIDE | ROUTE_ROOT_PEER | ROUTE_BARE | ROUTE_QUIET,
     route_fields_restore_data, route_restore_data},
    {PUT, "sys/restore/finish", 0, ROUTE_OUTSIDE | ROUTE_ROOT_PEER | ROUTE_BARE, NULL,
     route_restore_finish},
    {DEL, "sys/restore", 0, ROUTE_OUTSIDE | ROUTE_ROOT_PEER | ROUTE_BARE, NULL,
     route_restore_cancel},

    /* policies, bindings */
    {GET | LIST, "sys/policies/acl", ACL_LIST | ACL_READ, ROUTE_TOP, NULL, route_policy_list},
    {GET, "sys/policies/acl/{name}", ACL_READ, ROUTE_TOP, NULL, route_policy_read},
    {PUT, "sys/policies/acl/{name}", WRITE, ROUTE_CHECK, route_fields_policy, route_policy_write},
    {DEL, "sys/policies/acl/{name}", ACL_DELETE, ROUTE_CHECK, NULL, route_policy_delete},
    {GET | LIST, "sys/policy", ACL_LIST | ACL_READ, ROUTE_TOP, NULL, route_policy_list},
    {GET, "sys/policy/{name}", ACL_READ, ROUTE_TOP, NULL, route_policy_read},
    {PUT, "sys/policy/{name}", WRITE, ROUTE_CHECK, route_fields_policy, route_policy_write},
    {DEL, "sys/policy/{name}", ACL_DELETE, ROUTE_CHECK, NULL, route_policy_delete},
    {GET | LIST, "sys/bindings", ACL_LIST | ACL_READ, 0, NULL, route_binding_list},
    {GET, "sys/bindings/{name}", ACL_READ, 0, NULL, route_binding_read},
    {PUT, "sys/bindings/{name}", WRITE, ROUTE_CHECK, NULL, route_binding_write},
    {DEL, "sys/bindings/{name}", ACL_DELETE, ROUTE_CHECK, NULL, route_binding_delete},
    {GET, "sys/enrolment", ACL_READ, 0, NULL, route_enrolment_read},
    {PUT, "sys/enrolment", WRITE, ROUTE_CHECK, NULL, route_enrolment_write},
    {GET, "sys/managed", ACL_READ, 0, NULL, route_managed_read},
    {PUT, "sys/managed", WRITE, 0, route_fields_managed, route_managed_write},
    {PUT, "sys/managed/preview", WRITE, 0, route_fields_preview, route_managed_preview},
    {PUT, "sys/capabilities-self", 0, ROUTE_SELF | ROUTE_TOP, route_fields_paths,
     route_capabilities_self},
    {PUT, "sys/capabilities", WRITE, ROUTE_SUDO | ROUTE_TOP, route_fields_paths,
     route_capabilities},
    {PUT, "sys/explain", WRITE | ACL_READ, ROUTE_SELF_OR_CAP | ROUTE_ROOT_OR_CAP,
     route_fields_explain, route_explain},

    /* mounts */
    {GET, "sys/mounts", ACL_READ, ROUTE_TOP, NULL, route_mounts},
    {GET, "sys/mounts/{path...}/tune", ACL_READ, ROUTE_TOP, NULL, route_mount_tune_read},
    {PUT, "sys/mounts/{path...}/tune", WRITE, ROUTE_CHECK, NULL, route_mount_tune},
    {GET, "sys/mounts/{path...}", ACL_READ, ROUTE_TOP, NULL, route_mount_read},
    {PUT, "sys/mounts/{path...}", WRITE, ROUTE_CHECK, route_fields_mount, route_mount_enable},
    {DEL, "sys/mounts/{path...}", ACL_DELETE, ROUTE_CHECK, NULL, route_mount_disable},
    {GET, "sys/auth", ACL_READ, ROUTE_TOP, NULL, route_auth_mounts},
    {GET, "sys/internal/ui/mounts", 0, ROUTE_SELF, NULL, route_ui_mounts},
    {GET, "sys/internal/ui/mounts/{path...}", 0, ROUTE_SELF, NULL, route_ui_mount},

    /* leases */
    {GET, "sys/leases", ACL_READ, ROUTE_SELF_OR_CAP | ROUTE_ROOT_OR_CAP | ROUTE_WATCH, NULL,
     route_lease_list},
    {GET, "sys/leases/count", ACL_READ, 0, NULL, route_lease_count},
    {PUT, "sys/leases/lookup", WRITE, ROUTE_SELF_OR_CAP, route_fields_lease, route_lease_lookup},
    {LIST, "sys/leases/lookup", ACL_LIST, ROUTE_SUDO, NULL, route_lease_tree},
    {LIST, "sys/leases/lookup/{path...}", ACL_LIST, ROUTE_SUDO, NULL, route_lease_tree},
    {PUT, "sys/leases/renew", WRITE, ROUTE_SELF_OR_CAP, route_fields_lease, route_lease_renew},
    {PUT, "sys/leases/renew/{path...}", WRITE, ROUTE_SELF_OR_CAP, route_fields_lease,
     route_lease_renew},
    {PUT, "sys/renew", WRITE, ROUTE_SELF_OR_CAP, route_fields_lease, route_lease_renew},
    {PUT, "sys/leases/revoke", WRITE, ROUTE_SELF_OR_CAP, route_fields_lease, route_lease_revoke},
    {PUT, "sys/leases/revoke/{path...}", WRITE, ROUTE_SELF_OR_CAP, route_fields_lease,
     route_lease_revoke},
    {PUT, "sys/revoke", WRITE, ROUTE_SELF_OR_CAP, route_fields_lease, route_lease_revoke},
    {PUT, "sys/leases/revoke-prefix/{path...}", WRITE, ROUTE_SUDO, route_fields_lease,
     route_lease_revoke_prefix},
    {PUT, "sys/leases/revoke-force/{path...}", WRITE, ROUTE_SUDO, NULL, route_lease_revoke_force},
    {PUT, "sys/leases/revoke-principal", WRITE, ROUTE_SELF_OR_CAP, route_fields_lease_principal,
     route_lease_revoke_principal},

    /* people, factors, sessions, audit */
    {GET | LIST, "sys/people", ACL_LIST | ACL_READ, ROUTE_ROOT_OR_CAP, NULL, route_people_list},
    {GET, "sys/people/{user}", ACL_READ, ROUTE_ROOT_OR_CAP, NULL, route_person_read},
    {PUT, "sys/people/{user}/offboard", WRITE, ROUTE_SUDO | ROUTE_ROOT_OR_CAP,
     route_fields_offboard, route_person_offboard},
    {DEL, "sys/people/{user}/lock", ACL_DELETE, ROUTE_SUDO | ROUTE_ROOT_OR_CAP, NULL,
     route_person_unlock},
    {GET, "sys/factors/{user}", ACL_READ, ROUTE_SELF_OR_CAP | ROUTE_ROOT_OR_CAP, NULL,
     route_factor_list},
    {PUT, "sys/factors/{user}/totp", WRITE, ROUTE_SELF_OR_CAP | ROUTE_ROOT_OR_CAP,
     route_fields_totp, route_factor_totp},
    {PUT, "sys/factors/{user}/totp/confirm", WRITE, ROUTE_SELF_OR_CAP | ROUTE_ROOT_OR_CAP,
     route_fields_totp_confirm, route_factor_totp_confirm},
    {PUT, "sys/factors/{user}/totp/import", WRITE, ROUTE_SELF_OR_CAP | ROUTE_ROOT_OR_CAP,
     route_fields_totp_import, route_factor_totp_import},
    {PUT, "sys/factors/{user}/recovery", WRITE, ROUTE_SELF_OR_CAP | ROUTE_ROOT_OR_CAP, NULL,
     route_factor_recovery},
    {PUT, "sys/factors/{user}/passphrase", WRITE, ROUTE_SELF_OR_CAP | ROUTE_ROOT_OR_CAP,
     route_fields_passphrase, route_factor_passphrase},
    {DEL, "sys/factors/{user}", ACL_DELETE, ROUTE_SELF_OR_CAP | ROUTE_ROOT_OR_CAP, NULL,
     route_factor_reset},
    {DEL, "sys/factors/{user}/{type}", ACL_DELETE, ROUTE_SELF_OR_CAP | ROUTE_ROOT_OR_CAP, NULL,
     route_factor_remove},
    {GET, "sys/sessions", ACL_READ, ROUTE_SELF_OR_CAP | ROUTE_ROOT_OR_CAP | ROUTE_WATCH, NULL,
     route_sessions},
    {GET, "sys/logins", ACL_READ, ROUTE_ROOT_OR_CAP | ROUTE_WATCH, NULL, route_logins},
    {GET, "sys/audit/head", ACL_READ, ROUTE_ROOT_OR_CAP | ROUTE_QUIET, NULL, route_audit_head},
    {PUT, "sys/audit/verify", WRITE | ACL_READ, ROUTE_ROOT_OR_CAP | ROUTE_QUIET,
     route_fields_audit_verify, route_audit_verify},

    /* tokens */
    {PUT, "auth/token/create", WRITE, 0, route_fields_token_create, route_token_create},
    {PUT, "auth/token/create-orphan", WRITE, ROUTE_SUDO, route_fields_token_create,
     route_token_create_orphan},
    {GET, "auth/token/lookup-self", 0, ROUTE_SELF, NULL, route_token_lookup_self},
    {PUT, "auth/token/lookup-self", 0, ROUTE_SELF, NULL, route_token_lookup_self},
    {PUT, "auth/token/lookup", WRITE, 0, route_fields_token, route_token_lookup},
    {PUT, "auth/token/lookup-accessor", WRITE, 0, route_fields_accessor,
     route_token_lookup_accessor},
    {PUT, "auth/token/renew-self", 0, ROUTE_SELF, route_fields_token, route_token_renew_self},
    {PUT, "auth/token/renew", WRITE, 0, route_fields_token, route_token_renew},
    {PUT, "auth/token/renew-accessor", WRITE, 0, route_fields_accessor, route_token_renew_accessor},
    {PUT, "auth/token/revoke-self", 0, ROUTE_SELF, NULL, route_token_revoke_self},
    {PUT, "auth/token/revoke", WRITE, 0, route_fields_token, route_token_revoke},
    {PUT, "auth/token/revoke-orphan", WRITE, ROUTE_SUDO, route_fields_token,
     route_token_revoke_orphan},
    {PUT, "auth/token/revoke-accessor", WRITE, 0, route_fields_accessor,
     route_token_revoke_accessor},
    {LIST, "auth/token/accessors", ACL_LIST, ROUTE_SUDO, NULL, route_token_accessors},

    /* everything else belongs to an engine, but for our own prefixes */
    {GET | PUT | DEL | LIST | VERB_PATCH, "{path...}", 0, ROUTE_ENGINE | ROUTE_CHECK, NULL,
     route_engine},
};

const struct route *routes_all(size_t *n)
{
    *n = ARRAY_LEN(rows);
    return rows;
}

/* --- Matching
 * ------------------------------------------------------------------------------------- */

/* A piece of the path that a {name} took. */
struct taken {
    char name[24];
    const char *p;
    size_t n;
};

static bool match(const char *pattern, const char *path, struct taken *taken, size_t n_taken);

static bool match_param(const char *pattern, const char *path, struct taken *taken, size_t n_taken)
{
    const char *close = strchr(pattern, '}');
    bool rest = close - pattern > 4 && strncmp(close - 3, "...", 3) == 0;
    size_t name_len = (size_t)(close - pattern) - 1 - (rest ? 3 : 0);
    struct taken *t = &taken[n_taken];
    memcpy(t->name, pattern + 1, name_len);
    t->name[name_len] = '\0';
    t->p = path;
    if (!rest) {
        t->n = strcspn(path, "/");
        return t->n > 0 && match(close + 1, path + t->n, taken, n_taken + 1);
    }
    for (t->n = strlen(path); t->n > 0; t->n--) {
        if (match(close + 1, path + t->n, taken, n_taken + 1))
            return true;
    }
    return false;
}

static bool match(const char *pattern, const char *path, struct taken *taken, size_t n_taken)
{
    while (*pattern && *pattern != '{' && *pattern == *path) {
        pattern++;
        path++;
    }
    if (*pattern == '{' && n_taken < REQUEST_PARAMS)
        return match_param(pattern, path, taken, n_taken);
    return *pattern == '\0' && (*path == '\0' || strcmp(path, "/") == 0);
}

static bool ours(const char *path)
{
    return strncmp(path, "sys/", 4) == 0 || strncmp(path, "auth/", 5) == 0;
}

static bool keep(struct request *r, const struct taken *taken)
{
    for (size_t i = 0; i < REQUEST_PARAMS && taken[i].p; i++) {
        memcpy(r->param[i].name, taken[i].name, sizeof(taken[i].name));
        r->param[i].value = mem_dup(taken[i].p, taken[i].n);
        if (!r->param[i].value)
            return false;
    }
    return true;
}

/* Whether the pattern's own text, up to its first parameter, is how the path begins: most rows are
 * passed over by that. */
static bool begins_alike(const char *pattern, const char *path)
{
    while (*pattern && *pattern != '{' && *pattern == *path) {
        pattern++;
        path++;
    }
    return *pattern == '\0' || *pattern == '{';
}

/* Our own rows all begin with "sys/" or "auth/" (a test walks them), so that a path is either
 * theirs or an engine's. */
const struct route *routes_find(unsigned verb, const char *path, struct request *r, unsigned *verbs)
{
    bool own = ours(path);
    *verbs = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool engine = rows[i].flags & ROUTE_ENGINE;
        if (engine == own || !begins_alike(rows[i].pattern, path))
            continue;
        struct taken taken[REQUEST_PARAMS + 1] = {0};
        if (!match(rows[i].pattern, path, taken, 0))
            continue;
        *verbs |= rows[i].verbs;
        if (rows[i].verbs & verb)
            return !r || keep(r, taken) ? &rows[i] : NULL;
    }
    return NULL;
}
