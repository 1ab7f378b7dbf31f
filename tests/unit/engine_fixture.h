/* What the engines' tests share: one request against a mounted engine, in a turn of its own. */
#ifndef COUNTERSIGN_TESTS_ENGINE_FIXTURE_H
#define COUNTERSIGN_TESTS_ENGINE_FIXTURE_H

#include "vault_fixture.h"

#include "engine/engine.h"

#define ENGINE_NOW INT64_C(1800000000000)
#define ENGINE_SPACE "6f1c2c1e-0d0f-4f5e-9d57-0c3a2f1d9b11"

struct bench {
    struct fixture *f;
    const struct engine *engine;
    struct engine_request r;
    json_t *body, *query;
    char raw[65536];
    int64_t now;
};

static inline int bench_setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    void *f = NULL;
    if (!b || fixture_setup(&f) < 0)
        return -1;
    b->f = f;
    b->now = ENGINE_NOW;
    *state = b;
    return 0;
}

static inline void bench_clear(struct bench *b)
{
    engine_request_clear(&b->r);
    json_decref(b->body);
    json_decref(b->query);
    b->body = b->query = NULL;
    b->r = (struct engine_request){0};
}

static inline int bench_teardown(void **state)
{
    struct bench *b = *state;
    void *f = b->f;
    bench_clear(b);
    free(b);
    return fixture_teardown(&f);
}

#define BENCH_TEST(t) cmocka_unit_test_setup_teardown(t, bench_setup, bench_teardown)

static inline void bench_mount(struct bench *b, const char *type, const char *options)
{
    char why[200];
    json_t *o = NULL;
    b->engine = engine_find(type);
    assert_non_null(b->engine);
    if (options)
        assert_int_equal(json_parse(options, strlen(options), &o, why, sizeof(why)), 0);
    if (b->engine->mounted)
        assert_int_equal(b->engine->mounted(b->f->v, ENGINE_SPACE, o, why, sizeof(why)), 0);
    json_decref(o);
}

/* A new request, as the server makes it. query is "name=value&…" without escapes, or NULL. */
static inline void bench_prepare(struct bench *b, enum engine_op op, const char *path,
                                 const char *query, const char *body)
{
    char why[200];
    bench_clear(b);
    if (body) {
        assert_true(strlen(body) < sizeof(b->raw));
        strcpy(b->raw, body);
        assert_int_equal(json_parse(b->raw, strlen(b->raw), &b->body, why, sizeof(why)), 0);
    } else if (op == ENGINE_WRITE || op == ENGINE_PATCH) {
        b->raw[0] = '\0';
        b->body = json_object();
    }
    if (query) {
        char *copy = strdup(query), *save = NULL;
        b->query = json_object();
        for (char *p = strtok_r(copy, "&", &save); p; p = strtok_r(NULL, "&", &save)) {
            char *eq = strchr(p, '=');
            *eq = '\0';
            assert_int_equal(json_set_str(b->query, p, eq + 1), 0);
        }
        free(copy);
    }
    b->r = (struct engine_request){
        .vault = b->f->v,
        .space = ENGINE_SPACE,
        .mount = "mount/",
        .path = path,
        .op = op,
        .body = b->body,
        .raw = body ? b->raw : "",
        .raw_len = body ? strlen(b->raw) : 0,
        .query = b->query,
        .now_ms = b->now,
        .lease_ms = b->now,
        .principal = "user:alice",
        .lease_id = "mount/creds/ro/abc",
        .raw_data = BUF_INIT(4 * 1024 * 1024),
    };
}

static inline int bench_run(struct bench *b)
{
    assert_int_equal(vault_begin(b->f->v), 0);
    int e = b->engine->handle(&b->r);
    if (e < 0)
        vault_rollback(b->f->v);
    else
        assert_int_equal(vault_commit(b->f->v), 0);
    return e;
}

/* The request as a whole: what handle() returned. */
static inline int bench_do(struct bench *b, enum engine_op op, const char *path, const char *query,
                           const char *body)
{
    bench_prepare(b, op, path, query, body);
    return bench_run(b);
}

/* The status the server would give. */
static inline int bench_status(const struct bench *b)
{
    if (b->r.status)
        return b->r.status;
    return b->r.data || b->r.raw_data.len || b->r.warnings ? 200 : 204;
}

static inline void bench_expect(struct bench *b, int status, enum engine_op op, const char *path,
                                const char *query, const char *body)
{
    int e = bench_do(b, op, path, query, body);
    if (e != ENGINE_DONE || bench_status(b) != status)
        fail_msg("%s: outcome %d, status %d, \"%s\"", path, e, bench_status(b), b->r.error);
}

/* The answer's data as compact JSON text; free it. */
static inline char *bench_data(struct bench *b)
{
    struct buf text = BUF_INIT(1 << 20);
    if (b->r.raw_data.len)
        buf_put(&text, b->r.raw_data.data, b->r.raw_data.len);
    else if (b->r.data)
        json_put(&text, b->r.data);
    else
        buf_puts(&text, "");
    assert_int_equal(buf_error(&text), 0);
    char *out = strdup(buf_str(&text));
    buf_clear(&text);
    return out;
}

static inline void bench_expect_data(struct bench *b, const char *want)
{
    char *have = bench_data(b);
    assert_string_equal(have, want);
    free(have);
}

static inline bool bench_has(struct bench *b, const char *part)
{
    char *have = bench_data(b);
    bool found = strstr(have, part) != NULL;
    free(have);
    return found;
}

static inline bool bench_warned(const struct bench *b, const char *part)
{
    const json_t *one;
    size_t i;
    json_array_foreach(b->r.warnings, i, one)
    {
        if (strstr(json_string_value(one), part))
            return true;
    }
    return false;
}

#endif
