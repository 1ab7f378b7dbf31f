/* Stages 5 and 6: the audit line, and the answer in Vault's envelope. */
#include <errno.h>
#include <string.h>

#include "base/fault.h"
#include "server/metrics.h"
#include "server/pipeline.h"
#include "server/polling.h"
#include "vault/audit.h"

#define REPLY_MAX (8 * HTTP_BODY_MAX)
#define LINE_MAX_BYTES (64 * 1024) /* of the audit log */

static const char *verb_name(unsigned verb)
{
    static const struct {
        unsigned verb;
        const char *name;
    } names[] = {{VERB_GET, "read"},
                 {VERB_PUT, "update"},
                 {VERB_DELETE, "delete"},
                 {VERB_LIST, "list"},
                 {VERB_PATCH, "patch"}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (names[i].verb == verb)
            return names[i].name;
    }
    return "?";
}

static int status_of(const struct request *r)
{
    if (r->status)
        return r->status;
    if (r->data || r->raw_data.len || r->auth || r->warnings)
        return 200;
    return 204;
}

/* A member of the audit line; none without a value. */
static void put_known(struct buf *b, const char *name, const char *value)
{
    if (!value || !value[0])
        return;
    buf_puts(b, ",\"");
    buf_puts(b, name);
    buf_puts(b, "\":");
    json_put_text(b, value);
}

static void put_number(struct buf *b, const char *name, int64_t value)
{
    buf_puts(b, ",\"");
    buf_puts(b, name);
    buf_puts(b, "\":");
    buf_put_dec(b, value);
}

int pipeline_audit(struct request *r)
{
    if ((r->route->flags & ROUTE_QUIET) || vault_state(r->agent->vault) != VAULT_UNSEALED)
        return 0;
    if (!request_refused(r) && polling_again(r))
        return 0;
    /* What a 400 says may quote the body, which never goes into the log. */
    const json_t *first = status_of(r) == 400 ? NULL : json_array_get(r->errors, 0);
    _cleanup_buf_ struct buf b = BUF_INIT(LINE_MAX_BYTES);
    put_known(&b, "request", r->id);
    put_known(&b, "operation", verb_name(r->verb));
    put_known(&b, "path", r->path);
    put_known(&b, "principal", r->principal);
    put_number(&b, "uid", r->peer.known ? (int64_t)r->peer.uid : -1);
    put_number(&b, "pid", (int64_t)r->peer.pid);
    put_known(&b, "program", r->peer.comm);
    put_known(&b, "unit", r->peer.unit);
    if (r->check)
        buf_puts(&b, ",\"check\":true");
    put_known(&b, "session", r->has_session ? r->session.id : NULL);
    put_known(&b, "binding", r->decision.binding);
    put_known(&b, "policy", r->decision.policy);
    put_known(&b, "lease", r->lease_id);
    put_known(&b, "issued", json_string_value(json_object_get(r->auth, "accessor")));
    put_number(&b, "status", status_of(r));
    put_known(&b, "error", json_string_value(first));
    int e = audit_append_text(r->agent->vault, "request", &b);
    return e < 0 || request_refused(r) ? e : polling_told(r);
}

/* --- The answer
 * ----------------------------------------------------------------------------------- */

static void put_member(struct buf *b, const char *name, const json_t *value)
{
    buf_puts(b, ",\"");
    buf_puts(b, name);
    buf_puts(b, "\":");
    if (value)
        json_put(b, value);
    else
        buf_puts(b, "null");
}

static void put_data(struct buf *b, const struct request *r)
{
    if (r->raw_data.len) {
        buf_puts(b, ",\"data\":");
        buf_put(b, r->raw_data.data, r->raw_data.len);
        return;
    }
    put_member(b, "data", r->data);
}

/* Whether the envelope has a member of this name itself. */
static bool in_envelope(const char *key)
{
    static const char *const names[] = {"request_id", "lease_id",  "renewable", "lease_duration",
                                        "data",       "wrap_info", "warnings",  "auth"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], key) == 0)
            return true;
    }
    return false;
}

/* Old clients read these paths' data at the top level. */
static void put_top_level(struct buf *b, const struct request *r)
{
    const char *key;
    json_t *value;
    json_object_foreach(r->data, key, value)
    {
        if (in_envelope(key))
            continue;
        buf_putc(b, ',');
        json_put_text(b, key);
        buf_putc(b, ':');
        json_put(b, value);
    }
}

static void put_envelope(struct buf *b, const struct request *r)
{
    buf_puts(b, "{\"request_id\":\"");
    buf_puts(b, r->id);
    buf_puts(b, "\",\"lease_id\":");
    json_put_text(b, r->lease_id);
    buf_puts(b, r->renewable ? ",\"renewable\":true" : ",\"renewable\":false");
    buf_puts(b, ",\"lease_duration\":");
    buf_put_dec(b, r->lease_duration);
    put_data(b, r);
    buf_puts(b, ",\"wrap_info\":null");
    put_member(b, "warnings", r->warnings);
    put_member(b, "auth", r->auth);
    if (r->route && (r->route->flags & ROUTE_TOP) && r->data)
        put_top_level(b, r);
    buf_puts(b, "}\n");
}

static void put_errors(struct buf *b, const struct request *r)
{
    buf_puts(b, "{\"errors\":");
    if (r->errors)
        json_put(b, r->errors);
    else
        buf_puts(b, "[]");
    if (r->warnings)
        put_member(b, "warnings", r->warnings);
    buf_puts(b, "}\n");
}

static void count(const struct request *r, int status)
{
    size_t n;
    const struct route *all = routes_all(&n);
    metrics_request(r->route ? (size_t)(r->route - all) : METRICS_ROWS, status);
}

void pipeline_reply(struct request *r)
{
    _cleanup_buf_ struct buf body = BUF_INIT(REPLY_MAX);
    int status = status_of(r);
    bool bare = r->route && (r->route->flags & ROUTE_BARE);
    bool has_data = r->data || r->raw_data.len;
    bool page = r->content_type && status == 200;
    if (page)
        buf_put(&body, r->raw_data.data, r->raw_data.len);
    else if (bare && r->data && !r->errors && status != 204)
        json_put(&body, r->data);
    else if (request_refused(r) && !(has_data && json_array_size(r->errors) == 0))
        put_errors(&body, r);
    else if (status != 204) /* a 404 with data, too: that is how KV tells of a deleted version */
        put_envelope(&body, r);
    if (buf_error(&body)) {
        buf_reset(&body);
        buf_puts(&body, "{\"errors\":[\"the answer does not fit into memory\"]}\n");
        status = 500;
        page = false;
    }
    count(r, status);
    const char *type = page ? r->content_type : body.len ? "application/json" : NULL;
    FAULT_POINT(reply_ready);
    http_reply(r->exchange, status, type, &body, NULL);
    FAULT_POINT(reply_handed);
    r->exchange = NULL;
}

void pipeline_request_free(struct request *r)
{
    if (r->state && r->state_free)
        r->state_free(r->state);
    for (size_t i = 0; i < REQUEST_PARAMS; i++)
        free(r->param[i].value);
    pipeline_free_groups(r);
    mem_free_str(r->token_text);
    token_clear(&r->token);
    decision_clear(&r->decision);
    peer_clear(&r->peer);
    free(r->path);
    json_decref(r->query);
    json_decref(r->body);
    json_decref(r->data);
    json_decref(r->auth);
    json_decref(r->warnings);
    json_decref(r->errors);
    buf_clear(&r->raw_data);
    mem_wipe(r, sizeof(*r));
    free(r);
}
