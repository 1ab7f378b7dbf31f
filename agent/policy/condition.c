#include "policy/condition.h"

#include <string.h>

#include "base/clock.h"
#include "policy/text.h"

#define NETWORKS_SHOWN 6

void condition_case_init(struct condition_case *c, const struct decide_facts *f,
                         const char *service)
{
    *c = (struct condition_case){.facts = f, .service = service};
    if (f->has_source)
        cidr_source(f->source, &c->source);
}

/* --- mfa ---------------------------------------------------------------------------------------
 */

/* Rule 7: an exemption is from what services ask, and only for somebody who is known. */
static bool exempted(const struct condition_case *c)
{
    return c->service && c->facts->exempt && c->facts->user;
}

/* Rule 6. A proof from the same source counts at sshd only. */
static bool in_scope(const struct binding_mfa *m, const struct decide_proof *p,
                     const struct condition_case *c)
{
    if (m->scope == BINDING_SCOPE_SESSION)
        return p->session;
    return p->source && m->max_age > 0 && c->service && strcmp(c->service, "sshd") == 0;
}

/* The youngest proof in scope by one of the factors; NULL when there is none. */
static const struct decide_proof *youngest(const struct binding_mfa *m, unsigned factors,
                                           const struct condition_case *c)
{
    const struct decide_proof *best = NULL;

    for (size_t i = 0; i < c->facts->n_proofs; i++) {
        const struct decide_proof *p = &c->facts->proofs[i];

        if (p->age >= 0 && ((unsigned)p->factor & factors & FACTOR_ALL) && in_scope(m, p, c) &&
            (!best || p->age < best->age))
            best = p;
    }
    return best;
}

static bool mfa_met(const struct binding *b, const struct condition_case *c)
{
    const struct decide_proof *p;

    if (exempted(c))
        return true;
    p = youngest(&b->mfa, b->mfa.factors, c);
    return p && (b->mfa.max_age == 0 || p->age <= b->mfa.max_age);
}

static void put_factors(struct buf *out, unsigned factors)
{
    const char *sep = "";

    if (factors == FACTOR_ALL) {
        buf_puts(out, "a second factor");
        return;
    }
    for (unsigned f = 1; f <= FACTOR_ALL; f <<= 1) {
        if (factors & f) {
            buf_putf(out, "%s%s", sep, factor_name((enum factor)f));
            sep = " or ";
        }
    }
}

static void put_age(struct buf *out, int64_t age)
{
    char text[32];

    clock_human(age, text, sizeof(text));
    buf_puts(out, text);
}

/* Of several factors in one (which no caller should send) the first is named. */
static const char *factor_of(const struct decide_proof *p)
{
    unsigned factors = (unsigned)p->factor & FACTOR_ALL;

    return factor_name((enum factor)(factors & -factors));
}

static void put_last_proof(struct buf *out, const struct binding_mfa *m,
                           const struct condition_case *c)
{
    const char *where = m->scope == BINDING_SCOPE_SESSION ? "this session" : "this source";
    const struct decide_proof *p = youngest(m, m->factors, c);
    const struct decide_proof *other = youngest(m, FACTOR_ALL, c);

    buf_puts(out, where);
    if (p) {
        buf_puts(out, "'s last proof is ");
        put_age(out, p->age);
        buf_puts(out, " old");
    } else if (other) {
        buf_putf(out, "'s last proof is by %s", factor_of(other));
    } else {
        buf_puts(out, " has none");
    }
}

static void mfa_put(struct buf *out, const struct binding *b, const struct condition_case *c)
{
    const struct binding_mfa *m = &b->mfa;
    const struct decide_proof *p = youngest(m, m->factors, c);

    if (exempted(c)) {
        buf_puts(out, "no factor is asked for: ");
        text_put(out, c->facts->exempt_why ? c->facts->exempt_why : "exempt");
        return;
    }
    if (p && mfa_met(b, c)) {
        buf_putf(out, "%s was proved ", factor_of(p));
        put_age(out, p->age);
        buf_puts(out, " ago");
        return;
    }
    buf_puts(out, "asks for ");
    put_factors(out, m->factors);
    buf_puts(out, m->max_age > 0 ? " within " : " in this session");
    if (m->max_age > 0)
        put_age(out, m->max_age);
    buf_puts(out, "; ");
    put_last_proof(out, m, c);
}

