/* The decision: each numbered rule of policy/decide.h, with its sentence and its trace. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy/decide.h"

#define NOW INT64_C(1795428000) /* Monday 2026-11-23 10:00 UTC */
#define MAX 16

/* --- A small world -----------------------------------------------------------------------------
 */

struct world {
    struct binding *bindings[MAX];
    struct acl_policy *policies[MAX];
    struct decide_rules rules;
};

struct named {
    const char *name, *text;
};

static void add_binding(struct world *w, const char *name, const char *json)
{
    _cleanup_json_ json_t *obj = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
    char why[256] = "";

    if (binding_parse(name, obj, NULL, &w->bindings[w->rules.n_bindings], why, sizeof(why)) < 0)
        fail_msg("binding %s: %s", name, why);
    w->rules.n_bindings++;
}

static void add_policy(struct world *w, const char *name, const char *text)
{
    char why[256] = "";

    if (acl_parse(name, text, strlen(text), &w->policies[w->rules.n_policies], why, sizeof(why)) <
        0)
        fail_msg("policy %s: %s", name, why);
    w->rules.n_policies++;
}

static void make(struct world *w, const struct named *bindings, const struct named *policies)
{
    *w = (struct world){0};
    for (; bindings && bindings->name; bindings++)
        add_binding(w, bindings->name, bindings->text);
    for (; policies && policies->name; policies++)
        add_policy(w, policies->name, policies->text);
    w->rules.bindings = (const struct binding *const *)w->bindings;
    w->rules.policies = (const struct acl_policy *const *)w->policies;
}

static void unmake(struct world *w)
{
    for (size_t i = 0; i < w->rules.n_bindings; i++)
        binding_free(w->bindings[i]);
    for (size_t i = 0; i < w->rules.n_policies; i++)
        acl_free(w->policies[i]);
}

static int fake_offset(const char *zone, int64_t when, int *offset)
{
    (void)when;
    if (strcmp(zone, "Europe/Berlin") != 0)
        return -ENOENT;
    *offset = 3600;
    return 0;
}

static const char *const bobs_groups[] = {"staff", "dba"};
static const struct decide_facts bob = {
    .user = "bob",
    .has_uid = true,
    .uid = 1000,
    .groups = bobs_groups,
    .n_groups = ARRAY_LEN(bobs_groups),
    .assurance = ASSURANCE_UID,
    .has_source = true,
    .source = "10.1.2.3",
    .enrolled = FACTOR_TOTP | FACTOR_RECOVERY,
    .now = NOW,
    .zone_offset = fake_offset,
};

static struct decide_facts bob_with(const struct decide_proof *proof)
{
    struct decide_facts f = bob;

    f.proofs = proof;
    f.n_proofs = proof ? 1 : 0;
    return f;
}

static const struct decide_proof fresh = {.factor = FACTOR_TOTP, .age = 60, .session = true};

static enum decide_verdict pam(const struct world *w, const struct decide_facts *f,
                               const char *service, enum decide_hook hook, struct decision *d)
{
    decide_pam(&w->rules, f, service, hook, false, d);
    assert_int_not_equal(d->why[0], 0);
    assert_null(d->trace);
    return d->verdict;
}

static enum decide_verdict get(const struct world *w, const struct decide_facts *f,
                               const char *path, unsigned need, struct decision *d)
{
    decide_path(&w->rules, f, path, need, false, false, d);
    assert_int_not_equal(d->why[0], 0);
    assert_null(d->trace);
    return d->verdict;
}

#define READ_CREDS "path \"database/creds/shop-ro\" { capabilities = [\"read\"] }"
#define CREDS "database/creds/shop-ro"

/* --- Rule 1: principals and conditions ---------------------------------------------------------
 */

/* Goal: principals are or'ed, each kind matches what it says, and an absent fact matches nothing.
 */
