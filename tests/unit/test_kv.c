/* The key/value engine, both versions, as Vault's clients see it. */
#include "engine_fixture.h"

#define READ(b, status, path, query) bench_expect(b, status, ENGINE_READ, path, query, NULL)
#define WRITE(b, status, path, body) bench_expect(b, status, ENGINE_WRITE, path, NULL, body)
#define PATCH(b, status, path, body) bench_expect(b, status, ENGINE_PATCH, path, NULL, body)
#define DELETE(b, status, path) bench_expect(b, status, ENGINE_DELETE, path, NULL, NULL)
#define LIST(b, status, path) bench_expect(b, status, ENGINE_LIST, path, NULL, NULL)

static struct bench *mounted(void **state)
{
    struct bench *b = *state;
    bench_mount(b, "kv", "{\"version\":\"2\"}");
    return b;
}

static int64_t answered_version(struct bench *b)
{
    return json_int(b->r.data, "version", -1);
}

/* The mount's option chooses the version; nonsense is refused; the default is 1, as Vault's. */
static void test_mount_versions(void **state)
{
    struct bench *b = *state;
    char why[200] = "";
    const struct engine *kv = engine_find("kv");
    json_t *o = json_pack("{s:s}", "version", "3");
    assert_int_equal(kv->mounted(b->f->v, ENGINE_SPACE, o, why, sizeof(why)), -EINVAL);
    assert_true(why[0]);
    json_decref(o);
    bench_mount(b, "kv", NULL);
    WRITE(b, 204, "config", "{\"a\":1}"); /* a plain path in version 1 */
    READ(b, 200, "config", NULL);
    bench_expect_data(b, "{\"a\":1}");
    bench_mount(b, "kv", "{\"version\":2}");
    READ(b, 200, "config", NULL);
    assert_true(bench_has(b, "cas_required"));
    assert_null(engine_find("kv-v2"));
    assert_non_null(engine_find("database"));
    assert_ptr_equal(engine_all()[0], kv);
}

/* Version 1: the body's bytes come back as they were sent. */
static void test_v1(void **state)
{
    struct bench *b = *state;
    static const char body[] =
        "{ \"price\": 1.10, \"big\":9223372036854775807, \"u\":\"\\u00e9\" }";
    bench_mount(b, "kv", "{\"version\":\"1\"}");
    READ(b, 404, "a/b", NULL);
    assert_string_equal(b->r.error, "");
    WRITE(b, 400, "a/b", NULL);
    WRITE(b, 400, "a/b", "{}");
    assert_string_equal(b->r.error, "missing data fields");
    WRITE(b, 204, "a/b", body);
    READ(b, 200, "a/b", NULL);
    bench_expect_data(b, body);
    LIST(b, 200, "");
    bench_expect_data(b, "{\"keys\":[\"a/\"]}");
    LIST(b, 200, "a/");
    bench_expect_data(b, "{\"keys\":[\"b\"]}");
    LIST(b, 404, "a/b/");
    DELETE(b, 204, "a/b");
    DELETE(b, 204, "a/b");
    READ(b, 404, "a/b", NULL);
    PATCH(b, 405, "a/b", "{\"a\":1}");
    WRITE(b, 400, "a/", "{\"a\":1}");
    READ(b, 404, "a/", NULL);
}

/* Data come back byte for byte: number formats, escapes, order and spaces are the writer's own. */
static void test_exact_bytes(void **state)
{
    struct bench *b = mounted(state);
    static const char data[] = "{\"z\" : 1.10,\n\"a\":9223372036854775807, \"e\":1E5, "
                               "\"u\":\"\\u00fc\\/\", \"n\":{\"data\":null}}";
    char body[512], want[600];
    snprintf(body, sizeof(body), "{\"options\":{}, \"data\":  %s }", data);
    WRITE(b, 200, "data/app", body);
    READ(b, 200, "data/app", NULL);
    snprintf(want, sizeof(want), "{\"data\":%s,\"metadata\":", data);
    assert_true(bench_has(b, want));
    fixture_reopen(b->f);
    READ(b, 200, "data/app", NULL);
    assert_true(bench_has(b, want));
}

