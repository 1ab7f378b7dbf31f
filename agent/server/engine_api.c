/* The bridge from a request to a secrets engine, and the birth of a lease:
 *
 *   turn 1   the engine picks the account; the pending row is committed
 *   effect   the connector is asked
 *   turn 2   the engine looks at the answer; active, or revoking; then the reply */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "server/hold.h"
#include "server/mount.h"
#include "server/pipeline.h"
#include "server/revoke.h"
#include "server/routes.h"

#define DEFAULT_TTL (32 * 86400LL) /* Vault's system default: 768h */

struct bridge {
    struct request *request;
    const struct engine *engine;
    struct engine_request er;
    char mount[130];
    char space[40];
    char lease_id[LEASE_ID_MAX];
    json_t *frame;
    json_t *answer;
    bool leased;
};

static void bridge_free(void *data)
{
    struct bridge *b = data;
    if (!b)
        return;
    engine_request_clear(&b->er);
    json_decref(b->frame);
    json_decref(b->answer);
    mem_wipe(b, sizeof(*b));
    free(b);
}

static enum engine_op op_of(unsigned verb)
{
    switch (verb) {
    case VERB_GET:
        return ENGINE_READ;
    case VERB_LIST:
        return ENGINE_LIST;
    case VERB_DELETE:
        return ENGINE_DELETE;
    case VERB_PATCH:
        return ENGINE_PATCH;
    default:
        return ENGINE_WRITE;
    }
}

/* The original bytes: an engine that keeps what it was given must not keep a re-dump. */
static void give_raw(struct request *r, struct engine_request *er)
{
    const struct http_request *h = http_request_of(r->exchange);
    er->raw = h->body;
    er->raw_len = h->body_len;
}

static int bridge_new(struct request *r, const struct mount *m, struct bridge **out)
{
    struct bridge *b = calloc(1, sizeof(*b));
    if (!b)
        return -ENOMEM;
    b->request = r;
    b->engine = m->engine;
    mem_text(b->mount, sizeof(b->mount), m->path);
    mem_text(b->space, sizeof(b->space), m->space);
    b->er = (struct engine_request){
        .vault = r->agent->vault,
        .space = b->space,
        .mount = b->mount,
        .path = r->path + strlen(m->path), /* the request outlives the bridge */
        .op = op_of(r->verb),
        .body = r->body,
        .query = r->query,
        .now_ms = r->now_ms,
        .check = r->check,
        .lease_ms = r->lease_ms,
        .principal = r->principal,
        .lease_id = b->lease_id,
        .raw_data = BUF_INIT(4 * HTTP_BODY_MAX),
    };
    give_raw(r, &b->er);
    r->state = b;
    r->state_free = bridge_free;
    *out = b;
    return 0;
}

static bool needs_sudo(const struct engine *engine, const char *path)
{
    for (const char *const *p = engine->root_paths; p && *p; p++) {
        size_t n = strlen(*p);
        bool glob = n > 0 && (*p)[n - 1] == '*';
        if (glob ? strncmp(path, *p, n - 1) == 0 : strcmp(path, *p) == 0)
            return true;
    }
    return false;
}

int pipeline_engine_caps(struct request *r, unsigned *caps, bool *sudo)
{
    static const unsigned by_op[] = {[ENGINE_READ] = ACL_READ,
                                     [ENGINE_WRITE] = ACL_CREATE | ACL_UPDATE,
                                     [ENGINE_PATCH] = ACL_PATCH,
                                     [ENGINE_DELETE] = ACL_DELETE,
                                     [ENGINE_LIST] = ACL_LIST};
    *caps = by_op[op_of(r->verb)];
    *sudo = false;
    const struct mount *m = mounts_find(r->agent->mounts, r->path);
    if (!m)
        return 0;
    struct bridge *b;
    int e = bridge_new(r, m, &b);
    if (e < 0)
        return e;
    *sudo = needs_sudo(m->engine, b->er.path);
    if (b->er.op != ENGINE_WRITE)
        return 0;
    e = m->engine->exists ? m->engine->exists(&b->er) : 1;
    *caps = e ? ACL_UPDATE : ACL_CREATE;
    return e < 0 ? e : 0;
}

