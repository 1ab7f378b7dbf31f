/* sys/metrics: what the agent counts, in Prometheus' text form 0.0.4 (?format=prometheus) or as
 * Vault's JSON. Names follow Prometheus' rules: base units, _total for what only grows. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/metrics.h"
#include "server/routes.h"
#include "server/rules.h"
#include "vault/audit.h"
#include "vault/record.h"

#define LABELS 3

enum kind { COUNTER, GAUGE, HISTOGRAM };

struct label {
    const char *name, *value;
};

struct family;
/* Where samples go, and what they are taken from: looked up once for all. */
struct page {
    struct agent *agent;
    const struct family *family;
    struct buf *text; /* NULL: as JSON */
    json_t *counters, *gauges;
    int error;
    bool open;
    struct lease_counts leases;
    struct vault_health health;
    uint64_t audit_seq, audit_waiting;
    int64_t audit_failing_ms, sessions, tokens, now_ms;
};

/* What stands before the names of ours, and a sample of the family (suffix: "_bucket"; labels end
 * with a NULL name). */
#define PREFIX "countersign_"
static void put(struct page *p, const char *suffix, const struct label labels[LABELS],
                double value);
static void put_plain(struct page *p, double value)
{
    put(p, "", (const struct label[LABELS]){0}, value);
}

/* --- What there is
 * ----------------------------------------------------------------------------------- */

static void build_info(struct page *p)
{
    put(p, "", (const struct label[LABELS]){{"version", COUNTERSIGN_VERSION}}, 1);
}

static void uptime(struct page *p)
{
    int64_t ms = p->now_ms - p->agent->started_ms;
    put_plain(p, ms > 0 ? (double)ms / 1000 : 0);
}

static void resident(struct page *p)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%*s %ld", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    put_plain(p, (double)pages * (double)sysconf(_SC_PAGESIZE));
}

static void is_sealed(struct page *p)
{
    put_plain(p, !p->open);
}

static void is_initialised(struct page *p)
{
    put_plain(p, vault_state(p->agent->vault) != VAULT_UNINITIALISED);
}

static void logins(struct page *p)
{
    for (size_t s = 0; s < METRICS_SERVICES; s++) {
        for (size_t h = 0; h < METRICS_HOOKS; h++) {
            for (size_t v = 0; v < METRICS_VERDICTS; v++) {
                uint64_t n = metrics_logins(s, h, v);
                const struct label l[LABELS] = {{"service", metrics_service_name(s)},
                                                {"hook", metrics_hook_name(h)},
                                                {"result", metrics_verdict_name(v)}};
                if (n)
                    put(p, "", l, (double)n);
            }
        }
    }
}

static void lockouts(struct page *p)
{
    put_plain(p, (double)metrics_counted(METRICS_LOCKOUTS));
}

static void alert_count(struct page *p)
{
    put_plain(p, (double)metrics_counted(METRICS_ALERTS));
}

static void turns_lost(struct page *p)
{
    put_plain(p, (double)metrics_counted(METRICS_TURNS_LOST));
}

static void lease_states(struct page *p)
{
    const struct {
        const char *name;
        int64_t n;
    } states[] = {{"pending", p->leases.pending},
                  {"active", p->leases.active},
                  {"revoking", p->leases.revoking},
                  {"quarantined", p->leases.quarantined}};
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        put(p, "", (const struct label[LABELS]){{"state", states[i].name}}, (double)states[i].n);
}

static void oldest_waiting(struct page *p)
{
    int64_t ms = p->leases.oldest_waiting_ms ? clock_lease_ms() - p->leases.oldest_waiting_ms : 0;
    put_plain(p, ms > 0 ? (double)ms / 1000 : 0);
}

static void revocations(struct page *p)
{
    static const struct {
        const char *name;
        enum metrics_counter counter;
    } results[] = {{"gone", METRICS_REVOKED},
                   {"retry", METRICS_REVOKE_RETRY},
                   {"quarantined", METRICS_QUARANTINED}};
    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        put(p, "", (const struct label[LABELS]){{"result", results[i].name}},
            (double)metrics_counted(results[i].counter));
}

