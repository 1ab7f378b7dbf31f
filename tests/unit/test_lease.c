/* The life of a lease: states, timers, retries, restarts, and taking back many at once. */
#include "vault_fixture.h"

#include <time.h>

#include "lease/lease.h"

#define NOW INT64_C(1800000000000)
#define HOUR INT64_C(3600000)

struct life {
    struct fixture *f;
    struct effects *effects;
    struct leases *l;
    json_t *asked; /* ids that were to be undone, since asked() */
    json_t *last;  /* the lease of the last attempt */
    int changed;
};

static void on_revoke(const char *id, const json_t *lease, void *data)
{
    struct life *x = data;
    assert_string_equal(json_str(lease, "id"), id);
    json_decref(x->last);
    x->last = json_deep_copy(lease);
    assert_int_equal(json_array_append_new(x->asked, json_string(id)), 0);
}

static void on_changed(void *data)
{
    ++((struct life *)data)->changed;
}

static const struct lease_ops ops = {.revoke = on_revoke, .changed = on_changed};

static void open_leases(struct life *x)
{
    x->effects = effects_new();
    assert_non_null(x->effects);
    assert_int_equal(leases_new(x->f->v, x->effects, &ops, x, &x->l), 0);
}

static int setup(void **state)
{
    struct life *x = calloc(1, sizeof(*x));
    void *f = NULL;
    if (!x || fixture_setup(&f) < 0)
        return -1;
    x->f = f;
    x->asked = json_array();
    open_leases(x);
    *state = x;
    return vault_begin(x->f->v);
}

static int teardown(void **state)
{
    struct life *x = *state;
    void *f = x->f;
    effects_free(x->effects);
    leases_free(x->l);
    json_decref(x->asked);
    json_decref(x->last);
    if (vault_in_turn(x->f->v))
        vault_rollback(x->f->v);
    free(x);
    return fixture_teardown(&f);
}

#define LEASE_TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

/* Ends the turn: commit, then what leaves the process; and begins the next. */
static void turn(struct life *x)
{
    assert_int_equal(vault_commit(x->f->v), 0);
    effects_run(x->effects);
    assert_int_equal(vault_begin(x->f->v), 0);
}

/* The agent dies and comes back. */
static void restart(struct life *x)
{
    vault_rollback(x->f->v);
    effects_free(x->effects);
    leases_free(x->l);
    fixture_reopen(x->f);
    open_leases(x);
    assert_int_equal(vault_begin(x->f->v), 0);
}

/* What that start takes up, in slices of one row, each in a turn of its own. */
static int take_up(struct life *x, int64_t began)
{
    struct lease_tour t = {.slice = {.limit = 1}};
    int turns = 0;
    do {
        assert_int_equal(lease_restart(x->l, began, began, &t), 0);
        turn(x);
        turns++;
    } while (t.slice.more);
    return turns;
}

static void wake_all(struct life *x, const char *space, int64_t now)
{
    struct record_slice s = {.limit = 1};
    do {
        assert_int_equal(lease_wake(x->l, space, now, &s), 0);
        turn(x);
    } while (s.more);
}

/* How many attempts there were since the last call. */
static size_t asked(struct life *x)
{
    turn(x);
    size_t n = json_array_size(x->asked);
    json_array_clear(x->asked);
    return n;
}

static const struct lease_spec base_spec = {
    .path = "database/creds/ro",
    .mount = "database/",
    .engine = "database",
    .space = "space-1",
    .principal = "user:alice",
    .has_uid = true,
    .uid = 1000,
    .binding = "dba",
    .token = "",
    .lifetime_kind = "session",
    .lifetime_id = "s1",
    .lifetime_name = "sshd",
    .ttl = 3600,
    .max_ttl = 7200,
    .renewable = true,
};

static void add(struct life *x, const struct lease_spec *given, const char *id, bool active)
{
    struct lease_spec s = *given;
    json_t *recipe = json_pack("{s:s}", "role", "v-x");
    s.id = id;
    s.recipe = recipe;
    assert_int_equal(lease_create(x->l, &s, NOW), 0);
    json_decref(recipe);
    if (active)
        assert_int_equal(lease_activate(x->l, id, NOW), 0);
}

static void expect_state(struct life *x, const char *id, const char *state)
{
    json_t *lease = NULL;
    int e = lease_get(x->l, id, &lease);
    assert_int_equal(e, state ? 0 : LEASE_E_NONE);
    if (state)
        assert_string_equal(json_str(lease, "state"), state);
    json_decref(lease);
}

static int64_t number(struct life *x, const char *id, const char *name)
{
    json_t *lease = NULL;
    assert_int_equal(lease_get(x->l, id, &lease), 0);
    int64_t n = json_int(lease, name, -1);
    json_decref(lease);
    return n;
}

static int64_t next_due(struct life *x)
{
    int64_t due = 0;
    assert_int_equal(lease_next_due(x->l, &due), 0);
    return due;
}

static void run_due(struct life *x, int64_t now)
{
    bool more = true;
    assert_int_equal(lease_due(x->l, now, 100, &more), 0);
    assert_false(more);
}

/* How many audit lines of the file hold the text. */
static int audited(struct life *x, const char *text)
{
    size_t n;
    int count = 0;
    turn(x);
    assert_int_equal(vault_commit(x->f->v), 0);
    assert_int_equal(audit_export_open(x->f->v, x->f->log), 0);
    assert_int_equal(audit_export_run(x->f->v), 0);
    char *all = fixture_read(x->f->log, &n);
    assert_non_null(all);
    for (const char *p = strstr(all, text); p; p = strstr(p + 1, text))
        count++;
    free(all);
    assert_int_equal(vault_begin(x->f->v), 0);
    return count;
}

/* A lease id is its path and 24 random characters, and never longer than its array. */
static void test_id(void **state)
{
    (void)state;
    char a[LEASE_ID_MAX], b[LEASE_ID_MAX], path[LEASE_ID_MAX + 1];
    assert_int_equal(lease_make_id("database/creds/ro", a), 0);
    assert_int_equal(lease_make_id("database/creds/ro", b), 0);
    assert_memory_equal(a, "database/creds/ro/", 18);
    assert_int_equal(strlen(a), 18 + 24);
    assert_string_not_equal(a, b);
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(lease_make_id(path, a), -EMSGSIZE);
    path[LEASE_ID_MAX - 1 - 24 - 1] = '\0'; /* fits to the last byte */
    assert_int_equal(lease_make_id(path, a), 0);
    assert_int_equal(strlen(a), LEASE_ID_MAX - 1);
    path[LEASE_ID_MAX - 1 - 24 - 1] = 'a';
    path[LEASE_ID_MAX - 1 - 24] = '\0';
    assert_int_equal(lease_make_id(path, a), -EMSGSIZE);
}

