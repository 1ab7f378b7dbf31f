/* sys/people: who is known here, and taking everything away from somebody who leaves. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "identity/factor.h"
#include "server/break_glass.h"
#include "server/people.h"
#include "server/routes.h"
#include "server/watch.h"
#include "vault/audit.h"

const struct json_field route_fields_offboard[] = {
    {.name = "reason", .kind = JSON_KIND_STRING, .max = LOCK_REASON_MAX},
    {.name = "uid", .kind = JSON_KIND_INT, .min = 1, .max = UINT32_MAX - 1},
    {0},
};

/* Somebody who is asked about: by the name of the path, and by NSS where it knows them. */
struct subject {
    char name[PERSON_NAME_MAX + 1]; /* as NSS writes it, if it knows the person */
    bool known, failed;             /* NSS knows them; NSS did not answer */
    bool has_uid;
    uid_t uid;
    request_fn then;
};

/* --- Whom it is about
 * ---------------------------------------------------------------------------- */

static void on_subject(const struct person *p, int error, void *data)
{
    struct request *r = data;
    struct subject *s = r->state;
    s->failed = error != 0;
    s->known = p && p->exists;
    if (s->known) {
        snprintf(s->name, sizeof(s->name), "%s", p->name);
        s->has_uid = true;
        s->uid = p->uid;
    }
    request_resume(r, s->then);
}

static void ask_subject(void *data)
{
    struct request *r = data;
    struct subject *s = r->state;
    int e = people_ask(r->agent->people, s->name, 0, on_subject, r);
    if (e < 0)
        on_subject(NULL, e, r);
}

/* Goes on with then(), r->state being the subject, once NSS has said what it knows. */
static int with_subject(struct request *r, request_fn then)
{
    const char *name = request_param(r, "user");
    if (!person_valid_name(name) || strcmp(name, "self") == 0)
        return request_error(r, 400, "there is no such user name");
    struct subject *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    snprintf(s->name, sizeof(s->name), "%s", name);
    s->then = then;
    r->state = s;
    r->state_free = free;
    int e = effects_push(turn_effects(r->agent->turn), ask_subject, NULL, r);
    return e < 0 ? e : REQUEST_WAIT;
}

/* --- What they have
 * ------------------------------------------------------------------------------ */

struct collect {
    struct agent *agent;
    const char *user;
    int64_t lease_ms;
    json_t *list;
};

static int add_session(const struct session *s, void *data)
{
    struct collect *c = data;
    if (strcmp(s->user, c->user) != 0)
        return 0;
    const char *number = strrchr(s->id, '/');
    json_t *one = json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:I, s:b}", "id", number ? number + 1 : s->id, "service",
        s->service, "source", s->source[0] ? s->source : "local", "tty", s->tty, "started",
        json_stamp(s->started_ms), "leader", (json_int_t)s->leader, "alive", session_alive(s));
    return json_array_append_new(c->list, one) < 0 ? -ENOMEM : 0;
}

static int add_token(const struct token *t, void *data)
{
    struct collect *c = data;
    json_t *one = json_pack("{s:s, s:s, s:o}", "accessor", t->accessor, "display_name",
                            t->display_name, "expires", json_stamp(t->expires_ms));
    return json_array_append_new(c->list, one) < 0 ? -ENOMEM : 0;
}

static int add_lease(const json_t *l, void *data)
{
    struct collect *c = data;
    int64_t left = (json_int(l, "expires", 0) - c->lease_ms) / 1000;
    json_t *one = json_pack(
        "{s:s, s:s, s:s, s:o, s:I, s:s, s:I, s:O?}", "id", json_str_or(l, "id", ""), "path",
        json_str_or(l, "path", ""), "state", json_str_or(l, "state", ""), "expires",
        json_stamp(json_int(l, "expires", 0)), "ttl", (json_int_t)(left > 0 ? left : 0),
        "last_error", json_str_or(l, "last_error", ""), "attempts",
        (json_int_t)json_int(l, "attempts", 0), "objects", json_object_get(l, "objects"));
    return json_array_append_new(c->list, one) < 0 ? -ENOMEM : 0;
}

