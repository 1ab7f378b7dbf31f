/* Tokens: making, finding, using, renewing, and the end of whole families. */
#include "vault_fixture.h"

#include <ctype.h>
#include <sys/resource.h>

#include "identity/token.h"

#define NOW 1700000000000LL
#define DAY 86400LL

struct made {
    char text[TOKEN_TEXT_MAX];
    struct token t;
    bool shortened;
    char why[128];
};

static struct token_spec plain(json_t *policies)
{
    return (struct token_spec){
        .policies = policies, .renewable = true, .path = "auth/token/create"};
}

static int create(struct vault *v, const struct token_spec *spec, struct made *m)
{
    memset(m, 0, sizeof(*m));
    return token_create(v, spec, NOW, m->text, &m->t, &m->shortened, m->why, sizeof(m->why));
}

static struct made make(struct vault *v, const char *parent, int64_t ttl)
{
    _cleanup_json_ json_t *policies = json_pack("[s]", "default");
    struct token_spec spec = plain(policies);
    struct made m;
    spec.parent = parent;
    spec.ttl = ttl;
    if (create(v, &spec, &m) != 0)
        fail_msg("%s", m.why);
    return m;
}

static int find(struct vault *v, const char *text, int64_t now)
{
    struct token t;
    int r = token_find(v, text, now, &t);
    if (r != 0)
        assert_null(t.policies);
    token_clear(&t);
    return r;
}

static int64_t count(struct vault *v)
{
    int64_t n;
    assert_int_equal(record_count(v, RECORD_TOKEN, &n), 0);
    return n;
}

struct gone {
    int n;
    char ids[32][TOKEN_ID_LEN + 1];
    int end_at;
};

static int note(const char *id, void *data)
{
    struct gone *g = data;
    if (g->n < 32)
        snprintf(g->ids[g->n], sizeof(g->ids[0]), "%s", id);
    g->n++;
    return g->end_at && g->n == g->end_at ? -ECANCELED : 0;
}

/* --- Making and finding
 * --------------------------------------------------------------------------- */

/* Goal: a token has Vault's form, is found by text, accessor and id, and keeps all that it was
 * given. */
static void test_create(void **state)
{
    struct fixture *f = *state;
    _cleanup_json_ json_t *policies = json_pack("[s,s]", "default", "db");
    _cleanup_json_ json_t *meta = json_pack("{s:s}", "app", "shop");
    struct token_spec spec = plain(policies);
    struct made m;
    struct token t;
    spec.meta = meta;
    spec.display_name = "token-shop";
    spec.has_uid = true;
    spec.uid = 4000000000U;
    spec.session = "boot/7";
    spec.ttl = 3600;
    spec.num_uses = 9;
    spec.explicit_max_ttl = 7200;
    assert_int_equal(create(f->v, &spec, &m), 0);
    assert_false(m.shortened);
    assert_int_equal(strncmp(m.text, "hvs.", 4), 0);
    assert_int_equal(strlen(m.text), 32);
    for (const char *p = m.text + 4; *p; p++)
        assert_true(isalnum((unsigned char)*p));
    assert_int_equal(strlen(m.t.accessor), 24);
    assert_int_equal(strlen(m.t.id), TOKEN_ID_LEN);
    assert_null(strstr(m.t.id, m.text + 4));
    fixture_reopen(f);
    for (int how = 0; how < 3; how++) {
        int r = how == 0   ? token_find(f->v, m.text, NOW, &t)
                : how == 1 ? token_find_accessor(f->v, m.t.accessor, NOW, &t)
                           : token_find_id(f->v, m.t.id, NOW, &t);
        assert_int_equal(r, 0);
        assert_string_equal(t.id, m.t.id);
        assert_true(json_equal(t.policies, policies));
        assert_true(json_equal(t.meta, meta));
        assert_string_equal(t.display_name, "token-shop");
        assert_string_equal(t.path, "auth/token/create");
        assert_string_equal(t.session, "boot/7");
        assert_true(t.has_uid && t.uid == 4000000000U);
        assert_true(t.renewable && !t.root);
        assert_int_equal(t.num_uses, 9);
        assert_int_equal(t.created_ms, NOW);
        assert_int_equal(t.expires_ms, NOW + 3600 * 1000);
        assert_int_equal(t.explicit_max_ttl, 7200);
        token_clear(&t);
    }
    token_clear(&m.t);
}

