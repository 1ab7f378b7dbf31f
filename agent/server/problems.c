#include "server/problems.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "server/break_glass.h"
#include "server/hold.h"
#include "server/link.h"
#include "server/rules.h"
#include "vault/record.h"

#define TEXT_MAX 400
#define LOW_SPACE 4 /* times the reserve: less than that is said before it is too late */
#define MIB (1024 * 1024)

/* Fills out with what is wrong and what to do, in one sentence; returns whether it is. */
typedef bool (*problem_fn)(const struct problem_facts *f, char *out, size_t n);

static const char *ago(const struct problem_facts *f, int64_t since_ms, char out[32])
{
    int64_t s = (f->now_ms - since_ms) / 1000;
    clock_human(s > 0 ? s : 0, out, 32);
    return out;
}

/* --- The store, sealed or not
 * ----------------------------------------------------------------------- */

static bool not_initialised(const struct problem_facts *f, char *out, size_t n)
{
    snprintf(out, n,
             "not initialised: run as root: countersign operator init -operator=group:NAME");
    return f->state == VAULT_UNINITIALISED;
}

static bool sealed(const struct problem_facts *f, char *out, size_t n)
{
    snprintf(out, n, "sealed: run as root: countersign operator unseal");
    return f->state == VAULT_SEALED;
}

static bool store_broken(const struct problem_facts *f, char *out, size_t n)
{
    char since[32];
    int e = f->health.error;
    snprintf(out, n,
             "the store has not been writable for %s (%s), so nobody gets in and nothing changes: "
             "mend the disk that it lies on, then: systemctl restart countersignd",
             ago(f, f->health.error_since_ms, since), strerror(-e));
    return e && e != -ENOSPC && !f->health.store.full;
}

static bool store_full(const struct problem_facts *f, char *out, size_t n)
{
    const struct vault_room *r = &f->health.store;
    char since[32];
    snprintf(out, n,
             "the store's disk has been full for %s: logins go on (%lld of %lld MiB kept back for "
             "them), other changes are refused: free %lld MiB there, the rest goes by itself",
             ago(f, r->since_ms, since), (long long)(r->reserve / MIB), (long long)(r->whole / MIB),
             (long long)((r->whole - r->reserve) / MIB + 2));
    return r->full;
}

static bool low(const struct vault_room *r)
{
    return r->whole && !r->full && r->free >= 0 && r->free < LOW_SPACE * r->whole;
}

static bool store_low(const struct problem_facts *f, char *out, size_t n)
{
    const struct vault_room *r = &f->health.store;
    snprintf(out, n, "the store's disk is nearly full (%lld MiB left): free space there",
             (long long)(r->free / MIB));
    return low(r);
}

static bool no_reserve(const struct problem_facts *f, char *out, size_t n)
{
    const struct vault_room *r = &f->health.store;
    snprintf(out, n,
             "nothing could be kept back on the store's disk: if it fills up, nobody gets in: see "
             "that agent.db-reserve beside the store can be written");
    return r->whole && !r->full && r->reserve < r->whole;
}

/* --- Leases
 * ----------------------------------------------------------------------------------------- */

static bool connector_away(const struct problem_facts *f, char *out, size_t n)
{
    snprintf(out, n,
             "the connector is not connected, no database account can be made or dropped: "
             "systemctl status countersign-connector");
    return !link_up(f->agent->link);
}

static bool revocations_wait(const struct problem_facts *f, char *out, size_t n)
{
    const struct lease_counts *c = f->leases;
    char since[32];
    int64_t late = (clock_lease_ms() - c->oldest_waiting_ms) / 1000;
    clock_human(late > 0 ? late : 0, since, sizeof(since));
    snprintf(out, n, "%lld revocation%s, the oldest for %s, and %s tried again without end: %s",
             (long long)c->revoking, c->revoking == 1 ? " waits" : "s wait", since,
             c->revoking == 1 ? "is" : "are", f->root ? c->last_error : "countersign lease list");
    return c->oldest_waiting_ms != 0;
}

