/* Many leases at once: visiting, counting, revoking all of a kind. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lease/inner.h"

/* --- Visiting ------------------------------------------------------------------------------------
 */

#define ENOUGH (-ECANCELED)

struct visit {
    const char *prefix;
    size_t limit, seen;
    lease_fn fn;
    void *data;
    int failed; /* what fn returned */
};

/* A prefix ends where a segment does: "a/b" is not a prefix of "a/bc". */
static bool below(const char *id, const char *prefix)
{
    size_t n = prefix ? strlen(prefix) : 0;
    if (n == 0)
        return true;
    return strncmp(id, prefix, n) == 0 && (prefix[n - 1] == '/' || id[n] == '/' || id[n] == '\0');
}

static int visit_one(const struct record *r, void *data)
{
    struct visit *v = data;
    if (!below(r->id, v->prefix))
        return 0;
    _cleanup_json_ json_t *lease = NULL;
    int e = lease_parse(r, &lease);
    if (e != 0)
        return e;
    v->failed = v->fn(lease, v->data);
    if (v->failed < 0)
        return v->failed;
    return v->limit && ++v->seen >= v->limit ? ENOUGH : 0;
}

int lease_each(struct leases *l, const char *principal, const char *prefix, size_t limit,
               lease_fn fn, void *data)
{
    struct visit v = {.prefix = prefix, .limit = limit, .fn = fn, .data = data};
    int e;
    if (!principal)
        e = record_pass(l->vault, RECORD_LEASE, 0, visit_one, &v, NULL);
    else if (!principal[0] || strlen(principal) > RECORD_ID_MAX)
        return 0;
    else
        e = record_pass_key(l->vault, RECORD_LEASE, LEASE_BY_PRINCIPAL, principal, 0, visit_one, &v,
                            NULL);
    if (v.failed < 0)
        return v.failed;
    return e == ENOUGH ? 0 : e;
}

int lease_each_state(struct leases *l, const char *state, size_t limit, lease_fn fn, void *data)
{
    struct visit v = {.limit = limit, .fn = fn, .data = data};
    if (!state[0] || strlen(state) > RECORD_ID_MAX)
        return 0;
    int e = record_pass_key(l->vault, RECORD_LEASE, LEASE_BY_STATE, state, 0, visit_one, &v, NULL);
    if (v.failed < 0)
        return v.failed;
    return e == ENOUGH ? 0 : e;
}

/* --- Revoking all of a kind ----------------------------------------------------------------------
 */

struct purge {
    struct leases *leases;
    const char *prefix;
    const char *reason;
    int64_t now;
    size_t *n;
    json_t *ids;
};

static int purge_one(const struct record *r, void *data)
{
    struct purge *p = data;
    if (!below(r->id, p->prefix))
        return 0;
    _cleanup_json_ json_t *lease = NULL;
    int e = lease_parse(r, &lease);
    if (e == 0)
        e = lease_revoke_row(p->leases, lease, p->reason, false, p->now);
    if (e != 0)
        return e;
    ++*p->n;
    if (p->ids && json_array_append_new(p->ids, json_string(r->id)) < 0)
        return -ENOMEM;
    return 0;
}

static int purge_key(struct leases *l, enum lease_slot slot, const char *value, struct purge *p)
{
    *p->n = 0;
    if (!value || !value[0] || strlen(value) > RECORD_ID_MAX)
        return 0;
    return record_pass_key(l->vault, RECORD_LEASE, slot, value, 0, purge_one, p, NULL);
}

int lease_revoke_prefix(struct leases *l, const char *prefix, const char *reason, int64_t now_ms,
                        size_t *n, json_t *ids)
{
    struct purge p = {
        .leases = l, .prefix = prefix, .reason = reason, .now = now_ms, .n = n, .ids = ids};
    *n = 0;
    return record_pass(l->vault, RECORD_LEASE, 0, purge_one, &p, NULL);
}

