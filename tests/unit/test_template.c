#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "connector/failure.h"
#include "connector/sql.h"
#include "connector/template.h"

/* Never connected: libpq escapes for it all the same. */
static PGconn *conn;

static int open_conn(_unused_ void **state)
{
    conn = PQconnectStart("host=/nonexistent");
    return conn ? 0 : -1;
}

static int close_conn(_unused_ void **state)
{
    PQfinish(conn);
    return 0;
}

static const struct template_value plain[] = {
    {"name", "v-role", true},
    {"username", "v-role", true},
    {"password", "SCRAM-SHA-256$4096:c2FsdA==$a/b+c=:d=", false},
    {"expiration", "2026-11-22T07:30:00Z", false},
    {NULL, NULL, false},
};
static const struct template_value hostile[] = {
    {"name", "a\"'\\;--$$/*", true},
    {"password", "p\"'\\;--$$/*", false},
    {NULL, NULL, false},
};

/* The statements with " | " between them, or "E: " and the reason. */
static void expand(const char *text, const struct template_value *values, char *out, size_t n)
{
    _cleanup_template_ struct template_list list = {0};
    char why[160];
    int r = template_expand(conn, text, values, &list, why, sizeof(why));

    out[0] = '\0';
    if (r < 0) {
        assert_int_equal(r, -EINVAL);
        (void)snprintf(out, n, "E: %s", why);
        return;
    }
    for (size_t i = 0; i < list.count; i++) {
        size_t used = strlen(out);

        (void)snprintf(out + used, n - used, "%s%s", i ? " | " : "", list.sql[i]);
    }
}

struct pair {
    const char *text, *want;
};

static void check_all(const struct pair *pairs, size_t count, const struct template_value *values)
{
    char got[1024];

    for (size_t i = 0; i < count; i++) {
        expand(pairs[i].text, values, got, sizeof(got));
        assert_string_equal(got, pairs[i].want);
    }
}

/* Statements are split where PostgreSQL would end them and nowhere else; comments are not sent. */
static void test_splitting(_unused_ void **state)
{
    static const struct pair pairs[] = {
        {"", ""},
        {" ; ;\n", ""},
        {"SELECT 1; SELECT 2;", "SELECT 1 | SELECT 2"},
        {"SELECT ';'; SELECT \";\"", "SELECT ';' | SELECT \";\""},
        {"SELECT 'it''s;'; x", "SELECT 'it''s;' | x"},
        {"SELECT E'\\';'; x", "SELECT E'\\';' | x"},
        {"SELECT '\\'; x", "SELECT '\\' | x"},
        {"DO $$ a; b $$; x", "DO $$ a; b $$ | x"},
        {"DO $f$ a; $$ b; $$ $f$; x", "DO $f$ a; $$ b; $$ $f$ | x"},
        {"SELECT a$$b; c$$d", "SELECT a$$b | c$$d"},
        {"SELECT $1; x", "SELECT $1 | x"},
        {"CREATE RULE r DO (a; b); x", "CREATE RULE r DO (a; b) | x"},
        {"a -- ; '\n; b", "a  \n | b"},
        {"a /* ; ' /* ; */ \" */; b", "a   | b"},
        {"SELECT E'a' -- x\n 'b\\';'; c", "SELECT E'a'  \n 'b\\';' | c"},
        {"SELECT U&'\\0441;'; b", "SELECT U&'\\0441;' | b"},
    };

    check_all(pairs, ARRAY_LEN(pairs), plain);
}

/* A harmless value is put where it belongs, in the form of the place. */
static void test_places(_unused_ void **state)
{
    static const struct pair pairs[] = {
        {"CREATE ROLE \"{{name}}\"", "CREATE ROLE \"v-role\""},
        {"CREATE ROLE {{name}}", "CREATE ROLE \"v-role\""},
        {"DROP ROLE {{username}};", "DROP ROLE \"v-role\""},
        {"UNTIL '{{expiration}}'", "UNTIL '2026-11-22T07:30:00Z'"},
        {"UNTIL {{expiration}}", "UNTIL '2026-11-22T07:30:00Z'"},
        {"PASSWORD '{{password}}' x", "PASSWORD 'SCRAM-SHA-256$4096:c2FsdA==$a/b+c=:d=' x"},
        {"f(\"x\",{{name}})", "f(\"x\",\"v-role\")"},
        {"DO $$ x '{{name}}' $$", "DO $$ x 'v-role' $$"},
        {"DO $a$ '{{password}}' $a$", "DO $a$ 'SCRAM-SHA-256$4096:c2FsdA==$a/b+c=:d=' $a$"},
        {"x -- {{name}} {{nobody}}", "x  "},
        {"SELECT '{{1,2},{3,4}}'", "SELECT '{{1,2},{3,4}}'"},
        {"SELECT E'\\{{name}}'", "SELECT E'\\{{name}}'"},
        {"SELECT E'\\\\{{name}}'", "SELECT E'\\\\v-role'"},
    };

    check_all(pairs, ARRAY_LEN(pairs), plain);
}

