/* The commands against a small agent: what is asked, what is shown, which exit code. */
#include "cli_fixture.h"

#define LEASED                                                                                     \
    "{\"request_id\":\"r\",\"lease_id\":\"database/creds/x/abc\",\"renewable\":true,"              \
    "\"lease_duration\":3600,\"data\":{\"username\":\"v-1\",\"password\":\"p\\u001b w\"},"         \
    "\"wrap_info\":null,\"warnings\":[\"shortened\"],\"auth\":null}"

/* Goal: a leased answer is vault's table; -field prints one value raw; -format=json all of it. */
static void read_leased(void **state)
{
    (void)state;
    FAKE({"GET", "/v1/database/creds/x", 200, LEASED, 0});
    assert_int_equal(RUN(W("read"), W("database/creds/x")), 0);
    assert_string_equal(fake.out, "Key                Value\n---                -----\n"
                                  "lease_id           database/creds/x/abc\n"
                                  "lease_duration     1h\n"
                                  "lease_renewable    true\n"
                                  "password           p? w\n"
                                  "username           v-1\n");
    ERR("WARNING: shortened");
    assert_int_equal(RUN(W("read"), W("-field=password"), W("/database/creds/x/")), 0);
    assert_string_equal(fake.out, "p\033 w");
    assert_int_equal(RUN(W("read"), W("-field=lease_id"), W("database/creds/x")), 0);
    assert_string_equal(fake.out, "database/creds/x/abc");
    assert_int_equal(RUN(W("read"), W("-field=nope"), W("database/creds/x")), 1);
    ERR("no field \"nope\"");
    assert_int_equal(RUN(W("read"), W("--json"), W("database/creds/x")), 0);
    OUT("\"lease_duration\": 3600");
    OUT("\"password\": \"p\\u001b w\"");
    fake_stop();
}

/* Goal: paths are sent as they are but escaped, dots and all; lists by the method LIST. */
static void paths_as_they_are(void **state)
{
    (void)state;
    FAKE({"LIST", "/v1/a", 200, "{\"data\":{\"keys\":[\"x\",\"y/\"]}}", 0});
    assert_int_equal(RUN(W("read"), W("a/../b c/%2F?x=1/\xc3\xa9")), 2);
    ASKED("GET /v1/a/../b%20c/%252F%3Fx%3D1/%C3%A9 - \n");
    ERR("No value found at");
    assert_int_equal(RUN(W("list"), W("a")), 0);
    assert_string_equal(fake.out, "Keys\n----\nx\ny/\n");
    assert_int_equal(RUN(W("list"), W("a"), W("-format=json")), 0);
    assert_string_equal(fake.out, "[\n  \"x\",\n  \"y/\"\n]\n");
    assert_int_equal(RUN(W("list"), W("empty")), 2);
    fake_stop();
}

/* Goal: the token comes from the environment or a file, never from a flag, and is not passed on. */
static void tokens(void **state)
{
    char flag[200];
    FILE *f;

    (void)state;
    FAKE({"GET", "/v1/x", 200, "{\"data\":{\"a\":1}}", 0});
    assert_int_equal(RUN(W("read"), W("x")), 0);
    ASKED("GET /v1/x - ");
    setenv("VAULT_TOKEN", "hvs.old", 1);
    assert_int_equal(RUN(W("read"), W("x")), 0);
    ASKED("GET /v1/x hvs.old ");
    setenv("COUNTERSIGN_TOKEN", "hvs.ours", 1);
    assert_int_equal(RUN(W("read"), W("x")), 0);
    ASKED("GET /v1/x hvs.ours ");
    f = fopen(fake_file("token"), "w");
    fputs("hvs.file\n", f);
    fclose(f);
    snprintf(flag, sizeof(flag), "-token-file=%s/token", fake.folder);
    assert_int_equal(RUN(W("read"), W("x"), flag), 0);
    ASKED("GET /v1/x hvs.file ");
    assert_int_equal(RUN_WITH("hvs.piped\n", W("read"), W("x"), W("-token-file=-")), 0);
    ASKED("GET /v1/x hvs.piped ");
    assert_int_equal(RUN(W("read"), W("x"), W("-token=hvs.argv")), 1);
    assert_string_equal(fake.log, "");
    setenv("COUNTERSIGN_TOKEN", "bad\r\nX-Evil: 1", 1);
    assert_int_equal(RUN(W("read"), W("x")), 1);
    assert_string_equal(fake.log, "");
    unsetenv("VAULT_TOKEN");
    unsetenv("COUNTERSIGN_TOKEN");
    fake_stop();
}