/* pending, active, expired, revoking, gone: each at its deadline, and nothing outside a commit. */
static void test_whole_life(void **state)
{
    struct life *x = *state;
    add(x, &base_spec, "a/1", false);
    expect_state(x, "a/1", "pending");
    assert_int_equal(next_due(x), NOW + LEASE_PENDING_MS);
    assert_int_equal(x->changed, 0);
    turn(x);
    assert_int_equal(x->changed, 1);
    assert_int_equal(lease_activate(x->l, "a/1", NOW + 5), 0);
    expect_state(x, "a/1", "active");
    assert_int_equal(next_due(x), NOW + HOUR);
    run_due(x, NOW + HOUR - 1);
    expect_state(x, "a/1", "active");
    assert_int_equal(asked(x), 0);
    run_due(x, NOW + HOUR);
    expect_state(x, "a/1", "revoking");
    assert_int_equal(json_array_size(x->asked), 0); /* not before the commit */
    assert_int_equal(asked(x), 1);
    assert_string_equal(json_str(json_object_get(x->last, "recipe"), "role"), "v-x");
    assert_string_equal(json_str(x->last, "reason"), "its time was up");
    run_due(x, NOW + HOUR + 1); /* it is under way */
    assert_int_equal(asked(x), 0);
    assert_int_equal(lease_revoked(x->l, "a/1", LEASE_GONE, NULL, NULL, NOW + HOUR + 2), 0);
    expect_state(x, "a/1", NULL);
    int64_t due;
    assert_int_equal(lease_next_due(x->l, &due), LEASE_E_NONE);
    static const char *const events[] = {"pending", "active", "revoking", "gone"};
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        char text[64];
        snprintf(text, sizeof(text), "\"event\":\"%s\",\"lease\":\"a/1\"", events[i]);
        assert_int_equal(audited(x, text), 1);
    }
    assert_int_equal(audited(x, "v-x"), 0);
}

/* All that the header promises stands in the object. */
static void test_object(void **state)
{
    struct life *x = *state;
    json_t *l = NULL;
    struct lease_spec s = base_spec;
    s.has_uid = false;
    s.max_ttl = 0;
    add(x, &base_spec, "a/1", true);
    add(x, &s, "a/2", false);
    assert_int_equal(lease_get(x->l, "a/1", &l), 0);
    assert_int_equal(json_int(l, "v", 0), 1);
    assert_string_equal(json_str(l, "mount"), "database/");
    assert_string_equal(json_str(l, "engine"), "database");
    assert_string_equal(json_str(l, "space"), "space-1");
    assert_string_equal(json_str(l, "principal"), "user:alice");
    assert_int_equal(json_int(l, "uid", -1), 1000);
    assert_string_equal(json_str(l, "binding"), "dba");
    assert_string_equal(json_str(l, "token"), "");
    assert_string_equal(json_str(json_object_get(l, "lifetime"), "kind"), "session");
    assert_string_equal(json_str(json_object_get(l, "lifetime"), "id"), "s1");
    assert_string_equal(json_str(json_object_get(l, "lifetime"), "name"), "sshd");
    assert_int_equal(json_int(l, "issued", 0), NOW);
    assert_int_equal(json_int(l, "expires", 0), NOW + HOUR);
    assert_int_equal(json_int(l, "max_expires", 0), NOW + 2 * HOUR);
    assert_int_equal(json_int(l, "ttl", 0), 3600);
    assert_true(json_bool(l, "renewable", false));
    assert_true(json_is_array(json_object_get(l, "objects")));
    json_decref(l);
    assert_int_equal(lease_get(x->l, "a/2", &l), 0);
    assert_true(json_is_null(json_object_get(l, "uid")));
    assert_int_equal(json_int(l, "max_expires", -1), 0);
    json_decref(l);
    assert_int_equal(lease_get(x->l, "", &l), LEASE_E_NONE);
    char path[LEASE_ID_MAX + 200];
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(lease_get(x->l, path, &l), LEASE_E_NONE);
}

/* Specs that would live for ever or belong to nobody are refused. */
static void test_bad_spec(void **state)
{
    struct life *x = *state;
    json_t *recipe = json_object();
    struct lease_spec s = base_spec;
    s.id = "a/1";
    assert_int_equal(lease_create(x->l, &s, NOW), -EINVAL); /* no recipe */
    s.recipe = recipe;
    s.ttl = 0;
    assert_int_equal(lease_create(x->l, &s, NOW), -EINVAL);
    s.ttl = INT64_MAX;
    assert_int_equal(lease_create(x->l, &s, NOW), -EINVAL);
    s.ttl = 1;
    s.max_ttl = -1;
    assert_int_equal(lease_create(x->l, &s, NOW), -EINVAL);
    s.max_ttl = 0;
    s.principal = "";
    assert_int_equal(lease_create(x->l, &s, NOW), -EINVAL);
    expect_state(x, "a/1", NULL);
    json_decref(recipe);
}

/* What is never handed over is undone. */
static void test_pending_times_out(void **state)
{
    struct life *x = *state;
    add(x, &base_spec, "a/1", false);
    run_due(x, NOW + LEASE_PENDING_MS - 1);
    expect_state(x, "a/1", "pending");
    run_due(x, NOW + LEASE_PENDING_MS);
    expect_state(x, "a/1", "revoking");
    assert_int_equal(asked(x), 1);
    assert_int_equal(lease_activate(x->l, "a/1", NOW + LEASE_PENDING_MS + 1), LEASE_E_REFUSED);
    expect_state(x, "a/1", "revoking");
}

