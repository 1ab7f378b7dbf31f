/* Row keys that are remembered: always what the hash of this very name is, and nothing after
 * sealing.
 */
#include "vault_fixture.h"

static void join_hash(struct fixture *f, enum keyring_name kind, const char *a, const char *b,
                      uint8_t out[KEYRING_HASH])
{
    struct keyring_part parts[] = {{a, strlen(a)}, {b, strlen(b)}};
    const char *personal = kind == KEYRING_NAME_ENTRY ? "entry" : "record";
    known_hash(&f->v->known, f->v->ring, kind, personal, parts, 2, out);
}

static void assert_right(struct fixture *f, enum keyring_name kind, const char *a, const char *b)
{
    uint8_t want[KEYRING_HASH], got[KEYRING_HASH];
    struct keyring_part parts[] = {{a, strlen(a)}, {b, strlen(b)}};
    const char *personal = kind == KEYRING_NAME_ENTRY ? "entry" : "record";
    keyring_hash(f->v->ring, kind, personal, parts, 2, want);
    for (int i = 0; i < 2; i++) {
        join_hash(f, kind, a, b, got);
        assert_memory_equal(got, want, sizeof(want));
    }
}

static bool lies_in(const struct known *m, const char *text)
{
    return memmem(m, sizeof(*m), text, strlen(text)) != NULL;
}

/* Goal: the first answer and the remembered one are the hash; kinds, names and beginnings of names
 * are told apart. */
static void test_same_as_hash(void **state)
{
    struct fixture *f = *state;
    assert_right(f, KEYRING_NAME_ENTRY, "space", "a/b");
    assert_right(f, KEYRING_NAME_RECORD, "space", "a/b");
    assert_right(f, KEYRING_NAME_ENTRY, "space", "a/b");
    assert_right(f, KEYRING_NAME_ENTRY, "space", "a/");
    assert_right(f, KEYRING_NAME_ENTRY, "space", "a/bc");
    assert_right(f, KEYRING_NAME_ENTRY, "other", "a/b");
    assert_true(lies_in(&f->v->known, "spacea/bc"));
}

/* Goal: more names than there are slots push each other out, and are never taken for each other. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    char name[32];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3 * KNOWN_SLOTS; i++) {
            snprintf(name, sizeof(name), "k%d", i);
            assert_right(f, i % 2 ? KEYRING_NAME_ENTRY : KEYRING_NAME_RECORD, "s", name);
        }
    }
}

/* Goal: a name that fits to the byte is kept, a longer one and an empty one are hashed each time.
 */
static void test_lengths(void **state)
{
    struct fixture *f = *state;
    char name[2 * KNOWN_TEXT_MAX];
    memset(name, 'x', sizeof(name));
    name[KNOWN_TEXT_MAX - 1] = '\0';
    assert_right(f, KEYRING_NAME_ENTRY, "s", name);
    assert_true(lies_in(&f->v->known, name));
    known_clear(&f->v->known);
    name[KNOWN_TEXT_MAX - 1] = 'x';
    name[sizeof(name) - 1] = '\0';
    assert_right(f, KEYRING_NAME_ENTRY, "s", name);
    assert_right(f, KEYRING_NAME_ENTRY, "", "");
    assert_false(f->v->known.any);
}

/* Goal: what was written, taken back and rolled back is found under its name as before: two mounts
 * with the same path, too. */
static void test_rows(void **state)
{
    struct fixture *f = *state;
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    assert_int_equal(entry_put(f->v, "one", "p", "1", 1), 0);
    assert_int_equal(vault_begin(f->v), 0);
    assert_int_equal(vault_mark(f->v), 0);
    assert_int_equal(entry_put(f->v, "two", "p", "2", 1), 0);
    assert_int_equal(entry_delete(f->v, "one", "p"), 0);
    assert_int_equal(vault_undo(f->v), 0);
    assert_int_equal(entry_get(f->v, "two", "p", &b), ENTRY_E_NONE);
    assert_int_equal(entry_put(f->v, "two", "p", "3", 1), 0);
    vault_rollback(f->v);
    assert_int_equal(entry_get(f->v, "two", "p", &b), ENTRY_E_NONE);
    assert_int_equal(entry_get(f->v, "one", "p", &b), 0);
    assert_string_equal(buf_str(&b), "1");
}

/* Goal: sealing leaves no name behind; another store's key gives other hashes afterwards. */
static void test_sealed(void **state)
{
    struct fixture *f = *state;
    static const struct known none;
    uint8_t before[KEYRING_HASH], after[KEYRING_HASH];
    struct keyring *other = keyring_new();
    assert_non_null(other);
    join_hash(f, KEYRING_NAME_ENTRY, "space", "a/b", before);
    vault_seal(f->v);
    assert_memory_equal(&f->v->known, &none, sizeof(none));
    f->v->ring = other;
    assert_right(f, KEYRING_NAME_ENTRY, "space", "a/b");
    join_hash(f, KEYRING_NAME_ENTRY, "space", "a/b", after);
    assert_memory_not_equal(before, after, sizeof(after));
    vault_seal(f->v);
}

/* Goal: a new data key changes no row's key. */
static void test_rotated(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(entry_put(f->v, "space", "a/b", "1", 1), 0);
    assert_int_equal(vault_rotate(f->v), 0);
    assert_right(f, KEYRING_NAME_ENTRY, "space", "a/b");
}

/* Goal: the text of a token, which is hashed for its purpose, never lies here. */
static void test_no_secrets(void **state)
{
    struct fixture *f = *state;
    uint8_t k[VAULT_HASH_LEN];
    assert_int_equal(vault_hash(f->v, "token", "hvs.secret", 10, k), 0);
    assert_int_equal(entry_put(f->v, "space", "a", "the value", 9), 0);
    assert_false(lies_in(&f->v->known, "hvs.secret"));
    assert_false(lies_in(&f->v->known, "the value"));
    assert_true(lies_in(&f->v->known, "spacea"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_as_hash, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_many, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_lengths, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_rows, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_sealed, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_rotated, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(test_no_secrets, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
