#include "connector/frame.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ROLE(name_, required_)                                                                     \
    {                                                                                              \
        name_, JSON_KIND_STRING, required_, 1, CONNECTOR_ROLE_MAX                                  \
    }
#define COMMON                                                                                     \
    {"id", JSON_KIND_INT, true, 0, INT64_MAX}, {"op", JSON_KIND_STRING, true, 0, 16},              \
        {"timeout_ms", JSON_KIND_INT, false, 1, FRAME_TIMEOUT_MAX_MS},                             \
    {                                                                                              \
        "db", JSON_KIND_OBJECT, true, 0, 0                                                         \
    }
#define STATEMENTS                                                                                 \
    {                                                                                              \
        "statements", JSON_KIND_STATEMENTS, false, 0, FRAME_STATEMENTS_MAX                         \
    }
#define GROUPS                                                                                     \
    {                                                                                              \
        "groups", JSON_KIND_STRINGS, false, 0, FRAME_GROUPS_MAX                                    \
    }
#define CLAIM                                                                                      \
    {                                                                                              \
        "claim", JSON_KIND_OBJECT, false, 0, 0                                                     \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, JSON_KIND_ANY, false, 0, 0                                                           \
    }

static const struct json_field db_fields[] = {
    {"name", JSON_KIND_STRING, true, 0, 256},
    {"url", JSON_KIND_STRING, true, 0, 4096},
    {"username", JSON_KIND_STRING, false, 0, 256},
    {"password", JSON_KIND_STRING, false, 0, 4096},
    END,
};
static const struct json_field check_fields[] = {COMMON, GROUPS, END};
static const struct json_field create_fields[] = {
    COMMON,
    ROLE("role", true),
    {"verifier", JSON_KIND_STRING, true, 0, 256},
    {"expires", JSON_KIND_INT, true, 1, FRAME_EXPIRES_MAX},
    GROUPS,
    {"connection_limit", JSON_KIND_INT, false, -1, INT32_MAX},
    {"comment", JSON_KIND_STRING, true, 0, 1024},
    STATEMENTS,
    CLAIM,
    END,
};
static const struct json_field renew_fields[] = {
    COMMON,
    ROLE("role", true),
    {"expires", JSON_KIND_INT, true, 1, FRAME_EXPIRES_MAX},
    STATEMENTS,
    CLAIM,
    END,
};
static const struct json_field revoke_fields[] = {COMMON, ROLE("role", true), STATEMENTS, CLAIM,
                                                  END};
static const struct json_field sweep_fields[] = {
    COMMON,
    {"instance", JSON_KIND_STRING, true, 0, 36},
    {"after", JSON_KIND_STRING, false, 0, CONNECTOR_ROLE_MAX},
    {"limit", JSON_KIND_INT, false, 1, FRAME_SWEEP_MAX},
    CLAIM,
    END,
};
static const struct json_field forget_fields[] = {COMMON, END};
static const struct json_field claim_fields[] = {
    ROLE("marker", true),
    {"next", JSON_KIND_STRING, true, CONNECTOR_CLAIM_LEN, CONNECTOR_CLAIM_LEN},
    {"known", JSON_KIND_STRINGS, true, 0, CONNECTOR_CLAIMS_MAX},
    {"by", JSON_KIND_STRING, true, 0, 256},
    {"take", JSON_KIND_BOOL, true, 0, 0},
    END,
};

static const struct {
    const char *name;
    const struct json_field *fields;
} ops[FRAME_OPS] = {
    [FRAME_CHECK] = {"check", check_fields}, [FRAME_CREATE] = {"create", create_fields},
    [FRAME_RENEW] = {"renew", renew_fields}, [FRAME_REVOKE] = {"revoke", revoke_fields},
    [FRAME_SWEEP] = {"sweep", sweep_fields}, [FRAME_FORGET] = {"forget", forget_fields},
};

/* Types the schema would bend (a decimal string into a number, a comma list into an array) come
 * from people; what the agent sends is exact, so anything else is a fault to be told. */
static bool exact_types(const json_t *body, const struct json_field *fields)
{
    for (; fields->name; fields++) {
        const json_t *v = json_object_get(body, fields->name);
        bool list = fields->kind == JSON_KIND_STRINGS || fields->kind == JSON_KIND_STATEMENTS;

        if (v && !json_is_null(v) &&
            ((fields->kind == JSON_KIND_INT && !json_is_integer(v)) ||
             (fields->kind == JSON_KIND_STRING && !json_is_string(v)) ||
             (list && !json_is_array(v))))
            return false;
    }
    return true;
}

static bool within(const char *s, const char *letters, size_t least, size_t most)
{
    size_t n = strlen(s);

    return n >= least && n <= most && strspn(s, letters) == n;
}

/* A clear password must never pass as a verifier: the server would take and log it. */
static bool is_verifier(const char *s)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=$:-";

    return strncmp(s, "SCRAM-SHA-256$", 14) == 0 && within(s, letters, 100, 256);
}

static bool is_uuid(const char *s)
{
    return within(s, "0123456789abcdef-", 36, 36);
}

