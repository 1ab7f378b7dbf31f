#include "identity/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "identity/body.h"
#include "identity/proc.h"
#include "identity/proof.h"

static const struct body_field session_fields[] = {
    BODY_FIELD(struct session, id, BODY_TEXT),
    BODY_FIELD(struct session, user, BODY_TEXT),
    BODY_FIELD(struct session, uid, BODY_U32),
    BODY_FIELD(struct session, service, BODY_TEXT),
    BODY_FIELD(struct session, source, BODY_TEXT),
    BODY_FIELD(struct session, tty, BODY_TEXT),
    BODY_FIELD(struct session, leader, BODY_I32),
    BODY_FIELD(struct session, leader_start, BODY_I64),
    BODY_FIELD(struct session, started_ms, BODY_I64),
    BODY_FIELD(struct session, key, BODY_TEXT),
    {0},
};

void session_make_id(uint32_t audit_session, char out[SESSION_ID_MAX])
{
    snprintf(out, SESSION_ID_MAX, "%s/%lu", clock_boot_id(), (unsigned long)audit_session);
}

int session_get(struct vault *v, const char *id, struct session *out)
{
    _cleanup_json_ json_t *o = NULL;

    *out = (struct session){0};
    int r = record_get_json(v, RECORD_SESSION, id, &o);
    if (r == RECORD_E_NONE)
        return SESSION_E_NONE;
    if (r == 0)
        r = body_get(o, session_fields, out);
    if (r < 0)
        *out = (struct session){0};
    return r;
}

static bool same_login(const struct session *a, const struct session *b)
{
    return a->leader == b->leader && a->leader_start == b->leader_start && a->uid == b->uid &&
           strcmp(a->user, b->user) == 0;
}

int session_open(struct vault *v, const struct session *s)
{
    _cleanup_json_ json_t *o = json_object();
    struct session there;

    int r = session_get(v, s->id, &there);
    if (r < 0)
        return r;
    if (r == 0)
        return same_login(&there, s) ? 0 : SESSION_E_TAKEN;
    r = o ? body_put(o, session_fields, s) : -ENOMEM;
    if (r < 0)
        return r;
    return body_save(v, RECORD_SESSION, &(struct record){.id = s->id, .key = {s->user}}, o);
}

int session_close(struct vault *v, const char *id)
{
    int r = record_delete(v, RECORD_SESSION, id);
    if (r < 0)
        return r;
    int e = proof_forget_session(v, id);
    return e < 0 ? e : r == RECORD_E_NONE ? SESSION_E_NONE : 0;
}

struct visit {
    session_fn fn;
    void *data;
};

static int visit_one(const struct record *rec, void *data)
{
    const struct visit *visit = data;
    _cleanup_json_ json_t *o = NULL;
    struct session s = {0};

    int r = body_parse(rec, &o);
    if (r == 0)
        r = body_get(o, session_fields, &s);
    if (r == -EBADMSG)
        return RECORD_E_BROKEN;
    if (r == 0)
        r = visit->fn(&s, visit->data);
    return r < 0 ? r : 0;
}

int session_each(struct vault *v, session_fn fn, void *data)
{
    struct visit visit = {.fn = fn, .data = data};
    return record_pass(v, RECORD_SESSION, 0, visit_one, &visit, NULL);
}

bool session_alive(const struct session *s)
{
    const char *boot = clock_boot_id();
    size_t n = strlen(boot);
    uint64_t start;
    bool running;

    if (strncmp(s->id, boot, n) != 0 || s->id[n] != '/')
        return false;
    return proc_start(s->leader, &start, &running) == 0 && running && start == s->leader_start;
}

int session_leader_start(pid_t pid, uint64_t *start)
{
    bool running;

    *start = 0;
    if (pid <= 0)
        return -ESRCH;
    int r = proc_start(pid, start, &running);
    if (r == 0 && !running)
        r = -ESRCH;
    return r;
}