/* Goal: each refusal says what happened, why, and what to do next, and exits with 2. */
static void refusals(void **state)
{
    (void)state;
    FAKE({"GET", "/v1/no", 403, "{\"errors\":[\"permission denied: no factor\\u001b[2J\"]}", 0},
         {"GET", "/v1/sealed", 503, "{\"errors\":[\"sealed\"]}", 0},
         {"GET", "/v1/new", 501, "{\"errors\":[]}", 0},
         {"PUT", "/v1/bad", 400, "{\"errors\":[\"a\",\"b\"]}", 0},
         {"GET", "/v1/odd", 502, "<html>", 0}, {"GET", "/v1/nojson", 200, "<html>", 0},
         {"DELETE", "/v1/no", 403, "{\"errors\":[\"permission denied\"]}", 0});
    assert_int_equal(RUN(W("read"), W("no")), 2);
    ERR("Error: permission denied: no factor?[2J (GET no)");
    ERR("countersign explain self read no");
    assert_int_equal(RUN(W("delete"), W("no")), 2);
    ERR("countersign explain self delete no");
    assert_int_equal(RUN(W("read"), W("sealed")), 2);
    ERR("operator unseal");
    assert_int_equal(RUN(W("read"), W("new")), 2);
    ERR("operator init");
    assert_int_equal(RUN(W("write"), W("bad"), W("a=b")), 2);
    ERR("a; b");
    ASKED("PUT /v1/bad - {\"a\":\"b\"}\n");
    assert_int_equal(RUN(W("read"), W("odd")), 2);
    assert_int_equal(RUN(W("read"), W("nojson")), 1);
    fake_stop();
}

/* Goal: without an agent, or with another address than this host's, the way on is told; exit 1. */
static void no_agent(void **state)
{
    (void)state;
    FAKE({"GET", "/v1/x", 200, "{}", 0});
    snprintf(fake.address, sizeof(fake.address), "-address=unix:///nonexistent/agent.sock");
    assert_int_equal(RUN(W("status")), 1);
    ERR("systemctl status countersignd");
    snprintf(fake.address, sizeof(fake.address), "-address=http://127.0.0.1:1");
    assert_int_equal(RUN(W("status")), 1);
    ERR("nobody listens there");
    for (size_t i = 0; i < 4; i++) {
        static const char *const bad[] = {"https://vault:8200", "http://127.0.0.1.evil.org",
                                          "http://127.0.0.1:80@evil.org", "unix://relative"};

        snprintf(fake.address, sizeof(fake.address), "-address=%s", bad[i]);
        assert_int_equal(RUN(W("status")), 1);
        ERR("is not this host's agent");
    }
    fake_stop();
}

/* Goal: write takes secrets from standard input and lists from repeated keys; nothing needs -force.
 */
static void write_fields(void **state)
{
    (void)state;
    FAKE({"PUT", "/v1/w", 204, "", 0});
    assert_int_equal(RUN_WITH("s3cret", W("write"), W("w"), W("password=-"), W("r=1"), W("r=2")),
                     0);
    ASKED("{\"password\":\"s3cret\",\"r\":[\"1\",\"2\"]}");
    OUT("Success! Data written to: w");
    assert_int_equal(RUN(W("write"), W("w")), 1);
    assert_string_equal(fake.log, "");
    assert_int_equal(RUN(W("write"), W("-f"), W("w")), 0);
    ASKED("PUT /v1/w - {}\n");
    fake_stop();
}

