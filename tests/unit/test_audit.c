/* The audit chain. */
#include "audit_fixture.h"

/* A line has its fields in order, is JSON, and its mac is 64 lower-case hex digits. */
static void test_form(void **state)
{
    struct fixture *f = *state;
    size_t n;
    char why[128];
    json_t *fields = json_pack("{s:s, s:i}", "path", "kv/\"x\"\n", "code", 200), *line;
    assert_int_equal(audit_append(f->v, "request", fields), -EINVAL); /* no turn */
    assert_int_equal(vault_begin(f->v), 0);
    assert_int_equal(audit_append(f->v, "request", fields), 0);
    assert_int_equal(audit_append(f->v, "empty", NULL), 0);
    assert_int_equal(vault_commit(f->v), 0);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    char *text = fixture_read(f->log, &n);
    char *first = strchr(text, '\n') + 1, *second = strchr(first, '\n') + 1;
    assert_true(strncmp(first, "{\"seq\":1,\"time\":\"20", 19) == 0);
    assert_non_null(strstr(first,
                           "Z\",\"type\":\"request\",\"path\":\"kv/\\\"x\\\"\\n\",\"code\":200,"
                           "\"mac\":\""));
    assert_non_null(strstr(second, "\"type\":\"empty\",\"mac\":\""));
    assert_int_equal(json_parse(first, (size_t)(second - 1 - first), &line, why, sizeof(why)), 0);
    assert_int_equal(strlen(json_str(line, "mac")), 64);
    assert_int_equal(json_int(line, "seq", 0), 1);
    json_decref(line);
    json_decref(fields);
    free(text);
}

/* One turn may say a lot (all leases revoked at once), and all of it reaches the file. */
static void test_long_turn(void **state)
{
    struct fixture *f = *state;
    char *text = malloc(60001);
    assert_non_null(text);
    memset(text, 'x', 60000);
    text[60000] = '\0';
    json_t *fields = json_pack("{s:s}", "a", text);
    assert_int_equal(vault_begin(f->v), 0);
    for (int i = 0; i < 700; i++)
        assert_int_equal(audit_append(f->v, "lease", fields), 0);
    fixture_put(f->v, "a", "1");
    assert_int_equal(vault_commit(f->v), 0);
    json_decref(fields);
    free(text);
    fixture_reopen(f);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    struct stat st;
    assert_int_equal(stat(f->log, &st), 0);
    assert_in_range(st.st_size, 700 * 60000, 700 * 61000);
    assert_int_equal(head(f->v), 700);
}

/* Types that are no word, and fields that are ours, are refused and leave nothing. */
static void test_refused_lines(void **state)
{
    struct fixture *f = *state;
    static const char *const ours[] = {"seq", "time", "type", "mac"};
    assert_int_equal(vault_begin(f->v), 0);
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        json_t *bad = json_pack("{s:s, s:i}", "a", "b", ours[i], 1);
        assert_int_equal(audit_append(f->v, "request", bad), -EINVAL);
        json_decref(bad);
    }
    json_t *array = json_array();
    assert_int_equal(audit_append(f->v, "request", array), -EINVAL);
    json_decref(array);
    assert_int_equal(audit_append(f->v, "", NULL), -EINVAL);
    assert_int_equal(audit_append(f->v, "a\",\"b\":\"c", NULL), -EINVAL);
    char *long_text = malloc(AUDIT_LINE_MAX + 1);
    memset(long_text, 'x', AUDIT_LINE_MAX);
    long_text[AUDIT_LINE_MAX] = '\0';
    json_t *big = json_pack("{s:s}", "a", long_text);
    fixture_line(f->v, "before");
    assert_int_equal(audit_append(f->v, "request", big), -EMSGSIZE);
    fixture_line(f->v, "after");
    json_decref(big);
    free(long_text);
    assert_int_equal(vault_commit(f->v), 0);
    assert_int_equal(head(f->v), 2);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    expect_whole(f->v, f->log, 2);
}

