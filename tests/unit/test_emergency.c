/* Emergency codes: their form, what they catch, and their life in the store. */
#include "vault_fixture.h"

#include "base/clock.h"
#include "identity/emergency.h"
#include "server/break_glass.h"

/* Goal: a code is read however it is written: capitals, spaces, and o, i, l for the digits. */
static void test_form(void **state)
{
    char text[EMERGENCY_TEXT + 1], code[EMERGENCY_CODE + 1], again[EMERGENCY_CODE + 1];
    (void)state;
    for (int i = 0; i < 200; i++) {
        char loud[3 * EMERGENCY_TEXT] = " ";
        emergency_new(text);
        assert_int_equal(strlen(text), EMERGENCY_TEXT);
        assert_int_equal(emergency_parse(text, code), 0);
        assert_int_equal(strlen(code), EMERGENCY_CODE);
        for (size_t k = 0; k < strlen(text); k++) {
            char c = text[k] == '1' ? "lIi1"[i % 4] : text[k] == '0' ? "oO0"[i % 3] : text[k];
            char both[3] = {c >= 'a' && c <= 'z' && i % 2 ? (char)(c - 32) : c, ' ', '\0'};
            strcat(loud, both);
        }
        assert_int_equal(emergency_parse(loud, again), 0);
        assert_string_equal(code, again);
    }
}

/* Goal: every single wrong character and every swap of two different ones is called a typo, and
 * what has another length or alphabet is called something else. */
