/* The session hooks: recording who is logged in, and ending it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fault.h"
#include "server/login.h"
#include "server/rules.h"
#include "server/watch.h"
#include "vault/audit.h"

/* The process that called the hook leads the login. Its start time tells it from a later process of
 * the same number. */
static int make_session(struct login *l, struct session *s)
{
    *s = (struct session){.uid = l->uid, .leader = l->peer.pid, .started_ms = clock_wall_ms()};
    session_make_id(l->peer.audit_session, s->id);
    snprintf(s->user, sizeof(s->user), "%s", l->user);
    snprintf(s->service, sizeof(s->service), "%s", l->service);
    snprintf(s->source, sizeof(s->source), "%s", l->source);
    snprintf(s->tty, sizeof(s->tty), "%s", l->tty);
    snprintf(s->key, sizeof(s->key), "%s", l->key);
    return session_leader_start(l->peer.pid, &s->leader_start);
}

/* A login begins a session of its own when the kernel's audit session is set, belongs to this very
 * person and isn't recorded yet. sudo and su stay inside the session they were called from, even
 * where that one isn't recorded: from a user's manager they would turn a remote login into a local
 * one. */
static bool begins_session(const struct login *l)
{
    return l->known && !l->has_session && !login_is_within(l) &&
           l->peer.audit_session != PEER_NO_SESSION && l->peer.loginuid == (uint32_t)l->uid;
}

/* The proof of the auth hook becomes the session's. */
static int attach_proof(struct login *l, const char *session_id)
{
    struct proof p;
    if (!l->handle[0])
        return 0;
    int e = session_handle_take(l->agent->vault, l->handle, l->user, l->service, clock_wall_ms(),
                                false, &p);
    if (e != 0)
        return e < 0 ? e : 0;
    snprintf(p.session, sizeof(p.session), "%s", session_id);
    return session_prove(l->agent->vault, &p);
}

static int record(struct login *l)
{
    struct session s;
    int e = make_session(l, &s);
    if (e == 0)
        e = session_open(l->agent->vault, &s);
    FAULT_POINT(session_opened);
    if (e == SESSION_E_TAKEN) {
        l->verdict = DIALOGUE_DENY;
        snprintf(l->why, sizeof(l->why), "the audit session is recorded for another login");
        return 0;
    }
    if (e == 0)
        e = attach_proof(l, s.id);
    if (e < 0)
        return e;
    l->session = s;
    l->has_session = true;
    l->watch = true;
    return 0;
}

/* Each hook is decided anew: what was let through auth and account must still hold here. sudo and
 * su, which stay inside a session, are let go on unless the person is locked out. */
static int decide_open(struct login *l)
{
    struct decide_facts f;
    struct decide_proof proofs[LOGIN_PROOFS];
    struct decision d = {0};
    char exempt[160];
    int e = login_facts(l, NULL, &f, proofs, exempt, sizeof(exempt));
    if (e < 0)
        return e;
    decide_pam(rules_view(l->agent->rules), &f, l->service, DECIDE_PAM_ACCOUNT, false, &d);
    bool ok = d.verdict == DECIDE_ALLOW || d.verdict == DECIDE_IGNORE;
    /* What an emergency code opened is a session like any other, but nothing is proved in it. */
    if (begins_session(l) && login_emergency_passed(l, true) && !d.locked) {
        snprintf(l->why, sizeof(l->why), "an emergency code opened this login");
        ok = true;
    } else if (begins_session(l) || d.locked) {
        snprintf(l->why, sizeof(l->why), "%s", d.why);
        snprintf(l->binding, sizeof(l->binding), "%s", d.binding);
    } else {
        ok = true;
    }
    decision_clear(&d);
    return ok ? 1 : 0;
}

int login_open(struct login *l)
{
    int e = l->known ? decide_open(l) : 0;
    if (e < 0)
        return e;
    if (e == 1) {
        l->verdict = DIALOGUE_ALLOW;
        e = begins_session(l) ? record(l) : 0;
    }
    return e < 0 ? e : login_audit(l, "open");
}

int login_close(struct login *l)
{
    char id[SESSION_ID_MAX];
    struct session s;
    l->verdict = DIALOGUE_ALLOW;
    if (l->peer.audit_session == PEER_NO_SESSION)
        return 0;
    session_make_id(l->peer.audit_session, id);
    int e = session_get(l->agent->vault, id, &s);
    if (e != 0)
        return e < 0 ? e : 0;
    /* sudo and su close their own hook, not the login's. */
    if (s.leader == l->peer.pid)
        e = watch_end_session(l->agent, id, "logged out");
    return e < 0 ? e : 0;
}
