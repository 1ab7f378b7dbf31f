/* Other keys for the same store: rekey, reseal, the seal of shares; and crashes within. */
#include "vault_fixture.h"

#include <signal.h>
#include <sodium.h>
#include <sys/wait.h>

#include "vault/wrap.h"

static const uint8_t new_root[VAULT_KEY_LEN] = "the root key of after the rekey";
static const uint8_t new_key[VAULT_KEY_LEN] = "unseal key of after the reseal!";

static int opens_with_root(struct fixture *f, const uint8_t *root)
{
    vault_seal(f->v);
    return vault_unseal_root(f->v, root);
}

static int opens_with_key(struct fixture *f, const uint8_t *key)
{
    vault_seal(f->v);
    return vault_unseal(f->v, key);
}

static void close_and_open(struct fixture *f)
{
    char why[256];
    vault_close(f->v);
    f->v = NULL;
    assert_int_equal(vault_open(f->db, &f->v, why, sizeof(why)), 0);
}

/* Goal: after a rekey the old root key opens nothing, the new one and the unseal key do, all that
 * was stored is there, and the sizes are the new ones; also after the file was opened again. */
static void test_rekey(void **state)
{
    struct fixture *f = *state;
    unsigned shares, threshold;
    fixture_put(f->v, "a", "1");
    assert_true(vault_root_is(f->v, f->root));
    assert_int_equal(vault_rekey(f->v, new_root, 7, 4), 0);
    assert_true(vault_root_is(f->v, new_root));
    assert_false(vault_root_is(f->v, f->root));
    fixture_put(f->v, "b", "2");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(opens_with_root(f, f->root), VAULT_E_WRONG_KEY);
        assert_int_equal(opens_with_root(f, new_root), 0);
        assert_int_equal(opens_with_key(f, fixture_key), 0);
        assert_int_equal(fixture_get(f->v, "a", "1"), 0);
        assert_int_equal(fixture_get(f->v, "b", "2"), 0);
        vault_seal_config(f->v, &shares, &threshold);
        assert_int_equal(shares, 7);
        assert_int_equal(threshold, 4);
        close_and_open(f);
    }
}

/* Goal: what a rekey refuses changes nothing: sealed, in a turn, sizes that make no sense. */
static void test_rekey_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(vault_begin(f->v), 0);
    assert_int_equal(vault_rekey(f->v, new_root, 5, 3), -EINVAL);
    vault_rollback(f->v);
    assert_int_equal(vault_rekey(f->v, new_root, 2, 3), -EINVAL);
    assert_int_equal(vault_rekey(f->v, new_root, 256, 3), -EINVAL);
    assert_int_equal(vault_rekey(f->v, new_root, 2, 0), -EINVAL);
    vault_seal(f->v);
    assert_int_equal(vault_rekey(f->v, new_root, 5, 3), -EACCES);
    assert_false(vault_root_is(f->v, f->root));
    assert_int_equal(vault_unseal_root(f->v, f->root), 0);
}

static bool file_has(const char *path, const struct buf *bytes)
{
    size_t n;
    char *p = fixture_read(path, &n);
    bool has = p && memmem(p, n, bytes->data, bytes->len);
    free(p);
    return has;
}

/* Goal: neither the file nor its log holds the keyring as the old root key wrapped it: old shares
 * find nothing even in pages that are no longer used. */
static void test_nothing_is_left(void **state)
{
    struct fixture *f = *state;
    char log[128];
    _cleanup_buf_ struct buf ring = BUF_INIT(VAULT_META_MAX), root = BUF_INIT(VAULT_META_MAX);
    snprintf(log, sizeof(log), "%s-wal", f->db);
    assert_int_equal(vault_meta_get(f->v, VAULT_META_KEYRING, &ring), 0);
    assert_int_equal(vault_meta_get(f->v, VAULT_META_ROOT, &root), 0);
    assert_true(file_has(log, &ring) || file_has(f->db, &ring));
    assert_int_equal(vault_rekey(f->v, new_root, 5, 3), 0);
    assert_false(file_has(log, &ring) || file_has(f->db, &ring));
    assert_false(file_has(log, &root) || file_has(f->db, &root));
}

