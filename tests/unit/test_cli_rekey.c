/* operator generate-root, rekey, reseal, break-glass against a small agent. */
#include "cli_fixture.h"

#include <unistd.h>

#define ATTEMPT(started, otp)                                                                      \
    "{\"started\":" started ",\"nonce\":\"n-1\",\"progress\":0,\"required\":2,\"complete\":false," \
    "\"encoded_token\":\"\",\"otp\":\"" otp "\"}"

/* Goal: generate-root in one go: starts, asks for shares, decodes what comes; no share and nothing
 * but the token on standard output. */
static void root_in_one_go(void **state)
{
    (void)state;
    FAKE({"GET", "/v1/sys/generate-root/attempt", 200, ATTEMPT("false", ""), 0},
         {"PUT", "/v1/sys/generate-root/attempt", 200, ATTEMPT("true", "ABCD"), 0},
         {"PUT", "/v1/sys/generate-root/update", 200, ATTEMPT("true", ""), 1},
         {"PUT", "/v1/sys/generate-root/update", 200,
          "{\"complete\":true,\"encoded_token\":\"KTQwag\",\"nonce\":\"n-1\"}", 0});
    assert_int_equal(RUN_WITH("one\ntwo\nthree\n", W("operator"), W("generate-root")), 0);
    assert_string_equal(fake.out, "hvs.\n");
    ASKED("{\"key\":\"one\",\"nonce\":\"n-1\"}");
    ASKED("{\"key\":\"two\",\"nonce\":\"n-1\"}");
    assert_null(strstr(fake.log, "three"));
    assert_null(strstr(fake.err, "two"));
    assert_int_equal(RUN_WITH("one\n", W("operator"), W("generate-root")), 0);
    fake_stop();
}

/* Goal: too few shares end with what to do next; decoding takes both forms of base64 and refuses
 * what doesn't belong together. */
static void root_by_several(void **state)
{
    (void)state;
    FAKE({"GET", "/v1/sys/generate-root/attempt", 200, ATTEMPT("true", ""), 0});
    assert_int_equal(RUN_WITH("", W("operator"), W("generate-root")), 1);
    ERR("Others go on with");
    assert_int_equal(RUN_WITH("ABCD\n", W("operator"), W("generate-root"), W("-decode=KTQwag")), 0);
    assert_string_equal(fake.out, "hvs.\n");
    assert_int_equal(
        RUN_WITH("KTQwag==\nABCD\n", W("operator"), W("generate-root"), W("-decode=-")), 0);
    assert_string_equal(fake.out, "hvs.\n");
    static const char *const bad[] = {"ABCDE\n", "ABC\n", "\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(RUN_WITH(bad[i], W("operator"), W("generate-root"), W("-decode=KTQwag")),
                         1);
        assert_string_equal(fake.out, "");
    }
    fake_stop();
}

/* Goal: new shares are asked for with verification unless that is declined, and shown with what
 * still has to be done. */