/* Activation is once, and only of what is there. */
static void test_activate(void **state)
{
    struct life *x = *state;
    assert_int_equal(lease_activate(x->l, "a/1", NOW), LEASE_E_NONE);
    add(x, &base_spec, "a/1", true);
    assert_int_equal(lease_activate(x->l, "a/1", NOW), LEASE_E_REFUSED);
    assert_int_equal(lease_revoke(x->l, "a/1", "by hand", NOW), 0);
    assert_int_equal(lease_activate(x->l, "a/1", NOW), LEASE_E_REFUSED);
    expect_state(x, "a/1", "revoking");
    assert_int_equal(lease_revoke(x->l, "a/2", "by hand", NOW), LEASE_E_NONE);
}

/* A failed attempt is tried again after 1, 2, 4 … s, give or take 20 %, and at last every 60 s. */
static void test_back_off(void **state)
{
    struct life *x = *state;
    int64_t now = NOW, want = LEASE_RETRY_FIRST_MS;
    add(x, &base_spec, "a/1", true);
    assert_int_equal(lease_revoke(x->l, "a/1", "by hand", now), 0);
    for (int i = 1; i <= 70; i++) {
        run_due(x, now);
        assert_int_equal(asked(x), 1);
        assert_int_equal(lease_revoked(x->l, "a/1", LEASE_RETRY, "database down", NULL, now), 0);
        expect_state(x, "a/1", "revoking");
        assert_int_equal(number(x, "a/1", "attempts"), i);
        int64_t wait = next_due(x) - now;
        assert_true(wait >= want - want / 5 && wait <= want + want / 5);
        run_due(x, now + wait - 1);
        assert_int_equal(asked(x), 0);
        now += wait;
        want = want * 2 < LEASE_RETRY_MAX_MS ? want * 2 : LEASE_RETRY_MAX_MS;
    }
    assert_int_equal(number(x, "a/1", "next_try"), now);
    assert_int_equal(number(x, "a/1", "revoking_since"), NOW);
    /* told at 1, 2, 4, 8, 16, 32, 64 */
    assert_int_equal(audited(x, "\"event\":\"retry\""), 7);
    assert_int_equal(lease_revoked(x->l, "a/1", LEASE_RETRY, "another reason", NULL, now), 0);
    assert_int_equal(audited(x, "another reason"), 1);
}

/* The spread is real: two leases that failed together are not all tried together. */
static void test_jitter(void **state)
{
    struct life *x = *state;
    int differs = 0;
    char id[32];
    int64_t first = 0;
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof(id), "a/%d", i);
        add(x, &base_spec, id, true);
        assert_int_equal(lease_revoke(x->l, id, "by hand", NOW), 0);
        assert_int_equal(lease_revoked(x->l, id, LEASE_RETRY, "down", NULL, NOW), 0);
        int64_t due = number(x, id, "next_try");
        differs += i > 0 && due != first;
        first = i > 0 ? first : due;
    }
    assert_true(differs > 0);
}

/* An attempt without an answer is made again when its claim runs out; a late answer still counts.
 */
static void test_claim(void **state)
{
    struct life *x = *state;
    add(x, &base_spec, "a/1", true);
    assert_int_equal(lease_revoke(x->l, "a/1", "by hand", NOW), 0);
    run_due(x, NOW);
    assert_int_equal(asked(x), 1);
    assert_int_equal(next_due(x), NOW + LEASE_CLAIM_MS);
    assert_int_equal(lease_revoke(x->l, "a/1", "by hand again", NOW + 10), 0);
    run_due(x, NOW + 10); /* under way: not twice */
    assert_int_equal(asked(x), 0);
    run_due(x, NOW + LEASE_CLAIM_MS);
    assert_int_equal(asked(x), 1);
    assert_int_equal(number(x, "a/1", "attempts"), 1);
    assert_int_equal(lease_revoked(x->l, "a/1", LEASE_GONE, NULL, NULL, NOW + LEASE_CLAIM_MS + 1),
                     0);
    expect_state(x, "a/1", NULL);
    assert_int_equal(lease_revoked(x->l, "a/1", LEASE_GONE, NULL, NULL, NOW), LEASE_E_NONE);
}

/* Asking again brings the next attempt forward. */
static void test_revoke_again(void **state)
{
    struct life *x = *state;
    add(x, &base_spec, "a/1", true);
    assert_int_equal(lease_revoke(x->l, "a/1", "first", NOW), 0);
    run_due(x, NOW);
    assert_int_equal(lease_revoked(x->l, "a/1", LEASE_RETRY, "down", NULL, NOW), 0);
    assert_int_equal(asked(x), 1);
    assert_int_equal(lease_revoke(x->l, "a/1", "second", NOW + 1), 0);
    run_due(x, NOW + 1);
    assert_int_equal(asked(x), 1);
    assert_string_equal(json_str(x->last, "reason"), "first");
    assert_int_equal(audited(x, "\"event\":\"revoking\""), 1);
}

/* Quarantine: kept with what holds it, tried again slowly, and gone in the end; or by hand at once.
 */
static void test_quarantine(void **state)
{
    struct life *x = *state;
    json_t *objects = json_pack("[s, s]", "table a", "view b"), *l = NULL;
    add(x, &base_spec, "a/1", true);
    assert_int_equal(lease_revoke(x->l, "a/1", "by hand", NOW), 0);
    run_due(x, NOW);
    assert_int_equal(asked(x), 1);
    assert_int_equal(
        lease_revoked(x->l, "a/1", LEASE_QUARANTINE, "objects depend on it", objects, NOW), 0);
    expect_state(x, "a/1", "quarantined");
    assert_int_equal(lease_get(x->l, "a/1", &l), 0);
    assert_true(json_equal(json_object_get(l, "objects"), objects));
    assert_string_equal(json_str(l, "last_error"), "objects depend on it");
    json_decref(l);
    assert_int_equal(next_due(x), NOW + LEASE_QUARANTINE_RETRY_MS);
    run_due(x, NOW + LEASE_QUARANTINE_RETRY_MS);
    assert_int_equal(asked(x), 1);
    expect_state(x, "a/1", "quarantined");
    int64_t now = NOW + LEASE_QUARANTINE_RETRY_MS;
    assert_int_equal(lease_revoked(x->l, "a/1", LEASE_RETRY, "down", NULL, now), 0);
    expect_state(x, "a/1", "quarantined"); /* still known to be without login */
    assert_int_equal(next_due(x), now + LEASE_QUARANTINE_RETRY_MS);
    assert_int_equal(lease_revoke(x->l, "a/1", "mended", now + 1), 0);
    expect_state(x, "a/1", "revoking");
    run_due(x, now + 1);
    assert_int_equal(asked(x), 1);
    assert_int_equal(lease_revoked(x->l, "a/1", LEASE_QUARANTINE, "still", objects, now + 2), 0);
    run_due(x, now + 2 + LEASE_QUARANTINE_RETRY_MS);
    assert_int_equal(lease_revoked(x->l, "a/1", LEASE_GONE, NULL, NULL, now), 0);
    expect_state(x, "a/1", NULL);
    assert_int_equal(audited(x, "\"event\":\"quarantined\""), 2);
    json_decref(objects);
}

