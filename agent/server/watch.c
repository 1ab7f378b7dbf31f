#include "server/watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fault.h"
#include "identity/throttle.h"
#include "identity/token.h"
#include "lease/deadline.h"
#include "server/hold.h"
#include "server/logind.h"
#include "vault/audit.h"

#define TICK_MS 30000  /* the longest time between two looks */
#define EXPORT_MS 1000 /* from an audit line in its file to that file on the disk */
#define DUE_BATCH 64   /* tokens that one turn ends */
#define DUE_STEP 8     /* leases between two looks at the clock */
#define FULL_MS 20     /* until the connector may have room again */
#define SWEEP_BATCH 512

struct leader {
    struct leader *next;
    struct watch *watch;
    char id[SESSION_ID_MAX];
    char logind[LOGIND_ID_MAX]; /* its name there; "" none */
    int pidfd;
    sd_event_source *source;
    const char *reason; /* why its session ends; NULL: it doesn't yet */
    bool alive;         /* it does so though the leader runs */
    bool queued;        /* a turn will come back to it, and then it goes */
};

struct watch {
    struct agent *agent;
    sd_event_source *timer, *export_timer;
    struct logind *logind;
    struct leader *leaders;
    int64_t swept_ms;
    bool queued;
    bool started;                /* what was under way before the start has been taken up again: */
    bool adopted;                /* sessions, */
    struct lease_tour tour;      /* and leases, up to here, */
    struct lease_tour next_tour; /* or here, once the turn is committed */
    int64_t began_ms;            /* lease time of the start; 0 = sealed */
    bool tick_failed, export_failed; /* said already */
};

/* --- Sessions
 * --------------------------------------------------------------------------------------- */

static int token_gone(const char *id, void *data)
{
    struct agent *a = data;
    size_t n;
    return lease_revoke_token(a->leases, id, "its token ended", clock_lease_ms(), &n);
}

int watch_end_session(struct agent *a, const char *id, const char *reason)
{
    struct session s;
    size_t n = 0;
    char text[200];
    int e = session_get(a->vault, id, &s);
    if (e != 0)
        return e;
    FAULT_POINT(session_ending);
    snprintf(text, sizeof(text), "the login session ended: %s", reason);
    e = lease_revoke_lifetime(a->leases, "session", id, text, clock_lease_ms(), &n);
    if (e >= 0)
        e = token_session_ended(a->vault, id, token_gone, a);
    if (e >= 0)
        e = session_close(a->vault, id);
    FAULT_POINT(session_ended);
    _cleanup_json_ json_t *line =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:s}", "event", "close", "session", id, "user", s.user,
                  "service", s.service, "leases", (json_int_t)n, "reason", reason);
    if (e >= 0)
        e = line ? audit_append(a->vault, "session", line) : -ENOMEM;
    return e < 0 ? e : 0;
}

static void leader_free(struct leader *l)
{
    sd_event_source_disable_unref(l->source);
    if (l->pidfd >= 0)
        close(l->pidfd);
    free(l);
}

static void unlink_leader(struct leader *l)
{
    for (struct leader **p = &l->watch->leaders; *p; p = &(*p)->next) {
        if (*p == l) {
            *p = l->next;
            return;
        }
    }
}

static int leader_gone(void *data)
{
    struct leader *l = data;
    if (vault_state(l->watch->agent->vault) != VAULT_UNSEALED)
        return 0; /* found by its leader not being alive, after unsealing */
    int e = watch_end_session(l->watch->agent, l->id, l->reason);
    return e < 0 ? e : 0;
}

static void leader_done(void *data, int error)
{
    struct leader *l = data;
    l->queued = false;
    if (error)
        sd_journal_print(LOG_ERR, "session %s: its end could not be recorded: %s", l->id,
                         strerror(-error));
    if (error && l->alive) { /* logind is asked again at the next tick */
        (void)sd_event_source_set_enabled(l->source, SD_EVENT_ON);
        return;
    }
    /* After an error it is found again at the next tick, by its leader not being alive. */
    unlink_leader(l);
    leader_free(l);
}

static void end_leader(struct leader *l, const char *reason, bool alive)
{
    (void)sd_event_source_set_enabled(l->source, SD_EVENT_OFF);
    l->reason = reason;
    l->alive = alive;
    l->queued = turn_add(l->watch->agent->turn, TURN_BACKGROUND, leader_gone, leader_done, l) == 0;
    if (!l->queued)
        leader_done(l, -ENOMEM);
}

static int on_leader_exit(sd_event_source *s _unused_, int fd _unused_, uint32_t revents _unused_,
                          void *data)
{
    end_leader(data, "its leading process has gone", false);
    return 0;
}

/* A session may end though its leader, or what it left behind, lives on. */
static void on_logind(void *data)
{
    struct watch *w = data;
    for (struct leader *l = w->leaders, *next; l; l = next) {
        next = l->next;
        if (!l->queued && l->logind[0] && logind_is_over(l->logind))
            end_leader(l, "logind is closing its session", true);
    }
}

