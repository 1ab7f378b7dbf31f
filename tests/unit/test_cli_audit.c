/* audit verify: the file goes to the agent in pieces that fit, and a broken record is named. */
#include "cli_fixture.h"

#include <countersign/api.h>

#include "cli/auditfile.h"

#define GOOD(n, seq)                                                                               \
    "{\"data\":{\"checked\":" #n ",\"chain\":{\"seq\":" #seq ",\"mac\":\"m" #seq                   \
    "\"},\"broken\":null}}"

static void put_file(const char *name, const char *text, size_t n)
{
    FILE *f = fopen(fake_file(name), "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    fclose(f);
}

static char *path_of(const char *name)
{
    static char path[200];

    snprintf(path, sizeof(path), "%s", fake_file(name));
    return path;
}

/* Goal: a whole file: its lines arrive unchanged, the chain begins with null; exit code 0. */
static void whole(void **state)
{
    (void)state;
    FAKE({"POST", "/v1/sys/audit/verify", 200, GOOD(2, 7), 0});
    put_file("log1", "{\"a\":\"x\\\\y\"}\n{\"b\":1}\n", 21);
    assert_int_equal(RUN(W("audit"), W("verify"), path_of("log1")), 0);
    ASKED("{\"lines\":\"{\\\"a\\\":\\\"x\\\\\\\\y\\\"}\\n{\\\"b\\\":1}\\n\",\"chain\":null}");
    OUT("Whole: 2 records");
    OUT("up to number 7");
    fake_stop();
}

/* Goal: a long file goes in batches below the agent's limit, each with the chain of the one before;
 * the broken line is named by its number in the file. */
static void batches_and_broken(void **state)
{
    static char line[2001], *text;
    size_t n = 0, lines = 1500;

    (void)state;
    FAKE({"POST", "/v1/sys/audit/verify", 200, GOOD(200, 200), 1},
         {"POST", "/v1/sys/audit/verify", 200,
          "{\"data\":{\"checked\":4,\"chain\":{\"seq\":204,\"mac\":\"x\"},\"broken\":{\"line\":5,"
          "\"seq\":205,"
          "\"reason\":\"the mac is wrong\"}}}",
          0});
    memset(line, '"', 1999);
    line[1999] = '\n';
    text = malloc(lines * 2000);
    assert_non_null(text);
    for (size_t i = 0; i < lines; i++, n += 2000)
        memcpy(text + n, line, 2000);
    put_file("log2", text, n);
    free(text);
    assert_int_equal(RUN(W("audit"), W("verify"), path_of("log2")), 2);
    ASKED("\"chain\":{\"seq\":200,\"mac\":\"m200\"}");
    ERR("record 205");
    ERR("the mac is wrong");
    /* 1,999 quotes and a line end are 4,000 escaped bytes: 230 of them are less than 900 KiB. */
    ERR("broken at line 235,");
    fake_stop();
}

/* Goal: what no record can be is found here: bytes that aren't text, a cut-off end. */
static void not_records(void **state)
{
    (void)state;
    FAKE({"POST", "/v1/sys/audit/verify", 200, GOOD(1, 1), 0});
    put_file("bin", "{\"a\":1}\n{\"b\":\"\xff\"}\n", 18);
    assert_int_equal(RUN(W("audit"), W("verify"), path_of("bin")), 2);
    ERR("line 2");
    ERR("not text");
    put_file("nul", "{\"a\":1}\n\0\n", 10);
    assert_int_equal(RUN(W("audit"), W("verify"), path_of("nul")), 2);
    put_file("cut", "{\"a\":1}\n{\"b\":", 13);
    assert_int_equal(RUN(W("audit"), W("verify"), path_of("cut"), W("-json")), 2);
    ERR("cut off");
    OUT("\"whole\": false");
    OUT("\"line\": 2");
    assert_int_equal(RUN(W("audit"), W("verify"), path_of("missing")), 1);
    fake_stop();
}

/* Goal: the newest file's end is compared with what the agent remembers. */
static void compared_with_head(void **state)
{
    (void)state;
    FAKE({"GET", "/v1/sys/audit/head", 200, "{\"data\":{\"seq\":1,\"mac\":\"m1\"}}", 1},
         {"GET", "/v1/sys/audit/head", 200, "{\"data\":{\"seq\":1,\"mac\":\"other\"}}", 1},
         {"GET", "/v1/sys/audit/head", 200, "{\"data\":{\"seq\":5,\"mac\":\"m5\"}}", 0},
         {"POST", "/v1/sys/audit/verify", 200, GOOD(1, 1), 0});
    put_file("log3", "{\"a\":1}\n", 8);
    assert_int_equal(RUN(W("audit"), W("verify"), W("-to-the-end"), path_of("log3")), 0);
    assert_int_equal(RUN(W("audit"), W("verify"), W("-to-the-end"), path_of("log3")), 2);
    ERR("not the one the agent remembers");
    assert_int_equal(RUN(W("audit"), W("verify"), W("-to-the-end"), path_of("log3")), 2);
    ERR("the end is missing");
    fake_stop();
}

/* Goal: an empty file is whole, and has no records. */
static void empty_file(void **state)
{
    (void)state;
    FAKE({"POST", "/v1/none", 200, "", 0});
    put_file("empty", "", 0);
    assert_int_equal(RUN(W("audit"), W("verify"), path_of("empty")), 0);
    OUT("0 records");
    fake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),       cmocka_unit_test(batches_and_broken),
        cmocka_unit_test(not_records), cmocka_unit_test(compared_with_head),
        cmocka_unit_test(empty_file),
    };

    unsetenv("VAULT_FORMAT");
    json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
