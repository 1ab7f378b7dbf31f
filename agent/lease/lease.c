#include "lease/lease.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "lease/inner.h"
#include "vault/audit.h"

#define RANDOM_LEN 24
#define TTL_MAX (INT64_MAX / 4000)
#define ERROR_MAX 300
#define OBJECTS_MAX 100

int leases_new(struct vault *v, struct effects *effects, const struct lease_ops *ops, void *data,
               struct leases **out)
{
    struct leases *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    *l = (struct leases){.vault = v, .effects = effects, .ops = *ops, .data = data};
    *out = l;
    return 0;
}

void leases_free(struct leases *l)
{
    free(l);
}

/* --- One row -------------------------------------------------------------------------------------
 */

bool lease_is(const json_t *lease, const char *state)
{
    return strcmp(json_str_or(lease, "state", ""), state) == 0;
}

int lease_set(json_t *lease, const char *key, int64_t value)
{
    return json_set_int(lease, key, value);
}

int64_t lease_next_attempt(const json_t *lease)
{
    int64_t before = json_int(lease, "attempts", 0);
    return before >= 0 && before < INT64_MAX ? before + 1 : 1;
}

int lease_lifetime_key(const char *kind, const char *id, char out[LEASE_KEY_MAX], const char **key)
{
    *key = NULL;
    if (!kind[0] || strcmp(kind, "none") == 0)
        return 0;
    int n = snprintf(out, LEASE_KEY_MAX, "%s:%s", kind, id);
    if (n < 0 || n >= LEASE_KEY_MAX)
        return -EMSGSIZE;
    *key = out;
    return 0;
}

int lease_parse(const struct record *r, json_t **out)
{
    char why[128];
    int e = json_parse(r->body, r->body_len, out, why, sizeof(why));
    if (e == -ENOMEM)
        return e;
    if (e == 0 && json_is_object(*out) && json_int(*out, "v", 0) == 1 && json_str(*out, "id") &&
        strcmp(json_str(*out, "id"), r->id) == 0)
        return 0;
    json_decref(*out);
    *out = NULL;
    return RECORD_E_BROKEN;
}

static int load(struct leases *l, const char *id, json_t **out)
{
    size_t n = strnlen(id, LEASE_ID_MAX);
    *out = NULL;
    if (n == 0 || n >= LEASE_ID_MAX)
        return LEASE_E_NONE;
    int e = record_get_json(l->vault, RECORD_LEASE, id, out);
    return e == RECORD_E_NONE ? LEASE_E_NONE : e;
}

static void run_changed(void *data)
{
    struct leases *l = data;
    l->announced = false;
    if (l->ops.changed)
        l->ops.changed(l->data);
}

static void drop_changed(void *data)
{
    struct leases *l = data;
    l->announced = false;
}

static int announce(struct leases *l)
{
    if (l->announced)
        return 0;
    int e = effects_push(l->effects, run_changed, drop_changed, l);
    l->announced = e == 0;
    return e;
}

static const char *or_null(const char *s)
{
    return s && s[0] ? s : NULL;
}

int lease_put(struct leases *l, const json_t *lease, int64_t due)
{
    const json_t *life = json_object_get(lease, "lifetime");
    char key[LEASE_KEY_MAX];
    struct record r = {.id = json_str(lease, "id"), .due = due};
    int e = lease_lifetime_key(json_str_or(life, "kind", ""), json_str_or(life, "id", ""), key,
                               &r.key[LEASE_BY_LIFETIME]);
    if (e < 0)
        return e;
    r.key[LEASE_BY_PRINCIPAL] = or_null(json_str(lease, "principal"));
    r.key[LEASE_BY_TOKEN] = or_null(json_str(lease, "token"));
    r.key[LEASE_BY_STATE] = json_str(lease, "state");
    _cleanup_buf_ struct buf body = BUF_INIT(RECORD_BODY_MAX);
    json_put(&body, lease);
    e = buf_error(&body);
    if (e < 0)
        return e;
    r.body = buf_str(&body);
    r.body_len = body.len;
    e = record_put(l->vault, RECORD_LEASE, &r);
    return e < 0 ? e : announce(l);
}

int lease_tell(struct leases *l, const json_t *lease, const char *event, const char *reason,
               const char *error)
{
    _cleanup_json_ json_t *line = json_pack(
        "{s:s, s:s, s:s, s:s, s:I, s:s*, s:s*}", "event", event, "lease",
        json_str_or(lease, "id", ""), "principal", json_str_or(lease, "principal", ""), "path",
        json_str_or(lease, "path", ""), "expires", (json_int_t)json_int(lease, "expires", 0),
        "reason", or_null(reason), "error", or_null(error));
    return line ? audit_append(l->vault, "lease", line) : -ENOMEM;
}