static bool quarantined(const struct problem_facts *f, char *out, size_t n)
{
    long long q = (long long)f->leases->quarantined;
    snprintf(out, n,
             "%lld account%s can't be dropped because objects depend on %s (no login is "
             "possible): countersign lease list -quarantined",
             q, q == 1 ? "" : "s", q == 1 ? "it" : "them");
    return q > 0;
}

/* --- The audit log, policies
 * ------------------------------------------------------------------------ */

static bool audit_failing(const struct problem_facts *f, char *out, size_t n)
{
    char since[32];
    snprintf(out, n,
             "the audit log has not been writable for %s, %llu lines wait in the store: free space "
             "or mend %s",
             ago(f, f->audit_failing_ms, since), (unsigned long long)f->audit_waiting,
             f->agent->audit_path ? f->agent->audit_path : "its path");
    return f->audit_failing_ms != 0 && !hold_reason(f->agent);
}

static bool audit_full(const struct problem_facts *f, char *out, size_t n)
{
    const struct vault_room *r = &f->health.audit;
    char since[32];
    snprintf(
        out, n,
        "the audit log's disk has been full for %s: free %lld MiB there; until then its lines wait "
        "in the store, where that is not full, too",
        ago(f, r->since_ms, since), (long long)((r->whole - r->reserve) / MIB + 2));
    return r->full && !f->audit_failing_ms;
}

static bool audit_low(const struct problem_facts *f, char *out, size_t n)
{
    const struct vault_room *r = &f->health.audit;
    snprintf(out, n, "the audit log's disk is nearly full (%lld MiB left): free space there",
             (long long)(r->free / MIB));
    return low(r) && !low(&f->health.store);
}

static bool rules_unreadable(const struct problem_facts *f, char *out, size_t n)
{
    size_t broken = rules_broken(f->agent->rules);
    snprintf(out, n,
             "%zu policies or bindings can't be read any more and grant nothing: write them again",
             broken);
    return broken > 0;
}

static bool rows_broken(const struct problem_facts *f, char *out, size_t n)
{
    snprintf(out, n,
             "rows of the store failed their authentication and are passed over: somebody changed "
             "it, or the disk did: journalctl -u countersignd, countersign audit verify");
    return record_passed_over(f->agent->vault) > 0;
}

/* --- Emergency codes
 * ------------------------------------------------------------------------ */

static bool emergency_used(const struct problem_facts *f, char *out, size_t n)
{
    struct break_glass_summary s;
    char since[32];
    if (break_glass_summary(f->agent->vault, &s) < 0 || s.used == 0)
        return false;
    snprintf(out, n,
             "%zu emergency code%s used, the last %s ago, and %zu left: look at who it was "
             "(countersign operator break-glass status), then make a new set",
             s.used, s.used == 1 ? " was" : "s were", ago(f, s.last_used_ms, since), s.left);
    return true;
}

static bool emergency_strange(const struct problem_facts *f, char *out, size_t n)
{
    struct break_glass_summary s;
    if (break_glass_summary(f->agent->vault, &s) < 0 || s.strange == 0)
        return false;
    snprintf(out, n,
             "%zu emergency codes in the store were not made by this agent: somebody changed the "
             "store: countersign operator break-glass status",
             s.strange);
    return true;
}

/* --- The table
 * -------------------------------------------------------------------------------------- */

static const struct {
    problem_fn is;
    bool sealed_too; /* asked while the store is not open as well */
} checks[] = {
    {not_initialised, true},    {sealed, true},
    {store_broken, true},       {store_full, true},
    {no_reserve, true},         {store_low, true},
    {audit_failing, false},     {audit_full, true},
    {audit_low, true},          {connector_away, false},
    {revocations_wait, false},  {quarantined, false},
    {rules_unreadable, false},  {rows_broken, false},
    {emergency_strange, false}, {emergency_used, true},
};

json_t *problems_find(const struct problem_facts *f)
{
    json_t *list = json_array();
    char text[TEXT_MAX];
    if (list && f->state == VAULT_UNSEALED)
        hold_problems(f->agent, list, f->root);
    for (size_t i = 0; list && i < ARRAY_LEN(checks); i++) {
        if (f->state != VAULT_UNSEALED && !checks[i].sealed_too)
            continue;
        if (checks[i].is(f, text, sizeof(text)) &&
            json_array_append_new(list, json_string(text)) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}