static json_t *sessions_of(struct request *r, const char *user)
{
    _cleanup_json_ json_t *list = json_array();
    struct collect c = {.agent = r->agent, .user = user, .list = list};
    return list && session_each(r->agent->vault, add_session, &c) >= 0 ? json_incref(list) : NULL;
}

static json_t *tokens_of(struct request *r, const struct subject *s)
{
    _cleanup_json_ json_t *list = json_array();
    struct collect c = {.agent = r->agent, .list = list};
    if (!list || (s->has_uid && token_each_uid(r->agent->vault, s->uid, add_token, &c) < 0))
        return NULL;
    return json_incref(list);
}

/* Their own leases, and those of their tokens, revoked ones included. */
static json_t *leases_of(struct request *r, const char *user, const json_t *tokens,
                         const struct lock *lock)
{
    char principal[PERSON_NAME_MAX + 8];
    _cleanup_json_ json_t *list = json_array();
    struct collect c = {.agent = r->agent, .lease_ms = r->lease_ms, .list = list};
    json_t *one;
    size_t i;
    snprintf(principal, sizeof(principal), "user:%s", user);
    int e = list ? lease_each(r->agent->leases, principal, NULL, 0, add_lease, &c) : -ENOMEM;
    json_array_foreach(tokens, i, one)
    {
        snprintf(principal, sizeof(principal), "token:%s", json_str_or(one, "accessor", ""));
        if (e >= 0)
            e = lease_each(r->agent->leases, principal, NULL, 0, add_lease, &c);
    }
    json_array_foreach(lock->principals, i, one)
    {
        if (e >= 0 && json_is_string(one))
            e = lease_each(r->agent->leases, json_string_value(one), NULL, 0, add_lease, &c);
    }
    return e < 0 ? NULL : json_incref(list);
}

static json_t *lock_json(const struct lock *l)
{
    return json_pack("{s:o, s:s, s:s}", "at", json_stamp(l->at_ms), "by", l->by, "reason",
                     l->reason);
}

/* 0 and the lock or a zeroed one; *locked tells which. */
static int look_up_lock(struct request *r, struct subject *s, struct lock *lock, bool *locked)
{
    int e = lock_get(r->agent->vault, s->name, lock);
    *locked = e == 0;
    if (e == 0 && !s->has_uid && lock->has_uid) { /* the account may be gone by now */
        s->has_uid = true;
        s->uid = lock->uid;
    }
    return e < 0 ? e : 0;
}

static int answer_person(struct request *r, struct subject *s, const struct lock *lock, bool locked)
{
    json_t *factors = NULL;
    int e = factor_list(r->agent->vault, s->name, &factors);
    if (e < 0)
        return e;
    _cleanup_json_ json_t *tokens = tokens_of(r, s);
    json_t *leases = tokens ? leases_of(r, s->name, tokens, lock) : NULL;
    return request_data(
        r, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:O, s:o}", "user", s->name, "known",
                     s->failed ? json_null() : json_boolean(s->known), "uid",
                     s->has_uid ? json_integer((json_int_t)s->uid) : json_null(), "locked",
                     locked ? lock_json(lock) : json_null(), "factors", factors, "sessions",
                     sessions_of(r, s->name), "tokens", tokens, "leases", leases));
}

static int read_known(struct request *r)
{
    struct subject *s = r->state;
    struct lock lock;
    bool locked;
    int e = look_up_lock(r, s, &lock, &locked);
    if (e == 0)
        e = answer_person(r, s, &lock, locked);
    lock_clear(&lock);
    return e;
}

int route_person_read(struct request *r)
{
    return with_subject(r, read_known);
}

