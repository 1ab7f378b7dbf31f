#include "vault_fixture.h"

#include "server/mount.h"

struct world {
    struct vault *v;
    struct mounts *mounts;
    struct effects *effects;
    char why[300];
};

static struct world w;

static int setup(void **state)
{
    if (fixture_setup(state) != 0)
        return -1;
    w = (struct world){.v = ((struct fixture *)*state)->v};
    w.mounts = mounts_new();
    w.effects = effects_new();
    return w.mounts && w.effects ? mounts_load(w.mounts, w.v) : -1;
}

static int teardown(void **state)
{
    effects_free(w.effects);
    mounts_free(w.mounts);
    return fixture_teardown(state);
}

static int enable(const char *path)
{
    json_t *options = json_pack("{s:s}", "version", "2");
    w.why[0] = '\0';
    int r = mounts_enable(w.mounts, w.v, w.effects, path, "kv", "words", options, 60, 3600, w.why,
                          sizeof(w.why));
    json_decref(options);
    return r;
}

static void enabled(const char *path)
{
    assert_int_equal(enable(path), 0);
    effects_run(w.effects);
}

/* Goal: reading the table anew fails: what was mounted stays so. */
static void test_failed_load(void **state)
{
    (void)state;
    enabled("kv");
    vault_seal(w.v);
    assert_int_equal(mounts_load(w.mounts, w.v), -EACCES);
    assert_non_null(mounts_find(w.mounts, "kv/data/x"));
}

/* Goal: a mount is there after its turn, is found by what lies below it, and after a restart still.
 */
static void test_life(void **state)
{
    (void)state;
    assert_int_equal(enable("kv"), 0);
    assert_null(mounts_find(w.mounts, "kv/data/x"));
    effects_run(w.effects);
    for (int again = 0; again < 2; again++) {
        const struct mount *m = mounts_find(w.mounts, "kv/data/x");
        assert_non_null(m);
        assert_string_equal(m->path, "kv/");
        assert_string_equal(m->engine->type, "kv");
        assert_string_equal(m->description, "words");
        assert_int_equal(m->max_ttl, 3600);
        assert_ptr_equal(mounts_by_space(w.mounts, m->space), m);
        assert_null(mounts_find(w.mounts, "kv"));
        assert_null(mounts_find(w.mounts, "kvx/data"));
        assert_int_equal(mounts_load(w.mounts, w.v), 0);
    }
    assert_int_equal(mounts_disable(w.mounts, w.v, w.effects, "kv", w.why, sizeof(w.why)), 0);
    effects_run(w.effects);
    assert_int_equal(mounts_count(w.mounts), 0);
    assert_int_equal(mounts_load(w.mounts, w.v), 0);
    assert_int_equal(mounts_count(w.mounts), 0);
    assert_int_equal(mounts_disable(w.mounts, w.v, w.effects, "kv", w.why, sizeof(w.why)),
                     MOUNT_E_NONE);
}

/* Goal: what a mount kept goes with it. */
static void test_disable_empties(void **state)
{
    (void)state;
    char space[40];
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    enabled("kv/");
    snprintf(space, sizeof(space), "%s", mounts_at(w.mounts, 0)->space);
    assert_int_equal(entry_put(w.v, space, "d/a", "1", 1), 0);
    assert_int_equal(mounts_disable(w.mounts, w.v, w.effects, "kv/", w.why, sizeof(w.why)), 0);
    assert_int_equal(entry_get(w.v, space, "d/a", &b), ENTRY_E_NONE);
}

/* Goal: the agent's own paths, what is no path, and what overlaps is refused. */
static void test_refused(void **state)
{
    (void)state;
    static const char too_long[] = "this/path/is/longer/than/a/mount/path/may/be/"
                                   "this/path/is/longer/than/a/mount/path/may/be/"
                                   "this/path/is/longer/than/a/mount/path/may/be";
    static const char *const bad[] = {
        "",      "/",    "/kv",    "sys", "sys/x", "auth", "auth/token", "identity", "cubbyhole",
        "audit", "a//b", "a/../b", "..",  "a b",   "a\n",  "\xc3\xa4",   "a%2fb",    too_long};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (enable(bad[i]) != MOUNT_E_REFUSED)
            fail_msg("\"%s\" is taken", bad[i]);
        assert_true(strlen(w.why) > 10);
    }
    enabled("a/b");
    static const char *const overlaps[] = {"a/b", "a/b/", "a", "a/b/c"};
    for (size_t i = 0; i < ARRAY_LEN(overlaps); i++)
        assert_int_equal(enable(overlaps[i]), MOUNT_E_REFUSED);
    enabled("a/bc");
    enabled("sysx");
    assert_int_equal(mounts_enable(w.mounts, w.v, w.effects, "x", "teapot", NULL, NULL, 0, 0, w.why,
                                   sizeof(w.why)),
                     MOUNT_E_REFUSED);
}