static bool names_fit(const json_t *list)
{
    const json_t *item;
    size_t i;

    json_array_foreach(list, i, item)
    {
        size_t n = json_string_length(item);

        if (n == 0 || n > CONNECTOR_ROLE_MAX)
            return false;
    }
    return true;
}

static bool is_token(const char *s)
{
    return within(s, "0123456789abcdef", CONNECTOR_CLAIM_LEN, CONNECTOR_CLAIM_LEN);
}

static bool claim_fits(const json_t *claim)
{
    const json_t *one;
    size_t i;

    if (!claim)
        return true;
    if (!is_token(json_str_or(claim, "next", "")))
        return false;
    json_array_foreach(json_object_get(claim, "known"), i, one)
    {
        if (!is_token(json_string_value(one)))
            return false;
    }
    return true;
}

/* What a schema can't say. NULL, or what is wrong. */
static const char *deeper_fault(const struct frame *f)
{
    const char *role = json_str(f->body, "role");

    if (role && *role == '\0')
        return "role is empty";
    if (!names_fit(json_object_get(f->body, "groups")))
        return "groups: a name has 1 to 63 bytes";
    if (f->op == FRAME_CREATE && !is_verifier(json_str_or(f->body, "verifier", "")))
        return "verifier is not a SCRAM-SHA-256 verifier";
    if (f->op == FRAME_SWEEP && !is_uuid(json_str_or(f->body, "instance", "")))
        return "instance is not a UUID";
    if (!claim_fits(json_object_get(f->body, "claim")))
        return "claim: a token is 16 lower-case hex digits";
    return NULL;
}

static int check_body(struct frame *f, char *why, size_t whylen)
{
    json_t *db = json_object_get(f->body, "db"), *claim = json_object_get(f->body, "claim");
    const char *fault;
    int r;

    if (!exact_types(f->body, ops[f->op].fields) || !json_is_object(db) ||
        !exact_types(db, db_fields) ||
        (claim && (!json_is_object(claim) || !exact_types(claim, claim_fields)))) {
        (void)snprintf(why, whylen, "a field is of the wrong type, or db is missing");
        return -EINVAL;
    }
    r = json_check(f->body, ops[f->op].fields, true, why, whylen);
    if (r == 0)
        r = json_check(db, db_fields, true, why, whylen);
    if (r == 0 && claim)
        r = json_check(claim, claim_fields, true, why, whylen);
    if (r < 0)
        return r;
    fault = deeper_fault(f);
    if (!fault)
        return 0;
    (void)snprintf(why, whylen, "%s", fault);
    return -EINVAL;
}

static int find_op(const json_t *name, enum frame_op *op)
{
    const char *s = json_string_value(name);

    for (size_t i = 0; s && i < FRAME_OPS; i++) {
        if (strcmp(s, ops[i].name) == 0) {
            *op = (enum frame_op)i;
            return 0;
        }
    }
    return -EINVAL;
}

int frame_read(const char *text, size_t n, struct frame *out, char *why, size_t whylen)
{
    struct frame f = {0};
    const json_t *id;
    int r;

    *out = (struct frame){0};
    why[0] = '\0';
    r = json_parse(text, n, &f.body, why, whylen);
    if (r < 0)
        return r;
    id = json_object_get(f.body, "id");
    if (!json_is_integer(id) || json_integer_value(id) < 0) {
        frame_clear(&f);
        return -EBADMSG;
    }
    f.id = json_integer_value(id);
    out->id = f.id;
    if (find_op(json_object_get(f.body, "op"), &f.op) < 0) {
        (void)snprintf(why, whylen, "unknown op");
        r = -EINVAL;
    } else {
        r = check_body(&f, why, whylen);
    }
    if (r < 0) {
        frame_clear(&f);
        return r == -EINVAL ? FRAME_INVALID : r;
    }
    f.timeout_ms = json_int(f.body, "timeout_ms", FRAME_TIMEOUT_MS);
    *out = f;
    return 0;
}

void frame_clear(struct frame *f)
{
    json_decref(f->body);
    *f = (struct frame){0};
}

static int put(struct buf *out, json_t *frame)
{
    if (!frame)
        return -ENOMEM;
    json_put(out, frame);
    json_decref(frame);
    return buf_error(out);
}

int frame_hello(struct buf *out)
{
    return put(out, json_pack("{s:i, s:s}", "hello", CONNECTOR_VERSION, "program",
                              "countersign-connector " COUNTERSIGN_VERSION));
}

int frame_success(int64_t id, json_t *fields, struct buf *out)
{
    json_t *frame = json_pack("{s:I, s:b}", "id", (json_int_t)id, "ok", 1);

    if (frame && fields && json_object_update(frame, fields) < 0) {
        json_decref(frame);
        frame = NULL;
    }
    return put(out, frame);
}

int frame_failure(int64_t id, const struct failure *why, json_t *objects, struct buf *out)
{
    json_t *frame = json_pack("{s:I, s:b, s:s, s:s}", "id", (json_int_t)id, "ok", 0, "kind",
                              why->kind, "message", why->message);

    if (frame && ((why->sqlstate[0] && json_set_str(frame, "sqlstate", why->sqlstate) < 0) ||
                  (objects && json_object_set(frame, "objects", objects) < 0))) {
        json_decref(frame);
        frame = NULL;
    }
    return put(out, frame);
}
