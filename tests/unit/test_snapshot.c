/* vault/snapshot.h */
#include "vault/snapshot.h"

#include "vault_fixture.h"

#define PATH_LEN 256

struct file {
    uint8_t *p;
    size_t n, head;
};

/* A whole snapshot in memory; head is where its first piece begins. */
static struct file save(struct vault *v)
{
    struct snapshot_save *s = NULL;
    struct buf b = BUF_INIT(64 * 1024 * 1024);
    bool last = false;
    int r;
    assert_int_equal(snapshot_save_new(v, &s), 0);
    while ((r = snapshot_save_step(s)) == 1)
        ;
    assert_int_equal(r, 0);
    assert_int_equal(snapshot_save_head(s, "web1", &b), 0);
    struct file f = {.head = b.len};
    assert_int_equal(snapshot_head_length(b.data, b.len), b.len);
    while (!last)
        assert_int_equal(snapshot_save_read(s, 200000, &b, &last), 0);
    snapshot_save_free(s);
    f.n = b.len;
    f.p = (uint8_t *)buf_steal(&b);
    return f;
}

static void copy_path(const struct fixture *f, char out[PATH_LEN])
{
    snprintf(out, PATH_LEN, "%s/copy", f->dir);
}

/* What reading n bytes of it comes to: the first outcome that is not 0. Leaves *out open when all
 * went well. */
static int load(const struct fixture *x, const uint8_t *root, const struct file *f, size_t n,
                struct snapshot_load **out)
{
    char path[PATH_LEN];
    struct snapshot_load *l = NULL;
    copy_path(x, path);
    *out = NULL;
    if (n < f->head)
        return SNAPSHOT_E_NONE;
    int r = snapshot_load_new(path, f->p, f->head, &l);
    if (r == 0)
        r = snapshot_load_key(l, root);
    for (size_t at = f->head; r == 0 && at < n; at += 7001)
        r = snapshot_load_write(l, f->p + at, n - at < 7001 ? n - at : 7001);
    if (r == 0)
        r = snapshot_load_finish(l);
    if (r != 0) {
        snapshot_load_free(l);
        assert_int_equal(access(path, F_OK), -1);
        return r;
    }
    *out = l;
    return 0;
}

static void fill(struct vault *v, int from, int to)
{
    char name[32], value[3000];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (int i = from; i < to; i++) {
        snprintf(name, sizeof(name), "s/%d", i);
        fixture_put(v, name, value);
    }
}

/* Goal: what is stored, and what is written while the copy is made, is there in another store that
 * the root key opens; the keys of the copy are not in the clear. */
static void test_round_trip(void **state)
{
    struct fixture *f = *state;
    struct snapshot_save *s = NULL;
    struct snapshot_load *l = NULL;
    struct vault *v = NULL;
    char why[256] = "";
    bool last = false;
    struct buf b = BUF_INIT(64 * 1024 * 1024);
    fill(f->v, 0, 600);
    fixture_put(f->v, "a", "before");
    assert_int_equal(snapshot_save_new(f->v, &s), 0);
    assert_int_equal(snapshot_save_step(s), 1);
    fixture_put(f->v, "a", "during");
    fill(f->v, 600, 650);
    assert_int_equal(vault_begin(f->v), 0);
    assert_int_equal(snapshot_save_step(s), -EINVAL); /* never in a turn */
    vault_rollback(f->v);
    int r;
    while ((r = snapshot_save_step(s)) == 1)
        ;
    assert_int_equal(r, 0);
    fixture_put(f->v, "a", "after");
    assert_int_equal(snapshot_save_head(s, "web1", &b), 0);
    struct file file = {.head = b.len};
    while (!last)
        assert_int_equal(snapshot_save_read(s, 1, &b, &last), 0);
    assert_true(b.len > (size_t)snapshot_save_bytes(s));
    snapshot_save_free(s);
    file.n = b.len;
    file.p = b.data;
    assert_null(memmem(file.p + file.head, file.n - file.head, "SQLite format", 13));
    assert_int_equal(load(f, f->root, &file, file.n, &l), 0);
    assert_string_equal(json_str(snapshot_load_head(l), "host"), "web1");
    assert_int_equal(snapshot_load_open(l, &v, why, sizeof(why)), 0);
    assert_string_equal(vault_instance(v), vault_instance(f->v));
    assert_int_equal(fixture_get(v, "a", "during"), 0);
    assert_int_equal(entry_delete(v, "kv", "s/649"), 0);
    vault_close(v);
    snapshot_load_free(l);
    buf_clear(&b);
}

