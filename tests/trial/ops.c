/* The operations that change something, as data, and how one is done and looked at. */
#include <liboath/oath.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/encode.h"
#include "trial/trial.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* rows say what they need */

#define TOKEN "auth.client_token"
#define PUT_V1                                                                                     \
    {                                                                                              \
        "PUT", "secret/data/k%N", "{\"data\":{\"a\":\"1\"}}"                                       \
    }
#define PUT_V2                                                                                     \
    {                                                                                              \
        "PUT", "secret/data/k%N", "{\"data\":{\"b\":\"2\"}}"                                       \
    }
#define LOOK_DATA                                                                                  \
    {                                                                                              \
        "GET", "secret/data/k%N", NULL, "data.data"                                                \
    }
#define LOOK_LEASES                                                                                \
    {                                                                                              \
        "GET", "sys/leases", NULL, "data.leases@"                                                  \
    }
#define MAKE_TOKEN                                                                                 \
    {                                                                                              \
        "POST", "auth/token/create", "{\"ttl\":\"3900s\"}", TOKEN, "auth.accessor"                 \
    }
#define LOOK_TOKEN(member)                                                                         \
    {                                                                                              \
        "POST", "auth/token/lookup", "{\"token\":\"$A\"}", member                                  \
    }
#define MAKE_CREDS                                                                                 \
    {                                                                                              \
        "GET", "database/creds/ro", NULL, "lease_id"                                               \
    }
#define LOOK_LEASE(member)                                                                         \
    {                                                                                              \
        "PUT", "sys/leases/lookup", "{\"lease_id\":\"$A\"}", member                                \
    }
#define MAKE_TOTP                                                                                  \
    {                                                                                              \
        "POST", "sys/factors/u%N/totp", "{}", "data.secret"                                        \
    }
#define CONFIRM_TOTP                                                                               \
    {                                                                                              \
        "POST", "sys/factors/u%N/totp/confirm", "{\"code\":\"$T\"}"                                \
    }
#define LOOK_FACTORS                                                                               \
    {                                                                                              \
        "GET", "sys/factors/u%N", NULL, "data.factors#"                                            \
    }
#define LOOK_CONFIRMED                                                                             \
    {                                                                                              \
        "GET", "sys/factors/u%N", NULL, "data.factors.0.confirmed"                                 \
    }
#define NEW_CODES                                                                                  \
    {                                                                                              \
        "POST", "sys/factors/$U/recovery", NULL, "data.recovery_codes.0"                           \
    }
#define LOOK_CODES                                                                                 \
    {                                                                                              \
        "GET", "sys/factors/$U", NULL, "data.factors.1.remaining"                                  \
    }
#define BINDING "{\"principals\":[\"user:x%N\"],\"policies\":[\"p\"]}"

