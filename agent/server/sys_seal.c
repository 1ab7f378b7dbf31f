/* sys/init, seal-status, unseal, seal, health, leader, status, rotate. */
#include <countersign/api.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include "base/clock.h"
#include "base/encode.h"
#include "server/routes.h"
#include "server/rules.h"
#include "server/start.h"
#include "vault/audit.h"
#include "vault/record.h"
#include "vault/shamir.h"

#define SHARE_LEN (VAULT_KEY_LEN + 1)

const struct json_field route_fields_init[] = {
    {.name = "operator", .kind = JSON_KIND_STRING, .max = 256},
    {.name = "recovery_shares", .kind = JSON_KIND_INT, .min = 1, .max = 255},
    {.name = "recovery_threshold", .kind = JSON_KIND_INT, .min = 1, .max = 255},
    {.name = "secret_shares", .kind = JSON_KIND_INT, .min = 1, .max = 255},
    {.name = "secret_threshold", .kind = JSON_KIND_INT, .min = 1, .max = 255},
    {0},
};

const struct json_field route_fields_unseal[] = {
    {.name = "key", .kind = JSON_KIND_STRING, .max = 128},
    {.name = "credential", .kind = JSON_KIND_STRING, .max = 128},
    {.name = "reset", .kind = JSON_KIND_BOOL},
    {.name = "migrate", .kind = JSON_KIND_BOOL},
    {0},
};

/* --- Status
 * ----------------------------------------------------------------------------------------- */

static json_t *seal_status(struct agent *a)
{
    unsigned shares = 0, threshold = 0;
    vault_seal_config(a->vault, &shares, &threshold);
    enum vault_state s = vault_state(a->vault);
    return json_pack("{s:s, s:b, s:b, s:i, s:i, s:i, s:s, s:s, s:s, s:b, s:s, s:s, s:b, s:s}",
                     "type", "shamir", "initialized", s != VAULT_UNINITIALISED, "sealed",
                     s != VAULT_UNSEALED, "t", threshold, "n", shares, "progress",
                     a->unsealing ? a->unsealing->n : 0, "nonce",
                     a->unsealing ? a->unsealing->nonce : "", "version", COUNTERSIGN_VERSION,
                     "build_date", "", "migration", 0, "cluster_name", "countersign", "cluster_id",
                     vault_instance(a->vault), "recovery_seal", 1, "storage_type", "sqlite");
}

int route_seal_status(struct request *r)
{
    return request_data(r, seal_status(r->agent));
}

int route_init_status(struct request *r)
{
    return request_data(
        r, json_pack("{s:b}", "initialized", vault_state(r->agent->vault) != VAULT_UNINITIALISED));
}

int route_leader(struct request *r)
{
    return request_data(r, json_pack("{s:b, s:b, s:s, s:s}", "ha_enabled", 0, "is_self", 1,
                                     "leader_address", "", "leader_cluster_address", ""));
}

/* The status code tells the state, and can be chosen by the query, as load balancers like it. */
int route_health(struct request *r)
{
    static const struct {
        enum vault_state state;
        int status;
        const char *query;
    } codes[] = {{VAULT_UNSEALED, 200, "activecode"},
                 {VAULT_SEALED, 503, "sealedcode"},
                 {VAULT_UNINITIALISED, 501, "uninitcode"}};
    enum vault_state s = vault_state(r->agent->vault);
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        if (codes[i].state != s)
            continue;
        const char *q = request_query(r, codes[i].query);
        long wish = q ? strtol(q, NULL, 10) : 0;
        r->status = wish >= 200 && wish <= 599 && wish != 304 ? (int)wish : codes[i].status;
    }
    if (r->status == 204)
        return 0;
    return request_data(r, json_pack("{s:b, s:b, s:b, s:b, s:s, s:s, s:I, s:s, s:s}", "initialized",
                                     s != VAULT_UNINITIALISED, "sealed", s != VAULT_UNSEALED,
                                     "standby", 0, "performance_standby", 0,
                                     "replication_performance_mode", "disabled",
                                     "replication_dr_mode", "disabled", "server_time_utc",
                                     (json_int_t)clock_wall_s(), "version", COUNTERSIGN_VERSION,
                                     "cluster_id", vault_instance(r->agent->vault)));
}

static json_t *stamp_or_null(int64_t ms)
{
    char text[CLOCK_STAMP_LEN];
    if (!ms)
        return json_null();
    clock_stamp(ms, 0, text);
    return json_string(text);
}

