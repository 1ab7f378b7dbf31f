/* The audit chain's export to a file. */
#include "audit_fixture.h"

#include <signal.h>
#include <sys/resource.h>

/* Rows leave the store once the file is on the disk, the newest excepted; the chain goes on over
 * it. */
static void test_prune(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    mode_t old = umask(0);
    lines(f->v, 10);
    assert_int_equal(waiting(f->v, NULL), 10);
    assert_int_equal(audit_export_run(f->v), -EBADF); /* none was opened */
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    umask(old);
    assert_int_equal(stat(f->log, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(audit_export_run(f->v), 0);
    assert_int_equal(waiting(f->v, NULL), 0);
    assert_int_equal(rows(f->v), 10);
    assert_int_equal(audit_export_sync(f->v), 0);
    assert_int_equal(rows(f->v), 1);
    fixture_reopen(f);
    assert_int_equal(head(f->v), 10);
    assert_int_equal(waiting(f->v, NULL), 0);
    lines(f->v, 2);
    assert_int_equal(waiting(f->v, NULL), 2);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_sync(f->v), 0);
    expect_whole(f->v, f->log, 12);
    assert_int_equal(rows(f->v), 1);
}

/* A file that was rotated away is followed by one whose header joins on to it, even after a
 * restart. */
static void test_rotation(void **state)
{
    struct fixture *f = *state;
    char moved[128], moved2[128], why[256];
    struct audit_chain chain = {0};
    snprintf(moved, sizeof(moved), "%s.1", f->log);
    snprintf(moved2, sizeof(moved2), "%s.2", f->log);
    lines(f->v, 4);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    assert_int_equal(rename(f->log, moved), 0);
    lines(f->v, 1); /* still goes to the old file */
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    lines(f->v, 3);
    assert_int_equal(audit_export_sync(f->v), 0);
    assert_int_equal(rename(f->log, moved2), 0);
    fixture_reopen(f); /* nothing but the store remembers where that file ended */
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    lines(f->v, 2);
    assert_int_equal(audit_export_sync(f->v), 0);
    const char *const files[] = {moved, moved2, f->log};
    const uint64_t ends[] = {5, 8, 10};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        size_t n;
        char *text = fixture_read(files[i], &n);
        if (check_text(f->v, &chain, text, n, why) != 0)
            fail_msg("%s: %s", files[i], why);
        assert_int_equal(chain.seq, ends[i]);
        expect_whole(f->v, files[i], ends[i]); /* and each for itself */
        free(text);
    }
    /* A file left out is noticed at the next one's header. */
    size_t n;
    char *first = fixture_read(moved, &n);
    chain = (struct audit_chain){0};
    assert_int_equal(check_text(f->v, &chain, first, n, why), 0);
    free(first);
    char *last = fixture_read(f->log, &n);
    assert_int_equal(check_text(f->v, &chain, last, n, why), AUDIT_E_BROKEN);
    assert_true(strncmp(why, "seq 6:", 6) == 0);
    free(last);
}

/* A last line torn at any byte is mended from the store. */
static void test_torn(void **state)
{
    struct fixture *f = *state;
    size_t n;
    lines(f->v, 3);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    char *text = fixture_read(f->log, &n);
    for (size_t cut = 0; cut <= n; cut += cut < n - 5 ? 7 : 1) {
        fixture_reopen(f);
        fixture_write(f->log, text, cut);
        assert_int_equal(audit_export_open(f->v, f->log), 0);
        assert_int_equal(audit_export_run(f->v), 0);
        expect_whole(f->v, f->log, 3);
    }
    /* and what is torn off behind it is more than a prefix of the next line */
    fixture_reopen(f);
    fixture_write(f->log, text, n);
    FILE *out = fopen(f->log, "ae");
    fputs("{\"seq\":4,\"garbage", out);
    fclose(out);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    lines(f->v, 1);
    assert_int_equal(audit_export_sync(f->v), 0);
    expect_whole(f->v, f->log, 4);
    free(text);
}

/* A file that lost or changed safely written lines is reported, and the export goes on behind it.
 */