static void test_principals(_unused_ void **state)
{
    static const struct decide_facts nobody = {.groups = bobs_groups, .n_groups = 2},
                                     only_uid = {.has_uid = true, .uid = 0},
                                     only_user = {.user = "bob"},
                                     uid_unknown = {.user = "bob", .uid = 1000};
    static const struct {
        const char *principals;
        const struct decide_facts *f;
        bool match;
    } rows[] = {
        {"\"user:bob\"", &bob, true},
        {"\"user:bo\"", &bob, false},
        {"\"user:bobb\"", &bob, false},
        {"\"user:Bob\"", &bob, false},
        {"\"user:dba\"", &bob, false},
        {"\"group:dba\"", &bob, true},
        {"\"group:staff\"", &bob, true},
        {"\"group:bob\"", &bob, false},
        {"\"group:db\"", &bob, false},
        {"\"uid:1000\"", &bob, true},
        {"\"uid:0\"", &bob, false},
        {"\"*\"", &bob, true},
        {"\"user:alice\", \"group:none\", \"uid:1000\"", &bob, true},
        {"\"user:alice\", \"group:none\", \"uid:1001\"", &bob, false},
        {"\"*\"", &nobody, false},
        {"\"group:dba\"", &nobody, false},
        {"\"uid:0\"", &nobody, false},
        {"\"uid:0\"", &only_uid, true},
        {"\"user:root\"", &only_uid, false},
        {"\"*\"", &only_uid, true},
        {"\"*\"", &only_user, true},
        {"\"uid:1000\"", &uid_unknown, false},
        {"\"uid:0\"", &only_user, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[256];
        const struct named bindings[] = {{"b", text}, {0}}, policies[] = {{"p", READ_CREDS}, {0}};
        struct world w;
        struct decision d;

        (void)snprintf(text, sizeof(text), "{\"principals\": [%s], \"policies\": [\"p\"]}",
                       rows[i].principals);
        make(&w, bindings, policies);
        if ((get(&w, rows[i].f, CREDS, ACL_READ, &d) == DECIDE_ALLOW) != rows[i].match)
            fail_msg("row %zu: %s", i, d.why);
        assert_int_equal(d.binding[0] != '\0', rows[i].match);
        unmake(&w);
    }
}

/* Goal: every condition alone opens or closes, and an absent fact closes. */
static void test_conditions(_unused_ void **state)
{
    static const struct {
        const char *condition;
        struct decide_facts f;
        bool met;
        const char *why; /* where it isn't */
    } rows[] = {
        {"\"from\": [\"10.0.0.0/8\"]", {.has_source = true, .source = "10.1.2.3"}, true, NULL},
        {"\"from\": [\"10.0.0.0/8\"]",
         {.has_source = true, .source = "::ffff:10.1.2.3"},
         true,
         NULL},
        {"\"from\": [\"10.0.0.0/8\"]",
         {.has_source = true, .source = "192.0.2.1"},
         false,
         "the login is from 192.0.2.1, not from 10.0.0.0/8"},
        {"\"from\": [\"10.0.0.0/8\"]",
         {.has_source = true, .source = NULL},
         false,
         "a source without a numeric address, not from 10.0.0.0/8"},
        {"\"from\": [\"10.0.0.0/8\"]",
         {.has_source = true, .source = "db.example.org"},
         false,
         "without a numeric address"},
        {"\"from\": [\"10.0.0.0/8\", \"local\"]",
         {.has_source = false, .source = "10.1.2.3"},
         false,
         "from 10.0.0.0/8, local; where this one came from is not known"},
        {"\"from\": [\"local\"]", {.has_source = true, .source = ""}, true, NULL},
        {"\"from\": [\"local\"]", {.has_source = true, .source = "127.0.0.1"}, false, "127.0.0.1"},
        {"\"from\": [\"10.0.0.0/8\"]", {.has_source = true, .source = ""}, false, "this host"},

        {"\"hours\": \"Mon 09:00-11:00\"", {.now = NOW}, true, NULL},
        {"\"hours\": \"Mon 11:00-12:00 Europe/Berlin\"",
         {.now = NOW, .zone_offset = fake_offset},
         true,
         NULL},
        {"\"hours\": \"Tue 09:00-11:00\"",
         {.now = NOW},
         false,
         "it is Mon 10:00 in UTC, outside Tue 09:00-11:00 UTC"},
        {"\"hours\": \"09:00-11:00\"", {.now = 0}, false, "an unknown time in UTC"},
        {"\"hours\": \"00:00-24:00 Europe/Berlin\"", {.now = NOW}, false, "an unknown time"},
        {"\"hours\": \"00:00-24:00 Mars/Base\"",
         {.now = NOW, .zone_offset = fake_offset},
         false,
         "an unknown time in Mars/Base"},

        {"\"assurance\": \"uid\"", {.assurance = ASSURANCE_UID}, true, NULL},
        {"\"assurance\": \"pid\"", {.assurance = ASSURANCE_MANAGER}, true, NULL},
        {"\"assurance\": \"pidfd\"",
         {.assurance = ASSURANCE_PID},
         false,
         "known by pid, pidfd or better is asked for"},
        {"\"assurance\": \"uid\"", {0}, false, "known by none"},
        {"\"assurance\": \"uid\"", {.assurance = (enum assurance)99}, false, "uid or better"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[256];
        const struct named bindings[] = {{"b", text}, {0}}, policies[] = {{"p", READ_CREDS}, {0}};
        struct decide_facts f = rows[i].f;
        struct world w;
        struct decision d;

        (void)snprintf(
            text, sizeof(text),
            "{\"principals\": [\"*\"], \"services\": [\"sudo\"], \"policies\": [\"p\"], %s}",
            rows[i].condition);
        f.user = "bob";
        make(&w, bindings, policies);
        if ((get(&w, &f, CREDS, ACL_READ, &d) == DECIDE_ALLOW) != rows[i].met ||
            (rows[i].why && !strstr(d.why, rows[i].why)))
            fail_msg("row %zu: %s", i, d.why);
        assert_false(d.mfa_would_help);
        if (pam(&w, &f, "sudo", DECIDE_PAM_AUTH, &d) != (rows[i].met ? DECIDE_ALLOW : DECIDE_DENY))
            fail_msg("row %zu at sudo: %s", i, d.why);
        unmake(&w);
    }
}

/* Goal: all conditions must hold together: one that fails closes, whichever it is. */
static void test_conditions_are_anded(_unused_ void **state)
{
    static const struct named bindings[] = {
        {"dba", "{\"principals\": [\"group:dba\"], \"services\": [\"sudo\"], \"policies\": [\"p\"],"
                "\"mfa\": {\"max_age\": \"15m\"}, \"from\": [\"10.0.0.0/8\"],"
                "\"hours\": \"Mon..Fri 08:00-18:00\", \"assurance\": \"uid\"}"},
        {0}};
    static const struct named policies[] = {{"p", READ_CREDS}, {0}};
    struct decide_facts f = bob_with(&fresh);
    struct decision d;
    struct world w;

    make(&w, bindings, policies);
    assert_int_equal(get(&w, &f, CREDS, ACL_READ, &d), DECIDE_ALLOW);
    assert_string_equal(d.why, "allowed by binding \"dba\": policy \"p\", path \"" CREDS "\"");
    assert_string_equal(d.binding, "dba");
    assert_string_equal(d.policy, "p");
    assert_string_equal(d.rule, CREDS);

    f.source = "192.0.2.1";
    assert_int_equal(get(&w, &f, CREDS, ACL_READ, &d), DECIDE_DENY);
    assert_int_equal(pam(&w, &f, "sudo", DECIDE_PAM_AUTH, &d), DECIDE_DENY);
    f.source = bob.source;
    f.now = NOW + 8 * 3600;
    assert_int_equal(get(&w, &f, CREDS, ACL_READ, &d), DECIDE_DENY);
    assert_int_equal(pam(&w, &f, "sudo", DECIDE_PAM_AUTH, &d), DECIDE_DENY);
    f.now = NOW;
    f.assurance = ASSURANCE_NONE;
    assert_int_equal(get(&w, &f, CREDS, ACL_READ, &d), DECIDE_DENY);
    assert_int_equal(pam(&w, &f, "sudo", DECIDE_PAM_AUTH, &d), DECIDE_DENY);
    f.assurance = ASSURANCE_PIDFD;
    assert_int_equal(get(&w, &f, CREDS, ACL_READ, &d), DECIDE_ALLOW);
    f.n_proofs = 0;
    assert_int_equal(get(&w, &f, CREDS, ACL_READ, &d), DECIDE_DENY);
    assert_true(d.mfa_would_help);
    assert_int_equal(pam(&w, &f, "sudo", DECIDE_PAM_AUTH, &d), DECIDE_CHALLENGE);
    f.source = "192.0.2.1"; /* mfa and from fail: proving a factor wouldn't help */
    assert_int_equal(get(&w, &f, CREDS, ACL_READ, &d), DECIDE_DENY);
    assert_false(d.mfa_would_help);
    assert_non_null(strstr(d.why, "binding \"dba\" matches but the login is from 192.0.2.1"));
    assert_int_equal(pam(&w, &f, "sudo", DECIDE_PAM_AUTH, &d), DECIDE_DENY);
    unmake(&w);
}

/* --- Rule 2: services and policies -------------------------------------------------------------
 */

/* Goal: services give no paths and policies give no service; a zeroed decision denies. */
static void test_services_and_policies(_unused_ void **state)
{
    static const struct named bindings[] = {
        {"s", "{\"principals\": [\"*\"], \"services\": [\"sudo\"]}"},
        {"p", "{\"principals\": [\"*\"], \"policies\": [\"all\", \"missing\"]}"},
        {0}};
    static const struct named policies[] = {
        {"all", "path \"*\" { capabilities = [\"read\", \"update\"] }"},
        {"unbound", "path \"*\" { capabilities = [\"delete\"] }"},
        {0}};
    struct decision d = {0};
    struct world w;

    assert_int_equal(d.verdict, DECIDE_DENY);
    make(&w, bindings, policies);
    assert_int_equal(pam(&w, &bob, "sudo", DECIDE_PAM_AUTH, &d), DECIDE_ALLOW);
    assert_string_equal(
        d.why, "allowed by binding \"s\" for service \"sudo\": it asks for no second factor");
    assert_string_equal(d.binding, "s");
    assert_int_equal(pam(&w, &bob, "sud", DECIDE_PAM_ACCOUNT, &d), DECIDE_IGNORE);
    assert_int_equal(pam(&w, &bob, "SUDO", DECIDE_PAM_ACCOUNT, &d), DECIDE_IGNORE);
    assert_int_equal(get(&w, &bob, "sudo", ACL_READ, &d), DECIDE_ALLOW);
    assert_int_equal(get(&w, &bob, "a", ACL_DELETE, &d), DECIDE_DENY);
    assert_string_equal(d.why, "denied: policy \"all\", path \"*\" does not grant delete");
    assert_int_equal(get(&w, &bob, "a", ACL_CREATE | ACL_UPDATE, &d), DECIDE_ALLOW);
    assert_int_equal(get(&w, &bob, "a", ACL_CREATE | ACL_PATCH, &d), DECIDE_DENY);
    assert_string_equal(d.why, "denied: policy \"all\", path \"*\" does not grant create or patch");
    assert_int_equal(get(&w, &bob, "a", 0, &d), DECIDE_DENY);
    assert_int_equal(get(&w, &bob, "a", ACL_DENY, &d), DECIDE_DENY);
    unmake(&w);
}

/* Goal: sudo is needed in addition where it is needed, also from another policy of the same path.
 */
static void test_sudo(_unused_ void **state)
{
    static const struct named bindings[] = {
        {"r", "{\"principals\": [\"user:bob\"], \"policies\": [\"r\"]}"},
        {"s", "{\"principals\": [\"group:dba\"], \"policies\": [\"s\"]}"},
        {0}};
    static const struct named policies[] = {{"r", "path \"sys/x\" { capabilities = [\"read\"] }"},
                                            {"s", "path \"sys/x\" { capabilities = [\"sudo\"] }"},
                                            {0}};
    struct decide_facts f = bob;
    struct decision d;
    struct world w;

    make(&w, bindings, policies);
    decide_path(&w.rules, &f, "sys/x", ACL_READ, true, false, &d);
    assert_int_equal(d.verdict, DECIDE_ALLOW);
    assert_string_equal(d.binding, "r");
    assert_int_equal(decide_caps(&w.rules, &f, "sys/x"), ACL_READ | ACL_SUDO);
    f.n_groups = 1;
    decide_path(&w.rules, &f, "sys/x", ACL_READ, true, false, &d);
    assert_int_equal(d.verdict, DECIDE_DENY);
    assert_string_equal(d.why, "denied: policy \"r\", path \"sys/x\" does not grant sudo");
    decide_path(&w.rules, &f, "sys/x", ACL_READ, false, false, &d);
    assert_int_equal(d.verdict, DECIDE_ALLOW);
    f.n_groups = 2;
    f.user = NULL; /* only the uid is left, and no binding names it */
    decide_path(&w.rules, &f, "sys/x", ACL_READ, true, false, &d);
    assert_int_equal(d.verdict, DECIDE_DENY);
    assert_string_equal(d.why, "denied: no binding names a principal of uid:1000 for this path");
    unmake(&w);
}

/* --- Rule 3: union and denials -----------------------------------------------------------------
 */

/* Goal: a denial counts whenever its binding's principals match, conditions or not; never for
 * others; and only at its own pattern's priority. */
static void test_denials(_unused_ void **state)
{
    static const struct named bindings[] = {
        {"allow", "{\"principals\": [\"user:bob\"], \"policies\": [\"rw\"]}"},
        {"at-night", "{\"principals\": [\"group:dba\"], \"policies\": [\"no-prod\", \"more\"],"
                     "\"hours\": \"22:00-23:00\", \"mfa\": {\"max_age\": \"1m\"}}"},
        {"others", "{\"principals\": [\"user:eve\"], \"policies\": [\"no-test\"]}"},
        {0}};
    static const struct named policies[] = {
        {"rw", "path \"db/*\" { capabilities = [\"read\"] }\n"
               "path \"db/prod\" { capabilities = [\"read\"] }\n"
               "path \"db/special/x\" { capabilities = [\"read\"] }"},
        {"no-prod", "path \"db/prod\" { capabilities = [\"deny\"] }\n"
                    "path \"db/special/*\" { capabilities = [\"deny\"] }\n"
                    "path \"db/secret/*\" { capabilities = [\"deny\"] }"},
        {"more", "path \"db/more\" { capabilities = [\"read\", \"update\"] }\n"
                 "path \"db/test\" { capabilities = [\"update\"] }"},
        {"no-test", "path \"db/test\" { capabilities = [\"deny\"] }"},
        {0}};
    struct decide_facts f = bob;
    struct decision d;
    struct world w;

    make(&w, bindings, policies);
    assert_int_equal(get(&w, &f, "db/prod", ACL_READ, &d), DECIDE_DENY);
    assert_string_equal(d.why, "denied by policy \"no-prod\": path \"db/prod\" (deny)");
    assert_string_equal(d.policy, "no-prod");
    assert_string_equal(d.rule, "db/prod");
    assert_string_equal(d.binding, "at-night");
    assert_int_equal(d.acl.caps, ACL_DENY);
    assert_false(d.mfa_would_help);
    assert_int_equal(get(&w, &f, "db/secret/a", ACL_READ, &d), DECIDE_DENY);
    assert_string_equal(d.rule, "db/secret/*");
    assert_int_equal(get(&w, &f, "db/special/x", ACL_READ, &d), DECIDE_ALLOW); /* more specific */
    assert_int_equal(get(&w, &f, "db/special/y", ACL_READ, &d), DECIDE_DENY);
    assert_int_equal(get(&w, &f, "db/test", ACL_READ, &d), DECIDE_ALLOW); /* eve's denial */
    assert_string_equal(d.rule, "db/*"); /* the unsatisfied binding's allowance doesn't shadow it */
    assert_int_equal(get(&w, &f, "db/more", ACL_UPDATE, &d), DECIDE_DENY);
    assert_non_null(strstr(d.why, "binding \"at-night\" matches but it is Mon 10:00 in UTC"));
    assert_int_equal(decide_caps(&w.rules, &f, "db/prod"), ACL_DENY);
    assert_int_equal(decide_caps(&w.rules, &f, "db/more"), ACL_READ);
    assert_int_equal(decide_caps(&w.rules, &f, "elsewhere"), 0);

    f.n_groups = 1; /* no longer a dba: the denial is gone with the binding */
    assert_int_equal(get(&w, &f, "db/prod", ACL_READ, &d), DECIDE_ALLOW);
    assert_int_equal(get(&w, &f, "db/more", ACL_UPDATE, &d), DECIDE_DENY);
    assert_string_equal(d.why, "denied: policy \"rw\", path \"db/*\" does not grant update");

    f = bob_with(&fresh); /* satisfied: denials still, and now its allowances shadow db/ */
    f.now = NOW + 12 * 3600;
    assert_int_equal(get(&w, &f, "db/prod", ACL_READ, &d), DECIDE_DENY);
    assert_int_equal(get(&w, &f, "db/more", ACL_UPDATE, &d), DECIDE_ALLOW);
    assert_string_equal(d.binding, "at-night");
    assert_int_equal(get(&w, &f, "db/test", ACL_READ, &d), DECIDE_DENY);
    unmake(&w);
}

/* Goal: a policy that one satisfied and one unsatisfied binding name counts in full; one that does
 * not exist counts for nothing. */
static void test_shared_policy(_unused_ void **state)
{
    static const struct named bindings[] = {
        {"never", "{\"principals\": [\"*\"], \"policies\": [\"p\", \"ghost\"], \"mfa\": true}"},
        {"always", "{\"principals\": [\"*\"], \"policies\": [\"P\", \"ghost\"]}"},
        {0}};
    static const struct named policies[] = {{"p", READ_CREDS}, {0}};
    _cleanup_json_ json_t *names = NULL;
    struct decision d;
    struct world w;

    make(&w, bindings, policies);
    assert_int_equal(get(&w, &bob, CREDS, ACL_READ, &d), DECIDE_ALLOW);
    assert_string_equal(d.binding, "always");
    names = decide_policies(&w.rules, &bob);
    assert_int_equal(json_array_size(names), 2);
    assert_true(json_has_str(names, "p") && json_has_str(names, "ghost"));
    unmake(&w);
}

/* Goal: decide_policies() names what the satisfied bindings give, once each, and nothing else. */
static void test_policies(_unused_ void **state)
{
    static const struct named bindings[] = {
        {"a", "{\"principals\": [\"user:bob\"], \"policies\": [\"two\", \"one\"]}"},
        {"b", "{\"principals\": [\"group:dba\"], \"policies\": [\"one\", \"three\"]}"},
        {"c", "{\"principals\": [\"user:bob\"], \"policies\": [\"four\"], \"mfa\": true}"},
        {"d", "{\"principals\": [\"user:eve\"], \"policies\": [\"five\"]}"},
        {"e", "{\"principals\": [\"*\"], \"services\": [\"sudo\"]}"},
        {0}};
    struct decide_facts f = bob_with(&fresh);
    static const struct decide_facts nobody = {0};
    struct world w;
    json_t *names;

    make(&w, bindings, NULL);
    names = decide_policies(&w.rules, &bob);
    assert_int_equal(json_array_size(names), 3);
    assert_string_equal(json_string_value(json_array_get(names, 0)), "two");
    assert_string_equal(json_string_value(json_array_get(names, 1)), "one");
    assert_string_equal(json_string_value(json_array_get(names, 2)), "three");
    json_decref(names);
    names = decide_policies(&w.rules, &f);
    assert_int_equal(json_array_size(names), 4);
    json_decref(names);
    names = decide_policies(&w.rules, &nobody);
    assert_int_equal(json_array_size(names), 0);
    json_decref(names);
    unmake(&w);
}

/* --- Rule 4: TTLs ------------------------------------------------------------------------------
 */

/* Goal: TTLs come from the satisfied binding with the largest max_ttl among those that allow. */
static void test_ttls(_unused_ void **state)
{
    static const struct named bindings[] = {
        {"none", "{\"principals\": [\"*\"], \"policies\": [\"read\"]}"},
        {"short",
         "{\"principals\": [\"*\"], \"policies\": [\"read\"], \"ttl\": 60, \"max_ttl\": 120}"},
        {"long", "{\"principals\": [\"group:dba\"], \"policies\": [\"read\"], \"ttl\": 50,"
                 "\"max_ttl\": 600}"},
        {"long2", "{\"principals\": [\"group:dba\"], \"policies\": [\"read\"], \"ttl\": 70,"
                  "\"max_ttl\": 600}"},
        {"unmet",
         "{\"principals\": [\"*\"], \"policies\": [\"read\"], \"max_ttl\": 9000, \"mfa\": true}"},
        {"writes", "{\"principals\": [\"*\"], \"policies\": [\"write\"], \"max_ttl\": 5000}"},
        {"lower", "{\"principals\": [\"*\"], \"policies\": [\"wide\"], \"max_ttl\": 7000}"},
        {0}};
    static const struct named policies[] = {
        {"read", READ_CREDS},
        {"write", "path \"database/creds/shop-ro\" { capabilities = [\"update\"] }"},
        {"wide", "path \"database/*\" { capabilities = [\"read\", \"list\"] }"},
        {0}};
    struct decide_facts f = bob;
    struct decision d;
    struct world w;

    make(&w, bindings, policies);
    assert_int_equal(get(&w, &f, CREDS, ACL_READ, &d), DECIDE_ALLOW);
    assert_string_equal(d.binding, "long2");
    assert_int_equal(d.ttl, 70);
    assert_int_equal(d.max_ttl, 600);
    f.n_groups = 0;
    assert_int_equal(get(&w, &f, CREDS, ACL_READ, &d), DECIDE_ALLOW);
    assert_string_equal(d.binding, "short");
    assert_int_equal(d.ttl, 60);
    assert_int_equal(d.max_ttl, 120);
    assert_int_equal(get(&w, &f, CREDS, ACL_UPDATE, &d), DECIDE_ALLOW);
    assert_string_equal(d.binding, "writes");
    assert_int_equal(d.max_ttl, 5000);
    assert_int_equal(d.ttl, 0);
    assert_int_equal(get(&w, &f, "database/x", ACL_READ, &d), DECIDE_ALLOW);
    assert_string_equal(d.binding, "lower");
    w.rules.n_bindings = 1;
    assert_int_equal(get(&w, &f, CREDS, ACL_READ, &d), DECIDE_ALLOW);
    assert_int_equal(d.ttl, 0);
    assert_int_equal(d.max_ttl, 0);
    w.rules.n_bindings = 7;
    unmake(&w);
}

/* --- Rule 5: PAM -------------------------------------------------------------------------------
 */

/* Goal: the table of rule 5: who is let in, asked, refused or none of our business. */
static void test_pam(_unused_ void **state)
{
    static const struct named bindings[] = {
        {"ops", "{\"principals\": [\"group:ops\"], \"services\": [\"sudo\"]}"},
        {"dba", "{\"principals\": [\"group:dba\"], \"services\": [\"sudo\", \"sshd\"],"
                "\"mfa\": {\"factors\": [\"totp\"], \"max_age\": \"15m\"}}"},
        {"office", "{\"principals\": [\"user:bob\"], \"services\": [\"login\"],"
                   "\"from\": [\"local\"], \"mfa\": true}"},
        {0}};
    static const struct decide_proof old = {.factor = FACTOR_TOTP, .age = 7200, .session = true};
    static const char *const ops[] = {"ops"};
    struct decide_facts with_fresh = bob_with(&fresh), with_old = bob_with(&old);
    struct decide_facts eve = {.user = "eve", .has_uid = true, .uid = 5};
    struct decide_facts op = {.user = "olaf", .groups = ops, .n_groups = 1};
    struct decide_facts exempt = eve, exempt_nobody = {.exempt = true};
    struct decide_facts unenrolled = {.user = "new"};
    const struct {
        const char *service;
        const struct decide_facts *f;
        enum decide_verdict auth, account;
        const char *why; /* part of the sentence at auth */
    } rows[] = {
        {"sudo", &op, DECIDE_ALLOW, DECIDE_ALLOW, "allowed by binding \"ops\""},
        {"sudo", &with_fresh, DECIDE_ALLOW, DECIDE_ALLOW, "totp was proved 1m ago"},
        {"sudo", &bob, DECIDE_CHALLENGE, DECIDE_CHALLENGE,
         "binding \"dba\" for service \"sudo\" asks for totp within 15m; this session has none"},
        {"sudo", &with_old, DECIDE_CHALLENGE, DECIDE_CHALLENGE,
         "this session's last proof is 2h old"},
        {"sudo", &eve, DECIDE_DENY, DECIDE_DENY,
         "denied: no binding names a principal of user:eve for service \"sudo\""},
        {"login", &bob, DECIDE_DENY, DECIDE_DENY, "matches but the login is from 10.1.2.3"},
        {"cron", &bob, DECIDE_CHALLENGE, DECIDE_IGNORE, "so any enrolled one is asked for"},
        {"cron", &with_fresh, DECIDE_CHALLENGE, DECIDE_IGNORE, "no binding names service \"cron\""},
        {"cron", &unenrolled, DECIDE_CHALLENGE, DECIDE_IGNORE, "no binding names service"},
        {"cron", &exempt, DECIDE_ALLOW, DECIDE_IGNORE, "exempt group robots"},
        {"cron", &exempt_nobody, DECIDE_CHALLENGE, DECIDE_IGNORE, "no binding names service"},
        {"sudo", &exempt, DECIDE_DENY, DECIDE_DENY, "no binding names a principal of user:eve"},
        {"sudo", &exempt_nobody, DECIDE_DENY, DECIDE_DENY, "an unknown caller"},
    };
    struct decision d;
    struct world w;

    exempt.exempt = true;
    exempt.exempt_why = "exempt group robots";
    make(&w, bindings, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (pam(&w, rows[i].f, rows[i].service, DECIDE_PAM_AUTH, &d) != rows[i].auth ||
            !strstr(d.why, rows[i].why))
            fail_msg("row %zu at auth: %d %s", i, d.verdict, d.why);
        assert_int_equal(d.factors != 0, d.verdict == DECIDE_CHALLENGE);
        if (pam(&w, rows[i].f, rows[i].service, DECIDE_PAM_ACCOUNT, &d) != rows[i].account)
            fail_msg("row %zu at account: %d %s", i, d.verdict, d.why);
    }
    assert_int_equal(pam(&w, &bob, "cron", DECIDE_PAM_AUTH, &d), DECIDE_CHALLENGE);
    assert_int_equal(d.factors, FACTOR_ALL);
    assert_int_equal(pam(&w, &bob, "sudo", DECIDE_PAM_AUTH, &d), DECIDE_CHALLENGE);
    assert_int_equal(d.factors, FACTOR_TOTP);
    assert_string_equal(d.binding, "dba");
    assert_int_equal(pam(&w, &with_fresh, NULL, DECIDE_PAM_AUTH, &d), DECIDE_DENY);
    assert_int_equal(pam(&w, &exempt, NULL, DECIDE_PAM_AUTH, &d), DECIDE_DENY);
    unmake(&w);
    make(&w, NULL, NULL);
    assert_int_equal(pam(&w, &bob, "sshd", DECIDE_PAM_AUTH, &d), DECIDE_CHALLENGE);
    assert_int_equal(pam(&w, &bob, "sshd", DECIDE_PAM_ACCOUNT, &d), DECIDE_IGNORE);
    assert_int_equal(get(&w, &bob, "x", ACL_READ, &d), DECIDE_DENY);
    unmake(&w);
}

/* Goal: of several bindings that lack mfa only, the one to challenge for is chosen as rule 5 says,
 * and one that fails otherwise is never chosen. */
static void test_challenge_choice(_unused_ void **state)
{
#define SUDO(mfa) "{\"principals\": [\"*\"], \"services\": [\"sudo\"], \"mfa\": " mfa "}"
    static const struct {
        struct named bindings[4];
        unsigned enrolled;
        const char *chosen;
        unsigned factors;
    } rows[] = {
        {{{"a", SUDO("{\"max_age\": 60}")}, {"b", SUDO("{\"max_age\": 600}")}},
         FACTOR_TOTP,
         "b",
         FACTOR_ALL},
        {{{"b", SUDO("{\"max_age\": 600}")}, {"a", SUDO("{\"max_age\": 60}")}},
         FACTOR_TOTP,
         "b",
         FACTOR_ALL},
        {{{"a", SUDO("{\"max_age\": 60}")}, {"b", SUDO("{\"factors\": \"totp\"}")}},
         FACTOR_TOTP,
         "b",
         FACTOR_TOTP},
        {{{"a", SUDO("true")}, {"b", SUDO("{\"max_age\": 600}")}}, FACTOR_TOTP, "a", FACTOR_ALL},
        {{{"a", SUDO("{\"max_age\": 60}")}, {"b", SUDO("{\"max_age\": 60}")}},
         FACTOR_TOTP,
         "a",
         FACTOR_ALL},
        {{{"a", SUDO("{\"max_age\": 60, \"factors\": \"totp\"}")},
          {"b", SUDO("{\"factors\": \"passphrase\"}")}},
         FACTOR_TOTP,
         "a",
         FACTOR_TOTP},
        {{{"a", SUDO("{\"factors\": \"passphrase\"}")},
          {"b", SUDO("{\"max_age\": 60, \"factors\": \"totp\"}")}},
         FACTOR_TOTP,
         "b",
         FACTOR_TOTP},
        {{{"a", SUDO("{\"max_age\": 60, \"factors\": \"totp\"}")},
          {"b", SUDO("{\"factors\": \"passphrase\"}")}},
         0,
         "b",
         FACTOR_PASSPHRASE},
        {{{"a", "{\"principals\": [\"*\"], \"services\": [\"sudo\"], \"mfa\": true,"
                "\"from\": [\"local\"]}"},
          {"b", SUDO("{\"max_age\": 60}")}},
         FACTOR_TOTP,
         "b",
         FACTOR_ALL},
        {{{"a", "{\"principals\": [\"user:eve\"], \"services\": [\"sudo\"], \"mfa\": true}"},
          {"b", SUDO("{\"max_age\": 60}")}},
         FACTOR_TOTP,
         "b",
         FACTOR_ALL},
        {{{"a", "{\"principals\": [\"*\"], \"services\": [\"su\"], \"mfa\": true}"},
          {"b", SUDO("{\"max_age\": 60}")}},
         FACTOR_TOTP,
         "b",
         FACTOR_ALL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct decide_facts f = bob;
        struct decision d;
        struct world w;

        f.enrolled = rows[i].enrolled;
        make(&w, rows[i].bindings, NULL);
        if (pam(&w, &f, "sudo", DECIDE_PAM_AUTH, &d) != DECIDE_CHALLENGE ||
            strcmp(d.binding, rows[i].chosen) != 0 || d.factors != rows[i].factors)
            fail_msg("row %zu: %s, factors %#x: %s", i, d.binding, d.factors, d.why);
        unmake(&w);
    }
#undef SUDO
}

/* --- Rule 6: proofs ----------------------------------------------------------------------------
 */

/* Goal: which proofs count: scope, age, factor. */
static void test_proofs(_unused_ void **state)
{
    static const char session[] =
        "{\"principals\": [\"*\"], \"services\": [\"sshd\"],"
        "\"policies\": [\"p\"],"
        "\"mfa\": {\"factors\": \"totp,recovery\", \"max_age\": \"15m\"}}";
    static const char ageless[] = "{\"principals\": [\"*\"], \"services\": [\"sshd\"],"
                                  "\"policies\": [\"p\"], \"mfa\": true}";
    static const char source[] = "{\"principals\": [\"*\"], \"services\": [\"sshd\"],"
                                 "\"mfa\": {\"max_age\": \"15m\", \"scope\": \"source\"}}";
    static const struct {
        const char *binding;
        struct decide_proof proof;
        bool counts;
        const char *why;
    } rows[] = {
        {session, {FACTOR_TOTP, 0, true, false}, true, "totp was proved 0s ago"},
        {session, {FACTOR_TOTP, 900, true, false}, true, "15m ago"},
        {session, {FACTOR_RECOVERY, 60, true, true}, true, "recovery was proved"},
        {session,
         {FACTOR_TOTP, 901, true, false},
         false,
         "asks for totp or recovery within 15m; this session's last proof is 15m1s old"},
        {session, {FACTOR_TOTP, -1, true, false}, false, "this session has none"},
        {session, {FACTOR_TOTP, INT64_MIN, true, false}, false, "this session has none"},
        {session, {FACTOR_TOTP, INT64_MAX, true, false}, false, "last proof is"},
        {session, {FACTOR_TOTP, 60, false, false}, false, "this session has none"},
        {session, {FACTOR_TOTP, 60, false, true}, false, "this session has none"},
        {session,
         {FACTOR_PASSPHRASE, 60, true, false},
         false,
         "this session's last proof is by passphrase"},
        {session, {(enum factor)0, 60, true, true}, false, "this session has none"},
        {session, {(enum factor)64, 60, true, true}, false, "this session has none"},
        {ageless, {FACTOR_PASSPHRASE, 1000000, true, false}, true, "passphrase was proved"},
        {ageless,
         {FACTOR_PASSPHRASE, -1, true, false},
         false,
         "asks for a second factor in this session; this session has none"},
        {ageless, {FACTOR_PASSPHRASE, 0, false, true}, false, "this session has none"},
        {source, {FACTOR_PASSPHRASE, 900, false, true}, true, "passphrase was proved 15m ago"},
        {source, {FACTOR_TOTP, 901, false, true}, false, "this source's last proof is 15m1s old"},
        {source, {FACTOR_TOTP, 60, true, false}, false, "this source has none"},
        {source, {FACTOR_TOTP, -60, false, true}, false, "this source has none"},
    };
    static const struct named policies[] = {{"p", READ_CREDS}, {0}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct named bindings[] = {{"b", rows[i].binding}, {0}};
        struct decide_facts f = bob_with(&rows[i].proof);
        struct decision d;
        struct world w;

        make(&w, bindings, policies);
        if (pam(&w, &f, "sshd", DECIDE_PAM_AUTH, &d) !=
                (rows[i].counts ? DECIDE_ALLOW : DECIDE_CHALLENGE) ||
            !strstr(d.why, rows[i].why))
            fail_msg("row %zu: %s", i, d.why);
        if (rows[i].binding != source) {
            if ((get(&w, &f, CREDS, ACL_READ, &d) == DECIDE_ALLOW) != rows[i].counts)
                fail_msg("row %zu: %s", i, d.why);
            assert_int_equal(d.mfa_would_help, !rows[i].counts);
        }
        unmake(&w);
    }
}

/* Goal: of several proofs the best counts, whatever their order. */
static void test_several_proofs(_unused_ void **state)
{
    static const struct named bindings[] = {
        {"dba",
         "{\"principals\": [\"*\"], \"policies\": [\"p\"], \"mfa\": {\"max_age\": \"15m\"}}"},
        {0}};
    static const struct named policies[] = {{"p", READ_CREDS}, {0}};
    static const struct decide_proof proofs[] = {
        {FACTOR_TOTP, -5, true, false},      {FACTOR_TOTP, 7200, true, false},
        {FACTOR_TOTP, 10, false, true},      {FACTOR_TOTP, 9000, true, false},
        {FACTOR_RECOVERY, 800, true, false},
    };
    struct decide_facts f = bob;
    struct decision d;
    struct world w;

    make(&w, bindings, policies);
    f.proofs = proofs;
    f.n_proofs = 5;
    assert_int_equal(get(&w, &f, CREDS, ACL_READ, &d), DECIDE_ALLOW);
    f.n_proofs = 4;
    assert_int_equal(get(&w, &f, CREDS, ACL_READ, &d), DECIDE_DENY);
    assert_string_equal(d.why,
                        "denied: binding \"dba\" matches but asks for a second factor within "
                        "15m; this session's last proof is 2h old");
    assert_string_equal(d.binding, "dba");
    assert_true(d.mfa_would_help);
    f.n_proofs = 0;
    assert_int_equal(get(&w, &f, CREDS, ACL_READ, &d), DECIDE_DENY);
    assert_true(d.mfa_would_help);
    unmake(&w);
}

/* Goal: mfa_would_help is said only where a proof would really open the path. */
static void test_mfa_would_help(_unused_ void **state)
{
#define MFA "\"mfa\": {\"max_age\": 60}"
    static const struct named bindings[] = {
        {"m", "{\"principals\": [\"user:bob\"], \"policies\": [\"read\"], " MFA "}"},
        {"long", "{\"principals\": [\"user:bob\"], \"policies\": [\"read\"],"
                 "\"mfa\": {\"max_age\": 900}}"},
        {"both", "{\"principals\": [\"user:bob\"], \"policies\": [\"hours\"],"
                 "\"hours\": \"Sun 01:00-02:00\", " MFA "}"},
        {"deny", "{\"principals\": [\"user:bob\"], \"policies\": [\"deny\"]}"},
        {"half", "{\"principals\": [\"user:bob\"], \"policies\": [\"half\"], " MFA "}"},
        {"rest", "{\"principals\": [\"user:bob\"], \"policies\": [\"rest\"]}"},
        {0}};
    static const struct named policies[] = {
        {"read", "path \"a\" { capabilities = [\"read\"] }\npath \"d\" { policy = \"read\" }\n"
                 "path \"e/x\" { policy = \"read\" }"},
        {"hours", "path \"h\" { capabilities = [\"read\"] }\npath \"e/h\" { policy = \"read\" }"},
        {"deny", "path \"d\" { policy = \"deny\" }\npath \"e/*\" { policy = \"deny\" }"},
        {"half", "path \"s\" { capabilities = [\"read\"] }"},
        {"rest", "path \"s\" { capabilities = [\"sudo\"] }"},
        {0}};
    static const struct {
        const char *path;
        unsigned need;
        bool sudo, helps;
        const char *why;
    } rows[] = {
        {"a", ACL_READ, false, true, "binding \"long\" matches but asks for a second factor"},
        {"a", ACL_UPDATE, false, false, "no policy of the bindings that name user:bob covers"},
        {"a", ACL_READ, true, false, "no policy of the bindings"},
        {"h", ACL_READ, false, false, "binding \"both\" matches but it is Mon 10:00"},
        {"d", ACL_READ, false, false, "denied by policy \"deny\""},
        {"e/x", ACL_READ, false, true, "binding \"long\""}, /* would be the more specific pattern */
        {"e/y", ACL_READ, false, false, "denied by policy \"deny\""},
        {"e/h", ACL_READ, false, false, "denied by policy \"deny\""},
        {"s", ACL_READ, true, true, "binding \"half\""},
        {"s", ACL_UPDATE, true, false, "does not grant update"},
        {"zzz", ACL_READ, false, false, "covers path \"zzz\""},
    };
    struct world w;

    make(&w, bindings, policies);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct decision d;

        decide_path(&w.rules, &bob, rows[i].path, rows[i].need, rows[i].sudo, false, &d);
        if (d.verdict != DECIDE_DENY || d.mfa_would_help != rows[i].helps ||
            !strstr(d.why, rows[i].why))
            fail_msg("row %zu: %d %s", i, d.mfa_would_help, d.why);
    }
    unmake(&w);
#undef MFA
}

/* --- Rule 7: grace -----------------------------------------------------------------------------
 */

/* Goal: grace satisfies mfa for services and never for policies, and no other condition. */
static void test_grace(_unused_ void **state)
{
    static const struct named bindings[] = {
        {"b", "{\"principals\": [\"*\"], \"services\": [\"sshd\", \"sudo\"], \"policies\": [\"p\"],"
              "\"mfa\": {\"max_age\": \"1m\"}}"},
        {"c", "{\"principals\": [\"*\"], \"services\": [\"login\"], \"mfa\": true,"
              "\"from\": [\"local\"]}"},
        {"d", "{\"principals\": [\"*\"], \"services\": [\"su\"],"
              "\"mfa\": {\"max_age\": \"1m\", \"factors\": \"passphrase\"}}"},
        {0}};
    static const struct named policies[] = {{"p", READ_CREDS}, {0}};
    struct decide_facts f = bob;
    _cleanup_json_ json_t *names = NULL;
    struct decision d;
    struct world w;

    f.exempt = true;
    f.exempt_why = "grace until 2026-12-01";
    make(&w, bindings, policies);
    assert_int_equal(pam(&w, &f, "sshd", DECIDE_PAM_AUTH, &d), DECIDE_ALLOW);
    assert_string_equal(d.why, "allowed by binding \"b\" for service \"sshd\": no factor is asked "
                               "for: grace until 2026-12-01");
    assert_int_equal(pam(&w, &f, "sudo", DECIDE_PAM_ACCOUNT, &d), DECIDE_ALLOW);
    assert_int_equal(pam(&w, &f, "su", DECIDE_PAM_AUTH, &d), DECIDE_ALLOW);
    assert_int_equal(pam(&w, &f, "login", DECIDE_PAM_AUTH, &d), DECIDE_DENY);
    assert_int_equal(pam(&w, &f, "cron", DECIDE_PAM_AUTH, &d), DECIDE_ALLOW);
    assert_int_equal(get(&w, &f, CREDS, ACL_READ, &d), DECIDE_DENY);
    assert_true(d.mfa_would_help);
    names = decide_policies(&w.rules, &f);
    assert_int_equal(json_array_size(names), 0);
    assert_int_equal(decide_caps(&w.rules, &f, CREDS), 0);
    f.exempt_why = NULL;
    assert_int_equal(pam(&w, &f, "sshd", DECIDE_PAM_AUTH, &d), DECIDE_ALLOW);
    f.user = NULL; /* nobody known has been granted anything */
    assert_int_equal(pam(&w, &f, "sshd", DECIDE_PAM_AUTH, &d), DECIDE_CHALLENGE);
    assert_int_equal(pam(&w, &f, "cron", DECIDE_PAM_AUTH, &d), DECIDE_CHALLENGE);
    unmake(&w);
}

/* --- The trace ---------------------------------------------------------------------------------
 */

static void assert_text(const json_t *v, const char *expected)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64 * 1024);

    json_put(&b, v);
    assert_string_equal(buf_str(&b), expected);
}