/* The shape of answers to writing and reading, field by field. */
static void test_answers(void **state)
{
    struct bench *b = mounted(state);
    READ(b, 404, "data/app", NULL);
    assert_null(b->r.data);
    WRITE(b, 200, "data/app", "{\"data\":{\"k\":\"v\"}}");
    bench_expect_data(b, "{\"created_time\":\"2027-01-15T08:00:00.000Z\",\"custom_metadata\":null,"
                         "\"deletion_time\":\"\",\"destroyed\":false,\"version\":1}");
    READ(b, 200, "data/app", NULL);
    bench_expect_data(
        b, "{\"data\":{\"k\":\"v\"},\"metadata\":{\"created_time\":"
           "\"2027-01-15T08:00:00.000Z\",\"custom_metadata\":null,\"deletion_time\":\"\","
           "\"destroyed\":false,\"version\":1}}");
    READ(b, 200, "metadata/app", NULL);
    bench_expect_data(
        b, "{\"cas_required\":false,\"created_time\":\"2027-01-15T08:00:00.000Z\","
           "\"current_version\":1,\"custom_metadata\":null,\"delete_version_after\":\"0s\","
           "\"max_versions\":0,\"oldest_version\":0,\"updated_time\":\"2027-01-15T08:00:00.000Z\","
           "\"versions\":{\"1\":{\"created_time\":\"2027-01-15T08:00:00.000Z\","
           "\"deletion_time\":\"\",\"destroyed\":false}}}");
}

/* Writing without data, or with something else in its place, is refused with Vault's words. */
static void test_bad_writes(void **state)
{
    struct bench *b = mounted(state);
    static const char *const bodies[] = {"{}", "{\"data\":null}", "{\"k\":\"v\"}"};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        WRITE(b, 400, "data/app", bodies[i]);
        assert_string_equal(b->r.error, "no data provided");
    }
    WRITE(b, 400, "data/app", "{\"data\":\"text\"}");
    WRITE(b, 400, "data/app", "{\"data\":[1]}");
    WRITE(b, 400, "data/app", "{\"data\":{},\"options\":[]}");
    WRITE(b, 400, "data/", "{\"data\":{}}");
    WRITE(b, 400, "data/a/", "{\"data\":{}}");
    WRITE(b, 404, "elsewhere/a", "{\"data\":{}}");
    bench_expect(b, 405, ENGINE_LIST, "data/", NULL, NULL);
    READ(b, 405, "delete/a", NULL);
    DELETE(b, 405, "config");
    char path[1200] = "data/";
    memset(path + 5, 'x', 1001);
    path[5 + 1001] = '\0';
    WRITE(b, 400, path, "{\"data\":{}}");
    path[5 + 1000] = '\0';
    WRITE(b, 200, path, "{\"data\":{}}");
    READ(b, 200, path, NULL);
    READ(b, 404, "metadata/app", NULL); /* nothing of the refused was written */
}

