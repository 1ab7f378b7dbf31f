/* What is remembered of rows that every request reads: it is what the store says, at any time. */
#include "vault_fixture.h"

static int64_t number(json_t *v)
{
    int64_t n = json_int(v, "n", -1);
    json_decref(v);
    return n;
}

static int64_t peek_entry(struct fixture *f, const char *path)
{
    json_t *v;
    int r = entry_peek_json(f->v, "space", path, &v);
    return r == 0 ? number(v) : r == ENTRY_E_NONE ? -2 : r;
}

static int64_t peek_record(struct fixture *f, const char *id)
{
    json_t *v;
    int r = record_peek_json(f->v, RECORD_TOKEN, id, &v);
    return r == 0 ? number(v) : r == RECORD_E_NONE ? -2 : r;
}

static void put_entry(struct fixture *f, const char *path, int n)
{
    json_t *v = json_pack("{s:i}", "n", n);
    assert_int_equal(entry_put_json(f->v, "space", path, v), 0);
    json_decref(v);
}

static void put_record(struct fixture *f, const char *id, int n)
{
    char body[32];
    snprintf(body, sizeof(body), "{\"n\":%d}", n);
    struct record r = {.id = id, .body = body, .body_len = strlen(body)};
    assert_int_equal(record_put(f->v, RECORD_TOKEN, &r), 0);
}

/* The second look does not open the row again: it finds the very object of the first. */
static void test_remembers(void **state)
{
    struct fixture *f = *state;
    json_t *first, *second;
    put_entry(f, "a/b", 1);
    assert_int_equal(entry_peek_json(f->v, "space", "a/b", &first), 0);
    assert_int_equal(entry_peek_json(f->v, "space", "a/b", &second), 0);
    assert_ptr_equal(first, second);
    json_decref(first);
    json_decref(second);
    put_record(f, "t", 2);
    assert_int_equal(record_peek_json(f->v, RECORD_TOKEN, "t", &first), 0);
    assert_int_equal(record_peek_json(f->v, RECORD_TOKEN, "t", &second), 0);
    assert_ptr_equal(first, second);
    json_decref(first);
    json_decref(second);
    assert_int_equal(peek_entry(f, "a/c"), -2);
    assert_int_equal(peek_record(f, "u"), -2);
}

/* A row that is written, deleted, or deleted with its folder is not remembered as it was. */
static void test_changes(void **state)
{
    struct fixture *f = *state;
    put_entry(f, "a/b", 1);
    put_record(f, "t", 1);
    assert_int_equal(peek_entry(f, "a/b") + peek_record(f, "t"), 2);
    put_entry(f, "a/b", 3);
    put_record(f, "t", 4);
    assert_int_equal(peek_entry(f, "a/b"), 3);
    assert_int_equal(peek_record(f, "t"), 4);
    assert_int_equal(entry_delete(f->v, "space", "a/b"), 0);
    assert_int_equal(record_delete(f->v, RECORD_TOKEN, "t"), 0);
    assert_int_equal(peek_entry(f, "a/b"), -2);
    assert_int_equal(peek_record(f, "t"), -2);
    put_entry(f, "a/b", 5);
    assert_int_equal(peek_entry(f, "a/b"), 5);
    assert_int_equal(entry_delete_tree(f->v, "space", "a/"), 0);
    assert_int_equal(peek_entry(f, "a/b"), -2);
}

/* What a taken-back mark or turn had written is not what is remembered afterwards. */
static void test_taken_back(void **state)
{
    struct fixture *f = *state;
    put_entry(f, "a", 1);
    put_record(f, "t", 1);
    assert_int_equal(vault_begin(f->v), 0);
    assert_int_equal(vault_mark(f->v), 0);
    put_entry(f, "a", 2);
    put_record(f, "t", 2);
    assert_int_equal(peek_entry(f, "a") + peek_record(f, "t"), 4);
    assert_int_equal(vault_undo(f->v), 0);
    assert_int_equal(peek_entry(f, "a") + peek_record(f, "t"), 2);
    put_entry(f, "a", 3);
    put_record(f, "t", 3);
    assert_int_equal(peek_entry(f, "a") + peek_record(f, "t"), 6);
    vault_rollback(f->v);
    assert_int_equal(peek_entry(f, "a") + peek_record(f, "t"), 2);
}

/* A sealed vault tells nothing, whatever was remembered, and begins anew. */
static void test_sealed(void **state)
{
    struct fixture *f = *state;
    put_entry(f, "a", 1);
    put_record(f, "t", 1);
    assert_int_equal(peek_entry(f, "a") + peek_record(f, "t"), 2);
    vault_seal(f->v);
    assert_false(f->v->peek.any);
    assert_int_equal(peek_entry(f, "a"), -EACCES);
    assert_int_equal(peek_record(f, "t"), -EACCES);
    assert_int_equal(vault_unseal(f->v, fixture_key), 0);
    assert_int_equal(peek_entry(f, "a") + peek_record(f, "t"), 2);
}

/* Rows share slots without being taken for each other, and long ones are not kept. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    char path[32];
    assert_int_equal(vault_begin(f->v), 0);
    for (int i = 0; i < 2 * PEEK_SLOTS; i++) {
        snprintf(path, sizeof(path), "k%d", i);
        put_entry(f, path, i);
        assert_int_equal(peek_entry(f, path), i);
    }
    for (int i = 0; i < 2 * PEEK_SLOTS; i++) {
        snprintf(path, sizeof(path), "k%d", i);
        assert_int_equal(peek_entry(f, path), i);
    }
    assert_int_equal(vault_commit(f->v), 0);
    char text[PEEK_BODY_MAX + 64];
    snprintf(text, sizeof(text), "{\"n\":7,\"x\":\"%0*d\"}", PEEK_BODY_MAX, 0);
    assert_int_equal(entry_put(f->v, "space", "long", text, strlen(text)), 0);
    json_t *first, *second;
    assert_int_equal(entry_peek_json(f->v, "space", "long", &first), 0);
    assert_int_equal(entry_peek_json(f->v, "space", "long", &second), 0);
    assert_ptr_not_equal(first, second);
    assert_int_equal(number(first) + number(second), 14);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_remembers, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_changes, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_taken_back, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_sealed, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_many, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