static void commit_times(struct page *p)
{
    struct metrics_commits c;
    char bound[32];
    uint64_t n = 0;
    metrics_commits(&c);
    for (size_t i = 0; i < METRICS_BUCKETS - 1; i++) {
        n += c.bucket[i];
        snprintf(bound, sizeof(bound), "%.10g", (double)metrics_bounds_us[i] / 1e6);
        put(p, "_bucket", (const struct label[LABELS]){{"le", bound}}, (double)n);
    }
    put(p, "_bucket", (const struct label[LABELS]){{"le", "+Inf"}}, (double)c.count);
    put(p, "_sum", (const struct label[LABELS]){0}, (double)c.sum_us / 1e6);
    put(p, "_count", (const struct label[LABELS]){0}, (double)c.count);
}

static void commit_p99(struct page *p)
{
    struct metrics_commits c;
    metrics_commits(&c);
    put_plain(p, (double)c.p99_us / 1e6);
}

static void audit_lines(struct page *p)
{
    put_plain(p, (double)p->audit_seq);
}

static void audit_backlog(struct page *p)
{
    put_plain(p, (double)p->audit_waiting);
}

static void audit_failing(struct page *p)
{
    int64_t ms = p->audit_failing_ms ? p->now_ms - p->audit_failing_ms : 0;
    put_plain(p, ms > 0 ? (double)ms / 1000 : 0);
}

/* One sample for each of the two file systems. */
static void each_disk(struct page *p, double (*value)(const struct vault_room *r))
{
    if (p->health.store.whole)
        put(p, "", (const struct label[LABELS]){{"what", "store"}}, value(&p->health.store));
    if (p->health.audit.whole)
        put(p, "", (const struct label[LABELS]){{"what", "audit"}}, value(&p->health.audit));
}

static double free_of(const struct vault_room *r)
{
    return (double)r->free;
}

static double reserve_of(const struct vault_room *r)
{
    return (double)r->reserve;
}

static double full_of(const struct vault_room *r)
{
    return r->full;
}

static void disk_free(struct page *p)
{
    each_disk(p, free_of);
}

static void disk_reserve(struct page *p)
{
    each_disk(p, reserve_of);
}

static void disk_full(struct page *p)
{
    each_disk(p, full_of);
}

static void connector(struct page *p)
{
    put_plain(p, link_up(p->agent->link));
}

static void session_count(struct page *p)
{
    put_plain(p, (double)p->sessions);
}

static void token_count(struct page *p)
{
    put_plain(p, (double)p->tokens);
}

static void rules_unreadable(struct page *p)
{
    put_plain(p, (double)rules_broken(p->agent->rules));
}

static void broken_rows(struct page *p)
{
    put_plain(p, (double)record_passed_over(p->agent->vault));
}

/* The first two parts of a row's pattern: "sys/leases", "auth/token"; none for the mounts'. */
static size_t family_len(const char *pattern)
{
    size_t len = 0, slashes = 0;
    while (pattern[len] && pattern[len] != '{' && !(pattern[len] == '/' && ++slashes == 2))
        len++;
    return len && pattern[len - 1] == '/' ? len - 1 : len;
}

static bool same_family(const char *a, const char *b)
{
    size_t n = family_len(a);
    return n == family_len(b) && memcmp(a, b, n) == 0;
}

static void put_requests(struct page *p, const char *family, const uint64_t sum[METRICS_STATUSES])
{
    for (size_t i = 0; i < METRICS_STATUSES; i++) {
        char status[8] = "other";
        if (metrics_status(i))
            snprintf(status, sizeof(status), "%d", metrics_status(i));
        if (sum[i])
            put(p, "", (const struct label[LABELS]){{"family", family}, {"status", status}},
                (double)sum[i]);
    }
}