/* Goal: the trace has the shape that `explain` prints, and tells each binding and condition. */
static void test_trace(_unused_ void **state)
{
    static const struct named bindings[] = {
        {"dba", "{\"principals\": [\"group:x\", \"group:dba\"], \"policies\": [\"p\"],"
                "\"mfa\": {\"max_age\": \"15m\"}, \"from\": [\"10.0.0.0/8\"]}"},
        {"eve",
         "{\"principals\": [\"user:eve\"], \"services\": [\"sudo\"], \"assurance\": \"pidfd\"}"},
        {0}};
    static const struct named policies[] = {{"p", READ_CREDS}, {0}};
    struct decide_facts f = bob_with(&fresh);
    struct decision d;
    struct world w;

    make(&w, bindings, policies);
    decide_path(&w.rules, &f, CREDS, ACL_READ, false, true, &d);
    assert_text(
        d.trace,
        "{\"verdict\":\"allow\",\"why\":\"allowed by binding \\\"dba\\\": policy \\\"p\\\", "
        "path \\\"database/creds/shop-ro\\\"\",\"locked\":false,\"binding\":\"dba\",\"policy\":\"p\",\"rule\":"
        "\"database/creds/shop-ro\",\"bindings\":[{\"name\":\"dba\",\"principal\":"
        "\"group:dba\",\"satisfied\":true,\"conditions\":[{\"condition\":\"mfa\",\"met\":true,"
        "\"detail\":\"totp was proved 1m ago\"},{\"condition\":\"from\",\"met\":true,"
        "\"detail\":\"the login is from 10.1.2.3, which is in 10.0.0.0/8\"}],\"policies\":["
        "\"p\"],\"services\":[]},{\"name\":\"eve\",\"principal\":null,\"satisfied\":false,"
        "\"conditions\":[{\"condition\":\"assurance\",\"met\":false,\"detail\":\"the caller is "
        "known by uid, pidfd or better is asked for\"}],\"policies\":[],\"services\":["
        "\"sudo\"]}],\"principals\":[\"user:bob\",\"uid:1000\",\"group:staff\","
        "\"group:dba\"]}");
    decision_clear(&d);
    assert_null(d.trace);
    assert_int_equal(d.verdict, DECIDE_DENY);

    decide_pam(&w.rules, &f, "sudo", DECIDE_PAM_AUTH, true, &d);
    assert_string_equal(json_str(d.trace, "verdict"), "deny");
    assert_string_equal(json_str(d.trace, "why"), d.why);
    assert_true(json_is_null(json_object_get(d.trace, "binding")));
    decision_clear(&d);
    decide_pam(&w.rules, &f, "none", DECIDE_PAM_AUTH, true, &d);
    assert_string_equal(json_str(d.trace, "verdict"), "challenge");
    decision_clear(&d);
    decide_pam(&w.rules, &f, "none", DECIDE_PAM_ACCOUNT, true, &d);
    assert_string_equal(json_str(d.trace, "verdict"), "ignore");
    decision_clear(&d);
    unmake(&w);
}