/* --- Everybody
 * ----------------------------------------------------------------------------------- */

/* Names with what is known of each: an object of objects. */
static json_t *of_name(json_t *all, const char *name)
{
    json_t *one = json_object_get(all, name);
    if (!one && json_object_set_new(all, name,
                                    json_pack("{s:s, s:i, s:n, s:s}", "user", name, "sessions", 0,
                                              "locked", "reason", "")) == 0)
        one = json_object_get(all, name);
    return one;
}

static int count_session(const struct session *s, void *data)
{
    json_t *one = of_name(data, s->user);
    return one ? json_set_int(one, "sessions", json_int(one, "sessions", 0) + 1) : -ENOMEM;
}

struct everybody {
    struct vault *vault;
    json_t *all;
};

static int add_locked(const char *user, void *data)
{
    struct everybody *x = data;
    struct lock l;
    json_t *one = of_name(x->all, user);
    int e = one ? lock_get(x->vault, user, &l) : -ENOMEM;
    if (e != 0)
        return e < 0 ? e : 0;
    if (json_object_set_new(one, "locked", json_stamp(l.at_ms)) < 0)
        e = -ENOMEM;
    if (e == 0)
        e = json_set_str(one, "reason", l.reason);
    lock_clear(&l);
    return e;
}

static int add_factors(struct vault *v, const char *name, json_t *one)
{
    unsigned mask = 0;
    _cleanup_json_ json_t *list = json_array();
    int e = list ? factor_enrolled(v, name, &mask) : -ENOMEM;
    for (unsigned bit = 1; e == 0 && bit <= FACTOR_ALL; bit <<= 1) {
        if ((mask & bit) &&
            json_array_append_new(list, json_string(factor_name((enum factor)bit))) < 0)
            e = -ENOMEM;
    }
    if (e == 0 && json_object_set(one, "factors", list) < 0)
        e = -ENOMEM;
    return e;
}

static int collect_everybody(struct vault *v, json_t *all)
{
    struct everybody x = {.vault = v, .all = all};
    _cleanup_json_ json_t *enrolled = NULL;
    json_t *name;
    size_t i;
    int e = factor_people(v, &enrolled);
    json_array_foreach(enrolled, i, name)
    {
        if (e == 0 && !of_name(all, json_string_value(name)))
            e = -ENOMEM;
    }
    if (e == 0)
        e = session_each(v, count_session, all);
    return e < 0 ? e : lock_each(v, add_locked, &x);
}

/* Everybody with a factor, a login session or a lock, in order of their names. */
int route_people_list(struct request *r)
{
    _cleanup_json_ json_t *all = json_object();
    _cleanup_json_ json_t *list = json_array();
    _cleanup_json_ json_t *keys = json_array();
    const char *name;
    json_t *one;
    int e = all && list && keys ? collect_everybody(r->agent->vault, all) : -ENOMEM;
    if (e < 0)
        return e;
    json_object_foreach(all, name, one)
    {
        e = add_factors(r->agent->vault, name, one);
        if (e < 0 || json_array_append(list, one) < 0 ||
            json_array_append_new(keys, json_string(name)) < 0)
            return e < 0 ? e : -ENOMEM;
    }
    return request_data(r, json_pack("{s:O, s:O}", "people", list, "keys", keys));
}

/* --- Leaving
 * ------------------------------------------------------------------------------------- */

struct leaving {
    struct request *request;
    struct subject *subject;
    struct lock lock;
    const char *reason;
    size_t sessions, leases;
    json_t *factors; /* types */
};

/* NSS may have forgotten them already: their sessions know the uid, too. */
static int learn_uid(const struct session *s, void *data)
{
    struct leaving *x = data;
    if (!x->subject->has_uid && strcmp(s->user, x->subject->name) == 0) {
        x->subject->has_uid = true;
        x->subject->uid = s->uid;
    }
    return 0;
}