int lease_revoke_prefix_some(struct leases *l, const char *prefix, const char *reason,
                             int64_t now_ms, struct record_slice *s, size_t *n, json_t *ids)
{
    struct purge p = {
        .leases = l, .prefix = prefix, .reason = reason, .now = now_ms, .n = n, .ids = ids};
    return record_pass_slice(l->vault, RECORD_LEASE, -1, NULL, s, purge_one, &p);
}

int lease_revoke_principal_some(struct leases *l, const char *principal, const char *reason,
                                int64_t now_ms, struct record_slice *s, size_t *n, json_t *ids)
{
    struct purge p = {.leases = l, .reason = reason, .now = now_ms, .n = n, .ids = ids};
    s->more = false;
    if (!principal[0] || strlen(principal) > RECORD_ID_MAX)
        return 0;
    return record_pass_slice(l->vault, RECORD_LEASE, LEASE_BY_PRINCIPAL, principal, s, purge_one,
                             &p);
}

int lease_revoke_principal(struct leases *l, const char *principal, const char *reason,
                           int64_t now_ms, size_t *n, json_t *ids)
{
    struct purge p = {.leases = l, .reason = reason, .now = now_ms, .n = n, .ids = ids};
    return purge_key(l, LEASE_BY_PRINCIPAL, principal, &p);
}

int lease_revoke_token(struct leases *l, const char *token_id, const char *reason, int64_t now_ms,
                       size_t *n)
{
    struct purge p = {.leases = l, .reason = reason, .now = now_ms, .n = n};
    return purge_key(l, LEASE_BY_TOKEN, token_id, &p);
}

int lease_revoke_lifetime(struct leases *l, const char *kind, const char *lifetime_id,
                          const char *reason, int64_t now_ms, size_t *n)
{
    char key[LEASE_KEY_MAX];
    const char *value;
    struct purge p = {.leases = l, .reason = reason, .now = now_ms, .n = n};
    int e = lease_lifetime_key(kind, lifetime_id, key, &value);
    return e < 0 ? e : purge_key(l, LEASE_BY_LIFETIME, value, &p);
}

/* --- Counting ------------------------------------------------------------------------------------
 */

int lease_count_session(struct leases *l, const char *session_id, int64_t *n)
{
    char key[LEASE_KEY_MAX];
    const char *value;
    int e = lease_lifetime_key("session", session_id, key, &value);
    return e < 0 ? e : record_count_key(l->vault, RECORD_LEASE, LEASE_BY_LIFETIME, value, n);
}

static int find_oldest(const struct record *r, void *data)
{
    struct lease_counts *c = data;
    _cleanup_json_ json_t *lease = NULL;
    int e = lease_parse(r, &lease);
    if (e != 0)
        return e;
    int64_t since = json_int(lease, "revoking_since", 0);
    if (json_int(lease, "attempts", 0) == 0 ||
        (c->oldest_waiting_ms && since >= c->oldest_waiting_ms))
        return 0;
    c->oldest_waiting_ms = since;
    (void)snprintf(c->last_error, sizeof(c->last_error), "%s",
                   json_str_or(lease, "last_error", ""));
    return 0;
}

int lease_counts(struct leases *l, struct lease_counts *out)
{
    const struct {
        const char *state;
        int64_t *n;
    } row[] = {{LEASE_STATE_PENDING, &out->pending},
               {LEASE_STATE_ACTIVE, &out->active},
               {LEASE_STATE_REVOKING, &out->revoking},
               {LEASE_STATE_QUARANTINED, &out->quarantined}};
    *out = (struct lease_counts){0};
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        int e = record_count_key(l->vault, RECORD_LEASE, LEASE_BY_STATE, row[i].state, row[i].n);
        if (e < 0)
            return e;
    }
    if (out->revoking == 0)
        return 0;
    return record_pass_key(l->vault, RECORD_LEASE, LEASE_BY_STATE, LEASE_STATE_REVOKING,
                           LEASE_LOOKED, find_oldest, out, NULL);
}