/* Goal: nothing is left behind beside the store, whether the snapshot was read to its end or not.
 */
static void test_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct snapshot_save *s = NULL;
    char path[PATH_LEN];
    snprintf(path, sizeof(path), "%s.snapshot", f->db);
    fixture_write(path, "left by a crash", 15);
    assert_int_equal(snapshot_save_new(f->v, &s), 0);
    snapshot_save_free(s);
    assert_int_equal(access(path, F_OK), -1);
    struct file file = save(f->v);
    assert_int_equal(access(path, F_OK), -1);
    free(file.p);
    vault_seal(f->v);
    assert_int_equal(snapshot_save_new(f->v, &s), -EACCES);
}

/* Goal: another root key is told apart from damage, and opens nothing. */
static void test_wrong_key(void **state)
{
    struct fixture *f = *state;
    struct snapshot_load *l;
    uint8_t other[VAULT_KEY_LEN];
    struct file file = save(f->v);
    memcpy(other, f->root, sizeof(other));
    other[31] ^= 1;
    assert_int_equal(load(f, other, &file, file.n, &l), SNAPSHOT_E_KEY);
    free(file.p);
}

/* Goal: one changed bit anywhere, a cut at any place, something behind the end: refused, and no
 * copy is left. */
static void test_damage(void **state)
{
    struct fixture *f = *state;
    struct snapshot_load *l;
    fill(f->v, 0, 40);
    struct file file = save(f->v);
    size_t step = file.n / 97;
    for (size_t at = 0; at < file.n; at += at < file.head + 64 ? 1 : step) {
        file.p[at] ^= 0x10;
        assert_int_not_equal(load(f, f->root, &file, file.n, &l), 0);
        file.p[at] ^= 0x10;
    }
    for (size_t n = file.head; n < file.n; n += step)
        assert_int_equal(load(f, f->root, &file, n, &l), SNAPSHOT_E_DAMAGED);
    assert_int_equal(load(f, f->root, &file, file.n - 1, &l), SNAPSHOT_E_DAMAGED);
    struct file longer = {.p = realloc(file.p, file.n + 1), .n = file.n + 1, .head = file.head};
    assert_non_null(longer.p);
    longer.p[file.n] = 0;
    assert_int_equal(load(f, f->root, &longer, longer.n, &l), SNAPSHOT_E_DAMAGED);
    assert_int_equal(load(f, f->root, &longer, file.n, &l), 0);
    snapshot_load_free(l);
    free(longer.p);
}

/* Goal: pieces that changed places are noticed. */
static void test_swapped_pieces(void **state)
{
    struct fixture *f = *state;
    struct snapshot_load *l;
    const size_t piece = SNAPSHOT_CHUNK + SNAPSHOT_PIECE_MORE;
    fill(f->v, 0, 100);
    struct file file = save(f->v);
    assert_true(file.n > file.head + 2 * piece);
    uint8_t *kept = malloc(piece);
    assert_non_null(kept);
    memcpy(kept, file.p + file.head, piece);
    memmove(file.p + file.head, file.p + file.head + piece, piece);
    memcpy(file.p + file.head + piece, kept, piece);
    assert_int_equal(load(f, f->root, &file, file.n, &l), SNAPSHOT_E_DAMAGED);
    free(kept);
    free(file.p);
}