static void problem(json_t *list, bool is, const char *fmt, ...) _printf_(3, 4);
static void problem(json_t *list, bool is, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    if (!is)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)json_array_append_new(list, json_string(text));
}

static json_t *find_problems(struct request *r, const struct lease_counts *c, int64_t audit_failing)
{
    struct agent *a = r->agent;
    json_t *list = json_array();
    const char *why_waiting = r->root_peer ? c->last_error : "countersign lease list";
    enum vault_state s = vault_state(a->vault);
    problem(list, s == VAULT_UNINITIALISED,
            "not initialised: run as root: countersign operator init -operator=group:NAME");
    problem(list, s == VAULT_SEALED, "sealed: run as root: countersign operator unseal");
    if (s != VAULT_UNSEALED)
        return list;
    problem(list, !link_up(a->link),
            "the connector is not connected, no database account can be made or dropped: systemctl "
            "status countersign-connector");
    problem(list, c->oldest_waiting_ms != 0,
            "revocations wait and are tried again by themselves: %s", why_waiting);
    problem(list, c->quarantined > 0,
            "%lld accounts can't be dropped because objects depend on them (they can't log in): "
            "countersign lease list",
            (long long)c->quarantined);
    problem(list, audit_failing != 0, "the audit log can't be written: free space or mend %s",
            a->audit_path ? a->audit_path : "its path");
    problem(list, rules_broken(a->rules) > 0,
            "%zu policies or bindings can't be read any more and grant nothing: write them again",
            rules_broken(a->rules));
    return list;
}

/* Counting looks at every lease that waits, and anybody may ask: once a second is enough. */
static int count_leases(struct agent *a)
{
    int64_t now = clock_boot_ms();
    if (a->counted_ms && now - a->counted_ms < 1000)
        return 0;
    a->counted_ms = now;
    return lease_counts(a->leases, &a->counts);
}

/* For the person at the terminal, before anything else works: no secrets, no names. */
int route_status(struct request *r)
{
    struct agent *a = r->agent;
    const struct lease_counts *c = &a->counts;
    uint64_t seq = 0, waiting = 0;
    uint8_t mac[VAULT_HASH_LEN];
    int64_t failing = 0, sessions = 0;
    bool open = vault_state(a->vault) == VAULT_UNSEALED;
    if (!open)
        a->counts = (struct lease_counts){0};
    if (open) {
        if (count_leases(a) < 0 || audit_head(a->vault, &seq, mac) < 0 ||
            record_count(a->vault, RECORD_SESSION, &sessions) < 0)
            return -EIO;
        audit_export_state(a->vault, &waiting, &failing);
    }
    return request_data(
        r, json_pack(
               "{s:s, s:s, s:b, s:b, s:o, s:{s:I, s:I, s:I, s:I}, s:I, s:o, s:s, s:I, s:{s:I, s:I, "
               "s:o}, s:o}",
               "version", COUNTERSIGN_VERSION, "instance", vault_instance(a->vault), "initialized",
               vault_state(a->vault) != VAULT_UNINITIALISED, "sealed", !open, "since",
               stamp_or_null(a->started_ms), "leases", "pending", (json_int_t)c->pending, "active",
               (json_int_t)c->active, "revoking", (json_int_t)c->revoking, "quarantined",
               (json_int_t)c->quarantined, "revocations_waiting", (json_int_t)c->revoking,
               "oldest_waiting", stamp_or_null(c->oldest_waiting_ms), "connector",
               link_up(a->link) ? "up" : "down", "sessions", (json_int_t)sessions, "audit", "seq",
               (json_int_t)seq, "waiting", (json_int_t)waiting, "failing_since",
               stamp_or_null(failing), "problems", find_problems(r, c, failing)));
}

/* --- Init
 * ------------------------------------------------------------------------------------------- */

static int add_share(json_t *hex, json_t *base64, const uint8_t share[SHARE_LEN])
{
    char text[2 * SHARE_LEN + 1];
    _cleanup_buf_ struct buf b64 = BUF_INIT(256);
    encode_hex(share, SHARE_LEN, text);
    encode_base64(&b64, share, SHARE_LEN);
    int e = buf_error(&b64);
    if (e == 0 && (json_array_append_new(hex, json_string(text)) < 0 ||
                   json_array_append_new(base64, json_string(buf_str(&b64))) < 0))
        e = -ENOMEM;
    mem_wipe(text, sizeof(text));
    return e;
}

