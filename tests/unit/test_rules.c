#include "vault_fixture.h"

#include <time.h>

#include "server/rules.h"

#define READ_A "path \"secret/data/a\" { capabilities = [\"read\"] }"
#define DENY_A "path \"secret/data/a\" { capabilities = [\"deny\"] }"

struct world {
    struct fixture *fixture;
    struct vault *v;
    struct rules *rules;
    struct effects *effects;
    char why[400];
};

static struct world w;

static int setup(void **state)
{
    if (fixture_setup(state) != 0)
        return -1;
    w = (struct world){.fixture = *state};
    w.v = w.fixture->v;
    w.rules = rules_new();
    w.effects = effects_new();
    return w.rules && w.effects ? rules_load(w.rules, w.v) : -1;
}

static int teardown(void **state)
{
    effects_free(w.effects);
    rules_free(w.rules);
    return fixture_teardown(state);
}

static int put(const char *name, const char *text)
{
    return rules_policy_put(w.rules, w.v, w.effects, name, text, w.why, sizeof(w.why));
}

static int bind_json(const char *name, const char *text)
{
    json_t *obj = NULL;
    char why[128];
    assert_int_equal(json_parse(text, strlen(text), &obj, why, sizeof(why)), 0);
    int r = rules_binding_put(w.rules, w.v, w.effects, name, obj, w.why, sizeof(w.why));
    json_decref(obj);
    return r;
}

/* What a token with these policies may do with secret/data/a. */
static unsigned caps(const char *const *names, size_t n)
{
    json_t *list = json_array();
    struct acl_use *uses;
    struct acl_result result;
    size_t used;
    for (size_t i = 0; i < n; i++)
        assert_int_equal(json_array_append_new(list, json_string(names[i])), 0);
    assert_int_equal(rules_uses(w.rules, list, &uses, &used), 0);
    acl_check(uses, used, "secret/data/a", &result);
    free(uses);
    json_decref(list);
    return result.caps;
}

/* Goal: a policy is in force once its turn is committed, not before, and survives a restart. */
static void test_policy(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf text = BUF_INIT(1024);
    assert_int_equal(put("reader", READ_A), 0);
    assert_null(rules_policy(w.rules, "reader"));
    effects_run(w.effects);
    assert_non_null(rules_policy(w.rules, "reader"));
    assert_int_equal(rules_policy_get(w.v, "reader", &text), 0);
    assert_string_equal(buf_str(&text), READ_A);
    rules_clear(w.rules);
    assert_null(rules_policy(w.rules, "reader"));
    assert_int_equal(rules_load(w.rules, w.v), 0);
    assert_non_null(rules_policy(w.rules, "reader"));
    assert_int_equal(rules_broken(w.rules), 0);
}

/* Goal: reading the rules anew fails: those in force stay in force. */
static void test_failed_load(void **state)
{
    (void)state;
    assert_int_equal(put("reader", READ_A), 0);
    effects_run(w.effects);
    vault_seal(w.v);
    assert_int_equal(rules_load(w.rules, w.v), -EACCES);
    assert_non_null(rules_policy(w.rules, "reader"));
    assert_int_equal(rules_view(w.rules)->n_policies, 1);
}

/* Goal: what was taken back never comes into force. */
static void test_dropped(void **state)
{
    (void)state;
    assert_int_equal(put("reader", READ_A), 0);
    assert_int_equal(bind_json("b", "{\"principals\":[\"*\"],\"policies\":[\"reader\"]}"), 0);
    effects_drop(w.effects, 0);
    effects_run(w.effects);
    assert_null(rules_policy(w.rules, "reader"));
    assert_int_equal(rules_view(w.rules)->n_bindings, 0);
}

/* Goal: replacing and deleting change what is in force, one policy at a time. */
static void test_replace(void **state)
{
    (void)state;
    static const char *const one[] = {"one"}, *const both[] = {"one", "two"};
    assert_int_equal(put("one", READ_A), 0);
    assert_int_equal(put("two", DENY_A), 0);
    effects_run(w.effects);
    assert_int_equal(caps(one, 1), ACL_READ);
    assert_int_equal(caps(both, 2), ACL_DENY);
    assert_int_equal(put("two", READ_A), 0);
    effects_run(w.effects);
    assert_int_equal(caps(both, 2), ACL_READ);
    assert_int_equal(rules_policy_delete(w.rules, w.v, w.effects, "one"), 0);
    effects_run(w.effects);
    assert_int_equal(caps(one, 1), 0);
    assert_int_equal(caps(both, 2), ACL_READ);
    assert_int_equal(rules_policy_delete(w.rules, w.v, w.effects, "one"), RULES_E_NONE);
}

