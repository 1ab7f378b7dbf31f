#include "identity/token_row.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "identity/body.h"

#define TEXT_RANDOM 28
#define ACCESSOR_LEN 24
#define BODY_MAX (64 * 1024) /* policies and metadata of one token */
#define POLICY_NAME_MAX 256

static const struct body_field token_fields[] = {
    BODY_FIELD(struct token, id, BODY_TEXT),
    BODY_FIELD(struct token, accessor, BODY_TEXT),
    BODY_FIELD(struct token, parent, BODY_TEXT),
    BODY_FIELD(struct token, display_name, BODY_TEXT),
    BODY_FIELD(struct token, path, BODY_TEXT),
    BODY_FIELD(struct token, root, BODY_BOOL),
    BODY_FIELD(struct token, renewable, BODY_BOOL),
    BODY_FIELD(struct token, has_uid, BODY_BOOL),
    BODY_FIELD(struct token, uid, BODY_U32),
    BODY_FIELD(struct token, session, BODY_TEXT),
    BODY_FIELD(struct token, num_uses, BODY_I64),
    BODY_FIELD(struct token, created_ms, BODY_I64),
    BODY_FIELD(struct token, expires_ms, BODY_I64),
    BODY_FIELD(struct token, issued_ttl, BODY_I64),
    BODY_FIELD(struct token, period, BODY_I64),
    BODY_FIELD(struct token, explicit_max_ttl, BODY_I64),
    BODY_FIELD(struct token, last_renewal_ms, BODY_I64),
    {0},
};

void token_clear(struct token *t)
{
    if (!t)
        return;
    json_decref(t->policies);
    json_decref(t->meta);
    mem_wipe(t, sizeof(*t));
}

/* --- The row
 * -------------------------------------------------------------------------------------- */

static int from_body(const json_t *o, struct token *out)
{
    json_t *policies = json_object_get(o, "policies"), *meta = json_object_get(o, "meta");

    *out = (struct token){0};
    int r = body_get(o, token_fields, out);
    if (r == 0 && (!json_is_array(policies) || (meta && !json_is_object(meta))))
        r = -EBADMSG;
    if (r < 0)
        return r;
    out->policies = json_incref(policies);
    out->meta = meta ? json_incref(meta) : NULL;
    return 0;
}

int token_row_parse(const struct record *rec, struct token *out)
{
    _cleanup_json_ json_t *o = NULL;

    *out = (struct token){0};
    int r = body_parse(rec, &o);
    return r < 0 ? r : from_body(o, out);
}

int token_row_load(struct vault *v, const char *id, struct token *out)
{
    _cleanup_json_ json_t *o = NULL;

    *out = (struct token){0};
    if (strnlen(id, TOKEN_ID_LEN + 1) != TOKEN_ID_LEN)
        return TOKEN_E_NONE;
    int r = record_peek_json(v, RECORD_TOKEN, id, &o);
    if (r != 0)
        return r < 0 ? r : TOKEN_E_NONE;
    return from_body(o, out);
}

static const char *or_null(const char *s)
{
    return *s ? s : NULL;
}

int token_row_save(struct vault *v, const struct token *t)
{
    _cleanup_json_ json_t *o = json_object();
    struct record rec = {.id = t->id, .due = t->expires_ms};

    rec.key[TOKEN_ROW_ACCESSOR] = t->accessor;
    rec.key[TOKEN_ROW_PARENT] = or_null(t->parent);
    rec.key[TOKEN_ROW_SESSION] = or_null(t->session);
    int r = o ? body_put(o, token_fields, t) : -ENOMEM;
    if (r == 0 && json_object_set(o, "policies", t->policies) < 0)
        r = -ENOMEM;
    if (r == 0 && t->meta && json_object_set(o, "meta", t->meta) < 0)
        r = -ENOMEM;
    return r < 0 ? r : body_save(v, RECORD_TOKEN, &rec, o);
}

static int id_of(struct vault *v, const char *text, char out[TOKEN_ID_LEN + 1])
{
    uint8_t hash[VAULT_HASH_LEN];
    _Static_assert(TOKEN_ID_LEN == 2 * VAULT_HASH_LEN, "an id is the hash in hex");

    int r = vault_hash(v, "token", text, strlen(text), hash);
    if (r == 0)
        encode_hex(hash, sizeof(hash), out);
    return r;
}

/* --- Making
 * --------------------------------------------------------------------------------------- */

