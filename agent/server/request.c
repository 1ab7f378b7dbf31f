/* What handlers use of a request: parameters, answers, facts of the caller. */
#include "server/request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "server/rules.h"

#define ALERT_PATH_MAX 200

const char *request_param(const struct request *r, const char *name)
{
    for (size_t i = 0; i < REQUEST_PARAMS; i++) {
        if (r->param[i].value && strcmp(r->param[i].name, name) == 0)
            return r->param[i].value;
    }
    return "";
}

const char *request_query(const struct request *r, const char *name)
{
    return json_string_value(json_object_get(r->query, name));
}

int request_error(struct request *r, int status, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    _cleanup_buf_ struct buf shown = BUF_INIT(sizeof(text));
    encode_printable(&shown, text, sizeof(text));
    r->status = status;
    json_decref(r->errors);
    r->errors = json_pack("[s]", buf_str(&shown));
    return r->errors && !buf_error(&shown) ? 0 : -ENOMEM;
}

int request_none(struct request *r)
{
    r->status = 404;
    json_decref(r->errors);
    r->errors = json_array();
    return r->errors ? 0 : -ENOMEM;
}

int request_warn(struct request *r, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    _cleanup_buf_ struct buf shown = BUF_INIT(sizeof(text));
    encode_printable(&shown, text, sizeof(text));
    if (!r->warnings)
        r->warnings = json_array();
    return r->warnings && json_array_append_new(r->warnings, json_string(buf_str(&shown))) == 0
               ? 0
               : -ENOMEM;
}

int request_data(struct request *r, json_t *data)
{
    json_decref(r->data);
    r->data = data;
    return data ? 0 : -ENOMEM;
}

int request_keys(struct request *r, json_t *array)
{
    if (!array)
        return -ENOMEM;
    if (json_array_size(array) == 0) {
        json_decref(array);
        return request_none(r);
    }
    return request_data(r, json_pack("{s:o}", "keys", array));
}

int request_unsealed(struct request *r)
{
    enum vault_state state = vault_state(r->agent->vault);
    if (state == VAULT_UNSEALED)
        return 0;
    int e = state == VAULT_SEALED ? request_error(r, 503,
                                                  "Vault is sealed: unseal the agent with "
                                                  "\"countersign operator unseal\"")
                                  : request_error(r, 503,
                                                  "the agent is not initialised: run "
                                                  "\"countersign operator init\" as root");
    return e < 0 ? e : 1;
}

/* --- The caller
 * ----------------------------------------------------------------------------------- */

struct decide_proof request_proof(const struct proof *p, int64_t now_ms, bool by_session,
                                  bool by_source)
{
    return (struct decide_proof){.factor = p->factor,
                                 .age = (now_ms - p->boot_ms) / 1000,
                                 .session = by_session,
                                 .source = by_source};
}

struct proof_list {
    struct decide_proof *list;
    size_t n;
    int64_t now;
};

static int add_proof(const struct proof *p, bool by_session, bool by_source, void *data)
{
    struct proof_list *l = data;
    if (l->n < REQUEST_PROOFS)
        l->list[l->n++] = request_proof(p, l->now, by_session, by_source);
    return 0;
}

int request_facts(struct request *r, struct decide_facts *f, struct decide_proof *proofs)
{
    *f = (struct decide_facts){
        .user = r->has_person ? r->user : NULL,
        .has_uid = r->peer.known,
        .uid = r->uid,
        .groups = (const char *const *)r->groups,
        .n_groups = r->n_groups,
        .assurance = r->peer.assurance,
        .now = r->now_ms / 1000,
        .zone_offset = rules_zone_offset,
    };
    int e = lockout_facts(r->agent, f, r->locked);
    if (e < 0 || !r->has_session)
        return e;
    struct proof_list list = {.list = proofs, .now = clock_boot_ms()};
    e = session_proofs(r->agent->vault, r->session.id, r->user, NULL, NULL, add_proof, &list);
    f->has_source = true;
    f->source = strcmp(r->session.source, "?") == 0 ? NULL : r->session.source;
    f->proofs = proofs;
    f->n_proofs = list.n;
    return e;
}

int request_token_check(struct request *r, const char *path, struct acl_result *out)
{
    _cleanup_(freep) struct acl_use *uses = NULL;
    size_t n;
    *out = (struct acl_result){0};
    int e = rules_uses(r->agent->rules, r->token.policies, &uses, &n);
    if (e == 0)
        acl_check(uses, n, path, out);
    return e;
}

static bool token_may(struct request *r, const char *path, unsigned caps)
{
    struct acl_result result;
    if (r->token.root)
        return true;
    return request_token_check(r, path, &result) == 0 && !(result.caps & ACL_DENY) &&
           (result.caps & caps);
}

bool request_may(struct request *r, const char *path, unsigned caps)
{
    if (r->has_token)
        return token_may(r, path, caps);
    struct decide_facts f;
    struct decide_proof proofs[REQUEST_PROOFS];
    struct decision d;
    if (request_facts(r, &f, proofs) < 0)
        return false;
    decide_path(rules_view(r->agent->rules), &f, path, caps, false, false, &d);
    bool may = d.verdict == DECIDE_ALLOW;
    decision_clear(&d);
    return may;
}

void request_alert(struct request *r, const char *event)
{
    char text[512];
    _cleanup_buf_ struct buf path = BUF_INIT(ALERT_PATH_MAX + 1);
    encode_printable(&path, r->path, ALERT_PATH_MAX);
    snprintf(text, sizeof(text), "%s by uid %d (login uid %d, pid %d, %s) on %s", event,
             (int)r->peer.uid, (int)r->peer.loginuid, (int)r->peer.pid,
             r->peer.comm[0] ? r->peer.comm : "?", buf_str(&path));
    agent_alert(r->agent, event, text);
}

struct alert_now {
    struct request *request;
    const char *event;
    int error;
};

static int alert_turn(void *data)
{
    struct alert_now *n = data;
    request_alert(n->request, n->event);
    return 0;
}

static void alert_done(void *data, int error)
{
    ((struct alert_now *)data)->error = error;
}

int request_alert_now(struct request *r, const char *event)
{
    struct alert_now n = {.request = r, .event = event, .error = -EBUSY};
    int e = turn_add(r->agent->turn, TURN_API, alert_turn, alert_done, &n);
    if (e < 0)
        return e;
    turn_now(r->agent->turn);
    return n.error;
}
