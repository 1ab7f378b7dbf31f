/* Policies, bindings, enrolment, capabilities, explain. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "identity/factor.h"
#include "server/people.h"
#include "server/pipeline.h"
#include "server/routes.h"
#include "server/rules.h"

const struct json_field route_fields_policy[] = {
    {.name = "policy", .kind = JSON_KIND_STRING, .max = 256 * 1024},
    {.name = "rules", .kind = JSON_KIND_STRING, .max = 256 * 1024},
    {0},
};

const struct json_field route_fields_paths[] = {
    {.name = "paths", .kind = JSON_KIND_STRINGS, .max = 256},
    {.name = "path", .kind = JSON_KIND_STRINGS, .max = 256},
    {.name = "token", .kind = JSON_KIND_STRING, .max = 128},
    {0},
};

const struct json_field route_fields_explain[] = {
    {.name = "principal", .kind = JSON_KIND_STRING, .required = true, .max = 300},
    {.name = "operation", .kind = JSON_KIND_STRING, .max = 16},
    {.name = "path", .kind = JSON_KIND_STRING, .max = 1024},
    {.name = "service", .kind = JSON_KIND_STRING, .max = 64},
    {0},
};

/* Turns the outcome of a change into an answer. */
static int changed(struct request *r, int e, const char *why)
{
    if (e == RULES_E_REFUSED)
        return request_error(r, 400, "%s", why ? why : "refused");
    if (e == RULES_E_NONE)
        return request_none(r);
    r->status = e == 0 ? 204 : 0;
    return e;
}

/* --- Policies
 * --------------------------------------------------------------------------------------- */

int route_policy_list(struct request *r)
{
    json_t *names = NULL;
    int e = rules_names(r->agent->vault, false, &names);
    if (e < 0)
        return e;
    if (json_array_append_new(names, json_string("root")) < 0) {
        json_decref(names);
        return -ENOMEM;
    }
    return request_data(r, json_pack("{s:O, s:o}", "policies", names, "keys", names));
}

int route_policy_read(struct request *r)
{
    const char *name = request_param(r, "name");
    _cleanup_buf_ struct buf text = BUF_INIT(512 * 1024);
    bool old = strncmp(r->path, "sys/policy/", 11) == 0;
    int e = strcmp(name, "root") == 0 ? 0 : rules_policy_get(r->agent->vault, name, &text);
    if (e != 0)
        return e < 0 ? e : request_none(r);
    return request_data(
        r, json_pack("{s:s, s:s}", "name", name, old ? "rules" : "policy", buf_str(&text)));
}

int route_policy_write(struct request *r)
{
    char why[400];
    const char *text = json_str(r->body, "policy");
    if (!text)
        text = json_str(r->body, "rules");
    if (!text || !text[0])
        return request_error(r, 400, "'policy' parameter not supplied or empty");
    int e = rules_policy_put(r->agent->rules, r->agent->vault, turn_effects(r->agent->turn),
                             request_param(r, "name"), text, why, sizeof(why));
    return changed(r, e, why);
}

int route_policy_delete(struct request *r)
{
    const char *name = request_param(r, "name");
    if (strcmp(name, "root") == 0 || strcmp(name, "default") == 0)
        return request_error(r, 400, "cannot delete \"%s\" policy", name);
    int e =
        rules_policy_delete(r->agent->rules, r->agent->vault, turn_effects(r->agent->turn), name);
    return changed(r, e == RULES_E_NONE ? 0 : e, NULL); /* as Vault: gone is gone */
}

/* --- Bindings
 * --------------------------------------------------------------------------------------- */

int route_binding_list(struct request *r)
{
    json_t *names = NULL;
    int e = rules_names(r->agent->vault, true, &names);
    return e < 0 ? e : request_keys(r, names);
}

int route_binding_read(struct request *r)
{
    json_t *obj = NULL;
    int e = rules_binding_get(r->agent->vault, request_param(r, "name"), &obj);
    if (e != 0)
        return e < 0 ? e : request_none(r);
    return request_data(r, obj);
}

int route_binding_write(struct request *r)
{
    char why[400];
    int e = rules_binding_put(r->agent->rules, r->agent->vault, turn_effects(r->agent->turn),
                              request_param(r, "name"), r->body, why, sizeof(why));
    return changed(r, e, why);
}

int route_binding_delete(struct request *r)
{
    int e = rules_binding_delete(r->agent->rules, r->agent->vault, turn_effects(r->agent->turn),
                                 request_param(r, "name"));
    return changed(r, e, NULL);
}

