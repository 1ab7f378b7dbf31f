/* Named values in a tree. */
#include "vault_fixture.h"

struct listing {
    char text[4096];
    int stop_after; /* 0: never */
    int calls;
};

static int list_one(const char *name, void *data)
{
    struct listing *l = data;
    strcat(l->text, name);
    strcat(l->text, " ");
    return l->stop_after && ++l->calls == l->stop_after ? -ECANCELED : 0;
}

static void expect_list(struct vault *v, const char *folder, const char *after, size_t limit,
                        const char *want)
{
    struct listing l = {0};
    int r = entry_list(v, "kv", folder, after, limit, list_one, &l);
    assert_int_equal(r, want ? 0 : ENTRY_E_NONE);
    assert_string_equal(l.text, want ? want : "");
}

/* Values come back, are replaced, and are gone when deleted; spaces are apart. */
static void test_put_get_delete(void **state)
{
    struct fixture *f = *state;
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    assert_int_equal(fixture_get(f->v, "a", ""), ENTRY_E_NONE);
    fixture_put(f->v, "a", "1");
    fixture_put(f->v, "a", "22");
    fixture_put(f->v, "empty", "");
    assert_int_equal(fixture_get(f->v, "a", "22"), 0);
    assert_int_equal(fixture_get(f->v, "empty", ""), 0);
    assert_int_equal(entry_get(f->v, "other", "a", &b), ENTRY_E_NONE);
    assert_int_equal(entry_put(f->v, "b", "inary", "\0\1\0", 3), 0);
    assert_int_equal(entry_get(f->v, "b", "inary", &b), 0);
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "\0\1\0", 3);
    assert_int_equal(entry_delete(f->v, "kv", "a"), 0);
    assert_int_equal(entry_delete(f->v, "kv", "a"), ENTRY_E_NONE);
    fixture_reopen(f);
    assert_int_equal(fixture_get(f->v, "a", ""), ENTRY_E_NONE);
    assert_int_equal(fixture_get(f->v, "empty", ""), 0);
}

/* get appends, and keeps to its buffer's bound. */
static void test_get_appends(void **state)
{
    struct fixture *f = *state;
    _cleanup_buf_ struct buf b = BUF_INIT(8);
    fixture_put(f->v, "a", "12345");
    buf_puts(&b, "xyz");
    assert_int_equal(entry_get(f->v, "kv", "a", &b), 0);
    assert_string_equal(buf_str(&b), "xyz12345");
    assert_int_equal(entry_get(f->v, "kv", "a", &b), -EMSGSIZE);
}

/* Listing is sorted bytewise, shows folders with a slash, and pages by after and limit. */
static void test_list(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"b",       "a",   "a/x", "a/y/z",
                                        "a/y/w/v", "c/d", "Z",   "\xc3\xa4"};
    expect_list(f->v, "", NULL, 0, NULL);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        fixture_put(f->v, paths[i], "v");
    expect_list(f->v, "", NULL, 0, "Z a a/ b c/ \xc3\xa4 ");
    expect_list(f->v, "a/", NULL, 0, "x y/ ");
    expect_list(f->v, "a/y/", NULL, 0, "w/ z ");
    expect_list(f->v, "b/", NULL, 0, NULL);
    expect_list(f->v, "nothing/", NULL, 0, NULL);
    expect_list(f->v, "", "a", 2, "a/ b ");
    expect_list(f->v, "", NULL, 1, "Z ");
    expect_list(f->v, "", "zz", 0, "\xc3\xa4 ");
    expect_list(f->v, "c/", "d", 0, ""); /* has children, but none behind */
    struct listing l = {.stop_after = 2};
    assert_int_equal(entry_list(f->v, "kv", "", NULL, 0, list_one, &l), -ECANCELED);
    assert_string_equal(l.text, "Z a ");
}