/* --- from --------------------------------------------------------------------------------------
 */

static bool from_met(const struct binding *b, const struct condition_case *c)
{
    for (size_t i = 0; i < b->n_from; i++) {
        if (cidr_contains(&b->from[i], &c->source))
            return true;
    }
    return false;
}

static void put_networks(struct buf *out, const struct binding *b)
{
    for (size_t i = 0; i < b->n_from && i < NETWORKS_SHOWN; i++) {
        if (i > 0)
            buf_puts(out, ", ");
        cidr_put(out, &b->from[i]);
    }
    if (b->n_from > NETWORKS_SHOWN)
        buf_puts(out, ", …");
}

static void from_put(struct buf *out, const struct binding *b, const struct condition_case *c)
{
    if (!c->facts->has_source) {
        buf_puts(out, "asks for a login from ");
        put_networks(out, b);
        buf_puts(out, "; where this one came from is not known");
        return;
    }
    buf_puts(out, "the login is from ");
    if (c->source.kind == CIDR_NONE)
        buf_puts(out, "a source without a numeric address");
    else if (c->source.kind == CIDR_LOCAL)
        buf_puts(out, "this host");
    else
        cidr_put(out, &c->source);
    buf_puts(out, from_met(b, c) ? ", which is in " : ", not from ");
    put_networks(out, b);
}

/* --- hours -------------------------------------------------------------------------------------
 */

static bool hours_met(const struct binding *b, const struct condition_case *c)
{
    return hours_contain(b->hours, c->facts->now, c->facts->zone_offset);
}

static void put_hours(struct buf *out, const struct binding *b, const struct condition_case *c)
{
    const char *zone = b->hours->ranges[0].zone;

    buf_puts(out, "it is ");
    if (!hours_put_now(out, zone, c->facts->now, c->facts->zone_offset))
        buf_putf(out, "an unknown time in %s", zone);
    buf_puts(out, hours_met(b, c) ? ", within " : ", outside ");
    text_put(out, json_str(b->object, "hours"));
}

/* --- assurance ---------------------------------------------------------------------------------
 */

static bool assurance_met(const struct binding *b, const struct condition_case *c)
{
    return c->facts->assurance >= b->assurance && c->facts->assurance <= ASSURANCE_MANAGER;
}

static void put_assurance(struct buf *out, const struct binding *b, const struct condition_case *c)
{
    const char *have = assurance_name(c->facts->assurance);

    buf_putf(out, "the caller is known by %s, ", have ? have : "nothing");
    buf_putf(out, assurance_met(b, c) ? "%s is enough" : "%s or better is asked for",
             assurance_name(b->assurance));
}

/* --- All of them -------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    enum binding_condition bit;
    bool (*met)(const struct binding *b, const struct condition_case *c);
    void (*put)(struct buf *out, const struct binding *b, const struct condition_case *c);
} conditions[] = {
    {"mfa", BINDING_MFA, mfa_met, mfa_put},
    {"from", BINDING_FROM, from_met, from_put},
    {"hours", BINDING_HOURS, hours_met, put_hours},
    {"assurance", BINDING_ASSURANCE, assurance_met, put_assurance},
};

unsigned condition_failed(const struct binding *b, const struct condition_case *c)
{
    unsigned failed = b->conditions;

    for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
        if ((failed & (unsigned)conditions[i].bit) && conditions[i].met(b, c))
            failed &= ~(unsigned)conditions[i].bit;
    }
    return failed;
}

const char *condition_name(size_t i)
{
    return i < ARRAY_LEN(conditions) ? conditions[i].name : NULL;
}

enum binding_condition condition_bit(size_t i)
{
    return conditions[i].bit;
}

void condition_put(struct buf *out, size_t i, const struct binding *b,
                   const struct condition_case *c)
{
    conditions[i].put(out, b, c);
}