/* --- The answer
 * ----------------------------------------------------------------------------------- */

static int take_answer(struct request *r, struct bridge *b)
{
    struct engine_request *er = &b->er;
    r->status = er->status;
    r->data = er->data;
    er->data = NULL;
    buf_clear(&r->raw_data);
    r->raw_data = er->raw_data;
    er->raw_data = BUF_INIT(4 * HTTP_BODY_MAX);
    r->warnings = er->warnings;
    er->warnings = NULL;
    if (er->status >= 400 && er->error[0])
        return request_error(r, er->status, "%s", er->error);
    if (er->status >= 400)
        return request_none(r);
    return 0;
}

/* --- Leases
 * --------------------------------------------------------------------------------------- */

/* The narrowest lifetime that holds for the caller. */
static void choose_lifetime(const struct request *r, struct lease_spec *s)
{
    s->lifetime_kind = "none";
    s->lifetime_id = s->lifetime_name = "";
    if (r->has_token) {
        s->lifetime_kind = "token";
        s->lifetime_id = r->token.id;
        s->lifetime_name = r->token.accessor;
    } else if (r->has_session) {
        s->lifetime_kind = "session";
        s->lifetime_id = r->session.id;
        s->lifetime_name = r->session.service;
    }
}

static int make_pending(struct request *r, struct bridge *b)
{
    struct lease_spec s = {
        .id = b->lease_id,
        .path = r->path,
        .mount = b->mount,
        .engine = b->engine->type,
        .space = b->space,
        .principal = r->principal,
        .has_uid = r->peer.known,
        .uid = (uint32_t)r->uid,
        .binding = r->decision.binding,
        .token = r->has_token ? r->token.id : "",
        .ttl = b->er.lease.ttl ? b->er.lease.ttl : DEFAULT_TTL,
        .max_ttl = b->er.lease.max_ttl,
        .renewable = b->er.lease.renewable,
        .recipe = b->er.lease.recipe,
    };
    choose_lifetime(r, &s);
    b->leased = true;
    return lease_create(r->agent->leases, &s, r->lease_ms);
}

static int hand_over(struct request *r, struct bridge *b)
{
    const char *undo = NULL;
    if (r->errors)
        undo = "it could not be made";
    else if (r->gone)
        undo = "the client was gone before it could be handed over";
    if (undo) {
        r->lease_id[0] = '\0';
        int failed = lease_unmake(r->agent->leases, b->lease_id, undo, r->lease_ms);
        return failed < 0 ? failed : 0;
    }
    int e = lease_activate(r->agent->leases, b->lease_id, r->lease_ms);
    FAULT_POINT(lease_activated);
    if (e < 0)
        return e;
    if (e > 0) {
        json_decref(r->data);
        r->data = NULL;
        buf_clear(&r->raw_data);
        if (e ==
            LEASE_E_NONE) /* undone before it was there: what came after is found by its name */
            revoke_sweep(r->agent);
        return request_error(r, 503, "the lease was revoked while it was being made");
    }
    snprintf(r->lease_id, sizeof(r->lease_id), "%s", b->lease_id);
    r->lease_duration = b->er.lease.ttl ? b->er.lease.ttl : DEFAULT_TTL;
    r->renewable = b->er.lease.renewable;
    return 0;
}

/* --- Calls to the connector
 * ----------------------------------------------------------------------- */

static int answered(struct request *r);

static void on_answer(const json_t *answer, void *data)
{
    struct bridge *b = data;
    b->answer = json_deep_copy(answer);
    request_resume(b->request, answered);
}

