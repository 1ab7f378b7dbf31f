#include "server/revoke.h"

#include <countersign/connector.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include "base/clock.h"
#include "base/fault.h"
#include "server/hold.h"
#include "server/journal.h"
#include "server/metrics.h"
#include "server/mount.h"
#include "vault/audit.h"

/* --- Requests that wait for leases to be gone
 * ------------------------------------------------------- */

struct waiter {
    struct waiter *next;
    struct request *request;
    json_t *ids; /* those not gone yet: an object as a set, since they may be very many */
    sd_event_source *deadline;
    bool linked; /* from the commit of the first ids until it is told */
    bool closed; /* no more ids come */
    char error[LEASE_ID_MAX + 600];
};

static struct waiter *waiters;

#define WAIT_MS 60000

/* The answer stands in the request already. */
static int answer_waiter(struct request *r _unused_)
{
    return 0;
}

static void unlink_waiter(struct waiter *w)
{
    struct waiter **p = &waiters;
    while (*p && *p != w)
        p = &(*p)->next;
    if (*p)
        *p = w->next;
    w->linked = false;
}

void revoke_wait_free(struct waiter *w)
{
    if (!w)
        return;
    unlink_waiter(w);
    sd_event_source_disable_unref(w->deadline);
    json_decref(w->ids);
    free(w);
}

static void waiter_free(void *data)
{
    revoke_wait_free(data);
}

/* While ids are still to come, the error is kept for the end. */
static void tell(struct waiter *w, const char *id, const char *error)
{
    if (error && !w->error[0])
        snprintf(
            w->error, sizeof(w->error),
            "%s is recorded as revoked, but it is not gone yet: %s. It is tried again until it "
            "is; see: countersign lease list",
            id, error);
    if (!w->closed)
        return;
    unlink_waiter(w);
    w->deadline = sd_event_source_disable_unref(w->deadline);
    if (w->error[0])
        (void)request_error(w->request, 502, "%s", w->error);
    request_resume(w->request, answer_waiter);
}

static const char *first_id(const struct waiter *w)
{
    void *first = json_object_iter(w->ids);
    return first ? json_object_iter_key(first) : "a lease";
}

static int on_wait_over(sd_event_source *s _unused_, uint64_t usec _unused_, void *data)
{
    struct waiter *w = data;
    tell(w, first_id(w), "there was no answer within a minute");
    return 0;
}

struct waiter *revoke_wait_open(struct request *r)
{
    struct waiter *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    w->request = r;
    w->ids = json_object();
    if (!w->ids) {
        free(w);
        return NULL;
    }
    return w;
}

void revoke_wait_add(struct waiter *w, const json_t *ids)
{
    json_t *id;
    size_t i;
    if (!w->linked) {
        w->next = waiters;
        waiters = w;
        w->linked = true;
    }
    json_array_foreach(ids, i, id)
    {
        if (json_object_set_new(w->ids, json_string_value(id), json_true()) < 0)
            tell(w, json_string_value(id), "the agent is out of memory");
    }
}

void revoke_wait_close(struct waiter *w)
{
    w->closed = true;
    if (w->error[0] || json_object_size(w->ids) == 0)
        tell(w, first_id(w), NULL);
    else if (sd_event_add_time_relative(w->request->agent->loop, &w->deadline, CLOCK_MONOTONIC,
                                        WAIT_MS * 1000ULL, 0, on_wait_over, w) < 0)
        tell(w, first_id(w), "the agent is out of memory");
}

/* Those that are still collecting come back by themselves, and are answered then. */
void revoke_forget_waiters(void)
{
    while (waiters) {
        struct waiter *w = waiters;
        if (w->closed)
            tell(w, first_id(w), "the agent was sealed");
        else
            unlink_waiter(w);
    }
}

struct start {
    struct waiter *waiter;
    json_t *ids;
};

static void start_free(void *data)
{
    struct start *s = data;
    json_decref(s->ids);
    free(s);
}

static void start_waiting(void *data)
{
    struct start *s = data;
    revoke_wait_add(s->waiter, s->ids);
    revoke_wait_close(s->waiter);
    start_free(s);
}

int revoke_wait(struct request *r, const json_t *ids)
{
    struct start *s = calloc(1, sizeof(*s));
    struct waiter *w = s ? revoke_wait_open(r) : NULL;
    if (!w) {
        free(s);
        return -ENOMEM;
    }
    *s = (struct start){.waiter = w, .ids = json_copy((json_t *)(uintptr_t)ids)};
    if (r->state && r->state_free)
        r->state_free(r->state);
    r->state = w;
    r->state_free = waiter_free;
    int e =
        s->ids ? effects_push(turn_effects(r->agent->turn), start_waiting, start_free, s) : -ENOMEM;
    if (e < 0)
        start_free(s);
    return e < 0 ? e : REQUEST_WAIT;
}