/* Goal: the wrap that the agent makes without the unseal key is opened by it alone, and is not
 * believed when somebody else made it: not even with the public key that lies beside it. */
static void test_wrap(void **state)
{
    struct fixture *f = *state;
    struct wrap w, other;
    uint8_t root[VAULT_KEY_LEN];
    _cleanup_buf_ struct buf box = BUF_INIT(1024), forged = BUF_INIT(1024), kept = BUF_INIT(1024);
    wrap_of(fixture_key, &w);
    assert_int_equal(wrap_root(&w, "i", new_root, &box), 0);
    assert_int_equal(wrap_open(fixture_key, "i", box.data, box.len, root), 0);
    assert_memory_equal(root, new_root, VAULT_KEY_LEN);
    assert_int_equal(wrap_open(fixture_key, "j", box.data, box.len, root), KEYRING_E_WRONG);
    assert_int_equal(wrap_open(new_key, "i", box.data, box.len, root), KEYRING_E_WRONG);
    wrap_of(new_key, &other);
    memcpy(other.public, w.public, sizeof(w.public));
    assert_int_equal(wrap_root(&other, "i", new_root, &forged), 0);
    assert_int_equal(wrap_open(fixture_key, "i", forged.data, forged.len, root), KEYRING_E_WRONG);
    for (size_t i = 0; i < box.len; i++) {
        box.data[i] ^= 1;
        assert_int_equal(wrap_open(fixture_key, "i", box.data, box.len, root), KEYRING_E_WRONG);
        box.data[i] ^= 1;
        assert_int_equal(wrap_open(fixture_key, "i", box.data, i, root), KEYRING_E_WRONG);
    }
    assert_int_equal(wrap_keep(&w, f->root, "i", &kept), 0);
    assert_int_equal(wrap_kept(new_root, "i", kept.data, kept.len, &other), KEYRING_E_WRONG);
    assert_int_equal(wrap_kept(f->root, "i", kept.data, kept.len, &other), 0);
    assert_memory_equal(&other, &w, sizeof(w));
}

/* Makes of the fixture's store one as the version before made it. */
static void make_old_store(struct fixture *f)
{
    _cleanup_buf_ struct buf box = BUF_INIT(1024), config = BUF_INIT(64);
    assert_int_equal(
        keyring_box(fixture_key, "root", vault_instance(f->v), f->root, VAULT_KEY_LEN, &box), 0);
    buf_put_u32(&config, 5);
    buf_put_u32(&config, 3);
    assert_int_equal(vault_meta_put(f->v, VAULT_META_ROOT, box.data, box.len), 0);
    assert_int_equal(vault_meta_put(f->v, VAULT_META_WRAPPER, "", 0), 0);
    assert_int_equal(vault_meta_put(f->v, VAULT_META_CONFIG, config.data, config.len), 0);
    close_and_open(f);
}

/* Goal: a store of the version before opens by key and root; opened by shares only it refuses a
 * rekey, and once its unseal key opened it, rekeys like any other. Its own row stays as it was, so
 * that the version before still opens it until then. */
static void test_old_store(void **state)
{
    struct fixture *f = *state;
    _cleanup_buf_ struct buf before = BUF_INIT(1024), after = BUF_INIT(1024);
    make_old_store(f);
    assert_int_equal(vault_seal_kind(f->v), VAULT_SEAL_HOST);
    assert_int_equal(vault_unseal_root(f->v, f->root), 0);
    assert_int_equal(vault_rekey(f->v, new_root, 5, 3), VAULT_E_NO_WRAP);
    assert_true(vault_root_is(f->v, f->root));
    assert_int_equal(vault_meta_get(f->v, VAULT_META_ROOT, &before), 0);
    assert_int_equal(opens_with_key(f, fixture_key), 0);
    assert_int_equal(vault_meta_get(f->v, VAULT_META_ROOT, &after), 0);
    assert_memory_equal(before.data, after.data, before.len);
    assert_int_equal(vault_rekey(f->v, new_root, 5, 3), 0);
    assert_int_equal(opens_with_root(f, f->root), VAULT_E_WRONG_KEY);
    assert_int_equal(opens_with_key(f, fixture_key), 0);
}