/* Goal: the token itself is nowhere in the store's files. */
static void test_not_kept(void **state)
{
    struct fixture *f = *state;
    struct made m = make(f->v, NULL, 60);
    char wal[128];
    vault_close(f->v);
    f->v = NULL;
    snprintf(wal, sizeof(wal), "%s-wal", f->db);
    const char *files[] = {f->db, wal};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        size_t n;
        char *p = fixture_read(files[i], &n);
        if (p) {
            assert_null(memmem(p, n, m.text, strlen(m.text)));
            assert_null(memmem(p, n, m.t.id, strlen(m.t.id)));
            assert_null(memmem(p, n, m.t.accessor, strlen(m.t.accessor)));
        }
        free(p);
    }
    token_clear(&m.t);
}

/* Goal: what is no token is none, however it looks. */
static void test_find_odd(void **state)
{
    struct fixture *f = *state;
    struct made m = make(f->v, NULL, 60);
    char text[TOKEN_TEXT_MAX + 300];
    struct token t;
    static const char *const odd[] = {"", "hvs.", "x y", "\xff", "a\nb"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        assert_int_equal(find(f->v, odd[i], NOW), TOKEN_E_NONE);
        assert_int_equal(token_find_accessor(f->v, odd[i], NOW, &t), TOKEN_E_NONE);
        assert_int_equal(token_find_id(f->v, odd[i], NOW, &t), TOKEN_E_NONE);
    }
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(find(f->v, text, NOW), TOKEN_E_NONE);
    assert_int_equal(token_find_id(f->v, text, NOW, &t), TOKEN_E_NONE);
    snprintf(text, sizeof(text), "%s0", m.text);
    assert_int_equal(find(f->v, text, NOW), TOKEN_E_NONE);
    snprintf(text, sizeof(text), "%.31s", m.text);
    assert_int_equal(find(f->v, text, NOW), TOKEN_E_NONE);
    assert_int_equal(find(f->v, m.t.id, NOW), TOKEN_E_NONE);
    assert_int_equal(find(f->v, m.t.accessor, NOW), TOKEN_E_NONE);
    assert_int_equal(find(f->v, m.text, NOW), 0);
    token_clear(&m.t);
}

/* Goal: a ttl ends to the millisecond, by every way of finding. */
static void test_expiry(void **state)
{
    struct fixture *f = *state;
    struct made m = make(f->v, NULL, 60);
    struct token t;
    assert_int_equal(find(f->v, m.text, NOW + 59999), 0);
    assert_int_equal(find(f->v, m.text, NOW + 60000), TOKEN_E_NONE);
    assert_int_equal(token_find_accessor(f->v, m.t.accessor, NOW + 60000, &t), TOKEN_E_NONE);
    assert_null(t.policies);
    assert_int_equal(token_find_id(f->v, m.t.id, NOW + 60000, &t), TOKEN_E_NONE);
    assert_null(t.policies);
    token_clear(&m.t);
}

