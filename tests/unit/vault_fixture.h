/* What the vault's tests share: a scratch folder with a store in it, and small conveniences. */
#ifndef COUNTERSIGN_TESTS_VAULT_FIXTURE_H
#define COUNTERSIGN_TESTS_VAULT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vault/audit.h"
#include "vault/entry.h"
#include "vault/inner.h"
#include "vault/record.h"
#include "vault/vault.h"

static const uint8_t fixture_key[VAULT_KEY_LEN] = "unseal key of the vault's tests";

struct fixture {
    char dir[64];
    char db[96];
    char log[96];
    struct vault *v;
    uint8_t root[VAULT_KEY_LEN];
};

static inline int fixture_remove_one(const char *path, const struct stat *st, int type,
                                     struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void fixture_reopen(struct fixture *f)
{
    char why[256];
    vault_close(f->v);
    f->v = NULL;
    int r = vault_open(f->db, &f->v, why, sizeof(why));
    if (r < 0)
        fail_msg("vault_open: %s (%s)", strerror(-r), why);
    assert_int_equal(vault_unseal(f->v, fixture_key), 0);
}

static inline int fixture_setup(void **state)
{
    char why[256];
    struct fixture *f = calloc(1, sizeof(*f));
    json_init();
    strcpy(f->dir, "/tmp/countersign-vault-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    snprintf(f->db, sizeof(f->db), "%s/agent.db", f->dir);
    snprintf(f->log, sizeof(f->log), "%s/audit.log", f->dir);
    *state = f;
    if (vault_open(f->db, &f->v, why, sizeof(why)) < 0)
        return -1;
    return vault_init(f->v, fixture_key, 5, 3, f->root);
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    vault_close(f->v);
    nftw(f->dir, fixture_remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

#define FIXTURE_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

/* A whole file; *n is its length. Free it. */
static inline char *fixture_read(const char *path, size_t *n)
{
    FILE *f = fopen(path, "re");
    *n = 0;
    if (!f)
        return NULL;
    size_t cap = 1 << 16;
    char *p = malloc(cap + 1);
    size_t got;
    while (p && (got = fread(p + *n, 1, cap - *n, f)) > 0) {
        *n += got;
        if (*n == cap)
            p = realloc(p, (cap *= 2) + 1);
    }
    fclose(f);
    if (p)
        p[*n] = '\0';
    return p;
}

static inline void fixture_write(const char *path, const char *p, size_t n)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Runs SQL on the (closed) store's file behind its back. */
static inline void fixture_sql(struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;
    char *error = NULL;
    assert_int_equal(sqlite3_open_v2(f->db, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s: %s", sql, error);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static inline void fixture_put(struct vault *v, const char *path, const char *value)
{
    assert_int_equal(entry_put(v, "kv", path, value, strlen(value)), 0);
}

/* What entry_get() returns, after checking that the value is the expected one when it is 0. */
static inline int fixture_get(struct vault *v, const char *path, const char *want)
{
    _cleanup_buf_ struct buf b = BUF_INIT(ENTRY_VALUE_MAX);
    int r = entry_get(v, "kv", path, &b);
    if (r == 0)
        assert_string_equal(buf_str(&b), want);
    return r;
}

/* One turn with one audit line and nothing else. */
static inline void fixture_line(struct vault *v, const char *what)
{
    json_t *fields = json_pack("{s:s}", "what", what);
    assert_non_null(fields);
    bool own = !vault_in_turn(v);
    if (own)
        assert_int_equal(vault_begin(v), 0);
    assert_int_equal(audit_append(v, "request", fields), 0);
    if (own)
        assert_int_equal(vault_commit(v), 0);
    json_decref(fields);
}

#endif