/* Goal: a reseal goes from the old key to both to the new one alone; the wrong key finishes
 * nothing; cancelled it leaves the old one. */
static void test_reseal(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(vault_reseal_finish(f->v, new_key), VAULT_E_WRONG_KEY);
    assert_int_equal(vault_reseal_begin(f->v, new_key), 0);
    assert_int_equal(vault_reseal_finish(f->v, fixture_key), VAULT_E_WRONG_KEY);
    assert_int_equal(opens_with_key(f, fixture_key), 0);
    assert_int_equal(vault_reseal_cancel(f->v), 0);
    assert_int_equal(opens_with_key(f, new_key), VAULT_E_WRONG_KEY);
    assert_int_equal(vault_unseal(f->v, fixture_key), 0);
    assert_int_equal(vault_reseal_begin(f->v, new_key), 0);
    assert_int_equal(vault_reseal_finish(f->v, new_key), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(opens_with_key(f, fixture_key), VAULT_E_WRONG_KEY);
        assert_int_equal(opens_with_key(f, new_key), 0);
        assert_int_equal(opens_with_root(f, f->root), 0);
        close_and_open(f);
    }
    assert_int_equal(vault_unseal(f->v, new_key), 0);
    assert_int_equal(vault_rekey(f->v, new_root, 5, 3), 0);
    assert_int_equal(opens_with_key(f, new_key), 0);
}

/* Goal: unsealing with the new key is the proof that it was kept: it ends a reseal that nobody came
 * back to finish. And a rekey calls a reseal off. */
static void test_reseal_left_behind(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(vault_reseal_begin(f->v, new_key), 0);
    assert_int_equal(vault_rekey(f->v, new_root, 5, 3), 0);
    assert_int_equal(opens_with_key(f, new_key), VAULT_E_WRONG_KEY);
    assert_int_equal(vault_unseal(f->v, fixture_key), 0);
    assert_int_equal(vault_reseal_begin(f->v, new_key), 0);
    close_and_open(f);
    assert_int_equal(vault_unseal(f->v, new_key), 0);
    assert_int_equal(opens_with_key(f, fixture_key), VAULT_E_WRONG_KEY);
    assert_int_equal(vault_unseal(f->v, new_key), 0);
}

/* Goal: a store sealed by shares has no unseal key at all, and rekeys without one. */
static void test_shares_alone(void **state)
{
    struct fixture *f = *state;
    char why[128], path[128];
    uint8_t root[VAULT_KEY_LEN], none[VAULT_KEY_LEN] = {0};
    _cleanup_buf_ struct buf box = BUF_INIT(1024);
    struct vault *v;
    snprintf(path, sizeof(path), "%s/shares.db", f->dir);
    assert_int_equal(vault_open(path, &v, why, sizeof(why)), 0);
    assert_int_equal(vault_init(v, NULL, 5, 3, root), 0);
    fixture_put(v, "a", "1");
    vault_close(v);
    assert_int_equal(vault_open(path, &v, why, sizeof(why)), 0);
    assert_int_equal(vault_seal_kind(v), VAULT_SEAL_SHARES);
    assert_int_equal(vault_meta_get(v, VAULT_META_ROOT, &box), 0);
    assert_int_equal(box.len, 0);
    assert_int_equal(vault_unseal(v, none), VAULT_E_WRONG_KEY);
    assert_int_equal(vault_unseal(v, fixture_key), VAULT_E_WRONG_KEY);
    assert_int_equal(vault_unseal_root(v, root), 0);
    assert_int_equal(vault_reseal_begin(v, new_key), -EINVAL);
    assert_int_equal(vault_rekey(v, new_root, 3, 2), 0);
    vault_seal(v);
    assert_int_equal(vault_unseal_root(v, root), VAULT_E_WRONG_KEY);
    assert_int_equal(vault_unseal_root(v, new_root), 0);
    assert_int_equal(fixture_get(v, "a", "1"), 0);
    vault_close(v);
}

