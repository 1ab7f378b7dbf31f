/* The vault's life: seal, keys, the turn, its file. */
#include "vault_fixture.h"

#include <sys/wait.h>

#include "sync_vfs.h"

/* A new store has an instance id and is unsealed; both survive closing, sealed. */
static void test_init_and_reopen(void **state)
{
    struct fixture *f = *state;
    char why[128], instance[64];
    unsigned shares, threshold;
    snprintf(instance, sizeof(instance), "%s", vault_instance(f->v));
    assert_int_equal(strlen(instance), 36);
    assert_int_equal(vault_state(f->v), VAULT_UNSEALED);
    assert_int_equal(vault_init(f->v, fixture_key, 1, 1, f->root), -EALREADY);
    fixture_put(f->v, "a", "1");
    vault_close(f->v);
    assert_int_equal(vault_open(f->db, &f->v, why, sizeof(why)), 0);
    assert_int_equal(vault_state(f->v), VAULT_SEALED);
    assert_string_equal(vault_instance(f->v), instance);
    vault_seal_config(f->v, &shares, &threshold);
    assert_int_equal(shares, 5);
    assert_int_equal(threshold, 3);
    assert_int_equal(fixture_get(f->v, "a", "1"), -EACCES);
    assert_int_equal(vault_unseal(f->v, fixture_key), 0);
    assert_int_equal(fixture_get(f->v, "a", "1"), 0);
}

/* A store that was never initialised says so and does nothing. */
static void test_uninitialised(void **state)
{
    struct fixture *f = *state;
    char why[128], path[128];
    struct vault *v;
    snprintf(path, sizeof(path), "%s/new.db", f->dir);
    assert_int_equal(vault_open(path, &v, why, sizeof(why)), 0);
    assert_int_equal(vault_state(v), VAULT_UNINITIALISED);
    assert_string_equal(vault_instance(v), "");
    assert_int_equal(vault_unseal(v, fixture_key), -EINVAL);
    assert_int_equal(entry_put(v, "kv", "a", "1", 1), -EACCES);
    assert_int_equal(vault_begin(v), 0);
    assert_int_equal(audit_append(v, "request", NULL), -EACCES);
    assert_int_equal(vault_commit(v), 0);
    uint8_t h[VAULT_HASH_LEN];
    assert_int_equal(vault_hash(v, "token", "x", 1, h), -EACCES);
    vault_close(v);
}

/* Only the right key unseals, by either door; a wrong one leaves the vault as it was. */
static void test_wrong_key(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < VAULT_KEY_LEN; i++) {
        uint8_t k[VAULT_KEY_LEN], root[VAULT_KEY_LEN];
        memcpy(k, fixture_key, sizeof(k));
        memcpy(root, f->root, sizeof(root));
        k[i] ^= 1;
        root[i] ^= 0x80;
        vault_seal(f->v);
        assert_int_equal(vault_unseal(f->v, k), VAULT_E_WRONG_KEY);
        assert_int_equal(vault_unseal_root(f->v, root), VAULT_E_WRONG_KEY);
        assert_int_equal(vault_state(f->v), VAULT_SEALED);
    }
    assert_int_equal(vault_unseal_root(f->v, f->root), 0);
    assert_int_equal(vault_state(f->v), VAULT_UNSEALED);
    uint8_t wrong[VAULT_KEY_LEN] = {0};
    assert_int_equal(vault_unseal(f->v, wrong), VAULT_E_WRONG_KEY);
    assert_int_equal(vault_state(f->v), VAULT_UNSEALED);
}

/* Sealing ends reading and writing; in a turn it also keeps the turn from being committed. */
static void test_seal(void **state)
{
    struct fixture *f = *state;
    int64_t n;
    fixture_put(f->v, "a", "1");
    vault_seal(f->v);
    vault_seal(f->v);
    assert_int_equal(fixture_get(f->v, "a", "1"), -EACCES);
    assert_int_equal(entry_put(f->v, "kv", "a", "2", 1), -EACCES);
    assert_int_equal(vault_rotate(f->v), -EACCES);
    assert_int_equal(record_count(f->v, RECORD_LEASE, &n), 0);
    assert_int_equal(vault_unseal(f->v, fixture_key), 0);
    assert_int_equal(vault_begin(f->v), 0);
    fixture_put(f->v, "a", "2");
    fixture_line(f->v, "put");
    vault_seal(f->v);
    assert_int_equal(vault_commit(f->v), -EACCES);
    assert_int_equal(vault_unseal(f->v, fixture_key), 0);
    assert_int_equal(fixture_get(f->v, "a", "1"), 0);
}

