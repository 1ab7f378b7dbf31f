/* sys/leases: who holds what, renewing and taking it back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "server/mount.h"
#include "server/hold.h"
#include "server/revoke.h"
#include "server/routes.h"

#define LIST_MAX 10000

const struct json_field route_fields_lease[] = {
    {.name = "lease_id", .kind = JSON_KIND_STRING, .max = LEASE_ID_MAX - 1},
    {.name = "increment", .kind = JSON_KIND_DURATION},
    {.name = "sync", .kind = JSON_KIND_BOOL},
    {0},
};

const struct json_field route_fields_lease_principal[] = {
    {.name = "principal", .kind = JSON_KIND_STRING, .required = true, .max = 300},
    {.name = "sync", .kind = JSON_KIND_BOOL},
    {0},
};

static const char *lease_id_of(struct request *r)
{
    const char *id = json_str(r->body, "lease_id");
    return id && id[0] ? id : request_param(r, "path");
}

static json_t *stamp(int64_t ms)
{
    char text[CLOCK_STAMP_LEN];
    if (!ms)
        return json_null();
    clock_stamp(ms, 1, text);
    return json_string(text);
}

static bool holds(const struct request *r, const json_t *lease)
{
    if (r->has_token)
        return mem_equal_str(json_str(lease, "token"), r->token.id);
    return mem_equal_str(json_str(lease, "principal"), r->principal);
}

/* The lease, when it exists and the caller may deal with it; else an answer stands in r and *out is
 * NULL. */
static int get_own(struct request *r, json_t **out)
{
    const char *id = lease_id_of(r);
    *out = NULL;
    if (!id[0])
        return request_error(r, 400, "'lease_id' must be given");
    _cleanup_json_ json_t *lease = NULL;
    int e = strlen(id) < LEASE_ID_MAX ? lease_get(r->agent->leases, id, &lease) : LEASE_E_NONE;
    if (e < 0)
        return e;
    if (!r->allowed && (e == LEASE_E_NONE || !holds(r, lease)))
        return request_error(r, 403, "permission denied: this is no lease of yours");
    if (e == LEASE_E_NONE)
        return request_error(r, 400, "invalid lease: there is none with this id (any more)");
    *out = json_incref(lease);
    return 0;
}

/* --- Looking
 * ---------------------------------------------------------------------------------------- */

static int64_t seconds_left(const json_t *lease, int64_t now_ms)
{
    int64_t left = (json_int(lease, "expires", 0) - now_ms) / 1000;
    return left > 0 ? left : 0;
}

int route_lease_lookup(struct request *r)
{
    _cleanup_json_ json_t *l = NULL;
    int e = get_own(r, &l);
    if (e < 0 || !l)
        return e;
    snprintf(r->lease_id, sizeof(r->lease_id), "%s", "");
    return request_data(
        r,
        json_pack(
            "{s:s, s:o, s:o, s:o, s:I, s:s, s:b, s:s, s:s, s:O*, s:s*, s:O*}", "id",
            json_str(l, "id"), "issue_time", stamp(json_int(l, "issued", 0)), "expire_time",
            stamp(json_int(l, "expires", 0)), "last_renewal", stamp(json_int(l, "last_renewal", 0)),
            "ttl", (json_int_t)seconds_left(l, r->lease_ms), "path", json_str(l, "path"),
            "renewable", json_bool(l, "renewable", false), "principal", json_str(l, "principal"),
            "state", json_str(l, "state"), "lifetime", json_object_get(l, "lifetime"),
            "revoke_error", json_str_or(l, "last_error", "")[0] ? json_str(l, "last_error") : NULL,
            "objects",
            json_array_size(json_object_get(l, "objects")) ? json_object_get(l, "objects") : NULL));
}

struct listing {
    struct request *request;
    json_t *list;
    const char *state; /* NULL: any */
    size_t limit;
    bool truncated;
};

