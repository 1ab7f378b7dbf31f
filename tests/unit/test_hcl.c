#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/hcl.h"

/* The JSON the text stands for, as compact text; the text must be good. */
static char *read_hcl(const char *text)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
    _cleanup_json_ json_t *v = NULL;
    char why[200];
    int r = hcl_parse(text, strlen(text), &v, why, sizeof(why));

    if (r != 0)
        fail_msg("refused: %s", why);
    assert_string_equal(why, "");
    json_put(&b, v);
    assert_int_equal(buf_error(&b), 0);
    return buf_steal(&b);
}

/* The reason why n bytes were refused. Valid until the next call. */
static const char *refused_n(const char *text, size_t n)
{
    static char why[200];
    json_t *v = json_true();

    if (hcl_parse(text, n, &v, why, sizeof(why)) != -EBADMSG)
        fail_msg("accepted: %.60s", text);
    assert_null(v);
    assert_string_not_equal(why, "");
    return why;
}

static const char *refused(const char *text)
{
    return refused_n(text, strlen(text));
}

struct row {
    const char *text, *want;
};

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        _cleanup_secret_ char *got = read_hcl(rows[i].text);

        assert_string_equal(got, rows[i].want);
    }
}

/* A policy as Vault's documentation writes them. */
static void test_policy(_unused_ void **state)
{
    static const struct row row = {
        "# Everything of the team's\n"
        "path \"secret/data/team/*\" {\n"
        "  capabilities = [\"create\", \"read\", \"update\"] // no delete\n"
        "  allowed_parameters = {\n"
        "    \"*\" = []\n"
        "    bar = [\"zip\", \"zap\",]\n"
        "  }\n"
        "}\n"
        "/* none\n   of this */\n"
        "path \"secret/data/+/root\" { capabilities = [\"deny\"] min_wrapping_ttl = \"1s\" }\n",
        "{\"path\":[{\"secret/data/team/*\":{\"capabilities\":[\"create\",\"read\",\"update\"],"
        "\"allowed_parameters\":{\"*\":[],\"bar\":[\"zip\",\"zap\"]}}},"
        "{\"secret/data/+/root\":{\"capabilities\":[\"deny\"],\"min_wrapping_ttl\":\"1s\"}}]}",
    };

    check_rows(&row, 1);
}

/* Values, names and blocks in all their forms. */
static void test_forms(_unused_ void **state)
{
    static const struct row rows[] = {
        {"", "{}"},
        {" \t\r\n# only a comment", "{}"},
        {"/**/", "{}"},
        {"a=1", "{\"a\":1}"},
        {"a = -1.5e3 b = 0", "{\"a\":-1500.0,\"b\":0}"},
        {"a = true\nb = false\n", "{\"a\":true,\"b\":false}"},
        {"\"a b\" = \"\"", "{\"a b\":\"\"}"},
        {"a-b.c_9 = 1", "{\"a-b.c_9\":1}"},
        {"a = \"\\\\ \\\" \\n \\t \\u00e4 \\ud83d\\ude00\"",
         "{\"a\":\"\\\\ \\\" \\n \\t \xc3\xa4 \xf0\x9f\x98\x80\"}"},
        {"a = \"# no // comment /* here\"", "{\"a\":\"# no // comment /* here\"}"},
        {"a = \"{{identity.entity.name}} $ { }\"", "{\"a\":\"{{identity.entity.name}} $ { }\"}"},
        {"a = []", "{\"a\":[]}"},
        {"a = [1, \"x\", [true], {b = 1},]", "{\"a\":[1,\"x\",[true],{\"b\":1}]}"},
        {"a = [ # one\n 1, /* two */ 2 // three\n]", "{\"a\":[1,2]}"},
        {"a = {}", "{\"a\":{}}"},
        {"a = { b = 1, c = 2, }", "{\"a\":{\"b\":1,\"c\":2}}"},
        {"a {}", "{\"a\":[{}]}"},
        {"a {} a {b=1}", "{\"a\":[{},{\"b\":1}]}"},
        {"a \"x\" {} a \"x\" {}", "{\"a\":[{\"x\":{}},{\"x\":{}}]}"},
        {"a x {}", "{\"a\":[{\"x\":{}}]}"},
        {"\"a\" \"x\" {}", "{\"a\":[{\"x\":{}}]}"},
        {"listener \"tcp\" {\n address = \"127.0.0.1:8200\"\n tls { min = \"1.2\" }\n}",
         "{\"listener\":[{\"tcp\":{\"address\":\"127.0.0.1:8200\",\"tls\":[{\"min\":\"1.2\"}]}}]}"},
        {"a = 1\r\nb = 2\r\n", "{\"a\":1,\"b\":2}"},
        {"b = 1 a = 2", "{\"b\":1,\"a\":2}"},
        {"a = 9223372036854775807", "{\"a\":9223372036854775807}"},
    };

    check_rows(rows, ARRAY_LEN(rows));
}