/* --- From nothing to active ----------------------------------------------------------------------
 */

int lease_make_id(const char *path, char out[LEASE_ID_MAX])
{
    size_t n = strnlen(path, LEASE_ID_MAX);
    if (n + 1 + RANDOM_LEN >= LEASE_ID_MAX)
        return -EMSGSIZE;
    memcpy(out, path, n);
    out[n] = '/';
    encode_random_base62(out + n + 1, RANDOM_LEN);
    return 0;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static json_t *make(const struct lease_spec *s, int64_t now_ms)
{
    int64_t ttl = s->max_ttl ? earlier(s->ttl, s->max_ttl) : s->ttl;
    return json_pack(
        "{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:{s:s, s:s, s:s}, s:I, s:I, s:I, "
        "s:I, s:I, s:b, s:O, s:I, s:I, s:s, s:s, s:I, s:[], s:I, s:b, s:b}",
        "v", 1, "id", s->id, "path", s->path, "mount", s->mount, "engine", s->engine, "space",
        s->space, "state", LEASE_STATE_PENDING, "principal", s->principal, "uid",
        s->has_uid ? json_integer((json_int_t)s->uid) : json_null(), "binding",
        s->binding ? s->binding : "", "token", s->token ? s->token : "", "lifetime", "kind",
        s->lifetime_kind ? s->lifetime_kind : "none", "id", s->lifetime_id ? s->lifetime_id : "",
        "name", s->lifetime_name ? s->lifetime_name : "", "issued", (json_int_t)now_ms, "expires",
        (json_int_t)(now_ms + ttl * 1000), "max_expires",
        (json_int_t)(s->max_ttl ? now_ms + s->max_ttl * 1000 : 0), "last_renewal", (json_int_t)0,
        "ttl", (json_int_t)ttl, "renewable", s->renewable ? 1 : 0, "recipe",
        (json_t *)(uintptr_t)s->recipe, "attempts", (json_int_t)0, "next_try", (json_int_t)0,
        "last_error", "", "reason", "", "revoking_since", (json_int_t)0, "objects", "claimed",
        (json_int_t)0, "making", 0, "again", 0);
}

/* Whatever a TTL adds to it, it doesn't overflow. */
static bool valid_now(int64_t now_ms)
{
    return now_ms > 0 && now_ms <= INT64_MAX / 2;
}

int lease_create(struct leases *l, const struct lease_spec *s, int64_t now_ms)
{
    if (s->ttl <= 0 || s->ttl > TTL_MAX || s->max_ttl < 0 || s->max_ttl > TTL_MAX ||
        !valid_now(now_ms) || !s->principal[0] || !json_is_object(s->recipe) ||
        strlen(s->id) >= LEASE_ID_MAX)
        return -EINVAL;
    _cleanup_json_ json_t *lease = make(s, now_ms);
    if (!lease)
        return -ENOMEM;
    int e = lease_put(l, lease, now_ms + LEASE_PENDING_MS);
    return e < 0 ? e : lease_tell(l, lease, LEASE_STATE_PENDING, NULL, NULL);
}

/* What is made is there now, or never will be, but the lease is not pending any more. An attempt
 * that is under way may have looked before it was there: its "gone" does not count. */
static int made_too_late(struct leases *l, json_t *lease, int64_t now_ms)
{
    if (json_bool(lease, "making", false))
        return lease_revoke_row(l, lease, "", true, now_ms);
    if (!lease_in_flight(lease, now_ms))
        return 0;
    int e = json_set_bool(lease, "again", true);
    return e < 0 ? e : lease_put(l, lease, json_int(lease, "next_try", now_ms));
}

int lease_activate(struct leases *l, const char *id, int64_t now_ms)
{
    _cleanup_json_ json_t *lease = NULL;
    int e = load(l, id, &lease);
    if (e != 0)
        return e;
    if (!lease_is(lease, LEASE_STATE_PENDING)) {
        e = made_too_late(l, lease, now_ms);
        return e < 0 ? e : LEASE_E_REFUSED;
    }
    e = json_set_str(lease, "state", LEASE_STATE_ACTIVE);
    if (e == 0)
        e = lease_put(l, lease, json_int(lease, "expires", 0));
    return e < 0 ? e : lease_tell(l, lease, LEASE_STATE_ACTIVE, NULL, NULL);
}

int lease_get(struct leases *l, const char *id, json_t **out)
{
    return load(l, id, out);
}

/* --- Renewing ------------------------------------------------------------------------------------
 */

static int refuse(char *why, size_t whylen, const char *reason)
{
    (void)snprintf(why, whylen, "%s", reason);
    return LEASE_E_REFUSED;
}

/* The new end, in milliseconds. */
static int64_t renewed_end(const json_t *lease, int64_t increment, int64_t now_ms)
{
    int64_t max = json_int(lease, "max_expires", 0);
    if (increment == 0)
        increment = json_int(lease, "ttl", 0);
    int64_t end = now_ms + (increment < TTL_MAX ? increment : TTL_MAX) * 1000;
    return max && end > max ? max : end;
}

int lease_renew(struct leases *l, const char *id, int64_t increment, int64_t now_ms, bool dry,
                int64_t *ttl, char *why, size_t whylen)
{
    _cleanup_json_ json_t *lease = NULL;
    int e = load(l, id, &lease);
    if (e != 0)
        return e;
    if (!lease_is(lease, LEASE_STATE_ACTIVE) || json_int(lease, "expires", 0) <= now_ms)
        return refuse(why, whylen, "lease expired, or it is being revoked: read a new one");
    if (!json_bool(lease, "renewable", false) || increment < 0 || !valid_now(now_ms))
        return refuse(why, whylen, "lease is not renewable");
    int64_t end = renewed_end(lease, increment, now_ms);
    if (end - now_ms < 1000)
        return refuse(why, whylen, "the lease has reached its maximum TTL: read a new one");
    *ttl = (end - now_ms) / 1000;
    if (dry)
        return 0;
    e = lease_set(lease, "expires", end);
    if (e == 0)
        e = lease_set(lease, "last_renewal", now_ms);
    if (e == 0)
        e = lease_put(l, lease, end);
    return e < 0 ? e : lease_tell(l, lease, "renewed", NULL, NULL);
}

/* --- Revoking ------------------------------------------------------------------------------------
 */

bool lease_in_flight(const json_t *lease, int64_t now_ms)
{
    int64_t until = json_int(lease, "claimed", 0);
    return until > now_ms && until <= now_ms + LEASE_CLAIM_MS;
}

int lease_begin_revoking(struct leases *l, json_t *lease, const char *reason, int64_t now_ms)
{
    _cleanup_json_ json_t *change = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:s, s:I, s:b, s:b}", "state", LEASE_STATE_REVOKING, "reason",
        reason, "revoking_since", (json_int_t)now_ms, "attempts", (json_int_t)0, "next_try",
        (json_int_t)now_ms, "last_error", "", "claimed", (json_int_t)0, "making", 0, "again", 0);
    if (!change || json_object_update(lease, change) < 0)
        return -ENOMEM;
    return lease_tell(l, lease, LEASE_STATE_REVOKING, reason, NULL);
}