static void test_typos(void **state)
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    static const char *const others[] = {"",          "123456",
                                         "u",         "abcd-efgh-jkmn-pqrs",
                                         "ABCDEFGHU", "zzzz-zzzz-zzzz-zzzz-zzzz-z",
                                         "häßlich",   "7k3m-q2xw-7k3m-q2xw-7k3u",
                                         "7k3m\tq2xw"};
    char text[EMERGENCY_TEXT + 1], code[EMERGENCY_CODE + 1], out[EMERGENCY_CODE + 1];
    (void)state;
    emergency_new(text);
    assert_int_equal(emergency_parse(text, code), 0);
    for (size_t i = 0; i < EMERGENCY_CODE; i++) {
        char bad[EMERGENCY_CODE + 1];
        memcpy(bad, code, sizeof(bad));
        for (size_t c = 0; c < 32; c++) {
            bad[i] = alphabet[c];
            assert_int_equal(emergency_parse(bad, out), bad[i] == code[i] ? 0 : EMERGENCY_E_TYPO);
        }
        for (size_t k = 0; k < i; k++) {
            memcpy(bad, code, sizeof(bad));
            bad[i] = code[k];
            bad[k] = code[i];
            assert_int_equal(emergency_parse(bad, out), code[i] == code[k] ? 0 : EMERGENCY_E_TYPO);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_int_equal(emergency_parse(others[i], out), EMERGENCY_E_OTHER);
    char endless[1024];
    memset(endless, '-', sizeof(endless));
    endless[1023] = '\0';
    assert_int_equal(emergency_parse(endless, out), EMERGENCY_E_OTHER);
}

/* --- In the store -------------------------------------------------------------------------------
 */

static void make(struct fixture *f, const char *user, unsigned n, char codes[][EMERGENCY_CODE + 1])
{
    json_t *list = NULL;
    assert_int_equal(break_glass_make(f->v, user, n, clock_wall_ms(), &list), 0);
    assert_int_equal(json_array_size(list), n);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(emergency_parse(json_str(json_array_get(list, i), "code"), codes[i]), 0);
    json_decref(list);
}

/* In a turn of its own, as a login's step. */
static int spend(struct fixture *f, const char *user, bool known, const char *code)
{
    json_t *line = json_pack("{s:s, s:s, s:s}", "event", "x", "service", "sshd", "source", "local");
    assert_int_equal(vault_begin(f->v), 0);
    int r = break_glass_spend(f->v, user, known, code, line, clock_wall_ms());
    assert_int_equal(vault_commit(f->v), 0);
    json_decref(line);
    return r;
}

static size_t left(struct fixture *f)
{
    struct break_glass_summary sum;
    assert_int_equal(break_glass_summary(f->v, &sum), 0);
    return sum.left;
}

/* Goal: a code opens once, for its person alone, sealed or not, and is still used after the store
 * was opened again; a new set voids the one before. */
static void test_spend(void **state)
{
    struct fixture *f = *state;
    char ada[4][EMERGENCY_CODE + 1], bea[1][EMERGENCY_CODE + 1];
    make(f, "ada", 4, ada);
    make(f, "bea", 1, bea);
    assert_int_equal(left(f), 5);
    assert_int_equal(spend(f, "bea", true, ada[0]), BREAK_GLASS_E_WRONG);
    assert_int_equal(spend(f, "ada", false, ada[0]), BREAK_GLASS_E_WRONG);
    assert_int_equal(spend(f, "ada", true, ada[0]), 0);
    assert_int_equal(spend(f, "ada", true, ada[0]), BREAK_GLASS_E_USED);
    vault_seal(f->v);
    assert_int_equal(left(f), 4);
    assert_int_equal(spend(f, "ada", true, ada[0]), BREAK_GLASS_E_USED);
    assert_int_equal(spend(f, "bea", true, ada[1]), BREAK_GLASS_E_WRONG);
    assert_int_equal(spend(f, "ada", true, ada[1]), 0);
    assert_int_equal(spend(f, "ada", true, ada[1]), BREAK_GLASS_E_USED);
    fixture_reopen(f);
    assert_int_equal(spend(f, "ada", true, ada[1]), BREAK_GLASS_E_USED);
    assert_int_equal(left(f), 3);
    char fresh[2][EMERGENCY_CODE + 1];
    make(f, "ada", 2, fresh);
    assert_int_equal(left(f), 3);
    assert_int_equal(spend(f, "ada", true, ada[2]), BREAK_GLASS_E_WRONG);
    assert_int_equal(spend(f, "ada", true, fresh[1]), 0);
    size_t n;
    assert_int_equal(break_glass_revoke(f->v, "ada", &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(spend(f, "ada", true, fresh[0]), BREAK_GLASS_E_WRONG);
    assert_int_equal(left(f), 1);
}

/* Goal: the store's file holds no code, and neither does what is listed. */
static void test_nothing_readable(void **state)
{
    struct fixture *f = *state;
    char codes[1][EMERGENCY_CODE + 1];
    size_t n;
    json_t *list = NULL;
    make(f, "ada", 1, codes);
    assert_int_equal(break_glass_list(f->v, &list), 0);
    const json_t *o = json_array_get(list, 0);
    assert_null(json_object_get(o, "hash"));
    assert_null(json_object_get(o, "salt"));
    assert_true(json_bool(o, "genuine", false));
    json_decref(list);
    vault_close(f->v);
    f->v = NULL;
    char *p = fixture_read(f->db, &n);
    assert_null(memmem(p, n, codes[0], EMERGENCY_CODE));
    free(p);
}

/* Goal: a use that is taken back with its turn did not happen: the code is still good. */
static void test_taken_back(void **state)
{
    struct fixture *f = *state;
    char codes[1][EMERGENCY_CODE + 1];
    make(f, "ada", 1, codes);
    vault_seal(f->v);
    json_t *line = json_pack("{s:s}", "event", "x");
    assert_int_equal(vault_begin(f->v), 0);
    assert_int_equal(vault_mark(f->v), 0);
    assert_int_equal(break_glass_spend(f->v, "ada", true, codes[0], line, 1), 0);
    assert_int_equal(vault_undo(f->v), 0);
    assert_int_equal(vault_commit(f->v), 0);
    json_decref(line);
    assert_int_equal(left(f), 1);
    assert_int_equal(spend(f, "ada", true, codes[0]), 0);
}

/* Goal: a code that somebody wrote into the file, or handed to another person, opens nothing once
 * there are keys, and is told of. */
static void test_written_by_another(void **state)
{
    struct fixture *f = *state;
    char codes[1][EMERGENCY_CODE + 1], *p;
    _cleanup_buf_ struct buf row = BUF_INIT(65536);
    struct break_glass_summary sum;
    make(f, "ada", 1, codes);
    assert_int_equal(vault_meta_get(f->v, "break-glass", &row), 0);
    p = strstr((char *)row.data, "\"made\":1");
    assert_non_null(p);
    p[7] = '2';
    assert_int_equal(vault_meta_put(f->v, "break-glass", row.data, row.len), 0);
    assert_int_equal(break_glass_summary(f->v, &sum), 0);
    assert_int_equal(sum.strange, 1);
    assert_int_equal(sum.left, 0);
    assert_int_equal(spend(f, "ada", true, codes[0]), BREAK_GLASS_E_WRONG);
}

/* Goal: a row that makes no sense opens nothing and is an error. */
static void test_broken_row(void **state)
{
    struct fixture *f = *state;
    static const char *const rows[] = {"x", "{}", "{\"v\":2,\"codes\":[],\"lines\":[]}",
                                       "{\"v\":1,\"codes\":{},\"lines\":[]}"};
    struct break_glass_summary sum;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(vault_meta_put(f->v, "break-glass", rows[i], strlen(rows[i])), 0);
        assert_true(break_glass_summary(f->v, &sum) < 0);
    }
    static const char odd[] = "{\"v\":1,\"codes\":[1,{},{\"user\":\"ada\",\"salt\":\"zz\"}],"
                              "\"lines\":[]}";
    assert_int_equal(vault_meta_put(f->v, "break-glass", odd, strlen(odd)), 0);
    assert_int_equal(spend(f, "ada", true, "00000000000000000000"), BREAK_GLASS_E_WRONG);
}

/* Goal: a handle is good for its person, service and once; the budgets bind each and all. */
static void test_memory(void **state)
{
    (void)state;
    struct break_glass *b;
    char handle[DIALOGUE_HANDLE_LEN + 1], user[16];
    assert_int_equal(break_glass_new(&b), 0);
    assert_int_equal(break_glass_handle(b, "ada", "sudo", handle), 0);
    assert_false(break_glass_passed(b, "", NULL, "sudo", false));
    assert_true(break_glass_passed(b, handle, "ada", "sudo", false));
    assert_true(break_glass_passed(b, handle, NULL, "sudo", true));
    assert_false(break_glass_passed(b, handle, "ada", "sudo", false));
    assert_int_equal(break_glass_handle(b, "ada", "sudo", handle), 0);
    assert_false(break_glass_passed(b, handle, "ada", "sshd", false));
    assert_false(break_glass_passed(b, handle, "ada", "sudo", false)); /* tried wrongly: gone */
    for (int i = 0; i < BREAK_GLASS_TRIES; i++) {
        assert_true(break_glass_may_try(b, "ada"));
        break_glass_failed(b, "ada");
    }
    assert_false(break_glass_may_try(b, "ada"));
    int more = 0;
    for (; more < 1000; more++) {
        snprintf(user, sizeof(user), "u%d", more);
        if (break_glass_may_try(b, user))
            break_glass_failed(b, user);
    }
    assert_false(break_glass_may_try(b, "somebody else"));
    break_glass_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),   cmocka_unit_test(test_typos),
        FIXTURE_TEST(test_spend),      FIXTURE_TEST(test_nothing_readable),
        FIXTURE_TEST(test_taken_back), FIXTURE_TEST(test_written_by_another),
        FIXTURE_TEST(test_broken_row), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