/* Goal: hostile beginnings are no snapshots: short ones, lengths that lie, JSON that is none, a
 * later format. */
static void test_heads(void **state)
{
    struct fixture *f = *state;
    static const char *const heads[] = {"",
                                        "x",
                                        "{}",
                                        "[]",
                                        "{\"format\":1}",
                                        "{\"format\":\"one\"}",
                                        "{\"format\":1,\"format\":1}"};
    struct snapshot_load *l = NULL;
    char path[PATH_LEN];
    copy_path(f, path);
    assert_int_equal(snapshot_load_new(path, (const uint8_t *)SNAPSHOT_MAGIC, 8, &l),
                     SNAPSHOT_E_NONE);
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(1024);
        buf_puts(&b, SNAPSHOT_MAGIC);
        buf_put_blob(&b, heads[i], strlen(heads[i]));
        memset(buf_extend(&b, 24), 0, 24);
        assert_int_equal(snapshot_load_new(path, b.data, b.len, &l), SNAPSHOT_E_NONE);
        assert_int_equal(snapshot_load_new(path, b.data, b.len - 1, &l), SNAPSHOT_E_NONE);
    }
    _cleanup_buf_ struct buf b = BUF_INIT(1024);
    buf_puts(&b, SNAPSHOT_MAGIC);
    buf_put_blob(&b, "{\"format\":2}", 12);
    memset(buf_extend(&b, 24), 0, 24);
    assert_int_equal(snapshot_load_new(path, b.data, b.len, &l), SNAPSHOT_E_NEWER);
    memset(b.data + 8, 0xff, 4);
    assert_int_equal(snapshot_head_length(b.data, b.len), 0);
    assert_int_equal(access(path, F_OK), -1);
}

/* Goal: a snapshot takes the place of a store: the vault goes on with what it holds, the store
 * before is kept. */
static void test_replace(void **state)
{
    struct fixture *f = *state;
    struct snapshot_load *l = NULL;
    struct vault *v = NULL;
    char aside[512] = "", why[256] = "", copy[PATH_LEN];
    uint8_t key[VAULT_KEY_LEN] = {9};
    copy_path(f, copy);
    fixture_put(f->v, "a", "snapshot");
    struct file file = save(f->v);
    fixture_put(f->v, "a", "later");
    assert_int_equal(load(f, f->root, &file, file.n, &l), 0);
    assert_int_equal(snapshot_load_open(l, &v, why, sizeof(why)), 0);
    assert_int_equal(vault_new_unseal_key(v, key), 0);
    vault_close(v);
    assert_int_equal(snapshot_replace(f->v, l, aside, sizeof(aside), why, sizeof(why)), -EINVAL);
    vault_seal(f->v);
    assert_int_equal(snapshot_replace(f->v, l, aside, sizeof(aside), why, sizeof(why)), 0);
    snapshot_load_free(l);
    assert_int_equal(access(copy, F_OK), -1);
    assert_int_equal(access(aside, F_OK), 0);
    assert_int_equal(vault_state(f->v), VAULT_SEALED);
    assert_int_equal(vault_unseal(f->v, fixture_key), VAULT_E_WRONG_KEY);
    assert_int_equal(vault_unseal(f->v, key), 0);
    assert_int_equal(fixture_get(f->v, "a", "snapshot"), 0);
    assert_int_equal(vault_open(aside, &v, why, sizeof(why)), 0);
    assert_int_equal(vault_unseal(v, fixture_key), 0);
    assert_int_equal(fixture_get(v, "a", "later"), 0);
    vault_close(v);
    free(file.p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_round_trip),     FIXTURE_TEST(test_leaves_nothing),
        FIXTURE_TEST(test_wrong_key),      FIXTURE_TEST(test_damage),
        FIXTURE_TEST(test_swapped_pieces), FIXTURE_TEST(test_heads),
        FIXTURE_TEST(test_replace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
