#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "connector/dsn.h"
#include "connector/frame.h"

#define DB "\"db\":{\"name\":\"shop\",\"url\":\"host=/tmp\",\"username\":\"a\",\"password\":\"b\"}"
#define SALT "AAAAAAAAAAAAAAAAAAAAAA=="
#define KEY "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define VERIFIER "\"verifier\":\"SCRAM-SHA-256$4096:" SALT "$" KEY ":" KEY "\""
#define CLAIM(next, known)                                                                         \
    "\"claim\":{\"marker\":\"m\",\"next\":" next ",\"known\":" known ",\"by\":\"h\",\"take\":"     \
                                                                     "false}"
#define CREATE "{\"id\":7,\"op\":\"create\"," DB ",\"role\":\"r\",\"expires\":5,\"comment\":\"c\","

static int read_text(const char *text, struct frame *f)
{
    char why[256];

    return frame_read(text, strlen(text), f, why, sizeof(why));
}

/* Each op is read with what it needs. */
static void test_good(_unused_ void **state)
{
    static const struct {
        const char *text;
        enum frame_op op;
    } rows[] = {
        {"{\"id\":0,\"op\":\"check\"," DB "}", FRAME_CHECK},
        {"{\"id\":1,\"op\":\"check\"," DB ",\"groups\":[\"g\"]}", FRAME_CHECK},
        {CREATE VERIFIER "}", FRAME_CREATE},
        {CREATE VERIFIER
         ",\"groups\":[\"a\",\"b\"],\"connection_limit\":-1,\"statements\":[\"x\"]}",
         FRAME_CREATE},
        {"{\"id\":1,\"op\":\"renew\"," DB ",\"role\":\"r\",\"expires\":9}", FRAME_RENEW},
        {"{\"id\":1,\"op\":\"revoke\"," DB ",\"role\":\"r\",\"timeout_ms\":50}", FRAME_REVOKE},
        {"{\"id\":1,\"op\":\"sweep\"," DB
         ",\"instance\":\"01234567-89ab-4cde-8f01-23456789abcd\",\"after\":\"\",\"limit\":5}",
         FRAME_SWEEP},
        {"{\"id\":1,\"op\":\"revoke\"," DB
         ",\"role\":\"r\"," CLAIM("\"0123456789abcdef\"", "[]") "}",
         FRAME_REVOKE},
        {"{\"id\":9223372036854775807,\"op\":\"forget\"," DB "}", FRAME_FORGET},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct frame f;

        assert_int_equal(read_text(rows[i].text, &f), 0);
        assert_int_equal(f.op, rows[i].op);
        assert_int_equal(f.timeout_ms, strstr(rows[i].text, "timeout_ms") ? 50 : FRAME_TIMEOUT_MS);
        frame_clear(&f);
    }
}