static bool is_watched(const struct watch *w, const char *id)
{
    for (const struct leader *l = w->leaders; l; l = l->next) {
        if (strcmp(l->id, id) == 0 && !l->queued)
            return true;
    }
    return false;
}

void watch_session(struct watch *w, const struct session *s)
{
    if (vault_state(w->agent->vault) != VAULT_UNSEALED || is_watched(w, s->id))
        return;
    struct leader *l = calloc(1, sizeof(*l));
    if (!l)
        return; /* the tick finds it */
    l->watch = w;
    snprintf(l->id, sizeof(l->id), "%s", s->id);
    l->pidfd = (int)syscall(SYS_pidfd_open, s->leader, 0);
    if (l->pidfd < 0 || !session_alive(s) ||
        sd_event_add_io(w->agent->loop, &l->source, l->pidfd, EPOLLIN, on_leader_exit, l) < 0) {
        leader_free(l);
        return;
    }
    l->next = w->leaders;
    w->leaders = l;
    if (logind_find(s, l->logind))
        logind_look(w->logind); /* it may have ended before it was watched */
}

struct dead {
    struct agent *agent;
    bool adopt; /* watch those alive */
    const char *reason;
};

static int end_if_dead(const struct session *s, void *data)
{
    struct dead *d = data;
    if (!session_alive(s)) {
        if (hold_reason(d->agent))
            return 0; /* what it held would be revoked: found again once that is accepted */
        int e = watch_end_session(d->agent, s->id, d->reason);
        return e < 0 ? e : 0;
    }
    if (d->adopt)
        watch_session(d->agent->watch, s);
    return 0;
}

/* --- The timer
 * -------------------------------------------------------------------------------------- */

static int sweep(struct watch *w, int64_t now)
{
    struct agent *a = w->agent;
    struct dead d = {.agent = a, .reason = "its leading process has gone"};
    if (now - w->swept_ms < TICK_MS && now >= w->swept_ms)
        return 0;
    w->swept_ms = now;
    logind_look(w->logind);
    int e = session_each(a->vault, end_if_dead, &d);
    if (e >= 0)
        e = throttle_sweep(a->vault, now, SWEEP_BATCH);
    if (e >= 0)
        e = session_sweep(a->vault, now, SWEEP_BATCH);
    return e;
}

/* Tried with each tick until it has worked: the disk may be full at first. */
static int adopt_sessions(struct watch *w)
{
    struct dead d = {
        .agent = w->agent, .adopt = true, .reason = "it ended while the agent was away"};
    return w->adopted ? 0 : session_each(w->agent->vault, end_if_dead, &d);
}

/* As many of the leases that were under way as this turn has time for. */
static int go_over_leases(struct watch *w, struct lease_tour *t)
{
    int e;
    do {
        t->slice.limit = DUE_STEP;
        e = lease_restart(w->agent->leases, w->began_ms, clock_lease_ms(), t);
    } while (e >= 0 && t->slice.more && !turn_spent(w->agent->turn));
    return e;
}

static int start(struct watch *w)
{
    struct lease_tour t = w->tour;
    int e = adopt_sessions(w);
    if (e < 0 || hold_reason(w->agent))
        return e;
    e = go_over_leases(w, &t);
    if (e >= 0)
        w->next_tour = t;
    return e;
}

/* What is due, for as long as there is time, and room for what it asks of the connector. */
static int drive(struct watch *w, int64_t now)
{
    bool more = true;
    int e = 0;
    while (e >= 0 && more && link_has_room(w->agent->link)) {
        e = lease_due(w->agent->leases, now, DUE_STEP, &more);
        if (turn_spent(w->agent->turn))
            break;
    }
    return e;
}

static int tick_turn(void *data)
{
    struct watch *w = data;
    w->queued = false;
    if (vault_state(w->agent->vault) != VAULT_UNSEALED)
        return 0;
    int e = deadline_update(w->agent->vault);
    if (e < 0)
        return e;
    if (e == DEADLINE_E_FORWARD)
        sd_journal_print(LOG_NOTICE,
                         "the clock is synchronised now; lease time moved forward to it");
    w->next_tour = w->tour;
    e = w->started ? 0 : start(w);
    int64_t now = clock_lease_ms();
    bool held = hold_reason(w->agent) != NULL;
    if (e >= 0 && !held)
        e = token_expire(w->agent->vault, now, DUE_BATCH, token_gone, w->agent);
    if (e >= 0 && !held)
        e = drive(w, now);
    if (e >= 0)
        e = sweep(w, clock_wall_ms());
    return e < 0 ? e : 0;
}

static void arm(struct watch *w, int64_t in_ms)
{
    uint64_t usec = in_ms > 0 ? (uint64_t)in_ms * 1000 : 0;
    (void)sd_event_source_set_time_relative(w->timer, usec);
    (void)sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
}

static int64_t until_next(struct watch *w)
{
    int64_t now = clock_lease_ms(), due, in = TICK_MS;
    if (hold_reason(w->agent))
        return in; /* nothing that is due is done */
    if (!w->started)
        return 0;
    if (lease_next_due(w->agent->leases, &due) == 0 && due - now < in)
        in = due - now;
    if (token_next_due(w->agent->vault, &due) == 0 && due - now < in)
        in = due - now;
    if (in <= 0 && !link_has_room(w->agent->link))
        return FULL_MS;
    return in > 0 ? in : 0;
}