/* Tells the waiters of a lease what became of it: gone (error NULL), or why it is not yet. */
static void tell_waiters(const char *id, const char *error)
{
    for (struct waiter *w = waiters, *next; w; w = next) {
        next = w->next;
        if (json_object_del(w->ids, id) == 0 && (error || json_object_size(w->ids) == 0))
            tell(w, id, error);
    }
}

static void forgotten(void *data)
{
    tell_waiters(data, NULL);
    free(data);
}

int revoke_forgotten(struct agent *a, const char *id)
{
    char *copy = strdup(id);
    int e = copy ? effects_push(turn_effects(a->turn), forgotten, free, copy) : -ENOMEM;
    if (e < 0)
        free(copy);
    return e;
}

#define NO_MEMORY "the agent is out of memory"

/* --- One revocation
 * --------------------------------------------------------------------------------- */

struct revocation {
    struct agent *agent;
    char id[LEASE_ID_MAX];
    enum lease_outcome outcome;
    bool busy; /* not even tried: many are being revoked at once */
    char error[400];
    int64_t tried; /* attempts before this one */
    json_t *objects;
};

static void revocation_free(struct revocation *x)
{
    json_decref(x->objects);
    free(x);
}

static int record(void *data)
{
    struct revocation *x = data;
    int e =
        lease_revoked(x->agent->leases, x->id, x->outcome, x->error, x->objects, clock_lease_ms());
    return e < 0 ? e : 0;
}

/* To the journal, as to the audit log: at the 1st, 2nd, 4th, 8th … attempt. */
static void tell_outcome(const struct revocation *x)
{
    static const enum metrics_counter counter[] = {[LEASE_RETRY] = METRICS_REVOKE_RETRY,
                                                   [LEASE_GONE] = METRICS_REVOKED,
                                                   [LEASE_QUARANTINE] = METRICS_QUARANTINED};
    const struct journal_fields f = {.lease = x->id,
                                     .result = x->outcome == LEASE_RETRY ? "waits" : "quarantined"};
    bool waits = x->outcome == LEASE_RETRY;
    metrics_count(counter[x->outcome]);
    if (x->outcome == LEASE_GONE || ((x->tried + 1) & x->tried) != 0)
        return;
    journal_tell(waits ? JOURNAL_REVOCATION_WAITS : JOURNAL_QUARANTINED, LOG_WARNING, &f,
                 waits ? "lease %s: its revocation waits, and is tried again: %s"
                       : "lease %s: its account has no login any more, but can't be dropped: %s",
                 x->id, x->error);
}

static void recorded(void *data, int error)
{
    struct revocation *x = data;
    FAULT_POINT(lease_revocation_recorded);
    if (!error)
        tell_outcome(x);
    if (error) /* the claim runs out, and it is tried again */
        sd_journal_print(LOG_ERR, "lease %s: its revocation could not be recorded: %s", x->id,
                         strerror(-error));
    if (!x->busy || error)
        tell_waiters(x->id, x->outcome == LEASE_GONE && !error ? NULL
                            : x->error[0]                      ? x->error
                                                               : "it could not be recorded");
    revocation_free(x);
}

static void finish(struct revocation *x)
{
    if (turn_add(x->agent->turn, TURN_BACKGROUND, record, recorded, x) == 0)
        return;
    tell_waiters(x->id, NO_MEMORY); /* the claim runs out, and it is tried again */
    revocation_free(x);
}

static void judge(struct revocation *x, const json_t *answer)
{
    const char *kind = json_str_or(answer, "kind", "");
    if (json_bool(answer, "ok", false) || strcmp(kind, "gone") == 0) {
        x->outcome = LEASE_GONE;
        return;
    }
    x->busy = strcmp(kind, "busy") == 0;
    x->outcome = strcmp(kind, "dependent") == 0 ? LEASE_QUARANTINE : LEASE_RETRY;
    snprintf(x->error, sizeof(x->error), "%s", json_str_or(answer, "message", "no reason given"));
    json_t *objects = json_object_get(answer, "objects");
    x->objects = json_is_array(objects) ? json_deep_copy(objects) : NULL;
}

static void on_answer(const json_t *answer, void *data)
{
    FAULT_POINT(lease_revocation_answered);
    judge(data, answer);
    finish(data);
}

