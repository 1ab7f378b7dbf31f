/* Crash points: for each operation that changes something and each named point that it passes
 * (base/fault.h), in the agent or in the connector: SIGKILL there, start again, and then: the agent
 * serves, nothing acknowledged is lost, the change is there as a whole or not at all, the audit
 * chain is whole, and PostgreSQL has no account of this instance that no lease knows.
 *
 *   trial-crash BUILD FOLDER [DATABASE-URL PASSWORD]
 *
 * TRIAL_SECONDS=n: as many as fit (each operation and each point first), else all; TRIAL_EVERY=1:
 * at every passing, not the first only; TRIAL_SEED=n: another order. TRIAL_USER: whose login it is;
 * TRIAL_PG: how to look into the database (a connection string of libpq). */
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "trial/trial.h"

#ifndef COUNTERSIGN_FAULTS
#error "crash points are compiled with -DCOUNTERSIGN_FAULTS only"
#endif

#define QUIET_MS 60     /* nothing more is passed: the operation is over */
#define LATE_MS 1300    /* what is done a second later */
#define SETTLE_MS 15000 /* until nothing is pending or being revoked any more */
#define OPS_MAX 64

struct pair {
    size_t op;
    unsigned point;
    int nth;
    bool done;
};

struct sweep {
    struct trial_agent agent;
    char arm[PATH_MAX], trace[PATH_MAX];
    PGconn *pg;
    long number;
    struct {
        char *before, *after;
        int passed[FAULT_POINTS];
        int ran, missed, failed;
        char why[512];
    } op[OPS_MAX];
    struct pair *pairs;
    size_t n_pairs;
    bool point_done[FAULT_POINTS];
};

/* --- What is passed
 * ----------------------------------------------------------------------------- */

static size_t trace_size(const struct sweep *s)
{
    size_t n;
    free(trial_read_file(s->trace, 1 << 20, &n));
    return n;
}

static void wait_until_quiet(const struct sweep *s, int at_least_ms)
{
    int64_t begin = trial_now_ms();
    for (size_t was = 1, is = 0; was != is || trial_now_ms() - begin < at_least_ms;) {
        was = trace_size(s);
        trial_sleep_ms(QUIET_MS);
        is = trace_size(s);
    }
}

static void count_passes(struct sweep *s, size_t op)
{
    size_t n;
    char *text = trial_read_file(s->trace, 1 << 20, &n), *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));)
        for (unsigned p = 0; p < FAULT_POINTS; p++)
            s->op[op].passed[p] += strcmp(line, fault_name(p)) == 0;
    free(text);
}

/* One undisturbed run: what it looks like before and after, and what it passes. */
static bool record(struct sweep *s, size_t op, bool late)
{
    struct trial t = {.agent = &s->agent, .op = &trial_ops[op], .number = ++s->number};
    if (!trial_prepare(&t))
        return false;
    wait_until_quiet(s, 0);
    s->op[op].before = trial_look(&t);
    wait_until_quiet(s, 0);
    trial_write_file(s->trace, "");
    int r = trial_act(&t, TRIAL_ANSWER_MS);
    wait_until_quiet(s, late ? LATE_MS : 0);
    count_passes(s, op);
    s->op[op].after = trial_look(&t);
    if (r != 1 && t.op->kind != TRIAL_HANGUP) {
        trial_note("%s: undisturbed, it is refused", t.op->name);
        return false;
    }
    if (strcmp(t.op->name, "unseal") != 0 && strcmp(t.op->name, "seal") == 0)
        trial_stop(&s->agent, SIGTERM); /* it opens its store when it starts */
    return s->agent.pid || trial_start(&s->agent);
}

/* --- PostgreSQL
 * ---------------------------------------------------------------------------------- */

/* How many leases are neither active nor parked, and whether each account's lease is in the list.
 */
static bool accounts_have_leases(struct sweep *s, json_t *leases, char *why, size_t whylen)
{
    json_t *one;
    size_t i;
    bool ok = true;
    json_array_foreach(leases, i, one)
    {
        const char *state = json_string_value(json_object_get(one, "state"));
        if (!state || strcmp(state, "active") != 0) {
            snprintf(why, whylen, "a lease stays %s", state ? state : "without a state");
            ok = false;
        }
    }
    PGresult *r =
        PQexec(s->pg, "SELECT rolname, pg_catalog.shobj_description(oid, 'pg_authid') FROM "
                      "pg_roles WHERE rolname LIKE 'v-%'");
    if (PQresultStatus(r) != PGRES_TUPLES_OK) {
        snprintf(why, whylen, "PostgreSQL: %s", PQerrorMessage(s->pg));
        ok = false;
    }
    for (int k = 0; k < PQntuples(r); k++) {
        const char *id = strstr(PQgetvalue(r, k, 1), "lease=");
        bool known = false;
        json_array_foreach(leases, i, one)
        {
            const char *lease = json_string_value(json_object_get(one, "id"));
            known |= id && lease && strcmp(lease, id + 6) == 0;
        }
        if (!known) {
            snprintf(why, whylen, "no lease knows the account %s", PQgetvalue(r, k, 0));
            ok = false;
        }
    }
    if (ok && (size_t)PQntuples(r) != json_array_size(leases)) {
        snprintf(why, whylen, "%d accounts, %zu leases", PQntuples(r), json_array_size(leases));
        ok = false;
    }
    PQclear(r);
    return ok;
}