const struct trial_op trial_ops[] = {
    {.name = "kv put", .act = PUT_V1, .look = {LOOK_DATA}},
    {.name = "kv put again", .prepare = {PUT_V1}, .act = PUT_V2, .look = {LOOK_DATA}},
    {.name = "kv patch",
     .prepare = {PUT_V1},
     .act = {"PATCH", "secret/data/k%N", "{\"data\":{\"c\":\"3\"}}"},
     .look = {LOOK_DATA}},
    {.name = "kv delete",
     .prepare = {PUT_V1},
     .act = {"DELETE", "secret/data/k%N"},
     .look = {LOOK_DATA}},
    {.name = "kv undelete",
     .prepare = {PUT_V1, {"DELETE", "secret/data/k%N"}},
     .act = {"PUT", "secret/undelete/k%N", "{\"versions\":[1]}"},
     .look = {LOOK_DATA}},
    {.name = "kv destroy",
     .prepare = {PUT_V1, PUT_V2},
     .act = {"PUT", "secret/destroy/k%N", "{\"versions\":[1,2]}"},
     .look = {{"GET", "secret/metadata/k%N", NULL, "data.versions.1.destroyed"},
              {"GET", "secret/data/k%N?version=1", NULL, "data.data"},
              LOOK_DATA}},
    {.name = "kv metadata put",
     .prepare = {PUT_V1},
     .act = {"PUT", "secret/metadata/k%N",
             "{\"max_versions\":3,\"custom_metadata\":{\"owner\":\"x\"}}"},
     .look = {{"GET", "secret/metadata/k%N", NULL, "data.max_versions"},
              {"GET", "secret/metadata/k%N", NULL, "data.custom_metadata"}}},
    {.name = "kv metadata delete",
     .prepare = {PUT_V1, PUT_V2},
     .act = {"DELETE", "secret/metadata/k%N"},
     .look = {{"GET", "secret/metadata/k%N", NULL, "data.current_version"}, LOOK_DATA}},

    {.name = "policy write",
     .act = {"PUT", "sys/policies/acl/p%N",
             "{\"policy\":\"path \\\"x\\\" { capabilities = [\\\"read\\\"] }\"}"},
     .look = {{"GET", "sys/policies/acl/p%N", NULL, "data.policy"}}},
    {.name = "policy delete",
     .prepare = {{"PUT", "sys/policies/acl/p%N",
                  "{\"policy\":\"path \\\"x\\\" { capabilities = [\\\"read\\\"] }\"}"}},
     .act = {"DELETE", "sys/policies/acl/p%N"},
     .look = {{"GET", "sys/policies/acl/p%N", NULL, "data.policy"}}},
    {.name = "binding write",
     .act = {"PUT", "sys/bindings/b%N", BINDING},
     .look = {{"GET", "sys/bindings/b%N", NULL, "data.policies"}}},
    {.name = "binding delete",
     .prepare = {{"PUT", "sys/bindings/b%N", BINDING}},
     .act = {"DELETE", "sys/bindings/b%N"},
     .look = {{"GET", "sys/bindings/b%N", NULL, "data.policies"}}},

    {.name = "mount enable",
     .act = {"POST", "sys/mounts/m%N", "{\"type\":\"kv\"}"},
     .look = {{"GET", "sys/mounts/m%N", NULL, "data.type"}, {"GET", "m%N/x", NULL, NULL}}},
    {.name = "mount disable",
     .prepare = {{"POST", "sys/mounts/m%N", "{\"type\":\"kv\"}"},
                 {"PUT", "m%N/x", "{\"a\":\"1\"}"}},
     .act = {"DELETE", "sys/mounts/m%N"},
     .look = {{"GET", "sys/mounts/m%N", NULL, "data.type"}, {"GET", "m%N/x", NULL, "data"}}},

    {.name = "token create",
     .act = {"POST", "auth/token/create", "{\"ttl\":\"3900s\"}"},
     .look = {{"LIST", "auth/token/accessors", NULL, "data.keys#"}}},
    {.name = "token renew",
     .prepare = {MAKE_TOKEN},
     .act = {"POST", "auth/token/renew", "{\"token\":\"$A\",\"increment\":\"10900s\"}"},
     .look = {LOOK_TOKEN("data.ttl/")}},
    {.name = "token revoke",
     .prepare = {MAKE_TOKEN, {"POST", "auth/token/create", "{}", NULL, TOKEN, "$A"}},
     .act = {"POST", "auth/token/revoke", "{\"token\":\"$A\"}"},
     .look = {LOOK_TOKEN(NULL), {"POST", "auth/token/lookup", "{\"token\":\"$B\"}"}}},
    {.name = "token revoke accessor",
     .prepare = {MAKE_TOKEN},
     .act = {"POST", "auth/token/revoke-accessor", "{\"accessor\":\"$B\"}"},
     .look = {LOOK_TOKEN(NULL)}},

    {.name = "factor begin", .act = MAKE_TOTP, .look = {LOOK_FACTORS}},
    {.name = "factor confirm",
     .prepare = {MAKE_TOTP},
     .act = CONFIRM_TOTP,
     .look = {LOOK_CONFIRMED, {"GET", "sys/factors/u%N", NULL, "data.factors#"}}},
    {.name = "factor recovery",
     .prepare = {MAKE_TOTP, CONFIRM_TOTP, {"DELETE", "sys/factors/u%N/recovery"}},
     .act = {"POST", "sys/factors/u%N/recovery"},
     .look = {LOOK_FACTORS}},
    {.name = "factor passphrase",
     .slow = true,
     .act = {"POST", "sys/factors/u%N/passphrase", "{\"passphrase\":\"correct horse battery\"}"},
     .look = {LOOK_FACTORS}},
    {.name = "factor reset",
     .prepare = {MAKE_TOTP, CONFIRM_TOTP},
     .act = {"DELETE", "sys/factors/u%N"},
     .look = {LOOK_FACTORS}},
    {.name = "enrolment rule",
     .prepare = {{"PUT", "sys/enrolment", "{\"mode\":\"required\"}"}},
     .act = {"PUT", "sys/enrolment", "{\"mode\":\"required\",\"exempt_groups\":[\"g%N\"]}"},
     .look = {{"GET", "sys/enrolment", NULL, "data.exempt_groups#"}}},

    {.name = "login", .kind = TRIAL_LOGIN, .prepare = {NEW_CODES}, .look = {LOOK_CODES}},
    {.name = "session", .kind = TRIAL_SESSION, .prepare = {NEW_CODES}, .look = {LOOK_CODES}},

    {.name = "rotate", .act = {"PUT", "sys/rotate"}, .look = {LOOK_DATA}},
    {.name = "seal", .shifts = true, .act = {"PUT", "sys/seal"}, .look = {LOOK_DATA}},
    {.name = "unseal",
     .shifts = true,
     .prepare = {{"PUT", "sys/seal"}},
     .act = {"PUT", "sys/unseal", "{\"credential\":\"$K\"}"},
     .look = {{"GET", "sys/seal-status", NULL, "sealed"}}},
    {.name = "audit log rotated", .kind = TRIAL_HANGUP, .prepare = {PUT_V1}, .look = {LOOK_DATA}},

    {.name = "database role write",
     .database = true,
     .act = {"PUT", "database/roles/r%N", "{\"db_name\":\"shop\",\"groups\":[\"shop_ro\"]}"},
     .look = {{"GET", "database/roles/r%N", NULL, "data.db_name"}}},
    {.name = "creds issue",
     .database = true,
     .act = {"GET", "database/creds/own"},
     .look = {LOOK_LEASES}},
    {.name = "creds renew",
     .database = true,
     .prepare = {MAKE_CREDS},
     .act = {"PUT", "sys/leases/renew", "{\"lease_id\":\"$A\",\"increment\":10900}"},
     .look = {LOOK_LEASE("data.ttl/")}},
    {.name = "creds revoke",
     .database = true,
     .prepare = {MAKE_CREDS},
     .act = {"PUT", "sys/leases/revoke", "{\"lease_id\":\"$A\"}"},
     .look = {LOOK_LEASE("data.state?")}},
    {.name = "creds revoke and wait",
     .database = true,
     .waits = true,
     .prepare = {MAKE_CREDS},
     .act = {"PUT", "sys/leases/revoke", "{\"lease_id\":\"$A\",\"sync\":true}"},
     .look = {LOOK_LEASE("data.state?")}},
    {.name = "creds revoke prefix",
     .database = true,
     .prepare = {MAKE_CREDS, MAKE_CREDS},
     .act = {"PUT", "sys/leases/revoke-prefix/database/creds/ro"},
     .look = {LOOK_LEASE("data.state?")}},
    {.name = "creds end with their token",
     .database = true,
     .prepare = {MAKE_TOKEN, {"GET", "database/creds/ro", NULL, NULL, "lease_id", "$A"}},
     .act = {"POST", "auth/token/revoke", "{\"token\":\"$A\"}"},
     .look = {LOOK_TOKEN(NULL)}},
};
const size_t trial_n_ops = sizeof(trial_ops) / sizeof(trial_ops[0]);