#define MOUNT2 "{\"data\":{\"path\":\"secret/\",\"type\":\"kv\",\"options\":{\"version\":\"2\"}}}"
#define SECRET                                                                                     \
    "{\"request_id\":\"r\",\"data\":{\"data\":{\"a\":\"1\",\"data\":\"d\"},\"metadata\":{"         \
    "\"version\":3,"                                                                               \
    "\"destroyed\":false,\"custom_metadata\":null}}}"

/* Goal: kv finds the mount and version; both ways to name a path; -field is the secret's own. */
static void kv_get(void **state)
{
    (void)state;
    FAKE(
        {"GET", "/v1/sys/internal/ui/mounts/secret/app", 200, MOUNT2, 0},
        {"GET", "/v1/secret/data/app", 200, SECRET, 0},
        {"GET", "/v1/secret/data/app?version=2", 404,
         "{\"data\":{\"data\":null,\"metadata\":{\"version\":2,\"deletion_time\":\"2026\"}}}", 0},
        {"GET", "/v1/sys/internal/ui/mounts/old/x", 200,
         "{\"data\":{\"path\":\"old/\",\"options\":null}}", 0},
        {"GET", "/v1/old/x", 200, "{\"data\":{\"k\":\"v\"}}", 0},
        {"GET", "/v1/sys/internal/ui/mounts/no/x", 403, "{\"errors\":[\"permission denied\"]}", 0});
    assert_int_equal(RUN(W("kv"), W("get"), W("secret/app")), 0);
    OUT("= Secret Path =");
    OUT("secret/data/app\n");
    OUT("custom_metadata    n/a");
    OUT("a       1\n");
    assert_int_equal(RUN(W("kv"), W("get"), W("-mount=secret"), W("-field=data"), W("app")), 0);
    assert_string_equal(fake.out, "d");
    assert_int_equal(RUN(W("kv"), W("get"), W("-field=version"), W("secret/app")), 1);
    assert_int_equal(RUN(W("kv"), W("get"), W("-version=2"), W("secret/app")), 0);
    OUT("deletion_time    2026");
    assert_null(strstr(fake.out, "= Data ="));
    assert_int_equal(RUN(W("kv"), W("get"), W("old/x")), 0);
    OUT("k      v");
    assert_int_equal(RUN(W("kv"), W("get"), W("-version=1"), W("old/x")), 1);
    assert_int_equal(RUN(W("kv"), W("get"), W("no/x")), 2);
    fake_stop();
}

/* Goal: kv's writing commands send what vault's send. */
static void kv_write(void **state)
{
    (void)state;
    FAKE({"GET", "/v1/sys/internal/ui/mounts/secret/app", 200, MOUNT2, 0},
         {"GET", "/v1/secret/data/app", 200, SECRET, 0},
         {"PUT", "/v1/secret/data/app", 200, "{\"data\":{\"version\":4}}", 0},
         {"PUT", "/v1/secret/destroy/app", 204, "", 0},
         {"PUT", "/v1/secret/undelete/app", 204, "", 0},
         {"DELETE", "/v1/secret/data/app", 204, "", 0},
         {"PUT", "/v1/secret/metadata/app", 204, "", 0},
         {"DELETE", "/v1/secret/metadata/app", 204, "", 0});
    assert_int_equal(RUN(W("kv"), W("put"), W("-cas=0"), W("secret/app"), W("a=b")), 0);
    ASKED("{\"data\":{\"a\":\"b\"},\"options\":{\"cas\":0}}");
    OUT("version    4");
    assert_int_equal(RUN(W("kv"), W("put"), W("secret/app"), W("a=b")), 0);
    ASKED("{\"data\":{\"a\":\"b\"},\"options\":{}}");
    assert_int_equal(RUN(W("kv"), W("patch"), W("secret/app"), W("b=2")), 0);
    ASKED("{\"data\":{\"a\":\"1\",\"data\":\"d\",\"b\":\"2\"},\"options\":{\"cas\":3}}");
    assert_int_equal(RUN(W("kv"), W("destroy"), W("-versions=1,2"), W("secret/app")), 0);
    ASKED("PUT /v1/secret/destroy/app - {\"versions\":[1,2]}");
    assert_int_equal(RUN(W("kv"), W("undelete"), W("-versions=x"), W("secret/app")), 1);
    assert_int_equal(RUN(W("kv"), W("undelete"), W("secret/app")), 1);
    assert_int_equal(RUN(W("kv"), W("delete"), W("secret/app")), 0);
    assert_int_equal(RUN(W("kv"), W("metadata"), W("put"), W("-max-versions=5"), W("-cas-required"),
                         W("-custom-metadata=o=me"), W("secret/app")),
                     0);
    ASKED("{\"max_versions\":5,\"cas_required\":true,\"custom_metadata\":{\"o\":\"me\"}}");
    assert_int_equal(RUN(W("kv"), W("metadata"), W("delete"), W("secret/app")), 0);
    fake_stop();
}