/* What the start was to take up is behind it, as far as a held host lets it. */
static void note_start(struct watch *w)
{
    w->adopted = true;
    w->tour = w->next_tour;
    w->started |= !w->tour.slice.more;
}

static void tick_done(void *data, int error)
{
    struct watch *w = data;
    if (vault_state(w->agent->vault) != VAULT_UNSEALED)
        return;
    if (error && !w->tick_failed)
        sd_journal_print(
            LOG_ERR,
            "what is due could not be done: %s; it is tried again each second, and until then "
            "nothing expires",
            strerror(-error));
    w->tick_failed = error != 0;
    if (!error)
        note_start(w);
    arm(w, error ? 1000 : until_next(w));
}

static int on_timer(sd_event_source *s _unused_, uint64_t usec _unused_, void *data)
{
    struct watch *w = data;
    if (w->queued)
        return 0;
    w->queued = turn_add(w->agent->turn, TURN_BACKGROUND, tick_turn, tick_done, w) == 0;
    if (!w->queued)
        arm(w, 1000);
    return 0;
}

void watch_changed(void *data)
{
    struct agent *a = data;
    if (vault_state(a->vault) == VAULT_UNSEALED)
        arm(a->watch, until_next(a->watch));
}

/* --- The audit log's file
 * ----------------------------------------------------------------------------- */

/* A log that can't be written is said once, until it can be again. */
static void note_export(struct watch *w, int outcome)
{
    uint64_t waiting;
    int64_t failing = 0;
    if (outcome == AUDIT_E_BROKEN)
        agent_alert(w->agent, "audit log damaged",
                    "the audit log lost or changed lines that were safely in it; the new ones go "
                    "on behind a "
                    "new header: countersign audit verify");
    audit_export_state(w->agent->vault, &waiting, &failing);
    if (failing && !w->export_failed)
        agent_alert(
            w->agent, "audit log not written",
            "the audit log can't be written; its lines wait in the store: countersign status");
    w->export_failed = failing != 0;
}

static int on_export_due(sd_event_source *s _unused_, uint64_t usec _unused_, void *data)
{
    struct watch *w = data;
    if (vault_state(w->agent->vault) == VAULT_UNSEALED && w->agent->audit_path)
        note_export(w, audit_export_sync(w->agent->vault));
    return 0;
}

void watch_committed(struct watch *w)
{
    int enabled = SD_EVENT_OFF;
    if (vault_state(w->agent->vault) != VAULT_UNSEALED || !w->agent->audit_path)
        return;
    note_export(w, audit_export_run(w->agent->vault));
    (void)sd_event_source_get_enabled(w->export_timer, &enabled);
    if (enabled != SD_EVENT_OFF)
        return;
    (void)sd_event_source_set_time_relative(w->export_timer, EXPORT_MS * 1000);
    (void)sd_event_source_set_enabled(w->export_timer, SD_EVENT_ONESHOT);
}

int watch_new(struct agent *a, struct watch **out)
{
    struct watch *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->agent = a;
    int e = sd_event_add_time_relative(a->loop, &w->timer, CLOCK_BOOTTIME, 0, 1000, on_timer, w);
    if (e >= 0)
        e = sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
    if (e >= 0)
        e = sd_event_add_time_relative(a->loop, &w->export_timer, CLOCK_MONOTONIC, 0, 0,
                                       on_export_due, w);
    if (e >= 0)
        e = sd_event_source_set_enabled(w->export_timer, SD_EVENT_OFF);
    if (e >= 0)
        e = logind_new(a->loop, on_logind, w, &w->logind);
    if (e < 0) {
        watch_free(w);
        return e;
    }
    *out = w;
    return 0;
}

void watch_stop(struct watch *w)
{
    w->began_ms = 0;
    (void)sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
    (void)sd_event_source_set_enabled(w->export_timer, SD_EVENT_OFF);
    for (struct leader *l = w->leaders, *next; l; l = next) {
        next = l->next;
        if (l->queued)
            continue;
        unlink_leader(l);
        leader_free(l);
    }
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    if (w->timer && w->export_timer)
        watch_stop(w);
    for (struct leader *l = w->leaders, *next; l; l = next) {
        next = l->next;
        leader_free(l);
    }
    sd_event_source_disable_unref(w->timer);
    sd_event_source_disable_unref(w->export_timer);
    logind_free(w->logind);
    free(w);
}

/* Before the requests that waited for the key: what they begin is younger than began_ms. So is what
 * was begun before all that a held host holds was accepted: the start is the same. */
int watch_start(struct watch *w)
{
    if (w->began_ms == 0)
        w->began_ms = clock_lease_ms();
    w->started = w->adopted = false;
    w->tour = (struct lease_tour){0};
    int e = turn_add(w->agent->turn, TURN_PAM, tick_turn, tick_done, w);
    w->queued = e == 0;
    return e;
}