static int add_lease(const json_t *l, void *data)
{
    struct listing *x = data;
    if (x->state && strcmp(x->state, json_str_or(l, "state", "")) != 0)
        return 0;
    if (json_array_size(x->list) >= x->limit) {
        x->truncated = true;
        return 0;
    }
    json_t *one = json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:b, s:O?, s:s, s:s, s:I, s:O?}", "id",
        json_str(l, "id"), "path", json_str(l, "path"), "principal", json_str(l, "principal"),
        "state", json_str(l, "state"), "issued", stamp(json_int(l, "issued", 0)), "expires",
        stamp(json_int(l, "expires", 0)), "ttl", (json_int_t)seconds_left(l, x->request->lease_ms),
        "renewable", json_bool(l, "renewable", false), "lifetime", json_object_get(l, "lifetime"),
        "binding", json_str_or(l, "binding", ""), "last_error", json_str_or(l, "last_error", ""),
        "attempts", (json_int_t)json_int(l, "attempts", 0), "objects",
        json_object_get(l, "objects"));
    return json_array_append_new(x->list, one) < 0 ? -ENOMEM : 0;
}

static size_t limit_of(struct request *r)
{
    const char *q = request_query(r, "limit");
    long n = q ? strtol(q, NULL, 10) : 1000;
    return n > 0 && n <= LIST_MAX ? (size_t)n : LIST_MAX;
}

/* What needs somebody is found by its state, without looking at all the others. */
static int visit(struct listing *x, const char *principal, const char *prefix)
{
    struct leases *l = x->request->agent->leases;
    if (x->state && !principal && !prefix)
        return lease_each_state(l, x->state, x->limit + 1, add_lease, x);
    return lease_each(l, principal, prefix, x->state ? 0 : x->limit + 1, add_lease, x);
}

int route_lease_list(struct request *r)
{
    const char *principal = request_query(r, "principal");
    if (!r->allowed)
        principal = r->principal;
    _cleanup_json_ json_t *list = json_array();
    struct listing x = {
        .request = r, .list = list, .state = request_query(r, "state"), .limit = limit_of(r)};
    int e = list ? visit(&x, principal, request_query(r, "prefix")) : -ENOMEM;
    if (e < 0)
        return e;
    return request_data(r, json_pack("{s:O, s:b}", "leases", list, "truncated", x.truncated));
}

/* LIST of sys/leases/lookup/PREFIX: the next segment of each lease below it. */
struct tree {
    json_t *seen; /* an object as a set */
    size_t prefix;
};

static int add_segment(const json_t *l, void *data)
{
    struct tree *t = data;
    char name[1200];
    const char *rest = json_str_or(l, "id", "") + t->prefix;
    size_t n = strcspn(rest, "/");
    snprintf(name, sizeof(name), "%.*s%s", (int)n, rest, rest[n] ? "/" : "");
    return json_object_set_new(t->seen, name, json_true()) < 0 ? -ENOMEM : 0;
}

int route_lease_tree(struct request *r)
{
    const char *prefix = request_param(r, "path"), *name;
    _cleanup_json_ json_t *seen = json_object();
    struct tree t = {.seen = seen, .prefix = strlen(prefix)};
    int e = seen ? lease_each(r->agent->leases, NULL, prefix, 0, add_segment, &t) : -ENOMEM;
    if (e < 0)
        return e;
    json_t *keys = json_array(), *value;
    json_object_foreach(seen, name, value)
    {
        if (json_array_append_new(keys, json_string(name)) < 0) {
            json_decref(keys);
            return -ENOMEM;
        }
    }
    return request_keys(r, keys);
}