static bool check_accounts(struct sweep *s, char *why, size_t whylen)
{
    int64_t until = trial_now_ms() + SETTLE_MS;
    bool ok = !s->pg;
    while (!ok && trial_now_ms() < until) {
        json_t *answer = NULL;
        if (trial_ask(&s->agent, s->agent.token, "GET", "sys/leases", NULL, TRIAL_ANSWER_MS,
                      &answer) != 200)
            snprintf(why, whylen, "the leases can't be listed");
        else
            ok = accounts_have_leases(s, trial_member(answer, "data.leases"), why, whylen);
        json_decref(answer);
        if (!ok)
            trial_sleep_ms(10);
    }
    return ok;
}

static bool check_chain(struct sweep *s)
{
    char command[3 * PATH_MAX];
    snprintf(command, sizeof(command),
             "COUNTERSIGN_ADDR=unix://%s COUNTERSIGN_TOKEN=%s %s/countersign audit verify "
             "-to-the-end %s/audit.log >%s.verify 2>&1",
             s->agent.socket, s->agent.token, s->agent.build, s->agent.dir, s->agent.dir);
    return system(command) == 0;
}

/* --- One crash
 * ----------------------------------------------------------------------------------- */

/* Waits until one of the two processes is gone. */
static bool wait_for_crash(struct sweep *s, pid_t connector)
{
    int64_t until = trial_now_ms() + LATE_MS;
    int status;
    while (trial_now_ms() < until) {
        if (trial_ended(&s->agent, &status))
            return true;
        if (connector && trial_connector(&s->agent) != connector)
            return true;
        char path[64], state = 'X';
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)connector);
        FILE *f = connector ? fopen(path, "re") : NULL;
        if (f && fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
            state = 'X';
        if (f)
            fclose(f);
        if (connector && state == 'Z')
            return true;
        trial_sleep_ms(1);
    }
    return false;
}

static void fail_pair(struct sweep *s, const struct pair *p, const char *why)
{
    if (!s->op[p->op].failed++)
        snprintf(s->op[p->op].why, sizeof(s->op[p->op].why), "at %s:%d: %.400s",
                 fault_name(p->point), p->nth, why);
    trial_note("%s, killed at %s:%d: %s", trial_ops[p->op].name, fault_name(p->point), p->nth, why);
}

/* What has to be true after the restart. */
static void judge(struct sweep *s, struct trial *t, const struct pair *p, int acknowledged)
{
    char why[900] = "";
    char *now = trial_look(t);
    const char *before = s->op[p->op].before, *after = s->op[p->op].after;
    bool is_before = strcmp(now, before) == 0, is_after = strcmp(now, after) == 0;
    if (acknowledged && !is_after && !t->op->shifts)
        snprintf(why, sizeof(why), "it was acknowledged, and is lost: %.300s instead of %.300s",
                 now, after);
    else if (!is_before && !is_after)
        snprintf(why, sizeof(why), "half of it: %.250s, neither %.250s nor %.250s", now, before,
                 after);
    if (*why)
        fail_pair(s, p, why);
    free(now);
    if (t->op->database && !check_accounts(s, why, sizeof(why)))
        fail_pair(s, p, why);
}

/* What a restart undoes has to be over before anybody looks. */
static void settle(struct sweep *s, const struct trial *t)
{
    char why[512];
    if (t->op->database)
        (void)check_accounts(s, why, sizeof(why));
}