static void test_damaged_file(void **state)
{
    struct fixture *f = *state;
    size_t n;
    char why[256];
    lines(f->v, 5);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_sync(f->v), 0);
    char *text = fixture_read(f->log, &n);
    static const int order[] = {0, 1, 2, 3};
    char *shorter = arrange(text, order, 4);
    char *changed = strdup(text);
    *strstr(changed, "line 4") = 'L';
    const char *const bad[] = {shorter, changed, "rubbish\n", "\n\n\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        fixture_reopen(f);
        fixture_write(f->log, bad[i], strlen(bad[i]));
        assert_int_equal(audit_export_open(f->v, f->log), AUDIT_E_BROKEN);
        lines(f->v, 1);
        assert_int_equal(audit_export_run(f->v), 0);
        char *now = fixture_read(f->log, &n);
        struct audit_chain chain = {0};
        int r = check_text(f->v, &chain, now, n, why);
        assert_int_equal(r, AUDIT_E_BROKEN);
        char *header = now, *p = now; /* the newest one: from there on the chain is whole */
        while ((p = strstr(p, "{\"audit\"")))
            header = p++;
        assert_true(header > now);
        chain = (struct audit_chain){0};
        assert_int_equal(check_text(f->v, &chain, header, n - (size_t)(header - now), why), 0);
        assert_int_equal(chain.seq, head(f->v));
        free(now);
    }
    free(text);
    free(shorter);
    free(changed);
}

static void copy(const char *from, const char *to)
{
    size_t n;
    char *p = fixture_read(from, &n);
    assert_non_null(p);
    fixture_write(to, p, n);
    free(p);
}

/* An older store put back is noticed by a file that knows more of our lines, and not by a forged
 * one. */
static void test_older_store(void **state)
{
    struct fixture *f = *state;
    char backup[128];
    snprintf(backup, sizeof(backup), "%s.bak", f->db);
    lines(f->v, 3);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_sync(f->v), 0);
    vault_close(f->v);
    f->v = NULL;
    copy(f->db, backup);
    fixture_reopen(f);
    lines(f->v, 2);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_sync(f->v), 0);
    vault_close(f->v);
    f->v = NULL;
    copy(backup, f->db);
    for (int other_lines = 0; other_lines <= 5; other_lines++) {
        /* also after the old store has gone on by itself, past where the file ends */
        fixture_reopen(f);
        assert_int_equal(head(f->v), 3 + (other_lines ? other_lines - 1 : 0));
        if (other_lines)
            lines(f->v, 1);
        assert_int_equal(audit_export_open(f->v, f->log), -ESTALE);
        int64_t since;
        assert_int_equal(waiting(f->v, &since), other_lines);
        assert_true(since > 0);
    }
    size_t n;
    char *text = fixture_read(f->log, &n);
    char *last = strstr(text, "{\"seq\":5");
    last[7] = '9'; /* says seq 9, without the mac for it */
    fixture_write(f->log, text, n);
    free(text);
    assert_int_equal(audit_export_open(f->v, f->log), AUDIT_E_BROKEN);
}

/* An older store that is to go on: the file that knows more is kept under another name, and a new
 * one begins behind what was safely in it. */
static void test_set_aside(void **state)
{
    struct fixture *f = *state;
    char backup[128];
    snprintf(backup, sizeof(backup), "%s.bak", f->db);
    assert_int_equal(audit_export_set_aside(f->v), -EBADF);
    lines(f->v, 3);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_sync(f->v), 0);
    vault_close(f->v);
    f->v = NULL;
    copy(f->db, backup);
    fixture_reopen(f);
    lines(f->v, 2);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_sync(f->v), 0);
    vault_close(f->v);
    f->v = NULL;
    copy(backup, f->db);
    fixture_reopen(f);
    lines(f->v, 1);
    assert_int_equal(audit_export_open(f->v, f->log), -ESTALE);
    assert_int_equal(audit_export_set_aside(f->v), 0);
    assert_int_equal(access(f->log, F_OK), -1);
    assert_int_equal(audit_export_set_aside(f->v), 0); /* gone is gone */
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_sync(f->v), 0);
    size_t n;
    char *text = fixture_read(f->log, &n);
    assert_non_null(strstr(text, "\"after\":3"));
    assert_non_null(strstr(text, "{\"seq\":4"));
    assert_null(strstr(text, "{\"seq\":5"));
    free(text);
}

/* While the file can't be written the lines wait and are counted; then they all arrive. */
static void test_unwritable(void **state)
{
    struct fixture *f = *state;
    char folder[128], path[160];
    int64_t since;
    snprintf(folder, sizeof(folder), "%s/logs", f->dir);
    snprintf(path, sizeof(path), "%s/audit.log", folder);
    assert_int_equal(audit_export_open(f->v, path), -ENOENT);
    for (uint64_t i = 1; i <= 5; i++) {
        lines(f->v, 1);
        assert_int_equal(audit_export_run(f->v), -ENOENT);
        assert_int_equal(waiting(f->v, &since), i);
        assert_true(since > 0);
        assert_int_equal(audit_export_sync(f->v), -ENOENT);
    }
    assert_int_equal(rows(f->v), 5);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    assert_int_equal(waiting(f->v, &since), 0);
    assert_int_equal(since, 0);
    expect_whole(f->v, path, 5);
}