static int end_session(const struct session *s, void *data)
{
    struct leaving *x = data;
    if (strcmp(s->user, x->subject->name) != 0)
        return 0;
    x->sessions++;
    int e = watch_end_session(x->request->agent, s->id, x->reason);
    return e < 0 ? e : 0;
}

static int note_token(const struct token *t, void *data)
{
    struct leaving *x = data;
    json_t *one = json_sprintf("token:%s", t->accessor);
    return json_array_append_new(x->lock.principals, one) < 0 ? -ENOMEM : 0;
}

static int revoke_leases(struct leaving *x, const char *principal)
{
    size_t n = 0;
    int e = lease_revoke_principal(x->request->agent->leases, principal, x->reason,
                                   x->request->lease_ms, &n, NULL);
    x->leases += n;
    return e;
}

static int token_gone(const char *id, void *data)
{
    struct leaving *x = data;
    size_t n = 0;
    int e = lease_revoke_token(x->request->agent->leases, id, x->reason, x->request->lease_ms, &n);
    x->leases += n;
    return e;
}

static int revoke_token(struct leaving *x, const char *accessor)
{
    struct token t = {0};
    struct vault *v = x->request->agent->vault;
    int e = token_find_accessor(v, accessor, x->request->lease_ms, &t);
    if (e == 0)
        e = token_revoke(v, t.id, false, token_gone, x);
    token_clear(&t);
    return e < 0 ? e : 0; /* a child goes with its parent */
}

/* Their tokens are noted first: what those had leased is found by them later. */
static int end_tokens(struct leaving *x)
{
    json_t *principal;
    size_t i;
    size_t before = json_array_size(x->lock.principals);
    if (!x->subject->has_uid)
        return 0;
    int e = token_each_uid(x->request->agent->vault, x->subject->uid, note_token, x);
    json_array_foreach(x->lock.principals, i, principal)
    {
        if (e >= 0 && i >= before)
            e = revoke_token(x, json_string_value(principal) + strlen("token:"));
    }
    return e;
}

static int end_factors(struct leaving *x)
{
    struct vault *v = x->request->agent->vault;
    unsigned mask = 0;
    int e = factor_enrolled(v, x->subject->name, &mask);
    for (unsigned bit = 1; e == 0 && bit <= FACTOR_ALL; bit <<= 1) {
        if ((mask & bit) &&
            json_array_append_new(x->factors, json_string(factor_name((enum factor)bit))) < 0)
            e = -ENOMEM;
    }
    if (e == 0)
        e = factor_reset(v, x->subject->name);
    size_t codes = 0;
    if (e >= 0)
        e = break_glass_revoke(v, x->subject->name, &codes);
    if (e == 0 && codes > 0 && json_array_append_new(x->factors, json_string("emergency")) < 0)
        e = -ENOMEM;
    return e < 0 ? e : session_forget_proofs(v, x->subject->name);
}

static int end_everything(struct leaving *x)
{
    char principal[PERSON_NAME_MAX + 8];
    snprintf(principal, sizeof(principal), "user:%s", x->subject->name);
    int e = session_each(x->request->agent->vault, learn_uid, x);
    if (e >= 0)
        e = end_tokens(x); /* before the sessions, which would take some along unseen */
    if (e >= 0)
        e = session_each(x->request->agent->vault, end_session, x);
    if (e >= 0)
        e = revoke_leases(x, principal);
    if (e >= 0)
        e = end_factors(x);
    x->lock.has_uid = x->subject->has_uid;
    x->lock.uid = x->subject->uid;
    return e < 0 ? e : lockout_lock(x->request->agent, x->subject->name, &x->lock);
}