#define ENROLL                                                                                     \
    "{\"data\":{\"secret\":\"JBSWY3DPEHPK3PXP\",\"url\":\"otpauth://totp/"                         \
    "C:a?secret=JBSWY3DPEHPK3PXP\"}}"
#define CODES                                                                                      \
    "{\"data\":{\"recovery_codes\":[\"aaaa\",\"bbbb\",\"cccc\",\"dddd\",\"eeee\",\"ffff\","        \
    "\"gggg\","                                                                                    \
    "\"hhhh\",\"iiii\",\"jjjj\"]}}"

/* Goal: enrolment asks for a code up to three times, and only then shows the recovery codes. */
static void enrolment(void **state)
{
    (void)state;
    FAKE({"POST", "/v1/sys/factors/self/totp", 200, ENROLL, 0},
         {"POST", "/v1/sys/factors/self/totp/confirm", 400, "{\"errors\":[\"wrong\"]}", 2},
         {"POST", "/v1/sys/factors/self/totp/confirm", 200, CODES, 1},
         {"POST", "/v1/sys/factors/self/totp/confirm", 400, "{\"errors\":[\"wrong\"]}", 0});
    assert_int_equal(RUN_WITH("111111\n222222\n333 333\n", W("factor"), W("enroll")), 0);
    OUT("JBSW Y3DP EHPK 3PXP\n");
    OUT("█");
    assert_null(strstr(fake.out, "otpauth://"));
    OUT("   1  aaaa                         6  ffff\n");
    OUT("   5  eeee                        10  jjjj\n");
    ASKED("{\"code\":\"333333\"}");
    assert_int_equal(
        RUN_WITH("1\n2\n3\n4\n", W("factor"), W("enroll"), W("-no-qr"), W("-show-url")), 2);
    OUT("otpauth://totp/");
    assert_null(strstr(fake.out, "█"));
    assert_null(strstr(fake.out, "aaaa"));
    assert_null(strstr(fake.log, "\"4\""));
    assert_int_equal(RUN(W("factor"), W("enroll"), W("-user=a/../b")), 1);
    assert_int_equal(RUN(W("factor"), W("enroll"), W("-type=face")), 1);
    assert_string_equal(fake.log, "");
    fake_stop();
}

/* Goal: unsealing takes shares from standard input one by one until it is enough. */
static void unsealing(void **state)
{
    (void)state;
    FAKE({"GET", "/v1/sys/seal-status", 200,
          "{\"initialized\":true,\"sealed\":true,\"t\":2,\"n\":3,\"progress\":0}", 0},
         {"PUT", "/v1/sys/unseal", 200, "{\"sealed\":true,\"t\":2,\"n\":3,\"progress\":1}", 1},
         {"PUT", "/v1/sys/unseal", 200, "{\"sealed\":false,\"t\":2,\"n\":3,\"progress\":0}", 1},
         {"PUT", "/v1/sys/unseal", 400, "{\"errors\":[\"not a share\"]}", 0});
    assert_int_equal(RUN_WITH("one\ntwo\nthree\n", W("operator"), W("unseal")), 0);
    ERR("0/2");
    ERR("1/2");
    OUT("Unsealed");
    ASKED("{\"key\":\"one\"}");
    ASKED("{\"key\":\"two\"}");
    assert_null(strstr(fake.log, "three"));
    assert_int_equal(RUN_WITH("bad\n", W("operator"), W("unseal")), 2);
    assert_int_equal(RUN_WITH("", W("operator"), W("unseal")), 1);
    assert_int_equal(RUN(W("operator"), W("unseal"), W("share")), 1);
    fake_stop();
}

