/* Proofs rest as one row for their session (index 0) and one for their source (index 1). The ids
 * name what a proof counts for, so that a newer one takes the place of the older; by source also
 * the service, since whoever asks may ask for one service only. */
#include "identity/proof.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "identity/body.h"
#include "identity/session.h"

#define NAMES 8 /* more than a person has factors: one row each for a session */

static const struct body_field proof_fields[] = {
    BODY_FIELD(struct proof, factor, BODY_U32),
    BODY_FIELD(struct proof, user, BODY_TEXT),
    BODY_FIELD(struct proof, service, BODY_TEXT),
    BODY_FIELD(struct proof, session, BODY_TEXT),
    BODY_FIELD(struct proof, source, BODY_TEXT),
    BODY_FIELD(struct proof, key, BODY_TEXT),
    BODY_FIELD(struct proof, boot_ms, BODY_I64),
    BODY_FIELD(struct proof, boot_id, BODY_TEXT),
    {0},
};

static bool of_this_boot(const struct proof *p)
{
    return strcmp(p->boot_id, clock_boot_id()) == 0;
}

static int parse_proof(const json_t *o, struct proof *out)
{
    *out = (struct proof){0};
    int r = body_get(o, proof_fields, out);
    return r == 0 && !factor_name(out->factor) ? -EBADMSG : r;
}

/* --- Adding
 * --------------------------------------------------------------------------------------- */

/* Whether the row under this id is of this boot and newer already. */
static int is_newer(struct vault *v, const char *id, const struct proof *p, bool *newer)
{
    _cleanup_json_ json_t *o = NULL;
    struct proof there;

    *newer = false;
    int r = record_get_json(v, RECORD_PROOF, id, &o);
    if (r < 0 || r == RECORD_E_NONE)
        return r < 0 ? r : 0;
    r = parse_proof(o, &there);
    if (r == 0)
        *newer = strcmp(there.boot_id, p->boot_id) == 0 && there.boot_ms > p->boot_ms;
    return r;
}

static int save(struct vault *v, struct record *rec, const struct proof *p, const json_t *o)
{
    bool newer;

    int r = is_newer(v, rec->id, p, &newer);
    if (r < 0 || newer)
        return r;
    rec->due = clock_wall_ms() + SESSION_PROOF_KEEP_S * 1000;
    return body_save(v, RECORD_PROOF, rec, o);
}

static int save_by_session(struct vault *v, const struct proof *p, const json_t *o)
{
    char id[RECORD_ID_MAX];
    const char *parts[] = {"session", factor_name(p->factor), p->user, p->session};

    int r = body_id(id, sizeof(id), parts, ARRAY_LEN(parts));
    return r < 0 ? r : save(v, &(struct record){.id = id, .key = {p->session}}, p, o);
}

static int source_key(const char *user, const char *source, const char *key, char *out, size_t size)
{
    const char *parts[] = {user, source, key};
    return body_id(out, size, parts, ARRAY_LEN(parts));
}

/* A source that is not an address ("?") is every such source: nothing may count for it. */
static bool is_place(const char *source)
{
    return source && *source && strcmp(source, "?") != 0;
}

static int save_by_source(struct vault *v, const struct proof *p, const json_t *o)
{
    char id[RECORD_ID_MAX], where[RECORD_ID_MAX];
    const char *parts[] = {"source", factor_name(p->factor), p->service, where};

    int r = source_key(p->user, p->source, p->key, where, sizeof(where));
    if (r == 0)
        r = body_id(id, sizeof(id), parts, ARRAY_LEN(parts));
    return r < 0 ? r : save(v, &(struct record){.id = id, .key = {NULL, where}}, p, o);
}

int session_prove(struct vault *v, const struct proof *p)
{
    _cleanup_json_ json_t *o = json_object();

    if (!factor_name(p->factor) || !*p->user)
        return -EINVAL;
    int r = o ? body_put(o, proof_fields, p) : -ENOMEM;
    if (r == 0 && *p->session)
        r = save_by_session(v, p, o);
    if (r == 0 && is_place(p->source))
        r = save_by_source(v, p, o);
    return r;
}

/* --- Visiting
 * ------------------------------------------------------------------------------------- */

struct visit {
    const char *user;
    proof_fn fn;
    void *data;
    struct proof
        *list; /* those of the session, kept back until it is known if their source counts too */
    bool told[NAMES];
    size_t n;
};

/* 0 and the proof; 1 when it counts for somebody else or another boot. */
static int read_proof(const struct record *rec, const char *user, struct proof *out)
{
    _cleanup_json_ json_t *o = NULL;

    int r = body_parse(rec, &o);
    if (r == 0)
        r = parse_proof(o, out);
    if (r < 0)
        return r;
    return of_this_boot(out) && strcmp(out->user, user) == 0 ? 0 : 1;
}

static int keep_session(const struct record *rec, void *data)
{
    struct visit *visit = data;

    if (visit->n == NAMES)
        return 0;
    int r = read_proof(rec, visit->user, &visit->list[visit->n]);
    if (r == 0)
        visit->n++;
    return r < 0 ? r : 0;
}

static bool same_proof(const struct proof *a, const struct proof *b)
{
    return a->factor == b->factor && a->boot_ms == b->boot_ms &&
           strcmp(a->service, b->service) == 0 && strcmp(a->source, b->source) == 0 &&
           strcmp(a->key, b->key) == 0;
}

static int tell_source(const struct record *rec, void *data)
{
    struct visit *visit = data;
    struct proof p;
    bool both = false;

    int r = read_proof(rec, visit->user, &p);
    if (r != 0)
        return r < 0 ? r : 0;
    for (size_t i = 0; i < visit->n; i++) {
        if (same_proof(&visit->list[i], &p))
            both = visit->told[i] = true;
    }
    return visit->fn(&p, both, true, visit->data);
}