static void send_call(void *data)
{
    struct bridge *b = data;
    json_t *frame = b->frame;
    b->frame = NULL;
    FAULT_POINT(lease_pending);
    if (hold_call(b->request->agent, b->space, frame, on_answer, b) < 0)
        on_answer(NULL, b);
}

/* A lease that could not be ended again must not begin. 0, 1 (refused), -errno. */
static int refuse_held(struct request *r, const struct bridge *b)
{
    const json_t *db = json_object_get(b->er.frame, "db");
    const char *name = json_str_or(db, "name", "");
    const char *why = hold_database(r->agent, b->space, name);
    int e = why ? hold_refuse(r) : 0;
    if (!why || e != 0)
        return e;
    e = request_error(r, 503,
                      "the database %s is held: %s. An operator decides which of the two goes on: "
                      "countersign operator accept-rollback",
                      name, why);
    return e < 0 ? e : 1;
}

/* Does what the engine asked for: an answer, or first a frame to the connector. */
static int go_on(struct request *r, struct bridge *b, int outcome)
{
    if (outcome < 0)
        return outcome;
    if (b->er.lease.wanted && r->check)
        return request_error(r, 400, "this can't be tried out without doing it: it makes a lease");
    if (b->er.lease.wanted && r->last_use)
        return request_error(
            r, 400, "this was the token's last use: a lease would have ended with it at once");
    int held = b->er.lease.wanted && !b->leased ? refuse_held(r, b) : 0;
    if (held != 0)
        return held < 0 ? held : 0;
    if (outcome == ENGINE_CALL) {
        int e = b->er.lease.wanted && !b->leased ? make_pending(r, b) : 0;
        b->frame = b->er.frame;
        b->er.frame = NULL;
        if (e == 0)
            e = effects_push(turn_effects(r->agent->turn), send_call, NULL, b);
        return e < 0 ? e : REQUEST_WAIT;
    }
    int e = take_answer(r, b);
    if (e < 0)
        return e;
    if (b->leased)
        return hand_over(r, b);
    if (b->er.lease.wanted && !r->errors) {
        if (!b->lease_id[0])
            e = lease_make_id(r->path, b->lease_id);
        if (e >= 0)
            e = make_pending(r, b);
        return e < 0 ? e : hand_over(r, b);
    }
    return 0;
}

static int answered(struct request *r)
{
    struct bridge *b = r->state;
    _cleanup_json_ json_t *answer = b->answer;
    b->answer = NULL;
    if (!answer)
        answer = json_pack("{s:b, s:s, s:s}", "ok", 0, "kind", "unreachable", "message",
                           "the agent is out of memory");
    if (!answer)
        return -ENOMEM;
    b->er.now_ms = r->now_ms;
    b->er.lease_ms = r->lease_ms;
    return go_on(r, b, b->engine->answered(&b->er, answer));
}

/* What the binding that decided and the mount say about time; the narrower maximum counts. */
static void set_bounds(const struct request *r, const struct mount *m, struct engine_request *er)
{
    int64_t most = r->decision.max_ttl;
    er->max_ttl = most && (!m->max_ttl || most < m->max_ttl) ? most : m->max_ttl;
    er->ttl = r->decision.ttl ? r->decision.ttl : m->default_ttl;
    if (er->max_ttl && er->ttl > er->max_ttl)
        er->ttl = er->max_ttl;
}

int route_engine(struct request *r)
{
    struct bridge *b = r->state;
    const struct mount *m = b ? mounts_by_space(r->agent->mounts, b->space) : NULL;
    if (!m)
        return request_error(r, 404,
                             "no handler for route \"%.200s\": no secrets engine is mounted "
                             "there (countersign secrets list)",
                             r->path);
    set_bounds(r, m, &b->er);
    int e = m->engine->lease_revoke ? lease_make_id(r->path, b->lease_id) : 0;
    if (e == -EMSGSIZE)
        return request_error(r, 400, "the path is too long");
    if (e < 0)
        return e;
    return go_on(r, b, b->engine->handle(&b->er));
}