/* Folders come with their first child and go with their last, all the way up. */
static void test_folders(void **state)
{
    struct fixture *f = *state;
    fixture_put(f->v, "a/b/c/one", "1");
    fixture_put(f->v, "a/b/two", "2");
    expect_list(f->v, "a/b/", NULL, 0, "c/ two ");
    assert_int_equal(entry_delete(f->v, "kv", "a/b/c/one"), 0);
    expect_list(f->v, "a/b/", NULL, 0, "two ");
    assert_int_equal(entry_delete(f->v, "kv", "a/b/two"), 0);
    expect_list(f->v, "a/", NULL, 0, NULL);
    expect_list(f->v, "", NULL, 0, NULL);
    sqlite3_stmt *st;
    assert_int_equal(
        sqlite3_prepare_v2(f->v->store.db, "SELECT count(*) FROM entry", -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(st, 0), 0);
    sqlite3_finalize(st);
}

/* A tree goes as a whole, with what it hung on, and nothing beside it. */
static void test_delete_tree(void **state)
{
    struct fixture *f = *state;
    char path[64];
    for (int i = 0; i < 60; i++) {
        snprintf(path, sizeof(path), "t/%d/%d/leaf%d", i % 3, i % 7, i);
        fixture_put(f->v, path, "v");
    }
    fixture_put(f->v, "t", "an entry with the folder's name");
    fixture_put(f->v, "tt/x", "v");
    assert_int_equal(entry_put(f->v, "other", "t/0/x", "v", 1), 0);
    assert_int_equal(entry_delete_tree(f->v, "kv", "t/1/"), 0);
    expect_list(f->v, "t/", NULL, 0, "0/ 2/ ");
    assert_int_equal(entry_delete_tree(f->v, "kv", "t/0/"), 0);
    assert_int_equal(entry_delete_tree(f->v, "kv", "t/2/"), 0);
    expect_list(f->v, "", NULL, 0, "t tt/ ");
    assert_int_equal(entry_delete_tree(f->v, "kv", "nothing/here/"), 0);
    assert_int_equal(entry_delete_tree(f->v, "kv", ""), 0);
    expect_list(f->v, "", NULL, 0, NULL);
    struct listing l = {0};
    assert_int_equal(entry_list(f->v, "other", "t/0/", NULL, 0, list_one, &l), 0);
    assert_string_equal(l.text, "x ");
}

/* Paths that are empty, climb, double their slashes, are too long or no text are refused
 * everywhere. */
static void test_hostile_paths(void **state)
{
    struct fixture *f = *state;
    static char longest[ENTRY_PATH_MAX + 1], longer[ENTRY_PATH_MAX + 2], deep[ENTRY_PATH_MAX + 1];
    memset(longest, 'p', ENTRY_PATH_MAX);
    memset(longer, 'p', ENTRY_PATH_MAX + 1);
    for (int i = 0; i < ENTRY_PATH_MAX - 1; i++)
        deep[i] = i % 2 ? '/' : 'd';
    const char *const bad[] = {"",      "/",        "a/",           "/a",  "a//b",
                               ".",     "..",       "a/../b",       "./a", "a/..",
                               "a/./b", "\xff\xfe", "a/\xc0\xaf/b", longer};
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(entry_put(f->v, "kv", bad[i], "v", 1), -EINVAL);
        assert_int_equal(entry_get(f->v, "kv", bad[i], &b), -EINVAL);
        assert_int_equal(entry_delete(f->v, "kv", bad[i]), -EINVAL);
    }
    struct listing l = {0};
    const char *const bad_folders[] = {"/", "a", "a//", "../", "a/../", "./", "/a/"};
    for (size_t i = 0; i < ARRAY_LEN(bad_folders); i++) {
        assert_int_equal(entry_list(f->v, "kv", bad_folders[i], NULL, 0, list_one, &l), -EINVAL);
        assert_int_equal(entry_delete_tree(f->v, "kv", bad_folders[i]), -EINVAL);
    }
    static char space[66];
    memset(space, 's', 65);
    assert_int_equal(entry_put(f->v, space, "a", "v", 1), -EINVAL);
    assert_int_equal(entry_put(f->v, "", "a", "v", 1), -EINVAL);
    space[64] = '\0';
    assert_int_equal(entry_put(f->v, space, "a", "v", 1), 0);
    expect_list(f->v, "", NULL, 0, NULL);
    const char *const good[] = {longest, deep, "...", "a b", ".hidden", "a/...", "x\ny"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        fixture_put(f->v, good[i], "v");
        assert_int_equal(fixture_get(f->v, good[i], "v"), 0);
    }
    assert_int_equal(entry_delete_tree(f->v, "kv", ""), 0);
    expect_list(f->v, "", NULL, 0, NULL);
}