/* Goal: hostile names, paths and numbers of things are shown safely and change no verdict. */
static void test_hostile(_unused_ void **state)
{
    static const struct named bindings[] = {
        {"b", "{\"principals\": [\"group:last\"], \"services\": [\"sudo\"], \"policies\": [\"p\"],"
              "\"from\": [\"10.0.0.0/8\"]}"},
        {0}};
    static const struct named policies[] = {{"p", "path \"x/*\" { capabilities = [\"read\"] }"},
                                            {0}};
    enum { GROUPS = 20000 };
    const char **groups = calloc(GROUPS, sizeof(*groups));
    struct decide_facts f = bob;
    struct decision d;
    struct world w;
    char big[10241], path[10241];

    assert_non_null(groups);
    memset(big, 'A', sizeof(big));
    memcpy(big, "\x1b[31m\xff\xfe\xe2\x80\xae\"", 11);
    memcpy(big + 80, "\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f",
           18);
    big[sizeof(big) - 1] = '\0';
    memset(path, '\x01', sizeof(path));
    memcpy(path, "x/", 2);
    path[sizeof(path) - 1] = '\0';
    for (size_t i = 0; i < GROUPS - 1; i++)
        groups[i] = big;
    groups[GROUPS - 1] = "last";
    f.user = big;
    f.groups = groups;
    f.n_groups = GROUPS;
    make(&w, bindings, policies);
    assert_int_equal(get(&w, &f, path, ACL_READ, &d), DECIDE_ALLOW);
    assert_int_equal(pam(&w, &f, "sudo", DECIDE_PAM_AUTH, &d), DECIDE_ALLOW);
    f.source = big;
    f.n_groups = GROUPS - 1;
    for (int i = 0; i < 4; i++) {
        f.n_groups = i % 2 ? GROUPS : 10;
        if (i < 2)
            decide_path(&w.rules, &f, path, ACL_READ, true, true, &d);
        else
            decide_pam(&w.rules, &f, big, DECIDE_PAM_ACCOUNT, true, &d);
        assert_int_equal(d.verdict, i < 2 ? DECIDE_DENY : DECIDE_IGNORE);
        assert_true(strlen(d.why) < sizeof(d.why));
        assert_null(strpbrk(d.why, "\x1b\x01\xff"));
        assert_non_null(d.trace);
        assert_string_equal(json_str(d.trace, "why"), d.why); /* so it is UTF-8 */
        decision_clear(&d);
    }
    unmake(&w);
    free(groups);
}

