/* The room kept back on a disk, with a disk that is full because SQLite's writes are told so. */
#include "vault_fixture.h"

#include "base/clock.h"
#include "vault/reserve.h"

typedef ssize_t (*pwrite_fn)(int fd, const void *p, size_t n, off_t at);

static pwrite_fn real;
static struct fixture *f;
static bool disk_full;
static off_t frees_at; /* a write fits once the reserve is this small */
static unsigned refused;

static off_t reserve_size(void)
{
    struct stat st;
    char path[128];
    snprintf(path, sizeof(path), "%s-reserve", f->db);
    return stat(path, &st) == 0 ? st.st_size : -1;
}

static ssize_t full_pwrite(int fd, const void *p, size_t n, off_t at)
{
    if (!disk_full || reserve_size() <= frees_at)
        return real(fd, p, n, at);
    refused++;
    errno = ENOSPC;
    return -1;
}

/* Beneath the reserve's own, which is put in at the first lending. */
static int hook(void **state)
{
    (void)state;
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    real = (pwrite_fn)vfs->xGetSystemCall(vfs, "pwrite64");
    return real && vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)full_pwrite) == 0 ? 0
                                                                                               : -1;
}

static int setup(void **state)
{
    disk_full = false;
    if (fixture_setup(state) < 0)
        return -1;
    f = *state;
    refused = 0;
    frees_at = VAULT_RESERVE_STORE - 1;
    return vault_reserve(f->v, f->db, f->log);
}

/* No look at the real disk, which has room, until wake(). */
static void no_looking(void)
{
    f->v->store_reserve.looked_ms = clock_boot_ms() + 3600000;
}

static void wake(void)
{
    f->v->store_reserve.looked_ms = 0;
}

static int put(const char *path)
{
    int r = vault_begin(f->v);
    if (r == 0)
        r = entry_put(f->v, "kv", path, "1", 1);
    if (r < 0) {
        vault_rollback(f->v);
        return r;
    }
    return vault_commit(f->v);
}

static bool stored(const char *path)
{
    return fixture_get(f->v, path, "1") == 0;
}

/* Goal: the reserve's blocks are really there, for us alone. */
static void test_made(void **state)
{
    (void)state;
    struct stat st;
    char path[128];
    snprintf(path, sizeof(path), "%s-reserve", f->db);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, VAULT_RESERVE_STORE);
    assert_true((off_t)st.st_blocks * 512 >= VAULT_RESERVE_STORE);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_false(vault_alarm(f->v).store_full);
}

/* Goal: on a full disk nobody touches the reserve who is not lent it, nothing is half done, and
 * from then on they are refused before they begin. */
static void test_refused(void **state)
{
    (void)state;
    disk_full = true;
    assert_int_equal(put("a"), -ENOSPC);
    no_looking();
    assert_int_equal(reserve_size(), VAULT_RESERVE_STORE);
    assert_true(vault_alarm(f->v).store_full);
    unsigned before = refused;
    assert_int_equal(put("b"), -ENOSPC);
    assert_int_equal(vault_begin(f->v), 0);
    _cleanup_json_ json_t *line = json_pack("{s:s}", "event", "read");
    assert_int_equal(audit_append(f->v, "request", line), -ENOSPC);
    assert_int_equal(vault_commit(f->v), 0);
    assert_int_equal(refused, before);
    assert_false(stored("a") || stored("b"));
}

/* Goal: who is lent it goes on; the others stay refused although there would be room now; and with
 * room all is as before. */
static void test_lent(void **state)
{
    (void)state;
    disk_full = true;
    no_looking();
    vault_lend(f->v, true);
    assert_int_equal(put("login"), 0);
    vault_lend(f->v, false);
    assert_true(refused > 0);
    assert_true(reserve_size() < VAULT_RESERVE_STORE);
    assert_true(vault_alarm(f->v).store_full);
    assert_int_equal(put("api"), -ENOSPC);
    vault_lend(f->v, true);
    assert_int_equal(put("login2"), 0);
    vault_lend(f->v, false);
    disk_full = false;
    wake();
    assert_int_equal(put("api"), 0);
    assert_int_equal(reserve_size(), VAULT_RESERVE_STORE);
    assert_false(vault_alarm(f->v).store_full);
    assert_true(stored("login") && stored("login2") && stored("api"));
}

/* Goal: an empty reserve is a refusal, not a loop. */
static void test_used_up(void **state)
{
    (void)state;
    disk_full = true;
    frees_at = -2;
    no_looking();
    vault_lend(f->v, true);
    assert_int_equal(put("login"), -ENOSPC);
    vault_lend(f->v, false);
    assert_int_equal(reserve_size(), 0);
    disk_full = false;
    wake();
    assert_int_equal(put("api"), 0);
    assert_int_equal(reserve_size(), VAULT_RESERVE_STORE);
}

/* Goal: somebody removes the file to make room: it gives its blocks back, and comes again. */
static void test_removed(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof(path), "%s-reserve", f->db);
    assert_int_equal(unlink(path), 0);
    wake();
    assert_int_equal(put("a"), 0);
    assert_int_equal(reserve_size(), VAULT_RESERVE_STORE);
}

/* Goal: a link in its place is not followed, and keeps nobody from working. */
static void test_link(void **state)
{
    (void)state;
    char path[128], victim[128];
    struct stat st;
    struct reserve r;
    snprintf(path, sizeof(path), "%s/x-reserve", f->dir);
    snprintf(victim, sizeof(victim), "%s/victim", f->dir);
    fixture_write(victim, "precious", 8);
    assert_int_equal(symlink(victim, path), 0);
    snprintf(path, sizeof(path), "%s/x", f->dir);
    assert_int_equal(reserve_open(&r, path, 65536), 0);
    assert_false(reserve_short(&r));
    assert_false(reserve_release(&r));
    reserve_close(&r);
    assert_int_equal(stat(victim, &st), 0);
    assert_int_equal(st.st_size, 8);
}

#define RESERVE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RESERVE_TEST(test_made),    RESERVE_TEST(test_refused), RESERVE_TEST(test_lent),
        RESERVE_TEST(test_used_up), RESERVE_TEST(test_removed), RESERVE_TEST(test_link),
    };
    return cmocka_run_group_tests(tests, hook, NULL);
}