/* Goal: of a token's policies every single one counts, however many there are: the last may be the
 * denial. */
static void test_many(void **state)
{
    (void)state;
    const char *names[200];
    static char text[200][8];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(text[i], sizeof(text[i]), "p%zu", i);
        names[i] = text[i];
        assert_int_equal(put(text[i], i == ARRAY_LEN(names) - 1 ? DENY_A : READ_A), 0);
    }
    effects_run(w.effects);
    assert_int_equal(caps(names, ARRAY_LEN(names) - 1), ACL_READ);
    assert_int_equal(caps(names, ARRAY_LEN(names)), ACL_DENY);
}

/* Goal: "!name" counts its denials alone. */
static void test_denials_only(void **state)
{
    (void)state;
    static const char *const denier[] = {"reader", "!denier"}, *const reader[] = {"!reader"},
                             *const none[] = {"!none", "!", ""};
    assert_int_equal(put("reader", READ_A), 0);
    assert_int_equal(put("denier", DENY_A), 0);
    effects_run(w.effects);
    assert_int_equal(caps(denier, 2), ACL_DENY);
    assert_int_equal(caps(reader, 1), 0);
    assert_int_equal(caps(none, 3), 0);
}

/* Goal: names and texts that are none are refused with a reason, and nothing is stored. */
static void test_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"",  "root", "a/b", "../x",    ".hidden",
                                        "A", "a b",  "a\n", "\xc3\xa4"};
    json_t *list = NULL;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        w.why[0] = '\0';
        assert_int_equal(put(names[i], READ_A), RULES_E_REFUSED);
        assert_true(strlen(w.why) > 10);
    }
    assert_int_equal(put("ok", "path \"x\" { capabilities = [\"fly\"] }"), RULES_E_REFUSED);
    assert_int_equal(put("ok", "nonsense {"), RULES_E_REFUSED);
    assert_int_equal(bind_json("b", "{}"), RULES_E_REFUSED);
    assert_int_equal(
        bind_json("b", "{\"principals\":[\"*\"],\"policies\":[\"x\"],\"hour\":\"Mon\"}"),
        RULES_E_REFUSED);
    assert_int_equal(bind_json("b", "{\"principals\":[\"*\"],\"policies\":[\"x\"],"
                                    "\"hours\":\"08:00-09:00 Europe/Atlantis\"}"),
                     RULES_E_REFUSED);
    assert_int_equal(rules_names(w.v, false, &list), 0);
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
    assert_int_equal(rules_names(w.v, true, &list), 0);
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

/* Goal: a rule that can't be read any more grants nothing and is counted; the others go on. */
static void test_broken(void **state)
{
    (void)state;
    assert_int_equal(put("good", READ_A), 0);
    assert_int_equal(entry_put(w.v, "policy", "bad", "nonsense {", 10), 0);
    assert_int_equal(entry_put(w.v, "binding", "bad", "{\"principals\":7}", 16), 0);
    effects_run(w.effects);
    assert_int_equal(rules_load(w.rules, w.v), 0);
    assert_int_equal(rules_broken(w.rules), 2);
    assert_null(rules_policy(w.rules, "bad"));
    assert_non_null(rules_policy(w.rules, "good"));
    assert_int_equal(rules_view(w.rules)->n_bindings, 0);
}

/* Goal: the default policy is made once, and what somebody wrote there stays. */
static void test_defaults(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf text = BUF_INIT(4096);
    assert_int_equal(rules_defaults(w.v), 0);
    assert_int_equal(rules_load(w.rules, w.v), 0);
    assert_int_equal(rules_broken(w.rules), 0);
    assert_non_null(rules_policy(w.rules, "default"));
    assert_int_equal(put("default", READ_A), 0);
    assert_int_equal(rules_defaults(w.v), 0);
    assert_int_equal(rules_policy_get(w.v, "default", &text), 0);
    assert_string_equal(buf_str(&text), READ_A);
}

