/* The database engine against a connector played by the test: what it is told, and what it never
 * is. */
#include "engine_fixture.h"

#include <countersign/connector.h>

#include "connector/frame.h"
#include "engine/database.h"
#include "lease/lease.h"

#define READ(b, status, path, query) bench_expect(b, status, ENGINE_READ, path, query, NULL)
#define WRITE(b, status, path, body) bench_expect(b, status, ENGINE_WRITE, path, NULL, body)
#define DELETE(b, status, path) bench_expect(b, status, ENGINE_DELETE, path, NULL, NULL)
#define LIST(b, status, path) bench_expect(b, status, ENGINE_LIST, path, NULL, NULL)

#define URL "postgresql://{{username}}:{{password}}@db.example:5432/shop?sslmode=verify-full"
#define CONFIG                                                                                     \
    "{\"plugin_name\":\"postgresql-database-plugin\",\"connection_url\":\"" URL                    \
    "\",\"username\":\"agent\",\"password\":\"hunter2secret\",\"allowed_roles\":\"shop-ro,shop-"   \
    "rw\","                                                                                        \
    "\"verify_connection\":false}"
#define ROLE                                                                                       \
    "{\"db_name\":\"shop\",\"groups\":[\"readers\"],\"default_ttl\":\"1h\",\"max_ttl\":\"8h\"}"

static struct bench *mounted(void **state)
{
    struct bench *b = *state;
    bench_mount(b, "database", NULL);
    return b;
}

static struct bench *configured(void **state)
{
    struct bench *b = mounted(state);
    WRITE(b, 204, "config/shop", CONFIG);
    WRITE(b, 204, "roles/shop-ro", ROLE);
    return b;
}

/* The connector's answer, in a turn of its own. */
static int answer(struct bench *b, const char *text)
{
    char why[200];
    json_t *a = NULL;
    assert_int_equal(json_parse(text, strlen(text), &a, why, sizeof(why)), 0);
    assert_int_equal(vault_begin(b->f->v), 0);
    int e = b->engine->answered(&b->r, a);
    assert_int_equal(vault_commit(b->f->v), 0);
    json_decref(a);
    return e;
}

static const char *frame_str(struct bench *b, const char *key)
{
    return json_str_or(b->r.frame, key, "");
}

static bool json_mentions(const json_t *v, const char *text)
{
    struct buf out = BUF_INIT(1 << 20);
    json_put(&out, v);
    bool found = v && strstr(buf_str(&out), text);
    buf_clear(&out);
    return found;
}

/* A request for credentials up to the call; the bounds as the binding would give them. */
static int ask(struct bench *b, const char *role, int64_t ttl, int64_t max_ttl, int64_t wish)
{
    char path[128];
    snprintf(path, sizeof(path), "creds/%s", role);
    bench_prepare(b, ENGINE_READ, path, NULL, NULL);
    b->r.ttl = ttl;
    b->r.max_ttl = max_ttl;
    b->r.wish_ttl = wish;
    int e = bench_run(b);
    b->r.path = ""; /* it ends here */
    return e;
}

/* --- Configurations ------------------------------------------------------------------------------
 */

/* A configuration is written, shown without its password, listed, deleted. */
static void test_config(void **state)
{
    struct bench *b = mounted(state);
    READ(b, 404, "config/shop", NULL);
    LIST(b, 404, "config/");
    WRITE(b, 204, "config/shop", CONFIG);
    READ(b, 200, "config/shop", NULL);
    bench_expect_data(
        b, "{\"plugin_name\":\"postgresql-database-plugin\",\"connection_details\":{"
           "\"connection_url\":\"" URL "\",\"username\":\"agent\",\"password_authentication\":"
           "\"scram-sha-256\"},\"allowed_roles\":[\"shop-ro\",\"shop-rw\"],\"verify_connection\":"
           "false,\"root_credentials_rotate_statements\":[],\"password_policy\":\"\","
           "\"plugin_version\":\"\"}");
    LIST(b, 200, "config/");
    bench_expect_data(b, "{\"keys\":[\"shop\"]}");
    assert_int_equal(bench_do(b, ENGINE_DELETE, "config/shop", NULL, NULL), ENGINE_CALL);
    assert_string_equal(frame_str(b, "op"), "forget");
    assert_int_equal(answer(b, "{\"ok\":false,\"kind\":\"unreachable\"}"), ENGINE_DONE);
    assert_int_equal(bench_status(b), 200);
    assert_true(bench_warned(b, "can't be revoked"));
    READ(b, 404, "config/shop", NULL);
    DELETE(b, 204, "config/shop");
}

/* Writing again changes what is given and keeps the rest, the password included. */
static void test_config_update(void **state)
{
    struct bench *b = configured(state);
    WRITE(b, 204, "config/shop", "{\"allowed_roles\":[\"*\"]}");
    assert_int_equal(ask(b, "shop-ro", 0, 0, 0), ENGINE_CALL);
    assert_string_equal(json_str(json_object_get(b->r.frame, "db"), "password"), "hunter2secret");
    WRITE(b, 200, "config/shop", "{\"connection_url\":\"host=other\"}");
    assert_true(bench_warned(b, "connection_url was changed"));
}