/* Goal: two requests of one turn can't take the same path, change what is going, or bring back what
 * went. */
static void test_same_turn(void **state)
{
    (void)state;
    json_t *change = json_pack("{s:s}", "description", "other");
    assert_int_equal(enable("kv"), 0);
    assert_int_equal(enable("kv"), MOUNT_E_REFUSED);
    assert_int_equal(enable("kv/below"), MOUNT_E_REFUSED);
    effects_run(w.effects);
    assert_int_equal(mounts_disable(w.mounts, w.v, w.effects, "kv", w.why, sizeof(w.why)), 0);
    assert_int_equal(mounts_tune(w.mounts, w.v, w.effects, "kv", change, w.why, sizeof(w.why)),
                     MOUNT_E_REFUSED);
    assert_int_equal(mounts_disable(w.mounts, w.v, w.effects, "kv", w.why, sizeof(w.why)),
                     MOUNT_E_REFUSED);
    effects_run(w.effects);
    assert_int_equal(mounts_load(w.mounts, w.v), 0);
    assert_int_equal(mounts_count(w.mounts), 0);
    json_decref(change);
}

/* Goal: a turn that is taken back leaves the table as it was, and the path free again. */
static void test_dropped(void **state)
{
    (void)state;
    assert_int_equal(vault_begin(w.v), 0);
    assert_int_equal(enable("kv"), 0);
    vault_rollback(w.v);
    effects_drop(w.effects, 0);
    assert_int_equal(mounts_count(w.mounts), 0);
    enabled("kv");
    assert_int_equal(mounts_count(w.mounts), 1);
}

/* Goal: tuning changes what it names; what can't be changed is refused, not passed over. */
static void test_tune(void **state)
{
    (void)state;
    enabled("kv");
    json_t *change = json_pack("{s:s, s:s, s:{s:s}}", "max_lease_ttl", "2h", "description", "new",
                               "options", "version", "2");
    assert_int_equal(mounts_tune(w.mounts, w.v, w.effects, "kv", change, w.why, sizeof(w.why)), 0);
    effects_run(w.effects);
    const struct mount *m = mounts_find(w.mounts, "kv/x");
    assert_int_equal(m->max_ttl, 7200);
    assert_int_equal(m->default_ttl, 60);
    assert_string_equal(m->description, "new");
    json_decref(change);
    change = json_pack("{s:{s:s}}", "options", "version", "1");
    assert_int_equal(mounts_tune(w.mounts, w.v, w.effects, "kv", change, w.why, sizeof(w.why)),
                     MOUNT_E_REFUSED);
    json_decref(change);
    change = json_pack("{s:s}", "max_lease_ttl", "soon");
    assert_int_equal(mounts_tune(w.mounts, w.v, w.effects, "kv", change, w.why, sizeof(w.why)),
                     MOUNT_E_REFUSED);
    assert_int_equal(mounts_tune(w.mounts, w.v, w.effects, "none", change, w.why, sizeof(w.why)),
                     MOUNT_E_NONE);
    json_decref(change);
}

/* Goal: a mount of a type that this agent doesn't have is out of reach, and doesn't keep the others
 * away. */
static void test_unknown_type(void **state)
{
    (void)state;
    enabled("kv");
    json_t *odd =
        json_pack("{s:s, s:s, s:s}", "path", "odd/", "type", "teapot", "space", "00000000");
    assert_int_equal(entry_put_json(w.v, "mount", "00000000", odd), 0);
    json_decref(odd);
    assert_int_equal(mounts_load(w.mounts, w.v), 0);
    assert_int_equal(mounts_count(w.mounts), 1);
    assert_null(mounts_find(w.mounts, "odd/x"));
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_life),    TEST(test_failed_load),  TEST(test_disable_empties),
        TEST(test_refused), TEST(test_same_turn),    TEST(test_dropped),
        TEST(test_tune),    TEST(test_unknown_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