int route_lease_count(struct request *r)
{
    struct lease_counts c;
    const char *type = request_query(r, "type");
    int e = lease_counts(r->agent->leases, &c);
    if (e < 0)
        return e;
    int64_t n = type && strcmp(type, "irrevocable") == 0 ? c.quarantined
                                                         : c.active + c.revoking + c.pending;
    return request_data(r, json_pack("{s:I, s:{s:I, s:I, s:I, s:I}}", "lease_count", (json_int_t)n,
                                     "counts", "pending", (json_int_t)c.pending, "active",
                                     (json_int_t)c.active, "revoking", (json_int_t)c.revoking,
                                     "quarantined", (json_int_t)c.quarantined));
}

/* --- Renewing
 * --------------------------------------------------------------------------------------- */

struct renewal {
    char id[LEASE_ID_MAX];
    char space[40];
    int64_t end; /* seconds since 1970, as the engine was told */
    json_t *frame;
    json_t *answer;
};

static void renewal_free(void *data)
{
    struct renewal *x = data;
    json_decref(x->frame);
    json_decref(x->answer);
    free(x);
}

static int renewed(struct request *r)
{
    struct renewal *x = r->state;
    char why[256];
    int64_t ttl = 0;
    if (x->frame || !x->answer)
        return -ENOMEM;
    if (!json_bool(x->answer, "ok", false)) {
        const char *kind = json_str_or(x->answer, "kind", "");
        int status = strcmp(kind, "gone") == 0 ? 400 : strcmp(kind, "superseded") == 0 ? 503 : 502;
        return request_error(r, status, "the account could not be prolonged: %s",
                             json_str_or(x->answer, "message", "no reason given"));
    }
    int64_t left = x->end - r->lease_ms / 1000;
    int e = lease_renew(r->agent->leases, x->id, left > 1 ? left : 1, r->lease_ms, false, &ttl, why,
                        sizeof(why));
    if (e == LEASE_E_NONE || e == LEASE_E_REFUSED)
        return request_error(r, 400, "%s", e == LEASE_E_NONE ? "the lease is gone" : why);
    snprintf(r->lease_id, sizeof(r->lease_id), "%s", x->id);
    r->lease_duration = ttl;
    r->renewable = true;
    return e < 0 ? e : request_data(r, json_null());
}

static void on_renewed(const json_t *answer, void *data)
{
    struct request *r = data;
    struct renewal *x = r->state;
    x->answer = json_deep_copy(answer);
    request_resume(r, renewed);
}

static void send_renewal(void *data)
{
    struct request *r = data;
    struct renewal *x = r->state;
    json_t *frame = x->frame;
    x->frame = NULL;
    if (hold_call(r->agent, x->space, frame, on_renewed, r) < 0)
        request_resume(r, renewed);
}

/* The engine is told the new end first; the row follows when it has agreed. */
static int ask_engine(struct request *r, const json_t *lease, int64_t ttl)
{
    struct renewal *x = r->state;
    const struct engine *engine = engine_find(json_str_or(lease, "engine", ""));
    if (!engine)
        return request_error(r, 400, "this agent has no secrets engine that could prolong it");
    x->end = r->lease_ms / 1000 + ttl;
    snprintf(x->space, sizeof(x->space), "%s", json_str_or(lease, "space", ""));
    if (!engine->lease_renew) {
        x->answer = json_pack("{s:b}", "ok", 1);
        return renewed(r);
    }
    int e =
        engine->lease_renew(r->agent->vault, json_str(lease, "space"),
                            json_object_get(lease, "recipe"), r->lease_ms / 1000 + ttl, &x->frame);
    if (e == -ENOENT)
        return request_error(r, 400, "the configuration that this lease was made with is gone");
    if (e < 0)
        return e;
    if (!x->frame) {
        x->answer = json_pack("{s:b}", "ok", 1);
        return renewed(r);
    }
    e = effects_push(turn_effects(r->agent->turn), send_renewal, NULL, r);
    return e < 0 ? e : REQUEST_WAIT;
}