/* Before it is saved, a configuration is tried; a failure leaves everything as it was. */
static void test_verify_connection(void **state)
{
    struct bench *b = mounted(state);
    static const char body[] =
        "{\"plugin_name\":\"postgresql-database-plugin\",\"connection_url\":\"" URL
        "\",\"username\":\"agent\",\"password\":\"hunter2secret\",\"allowed_roles\":\"*\"}";
    assert_int_equal(bench_do(b, ENGINE_WRITE, "config/shop", NULL, body), ENGINE_CALL);
    json_t *want = json_pack("{s:s, s:{s:s, s:s, s:s, s:s}}", "op", "check", "db", "name", "shop",
                             "url", URL, "username", "agent", "password", "hunter2secret");
    assert_true(json_equal(b->r.frame, want));
    json_decref(want);
    assert_int_equal(
        answer(b,
               "{\"ok\":false,\"kind\":\"denied\",\"message\":\"password authentication failed\"}"),
        ENGINE_DONE);
    assert_int_equal(bench_status(b), 400);
    assert_non_null(
        strstr(b->r.error, "error verifying connection: password authentication failed"));
    assert_null(strstr(b->r.error, "hunter2"));
    READ(b, 404, "config/shop", NULL);
    assert_int_equal(bench_do(b, ENGINE_WRITE, "config/shop", NULL, body), ENGINE_CALL);
    assert_int_equal(
        answer(b, "{\"ok\":true,\"version\":150020,\"problems\":[\"lacks CREATEROLE\"]}"),
        ENGINE_DONE);
    assert_int_equal(bench_status(b), 200);
    assert_true(bench_warned(b, "lacks CREATEROLE"));
    READ(b, 200, "config/shop", NULL);
}

