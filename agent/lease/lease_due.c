/* The queue: what is due, and what a start makes due. */
#include <errno.h>
#include <string.h>

#include "lease/inner.h"

/* --- Attempts ------------------------------------------------------------------------------------
 */

struct attempt {
    struct leases *leases;
    json_t *lease;
};

static void attempt_drop(void *data)
{
    struct attempt *a = data;
    json_decref(a->lease);
    free(a);
}

static void attempt_run(void *data)
{
    struct attempt *a = data;
    a->leases->ops.revoke(json_str_or(a->lease, "id", ""), a->lease, a->leases->data);
    attempt_drop(a);
}

static int queue_attempt(struct leases *l, json_t *lease)
{
    struct attempt *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    *a = (struct attempt){.leases = l, .lease = json_incref(lease)};
    int e = effects_push(l->effects, attempt_run, attempt_drop, a);
    if (e < 0)
        attempt_drop(a);
    return e;
}

/* The attempt is under way until its answer, or until the claim runs out. */
static int attempt(struct leases *l, json_t *lease, int64_t now_ms)
{
    int64_t until = now_ms + LEASE_CLAIM_MS;
    int e = lease_set(lease, "claimed", until);
    if (e == 0)
        e = lease_set(lease, "next_try", until);
    if (e == 0)
        e = json_set_bool(lease, "making", false);
    if (e == 0)
        e = json_set_bool(lease, "again", false);
    if (e == 0)
        e = lease_put(l, lease, until);
    return e < 0 ? e : queue_attempt(l, lease);
}

/* --- What is due ---------------------------------------------------------------------------------
 */

struct due {
    struct leases *leases;
    int64_t now;
};

/* An attempt that was claimed and gave no answer. */
static int note_silence(struct leases *l, json_t *lease)
{
    static const char silence[] = "the connector gave no answer in time";
    int64_t attempts = lease_next_attempt(lease);
    if (json_int(lease, "claimed", 0) == 0)
        return 0;
    int e = lease_set(lease, "attempts", attempts);
    if (e == 0)
        e = json_set_str(lease, "last_error", silence);
    return e < 0 ? e : lease_tell(l, lease, "retry", NULL, silence);
}

static int end_active(struct due *d, json_t *lease)
{
    int64_t expires = json_int(lease, "expires", 0);
    if (expires > d->now)
        return lease_put(d->leases, lease, expires);
    int e = lease_begin_revoking(d->leases, lease, "its time was up", d->now);
    return e < 0 ? e : attempt(d->leases, lease, d->now);
}

static int do_due(const struct record *r, void *data)
{
    struct due *d = data;
    _cleanup_json_ json_t *lease = NULL;
    int e = lease_parse(r, &lease);
    if (e != 0)
        return e;
    if (lease_is(lease, LEASE_STATE_ACTIVE))
        return end_active(d, lease);
    if (lease_is(lease, LEASE_STATE_PENDING))
        e = lease_begin_revoking(d->leases, lease, "it was never handed over", d->now);
    else
        e = note_silence(d->leases, lease);
    return e < 0 ? e : attempt(d->leases, lease, d->now);
}

int lease_due(struct leases *l, int64_t now_ms, size_t limit, bool *more)
{
    struct due d = {.leases = l, .now = now_ms};
    int64_t next;
    *more = false;
    int e = record_pass_due(l->vault, RECORD_LEASE, now_ms, limit, do_due, &d, NULL);
    if (e < 0 || limit == 0)
        return e < 0 ? e : 0;
    e = record_next_due(l->vault, RECORD_LEASE, &next);
    *more = e == 0 && next <= now_ms;
    return e < 0 ? e : 0;
}

int lease_next_due(struct leases *l, int64_t *due_ms)
{
    int e = record_next_due(l->vault, RECORD_LEASE, due_ms);
    return e == RECORD_E_NONE ? LEASE_E_NONE : e;
}

/* --- What a start makes due ----------------------------------------------------------------------
 */

struct leftover {
    struct leases *leases;
    int64_t began, now;
};

/* Of what was under way before the start nothing is any more; what began since is left alone. */
static bool is_left_over(const json_t *lease, int64_t began)
{
    int64_t claimed = json_int(lease, "claimed", 0);
    bool making = lease_is(lease, LEASE_STATE_PENDING) || json_bool(lease, "making", false);
    if (claimed != 0)
        return claimed < began + LEASE_CLAIM_MS;
    return making && json_int(lease, "issued", 0) < began;
}

static int restart_one(const struct record *r, void *data)
{
    struct leftover *d = data;
    _cleanup_json_ json_t *lease = NULL;
    int e = lease_parse(r, &lease);
    if (e != 0 || !is_left_over(lease, d->began))
        return e;
    if (lease_is(lease, LEASE_STATE_PENDING))
        e = lease_begin_revoking(d->leases, lease, "the agent stopped while it was being made",
                                 d->now);
    if (e == 0)
        e = lease_set(lease, "claimed", 0);
    if (e == 0)
        e = lease_set(lease, "next_try", d->now);
    if (e == 0)
        e = json_set_bool(lease, "making", false);
    return e < 0 ? e : lease_put(d->leases, lease, d->now);
}

int lease_restart(struct leases *l, int64_t began_ms, int64_t now_ms, struct lease_tour *t)
{
    static const char *const states[] = {LEASE_STATE_PENDING, LEASE_STATE_REVOKING,
                                         LEASE_STATE_QUARANTINED};
    struct leftover d = {.leases = l, .began = began_ms, .now = now_ms};
    t->slice.more = false;
    if (t->part >= ARRAY_LEN(states))
        return 0;
    int e = record_pass_slice(l->vault, RECORD_LEASE, LEASE_BY_STATE, states[t->part], &t->slice,
                              restart_one, &d);
    if (e < 0 || t->slice.more)
        return e;
    t->part++;
    t->slice.after = 0;
    t->slice.more = t->part < ARRAY_LEN(states);
    return 0;
}

struct wake {
    struct due due;
    const char *space;
};

static int wake_one(const struct record *r, void *data)
{
    struct wake *w = data;
    _cleanup_json_ json_t *lease = NULL;
    if (r->due <= w->due.now)
        return 0;
    int e = lease_parse(r, &lease);
    if (e != 0)
        return e;
    if ((w->space && strcmp(json_str_or(lease, "space", ""), w->space) != 0) ||
        json_bool(lease, "making", false) || lease_in_flight(lease, w->due.now))
        return 0;
    return lease_revoke_row(w->due.leases, lease, "", true, w->due.now);
}

int lease_wake(struct leases *l, const char *space, int64_t now_ms, struct record_slice *s)
{
    struct wake w = {.due = {.leases = l, .now = now_ms}, .space = space};
    return record_pass_slice(l->vault, RECORD_LEASE, LEASE_BY_STATE, LEASE_STATE_REVOKING, s,
                             wake_one, &w);
}