static bool run_pair(struct sweep *s, struct pair *p)
{
    struct trial t = {.agent = &s->agent, .op = &trial_ops[p->op], .number = ++s->number};
    char arm[64];
    p->done = true;
    if (!trial_prepare(&t)) {
        fail_pair(s, p, "it can't be prepared any more");
        return true;
    }
    free(trial_look(&t));
    pid_t connector = trial_connector(&s->agent);
    snprintf(arm, sizeof(arm), "%s:%d", fault_name(p->point), p->nth);
    trial_write_file(s->arm, arm);
    int acknowledged = trial_act(&t, TRIAL_ANSWER_MS);
    bool crashed = wait_for_crash(s, connector);
    unlink(s->arm);
    if (acknowledged < 0)
        fail_pair(s, p, "no answer, and no end either");
    if (getenv("TRIAL_TELL"))
        trial_note("%ld %s at %s:%d: %s, %s", t.number, t.op->name, fault_name(p->point), p->nth,
                   crashed ? "killed" : "not passed",
                   acknowledged == 1 ? "acknowledged" : "not acknowledged");
    s->op[p->op].ran += crashed;
    s->op[p->op].missed += !crashed;
    s->point_done[p->point] |= crashed;
    trial_stop(&s->agent, SIGKILL);
    if (!trial_start(&s->agent)) {
        fail_pair(s, p, "the agent does not start again");
        return false;
    }
    settle(s, &t);
    judge(s, &t, p, acknowledged == 1);
    if (s->number % 10 == 0 && !check_chain(s))
        fail_pair(s, p, "the audit chain is broken");
    return true;
}

/* --- The order
 * ----------------------------------------------------------------------------------- */

static void list_pairs(struct sweep *s, bool every)
{
    const char *only = getenv("TRIAL_ONLY");
    for (size_t op = 0; op < trial_n_ops; op++)
        for (unsigned p = 0;
             (!only || strstr(trial_ops[op].name, only)) && s->op[op].before && p < FAULT_POINTS;
             p++)
            for (int n = 1; n <= s->op[op].passed[p] && (every || n == 1); n++) {
                s->pairs = realloc(s->pairs, (s->n_pairs + 1) * sizeof(*s->pairs));
                if (!s->pairs)
                    abort();
                s->pairs[s->n_pairs++] = (struct pair){.op = op, .point = p, .nth = n};
            }
    for (size_t i = s->n_pairs; i > 1; i--) {
        size_t k = (size_t)random() % i;
        struct pair one = s->pairs[i - 1];
        s->pairs[i - 1] = s->pairs[k];
        s->pairs[k] = one;
    }
}

/* First what is new as a point, then as an operation, then the rest. */
static struct pair *next_pair(struct sweep *s)
{
    struct pair *rest = NULL, *op = NULL;
    for (size_t i = 0; i < s->n_pairs; i++) {
        struct pair *p = &s->pairs[i];
        if (p->done)
            continue;
        if (!s->point_done[p->point])
            return p;
        if (!op && !s->op[p->op].ran)
            op = p;
        rest = rest ? rest : p;
    }
    return op ? op : rest;
}

static bool all_met(const struct sweep *s)
{
    for (size_t i = 0; i < s->n_pairs; i++)
        if (!s->op[s->pairs[i].op].ran && !s->pairs[i].done)
            return false;
    return true;
}

/* A machine that is busy with other things gets twice the time to meet each operation. */
static bool time_is_up(const struct sweep *s, long seconds, int64_t begin)
{
    int64_t spent = trial_now_ms() - begin;
    return seconds && spent > seconds * 1000 && (all_met(s) || spent > seconds * 2000);
}

static void run_all(struct sweep *s)
{
    long seconds = trial_number("TRIAL_SECONDS", 0);
    int64_t begin = trial_now_ms();
    size_t done = 0;
    for (struct pair *p; (p = next_pair(s));) {
        if (time_is_up(s, seconds, begin))
            break;
        if (!run_pair(s, p))
            break;
        if (++done % 100 == 0)
            trial_note("%zu of %zu crashes, %lld s", done, s->n_pairs,
                       (long long)(trial_now_ms() - begin) / 1000);
    }
    trial_note("%zu of %zu pairs of an operation and a point, in %lld ms", done, s->n_pairs,
               (long long)(trial_now_ms() - begin));
}

/* --- Making a store
 * ------------------------------------------------------------------------------ */