/* What would connect otherwise than meant is refused; what means nothing is warned of. */
static void test_config_refusals(void **state)
{
    struct bench *b = mounted(state);
    static const char *const bad[] = {
        "{}",
        "{\"plugin_name\":\"mysql-database-plugin\",\"connection_url\":\"x\"}",
        "{\"plugin_name\":\"postgresql-database-plugin\"}",
        "{\"plugin_name\":\"postgresql-database-plugin\",\"connection_url\":\"host=a\",\"tls_ca\":"
        "\"x\"}",
        "{\"plugin_name\":\"postgresql-database-plugin\",\"connection_url\":\"host=a\","
        "\"password_authentication\":\"password\"}",
        "{\"plugin_name\":\"postgresql-database-plugin\",\"connection_url\":\"host=a\\nb\"}",
        "{\"plugin_name\":\"postgresql-database-plugin\",\"connection_url\":5}",
        "{\"plugin_name\":\"postgresql-database-plugin\",\"connection_url\":\"host=a\","
        "\"username\":[\"x\"]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        WRITE(b, 400, "config/shop", bad[i]);
    READ(b, 404, "config/shop", NULL);
    WRITE(b, 200, "config/shop",
          "{\"plugin_name\":\"postgresql-database-plugin\",\"connection_url\":\"host=a\","
          "\"verify_connection\":\"false\",\"max_open_connections\":4,\"nonsense\":1}");
    assert_true(bench_warned(b, "max_open_connections, nonsense"));
    assert_true(bench_warned(b, "allowed_roles is empty"));
}

/* Names that could lead elsewhere are refused, and so is what the engine does not know. */
static void test_paths(void **state)
{
    struct bench *b = mounted(state);
    static const char *const bad[] = {"config/",   "config/a/b",      "config/-a", "config/a b",
                                      "config/a.", "config/\xc3\xa4", "creds/x/y"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        READ(b, 400, bad[i], NULL);
    char longest[128] = "config/";
    memset(longest + 7, 'a', 101);
    READ(b, 400, longest, NULL);
    longest[7 + 100] = '\0';
    READ(b, 404, longest, NULL);
    READ(b, 404, "static-roles/x", NULL);
    assert_true(b->r.error[0]);
    WRITE(b, 404, "rotate-root/shop", "{}");
    WRITE(b, 405, "creds/shop-ro", "{}");
    READ(b, 405, "reset/shop", NULL);
    LIST(b, 404, "config/a/");
    LIST(b, 405, "creds/");
    bench_expect(b, 405, ENGINE_PATCH, "config/shop", NULL, "{}");
}

static void expect_mask(const char *url, const char *want)
{
    struct bench *b = calloc(1, sizeof(*b));
    json_t *body = json_pack("{s:s, s:s, s:b, s:s}", "plugin_name", DATABASE_PLUGIN,
                             "connection_url", url, "verify_connection", 0, "allowed_roles", "*");
    struct buf text = BUF_INIT(65536);
    void *f = NULL;
    json_put(&text, body);
    assert_int_equal(fixture_setup(&f), 0);
    b->f = f;
    b->now = ENGINE_NOW;
    bench_mount(b, "database", NULL);
    WRITE(b, 204, "config/shop", buf_str(&text));
    READ(b, 200, "config/shop", NULL);
    assert_string_equal(
        json_str(json_object_get(b->r.data, "connection_details"), "connection_url"), want);
    bench_clear(b);
    buf_clear(&text);
    json_decref(body);
    fixture_teardown(&f);
    free(b);
}

/* However a password stands in the connection string, it is not shown. */
static void test_masking(void **state)
{
    (void)state;
    static const char *const row[][2] = {
        {"postgresql://u:pw@h/db", "postgresql://u:*****@h/db"},
        {"postgres://u:p@w@h:5/db?sslmode=require", "postgres://u:*****@h:5/db?sslmode=require"},
        {"postgresql://u@h/db", "postgresql://u@h/db"},
        {"postgresql://h1:1,h2:2/db", "postgresql://h1:1,h2:2/db"},
        {"postgresql://u:{{password}}@h/", "postgresql://u:{{password}}@h/"},
        {"postgresql://u:x{{password}}@h/", "postgresql://u:*****@h/"},
        {"postgresql://h/db?user=u&password=pw&sslmode=disable",
         "postgresql://h/db?user=u&password=*****&sslmode=disable"},
        {"postgresql://h/db?pass%77ord=pw&sslpassword=x&sslmode=disable",
         "postgresql://h/db?pass%77ord=*****&sslpassword=*****&sslmode=disable"},
        {"postgresql://h/db?pw", "postgresql://h/db?*****"},
        {"postgresql://u:p?w@h/db", "*****"},
        {"postgresql://u:a/b@h/db", "postgresql://u:*****@h/db"},
        {"host=h user=u password=pw dbname=d", "host=h user=u password=***** dbname=d"},
        {"host = h  password = 'p w\\' x' sslmode=require",
         "host=h password=***** sslmode=require"},
        {"PASSWORD=pw host=h", "PASSWORD=***** host=h"},
        {"password={{password}} user='{{username}}'", "password={{password}} user='{{username}}'"},
        {"password=a\\ b host=h", "password=***** host=h"},
        {"host=h password='pw", "*****"},
        {"some words", "*****"},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++)
        expect_mask(row[i][0], row[i][1]);
}

/* reset closes connections, and says when it can't. */
static void test_reset(void **state)
{
    struct bench *b = configured(state);
    WRITE(b, 400, "reset/none", "{}");
    assert_int_equal(bench_do(b, ENGINE_WRITE, "reset/shop", NULL, "{}"), ENGINE_CALL);
    assert_string_equal(frame_str(b, "op"), "forget");
    assert_int_equal(answer(b, "{\"ok\":true}"), ENGINE_DONE);
    assert_int_equal(bench_status(b), 204);
    assert_int_equal(bench_do(b, ENGINE_WRITE, "reset/shop", NULL, "{}"), ENGINE_CALL);
    assert_int_equal(answer(b, "{\"ok\":false,\"kind\":\"unreachable\"}"), ENGINE_DONE);
    assert_int_equal(bench_status(b), 502);
}

/* --- Roles ---------------------------------------------------------------------------------------
 */

/* A role in Vault's fields and ours, read back, changed in part, listed, deleted. */
static void test_role(void **state)
{
    struct bench *b = mounted(state);
    READ(b, 404, "roles/shop-ro", NULL);
    WRITE(b, 204, "roles/shop-ro", ROLE);
    READ(b, 200, "roles/shop-ro", NULL);
    bench_expect_data(
        b, "{\"db_name\":\"shop\",\"creation_statements\":[],\"revocation_statements\":[],"
           "\"renew_statements\":[],\"rollback_statements\":[],\"default_ttl\":3600,\"max_ttl\":"
           "28800,\"groups\":[\"readers\"],\"connection_limit\":10,\"credential_type\":"
           "\"password\"}");
    WRITE(b, 204, "roles/shop-ro", "{\"connection_limit\":3}");
    READ(b, 200, "roles/shop-ro", NULL);
    assert_int_equal(json_int(b->r.data, "connection_limit", 0), 3);
    assert_int_equal(json_int(b->r.data, "default_ttl", 0), 3600);
    LIST(b, 200, "roles/");
    bench_expect_data(b, "{\"keys\":[\"shop-ro\"]}");
    DELETE(b, 204, "roles/shop-ro");
    DELETE(b, 204, "roles/shop-ro");
    READ(b, 404, "roles/shop-ro", NULL);
}

/* A role that could make nothing useful is refused with the reason. */
static void test_role_refusals(void **state)
{
    struct bench *b = mounted(state);
    static const char *const bad[][2] = {
        {"{\"groups\":[\"g\"]}", "db_name"},
        {"{\"db_name\":\"shop\"}", "needs groups"},
        {"{\"db_name\":\"shop\",\"groups\":[\"g\"],\"creation_statements\":\"CREATE ROLE\"}",
         "GRANT"},
        {"{\"db_name\":\"shop\",\"groups\":[\"g\"],\"default_ttl\":\"2h\",\"max_ttl\":\"1h\"}",
         "greater"},
        {"{\"db_name\":\"shop\",\"groups\":[\"g\"],\"credential_type\":\"rsa_private_key\"}",
         "credential_type"},
        {"{\"db_name\":\"shop\",\"groups\":[\"\"]}", "63 bytes"},
        {"{\"db_name\":\"shop\",\"groups\":[\"g\"],\"connection_limit\":0}", "connection_limit"},
        {"{\"db_name\":\"shop\",\"groups\":[\"g\"],\"connection_limit\":-1}", "connection_limit"},
        {"{\"db_name\":\"shop\",\"groups\":[\"g\"],\"default_ttl\":\"soon\"}", "default_ttl"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        WRITE(b, 400, "roles/r", bad[i][0]);
        assert_non_null(strstr(b->r.error, bad[i][1]));
    }
    char *large = calloc(1, 40000);
    strcpy(large, "{\"db_name\":\"shop\",\"creation_statements\":\"");
    memset(large + strlen(large), 'x', 30000);
    strcat(large, "\"}");
    WRITE(b, 400, "roles/r", large);
    assert_non_null(strstr(b->r.error, "too long"));
    free(large);
    READ(b, 404, "roles/r", NULL);
}

/* What a role says in vain is warned of. */
static void test_role_warnings(void **state)
{
    struct bench *b = mounted(state);
    WRITE(b, 200, "roles/r",
          "{\"db_name\":\"shop\",\"creation_statements\":[\"SELECT 1\"],\"rollback_statements\":"
          "[\"x\"],\"connection_limit\":5,\"credential_config\":{}}");
    assert_true(bench_warned(b, "never say {{name}}"));
    assert_true(bench_warned(b, "rollback_statements"));
    assert_true(bench_warned(b, "connection_limit is ignored"));
    assert_true(bench_warned(b, "credential_config"));
    WRITE(b, 204, "roles/r",
          "{\"creation_statements\":\"CREATE ROLE \\\"{{name}}\\\" LOGIN PASSWORD "
          "'{{password}}' VALID UNTIL '{{expiration}}'; GRANT g TO \\\"{{name}}\\\";\","
          "\"rollback_statements\":[]}");
}

/* --- Accounts ------------------------------------------------------------------------------------
 */

static void expect_account_name(const char *name, int64_t now)
{
    char tail[32];
    size_t n = strlen(name);
    assert_memory_equal(name, "v-alice-shop_ro-", 16);
    assert_int_equal(strspn(name + 16, "abcdefghijklmnopqrstuvwxyz0123456789"), 20);
    snprintf(tail, sizeof(tail), "-%lld", (long long)(now / 1000));
    assert_string_equal(name + 36, tail);
    assert_true(n <= CONNECTOR_ROLE_MAX);
}

/* The frame that makes an account: exactly its fields, a verifier, and no password anywhere. */
static void test_creds(void **state)
{
    struct bench *b = configured(state);
    char comment[256], *password;
    assert_int_equal(ask(b, "shop-ro", 0, 0, 0), ENGINE_CALL);
    json_t *f = json_incref(b->r.frame);
    expect_account_name(json_str(f, "role"), ENGINE_NOW);
    assert_int_equal(json_object_size(f), 9);
    assert_string_equal(json_str(f, "op"), "create");
    assert_memory_equal(json_str(f, "verifier"), "SCRAM-SHA-256$4096:", 19);
    assert_int_equal(json_int(f, "expires", 0), ENGINE_NOW / 1000 + 3600 + DATABASE_GRACE);
    assert_int_equal(json_int(f, "connection_limit", 0), 10);
    assert_int_equal(json_array_size(json_object_get(f, "statements")), 0);
    assert_true(json_mentions(json_object_get(f, "groups"), "[\"readers\"]"));
    snprintf(comment, sizeof(comment), CONNECTOR_COMMENT, vault_instance(b->f->v),
             "mount/creds/ro/abc");
    assert_string_equal(json_str(f, "comment"), comment);
    json_t *db = json_pack("{s:s, s:s, s:s, s:s}", "name", "shop", "url", URL, "username", "agent",
                           "password", "hunter2secret");
    assert_true(json_equal(json_object_get(f, "db"), db));
    json_decref(db);
    assert_true(b->r.lease.wanted && b->r.lease.renewable);
    assert_int_equal(b->r.lease.ttl, 3600);
    assert_int_equal(b->r.lease.max_ttl, 28800);
    json_t *recipe = json_pack("{s:s, s:s, s:[], s:[]}", "db", "shop", "role", json_str(f, "role"),
                               "revocation_statements", "renew_statements");
    assert_true(json_equal(b->r.lease.recipe, recipe));
    json_decref(recipe);
    assert_null(b->r.data); /* nothing before the account is there */
    assert_int_equal(answer(b, "{\"ok\":true}"), ENGINE_DONE);
    assert_int_equal(bench_status(b), 200);
    assert_int_equal(json_object_size(b->r.data), 2);
    assert_string_equal(json_str(b->r.data, "username"), json_str(f, "role"));
    password = strdup(json_str(b->r.data, "password"));
    assert_int_equal(strlen(password), 26);
    assert_false(json_mentions(f, password));
    assert_false(json_mentions(b->r.lease.recipe, password));
    assert_int_equal(ask(b, "shop-ro", 0, 0, 0), ENGINE_CALL);
    assert_string_not_equal(json_str(b->r.frame, "role"), json_str(f, "role"));
    assert_int_equal(answer(b, "{\"ok\":true}"), ENGINE_DONE);
    assert_string_not_equal(json_str(b->r.data, "password"), password);
    free(password);
    json_decref(f);
}

/* The password stands in no row of the store and in no audit line. */
static void test_password_is_kept_nowhere(void **state)
{
    struct bench *b = configured(state);
    struct effects *q = effects_new();
    struct leases *l = NULL;
    const struct lease_ops ops = {0};
    char id[LEASE_ID_MAX];
    assert_int_equal(leases_new(b->f->v, q, &ops, NULL, &l), 0);
    assert_int_equal(lease_make_id("database/creds/shop-ro", id), 0);
    assert_int_equal(ask(b, "shop-ro", 0, 0, 0), ENGINE_CALL);
    const struct lease_spec spec = {.id = id,
                                    .path = "database/creds/shop-ro",
                                    .mount = "database/",
                                    .engine = "database",
                                    .space = ENGINE_SPACE,
                                    .principal = "user:alice",
                                    .ttl = b->r.lease.ttl,
                                    .recipe = b->r.lease.recipe};
    assert_int_equal(vault_begin(b->f->v), 0);
    assert_int_equal(lease_create(l, &spec, b->now), 0);
    assert_int_equal(lease_activate(l, id, b->now), 0);
    json_t *lease = NULL;
    assert_int_equal(lease_get(l, id, &lease), 0);
    assert_int_equal(vault_commit(b->f->v), 0);
    assert_int_equal(answer(b, "{\"ok\":true}"), ENGINE_DONE);
    const char *password = json_str(b->r.data, "password");
    assert_false(json_mentions(lease, password));
    assert_int_equal(audit_export_open(b->f->v, b->f->log), 0);
    assert_int_equal(audit_export_run(b->f->v), 0);
    size_t n;
    char *log = fixture_read(b->f->log, &n);
    assert_non_null(strstr(log, id));
    assert_null(strstr(log, password));
    assert_null(strstr(log, "hunter2secret"));
    assert_null(strstr(log, "SCRAM-SHA-256"));
    free(log);
    json_decref(lease);
    effects_free(q);
    leases_free(l);
}

struct ttl_row {
    int64_t ttl, max_ttl, wish; /* the binding's, and what the caller asks for */
    int64_t want, want_max;
    bool warned;
};

/* The shortest of all bounds counts, and a wish above the maximum is shortened with a warning. */
static void test_ttl_bounds(void **state)
{
    static const struct ttl_row role_1h_8h[] = {
        {0, 0, 0, 3600, 28800, false},
        {600, 0, 0, 600, 28800, false},     /* the binding's default is shorter */
        {7200, 0, 0, 3600, 28800, false},   /* … longer */
        {0, 900, 0, 900, 900, true},        /* the binding's maximum is below the default */
        {0, 86400, 0, 3600, 28800, false},  /* the role's maximum counts */
        {600, 0, 7200, 7200, 28800, false}, /* a wish within the maximum */
        {0, 0, 60, 60, 28800, false},       /* a shorter one */
        {0, 0, 360000, 28800, 28800, true}, /* one above it */
        {600, 1800, 360000, 1800, 1800, true},
    };
    static const struct ttl_row role_without[] = {
        {0, 0, 0, DATABASE_TTL_DEFAULT, DATABASE_TTL_MAX, false},
        {600, 0, 0, 600, DATABASE_TTL_MAX, false},
        {0, 0, 999999999, DATABASE_TTL_MAX, DATABASE_TTL_MAX, true},
    };
    struct bench *b = configured(state);
    for (int pass = 0; pass < 2; pass++) {
        const struct ttl_row *row = pass ? role_without : role_1h_8h;
        size_t n = pass ? ARRAY_LEN(role_without) : ARRAY_LEN(role_1h_8h);
        if (pass)
            WRITE(b, 204, "roles/shop-ro", "{\"default_ttl\":0,\"max_ttl\":0}");
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(ask(b, "shop-ro", row[i].ttl, row[i].max_ttl, row[i].wish),
                             ENGINE_CALL);
            assert_int_equal(b->r.lease.ttl, row[i].want);
            assert_int_equal(b->r.lease.max_ttl, row[i].want_max);
            assert_int_equal(bench_warned(b, "max_ttl"), row[i].warned);
            assert_int_equal(json_int(b->r.frame, "expires", 0),
                             ENGINE_NOW / 1000 + row[i].want + DATABASE_GRACE);
        }
    }
}

/* A role with Vault's statements: they are sent as they are, and undone by the role's own. */
static void test_statements(void **state)
{
    struct bench *b = configured(state);
    WRITE(
        b, 204, "roles/shop-ro",
        "{\"groups\":[],\"creation_statements\":[\"CREATE ROLE {{name}}\",\"GRANT x TO {{name}}\"],"
        "\"revocation_statements\":[\"DROP ROLE {{name}}\"],\"renew_statements\":\"ALTER "
        "{{name}}\"}");
    assert_int_equal(ask(b, "shop-ro", 0, 0, 0), ENGINE_CALL);
    assert_true(json_mentions(json_object_get(b->r.frame, "statements"),
                              "[\"CREATE ROLE {{name}}\",\"GRANT x TO {{name}}\"]"));
    json_t *frame = NULL;
    assert_int_equal(b->engine->lease_revoke(b->f->v, ENGINE_SPACE, b->r.lease.recipe, &frame), 0);
    assert_string_equal(json_str(frame, "op"), "revoke");
    assert_string_equal(json_str(frame, "role"), frame_str(b, "role"));
    assert_true(json_mentions(json_object_get(frame, "statements"), "[\"DROP ROLE {{name}}\"]"));
    assert_string_equal(json_str(json_object_get(frame, "db"), "url"), URL);
    json_decref(frame);
    frame = NULL;
    assert_int_equal(
        b->engine->lease_renew(b->f->v, ENGINE_SPACE, b->r.lease.recipe, 1900000000, &frame), 0);
    assert_string_equal(json_str(frame, "op"), "renew");
    assert_int_equal(json_int(frame, "expires", 0), 1900000000 + DATABASE_GRACE);
    assert_true(json_mentions(json_object_get(frame, "statements"), "[\"ALTER {{name}}\"]"));
    json_decref(frame);
}

/* Revoking reads the configuration anew, and says -ENOENT when there is none. */
static void test_recipe_without_config(void **state)
{
    struct bench *b = configured(state);
    json_t *recipe = b->engine->orphan("shop", "v-x-y-z-1"), *frame = NULL;
    assert_int_equal(b->engine->lease_revoke(b->f->v, ENGINE_SPACE, recipe, &frame), 0);
    assert_string_equal(json_str(frame, "role"), "v-x-y-z-1");
    json_decref(frame);
    frame = NULL;
    assert_int_equal(bench_do(b, ENGINE_DELETE, "config/shop", NULL, NULL), ENGINE_CALL);
    assert_int_equal(b->engine->lease_revoke(b->f->v, ENGINE_SPACE, recipe, &frame), -ENOENT);
    assert_int_equal(b->engine->lease_renew(b->f->v, ENGINE_SPACE, recipe, 1, &frame), -ENOENT);
    assert_null(frame);
    json_decref(recipe);
    recipe = json_pack("{s:s, s:s}", "db", "../x", "role", "r");
    assert_int_equal(b->engine->lease_revoke(b->f->v, ENGINE_SPACE, recipe, &frame), -EINVAL);
    json_decref(recipe);
}

/* Who may not have an account is told why: no role, no configuration, not an allowed role. */
static void test_creds_refusals(void **state)
{
    struct bench *b = configured(state);
    assert_int_equal(ask(b, "other", 0, 0, 0), ENGINE_DONE);
    assert_int_equal(bench_status(b), 400);
    assert_string_equal(b->r.error, "unknown role: other");
    WRITE(b, 204, "roles/other", ROLE);
    assert_int_equal(ask(b, "other", 0, 0, 0), ENGINE_DONE);
    assert_non_null(strstr(b->r.error, "\"other\" is not an allowed role"));
    assert_false(b->r.lease.wanted);
    WRITE(b, 204, "roles/other", "{\"db_name\":\"nowhere\"}");
    assert_int_equal(ask(b, "other", 0, 0, 0), ENGINE_DONE);
    assert_non_null(strstr(b->r.error, "nowhere"));
}

/* allowed_roles: names, globs at either end, '*'; nothing given is nobody. */
static void test_allowed_roles(void **state)
{
    static const struct {
        const char *list;
        int outcome;
    } row[] = {
        {"*", ENGINE_CALL},     {"oth*", ENGINE_CALL},    {"*er", ENGINE_CALL},
        {"*the*", ENGINE_CALL}, {"x,other", ENGINE_CALL}, {"other*", ENGINE_CALL},
        {"othe", ENGINE_DONE},  {"others", ENGINE_DONE},  {"*x*", ENGINE_DONE},
        {"x*", ENGINE_DONE},    {"*x", ENGINE_DONE},      {"Other", ENGINE_DONE},
    };
    struct bench *b = configured(state);
    WRITE(b, 204, "roles/other", ROLE);
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        char body[128];
        snprintf(body, sizeof(body), "{\"allowed_roles\":\"%s\"}", row[i].list);
        WRITE(b, 204, "config/shop", body);
        assert_int_equal(ask(b, "other", 0, 0, 0), row[i].outcome);
    }
    WRITE(b, 200, "config/shop", "{\"allowed_roles\":[]}");
    assert_int_equal(ask(b, "other", 0, 0, 0), ENGINE_DONE);
}

/* Each kind of failure has its status, the connector's reason, and no data. */
static void test_failures(void **state)
{
    static const struct {
        const char *kind;
        int status;
        const char *says;
    } row[] = {
        {"unreachable", 502, "can't be reached: no route"},
        {"timeout", 502, "did not answer in time"},
        {"denied", 502, "refused the agent's account"},
        {"statement", 400, "refused a statement"},
        {"invalid", 400, "could not be asked"},
        {"something else", 502, "no route"},
        {"", 502, "no route"},
    };
    struct bench *b = configured(state);
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        char text[200];
        assert_int_equal(ask(b, "shop-ro", 0, 0, 0), ENGINE_CALL);
        snprintf(text, sizeof(text), "{\"ok\":false,\"kind\":\"%s\",\"message\":\"no route\"}",
                 row[i].kind);
        assert_int_equal(answer(b, text), ENGINE_DONE);
        assert_int_equal(bench_status(b), row[i].status);
        assert_non_null(strstr(b->r.error, row[i].says));
        assert_non_null(strstr(b->r.error, "shop"));
        assert_null(b->r.data);
    }
    assert_int_equal(ask(b, "shop-ro", 0, 0, 0), ENGINE_CALL);
    assert_int_equal(answer(b, "{\"kind\":\"unreachable\"}"), ENGINE_DONE); /* no "ok" is no */
    assert_int_equal(bench_status(b), 502);
    assert_int_equal(ask(b, "shop-ro", 0, 0, 0), ENGINE_CALL);
    assert_int_equal(answer(b, "{\"ok\":\"yes\"}"), ENGINE_DONE);
    assert_int_equal(bench_status(b), 502);
}