static void add_row(uint64_t sum[METRICS_STATUSES], size_t row)
{
    for (size_t i = 0; i < METRICS_STATUSES; i++)
        sum[i] += metrics_requests(row, i);
}

/* A family is told at the first of its rows. */
static void requests(struct page *p)
{
    size_t n;
    const struct route *all = routes_all(&n);
    uint64_t none[METRICS_STATUSES] = {0};
    for (size_t i = 0; i < n; i++) {
        uint64_t sum[METRICS_STATUSES] = {0};
        const char *pattern = all[i].pattern;
        char family[64] = "engine";
        bool first = true;
        for (size_t j = 0; j < n; j++) {
            if (!same_family(pattern, all[j].pattern))
                continue;
            first &= j >= i;
            add_row(sum, j);
        }
        if (family_len(pattern))
            snprintf(family, sizeof(family), "%.*s", (int)family_len(pattern), pattern);
        if (first)
            put_requests(p, family, sum);
    }
    add_row(none, METRICS_ROWS);
    put_requests(p, "none", none);
}

/* --- The table
 * --------------------------------------------------------------------------------------- */

static const struct family {
    const char *name;
    enum kind kind;
    bool sealed_too; /* there while the store is not open as well */
    const char *help;
    void (*put)(struct page *p);
} families[] = {
    {"build_info", GAUGE, true, "The running program.", build_info},
    {"uptime_seconds", GAUGE, true, "Since the agent started.", uptime},
    {"resident_memory_bytes", GAUGE, true, "Memory that the agent occupies.", resident},
    {"initialized", GAUGE, true, "1: the store was initialised.", is_initialised},
    {"sealed", GAUGE, true, "1: the store is sealed.", is_sealed},
    {"logins_total", COUNTER, true, "PAM hooks answered.", logins},
    {"lockouts_total", COUNTER, true, "Logins refused for too many wrong answers.", lockouts},
    {"alerts_total", COUNTER, true, "Alerts raised.", alert_count},
    {"requests_total", COUNTER, true, "API requests answered.", requests},
    {"turns_lost_total", COUNTER, true, "Turns whose commit failed.", turns_lost},
    {"commit_seconds", HISTOGRAM, true, "Time that a durable commit took.", commit_times},
    {"commit_p99_seconds", GAUGE, true, "99th percentile of the last 1024 durable commits.",
     commit_p99},
    {"disk_free_bytes", GAUGE, true, "Space left on the file systems.", disk_free},
    {"disk_reserve_bytes", GAUGE, true, "Space kept back for logins and unsealing.", disk_reserve},
    {"disk_full", GAUGE, true, "1: only logins and unsealing may use what is left.", disk_full},
    {"connector_up", GAUGE, true, "1: the connector is connected.", connector},
    {"leases", GAUGE, false, "Leases by state.", lease_states},
    {"oldest_waiting_revocation_seconds", GAUGE, false,
     "Age of the oldest revocation that has failed at least once; 0: none waits.", oldest_waiting},
    {"revocations_total", COUNTER, true, "Attempts at undoing leases.", revocations},
    {"audit_lines_total", COUNTER, false, "Lines in the audit chain.", audit_lines},
    {"audit_backlog_lines", GAUGE, false, "Audit lines not yet in the log's file.", audit_backlog},
    {"audit_failing_seconds", GAUGE, false, "For how long the log can't be written; 0: it can.",
     audit_failing},
    {"sessions", GAUGE, false, "Login sessions.", session_count},
    {"tokens", GAUGE, false, "Tokens.", token_count},
    {"broken_rows_total", COUNTER, false,
     "Rows passed over because they failed their authentication.", broken_rows},
    {"unreadable_rules", GAUGE, false, "Policies and bindings that can't be read.",
     rules_unreadable},
};

/* --- Writing
 * ----------------------------------------------------------------------------------------- */

static void put_value(struct buf *b, const char *s)
{
    for (; *s; s++) {
        if (*s == '\n')
            buf_puts(b, "\\n");
        else if (*s == '"' || *s == '\\')
            buf_putf(b, "\\%c", *s);
        else
            buf_putc(b, *s);
    }
}