/* A value made to break out stays inside, wherever it stands. */
static void test_hostile_values(_unused_ void **state)
{
    static const struct pair pairs[] = {
        {"CREATE ROLE \"{{name}}\"", "CREATE ROLE \"a\"\"'\\;--$$/*\""},
        {"CREATE ROLE {{name}}", "CREATE ROLE \"a\"\"'\\;--$$/*\""},
        {"SELECT '{{name}}'", "SELECT 'a\"''\\;--$$/*'"},
        {"SELECT E'{{name}}'", "SELECT E'a\"''\\\\;--$$/*'"},
        {"SELECT e'x' \n '{{name}}'", "SELECT e'x' \n 'a\"''\\\\;--$$/*'"},
        {"SELECT {{password}}", "SELECT  E'p\"''\\\\;--$$/*'"},
        {"DO $$ '{{name}}' $$", "E: a value can't be put into a dollar-quoted body"},
        {"DO $x$ '{{name}}' $x$", "E: a value can't be put into a dollar-quoted body"},
        {"SELECT U&'{{name}}'", "E: a placeholder can't stand inside U& quotes"},
        {"SELECT u&\"{{name}}\"", "E: a placeholder can't stand inside U& quotes"},
    };

    check_all(pairs, ARRAY_LEN(pairs), hostile);
}

/* In a dollar quote a value can neither complete the tag nor begin a comment. */
static void test_dollar_values(_unused_ void **state)
{
    static const struct {
        const char *value, *text, *want;
    } rows[] = {
        {"a$x", "DO $$ {{name}} $$", "DO $$ a$x $$"},
        {"a$$x", "DO $$ {{name}} $$", "E: a value would end a dollar quote"},
        {"$x", "DO $$ y{{name}} $$", "E: a value can't be put into a dollar-quoted body"},
        {"x$", "DO $$ {{name}}$$", "E: a value can't be put into a dollar-quoted body"},
        {"g$x", "DO $tag$ $ta{{name}} $tag$", "E: a value would end a dollar quote"},
        {"a--b", "DO $$ {{name}} $$", "E: a value can't be put into a dollar-quoted body"},
        {"a b", "DO $$ {{name}} $$", "E: a value can't be put into a dollar-quoted body"},
        {"\xc3\xbc", "DO $$ {{name}} $$", "E: a value can't be put into a dollar-quoted body"},
        {"", "DO $$ {{name}} $$", "E: a value can't be put into a dollar-quoted body"},
    };
    char got[256];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct template_value values[] = {{"name", rows[i].value, true}, {NULL, NULL, false}};

        expand(rows[i].text, values, got, sizeof(got));
        assert_string_equal(got, rows[i].want);
    }
}

/* What can't be read for certain, or would leave the transaction, is refused. */
static void test_refused(_unused_ void **state)
{
    static const struct pair pairs[] = {
        {"SELECT '{{nobody}}'", "E: a placeholder is not known here"},
        {"SELECT {{ name }}", "E: a placeholder is not known here"},
        {"SELECT '{{name_that_is_much_longer_than_any}}'", "E: a placeholder is not known here"},
        {"SELECT E{{password}}", "E: a bare placeholder must stand free"},
        {"SELECT U&{{password}}", "E: a bare placeholder must stand free"},
        {"SELECT 'a'{{password}}", "E: a bare placeholder must stand free"},
        {"SELECT {{password}}'a'", "E: a bare placeholder must stand free"},
        {"SELECT {{password}} \n 'a'", "E: a bare placeholder must stand free"},
        {"SELECT {{password}}{{password}}", "E: a bare placeholder must stand free"},
        {"SELECT x{{name}}", "E: a bare placeholder must stand free"},
        {"SELECT {{name}}x", "E: a bare placeholder must stand free"},
        {"SELECT 'a", "E: a quote is not closed"},
        {"SELECT 'a{{name}}", "E: a quote is not closed"},
        {"SELECT \"a", "E: a quote is not closed"},
        {"SELECT E'a\\", "E: a quote is not closed"},
        {"SELECT E'a\\'", "E: a quote is not closed"},
        {"SELECT U&'a", "E: a quote is not closed"},
        {"DO $$ a $x$", "E: a dollar quote is not closed"},
        {"a /* /* */", "E: a comment is not closed"},
        {"f(a", "E: a parenthesis is not closed"},
        {"f(a))", "E: a parenthesis is closed that was not opened"},
        {"COMMIT", "E: statements run in one transaction and may not begin or end one"},
        {"x; /* y */ rollBack to z",
         "E: statements run in one transaction and may not begin or end one"},
        {"prepare transaction 'x'",
         "E: statements run in one transaction and may not begin or end one"},
    };

    check_all(pairs, ARRAY_LEN(pairs), plain);
}

