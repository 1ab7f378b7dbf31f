/* sys/status, sys/logins. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "server/hold.h"
#include "server/logins.h"
#include "server/problems.h"
#include "server/routes.h"
#include "vault/audit.h"
#include "vault/record.h"

static json_t *room(const struct vault_room *r)
{
    return json_pack("{s:I, s:I, s:I, s:b, s:o}", "free", (json_int_t)r->free, "reserve",
                     (json_int_t)r->reserve, "reserve_whole", (json_int_t)r->whole, "full", r->full,
                     "full_since", json_stamp(r->since_ms));
}

static json_t *alerts(const struct alerts *x)
{
    return json_pack("{s:I, s:o, s:o, s:s?}", "count", (json_int_t)x->n, "since",
                     json_stamp(x->first_ms), "last", json_stamp(x->last_ms), "last_event",
                     x->n ? x->last : NULL);
}

/* For the person at the terminal, before anything else works: no secrets, no names. */
int route_status(struct request *r)
{
    struct agent *a = r->agent;
    const struct lease_counts *c = &a->counts;
    uint64_t seq = 0;
    uint8_t mac[VAULT_HASH_LEN];
    int64_t sessions = 0;
    struct problem_facts f = {.agent = a,
                              .root = r->root_peer,
                              .state = vault_state(a->vault),
                              .leases = c,
                              .now_ms = r->now_ms};
    bool open = f.state == VAULT_UNSEALED;
    if (!open)
        a->counts = (struct lease_counts){0};
    if (open) {
        if (agent_count_leases(a) < 0 || audit_head(a->vault, &seq, mac) < 0 ||
            record_count(a->vault, RECORD_SESSION, &sessions) < 0)
            return -EIO;
        audit_export_state(a->vault, &f.audit_waiting, &f.audit_failing_ms);
    }
    vault_health(a->vault, &f.health);
    return request_data(
        r, json_pack(
               "{s:s, s:s, s:b, s:b, s:o, s:{s:I, s:I, s:I, s:I}, s:I, s:o, s:s, s:I, s:{s:I, s:I, "
               "s:o}, s:{s:o, s:o}, s:o, s:o, s:o}",
               "version", COUNTERSIGN_VERSION, "instance", vault_instance(a->vault), "initialized",
               f.state != VAULT_UNINITIALISED, "sealed", !open, "since", json_stamp(a->started_ms),
               "leases", "pending", (json_int_t)c->pending, "active", (json_int_t)c->active,
               "revoking", (json_int_t)c->revoking, "quarantined", (json_int_t)c->quarantined,
               "revocations_waiting", (json_int_t)c->revoking, "oldest_waiting",
               json_stamp(c->oldest_waiting_ms), "connector", link_up(a->link) ? "up" : "down",
               "sessions", (json_int_t)sessions, "audit", "seq", (json_int_t)seq, "waiting",
               (json_int_t)f.audit_waiting, "failing_since", json_stamp(f.audit_failing_ms), "disk",
               "store", room(&f.health.store), "audit", room(&f.health.audit), "alerts",
               alerts(&a->alerts), "held", open ? hold_show(a) : json_null(), "problems",
               problems_find(&f)));
}

int route_logins(struct request *r)
{
    return request_data(r, json_pack("{s:o}", "logins", logins_list()));
}
