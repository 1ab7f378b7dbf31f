/* Lease time against jumps of the clock: the rule as a table, and how the anchor is kept. */
#include "vault_fixture.h"

#include "base/clock.h"
#include "lease/deadline.h"

#define A "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"
#define B "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb"
#define W INT64_C(1800000000000) /* the wall clock at boot A */
#define HOUR INT64_C(3600000)
#define DAY (24 * HOUR)
#define META "lease.clock"

/* The anchor of boot A, an hour into it. */
#define STORED                                                                                     \
    {                                                                                              \
        .boot_id = A, .offset_ms = W, .seen_ms = W + HOUR, .settled = true                         \
    }
#define UNSETTLED                                                                                  \
    {                                                                                              \
        .boot_id = A, .offset_ms = W, .seen_ms = W + HOUR                                          \
    }

/* Each way in which boots and clocks can go on from a stored anchor. */
static void test_rule(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct deadline_anchor stored;
        struct deadline_clocks now;
        int64_t lease_ms;
        bool settled;
    } rows[] = {
        {"the first time", {.settled = false}, {A, 5, W, false}, W, true},
        {"time goes by", STORED, {A, 2 * HOUR, W + 2 * HOUR, true}, W + 2 * HOUR, true},
        {"set forward", STORED, {A, 2 * HOUR, W + 900 * DAY, true}, W + 2 * HOUR, true},
        {"set back", STORED, {A, 2 * HOUR, W - 900 * DAY, true}, W + 2 * HOUR, true},
        {"to 1970", STORED, {A, 2 * HOUR, 0, false}, W + 2 * HOUR, true},
        {"boot clock went back", STORED, {A, HOUR / 2, W + HOUR, true}, W + HOUR, true},
        {"off a day", STORED, {B, 5, W + DAY, true}, W + DAY, true},
        {"off a day, it says", STORED, {B, 5, W + DAY, false}, W + HOUR, false},
        {"set back while off", STORED, {B, 5, W - DAY, true}, W + HOUR, true},
        {"to 1970 while off", STORED, {B, 5, 0, false}, W + HOUR, false},
        {"not yet sure", UNSETTLED, {A, 2 * HOUR, W + DAY, false}, W + 2 * HOUR, false},
        {"sure at last", UNSETTLED, {A, 2 * HOUR, W + DAY, true}, W + DAY, true},
        {"sure, and earlier", UNSETTLED, {A, 2 * HOUR, W - DAY, true}, W + 2 * HOUR, true},
        {"boots unknown", STORED, {"unknown", 5, W + DAY, false}, W + DAY, true},
        {"unknown twice",
         {.boot_id = "unknown", .offset_ms = W, .seen_ms = W + HOUR, .settled = true},
         {"unknown", 5, W + DAY, false},
         W + DAY,
         true},
        {"clocks out of range", STORED, {B, INT64_MIN, INT64_MAX, true}, INT64_MAX / 4, true},
        {"clocks out of range", STORED, {B, INT64_MAX, INT64_MIN, true}, W + HOUR, true},
        {"first, out of range", {.settled = false}, {A, -1, INT64_MIN, true}, 0, true},
        {"stored out of range",
         {.boot_id = A, .offset_ms = INT64_MAX / 4, .seen_ms = INT64_MAX / 4, .settled = true},
         {A, INT64_MAX, W, true},
         INT64_MAX / 4,
         true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct deadline_anchor next = deadline_next(&rows[i].stored, &rows[i].now);
        int64_t boot = rows[i].now.boot_ms;
        boot = boot < 0 ? 0 : boot > INT64_MAX / 4 ? INT64_MAX / 4 : boot;
        if (next.seen_ms != rows[i].lease_ms || next.offset_ms + boot != rows[i].lease_ms ||
            next.settled != rows[i].settled || strcmp(next.boot_id, rows[i].now.boot_id) != 0)
            fail_msg("%s (row %zu): lease time %lld, offset %lld, settled %d", rows[i].what, i,
                     (long long)next.seen_ms, (long long)next.offset_ms, next.settled);
    }
}