/* The lock that is there stays as it is; else a new one by the caller. */
static int prepare_lock(struct leaving *x, bool *already)
{
    struct request *r = x->request;
    int e = look_up_lock(r, x->subject, &x->lock, already);
    if (e < 0)
        return e;
    if (!*already) {
        x->lock.at_ms = r->now_ms;
        snprintf(x->lock.by, sizeof(x->lock.by), "%s", r->principal);
        snprintf(x->lock.reason, sizeof(x->lock.reason), "%s", json_str_or(r->body, "reason", ""));
    }
    if (!x->lock.principals)
        x->lock.principals = json_array();
    return x->lock.principals ? 0 : -ENOMEM;
}

static int audit_leaving(const struct leaving *x, bool already)
{
    _cleanup_json_ json_t *line = json_pack(
        "{s:s, s:s, s:s, s:b, s:I, s:I, s:O, s:s}", "event", "offboard", "user", x->subject->name,
        "principal", x->request->principal, "already", already, "sessions", (json_int_t)x->sessions,
        "leases", (json_int_t)x->leases, "factors", x->factors, "reason", x->lock.reason);
    return line ? audit_append(x->request->agent->vault, "person", line) : -ENOMEM;
}

static int offboard(struct leaving *x, bool already)
{
    struct request *r = x->request;
    _cleanup_json_ json_t *sessions = sessions_of(r, x->subject->name); /* as they were */
    _cleanup_json_ json_t *none = json_array();
    size_t before = json_array_size(x->lock.principals);
    int e = sessions && none ? end_everything(x) : -ENOMEM;
    if (e >= 0)
        e = audit_leaving(x, already);
    if (e < 0)
        return e;
    json_t *leases = leases_of(r, x->subject->name, none, &x->lock);
    return request_data(
        r, json_pack("{s:s, s:o, s:o, s:b, s:o, s:O, s:I, s:O, s:o}", "user", x->subject->name,
                     "known", x->subject->failed ? json_null() : json_boolean(x->subject->known),
                     "uid",
                     x->subject->has_uid ? json_integer((json_int_t)x->subject->uid) : json_null(),
                     "already", already, "locked", lock_json(&x->lock), "sessions", sessions,
                     "tokens", (json_int_t)(json_array_size(x->lock.principals) - before),
                     "factors", x->factors, "leases", leases));
}

static int offboard_known(struct request *r)
{
    struct subject *s = r->state;
    struct leaving x = {.request = r, .subject = s, .reason = "offboarded"};
    bool already = false;
    if (r->has_person && strcmp(s->name, r->user) == 0)
        return request_error(r, 400,
                             "nobody takes everything away from themselves: let another "
                             "operator do it, or root");
    if (strcmp(s->name, "root") == 0 || (s->known && s->uid == 0))
        return request_error(r, 400,
                             "root is this host's last way in and can't be locked out here");
    if (!s->has_uid && json_object_get(r->body, "uid")) {
        s->has_uid = true;
        s->uid = (uid_t)json_int(r->body, "uid", 0);
    }
    x.factors = json_array();
    int e = x.factors ? prepare_lock(&x, &already) : -ENOMEM;
    if (e == 0)
        e = offboard(&x, already);
    if (e == 0 && s->failed)
        e = request_warn(r, "the host's user database did not answer: the name was taken as given, "
                            "and tokens are found by uid only");
    json_decref(x.factors);
    lock_clear(&x.lock);
    return e;
}

int route_person_offboard(struct request *r)
{
    return with_subject(r, offboard_known);
}

int route_person_unlock(struct request *r)
{
    const char *user = request_param(r, "user");
    int e = person_valid_name(user) ? lockout_unlock(r->agent, user) : LOCK_E_NONE;
    if (e == LOCK_E_NONE)
        return request_error(r, 404, "%.256s is not locked", user);
    _cleanup_json_ json_t *line =
        json_pack("{s:s, s:s, s:s}", "event", "unlock", "user", user, "principal", r->principal);
    if (e == 0)
        e = line ? audit_append(r->agent->vault, "person", line) : -ENOMEM;
    r->status = 204;
    return e;
}