int route_lease_renew(struct request *r)
{
    char why[256];
    int64_t ttl = 0;
    _cleanup_json_ json_t *l = NULL;
    int e = get_own(r, &l);
    if (e < 0 || !l)
        return e;
    /* A lease is decided about at its issue and at each renewal: what ends is the right to have it.
     */
    if (!request_may(r, json_str_or(l, "path", ""), ACL_READ | ACL_CREATE | ACL_UPDATE))
        return request_error(
            r, 403,
            "permission denied: you may not read %s any more, so the lease ends at its "
            "time (countersign explain)",
            json_str_or(l, "path", ""));
    struct renewal *x = calloc(1, sizeof(*x));
    if (!x)
        return -ENOMEM;
    r->state = x;
    r->state_free = renewal_free;
    snprintf(x->id, sizeof(x->id), "%s", json_str_or(l, "id", ""));
    e = lease_renew(r->agent->leases, x->id, json_int(r->body, "increment", 0), r->lease_ms, true,
                    &ttl, why, sizeof(why));
    if (e == LEASE_E_REFUSED)
        return request_error(r, 400, "%s", why);
    return e != 0 ? (e < 0 ? e : request_none(r)) : ask_engine(r, l, ttl);
}

/* --- Revoking
 * --------------------------------------------------------------------------------------- */

static bool wants_sync(const struct request *r)
{
    return json_bool(r->body, "sync", false);
}

/* Without sync the answer means: recorded and under way. With it: gone, or why not yet. */
static int revoked(struct request *r, const json_t *ids)
{
    r->status = 204;
    return wants_sync(r) ? revoke_wait(r, ids) : 0;
}

int route_lease_revoke(struct request *r)
{
    _cleanup_json_ json_t *l = NULL;
    int held = hold_refuse(r);
    if (held != 0)
        return held < 0 ? held : 0;
    int e = get_own(r, &l);
    if (e >= 0 && !l && r->allowed && lease_id_of(r)[0]) { /* as Vault: gone is gone */
        json_decref(r->errors);
        r->errors = NULL;
        r->status = 204;
    }
    if (e < 0 || !l)
        return e;
    char reason[400];
    snprintf(reason, sizeof(reason), "revoked by %s", r->principal);
    e = lease_revoke(r->agent->leases, json_str(l, "id"), reason, r->lease_ms);
    if (e < 0)
        return e;
    _cleanup_json_ json_t *ids = json_pack("[O]", json_object_get(l, "id"));
    return ids ? revoked(r, ids) : -ENOMEM;
}

/* Leases may be very many, and each is a row to be rewritten: as many of them a turn as it has time
 * for, and not in each turn, so that logins between two turns need not wait for all of them. */
#define STEP 8 /* leases between two looks at the clock */

struct purge {
    int (*some)(struct leases *l, const char *of, const char *reason, int64_t now_ms,
                struct record_slice *s, size_t *n, json_t *ids);
    char of[2200]; /* a prefix or a principal */
    char reason[700];
    bool counts; /* the answer says how many */
    size_t n;
    struct record_slice slice;
    json_t *found; /* ids of the last slice, when somebody waits for them */
    struct waiter *waiter;
};

static void purge_free(void *data)
{
    struct purge *p = data;
    revoke_wait_free(p->waiter);
    json_decref(p->found);
    free(p);
}

static int purge_some(struct request *r);

/* In a turn that takes what can wait: only then it goes on. */
static int pause_over(void *data _unused_)
{
    return 0;
}

static void go_on(void *data, int error _unused_)
{
    request_resume(data, purge_some);
}

/* After the commit of a slice. */
static void purge_on(void *data)
{
    struct request *r = data;
    struct purge *p = r->state;
    r->partly = true;
    if (p->waiter) {
        revoke_wait_add(p->waiter, p->found);
        (void)json_array_clear(p->found);
    }
    if (p->slice.more && turn_add(r->agent->turn, TURN_BACKGROUND, pause_over, go_on, r) < 0)
        request_resume(r, purge_some);
    else if (!p->slice.more)
        revoke_wait_close(p->waiter);
}