/* From any state, by any clocks, lease time never goes back, and runs as the boot clock does. */
static void test_never_back(void **state)
{
    (void)state;
    struct deadline_anchor a = STORED;
    uint64_t seed = 12345;
    int64_t boot = HOUR;
    for (int i = 0; i < 20000; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
        unsigned dice = (unsigned)(seed >> 40);
        bool reboot = dice % 16 == 0;
        boot = reboot ? 0 : boot + (dice % 1000);
        struct deadline_clocks now = {
            .boot_id = (reboot ? a.boot_id[0] == 'b' : a.boot_id[0] == 'a') ? A : B,
            .boot_ms = boot,
            .wall_ms = W + (int64_t)(seed % 1000) * HOUR,
            .synchronised = dice & 0x4000};
        struct deadline_anchor next = deadline_next(&a, &now);
        assert_true(next.seen_ms >= a.seen_ms);
        if (!reboot && a.settled)
            assert_int_equal(next.offset_ms, a.offset_ms);
        if (!reboot && !now.synchronised)
            assert_int_equal(next.offset_ms, a.offset_ms);
        a = next;
    }
}

/* A write is due for what changes the rule's outcome, and now and then for the time that went by.
 */
static void test_changed(void **state)
{
    (void)state;
    const struct deadline_anchor stored = STORED;
    struct deadline_anchor next = stored;
    assert_false(deadline_changed(&stored, &next));
    next.seen_ms += DEADLINE_SAVE_MS - 1;
    assert_false(deadline_changed(&stored, &next));
    next.seen_ms++;
    assert_true(deadline_changed(&stored, &next));
    next = stored;
    next.offset_ms++;
    assert_true(deadline_changed(&stored, &next));
    next = stored;
    next.settled = false;
    assert_true(deadline_changed(&stored, &next));
    next = stored;
    strcpy(next.boot_id, B);
    assert_true(deadline_changed(&stored, &next));
}

/* --- In a store ----------------------------------------------------------------------------------
 */

static int setup(void **state)
{
    clock_lease_release();
    return fixture_setup(state);
}

static int teardown(void **state)
{
    clock_lease_release();
    return fixture_teardown(state);
}

#define STORE_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

/* Writes an anchor as the agent would have. */
static void plant(struct vault *v, const char *boot_id, int64_t offset, int64_t seen, bool settled)
{
    _cleanup_buf_ struct buf b = BUF_INIT(256);
    uint8_t hash[VAULT_HASH_LEN];
    buf_put_u8(&b, 1);
    buf_put(&b, boot_id, DEADLINE_BOOT_LEN);
    buf_put_u64(&b, (uint64_t)offset);
    buf_put_u64(&b, (uint64_t)seen);
    buf_put_u8(&b, settled);
    assert_int_equal(vault_hash(v, "lease-clock", b.data, b.len, hash), 0);
    buf_put(&b, hash, sizeof(hash));
    assert_int_equal(buf_error(&b), 0);
    assert_int_equal(vault_meta_put(v, META, b.data, b.len), 0);
}

/* Whether lease time is what it should be, give or take a slow machine. */
static bool near(int64_t lease_ms)
{
    int64_t off = clock_lease_ms() - lease_ms;
    return off >= 0 && off < 30000;
}

/* The first update anchors lease time at the wall clock; a restart of the agent changes nothing. */
static void test_first(void **state)
{
    struct fixture *f = *state;
    int64_t first, again, wall = clock_wall_ms();
    assert_int_equal(deadline_update(f->v), 0);
    assert_true(clock_lease_anchored(&first));
    assert_true(near(wall));
    clock_lease_release();
    fixture_reopen(f);
    assert_int_equal(deadline_update(f->v), 0);
    assert_true(clock_lease_anchored(&again));
    assert_int_equal(first, again);
}

/* In this boot the stored offset counts, whatever the wall clock says by now. */
static void test_same_boot(void **state)
{
    struct fixture *f = *state;
    int64_t offset, ahead = clock_wall_ms() - clock_boot_ms() + 5 * DAY;
    if (strlen(clock_boot_id()) != DEADLINE_BOOT_LEN)
        skip();
    plant(f->v, clock_boot_id(), ahead, clock_boot_ms() + ahead, true);
    assert_int_equal(deadline_update(f->v), 0);
    assert_true(clock_lease_anchored(&offset));
    assert_int_equal(offset, ahead);
    /* a write that failed, or a row put back, takes no time back from this process */
    plant(f->v, clock_boot_id(), ahead - HOUR, clock_boot_ms() + ahead - HOUR, true);
    assert_int_equal(deadline_update(f->v), 0);
    assert_true(clock_lease_anchored(&offset));
    assert_int_equal(offset, ahead);
}