/* Names of people and roles become harmless parts of an account's name. */
static void test_account_names(void **state)
{
    static const struct {
        const char *principal, *begins;
    } row[] = {
        {"user:alice", "v-alice-"},
        {"uid:0", "v-uid0-"},
        {"user:Bob.Smith", "v-bobsmith-"},
        {"user:a\"; DROP ROLE x;--", "v-a___drop-"},
        {"token:hvs.abcdefgh", "v-tokenhvs-"},
        {"user:\xc3\xa4\xc3\xb6", "v-____-"},
        {"", "v--"},
    };
    struct bench *b = configured(state);
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        bench_prepare(b, ENGINE_READ, "creds/shop-ro", NULL, NULL);
        b->r.principal = row[i].principal;
        assert_int_equal(bench_run(b), ENGINE_CALL);
        const char *name = frame_str(b, "role");
        if (strncmp(name, row[i].begins, strlen(row[i].begins)) != 0)
            fail_msg("%s does not begin with %s", name, row[i].begins);
        assert_true(strlen(name) <= CONNECTOR_ROLE_MAX);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-"), strlen(name));
    }
}

static int keep_sweep(json_t *frame, const char *name, void *data)
{
    json_t *all = data;
    assert_string_equal(json_str(json_object_get(frame, "db"), "name"), name);
    return json_array_append_new(all, frame) < 0 ? -ENOMEM : 0;
}