/* Goal: ttls at first: default, maximum, explicit maximum, period, root. */
static void test_first_ttl(void **state)
{
    struct fixture *f = *state;
    static const struct {
        bool root;
        int64_t ttl, period, most, want;
        bool shortened;
    } rows[] = {
        {false, 0, 0, 0, TOKEN_TTL_DEFAULT, false},
        {false, 100, 0, 0, 100, false},
        {false, 40 * DAY, 0, 0, TOKEN_TTL_MAX, true},
        {false, 0, 0, 50, 50, false},
        {false, 100, 0, 50, 50, true},
        {false, 100, 30, 0, 30, false},
        {false, 0, 30, 20, 20, true},
        {false, 0, 40 * DAY, 0, TOKEN_TTL_MAX, true},
        {true, 0, 0, 0, 0, false},
        {true, 100, 0, 0, 100, false},
        {true, 0, 0, 70, 70, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_json_ json_t *policies = json_pack("[s]", rows[i].root ? "root" : "default");
        struct token_spec spec = plain(policies);
        struct made m;
        spec.root = rows[i].root;
        spec.ttl = rows[i].ttl;
        spec.period = rows[i].period;
        spec.explicit_max_ttl = rows[i].most;
        assert_int_equal(create(f->v, &spec, &m), 0);
        assert_int_equal(m.t.issued_ttl, rows[i].want);
        assert_int_equal(m.t.expires_ms, rows[i].want ? NOW + rows[i].want * 1000 : 0);
        assert_int_equal(m.shortened, rows[i].shortened);
        assert_string_equal(m.t.display_name, "token");
        token_clear(&m.t);
    }
}

/* Goal: senseless requests are refused with a reason, and leave no row and no text. */
static void test_refused(void **state)
{
    struct fixture *f = *state;
    char name[200], endless[100], id[TOKEN_ID_LEN + 1];
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    memset(endless, 'x', sizeof(endless));
    endless[TOKEN_TEXT_MAX] = '\0';
    memset(id, 'a', sizeof(id));
    id[TOKEN_ID_LEN] = '\0';
    _cleanup_json_ json_t *ok = json_pack("[s]", "default"), *none = json_array(),
                          *numbers = json_pack("[i]", 1), *empty = json_pack("[s]", ""),
                          *deep = json_pack("{s:{s:s}}", "a", "b", "c"), *list = json_array(),
                          *large = json_object();
    for (int i = 0; i < 400; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        assert_int_equal(json_set_str(large, key, name), 0);
    }
    const struct token_spec bad[] = {
        {.policies = NULL},
        {.policies = none},
        {.policies = numbers},
        {.policies = empty},
        {.policies = deep},
        {.policies = ok, .meta = deep},
        {.policies = ok, .meta = list},
        {.policies = ok, .meta = large},
        {.policies = ok, .display_name = name},
        {.policies = ok, .display_name = "\xff"},
        {.policies = ok, .ttl = -1},
        {.policies = ok, .ttl = INT64_MAX},
        {.policies = ok, .period = INT64_MAX},
        {.policies = ok, .period = -1},
        {.policies = ok, .explicit_max_ttl = INT64_MIN},
        {.policies = ok, .num_uses = -1},
        {.policies = ok, .given_id = ""},
        {.policies = ok, .given_id = "a b"},
        {.policies = ok, .given_id = "a\n"},
        {.policies = ok, .given_id = endless},
        {.policies = ok, .parent = id},
        {.policies = ok, .parent = "none"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct made m;
        if (create(f->v, &bad[i], &m) != TOKEN_E_REFUSED)
            fail_msg("row %zu was not refused", i);
        assert_true(m.why[0]);
        assert_string_equal(m.text, "");
        assert_null(m.t.policies);
    }
    assert_int_equal(count(f->v), 0);
}

/* Goal: a chosen id is used as it is, once. */
static void test_given_id(void **state)
{
    struct fixture *f = *state;
    _cleanup_json_ json_t *policies = json_pack("[s]", "root");
    struct token_spec spec = {.policies = policies, .root = true, .given_id = "dev-root"};
    struct made m, again;
    assert_int_equal(create(f->v, &spec, &m), 0);
    assert_string_equal(m.text, "dev-root");
    assert_int_equal(find(f->v, "dev-root", NOW + 1000 * DAY * 1000), 0);
    assert_int_equal(create(f->v, &spec, &again), TOKEN_E_REFUSED);
    assert_string_equal(again.text, "");
    assert_int_equal(count(f->v), 1);
    token_clear(&m.t);
}

/* Goal: parents that are expired or limited in use make no children. */
static void test_bad_parents(void **state)
{
    struct fixture *f = *state;
    _cleanup_json_ json_t *policies = json_pack("[s]", "default");
    struct token_spec spec = plain(policies);
    struct made limited, child;
    spec.num_uses = 3;
    assert_int_equal(create(f->v, &spec, &limited), 0);
    spec = plain(policies);
    spec.parent = limited.t.id;
    assert_int_equal(create(f->v, &spec, &child), TOKEN_E_REFUSED);
    struct made brief = make(f->v, NULL, 1);
    spec.parent = brief.t.id;
    char text[TOKEN_TEXT_MAX], why[64];
    struct token t;
    bool shortened;
    assert_int_equal(token_create(f->v, &spec, NOW + 1000, text, &t, &shortened, why, sizeof(why)),
                     TOKEN_E_REFUSED);
    assert_int_equal(count(f->v), 2);
    token_clear(&limited.t);
    token_clear(&brief.t);
}

/* --- Using and renewing
 * --------------------------------------------------------------------------- */

/* Goal: uses are counted down durably, and the last one says so without ever becoming "unlimited".
 */
static void test_uses(void **state)
{
    struct fixture *f = *state;
    _cleanup_json_ json_t *policies = json_pack("[s]", "default");
    struct token_spec spec = plain(policies);
    struct made m;
    struct token t;
    bool last;
    spec.num_uses = 3;
    assert_int_equal(create(f->v, &spec, &m), 0);
    for (int left = 2; left >= 0; left--) {
        assert_int_equal(token_find(f->v, m.text, NOW, &t), 0);
        assert_int_equal(t.num_uses, left + 1);
        assert_int_equal(token_use(f->v, &t, &last), 0);
        assert_int_equal(last, left == 0);
        token_clear(&t);
        if (left == 1)
            fixture_reopen(f);
    }
    assert_int_equal(token_revoke(f->v, m.t.id, false, NULL, NULL), 0);
    assert_int_equal(find(f->v, m.text, NOW), TOKEN_E_NONE);
    token_clear(&m.t);
    m = make(f->v, NULL, 60);
    assert_int_equal(token_use(f->v, &m.t, &last), 0); /* unlimited */
    assert_false(last);
    token_clear(&m.t);
}

static int renew(struct vault *v, struct made *m, int64_t increment, int64_t now, int64_t *ttl)
{
    int r = token_renew(v, &m->t, increment, now, ttl, m->why, sizeof(m->why));
    if (r == 0) {
        struct token t;
        assert_int_equal(token_find(v, m->text, now, &t), 0);
        assert_int_equal(t.expires_ms, now + *ttl * 1000);
        assert_int_equal(t.last_renewal_ms, now);
        token_clear(&t);
    }
    return r;
}

/* Goal: renewal gives the increment or the first ttl again, within 32 days of the token's making.
 */
static void test_renew(void **state)
{
    struct fixture *f = *state;
    struct made m = make(f->v, NULL, 3600);
    int64_t ttl;
    assert_int_equal(renew(f->v, &m, 0, NOW + 1000 * 1000, &ttl), 0);
    assert_int_equal(ttl, 3600);
    assert_int_equal(renew(f->v, &m, 7200, NOW + 1000 * 1000, &ttl), 0);
    assert_int_equal(ttl, 7200);
    assert_int_equal(renew(f->v, &m, 60, NOW + 1000 * 1000, &ttl), 0);
    assert_int_equal(ttl, 60);
    assert_int_equal(renew(f->v, &m, 100 * DAY, NOW + 1000 * 1000, &ttl), 0);
    assert_int_equal(ttl, TOKEN_TTL_MAX - 1000);
    assert_int_equal(renew(f->v, &m, 3600, NOW + (TOKEN_TTL_MAX - 10) * 1000, &ttl), 0);
    assert_int_equal(ttl, 10);
    int64_t kept = m.t.expires_ms;
    assert_int_equal(renew(f->v, &m, 3600, NOW + TOKEN_TTL_MAX * 1000, &ttl), TOKEN_E_REFUSED);
    assert_int_equal(renew(f->v, &m, -1, NOW, &ttl), TOKEN_E_REFUSED);
    assert_int_equal(renew(f->v, &m, INT64_MAX, NOW, &ttl), TOKEN_E_REFUSED);
    assert_int_equal(ttl, 0);
    assert_int_equal(m.t.expires_ms, kept);
    token_clear(&m.t);
}

/* Goal: an explicit maximum counts from the making and is never passed. */
static void test_explicit_max(void **state)
{
    struct fixture *f = *state;
    _cleanup_json_ json_t *policies = json_pack("[s]", "default");
    struct token_spec spec = plain(policies);
    struct made m;
    int64_t ttl;
    spec.ttl = 100;
    spec.explicit_max_ttl = 250;
    assert_int_equal(create(f->v, &spec, &m), 0);
    assert_int_equal(renew(f->v, &m, 0, NOW + 90 * 1000, &ttl), 0);
    assert_int_equal(ttl, 100);
    assert_int_equal(renew(f->v, &m, 0, NOW + 180 * 1000, &ttl), 0);
    assert_int_equal(ttl, 70);
    assert_int_equal(renew(f->v, &m, 0, NOW + 250 * 1000, &ttl), TOKEN_E_REFUSED);
    token_clear(&m.t);
}

/* Goal: a periodic token renews by its period for ever, unless it has an explicit maximum. */
static void test_period(void **state)
{
    struct fixture *f = *state;
    _cleanup_json_ json_t *policies = json_pack("[s]", "default");
    struct token_spec spec = plain(policies);
    struct made m;
    int64_t ttl;
    spec.period = 600;
    assert_int_equal(create(f->v, &spec, &m), 0);
    assert_int_equal(renew(f->v, &m, 9999, NOW + 100 * DAY * 1000, &ttl), 0);
    assert_int_equal(ttl, 600);
    token_clear(&m.t);
    spec.explicit_max_ttl = 1000;
    assert_int_equal(create(f->v, &spec, &m), 0);
    assert_int_equal(renew(f->v, &m, 0, NOW + 700 * 1000, &ttl), 0);
    assert_int_equal(ttl, 300);
    token_clear(&m.t);
}

/* Goal: a token that isn't renewable, or never expires, isn't renewed. */
static void test_not_renewable(void **state)
{
    struct fixture *f = *state;
    _cleanup_json_ json_t *policies = json_pack("[s]", "root");
    struct token_spec spec = {.policies = policies, .ttl = 60};
    struct made m;
    int64_t ttl;
    assert_int_equal(create(f->v, &spec, &m), 0);
    assert_int_equal(renew(f->v, &m, 0, NOW, &ttl), TOKEN_E_REFUSED);
    token_clear(&m.t);
    spec = (struct token_spec){.policies = policies, .root = true, .renewable = true};
    assert_int_equal(create(f->v, &spec, &m), 0);
    assert_int_equal(renew(f->v, &m, 0, NOW, &ttl), TOKEN_E_REFUSED);
    token_clear(&m.t);
}

/* --- The end
 * -------------------------------------------------------------------------------------- */

/* A tree:  a -> b -> d, e;  a -> c;  x beside it. */
struct tree {
    struct made a, b, c, d, e, x;
};

static struct tree plant(struct vault *v)
{
    struct tree t;
    t.a = make(v, NULL, 600);
    t.b = make(v, t.a.t.id, 600);
    t.c = make(v, t.a.t.id, 600);
    t.d = make(v, t.b.t.id, 600);
    t.e = make(v, t.b.t.id, 600);
    t.x = make(v, NULL, 600);
    return t;
}

static void cut(struct tree *t)
{
    struct made *all[] = {&t->a, &t->b, &t->c, &t->d, &t->e, &t->x};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        token_clear(&all[i]->t);
}

/* Goal: descendants go with a token, children before parents, each told once; others stay. */
static void test_cascade(void **state)
{
    struct fixture *f = *state;
    struct tree t = plant(f->v);
    struct gone g = {0};
    assert_int_equal(token_revoke(f->v, t.b.t.id, false, note, &g), 0);
    assert_int_equal(g.n, 3);
    assert_string_equal(g.ids[2], t.b.t.id);
    assert_int_equal(find(f->v, t.d.text, NOW), TOKEN_E_NONE);
    assert_int_equal(find(f->v, t.e.text, NOW), TOKEN_E_NONE);
    assert_int_equal(find(f->v, t.a.text, NOW), 0);
    assert_int_equal(find(f->v, t.c.text, NOW), 0);
    assert_int_equal(token_revoke(f->v, t.b.t.id, false, note, &g), TOKEN_E_NONE);
    assert_int_equal(token_revoke(f->v, t.a.t.id, false, NULL, NULL), 0);
    assert_int_equal(count(f->v), 1);
    assert_int_equal(find(f->v, t.x.text, NOW), 0);
    cut(&t);
}

/* Goal: revoke-orphan takes one token; its children stay, as orphans, with their own children. */
static void test_orphans(void **state)
{
    struct fixture *f = *state;
    struct tree t = plant(f->v);
    struct gone g = {0};
    struct token b;
    assert_int_equal(token_revoke(f->v, t.a.t.id, true, note, &g), 0);
    assert_int_equal(g.n, 1);
    assert_int_equal(token_find(f->v, t.b.text, NOW, &b), 0);
    assert_string_equal(b.parent, "");
    token_clear(&b);
    assert_int_equal(token_find(f->v, t.d.text, NOW, &b), 0);
    assert_string_equal(b.parent, t.b.t.id);
    token_clear(&b);
    assert_int_equal(count(f->v), 5);
    cut(&t);
}

/* Goal: when a token's leases can't be revoked, the error comes up and undoing brings all back. */
static void test_gone_fails(void **state)
{
    struct fixture *f = *state;
    struct tree t = plant(f->v);
    struct gone g = {.end_at = 2};
    assert_int_equal(vault_begin(f->v), 0);
    assert_int_equal(vault_mark(f->v), 0);
    assert_int_equal(token_revoke(f->v, t.a.t.id, false, note, &g), -ECANCELED);
    assert_int_equal(vault_undo(f->v), 0);
    assert_int_equal(vault_commit(f->v), 0);
    assert_int_equal(count(f->v), 6);
    cut(&t);
}

/* Goal: a chain of ten thousand generations is revoked within a small stack. */
static void test_deep(void **state)
{
    struct fixture *f = *state;
    char parent[TOKEN_ID_LEN + 1] = "", first[TOKEN_ID_LEN + 1] = "";
    struct gone g = {0};
    struct rlimit stack, small;
    assert_int_equal(vault_begin(f->v), 0);
    for (int i = 0; i < 10000; i++) {
        struct made m = make(f->v, *parent ? parent : NULL, 600);
        snprintf(parent, sizeof(parent), "%s", m.t.id);
        if (i == 0)
            snprintf(first, sizeof(first), "%s", m.t.id);
        token_clear(&m.t);
    }
    assert_int_equal(count(f->v), 10000);
    getrlimit(RLIMIT_STACK, &stack);
    small = stack;
    small.rlim_cur = 512 * 1024;
    assert_int_equal(setrlimit(RLIMIT_STACK, &small), 0);
    assert_int_equal(token_revoke(f->v, first, false, note, &g), 0);
    assert_int_equal(setrlimit(RLIMIT_STACK, &stack), 0);
    assert_int_equal(g.n, 10000);
    assert_int_equal(count(f->v), 0);
    assert_int_equal(vault_commit(f->v), 0);
}

/* Goal: expiry takes what is due with its descendants, at most so many, and tells when the next is
 * due. */
static void test_expire(void **state)
{
    struct fixture *f = *state;
    struct gone g = {0};
    int64_t due = 1;
    assert_int_equal(token_next_due(f->v, &due), TOKEN_E_NONE);
    struct made soon = make(f->v, NULL, 10), late = make(f->v, soon.t.id, 500),
                other = make(f->v, NULL, 20), root = {0};
    _cleanup_json_ json_t *policies = json_pack("[s]", "root");
    assert_int_equal(create(f->v, &(struct token_spec){.policies = policies, .root = true}, &root),
                     0);
    assert_int_equal(token_next_due(f->v, &due), 0);
    assert_int_equal(due, NOW + 10000);
    assert_int_equal(token_expire(f->v, NOW + 9999, 10, note, &g), 0);
    assert_int_equal(g.n, 0);
    assert_int_equal(token_expire(f->v, NOW + 60000, 1, note, &g), 0);
    assert_int_equal(g.n, 2);
    assert_string_equal(g.ids[0], late.t.id);
    assert_string_equal(g.ids[1], soon.t.id);
    assert_int_equal(token_expire(f->v, NOW + 1000000, 10, note, &g), 0);
    assert_int_equal(g.n, 3);
    assert_int_equal(count(f->v), 1); /* root never expires */
    assert_int_equal(find(f->v, root.text, INT64_MAX), 0);
    assert_int_equal(token_next_due(f->v, &due), TOKEN_E_NONE);
    token_clear(&soon.t);
    token_clear(&late.t);
    token_clear(&other.t);
    token_clear(&root.t);
}

/* Goal: a parent and its child that are due together are each told once. */
static void test_expire_together(void **state)
{
    struct fixture *f = *state;
    struct gone g = {0};
    struct made a = make(f->v, NULL, 10), b = make(f->v, a.t.id, 10);
    assert_int_equal(token_expire(f->v, NOW + 10000, 0, note, &g), 0);
    assert_int_equal(g.n, 2);
    assert_int_equal(count(f->v), 0);
    token_clear(&a.t);
    token_clear(&b.t);
}

static void behind_its_back(struct fixture *f, const char *sql)
{
    vault_close(f->v);
    f->v = NULL;
    fixture_sql(f, sql);
    fixture_reopen(f);
}

/* Goal: a row that somebody changed keeps no other token alive: neither its neighbours in the
 * queue, nor its parent, nor the rest of its session. */
static void test_broken_rows(void **state)
{
    struct fixture *f = *state;
    _cleanup_json_ json_t *policies = json_pack("[s]", "default"), *list = NULL;
    struct token_spec spec = plain(policies);
    struct made m[7];
    struct gone g = {0};
    m[0] = make(f->v, NULL, 10); /* broken, and first in the queue */
    m[1] = make(f->v, NULL, 20);
    m[2] = make(f->v, m[1].t.id, 500); /* broken, and the first child */
    m[3] = make(f->v, m[1].t.id, 500);
    spec.session = "boot/7";
    spec.ttl = 500;
    for (int i = 4; i < 7; i++)
        assert_int_equal(create(f->v, &spec, &m[i]), 0);
    behind_its_back(f, "UPDATE token SET due = 1 WHERE n = 1;"
                       "UPDATE token SET body = zeroblob(90) WHERE n IN (3, 5);");
    assert_int_equal(token_expire(f->v, NOW + 20000, 1, note, &g), 0);
    assert_int_equal(g.n, 0);
    assert_int_equal(token_expire(f->v, NOW + 20000, 1, note, &g), 0);
    assert_int_equal(g.n, 2);
    assert_string_equal(g.ids[0], m[3].t.id);
    assert_string_equal(g.ids[1], m[1].t.id);
    assert_int_equal(find(f->v, m[0].text, NOW), -EBADMSG);
    assert_int_equal(find(f->v, m[2].text, NOW), -EBADMSG);
    assert_int_equal(token_accessors(f->v, &list), 0);
    assert_int_equal(json_array_size(list), 2);
    g = (struct gone){0};
    assert_int_equal(token_session_ended(f->v, "boot/7", note, &g), 0);
    assert_int_equal(g.n, 2);
    for (int i = 0; i < 7; i++)
        token_clear(&m[i].t);
}

/* Goal: revoking a token orphans its sound children in spite of a broken one. */
static void test_orphans_of_broken(void **state)
{
    struct fixture *f = *state;
    struct gone g = {0};
    struct made a = make(f->v, NULL, 60), b = make(f->v, a.t.id, 60), c = make(f->v, a.t.id, 60);
    behind_its_back(f, "UPDATE token SET body = zeroblob(90) WHERE n = 2");
    assert_int_equal(token_revoke(f->v, a.t.id, true, note, &g), 0);
    assert_int_equal(g.n, 1);
    assert_int_equal(find(f->v, c.text, NOW), 0);
    assert_int_equal(find(f->v, a.text, NOW), TOKEN_E_NONE);
    token_clear(&a.t);
    token_clear(&b.t);
    token_clear(&c.t);
}

/* Goal: a login session's end takes its tokens and their children only. */
static void test_session_ended(void **state)
{
    struct fixture *f = *state;
    _cleanup_json_ json_t *policies = json_pack("[s]", "default");
    struct token_spec spec = plain(policies);
    struct made mine, other;
    struct gone g = {0};
    spec.session = "boot/7";
    assert_int_equal(create(f->v, &spec, &mine), 0);
    struct made child = make(f->v, mine.t.id, 60), none = make(f->v, NULL, 60);
    spec.session = "boot/8";
    assert_int_equal(create(f->v, &spec, &other), 0);
    assert_int_equal(token_session_ended(f->v, "", note, &g), 0);
    assert_int_equal(token_session_ended(f->v, "boot/9", note, &g), 0);
    assert_int_equal(g.n, 0);
    assert_int_equal(token_session_ended(f->v, "boot/7", note, &g), 0);
    assert_int_equal(g.n, 2);
    assert_int_equal(find(f->v, child.text, NOW), TOKEN_E_NONE);
    assert_int_equal(find(f->v, other.text, NOW), 0);
    assert_int_equal(find(f->v, none.text, NOW), 0);
    token_clear(&mine.t);
    token_clear(&other.t);
    token_clear(&child.t);
    token_clear(&none.t);
}

/* --- Showing
 * -------------------------------------------------------------------------------------- */

/* Goal: a lookup answers Vault's fields. */
static void test_json(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {
        "id",           "accessor",  "policies",         "path",          "meta",
        "display_name", "num_uses",  "orphan",           "creation_time", "creation_ttl",
        "expire_time",  "ttl",       "explicit_max_ttl", "entity_id",     "type",
        "renewable",    "issue_time"};
    struct made a = make(f->v, NULL, 600), b = make(f->v, a.t.id, 600);
    _cleanup_json_ json_t *o = token_to_json(&b.t, b.text, NOW + 1500);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!json_object_get(o, names[i]))
            fail_msg("%s is missing", names[i]);
    }
    assert_string_equal(json_str(o, "id"), b.text);
    assert_int_equal(json_int(o, "ttl", 0), 598);
    assert_int_equal(json_int(o, "creation_ttl", 0), 600);
    assert_int_equal(json_int(o, "creation_time", 0), NOW / 1000);
    assert_string_equal(json_str(o, "expire_time"), "2023-11-14T22:23:20Z");
    assert_string_equal(json_str(o, "type"), "service");
    assert_false(json_bool(o, "orphan", true));
    assert_null(json_object_get(o, "period"));
    json_decref(o);
    o = token_to_json(&a.t, NULL, NOW + 700 * 1000);
    assert_string_equal(json_str(o, "id"), "");
    assert_int_equal(json_int(o, "ttl", -1), 0);
    assert_true(json_bool(o, "orphan", false));
    assert_true(json_is_null(json_object_get(o, "meta")));
    token_clear(&a.t);
    token_clear(&b.t);
}