/* Versions are kept and read by number; 0 is the current one. */
static void test_versions(void **state)
{
    struct bench *b = mounted(state);
    WRITE(b, 200, "data/app", "{\"data\":{\"n\":1}}");
    WRITE(b, 200, "data/app", "{\"data\":{\"n\":2}}");
    assert_int_equal(answered_version(b), 2);
    READ(b, 200, "data/app", "version=1");
    assert_true(bench_has(b, "{\"n\":1}") && bench_has(b, "\"version\":1}"));
    READ(b, 200, "data/app", "version=0");
    assert_true(bench_has(b, "{\"n\":2}"));
    READ(b, 404, "data/app", "version=3");
    assert_null(b->r.data);
    READ(b, 404, "data/app", "version=99999999999999");
    static const char *const bad[] = {"version=x", "version=-1", "version=1x", "version= 1",
                                      "version=99999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        READ(b, 400, "data/app", bad[i]);
}

/* Check-and-set: 0 only creates, n only follows n; a required one must be given. */
static void test_cas(void **state)
{
    struct bench *b = mounted(state);
    static const char mismatch[] = "check-and-set parameter did not match the current version";
    WRITE(b, 400, "data/app", "{\"data\":{},\"options\":{\"cas\":1}}");
    assert_string_equal(b->r.error, mismatch);
    WRITE(b, 200, "data/app", "{\"data\":{},\"options\":{\"cas\":0}}");
    WRITE(b, 400, "data/app", "{\"data\":{},\"options\":{\"cas\":0}}");
    assert_string_equal(b->r.error, mismatch);
    WRITE(b, 200, "data/app", "{\"data\":{},\"options\":{\"cas\":\"1\"}}");
    assert_int_equal(answered_version(b), 2);
    WRITE(b, 400, "data/app", "{\"data\":{},\"options\":{\"cas\":-1}}");
    WRITE(b, 400, "data/app", "{\"data\":{},\"options\":{\"cas\":\"x\"}}");
    WRITE(b, 400, "data/app", "{\"data\":{},\"options\":{\"cas\":1.5}}");
    WRITE(b, 204, "metadata/app", "{\"cas_required\":true}");
    WRITE(b, 400, "data/app", "{\"data\":{}}");
    assert_string_equal(b->r.error, "check-and-set parameter required for this call");
    WRITE(b, 200, "data/app", "{\"data\":{},\"options\":{\"cas\":2}}");
    WRITE(b, 204, "config", "{\"cas_required\":true}");
    WRITE(b, 400, "data/other", "{\"data\":{}}");
    WRITE(b, 200, "data/other", "{\"data\":{},\"options\":{\"cas\":0}}");
}

/* Deleted versions answer 404 with their metadata, and come back by undelete; destroyed ones don't.
 */
static void test_delete_undelete_destroy(void **state)
{
    struct bench *b = mounted(state);
    WRITE(b, 200, "data/app", "{\"data\":{\"n\":1}}");
    WRITE(b, 200, "data/app", "{\"data\":{\"n\":2}}");
    b->now += 1000;
    DELETE(b, 204, "data/app");
    READ(b, 404, "data/app", NULL);
    bench_expect_data(b, "{\"data\":null,\"metadata\":{\"created_time\":"
                         "\"2027-01-15T08:00:00.000Z\",\"custom_metadata\":null,\"deletion_time\":"
                         "\"2027-01-15T08:00:01.000Z\",\"destroyed\":false,\"version\":2}}");
    b->now += 1000;
    DELETE(b, 204, "data/app"); /* again: its time stays */
    READ(b, 404, "data/app", NULL);
    assert_true(bench_has(b, "08:00:01"));
    READ(b, 200, "data/app", "version=1");
    WRITE(b, 204, "undelete/app", "{\"versions\":[2]}");
    READ(b, 200, "data/app", NULL);
    WRITE(b, 204, "delete/app", "{\"versions\":[\"1\",2]}");
    READ(b, 404, "data/app", "version=1");
    READ(b, 404, "data/app", "version=2");
    WRITE(b, 204, "undelete/app", "{\"versions\":\"1,2\"}");
    READ(b, 200, "data/app", "version=1");
    WRITE(b, 204, "destroy/app", "{\"versions\":2}");
    READ(b, 404, "data/app", NULL);
    assert_true(bench_has(b, "\"destroyed\":true"));
    WRITE(b, 204, "undelete/app", "{\"versions\":[2]}");
    READ(b, 404, "data/app", NULL);
    READ(b, 200, "data/app", "version=1");
    DELETE(b, 204, "data/nothing");
    WRITE(b, 204, "delete/nothing", "{\"versions\":[1]}");
    WRITE(b, 204, "destroy/app", "{\"versions\":[77]}");
    READ(b, 404, "metadata/nothing", NULL);
}

/* "versions" in any of Vault's forms, and nothing else. */
static void test_bad_versions(void **state)
{
    struct bench *b = mounted(state);
    static const char *const bad[] = {
        "{\"versions\":\"x\"}", "{\"versions\":[-1]}",
        "{\"versions\":[1.5]}", "{\"versions\":[\"1,\"]}",
        "{\"versions\":\"\"}",  "{\"versions\":{\"1\":1}}",
        "{\"versions\":[[1]]}", "{\"versions\":[\"99999999999999999999\"]}",
        "{\"versions\":[true]}"};
    static const char *const ops[] = {"delete/app", "undelete/app", "destroy/app"};
    WRITE(b, 200, "data/app", "{\"data\":{\"n\":1}}");
    for (size_t o = 0; o < ARRAY_LEN(ops); o++) {
        for (size_t i = 0; i < ARRAY_LEN(bad); i++)
            WRITE(b, 400, ops[o], bad[i]);
        WRITE(b, 400, ops[o], "{}");
        assert_string_equal(b->r.error, "No version number provided");
        WRITE(b, 400, ops[o], "{\"versions\":[]}");
    }
    char many[8000] = "{\"versions\":\"1";
    for (int i = 0; i < 1024; i++)
        strcat(many, ",1");
    strcat(many, "\"}");
    WRITE(b, 400, "destroy/app", many);
    READ(b, 200, "data/app", NULL);
}

/* Only so many versions are kept: by the key, else by the mount, else ten. */
static void test_max_versions(void **state)
{
    struct bench *b = mounted(state);
    for (int i = 0; i < 12; i++)
        WRITE(b, 200, "data/ten", "{\"data\":{}}");
    READ(b, 404, "data/ten", "version=2");
    assert_null(b->r.data); /* not even metadata are left */
    READ(b, 200, "data/ten", "version=3");
    READ(b, 200, "metadata/ten", NULL);
    assert_int_equal(json_int(b->r.data, "oldest_version", 0), 3);
    assert_int_equal(json_object_size(json_object_get(b->r.data, "versions")), 10);
    WRITE(b, 204, "config", "{\"max_versions\":2}");
    WRITE(b, 200, "data/ten", "{\"data\":{}}");
    READ(b, 200, "metadata/ten", NULL);
    assert_int_equal(json_object_size(json_object_get(b->r.data, "versions")), 2);
    WRITE(b, 204, "metadata/one", "{\"max_versions\":1}");
    WRITE(b, 200, "data/one", "{\"data\":{\"n\":1}}");
    WRITE(b, 200, "data/one", "{\"data\":{\"n\":2}}");
    READ(b, 404, "data/one", "version=1");
    READ(b, 200, "data/one", NULL);
    WRITE(b, 400, "metadata/one", "{\"max_versions\":-1}");
    WRITE(b, 400, "config", "{\"max_versions\":100000}");
}

/* Versions that delete themselves are gone at their time, and say beforehand when that is. */
static void test_delete_version_after(void **state)
{
    struct bench *b = mounted(state);
    WRITE(b, 204, "metadata/app", "{\"delete_version_after\":\"1h30m5s\"}");
    WRITE(b, 200, "data/app", "{\"data\":{\"n\":1}}");
    assert_true(bench_has(b, "\"deletion_time\":\"2027-01-15T09:30:05.000Z\""));
    READ(b, 200, "metadata/app", NULL);
    assert_string_equal(json_str(b->r.data, "delete_version_after"), "1h30m5s");
    b->now += 5404 * 1000;
    READ(b, 200, "data/app", NULL);
    b->now += 1000;
    READ(b, 404, "data/app", NULL);
    assert_true(bench_has(b, "\"version\":1"));
    WRITE(b, 204, "undelete/app", "{\"versions\":[1]}");
    READ(b, 200, "data/app", NULL);
}

/* Metadata: made before any version, changed, shown with the data, deleted with everything. */
static void test_metadata(void **state)
{
    struct bench *b = mounted(state);
    WRITE(b, 204, "metadata/app", "{\"custom_metadata\":{\"owner\":\"ann\",\"tier\":\"1\"}}");
    READ(b, 404, "data/app", NULL);
    WRITE(b, 200, "data/app", "{\"data\":{\"n\":1}}");
    assert_true(bench_has(b, "\"custom_metadata\":{\"owner\":\"ann\",\"tier\":\"1\"}"));
    PATCH(b, 204, "metadata/app", "{\"custom_metadata\":{\"tier\":null,\"x\":\"y\"}}");
    READ(b, 200, "metadata/app", NULL);
    assert_true(bench_has(b, "\"custom_metadata\":{\"owner\":\"ann\",\"x\":\"y\"}"));
    WRITE(b, 204, "metadata/app", "{\"custom_metadata\":{\"z\":\"1\"}}");
    READ(b, 200, "metadata/app", NULL);
    assert_true(bench_has(b, "\"custom_metadata\":{\"z\":\"1\"}"));
    PATCH(b, 404, "metadata/none", "{\"max_versions\":1}");
    WRITE(b, 400, "metadata/app", "{\"custom_metadata\":{\"a\":1}}");
    WRITE(b, 400, "metadata/app", "{\"custom_metadata\":{\"\":\"x\"}}");
    WRITE(b, 400, "metadata/app", "{\"custom_metadata\":{\"a\":null}}");
    WRITE(b, 400, "metadata/app", "{\"custom_metadata\":\"text\"}");
    DELETE(b, 204, "metadata/app");
    DELETE(b, 204, "metadata/app");
    READ(b, 404, "metadata/app", NULL);
    READ(b, 404, "data/app", NULL);
    assert_null(b->r.data);
    WRITE(b, 200, "data/app", "{\"data\":{\"n\":2}}");
    assert_int_equal(answered_version(b), 1); /* nothing is left of the first life */
    READ(b, 200, "data/app", NULL);
    assert_true(bench_has(b, "{\"n\":2}"));
}

/* Patched metadata may not grow beyond what writing allows. */
static void test_custom_metadata_bound(void **state)
{
    struct bench *b = mounted(state);
    char body[128];
    WRITE(b, 204, "metadata/app", NULL);
    for (int i = 0; i < 64; i++) {
        snprintf(body, sizeof(body), "{\"custom_metadata\":{\"k%d\":\"v\"}}", i);
        PATCH(b, 204, "metadata/app", body);
    }
    PATCH(b, 400, "metadata/app", "{\"custom_metadata\":{\"one\":\"more\"}}");
    PATCH(b, 204, "metadata/app", "{\"custom_metadata\":{\"one\":\"more\",\"k0\":null}}");
}

/* Listing shows names and folders, in order, page by page; data/ can't be listed. */
static void test_list(void **state)
{
    struct bench *b = mounted(state);
    LIST(b, 404, "metadata/");
    assert_string_equal(b->r.error, "");
    static const char *const keys[] = {"data/b", "data/a", "data/a/x", "data/c/d/e"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        WRITE(b, 200, keys[i], "{\"data\":{}}");
    LIST(b, 200, "metadata/");
    bench_expect_data(b, "{\"keys\":[\"a\",\"a/\",\"b\",\"c/\"]}");
    LIST(b, 200, "metadata/c/d/");
    bench_expect_data(b, "{\"keys\":[\"e\"]}");
    LIST(b, 404, "metadata/nothing/");
    bench_expect(b, 200, ENGINE_LIST, "metadata/", "after=a&limit=2", NULL);
    bench_expect_data(b, "{\"keys\":[\"a/\",\"b\"]}");
    bench_expect(b, 400, ENGINE_LIST, "metadata/", "limit=x", NULL);
    LIST(b, 405, "data/");
    DELETE(b, 204, "data/b"); /* a soft deletion leaves the name */
    LIST(b, 200, "metadata/");
    assert_true(bench_has(b, "\"b\""));
    DELETE(b, 204, "metadata/b");
    LIST(b, 200, "metadata/");
    assert_false(bench_has(b, "\"b\""));
}

/* A key and a folder of the same name, and numbers as names, don't get into each other's way. */
static void test_names(void **state)
{
    struct bench *b = mounted(state);
    static const char *const keys[] = {"data/a",   "data/a/1",    "data/a/1/1",     "data/v",
                                       "data/m/a", "data/config", "data/metadata/a"};
    char body[64], want[64];
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        snprintf(body, sizeof(body), "{\"data\":{\"n\":%zu}}", i);
        WRITE(b, 200, keys[i], body);
    }
    DELETE(b, 204, "metadata/a");
    for (size_t i = 1; i < ARRAY_LEN(keys); i++) {
        READ(b, 200, keys[i], NULL);
        snprintf(want, sizeof(want), "{\"data\":{\"n\":%zu}", i);
        assert_true(bench_has(b, want));
    }
}

/* PATCH is RFC 7396 on the current version, which must be there; cas holds here, too. */
static void test_patch(void **state)
{
    struct bench *b = mounted(state);
    PATCH(b, 404, "data/app", "{\"data\":{\"a\":1}}");
    WRITE(b, 200, "data/app", "{\"data\":{\"a\":1,\"b\":{\"c\":2,\"d\":3},\"e\":[1,2]}}");
    PATCH(b, 200, "data/app",
          "{\"data\":{\"a\":null,\"b\":{\"c\":null,\"x\":{\"y\":null,\"z\":1}},\"e\":\"t\"}}");
    assert_int_equal(answered_version(b), 2);
    READ(b, 200, "data/app", NULL);
    assert_true(bench_has(b, "{\"data\":{\"b\":{\"d\":3,\"x\":{\"z\":1}},\"e\":\"t\"},"));
    PATCH(b, 400, "data/app", "{}");
    PATCH(b, 400, "data/app", "{\"data\":{\"a\":1},\"options\":{\"cas\":1}}");
    PATCH(b, 200, "data/app", "{\"data\":{\"a\":1},\"options\":{\"cas\":2}}");
    DELETE(b, 204, "data/app");
    PATCH(b, 404, "data/app", "{\"data\":{\"a\":1}}");
    assert_true(bench_has(b, "\"version\":3"));
}

/* A patch leaves the bytes of what it does not touch, however they are written. */
static void test_patch_exact(void **state)
{
    struct bench *b = mounted(state);
    WRITE(
        b, 200, "data/app",
        "{\"data\": { \"p\\u0061y\" : 1.10 ,\"s\":\"a\\\"}{,\\\\\", \"n\":{\"x\":2.50,\"y\":[1.0, "
        "{\"z\":\"]\"} ],\"w\":null},\"t\":true,\"big\":9223372036854775807}}");
    PATCH(
        b, 200, "data/app",
        "{\"data\" :{\"n\":{\"x\": 3.10, \"q\":{}},\"t\" : null, \"new\":{\"a\":1.0,\"b\":null}}}");
    READ(b, 200, "data/app", NULL);
    assert_true(bench_has(b,
                          "{\"data\":{\"p\\u0061y\":1.10,\"s\":\"a\\\"}{,\\\\\",\"n\":{\"x\":3.10,"
                          "\"y\":[1.0, {\"z\":\"]\"} ],\"w\":null,\"q\":{}},"
                          "\"big\":9223372036854775807,\"new\":{\"a\":1.0}},"));
    PATCH(b, 200, "data/app", "{\"data\":{\"pay\":null,\"s\":{\"o\":1},\"n\":[]}}");
    READ(b, 200, "data/app", NULL);
    assert_true(bench_has(b, "{\"data\":{\"s\":{\"o\":1},\"n\":[],\"big\":9223372036854775807,"
                             "\"new\":{\"a\":1.0}},"));
    PATCH(b, 200, "data/app", "{\"data\":{\"s\":null,\"n\":null,\"big\":null,\"new\":null}}");
    PATCH(b, 200, "data/app", "{\"data\":{}}");
    READ(b, 200, "data/app", NULL);
    assert_true(bench_has(b, "{\"data\":{},"));
}

/* A patch of many names on many names is done in no time: none is looked for by walking. */
static void test_patch_many(void **state)
{
    struct bench *b = mounted(state);
    char *body = calloc(1, 65536);
    for (int round = 0; round < 2; round++) {
        char *p = body + sprintf(body, "{\"data\":{\"k0\":%d", round);
        for (int i = 1; i < 4000; i++)
            p += sprintf(p, ",\"k%d\":%d", i, round);
        strcpy(p, "}}");
        bench_expect(b, 200, round ? ENGINE_PATCH : ENGINE_WRITE, "data/app", NULL, body);
    }
    READ(b, 200, "data/app", NULL);
    assert_true(bench_has(b, "\"k0\":1,") && bench_has(b, "\"k3999\":1}"));
    assert_false(bench_has(b, ":0,"));
    free(body);
}

/* subkeys shows names only. */
static void test_subkeys(void **state)
{
    struct bench *b = mounted(state);
    WRITE(b, 200, "data/app", "{\"data\":{\"a\":\"secret\",\"b\":{\"c\":{\"d\":\"secret\"}}}}");
    READ(b, 200, "subkeys/app", NULL);
    assert_true(bench_has(b, "{\"subkeys\":{\"a\":null,\"b\":{\"c\":{\"d\":null}}},"));
    READ(b, 200, "subkeys/app", "depth=1");
    assert_true(bench_has(b, "{\"subkeys\":{\"a\":null,\"b\":null},"));
    READ(b, 200, "subkeys/app", "depth=2");
    assert_true(bench_has(b, "{\"subkeys\":{\"a\":null,\"b\":{\"c\":null}},"));
    assert_false(bench_has(b, "secret"));
    READ(b, 400, "subkeys/app", "depth=-1");
    READ(b, 404, "subkeys/none", NULL);
}

static int exists(struct bench *b, const char *path)
{
    bench_prepare(b, ENGINE_WRITE, path, NULL, "{\"data\":{}}");
    return b->engine->exists(&b->r);
}

/* Create or update: by whether the key is there. */
static void test_exists(void **state)
{
    struct bench *b = mounted(state);
    assert_int_equal(exists(b, "data/app"), 0);
    WRITE(b, 200, "data/app", "{\"data\":{}}");
    assert_int_equal(exists(b, "data/app"), 1);
    DELETE(b, 204, "data/app");
    assert_int_equal(exists(b, "data/app"), 1);
    assert_int_equal(exists(b, "delete/app"), 1);
    assert_int_equal(exists(b, "data/"), 1);
    bench_mount(b, "kv", "{\"version\":\"1\"}");
    assert_int_equal(exists(b, "x"), 0);
    WRITE(b, 204, "x", "{\"a\":1}");
    assert_int_equal(exists(b, "x"), 1);
}

/* A sealed store answers no request, and a failed turn leaves nothing. */
static void test_failures(void **state)
{
    struct bench *b = mounted(state);
    bench_prepare(b, ENGINE_WRITE, "data/app", NULL, "{\"data\":{\"n\":1}}");
    assert_int_equal(vault_begin(b->f->v), 0);
    assert_int_equal(b->engine->handle(&b->r), ENGINE_DONE);
    vault_rollback(b->f->v);
    READ(b, 404, "data/app", NULL);
    vault_seal(b->f->v);
    bench_prepare(b, ENGINE_READ, "data/app", NULL, NULL);
    assert_int_equal(b->engine->handle(&b->r), -EACCES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_mount_versions),
        BENCH_TEST(test_v1),
        BENCH_TEST(test_exact_bytes),
        BENCH_TEST(test_answers),
        BENCH_TEST(test_bad_writes),
        BENCH_TEST(test_versions),
        BENCH_TEST(test_cas),
        BENCH_TEST(test_delete_undelete_destroy),
        BENCH_TEST(test_bad_versions),
        BENCH_TEST(test_max_versions),
        BENCH_TEST(test_delete_version_after),
        BENCH_TEST(test_metadata),
        BENCH_TEST(test_custom_metadata_bound),
        BENCH_TEST(test_list),
        BENCH_TEST(test_names),
        BENCH_TEST(test_patch),
        BENCH_TEST(test_patch_exact),
        BENCH_TEST(test_patch_many),
        BENCH_TEST(test_subkeys),
        BENCH_TEST(test_exists),
        BENCH_TEST(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
