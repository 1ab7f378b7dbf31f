/* ACL policies: what is read, what is refused, which pattern decides, what parameters may be. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy/acl.h"

#define CRUD (ACL_CREATE | ACL_READ | ACL_UPDATE | ACL_DELETE)

static struct acl_policy *parse(const char *name, const char *text)
{
    struct acl_policy *p = NULL;
    char why[512] = "";
    int r = acl_parse(name, text, strlen(text), &p, why, sizeof(why));

    if (r < 0)
        fail_msg("policy refused: %s\n%s", why, text);
    assert_non_null(p);
    return p;
}

static void check1(const struct acl_policy *p, const char *path, struct acl_result *r)
{
    const struct acl_use use = {.policy = p};

    acl_check(&use, 1, path, r);
}

/* A policy of one read rule for each pattern. */
static struct acl_policy *readable(const char *name, const char *const *patterns, size_t n)
{
    char text[4096] = "";
    size_t len = 0;

    for (size_t i = 0; i < n && patterns[i]; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len,
                                "path \"%s\" { capabilities = [\"read\"] }\n", patterns[i]);
    return parse(name, text);
}

/* --- Reading -----------------------------------------------------------------------------------
 */

/* Goal: each form in which a policy may be written gives the capabilities it says. */
static void test_forms(_unused_ void **state)
{
    static const struct {
        const char *text;
        unsigned caps; /* at "a/b" */
    } rows[] = {
        {"path \"a/b\" { capabilities = [\"read\"] }", ACL_READ},
        {"path \"a/b\" {\n  capabilities = [\"create\", \"update\", \"patch\"] # why\n}",
         ACL_CREATE | ACL_UPDATE | ACL_PATCH},
        {"path \"/a/b\" { capabilities = [\"delete\", \"list\", \"sudo\"] }",
         ACL_DELETE | ACL_LIST | ACL_SUDO},
        {"{\"path\": {\"a/b\": {\"capabilities\": [\"read\", \"read\"]}}}", ACL_READ},
        {"{\"path\": [{\"a/b\": {\"capabilities\": [\"read\"]}}, {\"c\": {\"policy\": "
         "\"write\"}}]}",
         ACL_READ},
        {"{\"path\": {\"a/b\": [{\"policy\": \"read\"}, {\"capabilities\": [\"sudo\"]}]}}",
         ACL_READ | ACL_LIST | ACL_SUDO},
        {"path \"a/b\" { policy = \"read\" }", ACL_READ | ACL_LIST},
        {"path \"a/b\" { policy = \"write\" }", CRUD | ACL_LIST},
        {"path \"a/b\" { policy = \"sudo\" }", CRUD | ACL_LIST | ACL_SUDO},
        {"path \"a/b\" { policy = \"deny\" }", ACL_DENY},
        {"path \"a/b\" { capabilities = [\"read\", \"deny\", \"sudo\"] }", ACL_DENY},
        {"path \"a/b\" { policy = \"read\"\n capabilities = [\"update\"] }",
         ACL_READ | ACL_LIST | ACL_UPDATE},
        {"path \"a/b\" { capabilities = [\"read\"] }\npath \"a/b\" { capabilities = [\"list\"] }",
         ACL_READ | ACL_LIST},
        {"path \"a/b\" { capabilities = [\"read\"] }\npath \"/a/b\" { policy = \"deny\" }",
         ACL_DENY},
        {"path \"a/b\" { capabilities = [\"read\"]\n required_parameters = [] }", ACL_READ},
        {"", 0},
        {"# nothing at all\n", 0},
        {"{}", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(acl_freep) struct acl_policy *p = parse("p", rows[i].text);
        struct acl_result r;

        check1(p, "a/b", &r);
        if (r.caps != rows[i].caps)
            fail_msg("row %zu: caps %#x, expected %#x", i, r.caps, rows[i].caps);
        assert_int_equal(r.policy != NULL, rows[i].caps != 0);
    }
}

/* Goal: what is not understood is refused, with a reason that names it. */
static void test_refused(_unused_ void **state)
{
    static const struct {
        const char *text, *reason;
    } rows[] = {
        {"path \"a\" { capabilities = [\"reed\"] }", "unknown capability 'reed'"},
        {"path \"a\" { capabilities = [\"READ\"] }", "unknown capability 'READ'"},
        {"path \"a\" { capabilities = [\"root\"] }", "unknown capability 'root'"},
        {"path \"a\" { capabilities = [1] }", "unknown capability"},
        {"path \"a\" { capabilities = \"read\" }", "must be a list"},
        {"path \"a\" { capabilities = [] }", "names no capability"},
        {"path \"a\" { }", "names no capability"},
        {"path \"a\" { policy = \"admin\" }", "read, write, sudo or deny"},
        {"path \"a\" { capabilities = [\"read\"]\n min_wrapping_ttl = \"1s\" }",
         "min_wrapping_ttl"},
        {"path \"a\" { capabilities = [\"read\"]\n control_group = {} }", "control_group"},
        {"path \"a\" { capabilities = [\"read\"]\n capabilitys = [\"deny\"] }", "capabilitys"},
        {"name = \"x\"", "'name' is not supported"},
        {"rule \"a\" { capabilities = [\"read\"] }", "'rule' is not supported"},
        {"path { capabilities = [\"read\"] }", "is not a block"},
        {"path = \"a\"", "followed by a path"},
        {"[]", ""},
        {"path \"\" { policy = \"deny\" }", "a path of 0 bytes"},
        {"path \"/\" { policy = \"deny\" }", "a path of 0 bytes"},
        {"path \"//a\" { policy = \"deny\" }", "two slashes"},
        {"path \"a/*/b\" { policy = \"deny\" }", "'*' is possible at the end only"},
        {"path \"a/**\" { policy = \"deny\" }", "'*' is possible at the end only"},
        {"path \"a/{{identity.entity.name}}\" { policy = \"deny\" }", "templates"},
        {"path \"a\" { capabilities = [\"update\"]\n allowed_parameters = {} }", "is empty"},
        {"path \"a\" { capabilities = [\"update\"]\n allowed_parameters = [\"x\"] }", "must map"},
        {"path \"a\" { capabilities = [\"update\"]\n allowed_parameters = { \"x\" = \"y\" } }",
         "must be a list of values"},
        {"path \"a\" { capabilities = [\"update\"]\n denied_parameters = { \"*\" = [\"y\"] } }",
         "takes only []"},
        {"path \"a\" { capabilities = [\"update\"]\n denied_parameters = { \"x*\" = [] } }",
         "'*' in the name"},
        {"path \"a\" { capabilities = [\"update\"]\n denied_parameters = { \"X\" = []\n \"x\" = [] "
         "} }",
         "a second time"},
        {"path \"a\" { capabilities = [\"update\"]\n required_parameters = [\"*\"] }",
         "'*' in the name"},
        {"path \"a\" { capabilities = [\"update\"]\n required_parameters = \"x\" }",
         "must be a list"},
        {"path \"a\" { capabilities = [\"update\"]\n required_parameters = [1] }",
         "a name of 0 bytes"},
        {"path \"a\" {", "line 1"},
        {"{\"path\": {\"a\": {\"capabilities\": [\"read\"]}, \"a\": {\"policy\": \"deny\"}}}",
         "line"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct acl_policy *p = (struct acl_policy *)(uintptr_t)1;
        char why[512] = "";
        int r = acl_parse("p", rows[i].text, strlen(rows[i].text), &p, why, sizeof(why));

        if (r != -EINVAL || !strstr(why, rows[i].reason) || (rows[i].reason[0] && !why[0]))
            fail_msg("row %zu (%s): %d '%s'", i, rows[i].text, r, why);
        assert_null(p);
    }
}

/* Goal: a policy's name is checked and kept in lower case. */
static void test_names(_unused_ void **state)
{
    static const char *const bad[] = {"", "a b", "a\nb", "a\"b", "\xc3\xa9", "a,b"};
    _cleanup_(acl_freep) struct acl_policy *p = parse("Team/DB-read.1", "");
    char longest[ACL_NAME_MAX + 2], why[128];
    struct acl_policy *q;

    assert_string_equal(acl_name(p), "team/db-read.1");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(acl_parse(bad[i], "", 0, &q, why, sizeof(why)), -EINVAL);
    memset(longest, 'a', sizeof(longest));
    longest[ACL_NAME_MAX + 1] = '\0';
    assert_int_equal(acl_parse(longest, "", 0, &q, why, sizeof(why)), -EINVAL);
    longest[ACL_NAME_MAX] = '\0';
    assert_int_equal(acl_parse(longest, "", 0, &q, why, sizeof(why)), 0);
    assert_string_equal(acl_name(q), longest);
    acl_free(q);
    acl_free(NULL);
}

/* --- Matching ----------------------------------------------------------------------------------
 */

/* Goal: a pattern matches exactly the paths it should, with '+' and '*' at their edges. */
static void test_match(_unused_ void **state)
{
    static const struct {
        const char *pattern, *path;
        bool match;
    } rows[] = {
        {"secret/foo", "secret/foo", true},
        {"secret/foo", "secret/food", false},
        {"secret/foo", "secret/foo/bar", false},
        {"secret/foo", "secret/fo", false},
        {"secret/foo", "Secret/foo", false},
        {"secret/foo", "", false},
        {"secret/bar/*", "secret/bar/zip", true},
        {"secret/bar/*", "secret/bar/zip/zap", true},
        {"secret/bar/*", "secret/bar/", true},
        {"secret/bar/*", "secret/bar", false},
        {"secret/bar/*", "secret/bars/zip", false},
        {"secret/zip-*", "secret/zip-zap", true},
        {"secret/zip-*", "secret/zip-zap/zong", true},
        {"secret/zip-*", "secret/zip-", true},
        {"secret/zip-*", "secret/zip/zap", false},
        {"*", "anything/at/all", true},
        {"*", "", true},
        {"+", "sys", true},
        {"+", "sys/mounts", false},
        {"+*", "sys/mounts", true},
        {"+/x", "a/x", true},
        {"+/x", "a/b/x", false},
        {"secret/+/teamb", "secret/foo/teamb", true},
        {"secret/+/teamb", "secret/foo/teamc", false},
        {"secret/+/teamb", "secret/foo/teamb/x", false},
        {"secret/+/teamb", "secret/foo/bar/teamb", false},
        {"secret/+/teamb", "secret//teamb", true},
        {"secret/+/teamb", "secret/teamb", false},
        {"secret/+/+/teamb", "secret/foo/bar/teamb", true},
        {"secret/+/+/teamb", "secret/foo/teamb", false},
        {"secret/+", "secret/foo", true},
        {"secret/+", "secret", false},
        {"secret/+", "secret/foo/bar", false},
        {"secret/+/*", "secret/foo/bar/baz", true},
        {"secret/+/*", "secret/foo/", true},
        {"secret/+/*", "secret/foo", false},
        {"secret/+/a*", "secret/foo/abc/d", true},
        {"secret/+/a*", "secret/foo/bc", false},
        {"secret/+/a/+/b", "secret/1/a/2/b", true},
        {"secret/+/a/+/b", "secret/1/a/2/c", false},
        {"secret/a+b", "secret/a+b", true},
        {"secret/a+b", "secret/axb", false},
        {"secret/+x", "secret/+x", true},
        {"secret/+x", "secret/yx", false},
        {"secret/a+/+", "secret/a+/z", true},
        {"secret/a+/+", "secret/ab/z", false},
        {"secret/a+*", "secret/a+bc", true},
        {"secret/a+*", "secret/abc", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(acl_freep) struct acl_policy *p = readable("p", &rows[i].pattern, 1);
        struct acl_result r;

        check1(p, rows[i].path, &r);
        if ((r.caps == ACL_READ) != rows[i].match || (r.policy == p) != rows[i].match)
            fail_msg("'%s' on '%s': caps %#x", rows[i].pattern, rows[i].path, r.caps);
        if (rows[i].match)
            assert_string_equal(r.path, rows[i].pattern);
    }
}

/* Goal: Vault's documented priority decides which of two matching patterns counts, in one policy
 * and in two, whichever comes first. */
static void test_priority(_unused_ void **state)
{
    static const struct {
        const char *high, *low, *path;
    } rows[] = {
        /* exact before everything */
        {"secret/foo", "secret/foo*", "secret/foo"},
        {"secret/foo", "secret/+", "secret/foo"},
        {"secret/foo", "*", "secret/foo"},
        {"secret/a/b/c", "secret/a/b/+", "secret/a/b/c"},
        /* 1: a first wildcard that comes earlier is lower */
        {"secret/foo*", "secret/*", "secret/foobar"},
        {"secret/foo/*", "secret/+/bar", "secret/foo/bar"},
        {"secret/foo/+", "secret/+/bar", "secret/foo/bar"},
        {"secret/foo/*", "secret/+/+", "secret/foo/bar"},
        {"a/*", "+/b/c/d", "a/b/c/d"},
        /* 2: ending in '*' is lower */
        {"secret/+", "secret/*", "secret/foo"},
        {"secret/+/bar", "secret/+/b*", "secret/foo/bar"},
        {"secret/+/+", "secret/*", "secret/foo/bar"},
        {"secret/+/+/x", "secret/+/*", "secret/a/b/x"},
        /* 3: more '+' segments are lower; the example of the documentation is the first */
        {"secret/*", "secret/+/+/foo/*", "secret/a/b/foo/c"},
        {"secret/+/bar", "secret/+/+", "secret/foo/bar"},
        {"secret/+/b/c", "secret/+/+/c", "secret/a/b/c"},
        {"secret/+/bar/*", "secret/+/+/*", "secret/foo/bar/x"},
        /* 4: shorter is lower */
        {"secret/+/foo*", "secret/+/f*", "secret/a/foo"},
        {"secret/+/foo/*", "secret/+/*", "secret/a/foo/b"},
        /* 5: smaller in the alphabet is lower: two '+' at different places behind the first */
        {"x/+/b/+", "x/+/+/c", "x/a/b/c"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *both[2] = {rows[i].low, rows[i].high};
        _cleanup_(acl_freep) struct acl_policy *one = readable("one", both, 2);
        _cleanup_(acl_freep) struct acl_policy *low = readable("low", &rows[i].low, 1);
        _cleanup_(acl_freep) struct acl_policy *high = readable("high", &rows[i].high, 1);
        const struct acl_use uses[] = {{low, false}, {high, false}, {low, false}};
        struct acl_result r;

        check1(one, rows[i].path, &r);
        if (!r.path || strcmp(r.path, rows[i].high) != 0)
            fail_msg("row %zu: '%s' decided", i, r.path ? r.path : "nothing");
        for (size_t from = 0; from < 2; from++) {
            acl_check(uses + from, 2, rows[i].path, &r);
            assert_string_equal(r.path, rows[i].high);
            assert_ptr_equal(r.policy, high);
        }
        check1(low, rows[i].path, &r); /* it is the priority that decided, not the matching */
        assert_string_equal(r.path, rows[i].low);
    }
}

/* Goal: of many patterns that all match, the order of all of them is the documented one. */
static void test_priority_chain(_unused_ void **state)
{
    static const char *const ordered[] = {"a/b/c/d", "a/b/c/+", "a/b/c/*", "a/b/+/d", "a/b/+/+",
                                          "a/b/*",   "a/+/c/d", "a/+/c/+", "a/+/+/d", "a/+/+/+",
                                          "a/+/c/*", "a/+/*",   "a/+*",    "+/b/c/d", "+/+/+/+",
                                          "*",       "+*"};

    for (size_t skip = 0; skip < ARRAY_LEN(ordered); skip++) {
        _cleanup_(acl_freep) struct acl_policy *p =
            readable("p", ordered + skip, ARRAY_LEN(ordered) - skip);
        struct acl_result r;

        check1(p, "a/b/c/d", &r);
        assert_string_equal(r.path, ordered[skip]);
    }
}

/* --- Several policies --------------------------------------------------------------------------
 */

/* Goal: the same pattern in several policies is united, a lower pattern adds nothing, deny wins at
 * the deciding pattern only. */
static void test_united(_unused_ void **state)
{
    static const char *const texts[] = {
        "path \"a/b\" { capabilities = [\"read\"] }",
        "path \"/a/b\" { capabilities = [\"update\"] }",
        "path \"a/*\" { capabilities = [\"sudo\", \"delete\"] }",
        "path \"a/b\" { capabilities = [\"deny\"] }",
        "path \"a/*\" { capabilities = [\"deny\"] }",
        "path \"a/+\" { capabilities = [\"list\"] }",
        "path \"a/+\" { capabilities = [\"read\"] }",
    };
    static const struct {
        const char *which; /* digits of texts; a leading '!' means denials only */
        unsigned caps;
        int decided; /* which text; -1: none */
    } rows[] = {
        {"0", ACL_READ, 0},
        {"01", ACL_READ | ACL_UPDATE, 0},
        {"10", ACL_READ | ACL_UPDATE, 1},
        {"012", ACL_READ | ACL_UPDATE, 0},
        {"2", ACL_SUDO | ACL_DELETE, 2},
        {"03", ACL_DENY, 3},
        {"30", ACL_DENY, 3},
        {"013", ACL_DENY, 3},
        {"04", ACL_READ, 0},
        {"40", ACL_READ, 0},
        {"24", ACL_DENY, 4},
        {"56", ACL_LIST | ACL_READ, 5},
        {"4256", ACL_LIST | ACL_READ, 5},
        {"!0", 0, -1},
        {"!2!0", 0, -1},
        {"0!1", ACL_READ, 0},
        {"0!3", ACL_DENY, 3},
        {"!3", ACL_DENY, 3},
        {"2!0", ACL_SUDO | ACL_DELETE, 2},
        {"0!4", ACL_READ, 0},
        {"2!4", ACL_DENY, 4},
        {"5!4!2", ACL_LIST, 5},
        {"", 0, -1},
    };
    struct acl_policy *all[ARRAY_LEN(texts)];

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        all[i] = parse("p", texts[i]);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct acl_use uses[8];
        struct acl_result r;
        size_t n = 0;
        bool only = false;

        for (const char *c = rows[i].which; *c; c++) {
            if (*c != '!')
                uses[n++] = (struct acl_use){all[*c - '0'], only};
            only = *c == '!';
        }
        acl_check(uses, n, "a/b", &r);
        if (r.caps != rows[i].caps)
            fail_msg("'%s': caps %#x", rows[i].which, r.caps);
        assert_ptr_equal(r.policy, rows[i].decided < 0 ? NULL : all[rows[i].decided]);
        assert_int_equal(r.path != NULL, rows[i].decided >= 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        acl_free(all[i]);
}

/* Goal: a rule without the slash answers a list request, as in Vault, and gives list only. */
static void test_list(_unused_ void **state)
{
    static const struct {
        const char *text, *path;
        unsigned caps;
    } rows[] = {
        {"path \"m/foo\" { capabilities = [\"list\"] }", "m/foo/", ACL_LIST},
        {"path \"m/foo/\" { capabilities = [\"list\"] }", "m/foo/", ACL_LIST},
        {"path \"m/foo/\" { capabilities = [\"list\"] }", "m/foo", 0},
        {"path \"m/+\" { capabilities = [\"list\"] }", "m/foo/", ACL_LIST},
        {"path \"m/*\" { capabilities = [\"list\", \"read\"] }", "m/foo/", ACL_LIST | ACL_READ},
        {"path \"m/foo\" { capabilities = [\"read\", \"update\", \"list\", \"sudo\"] }", "m/foo/",
         ACL_LIST | ACL_SUDO},
        {"path \"m/foo\" { capabilities = [\"read\"] }", "m/foo/", 0},
        {"path \"m/foo\" { capabilities = [\"read\"] }\npath \"m/*\" { policy = \"read\" }",
         "m/foo/", 0},
        {"path \"m/foo\" { policy = \"deny\" }\npath \"m/*\" { policy = \"read\" }", "m/foo/",
         ACL_DENY},
        {"path \"m/foo/\" { capabilities = [\"list\"] }\npath \"m/foo\" { policy = \"deny\" }",
         "m/foo/", ACL_LIST},
        {"path \"m/foo/*\" { capabilities = [\"list\"] }\npath \"m/foo\" { policy = \"deny\" }",
         "m/foo/", ACL_DENY},
        {"path \"m/foo/*\" { capabilities = [\"list\"] }\npath \"m/+\" { policy = \"deny\" }",
         "m/foo/", ACL_LIST},
        {"path \"m\" { capabilities = [\"list\"] }", "m/", ACL_LIST},
        {"path \"m/+\" { capabilities = [\"list\"] }", "m/", ACL_LIST},
        {"path \"m/foo\" { capabilities = [\"list\"] }", "/", 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(acl_freep) struct acl_policy *p = parse("p", rows[i].text);
        struct acl_result r;

        check1(p, rows[i].path, &r);
        if (r.caps != rows[i].caps)
            fail_msg("row %zu: caps %#x", i, r.caps);
    }
}

/* --- Parameters --------------------------------------------------------------------------------
 */

#define RULE(params) "path \"a\" { capabilities = [\"update\"]\n" params "\n}"

/* Goal: each kind of parameter constraint holds, for one policy and for two of the same path. */
static void test_params(_unused_ void **state)
{
    static const char any[] = RULE("");
    static const char allow_foo[] = RULE("allowed_parameters = { \"foo\" = [] }");
    static const char allow_bar[] = RULE("allowed_parameters = { \"Bar\" = [\"zip\", \"zap\"] }");
    static const char allow_rest[] =
        RULE("allowed_parameters = { \"bar\" = [\"zip\"]\n \"*\" = [] }");
    static const char allow_team[] = RULE("allowed_parameters = { \"policies\" = [\"team-*\"] }");
    static const char allow_glob[] = RULE(
        "allowed_parameters = { \"x\" = [\"*-end\", \"*mid*\", \"5\", true, [\"a\", \"b\"]] }");
    static const char deny_bar[] = RULE("denied_parameters = { \"bar\" = [] }");
    static const char deny_zip[] = RULE("denied_parameters = { \"BAR\" = [\"zip\", \"ad*\"] }");
    static const char deny_all[] = RULE("denied_parameters = { \"*\" = [] }");
    static const char deny_block[] = RULE("denied_parameters { bar = [7] }");
    static const char both[] = RULE("allowed_parameters = { \"foo\" = [], \"bar\" = [] }\n"
                                    "denied_parameters = { \"bar\" = [\"zip\"] }");
    static const char need[] = RULE("required_parameters = [\"Foo\", \"bar\"]");
    static const char need_baz[] = RULE("required_parameters = [\"baz\"]");
    static const struct {
        const char *first, *second; /* policies */
        const char *body;
        const char *reason; /* NULL: allowed */
    } rows[] = {
        {any, NULL, NULL, NULL},
        {any, NULL, "{\"x\": 1}", NULL},
        {any, NULL, "[1]", NULL},

        {allow_foo, NULL, NULL, NULL},
        {allow_foo, NULL, "{}", NULL},
        {allow_foo, NULL, "{\"foo\": \"anything, at all\"}", NULL},
        {allow_foo, NULL, "{\"FOO\": {\"deep\": [1]}}", NULL},
        {allow_foo, NULL, "{\"bar\": 1}", "'bar' is not allowed"},
        {allow_foo, NULL, "{\"foo\": 1, \"bar\": 1}", "'bar' is not allowed"},
        {allow_foo, NULL, "[1]", "constrains"},
        {allow_foo, NULL, "\"foo\"", "constrains"},

        {allow_bar, NULL, "{\"bar\": \"zip\"}", NULL},
        {allow_bar, NULL, "{\"BAR\": \"zap\"}", NULL},
        {allow_bar, NULL, "{\"bar\": \"ZIP\"}", "'bar' is not allowed"},
        {allow_bar, NULL, "{\"bar\": \"zi\"}", "'bar' is not allowed"},
        {allow_bar, NULL, "{\"bar\": \"\"}", "'bar' is not allowed"},
        {allow_bar, NULL, "{\"bar\": [\"zip\"]}", NULL},
        {allow_bar, NULL, "{\"bar\": [\"zip\", \"zop\"]}", "'bar' is not allowed"},
        {allow_bar, NULL, "{\"bar\": \"zip,zap\"}", NULL},
        {allow_bar, NULL, "{\"bar\": \"zip,zop\"}", "'bar' is not allowed"},
        {allow_bar, NULL, "{\"bar\": {\"zip\": \"zip\"}}", "'bar' is not allowed"},
        {allow_bar, NULL, "{\"bar\": null}", "'bar' is not allowed"},
        {allow_bar, NULL, "{\"bar\": \"zip\", \"Bar\": \"zop\"}", "'Bar' is not allowed"},

        {allow_rest, NULL, "{\"other\": 1, \"bar\": \"zip\"}", NULL},
        {allow_rest, NULL, "{\"other\": 1, \"bar\": \"zap\"}", "'bar' is not allowed"},

        {allow_team, NULL, "{\"policies\": \"team-a\"}", NULL},
        {allow_team, NULL, "{\"policies\": \"team-a, team-b\"}", NULL},
        {allow_team, NULL, "{\"policies\": \"team-a,root\"}", "'policies' is not allowed"},
        {allow_team, NULL, "{\"policies\": \"team-a, root\"}", "'policies' is not allowed"},
        {allow_team, NULL, "{\"policies\": [\"team-a\", \"team-b\"]}", NULL},
        {allow_team, NULL, "{\"policies\": [\"team-a\", \"root\"]}", "'policies' is not allowed"},
        {allow_team, NULL, "{\"policies\": [\"team-a,root\"]}", "'policies' is not allowed"},
        {allow_team, NULL, "{\"policies\": [[\"root\"]]}", "'policies' is not allowed"},
        {allow_team, NULL, "{\"policies\": \",\"}", "'policies' is not allowed"},

        {allow_glob, NULL, "{\"x\": \"the-end\"}", NULL},
        {allow_glob, NULL, "{\"x\": \"-end\"}", NULL},
        {allow_glob, NULL, "{\"x\": \"end\"}", "'x' is not allowed"},
        {allow_glob, NULL, "{\"x\": \"amidst\"}", NULL},
        {allow_glob, NULL, "{\"x\": 5}", NULL},
        {allow_glob, NULL, "{\"x\": 55}", "'x' is not allowed"},
        {allow_glob, NULL, "{\"x\": true}", NULL},
        {allow_glob, NULL, "{\"x\": \"true\"}", NULL},
        {allow_glob, NULL, "{\"x\": false}", "'x' is not allowed"},
        {allow_glob, NULL, "{\"x\": [\"a\", \"b\"]}", NULL},
        {allow_glob, NULL, "{\"x\": [\"a\"]}", "'x' is not allowed"},

        {deny_bar, NULL, "{\"foo\": 1}", NULL},
        {deny_bar, NULL, "{\"bar\": 1}", "'bar' is denied"},
        {deny_bar, NULL, "{\"Bar\": null}", "'Bar' is denied"},

        {deny_zip, NULL, "{\"bar\": \"zap\", \"foo\": \"zip\"}", NULL},
        {deny_zip, NULL, "{\"bar\": \"zip\"}", "'bar' is denied"},
        {deny_zip, NULL, "{\"bar\": \"admin\"}", "'bar' is denied"},
        {deny_zip, NULL, "{\"bar\": [\"x\", \"zip\"]}", "'bar' is denied"},
        {deny_zip, NULL, "{\"bar\": [[\"zip\"]]}", "'bar' is denied"},
        {deny_zip, NULL, "{\"bar\": \"x , zip\"}", "'bar' is denied"},
        {deny_zip, NULL, "{\"bar\": \"x,y\"}", NULL},

        {deny_block, NULL, "{\"bar\": 7}", "'bar' is denied"},
        {deny_block, NULL, "{\"bar\": \"7\"}", "'bar' is denied"},
        {deny_block, NULL, "{\"bar\": 8}", NULL},

        {deny_all, NULL, NULL, NULL},
        {deny_all, NULL, "{}", NULL},
        {deny_all, NULL, "{\"x\": 1}", "'x' is denied"},

        {both, NULL, "{\"bar\": \"zap\"}", NULL},
        {both, NULL, "{\"bar\": \"zip\"}", "'bar' is denied"},
        {both, NULL, "{\"baz\": 1}", "'baz' is not allowed"},

        {need, NULL, "{\"foo\": 1, \"bar\": 2, \"baz\": 3}", NULL},
        {need, NULL, "{\"FOO\": 1, \"bar\": 2}", NULL},
        {need, NULL, "{\"foo\": 1}", "'bar' is required"},
        {need, NULL, NULL, "'foo' is required"},

        {allow_foo, allow_bar, "{\"foo\": 1, \"bar\": \"zip\"}", NULL},
        {allow_foo, allow_bar, "{\"foo\": 1, \"bar\": \"zop\"}", "'bar' is not allowed"},
        {allow_bar, RULE("allowed_parameters = { \"bar\" = [] }"), "{\"bar\": \"zop\"}", NULL},
        {allow_foo, any, "{\"bar\": 1}", "'bar' is not allowed"},
        {any, allow_foo, "{\"bar\": 1}", "'bar' is not allowed"},
        {allow_bar, allow_rest, "{\"bar\": \"zap\", \"x\": 1}", NULL},
        {allow_bar, allow_rest, "{\"bar\": \"zop\"}", "'bar' is not allowed"},
        {deny_zip, deny_bar, "{\"bar\": \"ok\"}", "'bar' is denied"},
        {allow_foo, deny_all, "{\"foo\": 1}", "'foo' is denied"},
        {need, need_baz, "{\"foo\": 1, \"bar\": 2}", "'baz' is required"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_(acl_freep) struct acl_policy *first = parse("first", rows[i].first);
        _cleanup_(acl_freep) struct acl_policy *second =
            parse("second", rows[i].second ? rows[i].second : "");
        const struct acl_use uses[] = {{first, false}, {second, false}};
        _cleanup_json_ json_t *body =
            rows[i].body ? json_loads(rows[i].body, JSON_DECODE_ANY, NULL) : NULL;
        struct acl_result r;
        char why[256] = "";
        int e;

        assert_int_equal(body != NULL, rows[i].body != NULL);
        acl_check(uses, 2, "a", &r);
        assert_int_equal(r.caps, ACL_UPDATE);
        e = acl_check_params(&r, body, why, sizeof(why));
        if (e != (rows[i].reason ? -EACCES : 0) ||
            !strstr(why, rows[i].reason ? rows[i].reason : ""))
            fail_msg("row %zu: %d '%s'", i, e, why);
    }
}

/* Goal: constraints of a policy whose denials alone count, or of another pattern, don't count; more
 * of them than can be checked refuse everything. */
static void test_params_which(_unused_ void **state)
{
    _cleanup_(acl_freep) struct acl_policy *free_rule = parse("free", RULE(""));
    _cleanup_(acl_freep) struct acl_policy *strict =
        parse("strict", RULE("denied_parameters = { \"*\" = [] }"));
    _cleanup_(acl_freep) struct acl_policy *other =
        parse("other", "path \"*\" { capabilities = [\"update\"]\n"
                       "denied_parameters = { \"*\" = [] } }");
    const struct acl_use uses[] = {{free_rule, false}, {strict, true}, {other, false}};
    struct acl_use many[ACL_PARAMS_MAX + 1];
    _cleanup_json_ json_t *body = json_pack("{s:i}", "x", 1);
    struct acl_result r;
    char why[128];

    acl_check(uses, 3, "a", &r);
    assert_int_equal(acl_check_params(&r, body, why, sizeof(why)), 0);
    acl_check(uses, 3, "b", &r);
    assert_int_equal(acl_check_params(&r, body, why, sizeof(why)), -EACCES);
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = (struct acl_use){strict, false};
    acl_check(many, ARRAY_LEN(many), "a", &r);
    assert_int_equal(acl_check_params(&r, NULL, why, sizeof(why)), -EACCES);
    assert_non_null(strstr(why, "too many"));
    acl_check(many, ARRAY_LEN(many) - 1, "a", &r);
    assert_int_equal(acl_check_params(&r, NULL, why, sizeof(why)), 0);
}

/* --- The rest ----------------------------------------------------------------------------------
 */

/* Goal: capabilities are named and ordered as Vault's sys/capabilities does. */
static void test_caps_json(_unused_ void **state)
{
    static const struct {
        unsigned caps;
        const char *json;
    } rows[] = {
        {0, "[\"deny\"]"},
        {ACL_DENY, "[\"deny\"]"},
        {ACL_DENY | ACL_READ, "[\"deny\"]"},
        {ACL_READ, "[\"read\"]"},
        {CRUD | ACL_LIST | ACL_SUDO | ACL_PATCH,
         "[\"create\",\"delete\",\"list\",\"patch\",\"read\",\"sudo\",\"update\"]"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *names = acl_caps_json(rows[i].caps);
        _cleanup_buf_ struct buf text = BUF_INIT(256);

        json_put(&text, names);
        assert_string_equal(buf_str(&text), rows[i].json);
    }
    assert_string_equal(acl_cap_name(ACL_UPDATE), "update");
    assert_null(acl_cap_name((enum acl_cap)0));
}

/* Goal: hostile sizes and bytes are refused or handled, never overrun. */
static void test_hostile(_unused_ void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4 * 1024 * 1024);
    char path[10241], why[64];
    struct acl_policy *p;
    struct acl_result r;

    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    buf_putf(&b, "path \"%s\" { capabilities = [\"read\"] }", path);
    assert_int_equal(acl_parse("p", buf_str(&b), b.len, &p, why, sizeof(why)), -EINVAL);
    buf_reset(&b);

    buf_putf(&b, "path \"%.*s\" { capabilities = [\"read\"] }", ACL_PATH_MAX, path);
    p = parse("p", buf_str(&b));
    check1(p, path, &r);
    assert_int_equal(r.caps, 0);
    path[ACL_PATH_MAX] = '\0';
    check1(p, path, &r);
    assert_int_equal(r.caps, ACL_READ);
    acl_free(p);
    buf_reset(&b);

    for (int i = 0; i <= ACL_RULES_MAX; i++)
        buf_putf(&b, "path \"p/%d\" { policy = \"read\" }\n", i);
    assert_int_equal(acl_parse("p", buf_str(&b), b.len, &p, why, sizeof(why)), -EINVAL);
    assert_non_null(strstr(why, "more than"));
    buf_reset(&b);
    for (int i = 0; i < ACL_RULES_MAX; i++)
        buf_putf(&b, "path \"p/%d%s\" { policy = \"read\" }\n", i, i % 2 ? "/*" : "");
    p = parse("p", buf_str(&b));
    check1(p, "p/4094", &r);
    assert_int_equal(r.caps, ACL_READ | ACL_LIST);
    check1(p, "p/4095/x", &r);
    assert_int_equal(r.caps, ACL_READ | ACL_LIST);
    check1(p, "p/4096", &r);
    assert_int_equal(r.caps, 0);
    check1(p, "p/4095/\xff\xfe\x80", &r); /* not ours to judge, but not ours to stumble over */
    assert_int_equal(r.caps, ACL_READ | ACL_LIST);
    acl_free(p);

    assert_int_equal(
        acl_parse("p", "path \"\xff\" { policy = \"read\" }", 26, &p, why, sizeof(why)), -EINVAL);
    assert_int_equal(acl_parse("p", "path \"a\0b\" {}", 13, &p, why, sizeof(why)), -EINVAL);
    buf_reset(&b);
    while (b.len <= 1024 * 1024)
        buf_puts(&b, "# ...............................................................\n");
    assert_int_equal(acl_parse("p", buf_str(&b), b.len, &p, why, sizeof(why)), -EINVAL);
    assert_non_null(strstr(why, "longer than"));
}

/* Goal: a reason is never cut inside a character and never carries control bytes. */
static void test_reason_is_clean(_unused_ void **state)
{
    static const char text[] = "path \"a\" { \"\\u001b[31m\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\" = 1 }";
    struct acl_policy *p;
    char why[256];

    for (size_t n = 1; n < sizeof(why); n++) {
        json_t *as_json;

        assert_int_equal(acl_parse("p", text, strlen(text), &p, why, n), -EINVAL);
        assert_true(strlen(why) < n);
        assert_null(strchr(why, '\x1b'));
        as_json = json_string(why); /* fails unless it is UTF-8 */
        assert_non_null(as_json);
        json_decref(as_json);
    }
}

/* --- Lack of memory ----------------------------------------------------------------------------
 */

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
    static const char text[] = RULE("allowed_parameters = { \"foo\" = [\"a\"] }\n"
                                    "denied_parameters = { \"bar\" = [] }\n"
                                    "required_parameters = [\"foo\"]");
    json_malloc_t old_malloc;
    json_free_t old_free;
    struct acl_policy *p = NULL;
    char why[128];
    int r = -ENOMEM;
    long n = 0;

    json_get_alloc_funcs(&old_malloc, &old_free);
    json_set_alloc_funcs(failing_malloc, free);
    for (; r == -ENOMEM && n < 1000; n++) {
        left_to_fail = n;
        r = acl_parse("p", text, strlen(text), &p, why, sizeof(why));
    }
    left_to_fail = -1;
    assert_int_equal(r, 0);
    assert_true(n > 10);
    acl_free(p);
    json_set_alloc_funcs(old_malloc, old_free);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),           cmocka_unit_test(test_refused),
        cmocka_unit_test(test_names),           cmocka_unit_test(test_match),
        cmocka_unit_test(test_priority),        cmocka_unit_test(test_priority_chain),
        cmocka_unit_test(test_united),          cmocka_unit_test(test_list),
        cmocka_unit_test(test_params),          cmocka_unit_test(test_params_which),
        cmocka_unit_test(test_caps_json),       cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_reason_is_clean), cmocka_unit_test(test_memory),
    };

    json_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