/* A store that is made while the agent is killed: it starts again, and serves. */
static void crash_init(struct sweep *s)
{
    struct trial_agent a = s->agent;
    int crashes = 0, bad = 0;
    a.pid = 0;
    for (unsigned p = 0; p < FAULT_POINTS; p++) {
        char command[2 * PATH_MAX];
        int status = 0;
        if (strncmp(fault_name(p), "connector_", 10) == 0)
            continue;
        snprintf(a.dir, sizeof(a.dir), "%.900s-init", s->agent.dir);
        snprintf(command, sizeof(command), "rm -rf %s", a.dir);
        if (system(command) != 0)
            abort();
        trial_write_file(s->arm, fault_name(p));
        fflush(stdout);
        struct trial_agent first = a;
        bool up = trial_start(&first);
        if (up && !trial_ended(&first, &status))
            trial_stop(&first, SIGKILL);
        else
            crashes++;
        unlink(s->arm);
        if (up)
            continue;
        bool ok = trial_start(&a);
        ok = ok && trial_ask(&a, a.token, "PUT", "secret/data/x", "{\"data\":{\"a\":\"1\"}}",
                             TRIAL_ANSWER_MS, NULL) == 200;
        if (!ok)
            trial_note("killed at %s while its store was made, it is of no use afterwards",
                       fault_name(p));
        bad += !ok;
        trial_stop(&a, SIGKILL);
    }
    trial_ok(crashes > 10 && !bad,
             "killed at %d points while a store is made, it is usable afterwards", crashes);
}

/* --- All of it
 * ----------------------------------------------------------------------------------- */

static void report(struct sweep *s)
{
    const char *only = getenv("TRIAL_ONLY");
    for (size_t i = 0; i < trial_n_ops; i++) {
        if ((trial_ops[i].database && !s->pg) || (only && !strstr(trial_ops[i].name, only)))
            continue;
        trial_ok(s->op[i].before && s->op[i].ran > 0 && !s->op[i].failed,
                 "%s: killed at %d points%s%s", trial_ops[i].name, s->op[i].ran,
                 s->op[i].failed ? ", " : "", s->op[i].why);
        if (s->op[i].missed)
            trial_note("%s: %d points were not passed this time", trial_ops[i].name,
                       s->op[i].missed);
    }
    for (unsigned p = 0; p < FAULT_POINTS; p++) {
        bool passed = false;
        for (size_t i = 0; i < trial_n_ops; i++)
            passed |= s->op[i].passed[p] > 0;
        if (!passed)
            trial_note("no operation passes %s", fault_name(p));
    }
}

static bool set_up(struct sweep *s, int argc, char **argv)
{
    const char *pg = getenv("TRIAL_PG");
    snprintf(s->agent.build, sizeof(s->agent.build), "%s", argv[1]);
    snprintf(s->agent.dir, sizeof(s->agent.dir), "%s/cs", argv[2]);
    snprintf(s->arm, sizeof(s->arm), "%s/arm", argv[2]);
    snprintf(s->trace, sizeof(s->trace), "%s/trace", argv[2]);
    setenv("COUNTERSIGN_FAULT", s->arm, 1);
    setenv("COUNTERSIGN_FAULT_TRACE", s->trace, 1);
    srandom((unsigned)trial_number("TRIAL_SEED", time(NULL)));
    s->pg = pg && argc > 4 ? PQconnectdb(pg) : NULL;
    if (s->pg && PQstatus(s->pg) != CONNECTION_OK) {
        trial_note("PostgreSQL: %s", PQerrorMessage(s->pg));
        return false;
    }
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "mkdir -p %s.pam.d", s->agent.dir);
    return system(folder) == 0 && trial_start(&s->agent) &&
           trial_furnish(&s->agent, s->pg ? argv[3] : NULL, s->pg ? argv[4] : NULL);
}

int main(int argc, char **argv)
{
    static struct sweep s;
    char why[512] = "";
    int r = trial_pam_main(argc, argv);
    if (r >= 0)
        return r;
    if (argc < 3)
        return 2;
    bool ok = set_up(&s, argc, argv);
    trial_ok(ok, "the agent starts and is furnished");
    for (size_t i = 0; ok && i < trial_n_ops; i++)
        if (s.pg || !trial_ops[i].database)
            ok = record(&s, i, i == 0);
    trial_ok(ok, "each operation is done once, undisturbed");
    if (ok) {
        trial_stop(&s.agent, SIGTERM);
        unsetenv("COUNTERSIGN_FAULT_TRACE");
        ok = trial_start(&s.agent);
    }
    if (ok) {
        list_pairs(&s, trial_number("TRIAL_EVERY", 0) > 0);
        run_all(&s);
        report(&s);
        trial_ok(check_accounts(&s, why, sizeof(why)), "each account has its lease in the end %s",
                 why);
        trial_ok(check_chain(&s), "the audit log is whole");
        trial_ok(trial_ask(&s.agent, s.agent.token, "GET", "secret/data/k0", NULL, TRIAL_ANSWER_MS,
                           NULL) == 200,
                 "what was written in the beginning is there");
    }
    trial_stop(&s.agent, SIGTERM);
    if (ok)
        crash_init(&s);
    PQfinish(s.pg);
    return trial_finish();
}