/* Goal: many bindings and policies still find the right one. */
static void test_many(_unused_ void **state)
{
    enum { N = 700 };
    struct binding **bindings = calloc(N, sizeof(struct binding *));
    struct acl_policy **policies = calloc(N, sizeof(struct acl_policy *));
    struct decide_rules rules = {(const struct binding *const *)bindings, N,
                                 (const struct acl_policy *const *)policies, N};
    char text[200], name[32], why[128];
    struct decision d;

    assert_true(bindings && policies);
    for (int i = 0; i < N; i++) {
        _cleanup_json_ json_t *obj =
            json_pack("{s:[s], s:[o]}", "principals", i % 2 ? "user:eve" : "user:bob", "policies",
                      json_sprintf("p%d", (i * 7) % N));

        (void)snprintf(name, sizeof(name), "b%d", i);
        assert_int_equal(binding_parse(name, obj, NULL, &bindings[i], why, sizeof(why)), 0);
        (void)snprintf(name, sizeof(name), "p%d", i);
        (void)snprintf(text, sizeof(text), "path \"k/%d\" { policy = \"read\" }", i);
        assert_int_equal(acl_parse(name, text, strlen(text), &policies[i], why, sizeof(why)), 0);
    }
    for (int i = 0; i < N; i++) {
        bool bobs = false;

        for (int b = 0; b < N; b += 2)
            bobs |= (b * 7) % N == i;
        (void)snprintf(text, sizeof(text), "k/%d", i);
        decide_path(&rules, &bob, text, ACL_READ, false, false, &d);
        assert_int_equal(d.verdict, bobs ? DECIDE_ALLOW : DECIDE_DENY);
        if (bobs) {
            (void)snprintf(name, sizeof(name), "p%d", i);
            assert_string_equal(d.policy, name);
        }
    }
    for (int i = 0; i < N; i++) {
        binding_free(bindings[i]);
        acl_free(policies[i]);
    }
    free(bindings);
    free(policies);
}