/* What is wrong but has an id is answered to that id. */
static void test_invalid(_unused_ void **state)
{
    static const char *const texts[] = {
        "{\"id\":7}",
        "{\"id\":7,\"op\":\"check\"}",
        "{\"id\":7,\"op\":\"explode\"," DB "}",
        "{\"id\":7,\"op\":5," DB "}",
        "{\"id\":7,\"op\":\"check\",\"db\":\"shop\"}",
        "{\"id\":7,\"op\":\"check\",\"db\":{\"name\":\"x\"}}",
        "{\"id\":7,\"op\":\"check\",\"db\":{\"name\":\"x\",\"url\":5}}",
        "{\"id\":7,\"op\":\"check\",\"db\":{\"name\":\"x\",\"url\":\"y\",\"more\":1}}",
        "{\"id\":7,\"op\":\"check\"," DB ",\"more\":1}",
        "{\"id\":7,\"op\":\"check\"," DB ",\"timeout_ms\":0}",
        "{\"id\":7,\"op\":\"check\"," DB ",\"timeout_ms\":600001}",
        "{\"id\":7,\"op\":\"check\"," DB ",\"timeout_ms\":\"50\"}",
        CREATE "\"verifier\":\"secret\"}",
        CREATE "\"verifier\":\"md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
        CREATE "\"verifier\":\"SCRAM-SHA-256$'; DROP TABLE x; --" KEY KEY KEY "\"}",
        CREATE VERIFIER ",\"groups\":\"a,b\"}",
        CREATE VERIFIER ",\"groups\":[\"\"]}",
        CREATE VERIFIER ",\"groups\":[5]}",
        CREATE VERIFIER ",\"statements\":\"x\"}",
        CREATE VERIFIER ",\"statements\":[{}]}",
        CREATE VERIFIER ",\"connection_limit\":-2}",
        "{\"id\":7,\"op\":\"renew\"," DB ",\"role\":\"r\",\"expires\":253402300800}",
        "{\"id\":7,\"op\":\"renew\"," DB ",\"role\":\"r\",\"expires\":0}",
        "{\"id\":7,\"op\":\"revoke\"," DB ",\"role\":\"\"}",
        "{\"id\":7,\"op\":\"revoke\"," DB ",\"role\":null}",
        "{\"id\":7,\"op\":\"revoke\"," DB ",\"role\":"
        "\"0123456789012345678901234567890123456789012345678901234567890123\"}",
        "{\"id\":7,\"op\":\"sweep\"," DB ",\"instance\":\"x\"}",
        "{\"id\":7,\"op\":\"sweep\"," DB ",\"instance\":\"01234567-89ab-4cde-8f01-23456789abc%\"}",
        "{\"id\":7,\"op\":\"sweep\"," DB
        ",\"instance\":\"01234567-89ab-4cde-8f01-23456789abcd\",\"limit\":0}",
        "{\"id\":7,\"op\":\"revoke\"," DB ",\"role\":\"r\",\"claim\":7}",
        "{\"id\":7,\"op\":\"revoke\"," DB ",\"role\":\"r\",\"claim\":{}}",
        "{\"id\":7,\"op\":\"forget\"," DB "," CLAIM("\"0123456789abcdef\"", "[]") "}",
        "{\"id\":7,\"op\":\"revoke\"," DB
        ",\"role\":\"r\"," CLAIM("\"0123456789abcde'\"", "[]") "}",
        "{\"id\":7,\"op\":\"revoke\"," DB
        ",\"role\":\"r\"," CLAIM("\"0123456789abcdef0\"", "[]") "}",
        "{\"id\":7,\"op\":\"revoke\"," DB
        ",\"role\":\"r\"," CLAIM("\"0123456789abcdef\"", "[1]") "}",
        "{\"id\":7,\"op\":\"revoke\"," DB
        ",\"role\":\"r\"," CLAIM("\"0123456789abcdef\"", "[\"short\"]") "}",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct frame f;

        assert_int_equal(read_text(texts[i], &f), FRAME_INVALID);
        assert_int_equal(f.id, 7);
        assert_null(f.body);
    }
}

/* What has no id to answer to ends the connection. */
static void test_unreadable(_unused_ void **state)
{
    static const char *const texts[] = {
        "",
        "frame!",
        "[]",
        "5",
        "{}",
        "{\"id\":-1}",
        "{\"id\":\"7\"}",
        "{\"id\":7.5}",
        "{\"id\":7,\"id\":7}",
        "{\"id\":9223372036854775808}",
        "{\"id\":7} {}",
        "{\"id\":7",
        "{\"id\":7,\"op\":\"\\u0000\"}",
        "\xff",
    };
    struct frame f;
    char why[64];

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(read_text(texts[i], &f), -EBADMSG);
    assert_int_equal(frame_read("{\"id\":7,\"op\":\"check\"\0}", 23, &f, why, sizeof(why)),
                     -EBADMSG);
}

/* Every cut of a good frame is refused. */
static void test_cut_anywhere(_unused_ void **state)
{
    static const char text[] = CREATE VERIFIER ",\"groups\":[\"a\"]}";

    for (size_t n = 0; n < sizeof(text) - 1; n++) {
        char *cut = mem_dup(text, n), why[256];
        struct frame f;

        assert_non_null(cut);
        assert_int_equal(frame_read(cut, n, &f, why, sizeof(why)), -EBADMSG);
        mem_free_str(cut);
    }
}

/* The reason never repeats a value. */
static void test_reason_is_mute(_unused_ void **state)
{
    static const char text[] =
        "{\"id\":7,\"op\":\"create\"," DB
        ",\"role\":\"r\",\"expires\":5,\"comment\":\"c\",\"verifier\":\"hunter2\"}";
    struct frame f;
    char why[256];

    assert_int_equal(frame_read(text, strlen(text), &f, why, sizeof(why)), FRAME_INVALID);
    assert_null(strstr(why, "hunter2"));
    assert_true(why[0] != '\0');
}

/* Answers have the form of the contract. */
static void test_answers(_unused_ void **state)
{
    _cleanup_buf_ struct buf ok = BUF_INIT(CONNECTOR_FRAME_MAX);
    _cleanup_buf_ struct buf bad = BUF_INIT(CONNECTOR_FRAME_MAX);
    _cleanup_buf_ struct buf hello = BUF_INIT(CONNECTOR_FRAME_MAX);
    json_t *fields _cleanup_json_ = json_pack("{s:i}", "terminated", 2);
    json_t *objects _cleanup_json_ = json_pack("[s]", "table x");
    struct failure why;

    assert_int_equal(frame_success(7, fields, &ok), 0);
    assert_string_equal(buf_str(&ok), "{\"id\":7,\"ok\":true,\"terminated\":2}");
    failure_from_server(&why, "2BP01", "still \"there\"", NULL);
    assert_int_equal(frame_failure(8, &why, objects, &bad), 0);
    assert_string_equal(
        buf_str(&bad),
        "{\"id\":8,\"ok\":false,\"kind\":\"dependent\",\"message\":\"still \\\"there\\\"\","
        "\"sqlstate\":\"2BP01\",\"objects\":[\"table x\"]}");
    assert_int_equal(frame_hello(&hello), 0);
    assert_int_equal(strncmp(buf_str(&hello), "{\"hello\":1,\"program\":\"", 22), 0);
}