static void rekey(void **state)
{
    (void)state;
    FAKE({"GET", "/v1/sys/rekey/init", 200,
          "{\"started\":false,\"nonce\":\"\",\"t\":0,\"required\":1}", 1},
         {"PUT", "/v1/sys/rekey/init", 200,
          "{\"started\":true,\"nonce\":\"n\",\"t\":2,\"n\":3,\"required\":1}", 0},
         {"GET", "/v1/sys/rekey/init", 200,
          "{\"started\":true,\"nonce\":\"n\",\"progress\":0,\"required\":1}", 0},
         {"PUT", "/v1/sys/rekey/update", 200,
          "{\"complete\":true,\"keys_base64\":[\"aaa\",\"bbb\",\"ccc\"],\"recovery_keys\":[\"x\"],"
          "\"verification_required\":true}",
          0});
    assert_int_equal(
        RUN_WITH("old\n", W("operator"), W("rekey"), W("-key-shares=3"), W("-key-threshold=2")), 0);
    ASKED("{\"secret_shares\":3,\"secret_threshold\":2,\"require_verification\":true}");
    OUT("Recovery shares");
    OUT("   1  aaa\n   2  bbb\n   3  ccc\n");
    OUT("Any 2 of these 3");
    ERR("not in force yet");
    ERR("operator rekey -verify");
    assert_int_equal(RUN(W("operator"), W("rekey"), W("-init"), W("-verify=false")), 0);
    ASKED("\"require_verification\":false");
    fake_stop();
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Goal: a new unseal key that the agent doesn't open with is taken back: its file is removed, the
 * agent told, and the person, too. */
static void reseal(void **state)
{
    char flag[256];
    const char *path;
    (void)state;
    FAKE({"PUT", "/v1/sys/reseal/init", 200, "{\"unseal_key\":\"a2V5\"}", 0},
         {"PUT", "/v1/sys/reseal/update", 400, "{\"errors\":[\"this is not the new unseal key\"]}",
          1},
         {"DELETE", "/v1/sys/reseal/init", 204, "", 0},
         {"PUT", "/v1/sys/reseal/update", 200, "{\"complete\":true}", 0});
    path = fake_file("new-key");
    snprintf(flag, sizeof(flag), "-unseal-key-file=%s", path);
    assert_int_equal(RUN(W("operator"), W("reseal"), flag), 2);
    ASKED("{\"credential\":\"a2V5\"}");
    ASKED("DELETE /v1/sys/reseal/init");
    ERR("not the new unseal key");
    ERR("All is as it was");
    assert_false(exists(fake_file("new-key")));
    assert_int_equal(RUN(W("operator"), W("reseal"), flag), 0);
    assert_true(exists(fake_file("new-key")));
    assert_null(strstr(fake.out, "a2V5"));
    assert_int_equal(RUN(W("operator"), W("reseal"), flag), 1); /* it is there already */
    ERR("Nothing was changed");
    fake_stop();
}

/* Goal: emergency codes are shown with what to do with them; nobody's are made for nobody; the
 * status is a table that says which are not ours. */
static void break_glass(void **state)
{
    (void)state;
    FAKE({"PUT", "/v1/sys/break-glass/root", 200,
          "{\"data\":{\"user\":\"root\",\"codes\":[{\"id\":\"1a\",\"code\":\"aaaa-bbbb\"}]}}", 0},
         {"GET", "/v1/sys/break-glass", 200,
          "{\"data\":{\"left\":1,\"used\":1,\"codes\":["
          "{\"id\":\"1a\",\"user\":\"root\",\"made\":\"2026-11-22T07:30:00Z\",\"used\":null,"
          "\"service\":null,"
          "\"source\":null,\"genuine\":true},"
          "{\"id\":\"2b\",\"user\":\"root\",\"made\":\"2026-11-22T07:30:00Z\",\"used\":\"2026-11-"
          "22T08:30:00Z\","
          "\"service\":\"sshd\",\"source\":\"192.0.2.1\",\"genuine\":true},"
          "{\"id\":\"3c\",\"user\":\"eve\",\"made\":null,\"used\":null,\"genuine\":false}]}}",
          0},
         {"DELETE", "/v1/sys/break-glass/root", 200, "{\"data\":{\"revoked\":1}}", 0});
    assert_int_equal(
        RUN(W("operator"), W("break-glass"), W("generate"), W("-user=root"), W("-count=1")), 0);
    ASKED("{\"count\":1}");
    OUT("aaaa-bbbb");
    OUT("sealed\n    envelope");
    assert_int_equal(RUN(W("operator"), W("break-glass"), W("generate")), 1);
    ERR("-user=NAME");
    assert_int_equal(RUN(W("operator"), W("break-glass"), W("generate"), W("-user=no such")), 1);
    ERR("knows nobody");
    assert_string_equal(fake.log, "");
    assert_int_equal(RUN(W("operator"), W("break-glass"), W("status")), 0);
    OUT("unused");
    OUT("192.0.2.1");
    OUT("NOT OURS");
    OUT("1 left, 1 used.");
    assert_int_equal(RUN(W("operator"), W("break-glass"), W("revoke"), W("-user=root")), 0);
    OUT("1 unused emergency codes of root are void");
    fake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(root_in_one_go), cmocka_unit_test(root_by_several),
        cmocka_unit_test(rekey),          cmocka_unit_test(reseal),
        cmocka_unit_test(break_glass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