/* Goal: the unit's unsealing sends the credential; is silent with nothing to do; fails without one.
 */
static void unseal_from_credential(void **state)
{
    char folder[96];
    FILE *f;

    (void)state;
    FAKE({"GET", "/v1/sys/seal-status", 200, "{\"initialized\":true,\"sealed\":true}", 2},
         {"GET", "/v1/sys/seal-status", 200, "{\"initialized\":false,\"sealed\":true}", 1},
         {"GET", "/v1/sys/seal-status", 200, "{\"initialized\":true,\"sealed\":false}", 0},
         {"PUT", "/v1/sys/unseal", 200, "{\"sealed\":false}", 0});
    snprintf(folder, sizeof(folder), "%s", fake.folder);
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
    assert_int_equal(RUN(W("operator"), W("unseal"), W("-from-credential=k")), 1);
    f = fopen(fake_file("k"), "w");
    fputs("a2V5\n", f);
    fclose(f);
    assert_int_equal(RUN(W("operator"), W("unseal"), W("-from-credential=k")), 0);
    ASKED("PUT /v1/sys/unseal - {\"credential\":\"a2V5\"}");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(RUN(W("operator"), W("unseal"), W("-from-credential=k")), 0);
        assert_string_equal(fake.out, "");
        assert_string_equal(fake.err, "");
        assert_null(strstr(fake.log, "unseal -"));
    }
    unsetenv("CREDENTIALS_DIRECTORY");
    fake_stop();
}

#define INIT                                                                                       \
    "{\"keys\":[],\"recovery_keys\":[\"00\"],\"recovery_keys_base64\":[\"c2hhcmUx\",\"c2hhcmUy\"]" \
    ","                                                                                            \
    "\"unseal_key\":\"dW5zZWFs\"}"

/* Goal: init keeps the unseal key in a new file only, shows the shares, and asks nothing before it
 * knows where the key can go. */
static void initialising(void **state)
{
    char flag[200], text[64];

    (void)state;
    FAKE({"PUT", "/v1/sys/init", 200, INIT, 1},
         {"PUT", "/v1/sys/init", 400, "{\"errors\":[\"already\"]}", 0});
    snprintf(flag, sizeof(flag), "-unseal-key-file=%s/key", fake.folder);
    assert_int_equal(RUN(W("operator"), W("init"), W("-operator=group:sre"),
                         W("-recovery-shares=2"), W("-recovery-threshold=2"), flag),
                     0);
    ASKED("\"recovery_shares\":2,\"recovery_threshold\":2,\"operator\":\"group:sre\"");
    OUT("c2hhcmUx");
    OUT("c2hhcmUy");
    OUT("Any 2 of these 2");
    assert_null(strstr(fake.out, "dW5zZWFs"));
    fake_slurp("key", text, sizeof(text));
    assert_string_equal(text, "dW5zZWFs\n");
    assert_int_equal(RUN(W("operator"), W("init"), flag), 1);
    assert_string_equal(fake.log, "");
    snprintf(flag, sizeof(flag), "-unseal-key-file=%s/key2", fake.folder);
    assert_int_equal(RUN(W("operator"), W("init"), flag), 2);
    assert_int_equal(access(fake_file("key2"), F_OK), -1);
    fake_stop();
}

