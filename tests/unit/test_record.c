/* Records: ids, deadlines, indexes, and what happens to a file somebody changed. */
#include "vault_fixture.h"

static int put(struct vault *v, const char *id, int64_t due, const char *k0, const char *k1,
               const char *body)
{
    struct record r = {
        .id = id, .due = due, .key = {k0, k1}, .body = body, .body_len = strlen(body)};
    return record_put(v, RECORD_LEASE, &r);
}

static int get(struct vault *v, const char *id, const char *want, int64_t want_due)
{
    _cleanup_buf_ struct buf b = BUF_INIT(RECORD_BODY_MAX);
    int64_t due = -1;
    int r = record_get(v, RECORD_LEASE, id, &b, &due);
    if (r == 0) {
        assert_string_equal(buf_str(&b), want);
        assert_int_equal(due, want_due);
    }
    return r;
}

struct visit {
    char text[512];
    struct vault *v;
    const char *delete;
    const char *add;
    int stop_after, calls;
};

static int visit_one(const struct record *r, void *data)
{
    struct visit *s = data;
    strcat(s->text, r->id);
    strcat(s->text, " ");
    assert_int_equal(strlen(r->body), r->body_len);
    for (int i = 0; i < RECORD_KEYS; i++)
        assert_null(r->key[i]);
    if (s->delete) {
        assert_int_equal(record_delete(s->v, RECORD_LEASE, s->delete), 0);
        s->delete = NULL;
    }
    if (s->add) {
        assert_int_equal(put(s->v, s->add, 1, "k", NULL, "new"), 0);
        s->add = NULL;
    }
    return s->stop_after && ++s->calls == s->stop_after ? -ECANCELED : 0;
}