static void put_text(struct page *p, const char *suffix, const struct label *labels, double value)
{
    struct buf *b = p->text;
    buf_putf(b, PREFIX "%s%s", p->family->name, suffix);
    for (size_t i = 0; i < LABELS && labels[i].name; i++) {
        buf_putf(b, "%s%s=\"", i ? "," : "{", labels[i].name);
        put_value(b, labels[i].value);
        buf_putc(b, '"');
    }
    buf_putf(b, "%s %.15g\n", labels[0].name ? "}" : "", value);
}

static void put_json(struct page *p, const char *suffix, const struct label *labels, double value)
{
    _cleanup_json_ json_t *set = json_object();
    char name[128];
    snprintf(name, sizeof(name), PREFIX "%s%s", p->family->name, suffix);
    for (size_t i = 0; i < LABELS && labels[i].name && set; i++)
        if (json_object_set_new(set, labels[i].name, json_string(labels[i].value)) < 0)
            p->error = -ENOMEM;
    bool gauge = p->family->kind == GAUGE;
    json_t *one = json_pack("{s:s, s:O?, s:f}", "Name", name, "Labels", set,
                            gauge ? "Value" : "Count", value);
    if (!set || json_array_append_new(gauge ? p->gauges : p->counters, one) < 0)
        p->error = -ENOMEM;
}

static void put(struct page *p, const char *suffix, const struct label labels[LABELS], double value)
{
    if (p->text)
        put_text(p, suffix, labels, value);
    else
        put_json(p, suffix, labels, value);
}

static void put_all(struct page *p)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        p->family = &families[i];
        if (!p->open && !families[i].sealed_too)
            continue;
        if (p->text)
            buf_putf(p->text, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", families[i].name,
                     families[i].help, families[i].name, kinds[families[i].kind]);
        families[i].put(p);
    }
}

/* --- The route
 * --------------------------------------------------------------------------------------- */

static int gather(struct page *p)
{
    struct vault *v = p->agent->vault;
    uint8_t mac[VAULT_HASH_LEN];
    vault_health(v, &p->health);
    if (!p->open)
        return 0;
    int e = agent_count_leases(p->agent);
    p->leases = p->agent->counts;
    if (e >= 0)
        e = record_count(v, RECORD_SESSION, &p->sessions);
    if (e >= 0)
        e = record_count(v, RECORD_TOKEN, &p->tokens);
    if (e >= 0)
        e = audit_head(v, &p->audit_seq, mac);
    audit_export_state(v, &p->audit_waiting, &p->audit_failing_ms);
    return e;
}

static int answer_json(struct request *r, struct page *p)
{
    char now[CLOCK_STAMP_LEN];
    _cleanup_json_ json_t *counters = json_array();
    _cleanup_json_ json_t *gauges = json_array();
    if (!counters || !gauges)
        return -ENOMEM;
    p->counters = counters;
    p->gauges = gauges;
    put_all(p);
    clock_stamp(r->now_ms, 0, now);
    return p->error ? p->error
                    : request_data(r, json_pack("{s:s, s:O, s:O, s:[]}", "Timestamp", now,
                                                "Counters", counters, "Gauges", gauges, "Samples"));
}

int route_metrics(struct request *r)
{
    const char *format = request_query(r, "format");
    bool text = format && strcmp(format, "prometheus") == 0;
    struct page p = {.agent = r->agent,
                     .open = vault_state(r->agent->vault) == VAULT_UNSEALED,
                     .now_ms = r->now_ms};
    if (format && !text && format[0] && strcmp(format, "json") != 0)
        return request_error(r, 400, "format: prometheus or json");
    int e = gather(&p);
    if (e < 0 || !text)
        return e < 0 ? e : answer_json(r, &p);
    p.text = &r->raw_data;
    put_all(&p);
    r->content_type = "text/plain; version=0.0.4; charset=utf-8";
    return buf_error(&r->raw_data);
}