/* A disk that fills up in the middle of a line leaves no half line behind, and the rest arrives
 * later. */
static void test_full(void **state)
{
    struct fixture *f = *state;
    struct rlimit old, small;
    int64_t since;
    size_t n;
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    lines(f->v, 2);
    assert_int_equal(audit_export_sync(f->v), 0);
    free(fixture_read(f->log, &n));
    lines(f->v, 5);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = n + 100; /* into the next line; the store's files are not written to here */
    f->v->audit.durable = head(f->v);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int r = audit_export_run(f->v);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(r, -EFBIG);
    assert_int_equal(waiting(f->v, &since), 5);
    assert_true(since > 0);
    expect_whole(f->v, f->log, 2);
    assert_int_equal(audit_export_run(f->v), 0);
    assert_int_equal(waiting(f->v, &since), 0);
    assert_int_equal(since, 0);
    expect_whole(f->v, f->log, 7);
}

/* A file somebody removed is noticed, made again, and nothing unsaved is missing from it. */
static void test_removed(void **state)
{
    struct fixture *f = *state;
    lines(f->v, 2);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_sync(f->v), 0);
    lines(f->v, 2);
    assert_int_equal(audit_export_sync(f->v), 0);
    lines(f->v, 2);
    assert_int_equal(unlink(f->log), 0);
    assert_int_equal(audit_export_sync(f->v), AUDIT_E_BROKEN);
    expect_whole(f->v, f->log, 6);
    assert_int_equal(audit_export_sync(f->v), 0);
}

/* Links, devices and folders are not written to. */
static void test_hostile_file(void **state)
{
    struct fixture *f = *state;
    char link[128], target[128];
    snprintf(link, sizeof(link), "%s/link.log", f->dir);
    snprintf(target, sizeof(target), "%s/target", f->dir);
    fixture_write(target, "x", 1);
    assert_int_equal(symlink(target, link), 0);
    assert_int_equal(audit_export_open(f->v, link), -ELOOP);
    assert_int_equal(audit_export_open(f->v, "/dev/null"), -EINVAL);
    assert_int_equal(audit_export_open(f->v, f->dir), -EISDIR);
    assert_int_equal(mkfifo(strcat(link, "2"), 0600), 0);
    assert_int_equal(audit_export_open(f->v, link), -EINVAL);
}

/* Sealing closes the export; after unsealing it goes on by itself where it was. */
static void test_seal(void **state)
{
    struct fixture *f = *state;
    lines(f->v, 2);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    lines(f->v, 1);
    vault_seal(f->v);
    assert_int_equal(audit_export_run(f->v), -EACCES);
    assert_int_equal(audit_export_sync(f->v), -EACCES);
    assert_int_equal(vault_unseal(f->v, fixture_key), 0);
    lines(f->v, 1);
    assert_int_equal(audit_export_sync(f->v), 0);
    expect_whole(f->v, f->log, 4);
}

/* Lines of turns that only read may wait a moment for the disk, but sync brings them all. */
static void test_reading_turns(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    for (int i = 0; i < 50; i++) {
        lines(f->v, 1);
        assert_int_equal(audit_export_run(f->v), 0);
    }
    assert_int_equal(audit_export_sync(f->v), 0);
    assert_int_equal(waiting(f->v, NULL), 0);
    lines(f->v, 1);
    fixture_put(f->v, "a", "1"); /* a durable commit takes the lines before it along */
    assert_int_equal(vault_begin(f->v), 0);
    fixture_line(f->v, "write");
    fixture_put(f->v, "a", "2");
    assert_int_equal(vault_commit(f->v), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    assert_int_equal(waiting(f->v, NULL), 0);
    expect_whole(f->v, f->log, 52);
}

/* Rows changed in the store are noticed: a changed line never reaches the file. */
static void test_tampered_rows(void **state)
{
    struct fixture *f = *state;
    char why[128];
    lines(f->v, 3);
    vault_close(f->v);
    f->v = NULL;
    fixture_sql(f, "UPDATE audit SET body = (SELECT body FROM audit WHERE seq = 1) WHERE seq = 2");
    fixture_reopen(f);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_run(f->v), -EBADMSG);
    assert_int_equal(waiting(f->v, NULL), 3);
    vault_close(f->v);
    f->v = NULL;
    fixture_sql(f, "UPDATE audit SET last = 9 WHERE seq = 3");
    assert_int_equal(vault_open(f->db, &f->v, why, sizeof(why)), 0);
    assert_int_equal(vault_unseal(f->v, fixture_key), -EBADMSG);
    assert_int_equal(vault_state(f->v), VAULT_SEALED);
}