int route_enrolment_read(struct request *r)
{
    return request_data(r, rules_enrolment_json(r->agent->rules));
}

int route_enrolment_write(struct request *r)
{
    char why[256];
    int e = rules_enrolment_put(r->agent->rules, r->agent->vault, turn_effects(r->agent->turn),
                                r->body, why, sizeof(why));
    return changed(r, e, why);
}

/* --- Capabilities
 * ----------------------------------------------------------------------------------- */

/* The token's own capabilities, or those of the host principal. */
static int caps_of_caller(struct request *r, const char *path, unsigned *caps)
{
    struct acl_result result;
    struct decide_facts f;
    struct decide_proof proofs[REQUEST_PROOFS];
    if (r->has_token) {
        int failed = request_token_check(r, path, &result);
        *caps = result.caps;
        return failed;
    }
    int e = request_facts(r, &f, proofs);
    *caps = e == 0 ? decide_caps(rules_view(r->agent->rules), &f, path) : 0;
    return e;
}

static json_t *caps_json(unsigned caps, bool root)
{
    return root ? json_pack("[s]", "root") : acl_caps_json(caps);
}

static int answer_caps(struct request *r, bool root,
                       int (*caps_of)(struct request *, const char *, unsigned *))
{
    json_t *paths = json_object_get(r->body, "paths"), *path;
    size_t i;
    if (!paths)
        paths = json_object_get(r->body, "path");
    if (json_array_size(paths) == 0)
        return request_error(r, 400, "'path' or 'paths' must be given");
    _cleanup_json_ json_t *out = json_object();
    json_array_foreach(paths, i, path)
    {
        unsigned caps = 0;
        int e = out ? caps_of(r, json_string_value(path), &caps) : -ENOMEM;
        if (e < 0 || json_object_set_new(out, json_string_value(path), caps_json(caps, root)) < 0)
            return e < 0 ? e : -ENOMEM;
    }
    if (json_array_size(paths) == 1 &&
        json_object_set_new(
            out, "capabilities",
            json_incref(json_object_get(out, json_string_value(json_array_get(paths, 0))))) < 0)
        return -ENOMEM;
    return request_data(r, json_incref(out));
}

int route_capabilities_self(struct request *r)
{
    return answer_caps(r, r->has_token && r->token.root, caps_of_caller);
}

int route_capabilities(struct request *r)
{
    struct token t = {0};
    const char *text = json_str(r->body, "token");
    if (!text)
        return request_error(r, 400, "'token' must be given");
    int e = token_find(r->agent->vault, text, r->lease_ms, &t);
    if (e != 0)
        return e < 0 ? e : request_error(r, 400, "invalid token");
    struct token own = r->token;
    bool had = r->has_token;
    r->token = t;
    r->has_token = true;
    e = answer_caps(r, t.root, caps_of_caller);
    r->token = own;
    r->has_token = had;
    token_clear(&t);
    return e;
}

/* --- Explain
 * ---------------------------------------------------------------------------------------- */

/* Somebody else than the caller, in the form in which callers are decided about: what NSS and the
 * store know of them. The request itself stays its caller's. */
struct explain {
    struct request subject;
    int error;
};

static void explain_free(void *data)
{
    struct explain *x = data;
    pipeline_free_groups(&x->subject);
    free(x);
}

static struct explain *explain_new(const struct request *r)
{
    struct explain *x = calloc(1, sizeof(*x));
    if (!x)
        return NULL;
    x->subject.agent = r->agent;
    x->subject.peer = (struct peer){.known = true, .pidfd = -1, .assurance = ASSURANCE_PIDFD};
    return x;
}

static unsigned caps_of_operation(const char *op)
{
    static const struct {
        const char *name;
        unsigned caps;
    } ops[] = {{"read", ACL_READ},
               {"list", ACL_LIST},
               {"create", ACL_CREATE},
               {"update", ACL_UPDATE},
               {"write", ACL_CREATE | ACL_UPDATE},
               {"delete", ACL_DELETE},
               {"patch", ACL_PATCH}};
    for (size_t i = 0; op && i < ARRAY_LEN(ops); i++) {
        if (strcmp(op, ops[i].name) == 0)
            return ops[i].caps;
    }
    return 0;
}

struct best {
    struct session session;
    const char *user;
    bool found;
};

static int newest_session(const struct session *s, void *data)
{
    struct best *b = data;
    if (strcmp(s->user, b->user) == 0 && session_alive(s) &&
        (!b->found || s->started_ms > b->session.started_ms)) {
        b->session = *s;
        b->found = true;
    }
    return 0;
}