/* The space and the path can't be mixed up by moving the border between them. */
static void test_space_border(void **state)
{
    struct fixture *f = *state;
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    assert_int_equal(entry_put(f->v, "ab", "c", "v", 1), 0);
    assert_int_equal(entry_get(f->v, "a", "bc", &b), ENTRY_E_NONE);
    assert_int_equal(entry_get(f->v, "abc", "c", &b), ENTRY_E_NONE);
}

/* A value may have 1 MiB, and not a byte more; exactly that fits a buffer of that bound. */
static void test_value_limit(void **state)
{
    struct fixture *f = *state;
    char *big = malloc(ENTRY_VALUE_MAX + 1);
    memset(big, 'v', ENTRY_VALUE_MAX + 1);
    _cleanup_buf_ struct buf b = BUF_INIT(ENTRY_VALUE_MAX);
    assert_int_equal(entry_put(f->v, "kv", "big", big, ENTRY_VALUE_MAX + 1), -EMSGSIZE);
    assert_int_equal(entry_get(f->v, "kv", "big", &b), ENTRY_E_NONE);
    assert_int_equal(entry_put(f->v, "kv", "big", big, ENTRY_VALUE_MAX), 0);
    assert_int_equal(entry_get(f->v, "kv", "big", &b), 0);
    assert_int_equal(b.len, ENTRY_VALUE_MAX);
    assert_memory_equal(b.data, big, ENTRY_VALUE_MAX);
    free(big);
}

static void tamper(struct fixture *f, const char *sql)
{
    vault_close(f->v);
    f->v = NULL;
    fixture_sql(f, sql);
    fixture_reopen(f);
}

/* Values and names exchanged between rows, moved to other folders or changed are noticed. */
static void test_tampering(void **state)
{
    struct fixture *f = *state;
    struct listing l = {0};
    fixture_put(f->v, "one", "1");
    fixture_put(f->v, "two", "2");
    fixture_put(f->v, "in/three", "3");
    /* n: one 1, two 2, in/three 3, in/ 4 */
    tamper(f, "UPDATE entry SET body = (SELECT body FROM entry WHERE n = 2) WHERE n = 1");
    assert_int_equal(fixture_get(f->v, "one", ""), -EBADMSG);
    assert_int_equal(fixture_get(f->v, "two", "2"), 0);
    tamper(f, "UPDATE entry SET body = NULL WHERE n = 1");
    assert_int_equal(fixture_get(f->v, "one", ""), -EBADMSG);
    tamper(f, "UPDATE entry SET body = name WHERE n = 1");
    assert_int_equal(fixture_get(f->v, "one", ""), -EBADMSG);
    tamper(f, "UPDATE entry SET body = x'' WHERE n = 1");
    assert_int_equal(fixture_get(f->v, "one", ""), -EBADMSG);
    fixture_put(f->v, "one", "again");
    expect_list(f->v, "", NULL, 0, "in/ one two ");

    tamper(f, "UPDATE entry SET parent = (SELECT parent FROM entry WHERE n = 1) WHERE n = 3");
    assert_int_equal(entry_list(f->v, "kv", "", NULL, 0, list_one, &l), -EBADMSG);
    assert_int_equal(fixture_get(f->v, "in/three", "3"), 0);
    tamper(f, "UPDATE entry SET parent = (SELECT k FROM entry WHERE n = 4) WHERE n = 3;"
              "UPDATE entry SET name = (SELECT name FROM entry WHERE n = 1) WHERE n = 2");
    expect_list(f->v, "in/", NULL, 0, "three ");
    assert_int_equal(entry_list(f->v, "kv", "", NULL, 0, list_one, &l), -EBADMSG);
    assert_string_equal(l.text, "");
}

/* A folder made to be its own child neither hangs listing nor deleting. */
static void test_cycle(void **state)
{
    struct fixture *f = *state;
    struct listing l = {0};
    fixture_put(f->v, "in/three", "3");
    tamper(f, "UPDATE entry SET parent = k WHERE n = 2");
    assert_int_equal(entry_list(f->v, "kv", "in/", NULL, 0, list_one, &l), -EBADMSG);
    assert_int_equal(entry_delete_tree(f->v, "kv", "in/"), 0);
    assert_int_equal(fixture_get(f->v, "in/three", "3"), ENTRY_E_NONE);
}