/* The keys in the plain settings are bound to the instance: neither can be exchanged alone. */
static void test_settings_are_bound(void **state)
{
    struct fixture *f = *state;
    char why[128];
    vault_close(f->v);
    fixture_sql(f,
                "UPDATE meta SET value = x'30303030303030302d303030302d343030302d383030302d303030"
                "303030303030303030' WHERE key = 'seal.instance'");
    assert_int_equal(vault_open(f->db, &f->v, why, sizeof(why)), 0);
    assert_string_equal(vault_instance(f->v), "00000000-0000-4000-8000-000000000000");
    assert_int_equal(vault_unseal(f->v, fixture_key), VAULT_E_WRONG_KEY);
    assert_int_equal(vault_unseal_root(f->v, f->root), VAULT_E_WRONG_KEY);
}

/* After a rotation old values are read, new ones use the new key, and hashes stay the same. */
static void test_rotate(void **state)
{
    struct fixture *f = *state;
    uint8_t before[VAULT_HASH_LEN], after[VAULT_HASH_LEN];
    assert_int_equal(vault_hash(f->v, "token", "abc", 3, before), 0);
    fixture_put(f->v, "dir/old", "1");
    for (int i = 0; i < 3; i++)
        assert_int_equal(vault_rotate(f->v), 0);
    fixture_put(f->v, "dir/new", "2");
    fixture_reopen(f);
    assert_int_equal(fixture_get(f->v, "dir/old", "1"), 0);
    assert_int_equal(fixture_get(f->v, "dir/new", "2"), 0);
    assert_int_equal(vault_hash(f->v, "token", "abc", 3, after), 0);
    assert_memory_equal(before, after, sizeof(before));
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_prepare_v2(f->v->store.db,
                                        "SELECT substr(body, 1, 4) FROM entry"
                                        " WHERE body IS NOT NULL ORDER BY n",
                                        -1, &st, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_memory_equal(sqlite3_column_blob(st, 0), "\1\0\0\0", 4);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_memory_equal(sqlite3_column_blob(st, 0), "\4\0\0\0", 4);
    sqlite3_finalize(st);
}

/* Hashes differ by purpose and content, and the purpose's length is checked. */
static void test_hash(void **state)
{
    struct fixture *f = *state;
    uint8_t a[VAULT_HASH_LEN], b[VAULT_HASH_LEN];
    assert_int_equal(vault_hash(f->v, "token", "abc", 3, a), 0);
    assert_int_equal(vault_hash(f->v, "tokem", "abc", 3, b), 0);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(vault_hash(f->v, "token", "abd", 3, b), 0);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(vault_hash(f->v, "sixteen-chars-ok", "", 0, b), 0);
    assert_int_equal(vault_hash(f->v, "seventeen-chars-x", "", 0, b), -EINVAL);
    assert_int_equal(vault_hash(f->v, "", "", 0, b), -EINVAL);
}

/* A second process, and a second handle in this one, are refused; the first goes on. */
static void test_second_opener(void **state)
{
    struct fixture *f = *state;
    struct vault *other;
    char why[256];
    assert_int_equal(vault_open(f->db, &other, why, sizeof(why)), -EBUSY);
    assert_non_null(strstr(why, "another process"));
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(vault_open(f->db, &other, why, sizeof(why)) == -EBUSY ? 42 : 1);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    fixture_put(f->v, "a", "1");
    assert_int_equal(fixture_get(f->v, "a", "1"), 0);
}

static char *whole(struct fixture *f, size_t *n)
{
    char path[128];
    size_t walen;
    char *db = fixture_read(f->db, n);
    assert_non_null(db);
    snprintf(path, sizeof(path), "%s-wal", f->db);
    char *wal = fixture_read(path, &walen);
    db = realloc(db, *n + walen + 1);
    if (wal)
        memcpy(db + *n, wal, walen);
    *n += walen;
    free(wal);
    return db;
}

/* A file from a newer program is refused and not one byte of it (or its log) changes. */
static void test_newer_schema(void **state)
{
    struct fixture *f = *state;
    char why[256];
    size_t n, n2;
    vault_close(f->v);
    f->v = NULL;
    /* Leave the new version in the log, as a killed newer program would. */
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        sqlite3 *db;
        sqlite3_open(f->db, &db);
        sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA user_version=99", NULL, NULL, NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    char *before = whole(f, &n);
    assert_int_equal(vault_open(f->db, &f->v, why, sizeof(why)), -EPROTO);
    assert_null(f->v);
    assert_non_null(strstr(why, "99"));
    char *after = whole(f, &n2);
    assert_int_equal(n, n2);
    assert_memory_equal(before, after, n);
    free(before);
    free(after);
}

/* Other people's files, links and things that are no store are refused; the mode is always 0600. */
static void test_file(void **state)
{
    struct fixture *f = *state;
    char why[256], path[128], path2[160];
    struct stat st;
    struct vault *v;
    mode_t old = umask(0);
    snprintf(path, sizeof(path), "%s/mode.db", f->dir);
    assert_int_equal(vault_open(path, &v, why, sizeof(why)), 0);
    umask(old);
    assert_int_equal(vault_init(v, fixture_key, 1, 1, f->root), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    snprintf(path2, sizeof(path2), "%s-wal", path);
    assert_int_equal(stat(path2, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    snprintf(path2, sizeof(path2), "%s-shm", path);
    assert_int_equal(stat(path2, &st), -1);
    vault_close(v);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(vault_open(path, &v, why, sizeof(why)), 0);
    vault_close(v);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);

    snprintf(path2, sizeof(path2), "%s/link.db", f->dir);
    assert_int_equal(symlink(path, path2), 0);
    assert_int_equal(vault_open(path2, &v, why, sizeof(why)), -ELOOP);
    snprintf(path2, sizeof(path2), "%s/text.db", f->dir);
    fixture_write(path2, "this is no database, but it is long enough to look like one ......", 66);
    assert_int_equal(vault_open(path2, &v, why, sizeof(why)), -EBADMSG);
    snprintf(path2, sizeof(path2), "%s/other.db", f->dir);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path2, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(vault_open(path2, &v, why, sizeof(why)), -EBADMSG);
    assert_int_equal(vault_open("/nonexistent/dir/x.db", &v, why, sizeof(why)), -ENOENT);
    assert_int_equal(vault_open(f->dir, &v, why, sizeof(why)), -EINVAL);
}

/* Somebody else's file is refused to everybody but root. */
static void test_foreign_owner(void **state)
{
    struct fixture *f = *state;
    char why[256];
    struct vault *v;
    if (geteuid() != 0) {
        /* As a common user: any root-owned file will do. */
        assert_int_equal(vault_open("/etc/passwd", &v, why, sizeof(why)), -EPERM);
        return;
    }
    vault_close(f->v);
    f->v = NULL;
    assert_int_equal(chmod(f->dir, 0777), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (setresuid(65534, 65534, 65534) < 0)
            _exit(2);
        _exit(vault_open(f->db, &v, why, sizeof(why)) == -EPERM ? 42 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static const char *const markers[] = {
    "MarkerSpace", "MarkerFolder", "MarkerName", "MarkerValue", "MarkerId",
    "MarkerIndex", "MarkerBody",   "MarkerLine", "MarkerGone",
};

/* Neither names nor values nor ids are in the file or its log, in whatever state. */
static void test_nothing_in_the_clear(void **state)
{
    struct fixture *f = *state;
    struct record r = {
        .id = "MarkerId", .due = 7, .key = {"MarkerIndex"}, .body = "MarkerBody", .body_len = 10};
    assert_int_equal(entry_put(f->v, "MarkerSpace", "MarkerFolder/MarkerName", "MarkerValue", 11),
                     0);
    assert_int_equal(entry_put(f->v, "MarkerSpace", "MarkerGone", "MarkerGone", 10), 0);
    assert_int_equal(record_put(f->v, RECORD_LEASE, &r), 0);
    fixture_line(f->v, "MarkerLine");
    assert_int_equal(entry_delete(f->v, "MarkerSpace", "MarkerGone"), 0);
    for (int closed = 0; closed < 2; closed++) {
        size_t n;
        if (closed) {
            vault_close(f->v);
            f->v = NULL;
        }
        /* Opening the file drops this process's locks on it: nothing after this relies on them. */
        char *all = whole(f, &n);
        assert_true(n > 20000);
        for (size_t i = 0; i < ARRAY_LEN(markers); i++)
            if (memmem(all, n, markers[i], strlen(markers[i])))
                fail_msg("%s is in the file in the clear", markers[i]);
        assert_null(memmem(all, n, fixture_key, VAULT_KEY_LEN));
        assert_null(memmem(all, n, f->root, VAULT_KEY_LEN));
        assert_non_null(memmem(all, n, "seal.keyring", 12)); /* we do look at the right bytes */
        free(all);
    }
}

/* Marks nest; undo takes back entries, records and settings, and only those behind the mark. */
static void test_marks(void **state)
{
    struct fixture *f = *state;
    struct vault *v = f->v;
    _cleanup_buf_ struct buf meta = BUF_INIT(64);
    assert_int_equal(vault_begin(v), 0);
    fixture_put(v, "before", "1");
    assert_int_equal(vault_mark(v), 0);
    fixture_put(v, "outer", "1");
    assert_int_equal(vault_mark(v), 0);
    assert_int_equal(vault_mark(v), 0);
    fixture_put(v, "inner", "1");
    assert_int_equal(entry_delete(v, "kv", "before"), 0);
    assert_int_equal(vault_meta_put(v, "setting", "x", 1), 0);
    assert_int_equal(vault_undo(v), 0);
    assert_int_equal(fixture_get(v, "inner", ""), ENTRY_E_NONE);
    assert_int_equal(vault_meta_get(v, "setting", &meta), 1);
    fixture_put(v, "middle", "1");
    assert_int_equal(vault_keep(v), 0);
    assert_int_equal(vault_commit(v), -EINVAL); /* a mark is open: everything is undone */
    assert_false(vault_in_turn(v));
    assert_int_equal(fixture_get(v, "before", ""), ENTRY_E_NONE);

    assert_int_equal(vault_begin(v), 0);
    assert_int_equal(vault_begin(v), -EINVAL);
    assert_int_equal(vault_mark(v), 0);
    fixture_put(v, "a", "1");
    assert_int_equal(vault_keep(v), 0);
    assert_int_equal(vault_mark(v), 0);
    fixture_put(v, "a", "2");
    fixture_put(v, "b", "2");
    assert_int_equal(vault_undo(v), 0);
    assert_int_equal(vault_undo(v), -EINVAL);
    assert_int_equal(vault_keep(v), -EINVAL);
    assert_int_equal(vault_commit(v), 0);
    assert_int_equal(vault_commit(v), -EINVAL);
    fixture_reopen(f);
    assert_int_equal(fixture_get(f->v, "a", "1"), 0);
    assert_int_equal(fixture_get(f->v, "b", "2"), ENTRY_E_NONE);
}

/* Rollback takes all of a turn back, and the depth of marks is bounded. */
static void test_rollback(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(vault_begin(f->v), 0);
    fixture_put(f->v, "a", "1");
    for (int i = 0; i < VAULT_MARKS_MAX; i++)
        assert_int_equal(vault_mark(f->v), 0);
    assert_int_equal(vault_mark(f->v), -EOVERFLOW);
    fixture_put(f->v, "b", "1");
    vault_rollback(f->v);
    vault_rollback(f->v);
    assert_false(vault_in_turn(f->v));
    assert_int_equal(fixture_get(f->v, "a", "1"), ENTRY_E_NONE);
    assert_int_equal(fixture_get(f->v, "b", "1"), ENTRY_E_NONE);
    assert_int_equal(vault_mark(f->v), -EINVAL);
}

/* SQLite says synchronous=FULL, and says it again after each kind of turn. */
static void test_pragmas(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *sql, *want;
    } rows[] = {
        {"PRAGMA synchronous", "2"},   {"PRAGMA journal_mode", "wal"},
        {"PRAGMA secure_delete", "1"}, {"PRAGMA foreign_keys", "1"},
        {"PRAGMA user_version", "1"},  {"PRAGMA locking_mode", "exclusive"},
    };
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            sqlite3_stmt *st;
            assert_int_equal(sqlite3_prepare_v2(f->v->store.db, rows[i].sql, -1, &st, NULL), 0);
            assert_int_equal(sqlite3_step(st), SQLITE_ROW);
            assert_string_equal((const char *)sqlite3_column_text(st, 0), rows[i].want);
            sqlite3_finalize(st);
        }
        if (round == 0)
            fixture_line(f->v, "read");
        else
            fixture_put(f->v, "a", "1");
    }
}

/* A turn that wrote waits for the disk; one that only read, or whose writes were undone, does not.
 */
static void test_syncs(void **state)
{
    struct fixture *f = *state;
    char why[128];
    vault_close(f->v);
    sync_vfs_install();
    assert_int_equal(vault_open(f->db, &f->v, why, sizeof(why)), 0);
    assert_int_equal(vault_unseal(f->v, fixture_key), 0);
    fixture_put(f->v, "warm", "up"); /* the first frame of a new log syncs its header, too */
    unsigned long before = sync_vfs_log_syncs;

    assert_int_equal(vault_begin(f->v), 0);
    assert_int_equal(fixture_get(f->v, "warm", "up"), 0);
    assert_int_equal(vault_commit(f->v), 0);
    assert_int_equal(sync_vfs_log_syncs, before);
    for (int i = 0; i < 5; i++)
        fixture_line(f->v, "read");
    assert_int_equal(sync_vfs_log_syncs, before);

    assert_int_equal(vault_begin(f->v), 0);
    assert_int_equal(vault_mark(f->v), 0);
    fixture_put(f->v, "never", "1");
    assert_int_equal(vault_undo(f->v), 0);
    fixture_line(f->v, "refused");
    assert_int_equal(vault_commit(f->v), 0);
    assert_int_equal(sync_vfs_log_syncs, before);

    assert_int_equal(vault_begin(f->v), 0);
    fixture_put(f->v, "a", "1");
    fixture_line(f->v, "write");
    assert_int_equal(sync_vfs_log_syncs, before);
    assert_int_equal(vault_commit(f->v), 0);
    assert_int_equal(sync_vfs_log_syncs, before + 1);
    fixture_put(f->v, "a", "2"); /* a turn of its own */
    assert_int_equal(sync_vfs_log_syncs, before + 2);
    uint64_t seq;
    uint8_t mac[VAULT_HASH_LEN];
    assert_int_equal(audit_head(f->v, &seq, mac), 0);
    assert_int_equal(seq, 7);
    fixture_reopen(f);
    assert_int_equal(audit_head(f->v, &seq, mac), 0);
    assert_int_equal(seq, 7);
    assert_int_equal(fixture_get(f->v, "never", ""), ENTRY_E_NONE);
    vault_close(f->v);
    f->v = NULL;
    sync_vfs_remove();
}

/* A disk that is full in the middle of a turn fails the whole turn, and the next one works. */
static void test_full_disk(void **state)
{
    struct fixture *f = *state;
    char why[128];
    char *big = malloc(512 * 1024);
    memset(big, 'x', 512 * 1024);
    fixture_put(f->v, "kept", "1");
    vault_close(f->v);
    sync_vfs_install();
    assert_int_equal(vault_open(f->db, &f->v, why, sizeof(why)), 0);
    assert_int_equal(vault_unseal(f->v, fixture_key), 0);
    sqlite3_exec(f->v->store.db, "PRAGMA cache_size=10", NULL, NULL, NULL); /* spills at once */
    assert_int_equal(vault_begin(f->v), 0);
    fixture_put(f->v, "first", "1");
    assert_int_equal(vault_mark(f->v), 0);
    sync_vfs_room = 100 * 1024;
    assert_int_equal(entry_put(f->v, "kv", "big", big, 512 * 1024), -ENOSPC);
    if (vault_undo(f->v) < 0) {
        /* the transaction is gone: nothing may go on as if it were not */
        assert_int_equal(fixture_get(f->v, "first", "1"), -ENOSPC);
        assert_int_equal(entry_put(f->v, "kv", "second", "1", 1), -ENOSPC);
        assert_int_equal(vault_mark(f->v), -ENOSPC);
        assert_int_equal(audit_append(f->v, "request", NULL), -ENOSPC);
        assert_true(vault_commit(f->v) < 0);
        assert_int_equal(fixture_get(f->v, "first", "1"), ENTRY_E_NONE);
    } else {
        assert_int_equal(fixture_get(f->v, "big", ""), ENTRY_E_NONE);
        vault_rollback(f->v);
    }
    assert_int_equal(fixture_get(f->v, "kept", "1"), 0);
    sync_vfs_room = 0;
    assert_int_equal(vault_begin(f->v), 0);
    fixture_put(f->v, "first", "2");
    assert_true(vault_commit(f->v) < 0); /* fails at the commit this time */
    assert_false(vault_in_turn(f->v));
    sync_vfs_room = -1;
    fixture_put(f->v, "first", "3");
    fixture_reopen(f);
    assert_int_equal(fixture_get(f->v, "first", "3"), 0);
    assert_int_equal(fixture_get(f->v, "big", ""), ENTRY_E_NONE);
    vault_close(f->v);
    f->v = NULL;
    sync_vfs_remove();
    free(big);
}

/* A write that failed halfway can't be kept: neither by keep() nor by commit(). */
static void test_halfway(void **state)
{
    struct fixture *f = *state;
    char why[128];
    char *big = calloc(1, 512 * 1024);
    vault_close(f->v);
    sync_vfs_install();
    assert_int_equal(vault_open(f->db, &f->v, why, sizeof(why)), 0);
    assert_int_equal(vault_unseal(f->v, fixture_key), 0);
    assert_int_equal(vault_begin(f->v), 0);
    assert_int_equal(vault_mark(f->v), 0);
    sqlite3_exec(f->v->store.db, "PRAGMA cache_size=10", NULL, NULL, NULL);
    sync_vfs_room = 0;
    assert_int_equal(entry_put(f->v, "kv", "a/b", big, 512 * 1024), -ENOSPC);
    sync_vfs_room = -1;
    assert_true(vault_keep(f->v) < 0);
    assert_true(vault_commit(f->v) < 0);
    assert_int_equal(fixture_get(f->v, "a/b", ""), ENTRY_E_NONE);
    vault_close(f->v);
    f->v = NULL;
    sync_vfs_remove();
    free(big);
}

/* After an fsync that failed, the turn is undone and the next one first makes the store sound. */
static void test_failed_sync(void **state)
{
    struct fixture *f = *state;
    char why[128];
    vault_close(f->v);
    sync_vfs_install();
    assert_int_equal(vault_open(f->db, &f->v, why, sizeof(why)), 0);
    assert_int_equal(vault_unseal(f->v, fixture_key), 0);
    fixture_put(f->v, "a", "1");
    assert_int_equal(vault_begin(f->v), 0);
    fixture_put(f->v, "a", "2");
    fixture_line(f->v, "put");
    sync_vfs_failing = true;
    assert_int_equal(vault_commit(f->v), -EIO);
    assert_int_equal(fixture_get(f->v, "a", "1"), 0);
    assert_int_equal(vault_begin(f->v), -EIO); /* the checkpoint can't be synced either */
    sync_vfs_failing = false;
    unsigned long before = sync_vfs_db_syncs;
    fixture_put(f->v, "b", "1");
    assert_true(sync_vfs_db_syncs > before);
    uint64_t seq;
    uint8_t mac[VAULT_HASH_LEN];
    assert_int_equal(audit_head(f->v, &seq, mac), 0);
    assert_int_equal(seq, 0);
    fixture_reopen(f);
    assert_int_equal(fixture_get(f->v, "a", "1"), 0);
    assert_int_equal(fixture_get(f->v, "b", "1"), 0);
    vault_close(f->v);
    f->v = NULL;
    sync_vfs_remove();
}

/* A transaction that could not be rolled back (no memory for it) does not keep the next turn out.
 */
static void test_stuck_transaction(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(sqlite3_exec(f->v->store.db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(vault_begin(f->v), 0);
    fixture_put(f->v, "a", "1");
    assert_int_equal(vault_commit(f->v), 0);
    assert_int_equal(fixture_get(f->v, "a", "1"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_stuck_transaction),
        FIXTURE_TEST(test_init_and_reopen),
        FIXTURE_TEST(test_uninitialised),
        FIXTURE_TEST(test_wrong_key),
        FIXTURE_TEST(test_seal),
        FIXTURE_TEST(test_settings_are_bound),
        FIXTURE_TEST(test_rotate),
        FIXTURE_TEST(test_hash),
        FIXTURE_TEST(test_second_opener),
        FIXTURE_TEST(test_newer_schema),
        FIXTURE_TEST(test_file),
        FIXTURE_TEST(test_foreign_owner),
        FIXTURE_TEST(test_nothing_in_the_clear),
        FIXTURE_TEST(test_marks),
        FIXTURE_TEST(test_rollback),
        FIXTURE_TEST(test_pragmas),
        FIXTURE_TEST(test_syncs),
        FIXTURE_TEST(test_full_disk),
        FIXTURE_TEST(test_halfway),
        FIXTURE_TEST(test_failed_sync),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