/* Undone and rolled back lines were never there; their numbers are used again. */
static void test_undo(void **state)
{
    struct fixture *f = *state;
    struct vault *v = f->v;
    assert_int_equal(vault_begin(v), 0);
    fixture_line(v, "kept one");
    assert_int_equal(vault_mark(v), 0);
    fixture_line(v, "undone");
    fixture_put(v, "undone", "x");
    assert_int_equal(vault_mark(v), 0);
    fixture_line(v, "undone, too");
    assert_int_equal(vault_keep(v), 0);
    assert_int_equal(vault_undo(v), 0);
    fixture_line(v, "kept two");
    assert_int_equal(head(v), 0);
    assert_int_equal(vault_commit(v), 0);
    assert_int_equal(head(v), 2);
    assert_int_equal(vault_begin(v), 0);
    fixture_line(v, "rolled back");
    vault_rollback(v);
    fixture_line(v, "kept three");
    fixture_reopen(f);
    assert_int_equal(head(f->v), 3);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    expect_whole(f->v, f->log, 3);
    size_t n;
    char *text = fixture_read(f->log, &n);
    assert_null(strstr(text, "undone"));
    assert_null(strstr(text, "rolled back"));
    assert_non_null(strstr(text, "kept three"));
    free(text);
}

/* Goal: a hostile name steers no terminal that shows the log: what is beyond ASCII is written as escapes. */
static void test_plain_ascii(void **state)
{
    struct fixture *f = *state;
    size_t n;
    fixture_line(f->v, "a\xc2\x9b" "31m\xe2\x80\xae" "b \xf0\x9f\x94\x91");
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    expect_whole(f->v, f->log, 1);
    char *text = fixture_read(f->log, &n);
    for (size_t i = 0; i < n; i++)
        assert_true(text[i] == '\n' || (text[i] >= ' ' && text[i] < 0x7f));
    assert_non_null(strstr(text, "\\u009B31m"));
    free(text);
}

/* Which line offset at of the text is in; the header is line 0, and line n has seq n. */
static uint64_t line_number(const char *text, size_t at)
{
    uint64_t n = 0;
    for (size_t i = 0; i < at; i++)
        n += text[i] == '\n';
    return n;
}

/* Flipping any one bit of any byte of the export is found, and the line named. */
static void test_every_byte(void **state)
{
    struct fixture *f = *state;
    size_t n;
    char why[256];
    lines(f->v, 6);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    expect_whole(f->v, f->log, 6);
    char *text = fixture_read(f->log, &n);
    for (size_t i = 0; i < n; i++) {
        struct audit_chain chain = {0};
        char name[32];
        text[i] = (char)(text[i] ^ (1 << (i % 8)));
        int r = check_text(f->v, &chain, text, n, why);
        text[i] = (char)(text[i] ^ (1 << (i % 8)));
        if (i == n - 1 && r == AUDIT_E_BROKEN)
            continue; /* the last newline */
        if (r != AUDIT_E_BROKEN)
            fail_msg("byte %zu: %d", i, r);
        uint64_t line = line_number(text, i);
        snprintf(name, sizeof(name), "seq %lu%s", (unsigned long)(line ? line : 1),
                 line ? ":" : ""); /* a changed header shows at the line behind it */
        if (line ? strncmp(why, name, strlen(name)) != 0 : !strstr(why, name))
            fail_msg("byte %zu: expected %s, got %s", i, name, why);
    }
    free(text);
}

/* Removed, doubled, exchanged and torn lines are found; so is a cut at the end, by the head. */
static void test_arranged_lines(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int order[8];
        size_t count;
        const char *want;
    } cases[] = {
        {{0, 1, 2, 4, 5}, 5, "seq 3:"}, {{0, 2, 3, 4, 5}, 5, "seq 1:"},
        {{0, 1, 2, 2, 3}, 5, "seq 3:"}, {{0, 1, 3, 2, 4}, 5, "seq 2:"},
        {{2, 3, 4}, 3, "seq 1:"},       {{0, 1, 2, 0, 3}, 5, "seq 3:"},
        {{0, 1, 2, 3, 4, 5}, 6, NULL},  {{1, 2, 3, 4, 5}, 5, NULL}, /* 1 needs no header */
        {{0, 1, 2, 3}, 4, NULL}, /* whole as far as it goes: compare with the head */
    };
    char why[256];
    size_t n;
    lines(f->v, 5);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    char *text = fixture_read(f->log, &n);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *other = arrange(text, cases[i].order, cases[i].count);
        struct audit_chain chain = {0};
        int r = check_text(f->v, &chain, other, strlen(other), why);
        assert_int_equal(r, cases[i].want ? AUDIT_E_BROKEN : 0);
        if (cases[i].want && strncmp(why, cases[i].want, strlen(cases[i].want)) != 0)
            fail_msg("case %zu: expected %s, got %s", i, cases[i].want, why);
        free(other);
    }
    struct audit_chain chain = {0};
    assert_int_equal(check_text(f->v, &chain, text, n - 10, why), AUDIT_E_BROKEN);
    assert_true(strncmp(why, "seq 5:", 6) == 0);
    assert_true(chain.seq < head(f->v));
    free(text);
}