static int purge_answer(struct request *r, const struct purge *p)
{
    r->status = p->counts ? 0 : 204;
    return p->counts ? request_data(r, json_pack("{s:I}", "revoked", (json_int_t)p->n)) : 0;
}

static int purge_some(struct request *r)
{
    struct purge *p = r->state;
    int e;
    turn_heavy(r->agent->turn);
    do {
        e = p->some(r->agent->leases, p->of, p->reason, r->lease_ms, &p->slice, &p->n, p->found);
    } while (e >= 0 && p->slice.more && !turn_spent(r->agent->turn));
    if (e >= 0 && !p->slice.more)
        e = purge_answer(r, p);
    if (e < 0 || (!p->slice.more && !p->waiter))
        return e < 0 ? e : 0;
    e = effects_push(turn_effects(r->agent->turn), purge_on, NULL, r);
    return e < 0 ? e : REQUEST_WAIT;
}

static int purge_begin(struct request *r, const char *of, struct purge **out)
{
    struct purge *p = calloc(1, sizeof(*p));
    *out = p;
    if (!p)
        return -ENOMEM;
    r->state = p;
    r->state_free = purge_free;
    p->slice.limit = STEP;
    if (snprintf(p->of, sizeof(p->of), "%s", of) >= (int)sizeof(p->of))
        return request_error(r, 400, "the path is too long") < 0 ? -ENOMEM : 1;
    if (!wants_sync(r))
        return 0;
    p->found = json_array();
    p->waiter = revoke_wait_open(r);
    return p->found && p->waiter ? 0 : -ENOMEM;
}

int route_lease_revoke_prefix(struct request *r)
{
    struct purge *p;
    int e = hold_refuse(r);
    if (e == 0)
        e = purge_begin(r, request_param(r, "path"), &p);
    if (e != 0)
        return e < 0 ? e : 0;
    p->some = lease_revoke_prefix_some;
    snprintf(p->reason, sizeof(p->reason), "revoked by %s", r->principal);
    return purge_some(r);
}

static int forget_lease(const json_t *l, void *data)
{
    return json_array_append_new(data, json_string(json_str_or(l, "id", ""))) < 0 ? -ENOMEM : 0;
}

/* Drops the rows although what they gave may live on: Vault's last resort, and an alert here. */
int route_lease_revoke_force(struct request *r)
{
    _cleanup_json_ json_t *ids = json_array();
    json_t *id;
    size_t i;
    int e = ids ? lease_each(r->agent->leases, NULL, request_param(r, "path"), 0, forget_lease, ids)
                : -ENOMEM;
    json_array_foreach(ids, i, id)
    {
        if (e >= 0)
            e = lease_forget(r->agent->leases, json_string_value(id));
        if (e >= 0)
            e = revoke_forgotten(r->agent, json_string_value(id));
    }
    if (e < 0)
        return e;
    request_alert(r, "leases were forgotten without being revoked");
    r->status = 204;
    return 0;
}

int route_lease_revoke_principal(struct request *r)
{
    const char *principal = json_str(r->body, "principal");
    int held = hold_refuse(r);
    if (held != 0)
        return held < 0 ? held : 0;
    if (strcmp(principal, "self") == 0)
        principal = r->principal;
    if (!r->allowed && strcmp(principal, r->principal) != 0)
        return request_error(r, 403,
                             "permission denied: to revoke others' leases needs \"update\" on "
                             "sys/leases/revoke-principal");
    struct purge *p;
    int e = purge_begin(r, principal, &p);
    if (e != 0)
        return e < 0 ? e : 0;
    p->some = lease_revoke_principal_some;
    p->counts = true;
    snprintf(p->reason, sizeof(p->reason), "all of %s revoked by %s", principal, r->principal);
    return purge_some(r);
}