/* --- Filling in
 * --------------------------------------------------------------------------------- */

static void put_code(struct buf *b, const char *secret)
{
    char *raw = NULL, code[16] = "";
    size_t n = 0;
    if (oath_base32_decode(secret, strlen(secret), &raw, &n) == OATH_OK)
        oath_totp_generate(raw, n, time(NULL), 30, 0, 6, code);
    free(raw);
    buf_puts(b, code);
}

static void put_unseal_key(struct buf *b, const struct trial_agent *a)
{
    char path[PATH_MAX];
    size_t n;
    snprintf(path, sizeof(path), "%s/unseal-key", a->dir);
    char *key = trial_read_file(path, 32, &n);
    encode_base64(b, key ? key : "", n);
    free(key);
}

static const char *person(void)
{
    const char *me = getenv("TRIAL_USER");
    return me ? me : "nobody";
}

/* The text with its %N, $A … replaced; NULL stays NULL. Free it. */
static char *fill(const struct trial *t, const char *text)
{
    struct buf b = BUF_INIT(16384);
    if (!text)
        return NULL;
    for (const char *p = text; *p; p++) {
        if (*p != '%' && *p != '$') {
            buf_putc(&b, *p);
            continue;
        }
        switch (*++p) {
        case 'N':
            buf_putf(&b, "%ld", t->number);
            break;
        case 'A':
            buf_puts(&b, t->a);
            break;
        case 'B':
            buf_puts(&b, t->b);
            break;
        case 'T':
            put_code(&b, t->a);
            break;
        case 'K':
            put_unseal_key(&b, t->agent);
            break;
        case 'U':
            buf_puts(&b, person());
            break;
        default:
            abort();
        }
    }
    return buf_steal(&b);
}

