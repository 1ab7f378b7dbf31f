/* JSON merge patch (RFC 7396) on text: what the patch does not touch keeps its very bytes, so that
 * a number like 1.10 is not written anew because its neighbour changed. Both texts have been
 * validated by json_parse(), which also bounds their depth; the reading here relies on that. */
#include <errno.h>
#include <string.h>

#include "engine/kv_inner.h"

struct piece {
    const char *p;
    size_t n;
};

struct member {
    struct piece key; /* with its quotes */
    struct piece value;
    bool used;
};

struct members {
    struct member *v;
    size_t n, cap;
    json_t *index; /* decoded key -> position */
};

static void members_clear(struct members *m)
{
    free(m->v);
    json_decref(m->index);
}

/* --- Reading -------------------------------------------------------------------------------------
 */

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && strchr(" \t\r\n", *p))
        p++;
    return p;
}

static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++) {
        if (*p == '\\')
            p++;
    }
    return p < end ? p + 1 : end;
}

static const char *skip_value(const char *p, const char *end)
{
    size_t depth = 0;
    while (p < end) {
        char c = *p;
        if (c == '"') {
            p = skip_string(p, end);
        } else if (c == '{' || c == '[') {
            depth++;
            p++;
        } else if (depth == 0 && strchr(",]} \t\r\n", c)) {
            return p;
        } else {
            depth -= c == '}' || c == ']';
            p++;
        }
        if (depth == 0 && (c == '"' || c == '}' || c == ']'))
            return p;
    }
    return end;
}

static int note_key(struct members *m, const struct piece *key)
{
    char why[64];
    _cleanup_json_ json_t *text = NULL;
    int e = json_parse(key->p, key->n, &text, why, sizeof(why));
    if (e < 0)
        return e;
    const char *name = json_string_value(text);
    if (!name)
        return -EBADMSG;
    return json_object_set_new(m->index, name, json_integer((json_int_t)m->n)) < 0 ? -ENOMEM : 0;
}

static int add(struct members *m, const struct member *one)
{
    if (m->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 16;
        struct member *more = reallocarray(m->v, cap, sizeof(*more));
        if (!more)
            return -ENOMEM;
        m->v = more;
        m->cap = cap;
    }
    int e = note_key(m, &one->key);
    if (e == 0)
        m->v[m->n++] = *one;
    return e;
}

/* The members of an object's text. */
static int read_members(const struct piece *text, struct members *m)
{
    const char *end = text->p + text->n, *p = skip_space(text->p + 1, end);
    *m = (struct members){.index = json_object()};
    if (!m->index)
        return -ENOMEM;
    while (p < end && *p == '"') {
        struct member one = {.key.p = p};
        p = skip_string(p, end);
        one.key.n = (size_t)(p - one.key.p);
        p = skip_space(p, end);
        if (p >= end || *p != ':')
            return -EBADMSG;
        one.value.p = skip_space(p + 1, end);
        p = skip_value(one.value.p, end);
        one.value.n = (size_t)(p - one.value.p);
        int e = add(m, &one);
        if (e < 0)
            return e;
        p = skip_space(p, end);
        if (p < end && *p == ',')
            p = skip_space(p + 1, end);
    }
    return p < end && *p == '}' ? 0 : -EBADMSG;
}

/* --- Writing -------------------------------------------------------------------------------------
 */

static bool is_object(const struct piece *v)
{
    return v->n > 0 && v->p[0] == '{';
}

static bool is_null(const struct piece *v)
{
    return v->n == 4 && memcmp(v->p, "null", 4) == 0;
}

static int merge(const struct piece *old, const struct piece *patch, struct buf *out);

/* old may be NULL. */
static int put_member(struct buf *out, const struct piece *key, const struct piece *old,
                      const struct piece *patch)
{
    static const struct piece nothing = {"{}", 2};
    if (out->len && out->data[out->len - 1] != '{')
        buf_putc(out, ',');
    buf_put(out, key->p, key->n);
    buf_putc(out, ':');
    if (patch && is_object(patch))
        return merge(old && is_object(old) ? old : &nothing, patch, out);
    const struct piece *value = patch ? patch : old;
    buf_put(out, value->p, value->n);
    return buf_error(out);
}

static int put_members(struct members *old, struct members *patch, struct buf *out)
{
    const char *name;
    json_t *at;
    json_object_foreach(old->index, name, at)
    {
        const struct member *m = &old->v[json_integer_value(at)];
        const json_t *there = json_object_get(patch->index, name);
        struct member *change = there ? &patch->v[json_integer_value(there)] : NULL;
        if (change)
            change->used = true;
        int e = change && is_null(&change->value)
                    ? 0
                    : put_member(out, &m->key, &m->value, change ? &change->value : NULL);
        if (e < 0)
            return e;
    }
    for (size_t i = 0; i < patch->n; i++) {
        const struct member *m = &patch->v[i];
        int e = m->used || is_null(&m->value) ? 0 : put_member(out, &m->key, NULL, &m->value);
        if (e < 0)
            return e;
    }
    return 0;
}

static int merge(const struct piece *old, const struct piece *patch, struct buf *out)
{
    _cleanup_(members_clear) struct members have = {0}, change = {0};
    int e = read_members(old, &have);
    if (e == 0)
        e = read_members(patch, &change);
    buf_putc(out, '{');
    if (e == 0)
        e = put_members(&have, &change, out);
    buf_putc(out, '}');
    return e < 0 ? e : buf_error(out);
}

int kv_merge(const char *old, size_t old_len, const char *patch, size_t patch_len, struct buf *out)
{
    const struct piece a = {old, old_len}, b = {patch, patch_len};
    return is_object(&a) && is_object(&b) ? merge(&a, &b, out) : -EINVAL;
}
