/* From a whole HTTP request to its answer: the one way through the agent. */
#include "server/pipeline.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"

static void finish(struct request *r)
{
    pipeline_reply(r);
    pipeline_request_free(r);
}

/* What a failure inside the agent means to the caller. */
static void fail(struct request *r, int error)
{
    static const struct {
        int error, status;
        const char *text;
    } known[] = {
        {-EACCES, 503, "the agent is sealed; unseal it with: countersign operator unseal"},
        {-ENOSPC, 500, "the disk that holds the agent's store is full; nothing was changed"},
        {-EROFS, 500, "the agent's store is on a read-only file system; nothing was changed"},
        {-EBADMSG, 500, "a stored row failed its authentication: the store was changed from outside; "
                        "see the agent's journal"},
        {-ENOMEM, 500, "the agent is out of memory; nothing was changed, try again"},
        {-EMSGSIZE, 413, "the value is too large to be stored"},
        {-EIO, 500, "the disk that holds the agent's store failed; nothing was changed"},
    };
    const char *text = "the agent failed on this request; nothing was changed; see its journal";
    int status = 500;
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (known[i].error == error) {
            text = known[i].text;
            status = known[i].status;
        }
    }
    json_decref(r->data);
    r->data = NULL;
    buf_clear(&r->raw_data);
    (void)request_error(r, status, "%s", text);
}

/* --- In the turn ---------------------------------------------------------------------------------- */

static int check_body(struct request *r)
{
    char why[256];
    if (!r->route->fields || !r->body)
        return 0;
    int e = json_check(r->body, r->route->fields, false, why, sizeof(why));
    if (e == -EINVAL)
        return request_error(r, 400, "%s", why) < 0 ? -ENOMEM : 1;
    return e;
}

static int check_open(struct request *r)
{
    enum vault_state state = vault_state(r->agent->vault);
    if (state == VAULT_UNSEALED)
        return 0;
    int e = state == VAULT_SEALED
                ? request_error(r, 503, "Vault is sealed: unseal the agent with "
                                        "\"countersign operator unseal\"")
                : request_error(r, 503, "the agent is not initialised: run "
                                        "\"countersign operator init\" as root");
    return e < 0 ? e : 1;
}

/* The stages before the handler. 0 = go on, 1 = answered, -errno. */
static int admit(struct request *r)
{
    int e = check_open(r);
    if (e == 0)
        e = pipeline_identity_rows(r);
    if (e == 0)
        e = pipeline_authorise(r);
    if (e == 0)
        e = check_body(r);
    return e;
}

/* Returns what the handler returned, the audit line written unless it waits. */
static int run_in_turn(struct request *r, request_fn fn)
{
    int e = fn(r);
    if (e == 0)
        e = pipeline_audit(r);
    if (e != REQUEST_WAIT)
        return e;
    return 0;
}

static bool waits(const struct request *r)
{
    return r->resume != NULL;
}

/* A handler that answered REQUEST_WAIT is marked by a resume function that can't be called yet. */
static int not_yet(struct request *r _unused_)
{
    return -EINVAL;
}

static int call_handler(struct request *r)
{
    int e = r->route->handler(r);
    if (e == REQUEST_WAIT)
        r->resume = not_yet;
    return e;
}

static int first_turn(void *data)
{
    struct request *r = data;
    int e = admit(r);
    if (e == 1)
        return pipeline_audit(r);
    return e < 0 ? e : run_in_turn(r, call_handler);
}

static void turn_done(void *data, int error)
{
    struct request *r = data;
    if (error < 0) {
        r->resume = NULL;
        fail(r, error);
    }
    if (!waits(r))
        finish(r);
}

static int next_turn(void *data)
{
    struct request *r = data;
    request_fn fn = r->resume;
    r->resume = NULL;
    int e = fn(r);
    if (e == REQUEST_WAIT) {
        r->resume = not_yet;
        return 0;
    }
    return e < 0 ? e : pipeline_audit(r);
}

void request_resume(struct request *r, request_fn fn)
{
    r->resume = fn;
    r->now_ms = clock_wall_ms();
    if (turn_add(r->agent->turn, TURN_API, next_turn, turn_done, r) < 0)
        turn_done(r, -ENOMEM);
}

/* --- From the wire -------------------------------------------------------------------------------- */

static void identified(struct request *r)
{
    if (r->errors) {
        finish(r);
        return;
    }
    if (turn_add(r->agent->turn, TURN_API, first_turn, turn_done, r) < 0)
        turn_done(r, -ENOMEM);
}

/* Rows that answer while sealed run outside a turn: status, init, unseal. */
static void run_outside(struct request *r)
{
    int e = 0;
    if ((r->route->flags & ROUTE_ROOT_PEER) && !r->root_peer)
        e = request_error(r, 403, "only root may do this, on this host, through the Unix socket") < 0
                ? -ENOMEM
                : 1;
    if (e == 0 && (r->route->flags & ROUTE_ROOT_PEER))
        request_alert(r, "root used a root-only route");
    if (e == 0)
        e = check_body(r);
    if (e == 0)
        e = r->route->handler(r);
    if (e < 0)
        fail(r, e);
    finish(r);
}

static struct request *request_new(struct agent *a, struct http_exchange *x)
{
    struct request *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->agent = a;
    r->exchange = x;
    r->now_ms = clock_wall_ms();
    r->raw_data = BUF_INIT(4 * HTTP_BODY_MAX);
    r->peer.pidfd = -1;
    encode_random_uuid(r->id);
    http_set_data(x, r);
    return r;
}

static void on_request(struct http_exchange *x, void *data)
{
    struct request *r = request_new(data, x);
    if (!r) {
        struct buf empty = BUF_INIT(1);
        http_reply(x, 500, NULL, &empty, NULL);
        return;
    }
    int e = pipeline_parse(r);
    if (e < 0)
        fail(r, e);
    if (e != 0) {
        finish(r);
        return;
    }
    if (r->route->flags & ROUTE_OUTSIDE)
        run_outside(r);
    else
        pipeline_identify(r, identified);
}

/* All that was found ready is queued: one turn for it, now, so that a crowd of new requests can't keep the
 * waiting ones from being answered. */
static void on_batch(void *data)
{
    struct agent *a = data;
    turn_now(a->turn);
}

static void on_gone(struct http_exchange *x, void *data _unused_)
{
    struct request *r = http_data(x);
    if (r)
        r->gone = true;
}

int pipeline_start(struct agent *a, struct http_server **out)
{
    const struct http_callbacks cb = {.request = on_request, .batch = on_batch, .gone = on_gone};
    return http_new(a->loop, &cb, a, out);
}