/* What is being made just now is undone when that is over. */
static int hold(json_t *lease, int64_t now_ms, int64_t *due)
{
    *due = earlier(json_int(lease, "issued", 0) + LEASE_PENDING_MS, now_ms + LEASE_PENDING_MS);
    int e = json_set_bool(lease, "making", true);
    return e < 0 ? e : lease_set(lease, "next_try", *due);
}

static int hasten_row(struct leases *l, json_t *lease, int64_t now_ms)
{
    int e = json_set_bool(lease, "making", false);
    if (e == 0)
        e = lease_set(lease, "claimed", 0);
    if (e == 0)
        e = lease_set(lease, "next_try", now_ms);
    return e < 0 ? e : lease_put(l, lease, now_ms);
}

/* Already revoking: now, unless it is being tried, or made. */
static int hasten(struct leases *l, json_t *lease, bool made, int64_t now_ms)
{
    if (lease_in_flight(lease, now_ms) || (json_bool(lease, "making", false) && !made))
        return 0;
    return hasten_row(l, lease, now_ms);
}

int lease_revoke_row(struct leases *l, json_t *lease, const char *reason, bool made, int64_t now_ms)
{
    int64_t due = now_ms;
    if (lease_is(lease, LEASE_STATE_REVOKING))
        return hasten(l, lease, made, now_ms);
    bool making = lease_is(lease, LEASE_STATE_PENDING) && !made;
    int e = lease_begin_revoking(l, lease, reason, now_ms);
    if (e == 0 && making)
        e = hold(lease, now_ms, &due);
    return e < 0 ? e : lease_put(l, lease, due);
}

int lease_revoke(struct leases *l, const char *id, const char *reason, int64_t now_ms)
{
    _cleanup_json_ json_t *lease = NULL;
    int e = load(l, id, &lease);
    return e != 0 ? e : lease_revoke_row(l, lease, reason, false, now_ms);
}

int lease_unmake(struct leases *l, const char *id, const char *reason, int64_t now_ms)
{
    _cleanup_json_ json_t *lease = NULL;
    int e = load(l, id, &lease);
    if (e != 0)
        return e;
    if (lease_in_flight(lease, now_ms))
        return made_too_late(l, lease, now_ms);
    return lease_revoke_row(l, lease, reason, true, now_ms);
}

/* --- What became of it ---------------------------------------------------------------------------
 */