static int enrol(const char *text)
{
    json_t *obj = NULL;
    char why[128];
    assert_int_equal(json_parse(text, strlen(text), &obj, why, sizeof(why)), 0);
    int r = rules_enrolment_put(w.rules, w.v, w.effects, obj, w.why, sizeof(w.why));
    json_decref(obj);
    if (r == 0)
        effects_run(w.effects);
    return r;
}

static bool exempt(const char *user, const char *group, unsigned enrolled, int64_t now,
                   const char *why)
{
    char text[160];
    struct decide_facts f = {.user = user,
                             .groups = &group,
                             .n_groups = group != NULL,
                             .enrolled = enrolled,
                             .now = now};
    rules_exemption(w.rules, &f, text, sizeof(text));
    if (f.exempt)
        assert_string_equal(f.exempt_why, why);
    else
        assert_null(f.exempt_why);
    return f.exempt;
}

/* Goal: nobody is exempt unless it was written down; grace ends at its date and is for those
 * without a factor. */
static void test_enrolment(void **state)
{
    (void)state;
    const int64_t before = 1796083199, after = 1796083200; /* 2026-12-01T00:00:00Z */
    assert_false(exempt("ada", "staff", 0, before, NULL));
    assert_int_equal(
        enrol("{\"mode\":\"grace\",\"until\":\"2026-12-01\",\"exempt_groups\":[\"robots\"]}"), 0);
    assert_true(exempt("ada", "staff", 0, before, "grace until 2026-12-01"));
    assert_false(exempt("ada", "staff", 0, after, NULL));
    assert_false(exempt("ada", "staff", FACTOR_TOTP, before, NULL));
    assert_true(exempt("r2", "robots", FACTOR_TOTP, after, "exempt group robots"));
    assert_int_equal(rules_load(w.rules, w.v), 0);
    assert_true(exempt("ada", NULL, 0, before, "grace until 2026-12-01"));
    assert_int_equal(enrol("{\"mode\":\"required\"}"), 0);
    assert_false(exempt("ada", "robots", 0, before, NULL));
    static const char *const bad[] = {"{}",
                                      "{\"mode\":\"off\"}",
                                      "{\"mode\":\"grace\"}",
                                      "{\"mode\":\"required\",\"until\":\"2026-12-01\"}",
                                      "{\"mode\":\"grace\",\"until\":\"soon\"}",
                                      "{\"mode\":\"required\",\"exempt\":[\"x\"]}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(enrol(bad[i]), RULES_E_REFUSED);
    assert_false(exempt("ada", "robots", 0, before, NULL));
}

/* Goal: a zone is a file of the zone database, and its offset is that of the time asked for. */
static void test_zones(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",          "Europe",   "../../../etc/passwd", "/etc/localtime", "Europe/Atlantis",
        "Europe/..", "zone.tab", "leapseconds",         "tzdata.zi",      "posix"};
    int offset = 1;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (rules_zone_known(bad[i]))
            fail_msg("\"%s\" is no zone", bad[i]);
        assert_true(rules_zone_offset(bad[i], 0, &offset) < 0);
    }
    assert_true(rules_zone_known("UTC"));
    assert_int_equal(rules_zone_offset("UTC", 1796083200, &offset), 0);
    assert_int_equal(offset, 0);
    if (!rules_zone_known("Europe/Berlin")) {
        print_message("no zone database on this machine\n");
        skip();
    }
    assert_int_equal(rules_zone_offset("Europe/Berlin", 1796083200, &offset), 0);
    assert_int_equal(offset, 3600);
    assert_int_equal(rules_zone_offset("Europe/Berlin", 1782864000, &offset), 0); /* July */
    assert_int_equal(offset, 7200);
    assert_int_equal(rules_zone_offset("Asia/Kolkata", 1782864000, &offset), 0);
    assert_int_equal(offset, 19800);
    time_t now = 1782864000;
    struct tm tm;
    assert_non_null(localtime_r(&now, &tm)); /* in between it is UTC */
    assert_int_equal(tm.tm_gmtoff, 0);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_policy),   TEST(test_failed_load),  TEST(test_dropped), TEST(test_replace),
        TEST(test_many),     TEST(test_denials_only), TEST(test_refused), TEST(test_broken),
        TEST(test_defaults), TEST(test_enrolment),    TEST(test_zones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