static int refuse(char *why, size_t whylen, const char *text)
{
    snprintf(why, whylen, "%s", text);
    return TOKEN_E_REFUSED;
}

static bool fits(const char *s, size_t size)
{
    size_t n = s ? strnlen(s, size) : 0;
    return n < size && (n == 0 || encode_is_utf8(s, n));
}

static bool valid_policies(const json_t *policies)
{
    bool ok = json_is_array(policies) && json_array_size(policies) > 0;

    for (size_t i = 0; ok && i < json_array_size(policies); i++) {
        const json_t *name = json_array_get(policies, i);
        ok = json_string_length(name) > 0 && json_string_length(name) <= POLICY_NAME_MAX;
    }
    return ok;
}

static bool all_strings(json_t *meta)
{
    const char *key;
    json_t *value;

    json_object_foreach(meta, key, value)
    {
        if (!json_is_string(value))
            return false;
    }
    return true;
}

static bool valid_text(const char *text)
{
    size_t n = strnlen(text, TOKEN_TEXT_MAX);

    if (n == 0 || n >= TOKEN_TEXT_MAX)
        return false;
    for (; *text; text++) {
        if (!isgraph((unsigned char)*text))
            return false;
    }
    return true;
}

static bool valid_time(int64_t seconds)
{
    return seconds >= 0 && seconds <= CLOCK_DURATION_MAX;
}

static const char *complaint(const struct token_spec *s)
{
    if (!valid_policies(s->policies))
        return "a token needs policies";
    if (s->meta && !json_is_object(s->meta))
        return "meta must be an object of strings";
    if (!fits(s->display_name, sizeof(((struct token *)NULL)->display_name)))
        return "the display name is longer than 128 bytes, or not UTF-8";
    if (!valid_time(s->ttl) || !valid_time(s->period) || !valid_time(s->explicit_max_ttl))
        return "a ttl, period or explicit_max_ttl is negative or longer than ten years";
    if (s->num_uses < 0)
        return "num_uses is negative";
    if (s->given_id && !valid_text(s->given_id))
        return "the id must be 1 to 63 printable characters without spaces";
    return NULL;
}