/* Heredocs keep their lines; the indented form takes the closing mark's indentation off. */
static void test_heredoc(_unused_ void **state)
{
    static const struct row rows[] = {
        {"a = <<EOT\nline 1\n  \"2\" # {\nEOT\nb = 1",
         "{\"a\":\"line 1\\n  \\\"2\\\" # {\\n\",\"b\":1}"},
        {"a = <<EOT\nEOT", "{\"a\":\"\"}"},
        {"a = <<E\nE1\nEE\n E\nE", "{\"a\":\"E1\\nEE\\n E\\n\"}"},
        {"a = <<EOT\r\nx\r\nEOT\r\n", "{\"a\":\"x\\r\\n\"}"},
        {"a = <<-EOT\n  x\n    y\n  EOT\n", "{\"a\":\"x\\n  y\\n\"}"},
        {"a = <<-EOT\n  x\n y\n  EOT\n", "{\"a\":\"  x\\n y\\n\"}"},
        {"a = <<-EOT\nx\nEOT", "{\"a\":\"x\\n\"}"},
        {"a = [<<EOT\nx\nEOT\n, 1]", "{\"a\":[\"x\\n\",1]}"},
        {"a = <<EOT\n\\n \\u0000\nEOT", "{\"a\":\"\\\\n \\\\u0000\\n\"}"},
    };

    check_rows(rows, ARRAY_LEN(rows));
}