static int fail_sweep(json_t *frame, const char *name, void *data)
{
    (void)name;
    ++*(int *)data;
    json_decref(frame);
    return -EPIPE;
}

/* One frame for each database, asking for this instance's accounts. */
static void test_sweep(void **state)
{
    struct bench *b = mounted(state);
    json_t *all = json_array();
    int calls = 0;
    assert_int_equal(b->engine->sweep(b->f->v, ENGINE_SPACE, keep_sweep, all), 0);
    assert_int_equal(json_array_size(all), 0);
    WRITE(b, 204, "config/shop", CONFIG);
    WRITE(b, 204, "config/other", CONFIG);
    assert_int_equal(b->engine->sweep(b->f->v, ENGINE_SPACE, keep_sweep, all), 0);
    assert_int_equal(json_array_size(all), 2);
    const json_t *f = json_array_get(all, 0);
    assert_string_equal(json_str(f, "op"), "sweep");
    assert_string_equal(json_str(f, "instance"), vault_instance(b->f->v));
    assert_true(json_int(f, "limit", 0) > 0);
    assert_string_equal(json_str(json_object_get(f, "db"), "name"), "other");
    assert_int_equal(b->engine->sweep(b->f->v, ENGINE_SPACE, fail_sweep, &calls), -EPIPE);
    assert_int_equal(calls, 1);
    json_decref(all);
}