/* Many lines in one turn, over many turns, come out in order and in chunks. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    for (int turn = 0; turn < 30; turn++) {
        assert_int_equal(vault_begin(f->v), 0);
        for (int i = 0; i < 100; i++)
            fixture_line(f->v, "0123456789012345678901234567890123456789012345678901234567890123");
        assert_int_equal(vault_commit(f->v), 0);
    }
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_sync(f->v), 0);
    expect_whole(f->v, f->log, 3000);
    assert_int_equal(rows(f->v), 1);
}

/* Lines given as text are lines like the others, and one that failed halfway leaves nothing. */
static void test_text_lines(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(vault_begin(f->v), 0);
    _cleanup_buf_ struct buf b = BUF_INIT(64), bad = BUF_INIT(2);
    buf_puts(&b, ",\"path\":");
    json_put_text(&b, "a/\"b");
    buf_puts(&bad, "too long");
    assert_int_equal(audit_append_text(f->v, "request", &b), 0);
    assert_int_equal(audit_append_text(f->v, "request", &bad), -EMSGSIZE);
    assert_int_equal(audit_append_text(f->v, "Not A Type", &b), -EINVAL);
    assert_int_equal(vault_commit(f->v), 0);
    assert_int_equal(audit_export_sync(f->v), 0);
    expect_whole(f->v, f->log, 1);
    size_t n;
    char *text = fixture_read(f->log, &n);
    assert_non_null(strstr(text, ",\"type\":\"request\",\"path\":\"a/\\\"b\",\"mac\":\""));
    free(text);
}

/* Lines kept in memory for the file and lines read back from the store make one whole chain:
 * whether there are few or more than are kept, with the file closed in between. */
static void test_fresh_lines(void **state)
{
    struct fixture *f = *state;
    char filler[4096];
    memset(filler, 'x', sizeof(filler) - 1);
    filler[sizeof(filler) - 1] = '\0';
    lines(f->v, 3); /* before there is a file */
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    lines(f->v, 2);
    assert_int_equal(audit_export_run(f->v), 0);
    for (int turn = 0; turn < 3; turn++) { /* more than AUDIT_FRESH_MAX before the next run */
        assert_int_equal(vault_begin(f->v), 0);
        for (int i = 0; i < 150; i++) {
            json_t *fields = json_pack("{s:s}", "filler", filler);
            assert_int_equal(audit_append(f->v, "request", fields), 0);
            json_decref(fields);
        }
        assert_int_equal(vault_commit(f->v), 0);
    }
    assert_in_range(f->v->audit.fresh.len, 0, AUDIT_FRESH_MAX);
    assert_int_equal(audit_export_sync(f->v), 0);
    expect_whole(f->v, f->log, 455);
    lines(f->v, 4);
    assert_int_not_equal(f->v->audit.fresh.len, 0);
    assert_int_equal(audit_export_open(f->v, f->log), 0); /* reopened with lines waiting */
    lines(f->v, 1);
    assert_int_equal(audit_export_sync(f->v), 0);
    assert_int_equal(f->v->audit.fresh.len, 0);
    expect_whole(f->v, f->log, 460);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_text_lines), FIXTURE_TEST(test_fresh_lines),
        FIXTURE_TEST(test_prune),         FIXTURE_TEST(test_rotation),
        FIXTURE_TEST(test_torn),          FIXTURE_TEST(test_damaged_file),
        FIXTURE_TEST(test_older_store),   FIXTURE_TEST(test_set_aside),
        FIXTURE_TEST(test_unwritable),    FIXTURE_TEST(test_full),
        FIXTURE_TEST(test_removed),       FIXTURE_TEST(test_hostile_file),
        FIXTURE_TEST(test_seal),          FIXTURE_TEST(test_reading_turns),
        FIXTURE_TEST(test_tampered_rows), FIXTURE_TEST(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
