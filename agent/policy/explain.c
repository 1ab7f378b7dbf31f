#include "policy/explain.h"

#include <errno.h>
#include <string.h>

#include "base/encode.h"
#include "policy/text.h"

#define WHY_ROOM 4096 /* more than any sentence; d->why gets what fits */
#define SHOWN_MAX 1024

/* --- Sentences ---------------------------------------------------------------------------------
 */

static void finish(struct decision *d, const struct buf *b)
{
    text_copy(d->why, sizeof(d->why), b, d->verdict == DECIDE_ALLOW ? "allowed" : "denied");
}

static void put_quoted(struct buf *b, const char *what, const char *name)
{
    buf_puts(b, what);
    buf_puts(b, " \"");
    text_put(b, name);
    buf_putc(b, '"');
}

static void put_caller(struct buf *b, const struct decide_facts *f)
{
    if (f->user) {
        buf_puts(b, "user:");
        text_put(b, f->user);
    } else if (f->has_uid) {
        buf_putf(b, "uid:%lu", (unsigned long)f->uid);
    } else {
        buf_puts(b, "an unknown caller");
    }
}

static void put_rule(struct buf *b, const struct decision *d)
{
    put_quoted(b, "policy", d->policy);
    put_quoted(b, ", path", d->rule);
}

/* The clause of the failed condition that says most: mfa comes last, it can be mended at once. */
static void put_failed(struct buf *b, const struct weigh *w, const struct weigh_view *v)
{
    size_t chosen = 0;

    for (size_t i = 0; condition_name(i); i++) {
        if (v->failed & (unsigned)condition_bit(i)) {
            chosen = i;
            if (condition_bit(i) != BINDING_MFA)
                break;
        }
    }
    condition_put(b, chosen, v->binding, &w->asked);
}

void explain_memory(struct decision *d)
{
    static const char why[] = "denied: out of memory";

    memcpy(d->why, why, sizeof(why));
}

void explain_locked(struct decision *d, const struct weigh *w)
{
    _cleanup_buf_ struct buf b = BUF_INIT(WHY_ROOM);

    buf_puts(&b, "denied: ");
    put_caller(&b, w->asked.facts);
    buf_puts(&b, " is locked out, and nothing outweighs that: ");
    text_put(&b, w->asked.facts->locked);
    finish(d, &b);
}

void explain_path_allowed(struct decision *d)
{
    _cleanup_buf_ struct buf b = BUF_INIT(WHY_ROOM);

    put_quoted(&b, "allowed by binding", d->binding);
    buf_puts(&b, ": ");
    put_rule(&b, d);
    finish(d, &b);
}

void explain_path_denied(struct decision *d)
{
    _cleanup_buf_ struct buf b = BUF_INIT(WHY_ROOM);

    put_quoted(&b, "denied by policy", d->policy);
    put_quoted(&b, ": path", d->rule);
    buf_puts(&b, " (deny)");
    finish(d, &b);
}

void explain_path_lacks(struct decision *d, unsigned missing)
{
    _cleanup_buf_ struct buf b = BUF_INIT(WHY_ROOM);
    const char *sep = "";

    buf_puts(&b, "denied: ");
    put_rule(&b, d);
    buf_puts(&b, " does not grant ");
    for (unsigned cap = 1; cap <= ACL_DENY; cap <<= 1) {
        if (missing & cap) {
            buf_putf(&b, "%s%s", sep, acl_cap_name((enum acl_cap)cap));
            sep = " or ";
        }
    }
    finish(d, &b);
}

static bool named_at_all(const struct weigh *w)
{
    for (size_t i = 0; i < w->rules->n_bindings; i++) {
        if (w->views[i].matched)
            return true;
    }
    return false;
}

void explain_path_uncovered(struct decision *d, const struct weigh *w, const char *path)
{
    _cleanup_buf_ struct buf b = BUF_INIT(WHY_ROOM);

    if (named_at_all(w)) {
        buf_puts(&b, "denied: no policy of the bindings that name ");
        put_caller(&b, w->asked.facts);
        put_quoted(&b, " covers path", path);
    } else {
        buf_puts(&b, "denied: no binding names a principal of ");
        put_caller(&b, w->asked.facts);
        buf_puts(&b, " for this path");
    }
    finish(d, &b);
}

void explain_blocked(struct decision *d, const struct weigh *w, const struct weigh_view *v)
{
    _cleanup_buf_ struct buf b = BUF_INIT(WHY_ROOM);

    put_quoted(&b, "denied: binding", v->binding->name);
    buf_puts(&b, " matches but ");
    put_failed(&b, w, v);
    finish(d, &b);
}

void explain_service_allowed(struct decision *d, const struct weigh *w, const struct weigh_view *v)
{
    _cleanup_buf_ struct buf b = BUF_INIT(WHY_ROOM);

    put_quoted(&b, "allowed by binding", v->binding->name);
    put_quoted(&b, " for service", w->asked.service);
    buf_puts(&b, ": ");
    if (v->binding->conditions & BINDING_MFA)
        condition_put(&b, 0, v->binding, &w->asked);
    else
        buf_puts(&b, "it asks for no second factor");
    finish(d, &b);
}

