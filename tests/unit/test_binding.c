/* Role bindings: what may be written, what is refused, and the form in which they are kept. The
 * grammars of sources and hours are tested here too, on their own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy/binding.h"
#include "policy/cidr.h"
#include "policy/hours.h"

static bool only_berlin(const char *zone)
{
    return strcmp(zone, "Europe/Berlin") == 0;
}

static json_t *load(const char *text)
{
    json_t *v = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);

    if (!v)
        fail_msg("the test's own JSON is wrong: %s", text);
    return v;
}

static void assert_json(const json_t *v, const char *expected)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1024 * 1024);

    json_put(&b, v);
    assert_string_equal(buf_str(&b), expected);
}

/* --- Bindings ----------------------------------------------------------------------------------
 */

/* Goal: what is accepted is kept in one normal form, which reads back as itself. */
static void test_normal_form(_unused_ void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"{\"principals\": [\"group:dba\"], \"services\": [\"sshd\", \"sudo\"], \"policies\": "
         "[\"db-read\"],"
         "\"mfa\": {\"factors\": [\"recovery\", \"totp\"], \"max_age\": \"15m\", \"scope\": "
         "\"session\"},"
         "\"from\": [\"10.0.0.0/8\", \"local\"], \"hours\": \"Mon..Fri 08:00-18:00 Europe/Berlin\","
         "\"assurance\": \"uid\", \"ttl\": \"1h\", \"max_ttl\": \"8h\"}",
         "{\"principals\":[\"group:dba\"],\"services\":[\"sshd\",\"sudo\"],\"policies\":[\"db-"
         "read\"],"
         "\"mfa\":{\"factors\":[\"totp\",\"recovery\"],\"max_age\":900,\"scope\":\"session\"},"
         "\"from\":[\"10.0.0.0/8\",\"local\"],\"hours\":\"Mon..Fri 08:00-18:00 Europe/Berlin\","
         "\"assurance\":\"uid\",\"ttl\":3600,\"max_ttl\":28800}"},
        {"{\"policies\": \"a, B ,a\", \"principals\": \"user:bob, *,uid:0\"}",
         "{\"principals\":[\"user:bob\",\"*\",\"uid:0\"],\"services\":[],\"policies\":[\"a\",\"b\"]"
         "}"},
        {"{\"principals\": [\"*\"], \"services\": [\"login\"], \"mfa\": true}",
         "{\"principals\":[\"*\"],\"services\":[\"login\"],\"policies\":[],"
         "\"mfa\":{\"factors\":[\"totp\",\"recovery\",\"passphrase\"],\"scope\":\"session\"}}"},
        {"{\"principals\": [\"*\"], \"services\": [\"login\"], \"mfa\": {\"factors\": \"totp\"}}",
         "{\"principals\":[\"*\"],\"services\":[\"login\"],\"policies\":[],"
         "\"mfa\":{\"factors\":[\"totp\"],\"scope\":\"session\"}}"},
        {"{\"principals\": [\"*\"], \"services\": \"sshd\", \"mfa\": {\"scope\": \"source\", "
         "\"max_age\": 60}}",
         "{\"principals\":[\"*\"],\"services\":[\"sshd\"],\"policies\":[],"
         "\"mfa\":{\"factors\":[\"totp\",\"recovery\",\"passphrase\"],\"max_age\":60,"
         "\"scope\":\"source\"}}"},
        {"{\"principals\": [\"user:DOM\\\\J\xc3\xb6rg Q\", \"group:x@y.z\"], \"policies\": "
         "[\"p/q\"],"
         "\"from\": \"::ffff:192.0.2.1, 2001:DB8::/32, 192.0.2.1/32\", \"max_ttl\": 5,"
         "\"hours\": \"Sun,Mon,Tue,Sat 22:00-24:00; 00:00-06:00\", \"assurance\": \"pidfd\"}",
         "{\"principals\":[\"user:DOM\\\\J\xc3\xb6rg Q\",\"group:x@y.z\"],\"services\":[],"
         "\"policies\":[\"p/q\"],\"from\":[\"192.0.2.1\",\"2001:db8::/32\"],"
         "\"hours\":\"Mon,Tue,Sat,Sun 22:00-24:00 UTC; 00:00-06:00 UTC\",\"assurance\":\"pidfd\","
         "\"max_ttl\":5}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *in = load(rows[i].in), *before = json_deep_copy(in);
        _cleanup_json_ json_t *out = NULL, *again = NULL;
        struct binding *b = NULL;
        char why[256] = "";

        if (binding_parse("The.Name", in, only_berlin, &b, why, sizeof(why)) < 0)
            fail_msg("row %zu: %s", i, why);
        assert_string_equal(binding_name(b), "The.Name");
        assert_true(json_equal(in, before)); /* borrowed, not changed */
        out = binding_to_json(b);
        assert_json(out, rows[i].out);
        binding_free(b);
        assert_int_equal(binding_parse("n", out, only_berlin, &b, why, sizeof(why)), 0);
        again = binding_to_json(b);
        assert_json(again, rows[i].out);
        binding_free(b);
    }
    binding_free(NULL);
}