/* A person asked about as a third one is seen in their newest live session. */
static int find_session(struct request *subject)
{
    struct best best = {.user = subject->user};
    int e = session_each(subject->agent->vault, newest_session, &best);
    subject->has_session = best.found;
    if (best.found)
        subject->session = best.session;
    return e;
}

/* subject is whom the question is about: the request itself, or an explain's. */
static int decide_subject(struct request *r, struct request *subject)
{
    struct decide_facts f;
    struct decide_proof proofs[REQUEST_PROOFS];
    struct decision d;
    const char *service = json_str(r->body, "service"), *path = json_str(r->body, "path");
    subject->now_ms = r->now_ms;
    subject->lease_ms = r->lease_ms;
    int e = request_facts(subject, &f, proofs);
    if (e == 0 && f.user)
        e = factor_enrolled(r->agent->vault, f.user, &f.enrolled);
    if (e < 0)
        return e;
    char exempt[160];
    rules_exemption(r->agent->rules, &f, exempt, sizeof(exempt));
    if (service)
        decide_pam(rules_view(r->agent->rules), &f, service, DECIDE_PAM_AUTH, true, &d);
    else
        decide_path(rules_view(r->agent->rules), &f, path,
                    caps_of_operation(json_str(r->body, "operation")), false, true, &d);
    json_t *trace = d.trace ? json_incref(d.trace) : NULL;
    decision_clear(&d);
    return request_data(r, trace);
}

static int explain_other(struct request *r)
{
    struct explain *x = r->state;
    if (x->error)
        return request_error(r, 503, "the host's user database did not answer; try again");
    if (!x->subject.has_person)
        return request_error(r, 404, "this host knows no user of that name");
    int e = find_session(&x->subject);
    return e < 0 ? e : decide_subject(r, &x->subject);
}

static int take_subject(struct request *subject, const struct person *p)
{
    if (!p->exists)
        return 0;
    snprintf(subject->user, sizeof(subject->user), "%s", p->name);
    subject->uid = p->uid;
    subject->has_person = true;
    return pipeline_copy_groups(subject, p);
}

static void on_subject(const struct person *p, int error, void *data)
{
    struct request *r = data;
    struct explain *x = r->state;
    x->error = error ? error : take_subject(&x->subject, p);
    request_resume(r, explain_other);
}

static void ask_subject(void *data)
{
    struct request *r = data;
    const char *name = json_str(r->body, "principal") + strlen("user:");
    int e = people_ask(r->agent->people, name, 0, on_subject, r);
    if (e < 0)
        on_subject(NULL, e, r);
}

static int explain_uid(struct request *r, const char *number)
{
    struct explain *x = r->state;
    unsigned long uid = strtoul(number, NULL, 10);
    if (!number[0] || strlen(number) > 10 || strspn(number, "0123456789") != strlen(number) ||
        uid >= UINT32_MAX)
        return request_error(r, 400, "a uid is a number: uid:1000");
    x->subject.uid = (uid_t)uid;
    return decide_subject(r, &x->subject);
}

static int explain_else(struct request *r, const char *who)
{
    r->state = explain_new(r);
    r->state_free = explain_free;
    if (!r->state)
        return -ENOMEM;
    if (strncmp(who, "uid:", 4) == 0)
        return explain_uid(r, who + 4);
    if (strncmp(who, "user:", 5) != 0)
        return request_error(r, 400, "the principal is user:NAME, uid:N or self");
    int e = effects_push(turn_effects(r->agent->turn), ask_subject, NULL, r);
    return e < 0 ? e : REQUEST_WAIT;
}

int route_explain(struct request *r)
{
    const char *who = json_str(r->body, "principal");
    bool path = json_str(r->body, "path") && caps_of_operation(json_str(r->body, "operation"));
    if (path == (json_str(r->body, "service") != NULL))
        return request_error(r, 400,
                             "give either an operation (read, list, create, update, delete, "
                             "patch) and a path, or a service");
    bool self = strcmp(who, "self") == 0 || (r->has_person && strcmp(who, r->principal) == 0);
    if (self && r->has_token)
        return request_error(r, 400,
                             "a token is no principal of this host: ask what it may do with "
                             "\"countersign capabilities PATH\", or name user:NAME");
    if (self)
        return decide_subject(r, r);
    if (!r->allowed)
        return request_error(r, 403,
                             "permission denied: to explain others' rights needs \"update\" on "
                             "sys/explain");
    return explain_else(r, who);
}