static int tell_rest(struct visit *visit)
{
    int r = 0;

    for (size_t i = 0; r >= 0 && i < visit->n; i++) {
        if (!visit->told[i])
            r = visit->fn(&visit->list[i], true, false, visit->data);
    }
    return r < 0 ? r : 0;
}

int session_proofs(struct vault *v, const char *session_id, const char *user, const char *source,
                   const char *key, proof_fn fn, void *data)
{
    struct visit visit = {.user = user, .fn = fn, .data = data};
    char where[RECORD_ID_MAX];
    int r = 0;

    if (!user || !*user)
        return -EINVAL;
    visit.list = calloc(NAMES, sizeof(*visit.list));
    if (!visit.list)
        return -ENOMEM;
    if (session_id && *session_id)
        r = record_each_key(v, RECORD_PROOF, 0, session_id, 0, keep_session, &visit);
    if (r == 0 && is_place(source)) {
        r = source_key(user, source, key, where, sizeof(where));
        if (r == 0)
            r = record_each_key(v, RECORD_PROOF, 1, where, 0, tell_source, &visit);
    }
    if (r == 0)
        r = tell_rest(&visit);
    free(visit.list);
    return r;
}

/* --- Handles
 * -------------------------------------------------------------------------------------- */

int session_handle_make(struct vault *v, const struct proof *p, int64_t now_ms,
                        char out[SESSION_HANDLE_LEN + 1])
{
    _cleanup_json_ json_t *o = json_object();

    memset(out, 0, SESSION_HANDLE_LEN + 1);
    if (!factor_name(p->factor) || !*p->user)
        return -EINVAL;
    int r = o ? body_put(o, proof_fields, p) : -ENOMEM;
    if (r < 0)
        return r;
    uint8_t random[SESSION_HANDLE_LEN / 2];
    randombytes_buf(random, sizeof(random));
    encode_hex(random, sizeof(random), out);
    struct record rec = {.id = out, .due = now_ms + SESSION_HANDLE_TTL_MS};
    return body_save(v, RECORD_HANDLE, &rec, o);
}

static bool valid_handle(const char *handle)
{
    return strnlen(handle, SESSION_HANDLE_LEN + 1) == SESSION_HANDLE_LEN &&
           strspn(handle, "0123456789abcdef") == SESSION_HANDLE_LEN;
}

static int read_handle(struct vault *v, const char *handle, int64_t *due, struct proof *out)
{
    _cleanup_buf_ struct buf text = BUF_INIT(RECORD_BODY_MAX);
    _cleanup_json_ json_t *o = NULL;

    int r = record_get(v, RECORD_HANDLE, handle, &text, due);
    if (r != 0)
        return r;
    r = body_parse(&(struct record){.body = buf_str(&text), .body_len = text.len}, &o);
    return r < 0 ? r : parse_proof(o, out);
}

int session_handle_take(struct vault *v, const char *handle, const char *user, const char *service,
                        int64_t now_ms, bool peek, struct proof *out)
{
    struct proof p;
    int64_t due = 0;

    *out = (struct proof){0};
    if (!valid_handle(handle))
        return SESSION_E_NONE;
    int r = read_handle(v, handle, &due, &p);
    if (r == 0 && !peek)
        r = record_delete(v, RECORD_HANDLE, handle);
    if (r != 0)
        return r < 0 ? r : SESSION_E_NONE;
    /* Further ahead than one is ever made: the clock was put back since. */
    bool fresh = due > now_ms && due - now_ms <= SESSION_HANDLE_TTL_MS && of_this_boot(&p);
    if (!fresh || strcmp(p.user, user) != 0 || strcmp(p.service, service) != 0)
        return SESSION_E_NONE;
    *out = p;
    return 0;
}

/* --- Deleting
 * ------------------------------------------------------------------------------------- */

static int drop_proof(const struct record *rec, void *data)
{
    int r = record_delete(data, RECORD_PROOF, rec->id);
    return r < 0 ? r : 0;
}

static int drop_handle(const struct record *rec, void *data)
{
    int r = record_delete(data, RECORD_HANDLE, rec->id);
    return r < 0 ? r : 0;
}

int proof_forget_session(struct vault *v, const char *id)
{
    return record_pass_key(v, RECORD_PROOF, 0, id, 0, drop_proof, v, NULL);
}

struct forget {
    struct vault *v;
    const char *user;
    enum record_table table;
};

static int drop_of_person(const struct record *rec, void *data)
{
    const struct forget *f = data;
    _cleanup_json_ json_t *o = NULL;

    int r = body_parse(rec, &o);
    if (r == -EBADMSG)
        return RECORD_E_BROKEN;
    if (r < 0 || strcmp(json_str_or(o, "user", ""), f->user) != 0)
        return r;
    r = record_delete(f->v, f->table, rec->id);
    return r < 0 ? r : 0;
}

int session_forget_proofs(struct vault *v, const char *user)
{
    struct forget f = {.v = v, .user = user, .table = RECORD_PROOF};

    int r = record_pass(v, RECORD_PROOF, 0, drop_of_person, &f, NULL);
    f.table = RECORD_HANDLE;
    return r < 0 ? r : record_pass(v, RECORD_HANDLE, 0, drop_of_person, &f, NULL);
}

int session_sweep(struct vault *v, int64_t now_ms, size_t limit)
{
    int r = record_pass_due(v, RECORD_PROOF, now_ms, limit, drop_proof, v, NULL);
    return r < 0 ? r : record_pass_due(v, RECORD_HANDLE, now_ms, limit, drop_handle, v, NULL);
}