#define WITH(field) "{\"principals\": [\"*\"], \"services\": [\"sshd\"], " field "}"
#define WITH_PRINCIPAL(p) "{\"services\": [\"sshd\"], \"principals\": [" p "]}"

/* Goal: what could be misunderstood is refused, with a reason that names it. */
static void test_refused(_unused_ void **state)
{
    static const struct {
        const char *in, *reason;
    } rows[] = {
        {"[]", "object"},
        {"\"x\"", "object"},
        {"{}", "'principals' is missing"},
        {"{\"services\": [\"sshd\"]}", "'principals' is missing"},
        {"{\"principals\": [], \"services\": [\"sshd\"]}", "'principals' must not be empty"},
        {"{\"principals\": \"\", \"services\": [\"sshd\"]}", "'principals' must not be empty"},
        {"{\"principals\": null, \"services\": [\"sshd\"]}", "'principals' is null"},
        {"{\"principals\": {\"a\": 1}, \"services\": [\"sshd\"]}", "'principals' must be a list"},
        {"{\"principals\": [1], \"services\": [\"sshd\"]}", "'principals' must hold strings"},
        {"{\"principals\": [\"*\"]}", "neither services nor policies"},
        {"{\"principals\": [\"*\"], \"services\": [], \"policies\": \"\"}",
         "neither services nor policies"},
        {WITH("\"polices\": [\"x\"]"), "unknown field 'polices'"},
        {WITH("\"MFA\": true"), "unknown field 'MFA'"},

        {WITH_PRINCIPAL("\"bob\""), "user:NAME, group:NAME, uid:N or * is expected"},
        {WITH_PRINCIPAL("\"\""), "is expected"},
        {WITH_PRINCIPAL("\"unit:nginx.service\""), "is expected"},
        {WITH_PRINCIPAL("\"approle:x\""), "is expected"},
        {WITH_PRINCIPAL("\"jwt:x\""), "is expected"},
        {WITH_PRINCIPAL("\"User:bob\""), "is expected"},
        {WITH_PRINCIPAL("\"*:x\""), "is expected"},
        {WITH_PRINCIPAL("\"user:\""), "a name of 0 bytes"},
        {WITH_PRINCIPAL("\"user:*\""), "not possible in a name"},
        {WITH_PRINCIPAL("\"group:adm*\""), "not possible in a name"},
        {WITH_PRINCIPAL("\"user:a:b\""), "not possible in a name"},
        {WITH_PRINCIPAL("\"user:a,b\""), "not possible in a name"},
        {WITH_PRINCIPAL("\"user: bob\""), "isn't printable"},
        {WITH_PRINCIPAL("\"user:bob \""), "isn't printable"},
        {WITH_PRINCIPAL("\"user:bo\\nb\""), "isn't printable"},
        {WITH_PRINCIPAL("\"user:bo\\u202eb\""), "isn't printable"},
        {WITH_PRINCIPAL("\"uid:\""), "no user id"},
        {WITH_PRINCIPAL("\"uid:-1\""), "no user id"},
        {WITH_PRINCIPAL("\"uid:01\""), "no user id"},
        {WITH_PRINCIPAL("\"uid:0x1\""), "no user id"},
        {WITH_PRINCIPAL("\"uid:1 \""), "no user id"},
        {WITH_PRINCIPAL("\"uid:4294967295\""), "no user id"},
        {WITH_PRINCIPAL("\"uid:4294967296\""), "no user id"},
        {WITH_PRINCIPAL("\"uid:18446744073709551617\""), "no user id"},

        {"{\"principals\": [\"*\"], \"services\": [\"ss hd\"]}", "service 'ss hd'"},
        {"{\"principals\": [\"*\"], \"services\": [\"../x\"]}", "service '../x'"},
        {"{\"principals\": [\"*\"], \"services\": [\"*\"]}", "service '*'"},
        {"{\"principals\": [\"*\"], \"services\": [\"\"]}", "service ''"},
        {"{\"principals\": [\"*\"], \"policies\": [\"root\"]}", "'root' can't be bound"},
        {"{\"principals\": [\"*\"], \"policies\": [\"Root\"]}", "'root' can't be bound"},
        {"{\"principals\": [\"*\"], \"policies\": [\"a b\"]}", "policy 'a b'"},
        {"{\"principals\": [\"*\"], \"policies\": [\"\"]}", "policy ''"},

        {WITH("\"mfa\": {}"), "mfa must name"},
        {WITH("\"mfa\": false"), "mfa must name"},
        {WITH("\"mfa\": null"), "'mfa' is null"},
        {WITH("\"mfa\": \"totp\""), "mfa must name"},
        {WITH("\"mfa\": [\"totp\"]"), "mfa must name"},
        {WITH("\"mfa\": {\"factors\": []}"), "'factors' must not be empty"},
        {WITH("\"mfa\": {\"factors\": [\"TOTP\"]}"), "unknown factor 'TOTP'"},
        {WITH("\"mfa\": {\"factors\": [\"totp\", \"sms\"]}"), "unknown factor 'sms'"},
        {WITH("\"mfa\": {\"factors\": null}"), "'factors' is null"},
        {WITH("\"mfa\": {\"max_age\": 0}"), "'max_age'"},
        {WITH("\"mfa\": {\"max_age\": -1}"), "'max_age'"},
        {WITH("\"mfa\": {\"max_age\": \"soon\"}"), "'max_age'"},
        {WITH("\"mfa\": {\"maxage\": 60}"), "unknown field 'maxage'"},
        {WITH("\"mfa\": {\"scope\": \"host\"}"), "scope must be"},
        {WITH("\"mfa\": {\"scope\": \"\"}"), "scope must be"},
        {WITH("\"mfa\": {\"scope\": \"source\"}"), "needs a max_age"},
        {WITH("\"policies\": [\"p\"], \"mfa\": {\"scope\": \"source\", \"max_age\": 60}"),
         "one service sshd, without policies"},
        {"{\"principals\": [\"*\"], \"services\": [\"sudo\"],"
         " \"mfa\": {\"scope\": \"source\", \"max_age\": 60}}",
         "one service sshd"},
        {"{\"principals\": [\"*\"], \"services\": [\"sshd\", \"sudo\"],"
         " \"mfa\": {\"scope\": \"source\", \"max_age\": 60}}",
         "one service sshd"},
        {"{\"principals\": [\"*\"], \"policies\": [\"p\"],"
         " \"mfa\": {\"scope\": \"source\", \"max_age\": 60}}",
         "one service sshd"},

        {WITH("\"from\": []"), "'from' must not be empty"},
        {WITH("\"from\": \" , \""), "'from' must not be empty"},
        {WITH("\"from\": null"), "'from' is null"},
        {WITH("\"from\": [\"example.org\"]"), "'example.org' is no address"},
        {WITH("\"hours\": \"\""), "'hours' must not be empty"},
        {WITH("\"hours\": null"), "'hours' is null"},
        {WITH("\"hours\": [\"08:00-09:00\"]"), "'hours' must be a string"},
        {WITH("\"hours\": \"08:00-09:00 Mars/Base\""), "unknown time zone"},
        {WITH("\"assurance\": \"none\""), "assurance must be"},
        {WITH("\"assurance\": \"root\""), "assurance must be"},
        {WITH("\"assurance\": \"\""), "'assurance' must not be empty"},
        {WITH("\"assurance\": 1"), "'assurance' must be a string"},

        {WITH("\"ttl\": 0"), "'ttl'"},
        {WITH("\"ttl\": \"-5m\""), "'ttl'"},
        {WITH("\"max_ttl\": 0"), "'max_ttl'"},
        {WITH("\"ttl\": \"2h\", \"max_ttl\": \"1h\""), "ttl is above max_ttl"},
        {WITH("\"ttl\": \"100000d\""), "'ttl'"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *in = load(rows[i].in);
        struct binding *b = (struct binding *)(uintptr_t)1;
        char why[512] = "";
        int r = binding_parse("n", in, only_berlin, &b, why, sizeof(why));

        if (r != -EINVAL || !strstr(why, rows[i].reason))
            fail_msg("row %zu (%s): %d '%s'", i, rows[i].in, r, why);
        assert_null(b);
    }
}

/* Goal: the edges that must still be accepted are. */
static void test_accepted_edges(_unused_ void **state)
{
    static const char *const rows[] = {
        WITH_PRINCIPAL("\"uid:4294967294\""),
        WITH_PRINCIPAL("\"user:x\", \"user:x\""),
        WITH("\"ttl\": \"1h\", \"max_ttl\": \"1h\""),
        WITH("\"ttl\": \"1h\""),
        WITH("\"assurance\": \"manager\""),
        WITH("\"hours\": \"08:00-09:00 UTC\""),
        WITH("\"policies\": [\"default\"]"),
        "{\"principals\": [\"*\"], \"policies\": [\"rooted\"]}",
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *in = load(rows[i]);
        _cleanup_(binding_freep) struct binding *b = NULL;
        char why[256] = "";

        if (binding_parse("n", in, only_berlin, &b, why, sizeof(why)) < 0)
            fail_msg("row %zu: %s", i, why);
    }
}

/* Goal: a binding's own name is checked. */
static void test_names(_unused_ void **state)
{
    static const char *const bad[] = {"", "a/b", "a b", "\xc3\xa9", "a\x01"};
    _cleanup_json_ json_t *in = load(WITH_PRINCIPAL("\"*\""));
    char name[BINDING_NAME_MAX + 2], why[128];
    struct binding *b;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(binding_parse(bad[i], in, NULL, &b, why, sizeof(why)), -EINVAL);
    memset(name, 'x', sizeof(name));
    name[BINDING_NAME_MAX + 1] = '\0';
    assert_int_equal(binding_parse(name, in, NULL, &b, why, sizeof(why)), -EINVAL);
    name[BINDING_NAME_MAX] = '\0';
    assert_int_equal(binding_parse(name, in, NULL, &b, why, sizeof(why)), 0);
    assert_string_equal(binding_name(b), name);
    binding_free(b);
}

/* Goal: lists and names of hostile size are refused; the largest that are allowed work. */
static void test_hostile(_unused_ void **state)
{
    char name[10241], why[256];
    _cleanup_json_ json_t *obj = json_object();
    json_t *list = json_array();
    struct binding *b;

    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    json_object_set_new(obj, "services", json_pack("[s]", "sshd"));
    json_object_set_new(obj, "principals", list);
    json_array_append_new(list, json_sprintf("user:%s", name));
    assert_int_equal(binding_parse("n", obj, NULL, &b, why, sizeof(why)), -EINVAL);
    json_array_clear(list);
    json_array_append_new(list, json_sprintf("user:%.*s", BINDING_PRINCIPAL_MAX + 1, name));
    assert_int_equal(binding_parse("n", obj, NULL, &b, why, sizeof(why)), -EINVAL);
    json_array_clear(list);
    json_array_append_new(list, json_sprintf("user:%.*s", BINDING_PRINCIPAL_MAX, name));
    for (int i = 1; i < BINDING_ITEMS_MAX; i++)
        json_array_append_new(list, json_sprintf("uid:%d", i));
    assert_int_equal(binding_parse("n", obj, NULL, &b, why, sizeof(why)), 0);
    binding_free(b);
    json_array_append_new(list, json_string("*"));
    assert_int_equal(binding_parse("n", obj, NULL, &b, why, sizeof(why)), -EINVAL);

    json_array_clear(list);
    json_array_append_new(list, json_string("*"));
    json_object_set_new(obj, "services", json_pack("[o]", json_sprintf("%.65s", name)));
    assert_int_equal(binding_parse("n", obj, NULL, &b, why, sizeof(why)), -EINVAL);
    json_object_set_new(obj, "services", json_pack("[o]", json_sprintf("%.64s", name)));
    assert_int_equal(binding_parse("n", obj, NULL, &b, why, sizeof(why)), 0);
    binding_free(b);
    json_object_set_new(obj, "policies", json_pack("[o]", json_sprintf("%.129s", name)));
    assert_int_equal(binding_parse("n", obj, NULL, &b, why, sizeof(why)), -EINVAL);
    json_object_del(obj, "policies");
    json_object_set_new(obj, "hours", json_string(name));
    assert_int_equal(binding_parse("n", obj, NULL, &b, why, sizeof(why)), -EINVAL);
    json_object_del(obj, "hours");
    json_object_set_new(obj, name, json_true());
    assert_int_equal(binding_parse("n", obj, NULL, &b, why, sizeof(why)), -EINVAL);
    assert_true(strlen(why) < sizeof(why));
}

static long left_to_fail;

static void *failing_malloc(size_t n)
{
    if (left_to_fail >= 0 && left_to_fail-- == 0)
        return NULL;
    return malloc(n);
}

/* Goal: when JSON's memory runs out at any point, parsing says so and leaks nothing. */
static void test_memory(_unused_ void **state)
{
    json_malloc_t old_malloc;
    json_free_t old_free;
    struct binding *b = NULL;
    char why[128];
    json_t *in;
    int r = -ENOMEM;
    long n = 0;

    json_get_alloc_funcs(&old_malloc, &old_free);
    left_to_fail = -1;
    json_set_alloc_funcs(failing_malloc, free);
    in = load(
        "{\"principals\": \"user:a,group:b\", \"services\": \"sshd\", \"policies\": \"x,y\","
        "\"mfa\": {\"max_age\": \"1m\", \"factors\": \"totp\"}, \"from\": \"local,10.0.0.0/8\","
        "\"hours\": \"08:00-09:00\", \"assurance\": \"pid\", \"ttl\": 5, \"max_ttl\": 6}");
    for (; r == -ENOMEM && n < 1000; n++) {
        left_to_fail = n;
        r = binding_parse("n", in, NULL, &b, why, sizeof(why));
    }
    left_to_fail = -1;
    assert_int_equal(r, 0);
    assert_true(n > 20);
    binding_free(b);
    json_decref(in);
    json_set_alloc_funcs(old_malloc, old_free);
}

/* --- Sources -----------------------------------------------------------------------------------
 */

/* Goal: networks read as they should, and slips are refused. */
static void test_cidr_parse(_unused_ void **state)
{
    static const struct {
        const char *in, *out; /* NULL: refused */
    } rows[] = {
        {"local", "local"},
        {"10.0.0.0/8", "10.0.0.0/8"},
        {"192.0.2.7", "192.0.2.7"},
        {"192.0.2.7/32", "192.0.2.7"},
        {"0.0.0.0/0", "0.0.0.0/0"},
        {"::/0", "::/0"},
        {"::1", "::1"},
        {"2001:DB8::/32", "2001:db8::/32"},
        {"::ffff:10.1.2.3", "10.1.2.3"},
        {"::ffff:10.0.0.0/104", "10.0.0.0/8"},
        {"::ffff:0:0/96", "0.0.0.0/0"},
        {"", NULL},
        {"Local", NULL},
        {"localhost", NULL},
        {"10.0.0.0/33", NULL},
        {"10.0.0.0/", NULL},
        {"10.0.0.0/08", NULL},
        {"10.0.0.0/-1", NULL},
        {"10.0.0.0/8/8", NULL},
        {"10.0.0.0/8 ", NULL},
        {"10.0.0.1/8", NULL},
        {"2001:db8::1/32", NULL},
        {"10.0.0", NULL},
        {"010.0.0.1", NULL},
        {"10.0.0.256", NULL},
        {"::/129", NULL},
        {"fe80::1%eth0", NULL},
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd", NULL},
        {"local/8", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(128);
        struct cidr c;
        char why[128];
        int r = cidr_parse(rows[i].in, &c, why, sizeof(why));

        if (r != (rows[i].out ? 0 : -EINVAL))
            fail_msg("'%s': %d", rows[i].in, r);
        if (r == 0) {
            cidr_put(&b, &c);
            assert_string_equal(buf_str(&b), rows[i].out);
        } else {
            assert_int_equal(c.kind, CIDR_NONE);
        }
    }
}

/* Goal: a source matches by its number only, IPv4-mapped as IPv4, and the unknown matches nothing.
 */
static void test_cidr_contains(_unused_ void **state)
{
    static const struct {
        const char *net, *source;
        bool in;
    } rows[] = {
        {"10.0.0.0/8", "10.255.1.2", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.0.0.0/8", "::ffff:10.1.1.1", true},
        {"10.0.0.0/9", "10.128.0.1", false},
        {"192.0.2.128/25", "192.0.2.200", true},
        {"192.0.2.128/25", "192.0.2.100", false},
        {"192.0.2.7", "192.0.2.7", true},
        {"192.0.2.7", "192.0.2.6", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "::1", false},
        {"0.0.0.0/0", "", false},
        {"0.0.0.0/0", NULL, false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "10.0.0.1", false},
        {"::/0", "::ffff:10.0.0.1", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"fe80::/10", "fe80::1%eth0", true},
        {"fe80::/10", "fe80::1%", true},
        {"10.0.0.0/8", "10.1.1.1%eth0", false},
        {"local", "", true},
        {"local", "127.0.0.1", false},
        {"local", "::1", false},
        {"local", "local", false},
        {"local", "localhost", false},
        {"local", NULL, false},
        {"10.0.0.0/8", "10.1.1.1.example.org", false},
        {"10.0.0.0/8", "10.1.1.1 ", false},
        {"10.0.0.0/8", "10.0.0.0/8", false},
        {"10.0.0.0/8", "\xff\xfe", false},
        {"10.0.0.0/8", "%", false},
        {"10.0.0.0/8", "1111111111111111111111111111111111111111111111111111111111", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cidr net, source;
        char why[64];

        assert_int_equal(cidr_parse(rows[i].net, &net, why, sizeof(why)), 0);
        cidr_source(rows[i].source, &source);
        if (cidr_contains(&net, &source) != rows[i].in)
            fail_msg("'%s' in '%s'", rows[i].source ? rows[i].source : "(null)", rows[i].net);
    }
    assert_false(cidr_contains(&(struct cidr){0}, &(struct cidr){0}));
}

/* --- Hours -------------------------------------------------------------------------------------
 */

/* Goal: the grammar of hours: what it means in the normal form, and what it refuses. */
static void test_hours_parse(_unused_ void **state)
{
    static const struct {
        const char *in, *out; /* NULL: refused */
    } rows[] = {
        {"08:00-18:00", "08:00-18:00 UTC"},
        {"Mon..Fri 08:00-18:00 Europe/Berlin", "Mon..Fri 08:00-18:00 Europe/Berlin"},
        {"  Mon \t 08:00-18:00  UTC ", "Mon 08:00-18:00 UTC"},
        {"Mon,Wed 00:00-24:00", "Mon,Wed 00:00-24:00 UTC"},
        {"Sat..Mon 10:00-11:00", "Mon,Sat,Sun 10:00-11:00 UTC"},
        {"Fri..Tue 10:00-11:00", "Mon,Tue,Fri..Sun 10:00-11:00 UTC"},
        {"Mon..Sun 10:00-11:00", "10:00-11:00 UTC"},
        {"Mon..Wed,Fri,Fri 10:00-11:00", "Mon..Wed,Fri 10:00-11:00 UTC"},
        {"Sun 22:00-06:00", "Sun 22:00-06:00 UTC"},
        {"22:00-00:00", "22:00-00:00 UTC"},
        {"08:00-12:00; Sat 13:00-14:00 America/Argentina/La_Rioja;01:00-02:00 Etc/GMT+5",
         "08:00-12:00 UTC; Sat 13:00-14:00 America/Argentina/La_Rioja; 01:00-02:00 Etc/GMT+5"},
        {"", NULL},
        {";", NULL},
        {"08:00-12:00;", NULL},
        {"Mon", NULL},
        {"Mon UTC", NULL},
        {"mon 08:00-12:00", NULL},
        {"Monday 08:00-12:00", NULL},
        {"Mon.Fri 08:00-12:00", NULL},
        {"Mon-Fri 08:00-12:00", NULL},
        {"Mon..Fri..Sun 08:00-12:00", NULL},
        {"Mon..Fry 08:00-12:00", NULL},
        {"Mon, 08:00-12:00", NULL},
        {",Mon 08:00-12:00", NULL},
        {"8:00-12:00", NULL},
        {"08:00-12:0", NULL},
        {"08:00-12:000", NULL},
        {"08:00 - 12:00", NULL},
        {"08:60-12:00", NULL},
        {"24:00-12:00", NULL},
        {"08:00-24:01", NULL},
        {"08:00-25:00", NULL},
        {"08:00-08:00", NULL},
        {"00:00-00:00", NULL},
        {"-8:00-12:00", NULL},
        {"08:00-12:00 UTC UTC", NULL},
        {"08:00-12:00 ../../etc/passwd", NULL},
        {"08:00-12:00 /etc/localtime", NULL},
        {"08:00-12:00 Europe//Berlin", NULL},
        {"08:00-12:00 Europe/", NULL},
        {"08:00-12:00 Europe/B\xc3\xa9rlin", NULL},
        {"08:00-12:00 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL},
        {"01:00-02:00;01:00-02:00;01:00-02:00;01:00-02:00;01:00-02:00;01:00-02:00;01:00-02:00;"
         "01:00-02:00;01:00-02:00;01:00-02:00;01:00-02:00;01:00-02:00;01:00-02:00;01:00-02:00;"
         "01:00-02:00;01:00-02:00;01:00-02:00",
         NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(4096);
        struct hours h;
        char why[256];
        int r = hours_parse(rows[i].in, NULL, &h, why, sizeof(why));

        if (r != (rows[i].out ? 0 : -EINVAL))
            fail_msg("'%s': %d", rows[i].in, r);
        if (r == 0) {
            hours_put(&b, &h);
            assert_string_equal(buf_str(&b), rows[i].out);
        }
    }
}

/* As central Europe in 2026: summer time from 29 March 01:00 UTC to 25 October 01:00 UTC. "Odd"
 * lies beyond what is possible, everything else is unknown. */
static int fake_offset(const char *zone, int64_t when, int *offset)
{
    if (strcmp(zone, "Odd") == 0) {
        *offset = 100 * 3600;
        return 0;
    }
    if (strcmp(zone, "Asia/Kathmandu") == 0) {
        *offset = 5 * 3600 + 45 * 60;
        return 0;
    }
    if (strcmp(zone, "West") == 0) {
        *offset = -11 * 3600;
        return 0;
    }
    if (strcmp(zone, "Europe/Berlin") != 0)
        return -ENOENT;
    *offset = when >= 1774746000 && when < 1792890000 ? 7200 : 3600;
    return 0;
}

/* Goal: hours hold by the wall clock of their zone: over midnight, over the change of summer time,
 * and never where the time is unknown. */
static void test_hours_contain(_unused_ void **state)
{
    static const struct {
        const char *hours;
        int64_t now;
        bool in;
    } rows[] = {
        /* 2026-11-23 is a Monday; 1795392000 is its midnight UTC */
        {"Mon 08:00-18:00", 1795392000 + 8 * 3600, true},
        {"Mon 08:00-18:00", 1795392000 + 8 * 3600 - 1, false},
        {"Mon 08:00-18:00", 1795392000 + 18 * 3600 - 1, true},
        {"Mon 08:00-18:00", 1795392000 + 18 * 3600, false},
        {"Tue 08:00-18:00", 1795392000 + 9 * 3600, false},
        {"Sun 08:00-18:00", 1795392000 + 9 * 3600, false},
        {"Mon 00:00-24:00", 1795392000, true},
        {"Mon 00:00-24:00", 1795392000 + 86399, true},
        {"Mon 00:00-24:00", 1795392000 + 86400, false},
        {"Mon 00:00-24:00", 1795392000 - 1, false},
        /* over midnight: belongs to the day it begins on */
        {"Mon 22:00-06:00", 1795392000 + 22 * 3600, true},
        {"Mon 22:00-06:00", 1795392000 + 86400 + 5 * 3600, true},
        {"Mon 22:00-06:00", 1795392000 + 86400 + 6 * 3600, false},
        {"Mon 22:00-06:00", 1795392000 + 5 * 3600, false},
        {"Sun 22:00-06:00", 1795392000 + 5 * 3600, true},
        {"Sun 22:00-00:00", 1795392000, false},
        {"Sun 22:00-00:00", 1795392000 - 1, true},
        {"Mon..Fri 22:00-06:00", 1795392000 + 5 * 86400 + 3600, true},  /* Saturday 01:00 */
        {"Mon..Fri 22:00-06:00", 1795392000 + 6 * 86400 + 3600, false}, /* Sunday 01:00 */
        /* several ranges */
        {"Tue 08:00-09:00; Mon 08:00-09:00", 1795392000 + 8 * 3600, true},
        {"08:00-09:00 Nowhere; Mon 08:00-09:00", 1795392000 + 8 * 3600, true},
        /* zones: winter, summer */
        {"Mon 08:00-18:00 Europe/Berlin", 1795392000 + 7 * 3600, true},
        {"Mon 08:00-18:00 Europe/Berlin", 1795392000 + 7 * 3600 - 1, false},
        {"Mon 08:00-18:00 Europe/Berlin", 1795392000 + 17 * 3600, false},
        {"Wed 08:00-18:00 Europe/Berlin", 1782864000 + 6 * 3600, true}, /* 1 July 2026 */
        {"Wed 08:00-18:00 Europe/Berlin", 1782864000 + 6 * 3600 - 1, false},
        {"Mon 05:45-05:46 Asia/Kathmandu", 1795392000, true},
        {"Sun 13:00-13:01 West", 1795392000, true},
        /* 29 March: 02:00 to 03:00 doesn't exist */
        {"Sun 02:00-03:00 Europe/Berlin", 1774746000 - 1, false}, /* 01:59:59 */
        {"Sun 02:00-03:00 Europe/Berlin", 1774746000, false},     /* 03:00:00 */
        {"Sun 03:00-04:00 Europe/Berlin", 1774746000, true},
        /* 25 October: 02:00 to 03:00 comes twice */
        {"Sun 02:00-03:00 Europe/Berlin", 1792890000 - 3600, true},
        {"Sun 02:00-03:00 Europe/Berlin", 1792890000 - 1, true},
        {"Sun 02:00-03:00 Europe/Berlin", 1792890000, true},
        {"Sun 02:00-03:00 Europe/Berlin", 1792890000 + 3600, false},
        /* unknown: false */
        {"00:00-24:00", 0, false},
        {"00:00-24:00", -1, false},
        {"00:00-24:00", INT64_MAX, false},
        {"00:00-24:00", INT64_MIN, false},
        {"00:00-24:00", 1, true},
        {"00:00-24:00 West", 1, true},
        {"Wed 13:00-13:01 West", 1, true}, /* 31 December 1969 */
        {"00:00-24:00 Nowhere", 1795392000, false},
        {"00:00-24:00 Odd", 1795392000, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct hours h;
        char why[256];

        assert_int_equal(hours_parse(rows[i].hours, NULL, &h, why, sizeof(why)), 0);
        if (hours_contain(&h, rows[i].now, fake_offset) != rows[i].in)
            fail_msg("row %zu: '%s' at %lld", i, rows[i].hours, (long long)rows[i].now);
    }
}

/* Goal: without a way to ask for zones, UTC still works and nothing else does. */
static void test_hours_without_zones(_unused_ void **state)
{
    struct hours h;
    char why[64];

    assert_int_equal(hours_parse("00:00-24:00", NULL, &h, why, sizeof(why)), 0);
    assert_true(hours_contain(&h, 1795392000, NULL));
    assert_int_equal(hours_parse("00:00-24:00 Europe/Berlin", NULL, &h, why, sizeof(why)), 0);
    assert_false(hours_contain(&h, 1795392000, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normal_form),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_accepted_edges),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_cidr_parse),
        cmocka_unit_test(test_cidr_contains),
        cmocka_unit_test(test_hours_parse),
        cmocka_unit_test(test_hours_contain),
        cmocka_unit_test(test_hours_without_zones),
    };

    json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