/* An orderly end keeps how far lease time came, though nothing else is worth a write. */
static void test_rest(void **state)
{
    struct fixture *f = *state;
    int64_t ahead = clock_wall_ms() - clock_boot_ms() + 5 * DAY;
    _cleanup_buf_ struct buf before = BUF_INIT(1024), same = BUF_INIT(1024), after = BUF_INIT(1024);
    if (strlen(clock_boot_id()) != DEADLINE_BOOT_LEN)
        skip();
    plant(f->v, clock_boot_id(), ahead, clock_boot_ms() + ahead - 1000, true);
    assert_int_equal(vault_meta_get(f->v, "lease.clock", &before), 0);
    assert_int_equal(deadline_update(f->v), 0);
    assert_int_equal(vault_meta_get(f->v, "lease.clock", &same), 0);
    assert_memory_equal(before.data, same.data, before.len);
    assert_int_equal(deadline_rest(f->v), 0);
    assert_int_equal(vault_meta_get(f->v, "lease.clock", &after), 0);
    assert_memory_not_equal(before.data, after.data, before.len);
    vault_seal(f->v);
    assert_int_equal(deadline_rest(f->v), -EACCES);
}

/* After another boot a store that was ahead stays ahead; one that was behind catches up, if the
 * clock of this host is synchronised. */
static void test_other_boot(void **state)
{
    struct fixture *f = *state;
    int64_t wall = clock_wall_ms();
    plant(f->v, A, W, wall + 5 * DAY, true);
    assert_int_equal(deadline_update(f->v), 0);
    assert_true(near(wall + 5 * DAY));
    clock_lease_release();
    plant(f->v, A, W, wall - 5 * DAY, true);
    bool sure = clock_synchronised() || strlen(clock_boot_id()) != DEADLINE_BOOT_LEN;
    assert_int_equal(deadline_update(f->v), sure ? DEADLINE_E_FORWARD : 0);
    assert_true(near(sure ? wall : wall - 5 * DAY));
}

/* A changed anchor counts as none, is told, and mended. */
static void test_tampered(void **state)
{
    struct fixture *f = *state;
    _cleanup_buf_ struct buf b = BUF_INIT(256);
    int64_t wall = clock_wall_ms();
    static const uint8_t odd[] = {1, 2, 3};
    for (int i = 0; i < 3; i++) {
        clock_lease_release();
        plant(f->v, A, W, wall + 5 * DAY, true);
        buf_reset(&b);
        assert_int_equal(vault_meta_get(f->v, META, &b), 0);
        if (i == 0) /* one bit of it */
            b.data[44] ^= 1;
        assert_int_equal(
            vault_meta_put(f->v, META, i < 2 ? b.data : odd, i < 2 ? b.len - (size_t)i : 3), 0);
        assert_int_equal(vault_begin(f->v), 0);
        assert_int_equal(deadline_update(f->v), 0);
        assert_int_equal(deadline_update(f->v), 0);
        assert_int_equal(vault_commit(f->v), 0);
        assert_true(near(wall));
    }
    /* authentic, and nonsense all the same */
    clock_lease_release();
    plant(f->v, A, INT64_MIN, INT64_MAX, true);
    assert_int_equal(deadline_update(f->v), 0);
    assert_true(near(wall));
    assert_int_equal(audit_export_open(f->v, f->log), 0);
    assert_int_equal(audit_export_run(f->v), 0);
    size_t n;
    int told = 0;
    char *log = fixture_read(f->log, &n);
    assert_non_null(log);
    for (char *p = strstr(log, "lease clock damaged"); p; p = strstr(p + 1, "lease clock damaged"))
        told++;
    free(log);
    assert_int_equal(told, 3);
}

/* Sealed, nothing is known and nothing changes. */
static void test_sealed(void **state)
{
    struct fixture *f = *state;
    int64_t offset;
    vault_seal(f->v);
    assert_int_equal(deadline_update(f->v), -EACCES);
    assert_false(clock_lease_anchored(&offset));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule),    cmocka_unit_test(test_never_back),
        cmocka_unit_test(test_changed), STORE_TEST(test_first),
        STORE_TEST(test_rest),          STORE_TEST(test_same_boot),
        STORE_TEST(test_other_boot),    STORE_TEST(test_tampered),
        STORE_TEST(test_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