/* What an answer brings is bounded and made printable before it is kept. */
static void test_hostile_answer(void **state)
{
    struct life *x = *state;
    char text[2000];
    json_t *objects = json_array(), *l = NULL;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    text[3] = '\033';
    for (int i = 0; i < 500; i++)
        assert_int_equal(json_array_append_new(objects, json_string(i % 2 ? "table" : text)), 0);
    add(x, &base_spec, "a/1", true);
    assert_int_equal(lease_revoke(x->l, "a/1", "by hand", NOW), 0);
    assert_int_equal(lease_revoked(x->l, "a/1", LEASE_QUARANTINE, text, objects, NOW), 0);
    assert_int_equal(lease_get(x->l, "a/1", &l), 0);
    assert_true(json_array_size(json_object_get(l, "objects")) <= 100);
    assert_true(strlen(json_str(l, "last_error")) <= 300);
    assert_null(strchr(json_str(l, "last_error"), '\033'));
    json_decref(l);
    json_decref(objects);
}

/* An answer for a lease that is not being revoked changes nothing. */
static void test_stray_answer(void **state)
{
    struct life *x = *state;
    add(x, &base_spec, "a/1", true);
    assert_int_equal(lease_revoked(x->l, "a/1", LEASE_GONE, NULL, NULL, NOW), 0);
    expect_state(x, "a/1", "active");
    add(x, &base_spec, "a/2", false);
    assert_int_equal(lease_revoked(x->l, "a/2", LEASE_QUARANTINE, "?", NULL, NOW), 0);
    expect_state(x, "a/2", "pending");
}

/* Renewal: from now on, by what is asked or the lease's TTL, never beyond the maximum. */
static void test_renew(void **state)
{
    struct life *x = *state;
    char why[200] = "";
    int64_t ttl = 0, now = NOW + HOUR / 2;
    add(x, &base_spec, "a/1", true);
    assert_int_equal(lease_renew(x->l, "a/1", 0, now, true, &ttl, why, sizeof(why)), 0);
    assert_int_equal(ttl, 3600);
    assert_int_equal(number(x, "a/1", "expires"), NOW + HOUR); /* dry */
    assert_int_equal(lease_renew(x->l, "a/1", 0, now, false, &ttl, why, sizeof(why)), 0);
    assert_int_equal(number(x, "a/1", "expires"), now + HOUR);
    assert_int_equal(number(x, "a/1", "last_renewal"), now);
    assert_int_equal(next_due(x), now + HOUR);
    assert_int_equal(lease_renew(x->l, "a/1", 60, now, false, &ttl, why, sizeof(why)), 0);
    assert_int_equal(ttl, 60);
    assert_int_equal(lease_renew(x->l, "a/1", INT64_MAX, now, false, &ttl, why, sizeof(why)), 0);
    assert_int_equal(ttl, 5400); /* max_ttl of two hours, from the issue on */
    assert_int_equal(number(x, "a/1", "expires"), NOW + 2 * HOUR);
    assert_int_equal(audited(x, "\"event\":\"renewed\""), 3);
}

/* What can't be renewed says why: ended, ending, not renewable, at its maximum, not there. */
static void test_renew_refused(void **state)
{
    struct life *x = *state;
    char why[200] = "";
    int64_t ttl = 0;
    struct lease_spec s = base_spec;
    assert_int_equal(lease_renew(x->l, "a/1", 0, NOW, false, &ttl, why, sizeof(why)), LEASE_E_NONE);
    add(x, &base_spec, "a/1", false);
    assert_int_equal(lease_renew(x->l, "a/1", 0, NOW, false, &ttl, why, sizeof(why)),
                     LEASE_E_REFUSED);
    assert_int_equal(lease_activate(x->l, "a/1", NOW), 0);
    assert_int_equal(lease_renew(x->l, "a/1", -1, NOW, false, &ttl, why, sizeof(why)),
                     LEASE_E_REFUSED);
    assert_int_equal(lease_renew(x->l, "a/1", 0, NOW + HOUR, false, &ttl, why, sizeof(why)),
                     LEASE_E_REFUSED); /* over, though not noticed yet */
    s.max_ttl = 3600;
    add(x, &s, "a/2", true);
    assert_int_equal(lease_renew(x->l, "a/2", 0, NOW + HOUR - 500, false, &ttl, why, sizeof(why)),
                     LEASE_E_REFUSED);
    assert_non_null(strstr(why, "maximum"));
    s.renewable = false;
    add(x, &s, "a/3", true);
    assert_int_equal(lease_renew(x->l, "a/3", 0, NOW, false, &ttl, why, sizeof(why)),
                     LEASE_E_REFUSED);
    assert_non_null(strstr(why, "not renewable"));
    assert_int_equal(lease_revoke(x->l, "a/1", "by hand", NOW), 0);
    assert_int_equal(lease_renew(x->l, "a/1", 0, NOW, false, &ttl, why, sizeof(why)),
                     LEASE_E_REFUSED);
}