/* Malformed text of every kind is refused. */
static void test_refuses(_unused_ void **state)
{
    static const char *const bad[] = {
        /* strings */
        "a = \"",
        "a = \"x",
        "a = \"x\\",
        "a = \"x\\\"",
        "a = \"x\ny\"",
        "a = \"\\x41\"",
        "a = \"\\r\"",
        "a = \"\\/\"",
        "a = \"\\u12\"",
        "a = \"\\u12g4\"",
        "a = \"\\u0000\"",
        "a = \"\\ud800\"",
        "a = \"\\U00000041\"",
        "a = \"\t\"",
        "a = \"\x01\"",
        "a = 'x'",
        "a = `x`",
        /* interpolation */
        "a = \"${x}\"",
        "a = \"$${x}\"",
        "a = \"x${\"",
        "\"${k}\" = 1",
        "path \"${p}\" {}",
        "a = <<EOT\n${x}\nEOT",
        /* comments */
        "/*",
        "/* x",
        "/*/",
        "a = 1 /* x *",
        "/",
        "a = /x",
        /* heredocs */
        "a = <<",
        "a = <<\n",
        "a = <<EOT",
        "a = <<EOT\n",
        "a = <<EOT\nx",
        "a = <<EOT\nx EOT",
        "a = <<EOT x\nEOT",
        "a = <<EOT\n EOT\n",
        "a = <<-EOT\nEOTX",
        "a = << EOT\nEOT",
        "a = <<-\nx",
        "a = <EOT\nEOT",
        "a = <<EOT\nEOT x",
        "a = <<EOT\nx\nEOT, b = 1",
        /* numbers */
        "a = 9223372036854775808",
        "a = -9223372036854775809",
        "a = 18446744073709551616",
        "a = 1e999",
        "a = 01",
        "a = 0x1f",
        "a = 1.",
        "a = .5",
        "a = -",
        "a = --1",
        "a = +1",
        "a = 1m",
        "a = 1_000",
        "a = 1.2.3",
        /* values */
        "a = ",
        "a",
        "= 1",
        "a = b",
        "a = True",
        "a = null",
        "a = truex",
        "a == 1",
        "a = 1 2",
        "a : 1",
        "a = 1,",
        "a = 1; b = 2",
        "a = (1)",
        "a = x(1)",
        /* lists and objects */
        "a = [",
        "a = [1",
        "a = [1,",
        "a = [,]",
        "a = [1 2]",
        "a = [1,,2]",
        "a = ]",
        "a = [}",
        "a = {",
        "a = { b = 1",
        "a = { b }",
        "a = {,}",
        "a = { b = 1,, }",
        "a = { \"b\": 1 }",
        "a = }",
        "}",
        "{ = 1",
        "a = [b {}]",
        /* blocks */
        "a {",
        "a { b = 1",
        "a \"x\"",
        "a \"x\" = 1",
        "a \"x\" \"y\" {}",
        "a x y {}",
        "a {}}",
        "1 {}",
        "a 1 {}",
        "a []",
        "- = 1",
        "a \"x {}",
        ".a = 1",
        /* the same name twice */
        "a = 1\na = 1",
        "a = 1 a {}",
        "a {} a = 1",
        "a = [] a \"x\" {}",
        "\"a\" = 1 a = 2",
        "a { b = 1 b = 2 }",
        "a = { b = 1, b = 2 }",
        "\"\\u0061\" = 1 a = 2",
        /* bytes */
        "a = \"\xff\"",
        "a = \"\xc0\xaf\"",
        "\xef\xbb\xbf a = 1",
        "a = 1 \xc2\xa0",
        "# \xff",
        "a = \"\xed\xa0\x80\"",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        refused(bad[i]);
    refused_n("a = 1\0", 6);
    refused_n("a = \"x\0\"", 8);
    refused_n("# \0", 3);
    refused_n("a = <<E\n\0\nE", 11);
}

/* Every beginning of a policy either is refused or ends where an item ends. */
static void test_truncated(_unused_ void **state)
{
    static const char text[] = "path \"a\" {\n capabilities = [\"read\", <<E\nx\nE\n] /* c */\n}\n";
    size_t close = (size_t)(strrchr(text, '}') - text);

    for (size_t n = 1; n < sizeof(text); n++) {
        _cleanup_(freep) char *exact = malloc(n);
        json_t *v;

        assert_non_null(exact);
        memcpy(exact, text, n);
        if (n <= close) {
            refused_n(exact, n);
        } else {
            assert_int_equal(hcl_parse(exact, n, &v, NULL, 0), 0);
            json_decref(v);
        }
    }
}

/* The reason names the line where it went wrong: for what isn't closed, where it was opened. */
static void test_reason(_unused_ void **state)
{
    static const struct {
        const char *text, *starts;
    } rows[] = {
        {"a = 1\nb = ?\n", "line 2: a value is expected"},
        {"\n\na {\n b = 1\n", "line 3: the block is not closed"},
        {"a = 1\n/* x\n\n\n", "line 2: the comment is not closed"},
        {"a = [\n1,\n2\n", "line 1: the list is not closed"},
        {"\na = <<EOT\n\n\n", "line 2: the heredoc is not closed"},
        {"a = \"x\n\n", "line 1: the string is not closed"},
        {"a = 1\nb = 2\na = 3\n", "line 3: the same name"},
        {"\r\na = \"${x}\"", "line 2: interpolation"},
    };
    char why[6];
    json_t *v;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *why_not = refused(rows[i].text);

        if (strncmp(why_not, rows[i].starts, strlen(rows[i].starts)) != 0)
            fail_msg("%s", why_not);
    }
    assert_int_equal(hcl_parse("=", 1, &v, why, sizeof(why)), -EBADMSG);
    assert_string_equal(why, "line ");
}

/* Nesting is allowed to HCL_DEPTH_MAX; 10,000 levels of anything only cost a look. */
static void test_depth(_unused_ void **state)
{
    static const char *const open[] = {"a {", "a \"b\" {", "a = {"};
    static char text[100001];

    for (size_t levels = HCL_DEPTH_MAX; levels <= HCL_DEPTH_MAX + 1; levels++) {
        memcpy(text, "a = ", 4);
        memset(text + 4, '[', levels);
        memset(text + 4 + levels, ']', levels);
        text[4 + 2 * levels] = '\0';
        if (levels == HCL_DEPTH_MAX)
            mem_free_str(read_hcl(text));
        else
            assert_non_null(strstr(refused(text), "too deeply"));
    }
    for (size_t i = 0; i < ARRAY_LEN(open); i++) {
        size_t step = strlen(open[i]);

        for (size_t k = 0; k < 10000; k++)
            memcpy(text + k * step, open[i], step);
        text[10000 * step] = '\0';
        assert_non_null(strstr(refused(text), "too deeply"));
    }
    memcpy(text, "a = ", 4);
    memset(text + 4, '[', 10000);
    text[10004] = '\0';
    assert_non_null(strstr(refused(text), "too deeply"));
}

