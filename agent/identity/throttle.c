/* Two kinds of rows, both found by the person they count for (index 0):
 *
 *     source  wrong answers of one person from one source, its lock, and when it last went well
 *     budget  wrong answers of one person within an hour from all unusual sources together
 *
 * A name that NSS doesn't know stands for one of THROTTLE_BUCKETS made-up people, who each come
 * from one of THROTTLE_BUCKETS made-up sources; which one is a keyed hash, so nobody can choose. */
#include "identity/throttle.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "identity/body.h"

#define BUDGET_WINDOW_MS (60 * 60 * 1000LL)
#define SOURCE_MAX 256
#define PERSON_MAX 1100
#define SHOWN_MAX 64

struct row {
    int64_t fails, locks, until, last, usual;
};

static const struct body_field row_fields[] = {
    BODY_FIELD(struct row, fails, BODY_I64), BODY_FIELD(struct row, locks, BODY_I64),
    BODY_FIELD(struct row, until, BODY_I64), BODY_FIELD(struct row, last, BODY_I64),
    BODY_FIELD(struct row, usual, BODY_I64), {0},
};

/* What is looked up and written back. */
struct counters {
    char person[PERSON_MAX];
    char source_id[RECORD_ID_MAX];
    char budget_id[RECORD_ID_MAX];
    struct row source, budget; /* the budget's `last` is when its hour began */
    bool usual;
};

/* --- Names of rows
 * -------------------------------------------------------------------------------- */

static int bucket(struct vault *v, const char *text, char out[16])
{
    uint8_t hash[VAULT_HASH_LEN];

    int r = vault_hash(v, "throttle", text, strlen(text), hash);
    if (r == 0)
        snprintf(out, 16, "%u", (unsigned)(hash[0] % THROTTLE_BUCKETS));
    return r;
}

static int name_person(struct vault *v, const char *user, bool known, char out[PERSON_MAX])
{
    char number[16];

    int r = bucket(v, user, number); /* for known people too: it costs the same */
    if (r < 0)
        return r;
    const char *parts[] = {known ? "known" : "unknown", known ? user : number};
    return body_id(out, PERSON_MAX, parts, ARRAY_LEN(parts));
}

static int name_source(struct vault *v, const char *user, bool known, const char *source,
                       struct counters *c)
{
    char cut[SOURCE_MAX + 1], both[RECORD_ID_MAX], number[16];

    snprintf(cut, sizeof(cut), "%s", source);
    const char *pair[] = {user, cut};
    int r = body_id(both, sizeof(both), pair, ARRAY_LEN(pair));
    if (r == 0)
        r = bucket(v, both, number);
    if (r < 0)
        return r;
    const char *parts[] = {"source", known ? c->person : "unknown", known ? cut : number};
    return body_id(c->source_id, sizeof(c->source_id), parts, ARRAY_LEN(parts));
}

static int name_rows(struct vault *v, const char *user, bool known, const char *source,
                     struct counters *c)
{
    int r = name_person(v, user, known, c->person);
    if (r == 0)
        r = name_source(v, user, known, source, c);
    if (r < 0)
        return r;
    const char *parts[] = {"budget", c->person};
    return body_id(c->budget_id, sizeof(c->budget_id), parts, ARRAY_LEN(parts));
}

/* --- Rows
 * ----------------------------------------------------------------------------------------- */

/* Times ahead of any that we would have written were written under a wrong clock: a lock must not
 * last until that clock comes round. */
static void forget_past(struct row *w, int64_t now)
{
    if (w->until - now > THROTTLE_LOCK_MAX_MS)
        w->until = 0;
    if (w->last > now + THROTTLE_LOCK_MAX_MS || now - w->last > THROTTLE_FORGET_MS)
        w->fails = w->locks = w->last = 0;
    if (w->usual > now + THROTTLE_LOCK_MAX_MS || now - w->usual > THROTTLE_USUAL_MS)
        w->usual = 0;
}

static int parse_row(const json_t *o, int64_t now, struct row *out)
{
    int r = body_get(o, row_fields, out);
    if (r == 0)
        forget_past(out, now);
    return r;
}

static int load_row(struct vault *v, const char *id, int64_t now, struct row *out)
{
    _cleanup_json_ json_t *o = NULL;

    *out = (struct row){0};
    int r = record_get_json(v, RECORD_THROTTLE, id, &o);
    if (r < 0 || r == RECORD_E_NONE)
        return r < 0 ? r : 0;
    return parse_row(o, now, out);
}

