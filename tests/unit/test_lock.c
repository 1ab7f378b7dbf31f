/* Who is locked out, as it rests in the store. */
#include "vault_fixture.h"

#include "identity/lock.h"

static int name(const char *user, void *data)
{
    strcat(data, user);
    strcat(data, " ");
    return 0;
}

/* Goal: a lock comes back as it was made, also after a restart; it is listed; once taken away it is
 * gone. */
static void test_round(void **state)
{
    struct fixture *f = *state;
    struct lock l = {
        .at_ms = 1700000000123, .by = "user:ada", .reason = "left", .has_uid = true, .uid = 1001};
    struct lock back;
    char names[64] = "";
    bool any = true;
    assert_int_equal(lock_any(f->v, &any), 0);
    assert_false(any);
    assert_int_equal(lock_get(f->v, "bob", &back), LOCK_E_NONE);
    l.principals = json_pack("[s]", "token:abc");
    assert_int_equal(lock_put(f->v, "bob", &l), 0);
    assert_int_equal(lock_put(f->v, "amy", &(struct lock){.by = "uid:0"}), 0);
    lock_clear(&l);
    fixture_reopen(f);
    assert_int_equal(lock_get(f->v, "bob", &back), 0);
    assert_int_equal(back.at_ms, 1700000000123);
    assert_string_equal(back.by, "user:ada");
    assert_string_equal(back.reason, "left");
    assert_true(back.has_uid);
    assert_int_equal(back.uid, 1001);
    assert_true(json_has_str(back.principals, "token:abc"));
    lock_clear(&back);
    assert_int_equal(lock_get(f->v, "amy", &back), 0);
    assert_false(back.has_uid);
    assert_null(back.principals);
    lock_clear(&back);
    assert_int_equal(lock_each(f->v, name, names), 0);
    assert_string_equal(names, "amy bob ");
    assert_int_equal(lock_any(f->v, &any), 0);
    assert_true(any);
    assert_int_equal(lock_remove(f->v, "bob"), 0);
    assert_int_equal(lock_remove(f->v, "bob"), LOCK_E_NONE);
    assert_int_equal(lock_get(f->v, "bob", &back), LOCK_E_NONE);
}

/* Goal: what can't be read is an error, never "not locked"; what is no name is not kept. */
static void test_unreadable(void **state)
{
    struct fixture *f = *state;
    struct lock back;
    bool any;
    assert_int_equal(lock_put(f->v, "a/b", &(struct lock){.by = "x"}), -EINVAL);
    assert_int_equal(lock_put(f->v, "", &(struct lock){.by = "x"}), -EINVAL);
    assert_int_equal(entry_put(f->v, "lock", "bob", "{\"v\":2}", 7), 0);
    assert_int_equal(lock_get(f->v, "bob", &back), -EBADMSG);
    assert_int_equal(entry_put(f->v, "lock", "bob", "none", 4), 0);
    assert_true(lock_get(f->v, "bob", &back) < 0);
    assert_true(lock_get(f->v, "..", &back) < 0);
    vault_seal(f->v);
    assert_int_equal(lock_get(f->v, "amy", &back), -EACCES);
    assert_int_equal(lock_any(f->v, &any), -EACCES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_round),
        FIXTURE_TEST(test_unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