/* Principal, token, lifetime and prefix each take exactly what is theirs. */
static void test_revoke_sets(void **state)
{
    struct life *x = *state;
    size_t n = 99;
    struct lease_spec s = base_spec;
    add(x, &s, "db/ro/1", true);
    s.principal = "user:bob";
    s.lifetime_id = "s2";
    add(x, &s, "db/ro/2", true);
    s.token = "tok";
    s.lifetime_kind = "token";
    s.lifetime_id = "tok";
    add(x, &s, "db/rox/3", true);
    s.principal = "user:alice";
    s.token = "";
    s.lifetime_kind = "none";
    s.lifetime_id = "";
    add(x, &s, "db/4", true);
    assert_int_equal(lease_revoke_lifetime(x->l, "session", "s2", "logged out", NOW, &n), 0);
    assert_int_equal(n, 1);
    expect_state(x, "db/ro/2", "revoking");
    assert_int_equal(lease_revoke_lifetime(x->l, "token", "s1", "?", NOW, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(lease_revoke_lifetime(x->l, "none", "", "?", NOW, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(lease_revoke_token(x->l, "tok", "token gone", NOW, &n), 0);
    assert_int_equal(n, 1);
    expect_state(x, "db/rox/3", "revoking");
    assert_int_equal(lease_revoke_token(x->l, "", "?", NOW, &n), 0);
    assert_int_equal(n, 0);
    expect_state(x, "db/ro/1", "active");
    json_t *ids = json_array();
    assert_int_equal(lease_revoke_principal(x->l, "user:alice", "left", NOW, &n, ids), 0);
    assert_int_equal(n, 2);
    assert_true(json_has_str(ids, "db/ro/1") && json_has_str(ids, "db/4"));
    expect_state(x, "db/ro/1", "revoking");
    expect_state(x, "db/4", "revoking");
    assert_int_equal(lease_revoke_principal(x->l, "user:ali", "?", NOW, &n, NULL), 0);
    assert_int_equal(n, 0);
    json_decref(ids);
}

/* A prefix ends where a segment ends. */
static void test_prefix(void **state)
{
    struct life *x = *state;
    size_t n;
    json_t *ids = json_array();
    add(x, &base_spec, "db/ro/1", true);
    add(x, &base_spec, "db/rox/2", true);
    add(x, &base_spec, "db/ro/3", true);
    assert_int_equal(lease_revoke_prefix(x->l, "db/ro", "?", NOW, &n, ids), 0);
    assert_int_equal(n, 2);
    assert_int_equal(json_array_size(ids), 2);
    expect_state(x, "db/rox/2", "active");
    assert_int_equal(lease_revoke_prefix(x->l, "db/rox/", "?", NOW, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_int_equal(lease_revoke_prefix(x->l, "d", "?", NOW, &n, NULL), 0);
    assert_int_equal(n, 0);
    assert_int_equal(lease_revoke_prefix(x->l, "db/ro/1", "?", NOW, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_int_equal(lease_revoke_prefix(x->l, "", "?", NOW, &n, NULL), 0);
    assert_int_equal(n, 3);
    json_decref(ids);
}

/* A slice at a time finds the same leases as all at once, and goes on where it was, whatever became
 * of the ones before. */
static void test_slices(void **state)
{
    struct life *x = *state;
    char id[32];
    size_t n = 0, calls = 0;
    struct record_slice s = {.limit = 3};
    json_t *ids = json_array();
    for (int i = 0; i < 10; i++) {
        snprintf(id, sizeof(id), i % 2 ? "db/ro/%d" : "db/rox/%d", i);
        add(x, &base_spec, id, true);
    }
    do {
        assert_int_equal(lease_revoke_prefix_some(x->l, "db/ro", "?", NOW, &s, &n, ids), 0);
        if (n > 0) /* gone before the next slice */
            (void)lease_forget(x->l, json_string_value(json_array_get(ids, 0)));
    } while (s.more && ++calls < 100);
    assert_int_equal(n, 5);
    assert_int_equal(json_array_size(ids), 5);
    assert_in_range(calls, 3, 4);
    expect_state(x, "db/ro/9", "revoking");
    expect_state(x, "db/rox/8", "active");
    s = (struct record_slice){.limit = 4};
    n = 0;
    do {
        assert_int_equal(lease_revoke_principal_some(x->l, "user:alice", "left", NOW, &s, &n, NULL),
                         0);
    } while (s.more);
    assert_int_equal(n, 9);
    expect_state(x, "db/rox/8", "revoking");
    assert_int_equal(lease_revoke_principal_some(x->l, "", "?", NOW, &s, &n, NULL), 0);
    assert_false(s.more);
    json_decref(ids);
}

/* A session that ends while an account is being made waits for the making, and undoes it then. */
static void test_revoked_while_made(void **state)
{
    struct life *x = *state;
    size_t n;
    add(x, &base_spec, "a/1", false);
    assert_int_equal(lease_revoke_lifetime(x->l, "session", "s1", "logged out", NOW + 1, &n), 0);
    assert_int_equal(n, 1);
    expect_state(x, "a/1", "revoking");
    assert_int_equal(lease_revoke_principal(x->l, "user:alice", "?", NOW + 2, &n, NULL), 0);
    run_due(x, NOW + 3);
    assert_int_equal(asked(x), 0); /* the account may not be there yet */
    assert_int_equal(lease_activate(x->l, "a/1", NOW + 4), LEASE_E_REFUSED);
    run_due(x, NOW + 4);
    assert_int_equal(asked(x), 1);
    /* the maker never comes back: at the latest when a pending one would have been given up */
    add(x, &base_spec, "a/2", false);
    assert_int_equal(lease_revoke_lifetime(x->l, "session", "s1", "logged out", NOW + 5, &n), 0);
    run_due(x, NOW + LEASE_PENDING_MS - 1);
    assert_int_equal(asked(x), 0);
    run_due(x, NOW + LEASE_PENDING_MS);
    assert_true(asked(x) >= 1);
    assert_int_equal(number(x, "a/2", "claimed"), NOW + LEASE_PENDING_MS + LEASE_CLAIM_MS);
    /* the maker says that it failed */
    add(x, &base_spec, "a/3", false);
    assert_int_equal(lease_revoke_lifetime(x->l, "session", "s1", "logged out", NOW + 5, &n), 0);
    assert_int_equal(lease_unmake(x->l, "a/3", "it could not be made", NOW + 6), 0);
    assert_int_equal(number(x, "a/3", "next_try"), NOW + 6);
}

/* An operator's revocation doesn't overtake the making either: it is due when that is over. */
static void test_operator_waits(void **state)
{
    struct life *x = *state;
    add(x, &base_spec, "a/1", false);
    assert_int_equal(lease_revoke(x->l, "a/1", "by hand", NOW + 1), 0);
    assert_int_equal(lease_revoke(x->l, "a/1", "by hand, again", NOW + 2), 0);
    expect_state(x, "a/1", "revoking");
    run_due(x, NOW + 3);
    assert_int_equal(asked(x), 0);
    assert_int_equal(lease_activate(x->l, "a/1", NOW + 4), LEASE_E_REFUSED);
    run_due(x, NOW + 4);
    assert_int_equal(asked(x), 1);
    assert_int_equal(lease_revoked(x->l, "a/1", LEASE_GONE, NULL, NULL, NOW + 5), 0);
    expect_state(x, "a/1", NULL);
    /* the agent dies before the making is over: undone after its restart, at the latest */
    add(x, &base_spec, "a/2", false);
    assert_int_equal(lease_revoke(x->l, "a/2", "by hand", NOW + 1), 0);
    turn(x);
    restart(x);
    run_due(x, NOW + LEASE_PENDING_MS);
    assert_int_equal(asked(x), 1);
    /* its maker need not wait */
    add(x, &base_spec, "a/3", false);
    assert_int_equal(lease_unmake(x->l, "a/3", "it could not be made", NOW + 1), 0);
    run_due(x, NOW + 1);
    assert_int_equal(asked(x), 1);
}

/* An account that comes into being while it is being undone is undone once more: that "gone" was
 * said too early. */
static void test_overtaken(void **state)
{
    struct life *x = *state;
    int64_t late = NOW + LEASE_PENDING_MS;
    for (int unmake = 0; unmake < 2; unmake++) {
        const char *id = unmake ? "a/2" : "a/1";
        add(x, &base_spec, id, false);
        run_due(x, late);
        assert_int_equal(asked(x), 1);
        if (unmake)
            assert_int_equal(lease_unmake(x->l, id, "the client had gone", late + 1), 0);
        else
            assert_int_equal(lease_activate(x->l, id, late + 1), LEASE_E_REFUSED);
        assert_int_equal(lease_revoked(x->l, id, LEASE_GONE, NULL, NULL, late + 2), 0);
        expect_state(x, id, "revoking");
        run_due(x, late + 2);
        assert_int_equal(asked(x), 1);
        assert_int_equal(lease_revoked(x->l, id, LEASE_GONE, NULL, NULL, late + 3), 0);
        expect_state(x, id, NULL);
    }
}

static void behind_its_back(struct life *x, const char *sql)
{
    turn(x);
    vault_rollback(x->f->v);
    effects_free(x->effects);
    leases_free(x->l);
    vault_close(x->f->v);
    x->f->v = NULL;
    fixture_sql(x->f, sql);
    fixture_reopen(x->f);
    open_leases(x);
    assert_int_equal(vault_begin(x->f->v), 0);
}

static int collect(const json_t *lease, void *data);

/* A row that somebody changed, or that makes no sense, keeps no other lease alive. */
static void test_broken_rows(void **state)
{
    struct life *x = *state;
    size_t n;
    struct lease_counts c;
    for (int i = 0; i < 6; i++)
        add(x, &base_spec, (char[]){'a', '/', (char)('0' + i), '\0'}, i != 1);
    assert_int_equal(lease_revoke(x->l, "a/2", "by hand", NOW), 0);
    struct record odd = {.id = "odd", .due = 1, .body = "[]", .body_len = 2};
    odd.key[0] = "user:alice";
    assert_int_equal(record_put(x->f->v, RECORD_LEASE, &odd), 0);
    behind_its_back(x, "UPDATE lease SET due = 1 WHERE n IN (1, 3);"
                       "UPDATE lease SET k0 = (SELECT k0 FROM lease WHERE n = 4) WHERE n = 2;"
                       "UPDATE lease SET body = zeroblob(80) WHERE n = 2;");
    take_up(x, NOW + 1);
    wake_all(x, "space-1", NOW + 1);
    assert_int_equal(lease_counts(x->l, &c), 0);
    assert_int_equal(c.active, 4);
    json_t *ids = json_array();
    assert_int_equal(lease_each(x->l, NULL, NULL, 0, collect, ids), 0);
    assert_int_equal(json_array_size(ids), 3);
    json_decref(ids);
    /* two slices hold nothing but broken rows, and the queue moves on */
    bool more = true;
    for (int i = 0; more; i++) {
        assert_in_range(i, 0, 9);
        assert_int_equal(lease_due(x->l, NOW + HOUR, 2, &more), 0);
    }
    turn(x);
    assert_true(json_has_str(x->asked, "a/3") && json_has_str(x->asked, "a/4"));
    assert_int_equal(asked(x), 3);
    assert_int_equal(next_due(x), NOW + HOUR + LEASE_CLAIM_MS);
    assert_int_equal(lease_revoke_principal(x->l, "user:alice", "?", NOW, &n, NULL), 0);
    assert_int_equal(n, 3);
    assert_int_equal(lease_revoke_prefix(x->l, "", "?", NOW, &n, NULL), 0);
    assert_int_equal(n, 3);
    assert_true(audited(x, "\"event\":\"broken rows\"") > 0);
}

/* Times and TTLs out of all range are refused or cut, and nothing overflows. */
static void test_extremes(void **state)
{
    struct life *x = *state;
    struct lease_spec s = base_spec;
    json_t *recipe = json_object();
    char why[128];
    int64_t ttl;
    static const int64_t times[] = {INT64_MIN, -1, 0, INT64_MAX / 2 + 1, INT64_MAX};
    s.id = "a/1";
    s.recipe = recipe;
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        assert_int_equal(lease_create(x->l, &s, times[i]), -EINVAL);
    s.ttl = 9000; /* above its maximum */
    assert_int_equal(lease_create(x->l, &s, NOW), 0);
    assert_int_equal(lease_activate(x->l, "a/1", NOW), 0);
    assert_int_equal(number(x, "a/1", "expires"), NOW + 7200000);
    assert_int_equal(number(x, "a/1", "ttl"), 7200);
    s.id = "a/2";
    s.ttl = INT64_MAX / 4000;
    s.max_ttl = 0;
    assert_int_equal(lease_create(x->l, &s, INT64_MAX / 2), 0);
    assert_int_equal(lease_activate(x->l, "a/2", INT64_MAX / 2), 0);
    assert_int_equal(lease_renew(x->l, "a/2", INT64_MAX, INT64_MAX / 2, false, &ttl, why, 128), 0);
    assert_int_equal(ttl, INT64_MAX / 4000);
    assert_int_equal(lease_renew(x->l, "a/2", 1, INT64_MIN, false, &ttl, why, 128),
                     LEASE_E_REFUSED);
    json_decref(recipe);
}

/* A restart re-drives what was pending or revoking, claims of the old life included. */
static void test_restart(void **state)
{
    struct life *x = *state;
    add(x, &base_spec, "p", false);
    add(x, &base_spec, "a", true);
    add(x, &base_spec, "r", true);
    add(x, &base_spec, "q", true);
    assert_int_equal(lease_revoke(x->l, "r", "by hand", NOW), 0);
    assert_int_equal(lease_revoke(x->l, "q", "by hand", NOW), 0);
    run_due(x, NOW);
    assert_int_equal(asked(x), 2);
    assert_int_equal(lease_revoked(x->l, "q", LEASE_QUARANTINE, "objects", NULL, NOW), 0);
    turn(x);
    restart(x);
    expect_state(x, "p", "pending");
    take_up(x, NOW + 1);
    expect_state(x, "a", "active");
    expect_state(x, "q", "quarantined");
    assert_int_equal(number(x, "q", "next_try"), NOW + LEASE_QUARANTINE_RETRY_MS);
    run_due(x, NOW + 1);
    turn(x);
    assert_true(json_has_str(x->asked, "p") && json_has_str(x->asked, "r"));
    assert_int_equal(asked(x), 2);
    assert_int_equal(next_due(x), NOW + 1 + LEASE_CLAIM_MS);
}

/* While a start takes up what was under way before, what is begun since is left alone: leases being
 * made, and attempts that were claimed. */
static void test_restart_among_new(void **state)
{
    struct life *x = *state;
    struct lease_spec fresh = base_spec;
    _cleanup_json_ json_t *recipe = json_object();
    fresh.recipe = recipe;
    struct lease_tour t = {.slice = {.limit = 1}};
    add(x, &base_spec, "old/1", false);
    add(x, &base_spec, "old/2", false);
    add(x, &base_spec, "old/3", true);
    assert_int_equal(lease_revoke(x->l, "old/3", "by hand", NOW), 0);
    turn(x);
    restart(x);
    const int64_t began = NOW + 1000;
    fresh.id = "new/1";
    assert_int_equal(lease_create(x->l, &fresh, began), 0);
    turn(x);
    run_due(x, began); /* claims old/3 */
    assert_int_equal(asked(x), 1);
    assert_int_equal(lease_restart(x->l, began, began, &t), 0);
    assert_true(t.slice.more);
    expect_state(x, "old/1", "revoking");
    expect_state(x, "old/2", "pending"); /* of a later turn */
    turn(x);
    fresh.id = "new/2";
    assert_int_equal(lease_create(x->l, &fresh, began + 1), 0);
    while (t.slice.more)
        assert_int_equal(lease_restart(x->l, began, began + 2, &t), 0);
    expect_state(x, "old/2", "revoking");
    expect_state(x, "new/1", "pending");
    expect_state(x, "new/2", "pending");
    run_due(x, began + 3);
    turn(x);
    assert_false(json_has_str(x->asked, "old/3"));
    assert_int_equal(asked(x), 2);
    assert_int_equal(lease_activate(x->l, "new/1", began + 4), 0);
    assert_int_equal(lease_restart(x->l, began, began + 5, &t), 0); /* past its end: nothing */
    assert_false(t.slice.more);
}

/* A turn that is taken back leaves neither rows nor attempts. */
static void test_undone_turn(void **state)
{
    struct life *x = *state;
    add(x, &base_spec, "a/1", true);
    turn(x);
    int before = x->changed;
    assert_int_equal(vault_mark(x->f->v), 0);
    size_t mark = effects_mark(x->effects);
    assert_int_equal(lease_revoke(x->l, "a/1", "by hand", NOW), 0);
    run_due(x, NOW);
    effects_drop(x->effects, mark);
    assert_int_equal(vault_undo(x->f->v), 0);
    expect_state(x, "a/1", "active");
    assert_int_equal(asked(x), 0);
    assert_int_equal(x->changed, before);
    assert_int_equal(lease_revoke(x->l, "a/1", "by hand", NOW), 0);
    turn(x);
    assert_int_equal(x->changed, before + 1); /* the next one is announced again */
}

/* A database that is back wakes what waits for it, and nothing else. */
static void test_wake(void **state)
{
    struct life *x = *state;
    struct lease_spec s = base_spec;
    add(x, &s, "a/1", true);
    add(x, &s, "a/2", true);
    s.space = "space-2";
    add(x, &s, "b/1", true);
    static const char *const ids[] = {"a/1", "a/2", "b/1"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(lease_revoke(x->l, ids[i], "by hand", NOW), 0);
    run_due(x, NOW);
    assert_int_equal(asked(x), 3);
    for (size_t i = 0; i < 3; i++) {
        if (i != 1) /* a/2 is under way still */
            assert_int_equal(lease_revoked(x->l, ids[i], LEASE_RETRY, "down", NULL, NOW), 0);
    }
    wake_all(x, "space-1", NOW + 1);
    run_due(x, NOW + 1);
    turn(x);
    assert_int_equal(json_array_size(x->asked), 1);
    assert_true(json_has_str(x->asked, "a/1"));
}

/* Dropping a row by force asks nobody, and is told. */
static void test_forget(void **state)
{
    struct life *x = *state;
    add(x, &base_spec, "a/1", true);
    assert_int_equal(lease_forget(x->l, "a/1"), 0);
    assert_int_equal(lease_forget(x->l, "a/1"), LEASE_E_NONE);
    expect_state(x, "a/1", NULL);
    assert_int_equal(asked(x), 0);
    assert_int_equal(audited(x, "forgotten without being undone"), 1);
}

static int collect(const json_t *lease, void *data)
{
    return json_array_append_new(data, json_string(json_str(lease, "id"))) < 0 ? -ENOMEM : 0;
}

static int stop(const json_t *lease, void *data)
{
    (void)lease;
    ++*(int *)data;
    return -EPIPE;
}

static size_t visit(struct life *x, const char *principal, const char *prefix, size_t limit)
{
    json_t *ids = json_array();
    assert_int_equal(lease_each(x->l, principal, prefix, limit, collect, ids), 0);
    size_t n = json_array_size(ids);
    json_decref(ids);
    return n;
}

/* Visits by principal, prefix, both, up to a limit; an error of the visitor comes back. */
static void test_each(void **state)
{
    struct life *x = *state;
    struct lease_spec s = base_spec;
    add(x, &s, "db/ro/1", true);
    add(x, &s, "db/ro/2", true);
    add(x, &s, "kv/1", true);
    s.principal = "uid:0";
    add(x, &s, "db/ro/3", true);
    assert_int_equal(visit(x, NULL, NULL, 0), 4);
    assert_int_equal(visit(x, NULL, "", 0), 4);
    assert_int_equal(visit(x, NULL, NULL, 3), 3);
    assert_int_equal(visit(x, NULL, "db/", 0), 3);
    assert_int_equal(visit(x, NULL, "kv/", 1), 1);
    assert_int_equal(visit(x, "user:alice", NULL, 0), 3);
    assert_int_equal(visit(x, "user:alice", "db/", 0), 2);
    assert_int_equal(visit(x, "user:alice", "db/", 1), 1);
    assert_int_equal(visit(x, "", NULL, 0), 0);
    assert_int_equal(visit(x, "user:nobody", NULL, 0), 0);
    int calls = 0;
    assert_int_equal(lease_each(x->l, NULL, NULL, 0, stop, &calls), -EPIPE);
    assert_int_equal(calls, 1);
}

/* Counts by state, of a session, and the oldest revocation that failed. */
static void test_counts(void **state)
{
    struct life *x = *state;
    struct lease_counts c;
    int64_t n;
    struct lease_spec s = base_spec;
    assert_int_equal(lease_counts(x->l, &c), 0);
    assert_int_equal(c.active + c.pending + c.revoking + c.quarantined, 0);
    add(x, &s, "a/1", true);
    add(x, &s, "a/2", true);
    add(x, &s, "a/3", true);
    add(x, &s, "a/4", false);
    s.lifetime_id = "s9";
    add(x, &s, "a/5", true);
    assert_int_equal(lease_revoke(x->l, "a/2", "by hand", NOW + 2000), 0);
    assert_int_equal(lease_revoke(x->l, "a/1", "by hand", NOW + 1000), 0);
    assert_int_equal(lease_revoke(x->l, "a/3", "by hand", NOW + 500), 0);
    assert_int_equal(lease_counts(x->l, &c), 0);
    assert_int_equal(c.oldest_waiting_ms, 0); /* none has failed yet */
    assert_int_equal(lease_revoked(x->l, "a/2", LEASE_RETRY, "two", NULL, NOW + 3000), 0);
    assert_int_equal(lease_revoked(x->l, "a/1", LEASE_RETRY, "one", NULL, NOW + 3000), 0);
    assert_int_equal(lease_counts(x->l, &c), 0);
    assert_int_equal(c.pending, 1);
    assert_int_equal(c.active, 1);
    assert_int_equal(c.revoking, 3);
    assert_int_equal(c.oldest_waiting_ms, NOW + 1000);
    assert_string_equal(c.last_error, "one");
    assert_int_equal(lease_revoked(x->l, "a/1", LEASE_QUARANTINE, "held", NULL, NOW), 0);
    assert_int_equal(lease_counts(x->l, &c), 0);
    assert_int_equal(c.quarantined, 1);
    assert_int_equal(c.oldest_waiting_ms, NOW + 2000);
    assert_int_equal(lease_count_session(x->l, "s1", &n), 0);
    assert_int_equal(n, 4);
    assert_int_equal(lease_count_session(x->l, "s9", &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(lease_count_session(x->l, "s", &n), 0);
    assert_int_equal(n, 0);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Ten thousand leases: issued, found due in slices, revoked and gone, in seconds. */
static void test_many(void **state)
{
    struct life *x = *state;
    char id[64];
    double start = seconds();
    struct lease_counts c;
    bool more = true;
    int slices = 0;
    for (int i = 0; i < 10000; i++) {
        snprintf(id, sizeof(id), "db/creds/ro/%d", i);
        add(x, &base_spec, id, true);
    }
    turn(x);
    assert_int_equal(lease_counts(x->l, &c), 0);
    assert_int_equal(c.active, 10000);
    while (more) {
        assert_int_equal(lease_due(x->l, NOW + HOUR, 512, &more), 0);
        turn(x);
        slices++;
    }
    assert_int_equal(slices, 20);
    assert_int_equal(json_array_size(x->asked), 10000);
    for (int i = 0; i < 10000; i++) {
        const char *one = json_string_value(json_array_get(x->asked, (size_t)i));
        assert_int_equal(lease_revoked(x->l, one, LEASE_GONE, NULL, NULL, NOW + HOUR), 0);
    }
    turn(x);
    assert_int_equal(lease_counts(x->l, &c), 0);
    assert_int_equal(c.revoking + c.active, 0);
    double took = seconds() - start;
    print_message("10,000 leases from issue to gone: %.1f s\n", took);
    assert_true(took < 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id),
        LEASE_TEST(test_whole_life),
        LEASE_TEST(test_object),
        LEASE_TEST(test_bad_spec),
        LEASE_TEST(test_pending_times_out),
        LEASE_TEST(test_activate),
        LEASE_TEST(test_back_off),
        LEASE_TEST(test_jitter),
        LEASE_TEST(test_claim),
        LEASE_TEST(test_revoke_again),
        LEASE_TEST(test_quarantine),
        LEASE_TEST(test_hostile_answer),
        LEASE_TEST(test_stray_answer),
        LEASE_TEST(test_renew),
        LEASE_TEST(test_renew_refused),
        LEASE_TEST(test_revoke_sets),
        LEASE_TEST(test_prefix),
        LEASE_TEST(test_slices),
        LEASE_TEST(test_revoked_while_made),
        LEASE_TEST(test_operator_waits),
        LEASE_TEST(test_overtaken),
        LEASE_TEST(test_broken_rows),
        LEASE_TEST(test_extremes),
        LEASE_TEST(test_restart),
        LEASE_TEST(test_restart_among_new),
        LEASE_TEST(test_undone_turn),
        LEASE_TEST(test_wake),
        LEASE_TEST(test_forget),
        LEASE_TEST(test_each),
        LEASE_TEST(test_counts),
        LEASE_TEST(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