/* What the engine says how to undo it. Returns 1 when a call is under way. */
static int ask_engine(struct revocation *x, const json_t *lease)
{
    json_t *frame = NULL;
    const struct engine *engine = engine_find(json_str_or(lease, "engine", ""));
    if (!engine) {
        snprintf(x->error, sizeof(x->error),
                 "this agent has no secrets engine \"%.32s\" that could undo it",
                 json_str_or(lease, "engine", ""));
        return 0;
    }
    if (!engine->lease_revoke) { /* nothing of it is outside */
        x->outcome = LEASE_GONE;
        return 0;
    }
    int e = engine->lease_revoke(x->agent->vault, json_str_or(lease, "space", ""),
                                 json_object_get(lease, "recipe"), &frame);
    if (e == 0 && frame)
        e = hold_call(x->agent, json_str_or(lease, "space", ""), frame, on_answer, x);
    else if (e == 0)
        x->outcome = LEASE_GONE;
    if (e == 0 && frame)
        return 1;
    if (e == -ENOENT)
        snprintf(
            x->error, sizeof(x->error),
            "the configuration that it was made with is gone: write it again, or drop the account "
            "by hand and use revoke-force");
    else if (e < 0)
        snprintf(x->error, sizeof(x->error), "the agent failed: %s", strerror(-e));
    return 0;
}

void revoke_start(const char *id, const json_t *lease, void *data)
{
    struct revocation *x = calloc(1, sizeof(*x));
    if (!x) {
        tell_waiters(id, NO_MEMORY); /* the claim runs out, and it is tried again */
        return;
    }
    FAULT_POINT(lease_revocation_begun);
    x->agent = data;
    snprintf(x->id, sizeof(x->id), "%s", id);
    x->tried = json_int(lease, "attempts", 0);
    if (!ask_engine(x, lease))
        finish(x);
}

/* --- The sweep
 * -------------------------------------------------------------------------------------- */

/* What one sweep takes over at most. A connector that lies must not fill the store; should there be
 * more, the next sweep goes on. */
#define ADOPTED_MAX 10000

struct sweep {
    struct agent *agent;
    char space[40];
    char name[128];
    json_t *frame; /* kept for the next page */
    json_t *found; /* roles of this page */
    bool more;
    size_t adopted;
};

static void sweep_free(struct sweep *s)
{
    json_decref(s->frame);
    json_decref(s->found);
    free(s);
}

static int adopt(struct sweep *s, const struct mount *m, const char *role)
{
    char path[300], id[LEASE_ID_MAX];
    snprintf(path, sizeof(path), "%.128sorphan/%.127s", m->path, s->name);
    _cleanup_json_ json_t *recipe = m->engine->orphan(s->name, role);
    int e = recipe ? lease_make_id(path, id) : -ENOMEM;
    if (e < 0)
        return e;
    const struct lease_spec spec = {
        .id = id,
        .path = path,
        .mount = m->path,
        .engine = m->engine->type,
        .space = m->space,
        .principal = "uid:0",
        .binding = "",
        .token = "",
        .lifetime_kind = "none",
        .lifetime_id = "",
        .lifetime_name = "",
        .ttl = 1,
        .recipe = recipe,
    };
    int64_t now = clock_lease_ms();
    e = lease_create(s->agent->leases, &spec, now);
    if (e == 0)
        e = lease_unmake(s->agent->leases, id, "an account of this instance that no lease knew",
                         now);
    if (e == 0)
        agent_alert(s->agent, "orphaned account",
                    "an account of this instance that no lease knew is being "
                    "revoked");
    return e;
}

static int sweep_turn(void *data)
{
    struct sweep *s = data;
    const struct mount *m = mounts_by_space(s->agent->mounts, s->space);
    json_t *one;
    size_t i;
    if (!m || hold_database(s->agent, s->space, s->name))
        return 0;
    json_array_foreach(s->found, i, one)
    {
        _cleanup_json_ json_t *lease = NULL;
        int e = lease_get(s->agent->leases, json_str_or(one, "lease", ""), &lease);
        if (e == LEASE_E_NONE && s->adopted++ < ADOPTED_MAX)
            e = adopt(s, m, json_str_or(one, "role", ""));
        if (e < 0)
            return e;
    }
    return 0;
}

static void on_page(const json_t *answer, void *data);

/* Asks for the page behind the last role of this one. */
static int next_page(struct sweep *s)
{
    const json_t *last = json_array_get(s->found, json_array_size(s->found) - 1);
    int e = last ? json_set_str(s->frame, "after", json_str_or(last, "role", "")) : -EPROTO;
    json_t *frame = e == 0 ? json_deep_copy(s->frame) : NULL;
    if (!frame)
        return e < 0 ? e : -ENOMEM;
    json_decref(s->found);
    s->found = NULL;
    return hold_call(s->agent, s->space, frame, on_page, s);
}

/* What was found is recorded before more is asked for. */
static void sweep_done(void *data, int error)
{
    struct sweep *s = data;
    if (s->adopted > ADOPTED_MAX)
        sd_journal_print(LOG_WARNING,
                         "database %s: the sweep stops after %d leftover accounts; the next one "
                         "goes on",
                         s->name, ADOPTED_MAX);
    else if (!error && s->more && next_page(s) == 0)
        return;
    sweep_free(s);
}