static int delete_one(const char *name, void *data)
{
    return entry_delete(data, "kv", name);
}

/* The callback of a listing may change the store. */
static void test_change_while_listing(void **state)
{
    struct fixture *f = *state;
    char path[16];
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof(path), "e%d", i);
        fixture_put(f->v, path, "v");
    }
    assert_int_equal(vault_begin(f->v), 0);
    assert_int_equal(entry_list(f->v, "kv", "", NULL, 15, delete_one, f->v), 0);
    assert_int_equal(vault_commit(f->v), 0);
    expect_list(f->v, "", NULL, 0, "e5 e6 e7 e8 e9 ");
}

/* JSON goes in and out; what could not be read back is refused when written. */
static void test_json(void **state)
{
    struct fixture *f = *state;
    json_t *j = json_pack("{s:i, s:[s, b]}", "n", 7, "list", "x", 1), *got = NULL;
    assert_int_equal(entry_put_json(f->v, "kv", "j", j), 0);
    assert_int_equal(entry_get_json(f->v, "kv", "j", &got), 0);
    assert_true(json_equal(j, got));
    json_decref(got);
    assert_int_equal(entry_get_json(f->v, "kv", "none", &got), ENTRY_E_NONE);
    assert_null(got);
    fixture_put(f->v, "text", "{not json");
    assert_int_equal(entry_get_json(f->v, "kv", "text", &got), -EBADMSG);
    for (int depth = 2; depth <= JSON_DEPTH_MAX + 1; depth++) {
        json_t *outer = json_pack("{s:o}", "in", j);
        j = outer;
        int r = entry_put_json(f->v, "kv", "deep", j);
        if (r == 0)
            assert_int_equal(entry_get_json(f->v, "kv", "deep", &got), 0);
        else
            assert_int_equal(r, -EINVAL);
        if (r == 0)
            json_decref(got);
        else
            assert_true(depth >= JSON_DEPTH_MAX);
    }
    assert_int_equal(entry_put_json(f->v, "kv", "deep", j), -EINVAL);
    json_decref(j);
}

/* Goal: a watched write is counted where it makes a difference, JSON by its value; unwatched
 * nothing is, and the writes are the same either way. */
static void test_watch(void **state)
{
    struct fixture *f = *state;
    struct entry_watch w = {0};
    fixture_put(f->v, "bytes", "one");
    fixture_put(f->v, "json", "{\"a\":1,\"b\":[2]}");
    entry_watch(f->v, &w);
    fixture_put(f->v, "bytes", "one");
    fixture_put(f->v, "json", "{ \"b\": [2], \"a\": 1 }");
    assert_int_equal(w.created + w.replaced + w.deleted, 0);
    fixture_put(f->v, "bytes", "two");
    fixture_put(f->v, "json", "{\"a\":1,\"b\":[3]}");
    assert_int_equal(w.replaced, 2);
    fixture_put(f->v, "new", "");
    assert_int_equal(w.created, 1);
    assert_int_equal(entry_delete(f->v, "kv", "nothing"), ENTRY_E_NONE);
    assert_int_equal(w.deleted, 0);
    assert_int_equal(entry_delete(f->v, "kv", "new"), 0);
    assert_int_equal(w.deleted, 1);
    entry_watch(f->v, NULL);
    fixture_put(f->v, "bytes", "three");
    assert_int_equal(w.created + w.replaced + w.deleted, 4);
    assert_int_equal(fixture_get(f->v, "bytes", "three"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_put_get_delete),
        FIXTURE_TEST(test_get_appends),
        FIXTURE_TEST(test_list),
        FIXTURE_TEST(test_folders),
        FIXTURE_TEST(test_delete_tree),
        FIXTURE_TEST(test_hostile_paths),
        FIXTURE_TEST(test_space_border),
        FIXTURE_TEST(test_value_limit),
        FIXTURE_TEST(test_tampering),
        FIXTURE_TEST(test_cycle),
        FIXTURE_TEST(test_change_while_listing),
        FIXTURE_TEST(test_json),
        FIXTURE_TEST(test_watch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