static int call(struct trial *t, const struct trial_call *c, int timeout_ms, json_t **answer)
{
    char *path = fill(t, c->path), *body = fill(t, c->body), *as = fill(t, c->as);
    int status =
        trial_ask(t->agent, as ? as : t->agent->token, c->method, path, body, timeout_ms, answer);
    free(path);
    free(body);
    free(as);
    return status;
}

static void capture(json_t *answer, const char *member, char *out, size_t size)
{
    const char *text = member ? json_string_value(trial_member(answer, member)) : NULL;
    if (text)
        snprintf(out, size, "%s", text);
}

/* --- One trial
 * ---------------------------------------------------------------------------------- */

bool trial_prepare(struct trial *t)
{
    for (size_t i = 0; i < 4 && t->op->prepare[i].method; i++) {
        const struct trial_call *c = &t->op->prepare[i];
        json_t *answer = NULL;
        int status = call(t, c, TRIAL_ANSWER_MS, &answer);
        if (status < 200 || status > 299) {
            char *text = json_dumps(answer, JSON_COMPACT);
            trial_note("%s: %s %s answered %d %s", t->op->name, c->method, c->path, status,
                       text ? text : "");
            free(text);
            json_decref(answer);
            return false;
        }
        capture(answer, c->a, t->a, sizeof(t->a));
        capture(answer, c->b, t->b, sizeof(t->b));
        json_decref(answer);
    }
    return true;
}

static int act_http(struct trial *t, int timeout_ms)
{
    json_t *answer = NULL;
    int status = call(t, &t->op->act, timeout_ms, &answer);
    json_decref(answer);
    return status < 0 ? -1 : status >= 200 && status <= 299;
}

int trial_act(struct trial *t, int timeout_ms)
{
    if (t->op->kind == TRIAL_HTTP)
        return act_http(t, timeout_ms);
    if (t->op->kind == TRIAL_HANGUP)
        return t->agent->pid && kill(t->agent->pid, SIGHUP) == 0 ? 0 : -1;
    return trial_pam(t->agent, t->a, t->op->kind == TRIAL_SESSION, timeout_ms);
}

/* How many of a list, or of its leases those that are active and of the role that one operation
 * alone uses (the others' come and go). */
static json_int_t size_of(const json_t *list, bool active)
{
    json_int_t size = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        const char *state = json_string_value(json_object_get(one, "state"));
        const char *path = json_string_value(json_object_get(one, "path"));
        size += !active || (state && strcmp(state, "active") == 0 && path &&
                            strcmp(path, "database/creds/own") == 0);
    }
    return size;
}

static void put_size(struct buf *b, struct trial *t, size_t i, const json_t *list, bool active)
{
    json_int_t size = size_of(list, active);
    if (!t->based)
        t->base[i] = size;
    buf_putf(b, "%+lld", (long long)(size - t->base[i]));
}