/* --- Crashes ------------------------------------------------------------------------------------
 */

static int left;

static int kill_at(unsigned type, void *context, void *statement, void *x)
{
    (void)type;
    (void)context;
    (void)statement;
    (void)x;
    if (left-- == 0)
        raise(SIGKILL);
    return 0;
}

/* Runs fn on the store in a child that is killed before its n-th statement; true if it was. */
static bool killed_at(struct fixture *f, int n, int (*fn)(struct vault *v))
{
    char why[256];
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct vault *v;
        if (vault_open(f->db, &v, why, sizeof(why)) < 0 || vault_unseal_root(v, f->root) != 0)
            _exit(2);
        left = n;
        sqlite3_trace_v2(v->store.db, SQLITE_TRACE_STMT, kill_at, NULL);
        _exit(fn(v) == 0 ? 0 : 3);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status);
}

static int do_rekey(struct vault *v)
{
    return vault_rekey(v, new_root, 7, 4);
}

/* Goal: killed before any statement of a rekey, exactly one of the two root keys opens the store,
 * the unseal key always does, and the sizes go with the root key. */
static void test_rekey_killed(void **state)
{
    struct fixture *f = *state;
    unsigned shares, threshold;
    bool done = false;
    fixture_put(f->v, "a", "1");
    for (int n = 0; !done; n++) {
        assert_true(n < 100);
        vault_close(f->v);
        f->v = NULL;
        bool killed = killed_at(f, n, do_rekey);
        close_and_open(f);
        done = vault_unseal_root(f->v, new_root) == 0;
        assert_true(done || killed);
        assert_int_equal(opens_with_root(f, f->root), done ? VAULT_E_WRONG_KEY : 0);
        assert_int_equal(opens_with_key(f, fixture_key), 0);
        assert_int_equal(fixture_get(f->v, "a", "1"), 0);
        vault_seal_config(f->v, &shares, &threshold);
        assert_int_equal(shares, done ? 7 : 5);
        assert_true(n > 5 || killed); /* the test itself kills somewhere in the middle */
    }
}

static int do_reseal(struct vault *v)
{
    int e = vault_reseal_begin(v, new_key);
    return e == 0 ? vault_reseal_finish(v, new_key) : e;
}

/* Goal: killed before any statement of a reseal, the old or the new unseal key opens the store. */
static void test_reseal_killed(void **state)
{
    struct fixture *f = *state;
    bool done = false;
    for (int n = 0; !done; n++) {
        assert_true(n < 100);
        vault_close(f->v);
        f->v = NULL;
        (void)killed_at(f, n, do_reseal);
        close_and_open(f);
        bool old = vault_unseal(f->v, fixture_key) == 0;
        done = !old;
        assert_true(old || opens_with_key(f, new_key) == 0);
        assert_int_equal(opens_with_root(f, f->root), 0);
        assert_int_equal(vault_reseal_cancel(f->v), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_rekey),
        FIXTURE_TEST(test_rekey_refused),
        FIXTURE_TEST(test_nothing_is_left),
        FIXTURE_TEST(test_wrap),
        FIXTURE_TEST(test_old_store),
        FIXTURE_TEST(test_reseal),
        FIXTURE_TEST(test_reseal_left_behind),
        FIXTURE_TEST(test_shares_alone),
        FIXTURE_TEST(test_rekey_killed),
        FIXTURE_TEST(test_reseal_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