static int split(const uint8_t root[VAULT_KEY_LEN], unsigned n, unsigned t, json_t *out)
{
    uint8_t shares[255 * SHARE_LEN];
    _cleanup_json_ json_t *hex = json_array();
    _cleanup_json_ json_t *base64 = json_array();
    int e = hex && base64 ? shamir_split(root, VAULT_KEY_LEN, n, t, shares) : -ENOMEM;
    for (unsigned i = 0; i < n && e == 0; i++)
        e = add_share(hex, base64, shares + i * SHARE_LEN);
    mem_wipe(shares, sizeof(shares));
    static const char *const names[] = {"keys", "recovery_keys"};
    for (size_t i = 0; i < ARRAY_LEN(names) && e == 0; i++) {
        char b64[32];
        snprintf(b64, sizeof(b64), "%s_base64", names[i]);
        if (json_object_set(out, names[i], hex) < 0 || json_object_set(out, b64, base64) < 0)
            e = -ENOMEM;
    }
    return e;
}

static int put_secret(json_t *out, const char *name, const uint8_t key[VAULT_KEY_LEN])
{
    _cleanup_buf_ struct buf text = BUF_INIT(128);
    encode_base64(&text, key, VAULT_KEY_LEN);
    return buf_error(&text) ? -ENOMEM : json_set_str(out, name, buf_str(&text));
}

static bool sizes(struct request *r, unsigned *n, unsigned *t)
{
    *n = (unsigned)json_int(r->body, "recovery_shares", json_int(r->body, "secret_shares", 5));
    *t = (unsigned)json_int(r->body, "recovery_threshold",
                            json_int(r->body, "secret_threshold", *n < 3 ? *n : 3));
    return *t <= *n && (*t >= 2 || *n == 1);
}

static int init_vault(struct request *r, unsigned n, unsigned t, json_t *out)
{
    uint8_t key[VAULT_KEY_LEN], root[VAULT_KEY_LEN];
    randombytes_buf(key, sizeof(key));
    int e = vault_init(r->agent->vault, key, n, t, root);
    if (e == 0)
        e = split(root, n, t, out);
    if (e == 0)
        e = put_secret(out, "unseal_key", key);
    mem_wipe(key, sizeof(key));
    mem_wipe(root, sizeof(root));
    return e;
}

int route_init(struct request *r)
{
    unsigned n, t;
    char why[256] = "", token[TOKEN_TEXT_MAX] = "";
    if (vault_state(r->agent->vault) != VAULT_UNINITIALISED)
        return request_error(r, 400, "the agent is already initialised");
    if (!sizes(r, &n, &t))
        return request_error(r, 400,
                             "the threshold must be at least 2 and at most the number of shares "
                             "(or both 1)");
    const char *operator= json_str(r->body, "operator");
    if (start_operator_ok(operator, why, sizeof(why)) != 0)
        return request_error(r, 400, "operator: %s", why);
    _cleanup_json_ json_t *out = json_object();
    int e = out ? init_vault(r, n, t, out) : -ENOMEM;
    if (e == 0)
        e = agent_unsealed(r->agent);
    if (e == 0)
        e = start_first_rules(r->agent, operator, token);
    if (e == 0 && token[0])
        e = json_set_str(out, "root_token", token);
    mem_wipe(token, sizeof(token));
    if (e < 0 && vault_state(r->agent->vault) != VAULT_UNINITIALISED)
        return request_error(
            r, 500,
            "the store was made, but not filled (%s), and its keys are lost: remove the "
            "store's file, restart the agent and run init again",
            strerror(-e));
    return e < 0 ? e : request_data(r, json_incref(out));
}

/* --- Unseal
 * ----------------------------------------------------------------------------------------- */

static void forget_progress(struct agent *a)
{
    if (a->unsealing)
        mem_free(a->unsealing, sizeof(*a->unsealing));
    a->unsealing = NULL;
}

static int decode_share(const char *text, uint8_t *out, size_t max, size_t *n)
{
    if (strlen(text) == 2 * max && encode_from_hex(text, out, max, n) == 0)
        return 0;
    return encode_from_base64(text, out, max, n);
}

static int opened(struct request *r, int outcome, const char *what)
{
    forget_progress(r->agent);
    if (outcome == VAULT_E_WRONG_KEY)
        return request_error(r, 400, "%s does not open this store", what);
    if (outcome < 0)
        return outcome;
    int e = agent_unsealed(r->agent);
    return e < 0 ? e : request_data(r, seal_status(r->agent));
}