static int exists(struct bench *b, const char *path)
{
    bench_prepare(b, ENGINE_WRITE, path, NULL, "{}");
    return b->engine->exists(&b->r);
}

/* Create or update: by whether it is there. */
static void test_exists(void **state)
{
    struct bench *b = mounted(state);
    assert_int_equal(exists(b, "config/shop"), 0);
    assert_int_equal(exists(b, "roles/shop-ro"), 0);
    WRITE(b, 204, "config/shop", CONFIG);
    WRITE(b, 204, "roles/shop-ro", ROLE);
    assert_int_equal(exists(b, "config/shop"), 1);
    assert_int_equal(exists(b, "roles/shop-ro"), 1);
    assert_int_equal(exists(b, "reset/shop"), 1);
    assert_int_equal(exists(b, "nonsense"), 1);
}

static void expect_readable(const json_t *frame, enum frame_op op)
{
    struct buf text = BUF_INIT(CONNECTOR_FRAME_MAX);
    struct frame read = {0};
    char why[300] = "";
    json_t *sent = json_deep_copy(frame); /* the link adds these two */
    assert_int_equal(json_set_int(sent, "id", 7), 0);
    assert_int_equal(json_set_int(sent, "timeout_ms", 10000), 0);
    json_put(&text, sent);
    assert_int_equal(buf_error(&text), 0);
    int e = frame_read(buf_str(&text), text.len, &read, why, sizeof(why));
    if (e != 0)
        fail_msg("frame_read: %d, %s", e, why);
    assert_int_equal(read.op, op);
    frame_clear(&read);
    json_decref(sent);
    buf_clear(&text);
}