void explain_service_challenge(struct decision *d, const struct weigh *w,
                               const struct weigh_view *v)
{
    _cleanup_buf_ struct buf b = BUF_INIT(WHY_ROOM);

    put_quoted(&b, "a second factor is needed: binding", v->binding->name);
    put_quoted(&b, " for service", w->asked.service);
    buf_putc(&b, ' ');
    put_failed(&b, w, v);
    finish(d, &b);
}

void explain_service_strange(struct decision *d, const struct weigh *w)
{
    _cleanup_buf_ struct buf b = BUF_INIT(WHY_ROOM);

    buf_puts(&b, "denied: no binding names a principal of ");
    put_caller(&b, w->asked.facts);
    put_quoted(&b, " for service", w->asked.service);
    finish(d, &b);
}

void explain_service_unbound(struct decision *d, const struct weigh *w)
{
    _cleanup_buf_ struct buf b = BUF_INIT(WHY_ROOM);

    if (d->verdict == DECIDE_ALLOW) {
        put_quoted(&b, "allowed: no binding names service", w->asked.service);
        buf_puts(&b, ", and no factor is asked for: ");
        text_put(&b, w->asked.facts->exempt_why ? w->asked.facts->exempt_why : "exempt");
    } else if (d->verdict == DECIDE_CHALLENGE) {
        put_quoted(&b, "a second factor is needed: no binding names service", w->asked.service);
        buf_puts(&b, ", so any enrolled one is asked for");
    } else {
        put_quoted(&b, "no opinion: no binding names service", w->asked.service);
    }
    finish(d, &b);
}

/* --- The trace ---------------------------------------------------------------------------------
 */

static json_t *shown(const char *prefix, const char *s)
{
    _cleanup_buf_ struct buf b = BUF_INIT(2 * SHOWN_MAX);

    buf_puts(&b, prefix);
    encode_printable(&b, s, SHOWN_MAX);
    return buf_error(&b) < 0 ? NULL : json_string(buf_str(&b));
}

static json_t *shown_or_null(const char *s)
{
    return s[0] ? shown("", s) : json_null();
}

static json_t *trace_caller(const struct decide_facts *f)
{
    _cleanup_json_ json_t *list = json_array();

    if (!list)
        return NULL;
    if (f->user && json_array_append_new(list, shown("user:", f->user)) < 0)
        return NULL;
    if (f->has_uid &&
        json_array_append_new(list, json_sprintf("uid:%lu", (unsigned long)f->uid)) < 0)
        return NULL;
    for (size_t i = 0; f->user && i < f->n_groups; i++) {
        if (json_array_append_new(list, shown("group:", f->groups[i])) < 0)
            return NULL;
    }
    return json_incref(list);
}

static json_t *trace_condition(const struct weigh *w, const struct binding *binding, size_t i,
                               unsigned failed)
{
    _cleanup_buf_ struct buf b = BUF_INIT(WHY_ROOM);

    condition_put(&b, i, binding, &w->asked);
    if (buf_error(&b) < 0)
        return NULL;
    return json_pack("{s:s, s:b, s:s}", "condition", condition_name(i), "met",
                     (failed & (unsigned)condition_bit(i)) == 0, "detail", buf_str(&b));
}

static json_t *trace_conditions(const struct weigh *w, const struct binding *binding)
{
    unsigned failed = condition_failed(binding, &w->asked);
    _cleanup_json_ json_t *list = json_array();

    for (size_t i = 0; list && condition_name(i); i++) {
        if ((binding->conditions & (unsigned)condition_bit(i)) &&
            json_array_append_new(list, trace_condition(w, binding, i, failed)) < 0)
            return NULL;
    }
    return json_incref(list);
}

static json_t *trace_binding(const struct weigh *w, const struct weigh_view *v)
{
    const struct binding *b = v->binding;

    /* A NULL among the parts makes json_pack() free the others and return NULL. */
    return json_pack("{s:s, s:o, s:b, s:o, s:O, s:O}", "name", b->name, "principal",
                     v->matched ? shown("", v->matched->text) : json_null(), "satisfied",
                     weigh_satisfied(v), "conditions", trace_conditions(w, b), "policies",
                     json_object_get(b->object, "policies"), "services",
                     json_object_get(b->object, "services"));
}

static json_t *trace_bindings(const struct weigh *w)
{
    _cleanup_json_ json_t *list = json_array();

    for (size_t i = 0; list && i < w->rules->n_bindings; i++) {
        if (json_array_append_new(list, trace_binding(w, &w->views[i])) < 0)
            return NULL;
    }
    return json_incref(list);
}

json_t *explain_trace(const struct weigh *w, const struct decision *d)
{
    static const char *const verdicts[] = {
        [DECIDE_DENY] = "deny",
        [DECIDE_ALLOW] = "allow",
        [DECIDE_CHALLENGE] = "challenge",
        [DECIDE_IGNORE] = "ignore",
    };

    return json_pack("{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o}", "verdict", verdicts[d->verdict],
                     "why", d->why, "locked", d->locked, "binding", shown_or_null(d->binding),
                     "policy", shown_or_null(d->policy), "rule", shown_or_null(d->rule), "bindings",
                     trace_bindings(w), "principals", trace_caller(w->asked.facts));
}