static int load(struct vault *v, const char *user, bool known, const char *source, int64_t now,
                struct counters *c)
{
    int r = name_rows(v, user, known, source, c);
    if (r == 0)
        r = load_row(v, c->source_id, now, &c->source);
    if (r == 0)
        r = load_row(v, c->budget_id, now, &c->budget);
    if (r < 0)
        return r;
    if (now - c->budget.last >= BUDGET_WINDOW_MS && c->budget.until <= now)
        c->budget = (struct row){0};
    c->usual = known && c->source.usual > 0;
    return 0;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int save_row(struct vault *v, const char *id, const char *person, const struct row *w)
{
    _cleanup_json_ json_t *o = json_object();
    int64_t due = later(w->until, w->last > 0 ? w->last + THROTTLE_FORGET_MS : 0);
    struct record rec = {.id = id, .key = {person}};

    if (!o)
        return -ENOMEM;
    rec.due = later(due, w->usual > 0 ? w->usual + THROTTLE_USUAL_MS : 0);
    int r = body_put(o, row_fields, w);
    return r < 0 ? r : body_save(v, RECORD_THROTTLE, &rec, o);
}

/* --- What is told
 * --------------------------------------------------------------------------------- */

static void tell_source(const char *source, int64_t fails, struct throttle *out)
{
    _cleanup_buf_ struct buf shown = BUF_INIT(SHOWN_MAX + 1);

    encode_printable(&shown, source, SHOWN_MAX);
    snprintf(out->reason, sizeof(out->reason), "%lld wrong codes from %s", (long long)fails,
             buf_str(&shown));
}

static void tell(const struct counters *c, const char *source, int64_t now, struct throttle *out)
{
    if (c->source.until > now) {
        out->locked = true;
        out->until = c->source.until;
        tell_source(source, THROTTLE_TRIES, out);
    }
    if (!c->usual && c->budget.until > now) {
        out->locked = true;
        out->until = later(out->until, c->budget.until);
        snprintf(out->reason, sizeof(out->reason),
                 "%d wrong codes within an hour from unusual places", THROTTLE_BUDGET);
    }
}

int throttle_check(struct vault *v, const char *user, bool known, const char *source,
                   int64_t now_ms, struct throttle *out)
{
    struct counters c = {0};

    *out = (struct throttle){0};
    int r = load(v, user, known, source, now_ms, &c);
    if (r == 0)
        tell(&c, source, now_ms, out);
    return r;
}

/* --- Counting
 * ------------------------------------------------------------------------------------- */

static int64_t lock_length(int64_t locks)
{
    int64_t length = THROTTLE_LOCK_MS;

    for (int64_t i = 0; i < locks && length < THROTTLE_LOCK_MAX_MS; i++)
        length *= 2;
    return length < THROTTLE_LOCK_MAX_MS ? length : THROTTLE_LOCK_MAX_MS;
}

static int64_t delay_after(int64_t fails)
{
    int64_t delay = 1000;

    for (int64_t i = 1; i < fails && delay < THROTTLE_DELAY_MAX_MS; i++)
        delay *= 2;
    return delay < THROTTLE_DELAY_MAX_MS ? delay : THROTTLE_DELAY_MAX_MS;
}

static void count_source(struct row *w, int64_t now)
{
    w->fails++;
    w->last = now;
    if (w->fails >= THROTTLE_TRIES) {
        w->until = now + lock_length(w->locks);
        w->locks++;
        w->fails = 0;
    }
}

static void count_budget(struct row *w, int64_t now)
{
    if (w->fails++ == 0)
        w->last = now;
    if (w->fails >= THROTTLE_BUDGET)
        w->until = later(w->until, now + BUDGET_WINDOW_MS);
}

int throttle_failed(struct vault *v, const char *user, bool known, const char *source,
                    int64_t now_ms, struct throttle *out)
{
    struct counters c = {0};

    *out = (struct throttle){0};
    int r = load(v, user, known, source, now_ms, &c);
    if (r < 0)
        return r;
    int64_t fails = c.source.fails + 1;
    count_source(&c.source, now_ms);
    if (!c.usual)
        count_budget(&c.budget, now_ms);
    r = save_row(v, c.source_id, c.person, &c.source);
    if (r == 0 && !c.usual)
        r = save_row(v, c.budget_id, c.person, &c.budget);
    if (r < 0)
        return r;
    tell_source(source, fails, out);
    out->delay_ms = delay_after(fails);
    tell(&c, source, now_ms, out);
    return 0;
}

int throttle_passed(struct vault *v, const char *user, const char *source, int64_t now_ms)
{
    struct counters c = {0};

    int r = name_rows(v, user, true, source, &c);
    if (r < 0)
        return r;
    return save_row(v, c.source_id, c.person, &(struct row){.usual = now_ms});
}

/* --- All rows of a person
 * ------------------------------------------------------------------------- */

struct visit {
    struct vault *v;
    const char *person;
    int64_t now, until;
};

static int pardon_row(const struct record *rec, void *data)
{
    struct visit *visit = data;
    _cleanup_json_ json_t *o = NULL;
    struct row w;

    int r = body_parse(rec, &o);
    if (r == 0)
        r = body_get(o, row_fields, &w);
    if (r < 0)
        return r;
    if (w.usual > 0)
        return save_row(visit->v, rec->id, visit->person, &(struct row){.usual = w.usual});
    r = record_delete(visit->v, RECORD_THROTTLE, rec->id);
    return r < 0 ? r : 0;
}

static int latest_lock(const struct record *rec, void *data)
{
    struct visit *visit = data;
    _cleanup_json_ json_t *o = NULL;
    struct row w;

    int r = body_parse(rec, &o);
    if (r == 0)
        r = parse_row(o, visit->now, &w);
    if (r == 0 && w.until > visit->now)
        visit->until = later(visit->until, w.until);
    return r;
}

static int each_row(const char *user, record_fn fn, struct visit *visit)
{
    char person[PERSON_MAX];

    int r = name_person(visit->v, user, true, person);
    visit->person = person;
    if (r == 0)
        r = record_each_key(visit->v, RECORD_THROTTLE, 0, person, 0, fn, visit);
    visit->person = NULL;
    return r;
}

int throttle_pardon(struct vault *v, const char *user)
{
    struct visit visit = {.v = v};
    return each_row(user, pardon_row, &visit);
}

int throttle_locked_until(struct vault *v, const char *user, int64_t now_ms, int64_t *until)
{
    struct visit visit = {.v = v, .now = now_ms};

    int r = each_row(user, latest_lock, &visit);
    *until = r == 0 ? visit.until : 0;
    return r;
}

static int sweep_row(const struct record *rec, void *data)
{
    int r = record_delete(data, RECORD_THROTTLE, rec->id);
    return r < 0 ? r : 0;
}

int throttle_sweep(struct vault *v, int64_t now_ms, size_t limit)
{
    return record_pass_due(v, RECORD_THROTTLE, now_ms, limit, sweep_row, v, NULL);
}