/* Many blocks side by side are no depth, and stay in order. */
static void test_many_blocks(_unused_ void **state)
{
    static char text[200000];
    _cleanup_json_ json_t *v = NULL;
    char *p = text, name[16];
    json_t *paths;

    for (int i = 0; i < 10000; i++)
        p += sprintf(p, "path \"%d\" {}\n", i);
    assert_int_equal(hcl_parse(text, (size_t)(p - text), &v, NULL, 0), 0);
    paths = json_object_get(v, "path");
    assert_int_equal(json_array_size(paths), 10000);
    for (int i = 0; i < 10000; i++) {
        sprintf(name, "%d", i);
        assert_non_null(json_object_get(json_array_get(paths, (size_t)i), name));
    }
}

/* Text that begins with '{' is JSON, by JSON's rules. */
static void test_json_form(_unused_ void **state)
{
    static const struct row rows[] = {
        {"{\"path\":{\"a/*\":{\"capabilities\":[\"read\"]}}}",
         "{\"path\":{\"a/*\":{\"capabilities\":[\"read\"]}}}"},
        {" \n{\"a\":\"${x}\"}\n", "{\"a\":\"${x}\"}"},
        {"{}", "{}"},
    };
    static const char *const bad[] = {
        "{",
        "{}}",
        "{} a = 1",
        "{\"a\":1,}",
        "{\"a\":1,\"a\":1}",
        "{\"a\":\"\\u0000\"}",
        "{a = 1}",
        "{\"a\":1} # comment",
        "{\"a\":9223372036854775808}",
    };

    check_rows(rows, ARRAY_LEN(rows));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        refused(bad[i]);
    refused_n("{}\0", 3);
}

/* The size limit counts before anything else does. */
static void test_size(_unused_ void **state)
{
    char *text = malloc(HCL_TEXT_MAX + 1);
    char why[100];
    json_t *v;

    assert_non_null(text);
    memset(text, ' ', HCL_TEXT_MAX + 1);
    assert_int_equal(hcl_parse(text, HCL_TEXT_MAX, &v, why, sizeof(why)), 0);
    json_decref(v);
    assert_int_equal(hcl_parse(text, HCL_TEXT_MAX + 1, &v, why, sizeof(why)), -EMSGSIZE);
    assert_null(v);
    memset(text, '{', HCL_TEXT_MAX + 1);
    assert_int_equal(hcl_parse(text, HCL_TEXT_MAX + 1, &v, why, sizeof(why)), -EMSGSIZE);
    free(text);
}

static long allocations_left;

static void *failing_malloc(size_t n)
{
    return allocations_left-- > 0 ? malloc(n) : NULL;
}

/* When the n-th allocation and all after it fail, the answer is -ENOMEM, for every n. */
static void test_out_of_memory(_unused_ void **state)
{
    static const char text[] =
        "a = [1, 2.5, {b = \"\\u0041\"}]\nc \"d\" { e = <<E\nx\nE\n }\nc { }\n";
    char why[100];
    json_t *v;
    int r = -ENOMEM;
    long n;

    json_set_alloc_funcs(failing_malloc, free);
    for (n = 0; r == -ENOMEM && n < 1000; n++) {
        allocations_left = n;
        r = hcl_parse(text, strlen(text), &v, why, sizeof(why));
        assert_string_equal(why, "");
    }
    assert_int_equal(r, 0);
    assert_in_range(n, 20, 999);
    allocations_left = 1000;
    json_decref(v);
    json_init();
}

static int init(_unused_ void **state)
{
    json_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy),        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_heredoc),       cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_truncated),     cmocka_unit_test(test_reason),
        cmocka_unit_test(test_depth),         cmocka_unit_test(test_many_blocks),
        cmocka_unit_test(test_json_form),     cmocka_unit_test(test_size),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, init, NULL);
}