/* Garbage of every length and kind is broken, never a crash or a success. */
static void test_garbage(void **state)
{
    struct fixture *f = *state;
    char why[256], line[400];
    static const char *const texts[] = {
        "",
        "{",
        "{\"seq\":",
        "{\"seq\":1",
        "{\"seq\":01,\"time\":\"",
        "{\"audit\":\"countersign\",",
        "{\"audit\":\"countersign\",\"instance\":\"",
        "{\"seq\":99999999999999999999999,\"time\":\"",
        ("{\"seq\":1,\"time\":\"\",\"mac\":\""
         "0000000000000000000000000000000000000000000000000000000000000000\"}"),
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct audit_chain chain = {0};
        assert_int_equal(audit_check(f->v, &chain, texts[i], strlen(texts[i]), why, sizeof(why)),
                         AUDIT_E_BROKEN);
        assert_false(chain.started);
    }
    for (size_t n = 0; n < sizeof(line); n++) {
        struct audit_chain chain = {0};
        for (size_t i = 0; i < n; i++)
            line[i] = (char)(rand() & 0xff);
        assert_int_equal(audit_check(f->v, &chain, line, n, why, sizeof(why)), AUDIT_E_BROKEN);
    }
    vault_seal(f->v);
    struct audit_chain chain = {0};
    assert_int_equal(audit_check(f->v, &chain, "{}", 2, why, sizeof(why)), -EACCES);
}

/* Another store's keys make another chain: its file is not taken for ours. */
static void test_other_store(void **state)
{
    struct fixture *f = *state, *g;
    void *other = NULL;
    char why[256];
    size_t n;
    assert_int_equal(fixture_setup(&other), 0);
    g = other;
    lines(f->v, 3);
    lines(g->v, 3);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    char *text = fixture_read(f->log, &n);
    struct audit_chain chain = {0};
    assert_int_equal(check_text(g->v, &chain, text, n, why), AUDIT_E_BROKEN);
    chain = (struct audit_chain){0};
    char *first = strchr(text, '\n') + 1;
    assert_int_equal(check_text(g->v, &chain, first, n - (size_t)(first - text), why),
                     AUDIT_E_BROKEN);
    /* Exporting into that file goes on, behind a header of our own, and says so. */
    assert_int_equal(audit_export_open(g->v, f->log), AUDIT_E_BROKEN);
    assert_int_equal(audit_export_run(g->v), 0);
    assert_int_equal(audit_export_open(g->v, f->log), 0);
    free(text);
    text = fixture_read(f->log, &n);
    char *ours = strstr(text, vault_instance(g->v));
    assert_non_null(ours);
    while (ours > text && ours[-1] != '\n')
        ours--;
    chain = (struct audit_chain){0};
    assert_int_equal(check_text(g->v, &chain, ours, strlen(ours), why), 0);
    assert_int_equal(chain.seq, 3);
    free(text);
    fixture_teardown(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_form),       FIXTURE_TEST(test_refused_lines),
        FIXTURE_TEST(test_long_turn),  FIXTURE_TEST(test_undo),
        FIXTURE_TEST(test_plain_ascii),
        FIXTURE_TEST(test_every_byte), FIXTURE_TEST(test_arranged_lines),
        FIXTURE_TEST(test_garbage),    FIXTURE_TEST(test_other_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