/* A record comes back with its deadline, is replaced whole, and is gone when deleted. */
static void test_put_get_delete(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f->v, "a", "", 0), RECORD_E_NONE);
    assert_int_equal(put(f->v, "a", 5, "u1", NULL, "body"), 0);
    assert_int_equal(get(f->v, "a", "body", 5), 0);
    assert_int_equal(put(f->v, "a", 0, "u2", NULL, ""), 0);
    assert_int_equal(get(f->v, "a", "", 0), 0);
    int64_t n;
    assert_int_equal(record_count(f->v, RECORD_LEASE, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(record_count_key(f->v, RECORD_LEASE, 0, "u1", &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(record_count_key(f->v, RECORD_LEASE, 0, "u2", &n), 0);
    assert_int_equal(n, 1);
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    assert_int_equal(record_get(f->v, RECORD_TOKEN, "a", &b, NULL), RECORD_E_NONE);
    assert_int_equal(record_delete(f->v, RECORD_LEASE, "a"), 0);
    assert_int_equal(record_delete(f->v, RECORD_LEASE, "a"), RECORD_E_NONE);
    fixture_reopen(f);
    assert_int_equal(get(f->v, "a", "", 0), RECORD_E_NONE);
}

/* Due rows come earliest first, up to the given moment, with a limit; 0 is never due. */
static void test_due(void **state)
{
    struct fixture *f = *state;
    int64_t due;
    struct visit s = {0};
    assert_int_equal(record_next_due(f->v, RECORD_LEASE, &due), RECORD_E_NONE);
    assert_int_equal(put(f->v, "c", 30, NULL, NULL, "x"), 0);
    assert_int_equal(put(f->v, "a", 10, NULL, NULL, "x"), 0);
    assert_int_equal(put(f->v, "never", 0, NULL, NULL, "x"), 0);
    assert_int_equal(put(f->v, "b", 20, NULL, NULL, "x"), 0);
    assert_int_equal(put(f->v, "far", INT64_MAX, NULL, NULL, "x"), 0);
    assert_int_equal(record_next_due(f->v, RECORD_LEASE, &due), 0);
    assert_int_equal(due, 10);
    assert_int_equal(record_each_due(f->v, RECORD_LEASE, 30, 0, visit_one, &s), 0);
    assert_string_equal(s.text, "a b c ");
    s = (struct visit){0};
    assert_int_equal(record_each_due(f->v, RECORD_LEASE, 29, 1, visit_one, &s), 0);
    assert_string_equal(s.text, "a ");
    assert_int_equal(put(f->v, "a", 40, NULL, NULL, "x"), 0);
    assert_int_equal(record_next_due(f->v, RECORD_LEASE, &due), 0);
    assert_int_equal(due, 20);
    s = (struct visit){0};
    assert_int_equal(record_each_due(f->v, RECORD_LEASE, 0, 0, visit_one, &s), 0);
    assert_string_equal(s.text, "");
}

/* Indexes find by slot and value, in order of insertion, and the slots are apart. */
static void test_indexes(void **state)
{
    struct fixture *f = *state;
    struct visit s = {0};
    int64_t n;
    assert_int_equal(put(f->v, "3", 0, "u", "m", "x"), 0);
    assert_int_equal(put(f->v, "1", 0, "u", NULL, "x"), 0);
    assert_int_equal(put(f->v, "2", 0, "w", "u", "x"), 0);
    assert_int_equal(put(f->v, "3", 9, "u", "m", "replaced, keeps its place"), 0);
    assert_int_equal(record_each_key(f->v, RECORD_LEASE, 0, "u", 0, visit_one, &s), 0);
    assert_string_equal(s.text, "3 1 ");
    s = (struct visit){0};
    assert_int_equal(record_each_key(f->v, RECORD_LEASE, 1, "u", 0, visit_one, &s), 0);
    assert_string_equal(s.text, "2 ");
    s = (struct visit){0};
    assert_int_equal(record_each(f->v, RECORD_LEASE, 2, visit_one, &s), 0);
    assert_string_equal(s.text, "3 1 ");
    assert_int_equal(record_count_key(f->v, RECORD_LEASE, 0, "u", &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(record_count_key(f->v, RECORD_LEASE, 3, "u", &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(record_each_key(f->v, RECORD_LEASE, 4, "u", 0, visit_one, &s), -EINVAL);
    assert_int_equal(record_count_key(f->v, RECORD_LEASE, 4, "u", &n), -EINVAL);
    s = (struct visit){.stop_after = 2};
    assert_int_equal(record_each(f->v, RECORD_LEASE, 0, visit_one, &s), -ECANCELED);
    assert_string_equal(s.text, "3 1 ");
}

/* The planner answers every visit from an index, so that a million rows are no scan. */
static void test_plans(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *sql, *index;
    } rows[] = {
        {"SELECT n, id FROM lease WHERE due > 0 AND due <= ?2 ORDER BY due, n LIMIT ?1",
         "lease_due"},
        {"SELECT due FROM lease WHERE due > 0 ORDER BY due LIMIT 1", "lease_due"},
        {"SELECT n, id FROM lease WHERE k0 = ?2 ORDER BY n LIMIT ?1", "lease_k0"},
        {"SELECT count(*) FROM lease WHERE k3 = ?1", "lease_k3"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char sql[256];
        sqlite3_stmt *st;
        snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", rows[i].sql);
        assert_int_equal(sqlite3_prepare_v2(f->v->store.db, sql, -1, &st, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(st), SQLITE_ROW);
        const char *plan = (const char *)sqlite3_column_text(st, 3);
        if (!strstr(plan, rows[i].index))
            fail_msg("%s: %s", rows[i].sql, plan);
        assert_int_equal(sqlite3_step(st), SQLITE_DONE); /* no sorting step */
        sqlite3_finalize(st);
    }
}

/* Ids and index values are 1..1200 bytes, bodies at most 256 KiB, tables and slots are known ones.
 */
static void test_limits(void **state)
{
    struct fixture *f = *state;
    static char id[RECORD_ID_MAX + 2], body[RECORD_BODY_MAX + 1];
    memset(id, 'i', RECORD_ID_MAX + 1);
    memset(body, 'b', sizeof(body));
    assert_int_equal(put(f->v, id, 0, NULL, NULL, "x"), -EINVAL);
    assert_int_equal(put(f->v, "", 0, NULL, NULL, "x"), -EINVAL);
    assert_int_equal(put(f->v, "a", 0, "", NULL, "x"), -EINVAL);
    assert_int_equal(put(f->v, "a", 0, id, NULL, "x"), -EINVAL);
    assert_int_equal(get(f->v, "", "", 0), -EINVAL);
    id[RECORD_ID_MAX] = '\0';
    assert_int_equal(put(f->v, id, 0, id, NULL, "x"), 0);
    assert_int_equal(get(f->v, id, "x", 0), 0);
    struct record r = {.id = "b", .body = body, .body_len = RECORD_BODY_MAX + 1};
    assert_int_equal(record_put(f->v, RECORD_LEASE, &r), -EMSGSIZE);
    r.body_len = RECORD_BODY_MAX;
    assert_int_equal(record_put(f->v, RECORD_LEASE, &r), 0);
    _cleanup_buf_ struct buf b = BUF_INIT(RECORD_BODY_MAX);
    assert_int_equal(record_get(f->v, RECORD_LEASE, "b", &b, NULL), 0);
    assert_int_equal(b.len, RECORD_BODY_MAX);
    struct visit s = {0};
    assert_int_equal(record_each_due(f->v, RECORD_TABLES, 1, 0, visit_one, &s), -EINVAL);
    assert_int_equal(record_put(f->v, (enum record_table) - 1, &r), -EINVAL);
}

/* fn may delete rows that are still to come and add others: those gone are passed over, and a new
 * row that took over a deleted one's place in the file is not mistaken for it. */
static void test_change_while_visiting(void **state)
{
    struct fixture *f = *state;
    struct visit s = {.v = f->v, .delete = "c", .add = "d"};
    assert_int_equal(put(f->v, "a", 1, "k", NULL, "x"), 0);
    assert_int_equal(put(f->v, "b", 2, "k", NULL, "x"), 0);
    assert_int_equal(put(f->v, "c", 3, "k", NULL, "x"), 0);
    assert_int_equal(record_each_key(f->v, RECORD_LEASE, 0, "k", 0, visit_one, &s), 0);
    assert_string_equal(s.text, "a b ");
    s = (struct visit){.v = f->v, .delete = "a"};
    assert_int_equal(record_each_due(f->v, RECORD_LEASE, 9, 0, visit_one, &s), 0);
    assert_string_equal(s.text, "a d b ");
}

static int seal_it(const struct record *r, void *data)
{
    (void)r;
    vault_seal(data);
    return 0;
}

/* Sealing in the middle of a visit ends it with an error. */
static void test_seal_while_visiting(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put(f->v, "a", 1, NULL, NULL, "x"), 0);
    assert_int_equal(put(f->v, "b", 2, NULL, NULL, "x"), 0);
    assert_int_equal(record_each(f->v, RECORD_LEASE, 0, seal_it, f->v), -EACCES);
}

/* Every plain column is authenticated: changing any of them, or exchanging rows, is noticed. */
static void test_tampering(void **state)
{
    struct fixture *f = *state;
    static const char *const changes[] = {
        "UPDATE lease SET due = 6 WHERE n = 1",
        "UPDATE lease SET due = 0 WHERE n = 1",
        "UPDATE lease SET due = -5 WHERE n = 1",
        "UPDATE lease SET k0 = NULL WHERE n = 1",
        "UPDATE lease SET k0 = k1 WHERE n = 1",
        "UPDATE lease SET k1 = zeroblob(32) WHERE n = 1",
        "UPDATE lease SET k1 = x'00' WHERE n = 1",
        "UPDATE lease SET k2 = zeroblob(32) WHERE n = 1",
        "UPDATE lease SET k3 = k0 WHERE n = 1",
        "UPDATE lease SET k0 = (SELECT k0 FROM lease WHERE n = 2) WHERE n = 1",
        "UPDATE lease SET body = (SELECT body FROM lease WHERE n = 2) WHERE n = 1",
        "UPDATE lease SET body = x'' WHERE n = 1",
        "UPDATE lease SET body = substr(body, 1, 40) WHERE n = 1",
        "UPDATE lease SET body = CAST(body || x'00' AS BLOB) WHERE n = 1",
        "UPDATE lease SET body = CAST(x'01000000' || substr(body, 5) AS BLOB) WHERE n = 1",
        "UPDATE lease SET body = CAST(x'ffffffff' || substr(body, 5) AS BLOB) WHERE n = 1",
        "UPDATE lease SET body = CAST(x'00000000' || substr(body, 5) AS BLOB) WHERE n = 1",
        /* the other's row under this one's name */
        ("UPDATE lease SET due = 9, k0 = (SELECT k0 FROM lease WHERE n = 2), k1 = NULL,"
         " body = (SELECT body FROM lease WHERE n = 2) WHERE n = 1"),
        /* the same id's row of another table */
        "UPDATE lease SET body = (SELECT body FROM token WHERE n = 1) WHERE n = 1",
    };
    assert_int_equal(vault_rotate(f->v), 0);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        struct visit s = {0};
        struct record twin = {.id = "one", .due = 5, .key = {"u", "m"}, .body = "1", .body_len = 1};
        assert_int_equal(record_put(f->v, RECORD_TOKEN, &twin), 0);
        assert_int_equal(put(f->v, "one", 5, "u", "m", "1"), 0);
        assert_int_equal(put(f->v, "two", 9, "w", NULL, "2"), 0);
        vault_close(f->v);
        f->v = NULL;
        fixture_sql(f, changes[i]);
        fixture_reopen(f);
        if (get(f->v, "one", "1", 5) != -EBADMSG)
            fail_msg("not noticed: %s", changes[i]);
        assert_int_equal(get(f->v, "two", "2", 9), 0);
        assert_int_equal(record_each(f->v, RECORD_LEASE, 0, visit_one, &s), -EBADMSG);
        assert_string_equal(s.text, "");
    }
    /* A row under another's id hash: found, and refused. */
    assert_int_equal(record_delete(f->v, RECORD_LEASE, "one"), 0);
    assert_int_equal(put(f->v, "three", 1, NULL, NULL, "3"), 0);
    vault_close(f->v);
    f->v = NULL;
    fixture_sql(f, "CREATE TEMP TABLE t AS SELECT n, id FROM lease;"
                   "UPDATE lease SET id = zeroblob(32) WHERE n = 2;"
                   "UPDATE lease SET id = (SELECT id FROM t WHERE n = 2) WHERE n = 3;"
                   "UPDATE lease SET id = (SELECT id FROM t WHERE n = 3) WHERE n = 2;");
    fixture_reopen(f);
    assert_int_equal(get(f->v, "two", "", 0), -EBADMSG);
    assert_int_equal(get(f->v, "three", "", 0), -EBADMSG);
}

struct passing {
    char text[64];
    size_t broken;
    const char *nonsense;
};

static int pass_one(const struct record *r, void *data)
{
    struct passing *p = data;
    if (p->nonsense && strcmp(r->id, p->nonsense) == 0)
        return RECORD_E_BROKEN;
    strncat(p->text, r->id, sizeof(p->text) - strlen(p->text) - 1);
    return 0;
}

static void behind_its_back(struct fixture *f, const char *sql)
{
    vault_close(f->v);
    f->v = NULL;
    fixture_sql(f, sql);
    fixture_reopen(f);
}

/* Rows that somebody changed hold up neither the queue nor a visit that must go on; they are
 * counted, told in the log, and leave the queue; strict visits go on failing at them. */
static void test_pass_over(void **state)
{
    struct fixture *f = *state;
    static const char *const ids[] = {"a", "b", "c", "d", "e", "f"};
    static const char *const changes[] = {
        "UPDATE lease SET due = 1 WHERE n = 1",
        "UPDATE lease SET body = zeroblob(2000000) WHERE n = 2",
        "UPDATE lease SET id = x'00' WHERE n = 3",
        "UPDATE lease SET k1 = x'00' WHERE n = 4",
    };
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        assert_int_equal(put(f->v, ids[i], 10 + (int64_t)i, "u", NULL, "x"), 0);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++)
        behind_its_back(f, changes[i]);
    struct passing p = {0};
    assert_int_equal(record_each_due(f->v, RECORD_LEASE, 99, 0, pass_one, &p), -EBADMSG);
    assert_string_equal(p.text, "");
    assert_int_equal(record_pass(f->v, RECORD_LEASE, 0, pass_one, &p, &p.broken), 0);
    assert_string_equal(p.text, "ef");
    assert_int_equal(p.broken, 4);
    p = (struct passing){0};
    assert_int_equal(record_pass_key(f->v, RECORD_LEASE, 0, "u", 0, pass_one, &p, &p.broken), 0);
    assert_string_equal(p.text, "ef");
    assert_int_equal(p.broken, 4);
    /* a full page of broken ones must not be the same page next time */
    for (int i = 0; i < 2; i++) {
        p = (struct passing){0};
        assert_int_equal(record_pass_due(f->v, RECORD_LEASE, 99, 2, pass_one, &p, &p.broken), 0);
        assert_string_equal(p.text, "");
        assert_int_equal(p.broken, 2);
    }
    int64_t due;
    assert_int_equal(record_next_due(f->v, RECORD_LEASE, &due), 0);
    assert_int_equal(due, 14);
    /* parked rows stay what they are, over a restart too: found broken when read */
    fixture_reopen(f);
    p = (struct passing){.nonsense = "e"};
    assert_int_equal(vault_begin(f->v), 0);
    assert_int_equal(record_pass_due(f->v, RECORD_LEASE, 99, 0, pass_one, &p, &p.broken), 0);
    assert_string_equal(p.text, "f");
    assert_int_equal(p.broken, 1);
    assert_int_equal(record_passed_over(f->v), 1);
    assert_int_equal(vault_commit(f->v), 0);
    assert_int_equal(get(f->v, "b", "x", 11), -EBADMSG);
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    size_t n;
    char *log = fixture_read(f->log, &n);
    assert_non_null(log);
    assert_non_null(strstr(log, "\"event\":\"broken rows\",\"table\":\"lease\",\"broken\":1,"
                                "\"rows\":[5]"));
    free(log);
}

/* What is not the row's fault still ends a passing visit. */
static void test_pass_stops(void **state)
{
    struct fixture *f = *state;
    size_t broken = 7;
    assert_int_equal(put(f->v, "a", 1, NULL, NULL, "x"), 0);
    assert_int_equal(record_pass(f->v, RECORD_LEASE, 0, seal_it, f->v, &broken), 0);
    assert_int_equal(broken, 0);
    assert_int_equal(record_pass(f->v, RECORD_LEASE, 0, seal_it, f->v, &broken), -EACCES);
    fixture_reopen(f);
    assert_int_equal(vault_begin(f->v), 0);
    assert_int_equal(put(f->v, "b", 2, NULL, NULL, "x"), 0);
    assert_int_equal(record_pass(f->v, RECORD_LEASE, 0, seal_it, f->v, NULL), -EACCES);
    vault_rollback(f->v);
}

/* Every single byte of a sealed body counts. */
static void test_every_byte(void **state)
{
    struct fixture *f = *state;
    char sql[160];
    assert_int_equal(put(f->v, "a", 5, "u", NULL, "abc"), 0);
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_prepare_v2(f->v->store.db, "SELECT body FROM lease", -1, &st, NULL),
                     0);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int n = sqlite3_column_bytes(st, 0);
    uint8_t body[256];
    assert_in_range(n, 40, sizeof(body));
    memcpy(body, sqlite3_column_blob(st, 0), (size_t)n);
    sqlite3_finalize(st);
    for (int i = 0; i <= n; i++) {
        if (i < n)
            body[i] ^= 0x10;
        snprintf(sql, sizeof(sql), "UPDATE lease SET body = ?1");
        assert_int_equal(sqlite3_prepare_v2(f->v->store.db, sql, -1, &st, NULL), SQLITE_OK);
        sqlite3_bind_blob(st, 1, body, n, SQLITE_STATIC);
        assert_int_equal(sqlite3_step(st), SQLITE_DONE);
        sqlite3_finalize(st);
        assert_int_equal(get(f->v, "a", "abc", 5), i < n ? -EBADMSG : 0);
        if (i < n)
            body[i] ^= 0x10;
    }
}

/* JSON bodies. */
static void test_json(void **state)
{
    struct fixture *f = *state;
    json_t *j = NULL;
    assert_int_equal(put(f->v, "j", 0, NULL, NULL, "{\"a\":1}"), 0);
    assert_int_equal(put(f->v, "bad", 0, NULL, NULL, "{\"a\":1} x"), 0);
    assert_int_equal(record_get_json(f->v, RECORD_LEASE, "j", &j), 0);
    assert_int_equal(json_int(j, "a", 0), 1);
    json_decref(j);
    assert_int_equal(record_get_json(f->v, RECORD_LEASE, "none", &j), RECORD_E_NONE);
    assert_int_equal(record_get_json(f->v, RECORD_LEASE, "bad", &j), -EBADMSG);
    assert_null(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_put_get_delete),
        FIXTURE_TEST(test_due),
        FIXTURE_TEST(test_indexes),
        FIXTURE_TEST(test_plans),
        FIXTURE_TEST(test_limits),
        FIXTURE_TEST(test_change_while_visiting),
        FIXTURE_TEST(test_seal_while_visiting),
        FIXTURE_TEST(test_tampering),
        FIXTURE_TEST(test_pass_over),
        FIXTURE_TEST(test_pass_stops),
        FIXTURE_TEST(test_every_byte),
        FIXTURE_TEST(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
