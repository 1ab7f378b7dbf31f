/* What countersign top makes of the agent's answers, without a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cli/topdata.h"

static json_t *lease(const char *id, const char *state, const char *holder, int ttl)
{
    return json_pack("{s:s, s:s, s:s, s:i, s:{s:s, s:s, s:s}}", "id", id, "state", state,
                     "principal", holder, "ttl", ttl, "lifetime", "kind", "session", "id",
                     "boot/42", "name", "x");
}

static int setup(void **state)
{
    static struct topdata d;
    d = (struct topdata){0};
    d.list[TOPDATA_LEASES] = json_pack("[o, o, o]", lease("db/b", "active", "user:bea", 90),
                                       lease("db/a", "active", "user:ada", 3600),
                                       lease("db/c", "revoking", "user:cal", 10));
    *state = &d;
    return d.list[TOPDATA_LEASES] ? 0 : -1;
}

static int teardown(void **state)
{
    topdata_clear(*state);
    return 0;
}

static void expect(const struct topdata *d, const struct topdata_view *v, const char *want)
{
    char got[64] = "";
    size_t n;
    const json_t **rows = topdata_rows(d, TOPDATA_LEASES, v, &n);
    for (size_t i = 0; i < n; i++)
        strcat(got, strrchr(topdata_id(TOPDATA_LEASES, rows[i]), '/'));
    free(rows);
    assert_string_equal(got, want);
}

/* Goal: numbers are sorted as numbers, texts as texts, either way round. */
static void test_sort(void **state)
{
    struct topdata_view v = {0};
    expect(*state, &v, "/c/b/a");
    v.reverse = true;
    expect(*state, &v, "/a/b/c");
    v = (struct topdata_view){.sort = 2};
    expect(*state, &v, "/a/b/c");
    v.sort = 99;
    expect(*state, &v, "/c/b/a");
}

/* Goal: a filter looks at what is shown, whatever the case, and may leave nothing. */
static void test_filter(void **state)
{
    struct topdata_view v = {.filter = "USER:B"};
    expect(*state, &v, "/b");
    strcpy(v.filter, "session 42");
    expect(*state, &v, "/c/b/a");
    strcpy(v.filter, "nobody");
    expect(*state, &v, "");
}

/* Goal: the time to live runs down between two looks, not below nothing, and only an active lease
 * has one. */
static void test_ttl(void **state)
{
    const struct topdata *d = *state;
    const struct topdata_column *ttl = &topdata_columns(TOPDATA_LEASES)[0];
    char cell[TOPDATA_CELL];
    ttl->cell(json_array_get(d->list[TOPDATA_LEASES], 0), 0, cell);
    assert_string_equal(cell, "1m30s");
    ttl->cell(json_array_get(d->list[TOPDATA_LEASES], 0), 31, cell);
    assert_string_equal(cell, "59s");
    ttl->cell(json_array_get(d->list[TOPDATA_LEASES], 0), 1000, cell);
    assert_string_equal(cell, "0s");
    ttl->cell(json_array_get(d->list[TOPDATA_LEASES], 2), 0, cell);
    assert_string_equal(cell, "-");
}

/* Goal: an answer that lacks what it should have is shown as empty, not read past. */
static void test_nonsense(void **state)
{
    struct topdata *d = *state;
    struct topdata_view v = {0};
    size_t n;
    json_array_append_new(d->list[TOPDATA_LEASES], json_string("no object"));
    json_array_append_new(d->list[TOPDATA_LEASES], json_object());
    const json_t **rows = topdata_rows(d, TOPDATA_LEASES, &v, &n);
    assert_int_equal(n, 5);
    free(rows);
    assert_null(topdata_rows(d, TOPDATA_LOGINS, &v, &n));
    assert_int_equal(n, 0);
}

#define TOP_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TOP_TEST(test_sort), TOP_TEST(test_filter),
                                       TOP_TEST(test_ttl), TOP_TEST(test_nonsense)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