static int unseal_by_credential(struct request *r, const char *text)
{
    uint8_t key[VAULT_KEY_LEN];
    size_t n = 0;
    int e = encode_from_base64(text, key, sizeof(key), &n);
    if (e == 0 && n == sizeof(key))
        e = vault_unseal(r->agent->vault, key);
    else
        e = VAULT_E_WRONG_KEY;
    mem_wipe(key, sizeof(key));
    return opened(r, e, "the credential");
}

static int join_shares(struct request *r, unsigned threshold)
{
    struct unseal_progress *p = r->agent->unsealing;
    uint8_t root[VAULT_KEY_LEN];
    int e = shamir_join(&p->share[0][0], SHARE_LEN, threshold, root);
    e = e == 0 ? vault_unseal_root(r->agent->vault, root) : VAULT_E_WRONG_KEY;
    mem_wipe(root, sizeof(root));
    return opened(r, e, "this set of recovery shares");
}

static bool seen(const struct unseal_progress *p, const uint8_t share[SHARE_LEN])
{
    bool same = false;
    for (unsigned i = 0; i < p->n; i++)
        same |= mem_equal(p->share[i], SHARE_LEN, share, SHARE_LEN);
    return same;
}

static int unseal_by_share(struct request *r, const char *text)
{
    struct agent *a = r->agent;
    uint8_t share[SHARE_LEN];
    size_t n = 0;
    unsigned shares, threshold;
    vault_seal_config(a->vault, &shares, &threshold);
    if (decode_share(text, share, sizeof(share), &n) < 0 || n != sizeof(share))
        return request_error(
            r, 400, "'key' must be one recovery share, in hex or base64 (%d bytes)", SHARE_LEN);
    if (!a->unsealing) {
        a->unsealing = calloc(1, sizeof(*a->unsealing));
        if (!a->unsealing)
            return -ENOMEM;
        encode_random_uuid(a->unsealing->nonce);
    }
    if (!seen(a->unsealing, share))
        memcpy(a->unsealing->share[a->unsealing->n++], share, SHARE_LEN);
    mem_wipe(share, sizeof(share));
    if (a->unsealing->n >= threshold)
        return join_shares(r, threshold);
    return request_data(r, seal_status(a));
}

int route_unseal(struct request *r)
{
    enum vault_state s = vault_state(r->agent->vault);
    const char *key = json_str(r->body, "key"), *credential = json_str(r->body, "credential");
    if (s == VAULT_UNINITIALISED)
        return request_error(r, 400, "the agent is not initialised: countersign operator init");
    if (s == VAULT_UNSEALED)
        return request_data(r, seal_status(r->agent));
    if (json_bool(r->body, "reset", false)) {
        forget_progress(r->agent);
        return request_data(r, seal_status(r->agent));
    }
    if (credential)
        return unseal_by_credential(r, credential);
    if (key)
        return unseal_by_share(r, key);
    return request_error(r, 400, "'key' (a recovery share) must be given");
}

/* --- Seal, rotate: after the turn's commit
 * ----------------------------------------------------------- */

static void seal_now(void *data)
{
    agent_seal(data);
}

/* Behind the effects of the other requests of this turn: they were granted before it. */
static void seal_soon(void *data)
{
    struct agent *a = data;
    if (effects_push(turn_effects(a->turn), seal_now, NULL, a) < 0)
        agent_seal(a);
}

int route_seal(struct request *r)
{
    r->status = 204;
    return effects_push(turn_effects(r->agent->turn), seal_soon, NULL, r->agent);
}

static int rotated(struct request *r)
{
    r->status = 204;
    return 0;
}

static int not_rotated(struct request *r)
{
    agent_alert(r->agent, "rotate failed",
                "a new data key could not be made; the old one stays in use");
    return request_error(r, 500,
                         "a new data key could not be made, the old one stays in use: the agent "
                         "lacks memory, or its disk space; see its journal");
}

/* The answer waits for it: the keyring has a transaction of its own. */
static void rotate_now(void *data)
{
    struct request *r = data;
    int e = vault_rotate(r->agent->vault);
    if (e < 0)
        sd_journal_print(LOG_ERR, "the data key could not be rotated: %s", strerror(-e));
    request_resume(r, e < 0 ? not_rotated : rotated);
}

int route_rotate(struct request *r)
{
    int e = effects_push(turn_effects(r->agent->turn), rotate_now, NULL, r);
    return e < 0 ? e : REQUEST_WAIT;
}
