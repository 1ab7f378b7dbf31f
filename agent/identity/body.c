#include "identity/body.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int put_one(json_t *o, const struct body_field *f, const void *at)
{
    int64_t i64;
    int32_t i32;
    uint32_t u32;
    bool yes;

    switch (f->kind) {
    case BODY_TEXT:
        return strnlen(at, f->size) < f->size ? json_set_str(o, f->name, at) : -EINVAL;
    case BODY_I64:
        memcpy(&i64, at, sizeof(i64));
        return json_set_int(o, f->name, i64);
    case BODY_I32:
        memcpy(&i32, at, sizeof(i32));
        return json_set_int(o, f->name, i32);
    case BODY_U32:
        memcpy(&u32, at, sizeof(u32));
        return json_set_int(o, f->name, u32);
    case BODY_BOOL:
        memcpy(&yes, at, sizeof(yes));
        return json_set_bool(o, f->name, yes);
    }
    return -EINVAL;
}

int body_put(json_t *o, const struct body_field *fields, const void *s)
{
    int r = 0;

    for (const struct body_field *f = fields; r == 0 && f->name; f++)
        r = put_one(o, f, (const char *)s + f->offset);
    return r;
}

static int get_text(const struct body_field *f, const json_t *value, void *at)
{
    const char *text = json_string_value(value);

    if (!text || json_string_length(value) >= f->size)
        return -EBADMSG;
    memset(at, 0, f->size);
    memcpy(at, text, json_string_length(value));
    return 0;
}

static int get_number(const struct body_field *f, const json_t *value, void *at)
{
    if (!json_is_integer(value))
        return -EBADMSG;
    int64_t n = json_integer_value(value);
    int32_t i32 = (int32_t)n;
    uint32_t u32 = (uint32_t)n;
    if (f->kind == BODY_I64)
        memcpy(at, &n, sizeof(n));
    else if (f->kind == BODY_I32 && i32 == n)
        memcpy(at, &i32, sizeof(i32));
    else if (f->kind == BODY_U32 && u32 == n)
        memcpy(at, &u32, sizeof(u32));
    else
        return -EBADMSG;
    return 0;
}

static int get_one(const struct body_field *f, const json_t *value, void *at)
{
    bool yes = json_is_true(value);

    if (f->kind == BODY_TEXT)
        return get_text(f, value, at);
    if (f->kind != BODY_BOOL)
        return get_number(f, value, at);
    if (!json_is_boolean(value))
        return -EBADMSG;
    memcpy(at, &yes, sizeof(yes));
    return 0;
}

int body_get(const json_t *o, const struct body_field *fields, void *s)
{
    int r = 0;

    for (const struct body_field *f = fields; r == 0 && f->name; f++)
        r = get_one(f, json_object_get(o, f->name), (char *)s + f->offset);
    return r;
}

int body_save(struct vault *v, enum record_table t, const struct record *r, const json_t *o)
{
    _cleanup_buf_ struct buf text = BUF_INIT(RECORD_BODY_MAX);
    struct record full = *r;

    json_put(&text, o);
    if (buf_error(&text) < 0)
        return buf_error(&text);
    full.body = buf_str(&text);
    full.body_len = text.len;
    return record_put(v, t, &full);
}

int body_parse(const struct record *r, json_t **out)
{
    char why[96];

    return json_parse(r->body, r->body_len, out, why, sizeof(why));
}

int body_id(char *out, size_t size, const char *const *parts, size_t n)
{
    size_t used = 0;

    for (size_t i = 0; i < n; i++) {
        const char *part = parts[i] ? parts[i] : "";
        int len = snprintf(out + used, size - used, "%zu:%s", strnlen(part, size), part);
        if (len < 0 || (size_t)len >= size - used)
            return -EINVAL;
        used += (size_t)len;
    }
    return 0;
}