static void put_look(struct buf *b, struct trial *t, size_t i, int status, json_t *answer)
{
    const char *member = t->op->look[i].member ? t->op->look[i].member : "";
    char where[128], how = *member ? member[strlen(member) - 1] : '\0';
    snprintf(where, sizeof(where), "%.*s", (int)(strlen(member) - (strchr("#@/?", how) && how)),
             member);
    json_t *m = *where ? trial_member(answer, where) : NULL;
    if (how == '?' && status < 500) {
        const char *state = json_string_value(m);
        buf_puts(b, state && strcmp(state, "active") == 0 ? "active" : "ended");
        return;
    }
    buf_putf(b, "%d ", status);
    if (how == '#' || how == '@') {
        put_size(b, t, i, m, how == '@');
    } else if (how == '/') {
        buf_putf(b, "%lld", (long long)json_integer_value(m) / 1000);
    } else if (*where) {
        char *text = json_dumps(m, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
        buf_puts(b, text ? text : "-");
        free(text);
    }
}

char *trial_look(struct trial *t)
{
    struct buf b = BUF_INIT(65536);
    for (size_t i = 0; i < TRIAL_LOOKS && t->op->look[i].method; i++) {
        const struct trial_look *l = &t->op->look[i];
        json_t *answer = NULL;
        const struct trial_call c = {.method = l->method, .path = l->path, .body = l->body};
        int status = call(t, &c, TRIAL_ANSWER_MS, &answer);
        buf_puts(&b, i ? " | " : "");
        put_look(&b, t, i, status, answer);
        json_decref(answer);
    }
    t->based = true;
    char *text = buf_steal(&b);
    return text ? text : strdup("");
}

/* --- What all of them need
 * ---------------------------------------------------------------------- */

static bool furnish_call(struct trial *t, const struct trial_call *c)
{
    json_t *answer = NULL;
    int status = call(t, c, TRIAL_ANSWER_MS, &answer);
    if (status < 200 || status > 299) {
        char *text = json_dumps(answer, JSON_COMPACT);
        trial_note("%s %s answered %d %s", c->method, c->path, status, text ? text : "");
        free(text);
    }
    capture(answer, c->a, t->a, sizeof(t->a));
    json_decref(answer);
    return status >= 200 && status <= 299;
}

bool trial_furnish(struct trial_agent *a, const char *url, const char *password)
{
    static const struct trial_call enrol[] = {
        {"POST", "sys/factors/$U/totp", "{}", "data.secret"},
        {"POST", "sys/factors/$U/totp/confirm", "{\"code\":\"$T\"}"},
        {"PUT", "secret/data/k0", "{\"data\":{\"kept\":\"always\"}}"},
        {"PUT", "sys/bindings/door",
         "{\"principals\":[\"*\"],\"services\":[\"door\"],"
         "\"mfa\":{\"factors\":[\"recovery\"],\"max_age\":\"15m\"}}"},
    };
    struct trial t = {.agent = a};
    char config[2048];
    bool ok = trial_pam_stack(a);
    for (size_t i = 0; ok && i < 4; i++)
        ok = furnish_call(&t, &enrol[i]);
    if (!ok || !url)
        return ok;
    snprintf(config, sizeof(config),
             "{\"plugin_name\":\"postgresql-database-plugin\",\"allowed_roles\":\"*\","
             "\"connection_url\":\"%s\",\"username\":\"cs_admin\",\"password\":\"%s\"}",
             url, password);
    const struct trial_call database[] = {
        {"POST", "sys/mounts/database", "{\"type\":\"database\"}"},
        {"PUT", "database/config/shop", config},
        {"PUT", "database/roles/ro",
         "{\"db_name\":\"shop\",\"groups\":[\"shop_ro\"],\"default_ttl\":\"3900s\"}"},
        {"PUT", "database/roles/own", "{\"db_name\":\"shop\",\"groups\":[\"shop_ro\"]}"},
    };
    for (size_t i = 0; ok && i < 4; i++)
        ok = furnish_call(&t, &database[i]);
    return ok;
}
