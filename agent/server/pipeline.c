/* From a whole HTTP request to its answer: the one way through the agent. */
#include "server/pipeline.h"

#include <errno.h>
#include <malloc.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include "base/clock.h"
#include "base/encode.h"
#include "server/restart.h"
#include "vault/audit.h"

#define AUDIT_WAITING_MAX 100000

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
        {-ENOSPC, 500,
         "the disk that holds the agent's store is full; nothing was changed: free space there and "
         "try again (countersign status)"},
        {-EROFS, 500,
         "the agent's store is on a read-only file system; nothing was changed: make it writable "
         "and restart countersignd"},
        {-EBADMSG, 500,
         "a stored row failed its authentication: the store was changed from outside; "
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
    r->lease_id[0] = '\0';
    if (r->partly)
        text = "the agent failed half way (see its journal); what it did before that stands: send "
               "the request again";
    (void)request_error(r, status, "%s", text);
}

/* --- In the turn
 * ---------------------------------------------------------------------------------- */

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

/* Lines that can't be exported wait in the store, but not without end: an agent that can't tell
 * what it does stops doing it. Root, who can mend that, goes on. */
static int check_log(struct request *r)
{
    uint64_t waiting = 0;
    int64_t failing = 0;
    audit_export_state(r->agent->vault, &waiting, &failing);
    if (!failing || waiting < AUDIT_WAITING_MAX || r->root_peer)
        return 0;
    int e = request_error(r, 503,
                          "the audit log can't be written, and too many lines wait for it: "
                          "see \"countersign status\"");
    return e < 0 ? e : 1;
}

static int check_open(struct request *r)
{
    int e = request_unsealed(r);
    return e == 0 ? check_log(r) : e;
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
    /* Taken back with the rest, the use would not count. */
    if (e == 0 && r->check && r->has_token && (r->token.num_uses || r->last_use))
        e = pipeline_refuse(
            request_error(r, 400, "a token with a number of uses can't try things out"));
    return e;
}

/* A request that waits is marked by a resume function that can't be called yet. */
static int not_yet(struct request *r _unused_)
{
    return -EINVAL;
}

/* What a request that is only tried out answers; the turn then takes back all it did. */
#define CHECKED (-EALREADY)

static int answer_check(struct request *r)
{
    const struct entry_watch *w = &r->would;
    const char *change = w->created    ? "create"
                         : w->replaced ? "update"
                         : w->deleted  ? "delete"
                                       : "none";
    r->checked = true;
    buf_clear(&r->raw_data);
    r->raw_data = BUF_INIT(4 * HTTP_BODY_MAX);
    if (request_refused(r))
        return CHECKED;
    r->status = 200;
    int e = request_data(
        r, json_pack("{s:b, s:s}", "changed", strcmp(change, "none") != 0, "change", change));
    return e < 0 ? e : CHECKED;
}

static bool would_change(const struct request *r)
{
    return r->would.created || r->would.replaced || r->would.deleted;
}

/* Runs a handler or what it left to be run, and writes the audit line unless it waits. */
static int run(struct request *r, request_fn fn)
{
    entry_watch(r->agent->vault, r->check ? &r->would : NULL);
    int e = fn(r);
    entry_watch(r->agent->vault, NULL);
    if (e == REQUEST_WAIT && !(r->check && would_change(r))) {
        r->resume = not_yet;
        return 0;
    }
    if (e != 0 && e != REQUEST_WAIT)
        return e < 0 ? e : -EPROTO; /* another module's outcome, never an answer */
    return r->check ? answer_check(r) : pipeline_audit(r);
}

static int first_turn(void *data)
{
    struct request *r = data;
    int e = request_refused(r) ? 1 : admit(r);
    if (e == 1)
        return pipeline_audit(r);
    return e < 0 ? e : run(r, r->route->handler);
}

/* Answers and frees, unless it waits or another item of its is still to come back. */
static void settle(struct request *r, int error)
{
    if (error < 0) {
        r->resume = NULL;
        fail(r, error);
    }
    if (!r->resume && r->items == 0)
        finish(r);
}

static void turn_done(void *data, int error);

static void enqueue(struct request *r, turn_run_fn fn)
{
    if (turn_add(r->agent->turn, TURN_API, fn, turn_done, r) == 0)
        r->items++;
    else
        settle(r, -ENOMEM);
}

/* What was tried out is undone, its audit line with it: that line gets a turn of its own. */
static int audit_trial(void *data)
{
    return pipeline_audit(data);
}

static void turn_done(void *data, int error)
{
    struct request *r = data;
    r->items--;
    if (error == CHECKED && r->checked)
        enqueue(r, audit_trial);
    else
        settle(r, error);
}

/* The vault may have been sealed since the turn before; resume is gone when that turn failed. */
static int next_turn(void *data)
{
    struct request *r = data;
    request_fn fn = r->resume;
    r->resume = NULL;
    int e = fn ? check_open(r) : 1;
    return e == 0 ? run(r, fn) : e < 0 ? e : 0;
}