/* Any cut of a template is either read or refused, never read beyond its end. */
static void test_cut_anywhere(_unused_ void **state)
{
    static const char text[] =
        "DO $t$ '{{name}}' $t$; SELECT E'\\\\{{name}}' -- c\n 'x', U&'y', \"{{name}}\"; "
        "/* /* x */ */ f({{password}}, $1) ;";
    size_t read = 0;

    for (size_t n = 0; n < sizeof(text); n++) {
        char *cut = mem_dup(text, n);
        _cleanup_template_ struct template_list list = {0};
        char why[160];
        int r;

        assert_non_null(cut);
        r = template_expand(conn, cut, plain, &list, why, sizeof(why));
        assert_true(r == 0 || r == -EINVAL);
        read += r == 0;
        free(cut);
    }
    assert_in_range(read, 1, sizeof(text) - 1);
}

/* More statements than the bound are refused. */
static void test_bounds(_unused_ void **state)
{
    _cleanup_template_ struct template_list list = {0};
    _cleanup_buf_ struct buf b = BUF_INIT(8192);
    char why[160];

    for (size_t i = 0; i <= TEMPLATE_STATEMENTS_MAX; i++)
        buf_puts(&b, "x;");
    assert_int_equal(template_expand(conn, buf_str(&b), plain, &list, why, sizeof(why)), -EMSGSIZE);
    assert_int_equal(list.count, TEMPLATE_STATEMENTS_MAX);
}

/* SQL of our own is written with the same escaping. */
static void test_sql_put(_unused_ void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(256);
    _cleanup_buf_ struct buf bad = BUF_INIT(256);

    sql_put(&b, conn, "ALTER ROLE %I PASSWORD %L LIMIT %N", "a\"b", "it's", (int64_t)-1);
    assert_string_equal(buf_str(&b), "ALTER ROLE \"a\"\"b\" PASSWORD 'it''s' LIMIT -1");
    sql_put(&bad, NULL, "%I", "x");
    assert_int_equal(buf_error(&bad), -EINVAL);
}

/* Messages lose every piece of a secret, line ends and whatever moves a cursor. */
static void test_clean_messages(_unused_ void **state)
{
    static const char *const secrets[] = {"swordfish-9000", "abc", NULL};
    static const struct pair pairs[] = {
        {"login failed\n", "login failed"},
        {"bad \"swordfish-9000\"", "bad \"***\""},
        {"near \"rdfish-9000\" and fish-9", "near \"***\" and fish-9"},
        {"abc", "***"},
        {"one\ntwo\tthree", "one two three"},
        {"esc \x1b[2J", "esc ?[2J"},
        {"\xff\xfe", "??"},
    };
    char got[64], small[8];

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        failure_clean(got, sizeof(got), pairs[i].text, secrets);
        assert_string_equal(got, pairs[i].want);
    }
    failure_clean(small, sizeof(small), "0123456789", secrets);
    assert_string_equal(small, "0123456");
}

/* Each SQLSTATE has its kind, and a failed login's is found in libpq's text. */
static void test_kinds(_unused_ void **state)
{
    static const struct pair pairs[] = {
        {"28P01", "denied"},      {"42501", "denied"},      {"3D000", "denied"},
        {"57P01", "unreachable"}, {"08006", "unreachable"}, {"53300", "unreachable"},
        {"57014", "timeout"},     {"2BP01", "dependent"},   {"42710", "statement"},
        {"42601", "statement"},   {"", "statement"},
    };
    char state5[6];

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        assert_string_equal(failure_kind(pairs[i].text), pairs[i].want);
    assert_string_equal(
        failure_find_sqlstate(
            "connection to server at \"x\", port 1 failed: FATAL:  28P01: no entry\n", state5),
        "no entry\n");
    assert_string_equal(state5, "28P01");
    assert_string_equal(failure_find_sqlstate("no:  such: thing", state5), "no:  such: thing");
    assert_string_equal(state5, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splitting),      cmocka_unit_test(test_places),
        cmocka_unit_test(test_hostile_values), cmocka_unit_test(test_dollar_values),
        cmocka_unit_test(test_refused),        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_bounds),         cmocka_unit_test(test_sql_put),
        cmocka_unit_test(test_clean_messages), cmocka_unit_test(test_kinds),
    };

    return cmocka_run_group_tests(tests, open_conn, close_conn);
}