/* Goal: every accessor is listed, no token is. */
static void test_accessors(void **state)
{
    struct fixture *f = *state;
    json_t *list = NULL;
    struct tree t = plant(f->v);
    assert_int_equal(token_accessors(f->v, &list), 0);
    assert_int_equal(json_array_size(list), 6);
    assert_true(json_has_str(list, t.d.t.accessor));
    assert_false(json_has_str(list, t.d.text));
    json_decref(list);
    cut(&t);
}

/* Goal: sealed, no token is known. */
static void test_sealed(void **state)
{
    struct fixture *f = *state;
    struct made m = make(f->v, NULL, 600);
    vault_seal(f->v);
    assert_int_equal(find(f->v, m.text, NOW), -EACCES);
    assert_int_equal(token_revoke(f->v, m.t.id, false, NULL, NULL), -EACCES);
    token_clear(&m.t);
    token_clear(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_create),
        FIXTURE_TEST(test_not_kept),
        FIXTURE_TEST(test_find_odd),
        FIXTURE_TEST(test_expiry),
        FIXTURE_TEST(test_first_ttl),
        FIXTURE_TEST(test_refused),
        FIXTURE_TEST(test_given_id),
        FIXTURE_TEST(test_bad_parents),
        FIXTURE_TEST(test_uses),
        FIXTURE_TEST(test_renew),
        FIXTURE_TEST(test_explicit_max),
        FIXTURE_TEST(test_period),
        FIXTURE_TEST(test_not_renewable),
        FIXTURE_TEST(test_cascade),
        FIXTURE_TEST(test_orphans),
        FIXTURE_TEST(test_gone_fails),
        FIXTURE_TEST(test_deep),
        FIXTURE_TEST(test_expire),
        FIXTURE_TEST(test_expire_together),
        FIXTURE_TEST(test_broken_rows),
        FIXTURE_TEST(test_orphans_of_broken),
        FIXTURE_TEST(test_session_ended),
        FIXTURE_TEST(test_json),
        FIXTURE_TEST(test_accessors),
        FIXTURE_TEST(test_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