void request_resume(struct request *r, request_fn fn)
{
    r->resume = fn;
    r->now_ms = clock_wall_ms();
    r->lease_ms = clock_lease_ms();
    enqueue(r, next_turn);
}

/* --- From the wire
 * -------------------------------------------------------------------------------- */

static void go_on(void *data)
{
    enqueue(data, first_turn);
}

/* Right after a start the key is on its way: better a moment's wait than "sealed". */
static void identified(struct request *r)
{
    struct restart *e = r->agent->restart;
    if (!restart_awaits_key(e) || restart_when_keyed(e, go_on, r) < 0)
        go_on(r);
}

/* Who may use a root-only row outside a turn: the kernel's word alone counts, and root inside a
 * container is not this host's. 0, 1 when an error answer stands in r, -errno. */
static int admit_root(struct request *r)
{
    const struct http_request *h = http_request_of(r->exchange);
    int e = 0;
    if (h->unix_peer && (peer_read(h->fd, &r->peer) < 0 || r->peer.foreign))
        r->root_peer = false;
    if (!r->root_peer)
        e = request_error(r, 403, "only root may do this, on this host, through the Unix socket");
    snprintf(r->principal, sizeof(r->principal), "uid:%u", (unsigned)r->peer.uid);
    return e < 0 ? e : r->root_peer ? 0 : 1;
}

static int audit_outside(void *data)
{
    struct request *r = data;
    if (r->root_peer &&
        !(r->route->flags & ROUTE_QUIET)) /* whoever was turned away must not be able to cry wolf */
        request_alert(r, "root used a root-only route");
    return pipeline_audit(r);
}

/* What happened outside (init, unseal) has happened, whether or not its line could be written. */
static void outside_audited(void *data, int error)
{
    struct request *r = data;
    if (error < 0)
        sd_journal_print(LOG_ERR, "the use of %s could not be recorded: %s", r->path,
                         strerror(-error));
    finish(r);
}

/* Rows that answer while sealed run outside a turn: status, init, unseal. */
static void run_outside(struct request *r)
{
    bool root = r->route->flags & (ROUTE_ROOT_PEER | ROUTE_WATCH);
    int e = root ? admit_root(r) : 0;
    if (e == 0)
        e = check_body(r);
    if (e == 0)
        e = r->route->handler(r);
    if (e < 0)
        fail(r, e);
    bool told = root && !(r->route->flags & ROUTE_QUIET);
    /* Root's unsealing is written down even on a full disk. */
    enum turn_class c = r->root_peer ? TURN_PAM : TURN_API;
    if (!told || turn_add(r->agent->turn, c, audit_outside, outside_audited, r) < 0)
        finish(r);
}

/* Ids are no secrets: randomness for many is asked of the kernel at once. Each part is used once.
 */
static void new_id(struct agent *a, char out[ENCODE_UUID_LEN + 1])
{
    struct agent_ids *p = &a->ids;
    if (p->left < ENCODE_UUID_RAW) {
        randombytes_buf(p->raw, sizeof(p->raw));
        p->left = sizeof(p->raw);
    }
    p->left -= ENCODE_UUID_RAW;
    encode_uuid(p->raw + p->left, out);
}

static struct request *request_new(struct agent *a, struct http_exchange *x)
{
    struct request *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->agent = a;
    r->exchange = x;
    r->now_ms = clock_wall_ms();
    r->lease_ms = clock_lease_ms();
    r->raw_data = BUF_INIT(4 * HTTP_BODY_MAX);
    r->peer.pidfd = -1;
    new_id(a, r->id);
    http_set_data(x, r);
    return r;
}

/* Root may look at some of it before the store is open. */
static bool looks_while_sealed(const struct request *r)
{
    unsigned both = ROUTE_WATCH | ROUTE_QUIET;
    return (r->route->flags & both) == both && vault_state(r->agent->vault) != VAULT_UNSEALED;
}

static void on_request(struct http_exchange *x, void *data)
{
    struct request *r = request_new(data, x);
    if (!r) {
        http_reply(x, 500, NULL, NULL, NULL);
        return;
    }
    int e = pipeline_parse(r);
    if (e < 0)
        fail(r, e);
    if (e != 0) {
        finish(r);
        return;
    }
    if (r->route->flags & ROUTE_OUTSIDE || looks_while_sealed(r))
        run_outside(r);
    else
        pipeline_identify(r, identified);
}

/* All that was found ready is queued: one turn for it, now, so that a crowd of new requests can't
 * keep the waiting ones from being answered. */
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
    /* Each turn takes and gives back some hundred kilobytes: not to the kernel each time. */
    (void)mallopt(M_TRIM_THRESHOLD, 2 * 1024 * 1024);
    return http_new(a->loop, &cb, a, out);
}