/* The parent must be there, and not be one that is used up by use. */
static int check_parent(struct vault *v, const struct token_spec *s, int64_t now_ms, char *why,
                        size_t whylen)
{
    struct token parent;

    if (!s->parent)
        return 0;
    int r = token_find_id(v, s->parent, now_ms, &parent);
    if (r == TOKEN_E_NONE)
        return refuse(why, whylen, "the parent token is gone");
    if (r == 0 && parent.num_uses > 0)
        r = refuse(why, whylen, "a token with a limited number of uses can't create tokens");
    token_clear(&parent);
    return r;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* How long the token lives at first: the period, else the ttl, below the maxima. 0: for ever. */
static int64_t first_ttl(const struct token_spec *s, bool *shortened)
{
    int64_t want = s->period > 0 ? s->period : s->ttl;
    int64_t most = TOKEN_TTL_MAX;

    *shortened = false;
    if (s->explicit_max_ttl > 0)
        most = smaller(most, s->explicit_max_ttl);
    if (want == 0 && s->root)
        return s->explicit_max_ttl;
    if (want == 0)
        return smaller(TOKEN_TTL_DEFAULT, most);
    *shortened = want > most;
    return smaller(want, most);
}

static int fill(const struct token_spec *s, int64_t now_ms, struct token *t, bool *shortened)
{
    int64_t ttl = first_ttl(s, shortened);

    t->policies = json_deep_copy(s->policies);
    t->meta = s->meta ? json_deep_copy(s->meta) : NULL;
    if (!t->policies || (s->meta && !t->meta))
        return -ENOMEM;
    if (!fits(s->parent, sizeof(t->parent)) || !fits(s->path, sizeof(t->path)) ||
        !fits(s->session, sizeof(t->session)))
        return -EINVAL;
    encode_random_base62(t->accessor, ACCESSOR_LEN);
    snprintf(t->parent, sizeof(t->parent), "%s", s->parent ? s->parent : "");
    snprintf(t->path, sizeof(t->path), "%s", s->path ? s->path : "");
    snprintf(t->session, sizeof(t->session), "%s", s->session ? s->session : "");
    snprintf(t->display_name, sizeof(t->display_name), "%s",
             s->display_name ? s->display_name : "token");
    t->root = s->root;
    t->renewable = s->renewable;
    t->has_uid = s->has_uid;
    t->uid = s->uid;
    t->num_uses = s->num_uses;
    t->created_ms = now_ms;
    t->expires_ms = ttl ? now_ms + ttl * 1000 : 0;
    t->issued_ttl = ttl;
    t->period = smaller(s->period, TOKEN_TTL_MAX);
    t->explicit_max_ttl = s->explicit_max_ttl;
    return 0;
}

static int make_text(struct vault *v, const struct token_spec *s, char text[TOKEN_TEXT_MAX],
                     struct token *t, char *why, size_t whylen)
{
    struct token there;

    if (s->given_id) {
        snprintf(text, TOKEN_TEXT_MAX, "%s", s->given_id);
    } else {
        memcpy(text, "hvs.", 4);
        encode_random_base62(text + 4, TEXT_RANDOM);
    }
    int r = id_of(v, text, t->id);
    if (r == 0)
        r = token_row_load(v, t->id, &there);
    if (r < 0)
        return r;
    token_clear(&there);
    return r == TOKEN_E_NONE ? 0 : refuse(why, whylen, "a token with this id exists already");
}

static bool too_large(const struct token *t)
{
    _cleanup_buf_ struct buf b = BUF_INIT(BODY_MAX);

    json_put(&b, t->policies);
    if (t->meta)
        json_put(&b, t->meta);
    return buf_error(&b) == -EMSGSIZE;
}

int token_create(struct vault *v, const struct token_spec *spec, int64_t now_ms,
                 char text[TOKEN_TEXT_MAX], struct token *out, bool *shortened, char *why,
                 size_t whylen)
{
    _cleanup_(token_clear) struct token t = {0};
    const char *wrong = complaint(spec);

    memset(text, 0, TOKEN_TEXT_MAX);
    *out = (struct token){0};
    *shortened = false;
    if (wrong)
        return refuse(why, whylen, wrong);
    int r = check_parent(v, spec, now_ms, why, whylen);
    if (r == 0)
        r = fill(spec, now_ms, &t, shortened);
    if (r == 0 && !all_strings(t.meta))
        r = refuse(why, whylen, "meta must be an object of strings");
    if (r == 0 && too_large(&t))
        r = refuse(why, whylen, "policies and meta are larger than 64 KiB");
    if (r == 0)
        r = make_text(v, spec, text, &t, why, whylen);
    if (r == 0)
        r = token_row_save(v, &t);
    if (r != 0) {
        mem_wipe(text, TOKEN_TEXT_MAX);
        return r;
    }
    *out = t;
    t = (struct token){0};
    return 0;
}

/* --- Finding
 * -------------------------------------------------------------------------------------- */

static bool expired(const struct token *t, int64_t now_ms)
{
    return t->expires_ms != 0 && t->expires_ms <= now_ms;
}

int token_find_id(struct vault *v, const char *id, int64_t now_ms, struct token *out)
{
    int r = token_row_load(v, id, out);

    if (r == 0 && expired(out, now_ms))
        r = TOKEN_E_NONE;
    if (r != 0)
        token_clear(out);
    return r;
}

int token_find(struct vault *v, const char *text, int64_t now_ms, struct token *out)
{
    char id[TOKEN_ID_LEN + 1];

    *out = (struct token){0};
    if (!valid_text(text))
        return TOKEN_E_NONE;
    int r = id_of(v, text, id);
    return r < 0 ? r : token_find_id(v, id, now_ms, out);
}

static int take_token(const struct record *rec, void *data)
{
    token_clear(data);
    return token_row_parse(rec, data);
}

int token_find_accessor(struct vault *v, const char *accessor, int64_t now_ms, struct token *out)
{
    *out = (struct token){0};
    if (!valid_text(accessor))
        return TOKEN_E_NONE;
    int r = record_each_key(v, RECORD_TOKEN, TOKEN_ROW_ACCESSOR, accessor, 1, take_token, out);
    if (r == 0 && (!out->id[0] || expired(out, now_ms)))
        r = TOKEN_E_NONE;
    if (r != 0)
        token_clear(out);
    return r;
}

/* --- Using and renewing
 * --------------------------------------------------------------------------- */

int token_use(struct vault *v, struct token *t, bool *last)
{
    *last = false;
    if (t->num_uses == 0)
        return 0;
    *last = --t->num_uses == 0;
    /* 0 in the row would mean unlimited: the caller deletes it instead. */
    return *last ? 0 : token_row_save(v, t);
}

/* What is left below the maxima that count from the token's making. */
static int64_t room(const struct token *t, int64_t now_ms)
{
    int64_t age = now_ms > t->created_ms ? (now_ms - t->created_ms) / 1000 : 0;
    int64_t most = t->period > 0 ? INT64_MAX : TOKEN_TTL_MAX;

    if (t->explicit_max_ttl > 0)
        most = smaller(most, t->explicit_max_ttl);
    return most > age ? most - age : 0;
}

int token_renew(struct vault *v, struct token *t, int64_t increment, int64_t now_ms, int64_t *ttl,
                char *why, size_t whylen)
{
    *ttl = 0;
    if (!t->renewable || t->expires_ms == 0)
        return refuse(why, whylen, "the token is not renewable");
    if (!valid_time(increment))
        return refuse(why, whylen, "the increment is negative or longer than ten years");
    int64_t want = t->period > 0 ? t->period : increment > 0 ? increment : t->issued_ttl;
    int64_t granted = smaller(want, room(t, now_ms));
    if (granted <= 0)
        return refuse(why, whylen, "the token has reached its maximum ttl");
    t->expires_ms = now_ms + granted * 1000;
    t->last_renewal_ms = now_ms;
    int r = token_row_save(v, t);
    if (r == 0)
        *ttl = granted;
    return r;
}

/* --- Showing
 * -------------------------------------------------------------------------------------- */

static int put_stamp(json_t *o, const char *name, int64_t ms)
{
    char stamp[CLOCK_STAMP_LEN];

    clock_stamp(ms, 0, stamp);
    return json_set_str(o, name, ms > 0 ? stamp : NULL);
}

static int put_times(json_t *o, const struct token *t, int64_t now_ms)
{
    int64_t left = t->expires_ms > now_ms ? (t->expires_ms - now_ms) / 1000 : 0;

    int r = json_set_int(o, "creation_time", t->created_ms / 1000);
    if (r == 0)
        r = json_set_int(o, "creation_ttl", t->issued_ttl);
    if (r == 0)
        r = put_stamp(o, "expire_time", t->expires_ms);
    if (r == 0)
        r = json_set_int(o, "explicit_max_ttl", t->explicit_max_ttl);
    if (r == 0)
        r = put_stamp(o, "issue_time", t->created_ms);
    if (r == 0)
        r = json_set_int(o, "ttl", left);
    if (r == 0 && t->period > 0)
        r = json_set_int(o, "period", t->period);
    if (r == 0 && t->last_renewal_ms > 0) {
        r = put_stamp(o, "last_renewal", t->last_renewal_ms);
        if (r == 0)
            r = json_set_int(o, "last_renewal_time", t->last_renewal_ms / 1000);
    }
    return r;
}

json_t *token_to_json(const struct token *t, const char *shown_text, int64_t now_ms)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:I, s:b, s:O, s:O?, s:s, s:s, s:b}", "id",
                          shown_text ? shown_text : "", "accessor", t->accessor, "path", t->path,
                          "display_name", t->display_name, "num_uses", (json_int_t)t->num_uses,
                          "orphan", t->parent[0] == '\0', "policies", t->policies, "meta", t->meta,
                          "entity_id", "", "type", "service", "renewable", (int)t->renewable);

    int r = o ? put_times(o, t, now_ms) : -ENOMEM;
    if (r == 0 && t->has_uid)
        r = json_set_int(o, "bound_uid", t->uid);
    if (r == 0 && t->session[0])
        r = json_set_str(o, "session", t->session);
    if (r < 0) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static int add_accessor(const struct record *rec, void *data)
{
    _cleanup_(token_clear) struct token t = {0};

    int r = token_row_parse(rec, &t);
    if (r == -EBADMSG)
        return RECORD_E_BROKEN;
    if (r == 0 && json_array_append_new(data, json_string(t.accessor)) < 0)
        r = -ENOMEM;
    return r;
}

int token_accessors(struct vault *v, json_t **out)
{
    _cleanup_json_ json_t *list = json_array();

    *out = NULL;
    int r = list ? record_pass(v, RECORD_TOKEN, 0, add_accessor, list, NULL) : -ENOMEM;
    if (r == 0)
        *out = json_incref(list);
    return r;
}
