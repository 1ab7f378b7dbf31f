/* What the tests of the audit chain and of its export share. */
#ifndef COUNTERSIGN_TESTS_AUDIT_FIXTURE_H
#define COUNTERSIGN_TESTS_AUDIT_FIXTURE_H

#include "vault_fixture.h"

static inline uint64_t head(struct vault *v)
{
    uint64_t seq;
    uint8_t mac[VAULT_HASH_LEN];
    assert_int_equal(audit_head(v, &seq, mac), 0);
    return seq;
}

static inline uint64_t waiting(struct vault *v, int64_t *since)
{
    uint64_t n;
    int64_t s;
    audit_export_state(v, &n, &s);
    if (since)
        *since = s;
    return n;
}

static inline int64_t rows(struct vault *v)
{
    sqlite3_stmt *st;
    assert_int_equal(sqlite3_prepare_v2(v->store.db, "SELECT count(*) FROM audit", -1, &st, NULL),
                     0);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return n;
}

/* Checks a whole text line by line; 0 or the first outcome, with the reason. chain goes on. */
static inline int check_text(struct vault *v, struct audit_chain *chain, const char *text, size_t n,
                             char why[256])
{
    const char *end = text + n;
    while (text < end) {
        const char *nl = memchr(text, '\n', (size_t)(end - text));
        size_t len = (size_t)((nl ? nl : end) - text);
        int r = audit_check(v, chain, text, len, why, 256);
        if (r)
            return r;
        text += len + (nl != NULL);
    }
    return 0;
}

/* The file is whole and ends at seq. */
static inline void expect_whole(struct vault *v, const char *path, uint64_t seq)
{
    size_t n;
    char why[256] = "";
    char *text = fixture_read(path, &n);
    struct audit_chain chain = {0};
    assert_non_null(text);
    if (check_text(v, &chain, text, n, why) != 0)
        fail_msg("%s: %s", path, why);
    assert_int_equal(chain.seq, seq);
    free(text);
}

static inline void lines(struct vault *v, int n)
{
    char what[32];
    for (int i = 0; i < n; i++) {
        snprintf(what, sizeof(what), "line %d", i);
        fixture_line(v, what);
    }
}

/* Lines by their numbers, as a new text. 0 is the header. */
static inline char *arrange(const char *text, const int *order, size_t count)
{
    char *out = calloc(1, 8 * strlen(text) + 1);
    for (size_t i = 0; i < count; i++) {
        const char *p = text;
        for (int k = 0; k < order[i]; k++)
            p = strchr(p, '\n') + 1;
        strncat(out, p, (size_t)(strchr(p, '\n') + 1 - p));
    }
    return out;
}

#endif