static const char *param(const struct dsn *d, const char *key)
{
    for (size_t i = 0; i < d->count; i++) {
        if (strcmp(d->key[i], key) == 0)
            return d->value[i];
    }
    return "(none)";
}

/* The account goes into the url whole, whatever is in it, in both of libpq's forms. */
static void test_dsn_account(_unused_ void **state)
{
    static const char user[] = "a@b:c/d'\\ e", password[] = "p' host=evil \\ %40{{username}}";
    static const char *const urls[] = {
        "postgresql://{{username}}:{{password}}@h:5/db?sslmode=require",
        "host=h port=5 dbname=db sslmode=require user={{username}} password={{password}}",
        "host=h port=5 dbname=db sslmode=require user='{{username}}' password='{{password}}'",
        "postgresql://h:5/db?sslmode=require",
        "postgresql://old:worn@h:5/db?sslmode=require",
    };

    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct dsn d;
        char why[160];

        assert_int_equal(dsn_build(urls[i], user, password, &d, why, sizeof(why)), 0);
        assert_string_equal(param(&d, "user"), user);
        assert_string_equal(param(&d, "password"), password);
        assert_string_equal(param(&d, "dbname"), "db");
        assert_string_equal(param(&d, "sslmode"), "require");
        assert_string_equal(param(&d, "host"), "h");
        dsn_clear(&d);
    }
}

/* What would send secrets elsewhere, or can't be read, is refused without quoting it. */
static void test_dsn_refused(_unused_ void **state)
{
    static const char *const urls[] = {
        "host={{password}}",
        "host=h application_name={{password}}",
        "host=h password={{username}}{{x}}",
        "host={{username}}",
        "service=prod",
        "host=h replication=database",
        "hunter2",
        "postgresql://a:hunter2%zz@h/db",
        "host=a,b,c,d,e,f,g,h,i",
        "host=a,b port=1,2,3",
        "host=a,b hostaddr=127.0.0.1",
    };

    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct dsn d;
        char why[160] = "";

        if (i == 2) {
            /* Only {{password}} has a meaning there; the rest is part of the password. */
            assert_int_equal(dsn_build(urls[i], "a", "b", &d, why, sizeof(why)), 0);
            dsn_clear(&d);
            continue;
        }
        assert_int_equal(dsn_build(urls[i], "a", "b", &d, why, sizeof(why)), -EINVAL);
        assert_true(why[0] != '\0');
        assert_null(strstr(why, "hunter2"));
    }
}

/* Names are marked to be looked up, numbers and sockets are not, and addresses are set beside them.
 */
static void test_dsn_hosts(_unused_ void **state)
{
    struct dsn d;
    char why[160];

    assert_int_equal(dsn_build("host=db.example,10.0.0.1,/run/pg,::1,gone port=1,2,3,4,5", "", "",
                               &d, why, sizeof(why)),
                     0);
    assert_int_equal(d.hosts, 5);
    assert_true(d.host[0].look_up && d.host[4].look_up);
    assert_false(d.host[1].look_up || d.host[2].look_up || d.host[3].look_up);
    assert_int_equal(dsn_add_address(&d, 0, "192.0.2.1"), 0);
    assert_int_equal(dsn_add_address(&d, 0, "2001:db8::1"), 0);
    d.host[4].look_up = false;
    d.host[4].absent = true;
    assert_int_equal(dsn_settle(&d), 0);
    assert_string_equal(param(&d, "host"), "db.example,db.example,10.0.0.1,/run/pg,::1");
    assert_string_equal(param(&d, "hostaddr"), "192.0.2.1,2001:db8::1,,,");
    assert_string_equal(param(&d, "port"), "1,1,2,3,4");
    dsn_clear(&d);

    assert_int_equal(dsn_build("host=gone", "", "", &d, why, sizeof(why)), 0);
    d.host[0].look_up = false;
    d.host[0].absent = true;
    assert_int_equal(dsn_settle(&d), -ENOENT);
    dsn_clear(&d);
}

static int set_up(_unused_ void **state)
{
    json_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),           cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_unreadable),     cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_reason_is_mute), cmocka_unit_test(test_answers),
        cmocka_unit_test(test_dsn_account),    cmocka_unit_test(test_dsn_refused),
        cmocka_unit_test(test_dsn_hosts),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