/* Goal: status's exit code is the seal's, and problems are on the screen. */
static void status_codes(void **state)
{
    (void)state;
    FAKE({"GET", "/v1/sys/seal-status", 200,
          "{\"initialized\":true,\"sealed\":true,\"t\":3,\"progress\":1}", 1},
         {"GET", "/v1/sys/status", 503, "{\"errors\":[\"sealed\"]}", 1},
         {"GET", "/v1/sys/seal-status", 200, "{\"initialized\":true,\"sealed\":false}", 0},
         {"GET", "/v1/sys/status", 200,
          "{\"data\":{\"version\":\"1\",\"initialized\":true,\"sealed\":false,\"leases\":{"
          "\"active\":2,"
          "\"revoking\":1},\"revocations_waiting\":1,\"oldest_waiting\":\"2020-01-01T00:00:00Z\","
          "\"disk\":{\"store\":{\"free\":5242880,\"reserve_whole\":8,\"full\":false},"
          "\"audit\":{\"free\":0,\"reserve_whole\":4,\"full\":true}},"
          "\"alerts\":{\"count\":3,\"since\":\"2020-01-01T00:00:00Z\","
          "\"last\":\"2020-01-02T00:00:00Z\",\"last_event\":\"a\\u001b[2Jb\"},"
          "\"connector\":\"down\",\"audit\":{\"seq\":9,\"waiting\":4},\"problems\":[\"the disk is "
          "full: "
          "make room\"]}}",
          0});
    assert_int_equal(RUN(W("status")), 2);
    OUT("sealed");
    OUT("1/3 recovery shares");
    OUT("operator unseal");
    assert_int_equal(RUN(W("status")), 0);
    OUT("2 active, 1 revoking");
    OUT("(the oldest since ");
    OUT("down");
    OUT("4 not yet in the log file");
    OUT("the disk is full: make room");
    OUT("5.0 MiB free for the store, nothing free for the audit log");
    OUT("3, the first ");
    OUT("ago: a");
    assert_null(strstr(fake.out, "\033[2J"));
    fake_stop();
}

/* Goal: accounts that can't be dropped are listed with what depends on each. */
static void quarantined(void **state)
{
    (void)state;
    FAKE({"GET", "/v1/sys/leases?limit=1000&state=quarantined", 200,
          "{\"data\":{\"leases\":[{\"id\":\"database/creds/x/1\",\"principal\":\"user:al\","
          "\"state\":\"quarantined\",\"objects\":[\"table work.ledger\",\"view work.v\"],"
          "\"lifetime\":{\"kind\":\"none\"}}],\"truncated\":false}}",
          1},
         {"GET", "/v1/sys/leases?limit=1000&state=quarantined", 200,
          "{\"data\":{\"leases\":[],\"truncated\":false}}", 0});
    assert_int_equal(RUN(W("lease"), W("list"), W("-quarantined")), 0);
    OUT("quarantined");
    OUT("table work.ledger");
    OUT("view work.v");
    assert_int_equal(RUN(W("lease"), W("list"), W("-quarantined")), 0);
    OUT("No quarantined leases");
    fake_stop();
}

/* Goal: leases are listed with holder and lifetime; each way to revoke asks the right thing. */
static void leases(void **state)
{
    (void)state;
    FAKE({"GET", "/v1/sys/leases?limit=1000", 200,
          "{\"data\":{\"leases\":[{\"id\":\"database/creds/x/"
          "1\",\"principal\":\"user:al\",\"state\":"
          "\"active\",\"issued\":\"2020-01-01T00:00:00Z\",\"expires\":\"2099-01-01T00:00:00Z\","
          "\"lifetime\":{\"kind\":\"session\",\"id\":\"7\",\"name\":\"c7\"}},{\"id\":\"ssh/"
          "1\",\"principal\":"
          "\"uid:0\",\"state\":\"revoking\",\"attempts\":3,\"last_error\":\"db "
          "down\",\"lifetime\":{\"kind\":"
          "\"none\"}}],\"truncated\":true}}",
          0},
         {"GET", "/v1/sys/leases?limit=5&principal=user%3Aal%26x", 200,
          "{\"data\":{\"leases\":[]}}", 0},
         {"PUT", "/v1/sys/leases/revoke", 204, "", 0},
         {"PUT", "/v1/sys/leases/revoke-prefix/database", 204, "", 0},
         {"PUT", "/v1/sys/leases/revoke-principal", 200, "{\"data\":{\"revoked\":4}}", 0});
    assert_int_equal(RUN(W("lease"), W("list")), 0);
    OUT("user:al  active");
    OUT("session c7");
    OUT("revoking (tried 3: db down)");
    ERR("There are more");
    assert_int_equal(RUN(W("lease"), W("list"), W("-prefix=ssh/")), 0);
    assert_null(strstr(fake.out, "database"));
    assert_int_equal(RUN(W("lease"), W("list"), W("-limit=5"), W("--principal"), W("user:al&x")),
                     0);
    OUT("No leases");
    assert_int_equal(RUN(W("lease"), W("revoke"), W("database/creds/x/1")), 0);
    ASKED("PUT /v1/sys/leases/revoke - {\"lease_id\":\"database/creds/x/1\"}");
    assert_int_equal(RUN(W("lease"), W("revoke"), W("-prefix"), W("database")), 0);
    assert_int_equal(RUN(W("lease"), W("revoke"), W("--principal"), W("user:al")), 0);
    ASKED("{\"principal\":\"user:al\"}");
    OUT("of user:al that are revoked, or being revoked: 4");
    assert_int_equal(RUN(W("lease"), W("revoke")), 1);
    assert_int_equal(RUN(W("lease"), W("revoke"), W("x"), W("-principal=user:al")), 1);
    fake_stop();
}