/* Goal: whoever is locked out gets nothing: no service, no path, no capability, no policies for a
 * token, whatever binding, exemption or root policy stands for them; and the sentence says why. */
static void test_locked(_unused_ void **state)
{
    static const struct named bindings[] = {
        {"b", "{\"principals\": [\"user:bob\", \"*\"], \"services\": [\"sshd\"], \"policies\": "
              "[\"p\"]}"},
        {0}};
    static const struct named policies[] = {
        {"p", "path \"*\" { capabilities = [\"read\", \"sudo\"] }"}, {0}};
    static const char *const services[] = {"sshd", "cron"}; /* bound, and not */
    struct decide_facts f = bob;
    struct decision d;
    struct world w;

    make(&w, bindings, policies);
    decide_pam(&w.rules, &f, "sshd", DECIDE_PAM_AUTH, false, &d);
    assert_int_equal(d.verdict, DECIDE_ALLOW);
    assert_false(d.locked);
    f.locked = "locked by user:ada at 2026-11-22: left";
    f.exempt = true;
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        for (int hook = 0; hook < 2; hook++) {
            decide_pam(&w.rules, &f, services[i], hook ? DECIDE_PAM_ACCOUNT : DECIDE_PAM_AUTH, true,
                       &d);
            assert_int_equal(d.verdict, DECIDE_DENY);
            assert_true(d.locked);
            assert_string_equal(d.why,
                                "denied: user:bob is locked out, and nothing outweighs that: "
                                "locked by user:ada at 2026-11-22: left");
            assert_true(json_bool(d.trace, "locked", false));
            decision_clear(&d);
        }
    }
    decide_path(&w.rules, &f, CREDS, ACL_READ, false, false, &d);
    assert_int_equal(d.verdict, DECIDE_DENY);
    assert_true(d.locked);
    assert_false(d.mfa_would_help);
    assert_int_equal(decide_caps(&w.rules, &f, CREDS), ACL_DENY);
    json_t *names = decide_policies(&w.rules, &f);
    assert_int_equal(json_array_size(names), 0);
    assert_non_null(names);
    json_decref(names);
    unmake(&w);
}