/* Roles come in their order, each behind those before: so a sweep ends, whoever answers. */
static bool page_makes_sense(const struct sweep *s, const json_t *roles)
{
    const char *before = json_str_or(s->frame, "after", "");
    const json_t *one;
    size_t i;
    json_array_foreach(roles, i, one)
    {
        const char *role = json_str_or(one, "role", "");
        if (strlen(role) > CONNECTOR_ROLE_MAX || strcmp(role, before) <= 0)
            return false;
        before = role;
    }
    return true;
}

static void on_page(const json_t *answer, void *data)
{
    struct sweep *s = data;
    json_t *roles = json_object_get(answer, "roles");
    if (!json_bool(answer, "ok", false) || !json_is_array(roles)) {
        sd_journal_print(LOG_NOTICE, "database %s could not be swept for leftover accounts: %s",
                         s->name, json_str_or(answer, "message", "?"));
        sweep_free(s);
        return;
    }
    if (!page_makes_sense(s, roles)) {
        sd_journal_print(LOG_WARNING,
                         "database %s: the connector's list of accounts makes no "
                         "sense; nothing of it is believed",
                         s->name);
        sweep_free(s);
        return;
    }
    s->more = json_bool(answer, "more", false);
    s->found = json_deep_copy(roles);
    if (!s->found || turn_add(s->agent->turn, TURN_BACKGROUND, sweep_turn, sweep_done, s) < 0)
        sweep_free(s);
}

struct sweeping {
    struct agent *agent;
    const struct mount *mount;
};

/* The claim that goes with it has to rest in the store before it is sent: after the commit. */
static void ask_first_page(void *data)
{
    struct sweep *s = data;
    json_t *frame = json_deep_copy(s->frame);
    if (!frame || hold_call(s->agent, s->space, frame, on_page, s) < 0)
        sweep_free(s);
}

static void drop_sweep(void *data)
{
    sweep_free(data);
}

static int start_sweep(json_t *frame, const char *name, void *data)
{
    struct sweeping *x = data;
    struct sweep *s = calloc(1, sizeof(*s));
    if (!s) {
        json_decref(frame);
        return -ENOMEM;
    }
    s->frame = frame;
    s->agent = x->agent;
    snprintf(s->space, sizeof(s->space), "%s", x->mount->space);
    snprintf(s->name, sizeof(s->name), "%s", name);
    int e = effects_push(turn_effects(x->agent->turn), ask_first_page, drop_sweep, s);
    if (e < 0)
        sweep_free(s);
    return e;
}

/* What waits for its next try is due at once: as many a turn as it has time for. Where that fails,
 * they come due by themselves, a minute later at most. */
static struct {
    struct record_slice slice, next;
    bool under_way, anew;
} waking;

#define WAKE_STEP 16

static int wake_turn(void *data)
{
    struct agent *a = data;
    int e = 0;
    if (waking.anew)
        waking.slice = (struct record_slice){0};
    waking.anew = false;
    waking.next = waking.slice;
    waking.next.limit = WAKE_STEP;
    waking.next.more = false;
    if (vault_state(a->vault) != VAULT_UNSEALED || hold_reason(a))
        return 0;
    do {
        e = lease_wake(a->leases, NULL, clock_lease_ms(), &waking.next);
    } while (e >= 0 && waking.next.more && !turn_spent(a->turn));
    return e < 0 ? e : 0;
}

static void wake_done(void *data, int error)
{
    struct agent *a = data;
    waking.slice = waking.next;
    waking.under_way = ((!error && waking.slice.more) || waking.anew) &&
                       turn_add(a->turn, TURN_BACKGROUND, wake_turn, wake_done, a) == 0;
}

static void wake(struct agent *a)
{
    waking.anew = true;
    if (!waking.under_way)
        wake_done(a, 0);
}

static int sweep_all(void *data)
{
    struct agent *a = data;
    if (hold_reason(a))
        return 0;
    for (size_t i = 0; i < mounts_count(a->mounts); i++) {
        struct sweeping x = {.agent = a, .mount = mounts_at(a->mounts, i)};
        if (x.mount->engine->sweep) {
            int e = x.mount->engine->sweep(a->vault, x.mount->space, start_sweep, &x);
            if (e < 0)
                return e;
        }
    }
    return 0;
}

void revoke_sweep(struct agent *a)
{
    if (vault_state(a->vault) != VAULT_UNSEALED || !link_up(a->link))
        return;
    (void)turn_add(a->turn, TURN_BACKGROUND, sweep_all, NULL, a);
    wake(a);
}