#define TRACE(verdict)                                                                             \
    "{\"data\":{\"verdict\":\"" verdict "\",\"why\":\"because\",\"binding\":\"dba\",\"policy\":"   \
    "\"db-read\",\"rule\":\"database/"                                                             \
    "*\",\"principals\":[\"user:al\"],\"bindings\":[{\"name\":\"dba\","                            \
    "\"principal\":\"group:dba\",\"satisfied\":false,\"conditions\":[{\"condition\":\"mfa\","      \
    "\"met\":false,"                                                                               \
    "\"detail\":\"none\"},{\"condition\":\"from\",\"met\":true,\"detail\":\"local\"}],"            \
    "\"policies\":[\"p\"],"                                                                        \
    "\"services\":[]}]}}"

/* Goal: explain prints the verdict, the rule and each condition; its exit code is the verdict. */
static void explaining(void **state)
{
    (void)state;
    FAKE({"POST", "/v1/sys/explain", 200, TRACE("deny"), 1},
         {"POST", "/v1/sys/explain", 200, TRACE("allow"), 1},
         {"POST", "/v1/sys/explain", 200, TRACE("perhaps"), 1},
         {"POST", "/v1/sys/explain", 200, "{\"data\":{}}", 0});
    setenv("LC_ALL", "C.UTF-8", 1);
    assert_int_equal(RUN(W("explain"), W("user:al"), W("read"), W("/database/creds/x")), 2);
    ASKED("{\"principal\":\"user:al\",\"operation\":\"read\",\"path\":\"database/creds/x\"}");
    OUT("deny  because");
    OUT("database/*");
    OUT("✗ dba  (as group:dba)");
    OUT("✗ mfa: none");
    OUT("✓ from: local");
    assert_int_equal(RUN(W("explain"), W("self"), W("service"), W("sudo")), 0);
    ASKED("{\"principal\":\"self\",\"service\":\"sudo\"}");
    assert_int_equal(RUN(W("explain"), W("self"), W("read"), W("x")), 2);
    assert_int_equal(RUN(W("explain"), W("self"), W("read"), W("x")), 1);
    unsetenv("LC_ALL");
    fake_stop();
}