static long left_to_fail;

static void *failing_malloc(size_t n)
{
    if (left_to_fail >= 0 && left_to_fail-- == 0)
        return NULL;
    return malloc(n);
}

/* Goal: when JSON's memory runs out the verdict stands, the trace is whole or missing, and nothing
 * leaks. */
static void test_trace_memory(_unused_ void **state)
{
    static const struct named bindings[] = {
        {"b",
         "{\"principals\": [\"*\"], \"policies\": [\"p\"], \"mfa\": true, \"from\": [\"local\"]}"},
        {0}};
    static const struct named policies[] = {{"p", READ_CREDS}, {0}};
    json_malloc_t old_malloc;
    json_free_t old_free;
    struct decision d = {0};
    struct world w;
    long n = 0;

    json_get_alloc_funcs(&old_malloc, &old_free);
    left_to_fail = -1;
    json_set_alloc_funcs(failing_malloc, free);
    make(&w, bindings, policies);
    for (; !d.trace && n < 1000; n++) {
        left_to_fail = n;
        decide_path(&w.rules, &bob, CREDS, ACL_READ, false, true, &d);
        assert_int_equal(d.verdict, DECIDE_DENY);
        assert_non_null(strstr(d.why, "binding \"b\" matches"));
    }
    left_to_fail = -1;
    assert_true(n > 20 && n < 1000);
    decision_clear(&d);
    for (n = 0; n < 1000; n++) {
        json_t *names;

        left_to_fail = n;
        names = decide_policies(&w.rules, &bob);
        if (names) {
            json_decref(names);
            break;
        }
    }
    left_to_fail = -1;
    assert_true(n > 0 && n < 1000);
    unmake(&w);
    json_set_alloc_funcs(old_malloc, old_free);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_principals),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_conditions_are_anded),
        cmocka_unit_test(test_services_and_policies),
        cmocka_unit_test(test_sudo),
        cmocka_unit_test(test_denials),
        cmocka_unit_test(test_shared_policy),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_ttls),
        cmocka_unit_test(test_pam),
        cmocka_unit_test(test_challenge_choice),
        cmocka_unit_test(test_proofs),
        cmocka_unit_test(test_several_proofs),
        cmocka_unit_test(test_mfa_would_help),
        cmocka_unit_test(test_grace),
        cmocka_unit_test(test_locked),
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_trace_memory),
    };

    json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