static int read_sweep(json_t *frame, const char *name, void *data)
{
    (void)name;
    (void)data;
    expect_readable(frame, FRAME_SWEEP);
    json_decref(frame);
    return 0;
}

/* The connector's own reader takes every frame, and the largest role still fits into a packet. */
static void test_frames_are_readable(void **state)
{
    struct bench *b = configured(state);
    char statement[12 * 1024], body[65536];
    json_t *frame = NULL, *recipe;
    memset(statement, 'x', sizeof(statement) - 1);
    statement[sizeof(statement) - 1] = '\0';
    snprintf(body, sizeof(body),
             "{\"groups\":[],\"creation_statements\":[\"{{name}} %s\",\"%s\"],"
             "\"revocation_statements\":[\"%s\"],\"renew_statements\":[\"%s\"]}",
             statement, statement + 300, statement, statement);
    WRITE(b, 204, "roles/shop-ro", body);
    assert_int_equal(ask(b, "shop-ro", 0, 0, 0), ENGINE_CALL);
    expect_readable(b->r.frame, FRAME_CREATE);
    recipe = b->r.lease.recipe;
    assert_int_equal(b->engine->lease_revoke(b->f->v, ENGINE_SPACE, recipe, &frame), 0);
    expect_readable(frame, FRAME_REVOKE);
    json_decref(frame);
    assert_int_equal(b->engine->lease_renew(b->f->v, ENGINE_SPACE, recipe, 1900000000, &frame), 0);
    expect_readable(frame, FRAME_RENEW);
    json_decref(frame);
    recipe = b->engine->orphan("shop", "v-x-y-z-1");
    assert_int_equal(b->engine->lease_revoke(b->f->v, ENGINE_SPACE, recipe, &frame), 0);
    expect_readable(frame, FRAME_REVOKE);
    json_decref(frame);
    json_decref(recipe);
    assert_int_equal(b->engine->sweep(b->f->v, ENGINE_SPACE, read_sweep, NULL), 0);
    assert_int_equal(bench_do(b, ENGINE_WRITE, "reset/shop", NULL, "{}"), ENGINE_CALL);
    expect_readable(b->r.frame, FRAME_FORGET);
    assert_int_equal(bench_do(b, ENGINE_WRITE, "config/shop", NULL, "{\"verify_connection\":true}"),
                     ENGINE_CALL);
    expect_readable(b->r.frame, FRAME_CHECK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_config),
        BENCH_TEST(test_config_update),
        BENCH_TEST(test_verify_connection),
        BENCH_TEST(test_config_refusals),
        BENCH_TEST(test_paths),
        cmocka_unit_test(test_masking),
        BENCH_TEST(test_reset),
        BENCH_TEST(test_role),
        BENCH_TEST(test_role_refusals),
        BENCH_TEST(test_role_warnings),
        BENCH_TEST(test_creds),
        BENCH_TEST(test_password_is_kept_nowhere),
        BENCH_TEST(test_ttl_bounds),
        BENCH_TEST(test_statements),
        BENCH_TEST(test_recipe_without_config),
        BENCH_TEST(test_creds_refusals),
        BENCH_TEST(test_allowed_roles),
        BENCH_TEST(test_failures),
        BENCH_TEST(test_account_names),
        BENCH_TEST(test_sweep),
        BENCH_TEST(test_exists),
        BENCH_TEST(test_frames_are_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