/* Goal: a binding can be written as words: lists split, mfa.* nested. */
static void bindings(void **state)
{
    (void)state;
    FAKE({"PUT", "/v1/sys/bindings/dba", 204, "", 0},
         {"GET", "/v1/sys/bindings/dba", 200, "{\"data\":{\"ttl\":60,\"principals\":[\"*\"]}}", 0},
         {"PUT", "/v1/sys/policies/acl/p", 204, "", 0});
    assert_int_equal(RUN(W("binding"), W("write"), W("dba"), W("principals=group:a, user:b"),
                         W("ttl=1h"), W("mfa.factors=totp"), W("mfa.max_age=15m")),
                     0);
    ASKED("{\"principals\":[\"group:a\",\"user:b\"],\"ttl\":\"1h\",\"mfa\":{\"factors\":[\"totp\"],"
          "\"max_age\":\"15m\"}}");
    assert_int_equal(
        RUN_WITH("{\"mfa\":{\"factors\":[\"totp\"]}}", W("binding"), W("write"), W("dba"), W("-")),
        0);
    ASKED("{\"mfa\":{\"factors\":[\"totp\"]}}");
    assert_int_equal(RUN(W("binding"), W("read"), W("-field=data"), W("dba")), 0);
    OUT("\"principals\": [\n    \"*\"\n  ]");
    assert_int_equal(RUN_WITH("path \"x\" {}\n", W("policy"), W("write"), W("p"), W("-")), 0);
    ASKED("{\"policy\":\"path \\\"x\\\" {}\\n\"}");
    fake_stop();
}

/* Goal: tokens: create's fields, and ids from standard input. */
static void token_commands(void **state)
{
    (void)state;
    FAKE({"POST", "/v1/auth/token/create", 200,
          "{\"request_id\":\"r\",\"data\":null,\"auth\":{\"client_token\":\"hvs.new\",\"accessor\":"
          "\"acc\",\"policies\":"
          "[\"a\"],\"lease_duration\":60,\"renewable\":true}}",
          0},
         {"PUT", "/v1/auth/token/revoke", 204, "", 0},
         {"PUT", "/v1/auth/token/revoke-self", 204, "", 0},
         {"PUT", "/v1/auth/token/revoke-accessor", 204, "", 0},
         {"POST", "/v1/sys/capabilities-self", 200, "{\"data\":{\"a/b\":[\"read\",\"list\"]}}", 0});
    assert_int_equal(RUN(W("token"), W("create"), W("-policy=a"), W("-policy=b"), W("-ttl=1h"),
                         W("-orphan"), W("-renewable=false"), W("-use-limit=3")),
                     0);
    ASKED("{\"ttl\":\"1h\",\"no_parent\":true,\"renewable\":false,\"policies\":[\"a\",\"b\"],\"num_"
          "uses\":3}");
    OUT("token                hvs.new");
    OUT("token_duration       1m");
    assert_int_equal(RUN(W("token"), W("create"), W("-field=token")), 0);
    assert_string_equal(fake.out, "hvs.new");
    assert_int_equal(RUN_WITH("hvs.x\n", W("token"), W("revoke"), W("-")), 0);
    ASKED("{\"token\":\"hvs.x\"}");
    assert_int_equal(RUN(W("token"), W("revoke"), W("-accessor"), W("acc")), 0);
    ASKED("revoke-accessor - {\"accessor\":\"acc\"}");
    assert_int_equal(RUN(W("token"), W("revoke")), 1);
    assert_int_equal(RUN(W("token"), W("revoke"), W("-self")), 0);
    assert_int_equal(RUN(W("token"), W("capabilities"), W("a/b")), 0);
    assert_string_equal(fake.out, "read, list\n");
    fake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_leased),
        cmocka_unit_test(paths_as_they_are),
        cmocka_unit_test(tokens),
        cmocka_unit_test(refusals),
        cmocka_unit_test(no_agent),
        cmocka_unit_test(write_fields),
        cmocka_unit_test(kv_get),
        cmocka_unit_test(kv_write),
        cmocka_unit_test(enrolment),
        cmocka_unit_test(unsealing),
        cmocka_unit_test(unseal_from_credential),
        cmocka_unit_test(initialising),
        cmocka_unit_test(status_codes),
        cmocka_unit_test(quarantined),
        cmocka_unit_test(leases),
        cmocka_unit_test(explaining),
        cmocka_unit_test(bindings),
        cmocka_unit_test(token_commands),
    };

    unsetenv("VAULT_TOKEN");
    unsetenv("COUNTERSIGN_TOKEN");
    unsetenv("VAULT_FORMAT");
    setenv("TZ", "UTC", 1);
    json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
