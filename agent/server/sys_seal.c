/* sys/init, seal-status, unseal, seal, health, leader, rotate. */
#include <countersign/api.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include "base/clock.h"
#include "base/encode.h"
#include "server/hold.h"
#include "server/quorum.h"
#include "server/routes.h"
#include "server/rules.h"
#include "server/start.h"
#include "vault/audit.h"
#include "vault/record.h"

const struct json_field route_fields_init[] = {
    {.name = "operator", .kind = JSON_KIND_STRING, .max = 256},
    {.name = "recovery_shares", .kind = JSON_KIND_INT, .min = 1, .max = 255},
    {.name = "recovery_threshold", .kind = JSON_KIND_INT, .min = 1, .max = 255},
    {.name = "secret_shares", .kind = JSON_KIND_INT, .min = 1, .max = 255},
    {.name = "secret_threshold", .kind = JSON_KIND_INT, .min = 1, .max = 255},
    {.name = "seal", .kind = JSON_KIND_STRING, .max = 16},
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
    bool host = vault_seal_kind(a->vault) == VAULT_SEAL_HOST;
    return json_pack("{s:s, s:b, s:b, s:i, s:i, s:i, s:s, s:s, s:s, s:b, s:s, s:s, s:b, s:s*, s:s}",
                     "type", host ? "host" : "shamir", "initialized", s != VAULT_UNINITIALISED,
                     "sealed", s != VAULT_UNSEALED, "t", threshold, "n", shares, "progress",
                     a->unsealing ? a->unsealing->n : 0, "nonce",
                     a->unsealing ? a->unsealing->nonce : "", "version", COUNTERSIGN_VERSION,
                     "build_date", "", "migration", 0, "cluster_name", "countersign", "cluster_id",
                     vault_instance(a->vault), "recovery_seal", host, "recovery_seal_type",
                     host ? "shamir" : NULL, "storage_type", "sqlite");
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

/* --- Init
 * ------------------------------------------------------------------------------------------- */

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
    return quorum_sizes_ok(*n, *t);
}

static int init_vault(struct request *r, bool by_host, unsigned n, unsigned t, json_t *out)
{
    uint8_t key[VAULT_KEY_LEN], root[VAULT_KEY_LEN];
    randombytes_buf(key, sizeof(key));
    int e = vault_init(r->agent->vault, by_host ? key : NULL, n, t, root);
    if (e == 0)
        e = quorum_split(root, n, t, by_host, out);
    if (e == 0 && by_host)
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
    const char *seal = json_str_or(r->body, "seal", "host");
    bool by_host = strcmp(seal, "host") == 0;
    if (!by_host && strcmp(seal, "shamir") != 0)
        return request_error(r, 400,
                             "'seal' must be \"host\" (this host opens the store by "
                             "itself) or \"shamir\" (people with shares do)");
    if (start_operator_ok(operator, why, sizeof(why)) != 0)
        return request_error(r, 400, "operator: %s", why);
    _cleanup_json_ json_t *out = json_object();
    int e = out ? init_vault(r, by_host, n, t, out) : -ENOMEM;
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

static int opened(struct request *r, int outcome, const char *what)
{
    quorum_end_unsealing(r->agent);
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
    uint8_t root[VAULT_KEY_LEN];
    int e = quorum_join(r->agent->unsealing, threshold, root);
    e = e == 0 ? vault_unseal_root(r->agent->vault, root) : VAULT_E_WRONG_KEY;
    mem_wipe(root, sizeof(root));
    return opened(r, e, "this set of shares");
}

static int unseal_by_share(struct request *r, const char *text)
{
    struct agent *a = r->agent;
    unsigned shares, threshold;
    vault_seal_config(a->vault, &shares, &threshold);
    if (!a->unsealing)
        a->unsealing = quorum_new();
    if (!a->unsealing)
        return -ENOMEM;
    if (quorum_add(a->unsealing, text) != 0)
        return request_error(r, 400, "'key' must be one share, in hex or base64 (%d bytes)",
                             QUORUM_SHARE_LEN);
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
        quorum_end_unsealing(r->agent);
        return request_data(r, seal_status(r->agent));
    }
    if (credential)
        return unseal_by_credential(r, credential);
    if (key)
        return unseal_by_share(r, key);
    return request_error(r, 400, "'key' (one share) must be given");
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