static int gone(struct leases *l, const json_t *lease, const char *reason)
{
    int e = record_delete(l->vault, RECORD_LEASE, json_str(lease, "id"));
    return e < 0 ? e : lease_tell(l, lease, "gone", reason, NULL);
}

/* 1, 2, 4 … s, capped, spread by 20 % either way so that what failed together isn't tried together.
 */
static int64_t back_off(int64_t attempts)
{
    int64_t ms = LEASE_RETRY_MAX_MS;
    if (attempts < 16)
        ms = earlier((int64_t)LEASE_RETRY_FIRST_MS << (attempts - 1), LEASE_RETRY_MAX_MS);
    return ms - ms / 5 + (int64_t)randombytes_uniform((uint32_t)(2 * ms / 5 + 1));
}

static bool power_of_two(int64_t n)
{
    return n > 0 && (n & (n - 1)) == 0;
}

static int copy_objects(json_t *lease, const json_t *objects)
{
    json_t *list = json_array(), *one;
    size_t i;
    json_array_foreach(objects, i, one)
    {
        if (list && i < OBJECTS_MAX && json_is_string(one) &&
            json_string_length(one) <= ERROR_MAX && json_array_append(list, one) < 0) {
            json_decref(list);
            return -ENOMEM;
        }
    }
    return list && json_object_set_new(lease, "objects", list) == 0 ? 0 : -ENOMEM;
}

/* One more attempt that failed; shown is the error as it may stand in an audit line. */
static int count_failure(json_t *lease, const char *shown, int64_t due, bool *news)
{
    int64_t attempts = lease_next_attempt(lease);
    *news = power_of_two(attempts) || strcmp(json_str_or(lease, "last_error", ""), shown) != 0;
    int e = lease_set(lease, "attempts", attempts);
    if (e == 0)
        e = json_set_str(lease, "last_error", shown);
    if (e == 0)
        e = lease_set(lease, "claimed", 0);
    return e < 0 ? e : lease_set(lease, "next_try", due);
}

static int retry(struct leases *l, json_t *lease, const char *shown, int64_t now_ms)
{
    bool news, parked = lease_is(lease, LEASE_STATE_QUARANTINED);
    int64_t due =
        now_ms + (parked ? LEASE_QUARANTINE_RETRY_MS : back_off(lease_next_attempt(lease)));
    int e = count_failure(lease, shown, due, &news);
    if (e == 0 && news)
        e = lease_tell(l, lease, "retry", NULL, shown);
    return e < 0 ? e : lease_put(l, lease, due);
}

static int quarantine(struct leases *l, json_t *lease, const char *shown, const json_t *objects,
                      int64_t now_ms)
{
    bool news = !lease_is(lease, LEASE_STATE_QUARANTINED), repeated;
    int64_t due = now_ms + LEASE_QUARANTINE_RETRY_MS;
    int e = count_failure(lease, shown, due, &repeated);
    if (e == 0)
        e = json_set_str(lease, "state", LEASE_STATE_QUARANTINED);
    if (e == 0)
        e = copy_objects(lease, objects);
    if (e == 0 && news)
        e = lease_tell(l, lease, LEASE_STATE_QUARANTINED, NULL, shown);
    return e < 0 ? e : lease_put(l, lease, due);
}

/* The attempt was overtaken by the making: it says nothing about what there is now. */
static int try_again(struct leases *l, json_t *lease, int64_t now_ms)
{
    int e = json_set_bool(lease, "again", false);
    return e < 0 ? e : hasten_row(l, lease, now_ms);
}

int lease_revoked(struct leases *l, const char *id, enum lease_outcome outcome, const char *error,
                  const json_t *objects, int64_t now_ms)
{
    _cleanup_json_ json_t *lease = NULL;
    int e = load(l, id, &lease);
    if (e != 0)
        return e;
    if (!lease_is(lease, LEASE_STATE_REVOKING) && !lease_is(lease, LEASE_STATE_QUARANTINED))
        return 0;
    if (outcome == LEASE_GONE && json_bool(lease, "again", false))
        return try_again(l, lease, now_ms);
    if (outcome == LEASE_GONE)
        return gone(l, lease, NULL);
    _cleanup_buf_ struct buf shown = BUF_INIT(ERROR_MAX);
    encode_printable(&shown, error ? error : "", ERROR_MAX);
    if (buf_error(&shown) < 0)
        return buf_error(&shown);
    if (outcome == LEASE_QUARANTINE)
        return quarantine(l, lease, buf_str(&shown), objects, now_ms);
    return retry(l, lease, buf_str(&shown), now_ms);
}

int lease_forget(struct leases *l, const char *id)
{
    _cleanup_json_ json_t *lease = NULL;
    int e = load(l, id, &lease);
    return e != 0 ? e : gone(l, lease, "forgotten without being undone");
}
