/* Login sessions, what was proved in them, and the handles between two hooks. */
#include "vault_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "identity/session.h"

#define NOW 1700000000000LL

static struct session sample(uint32_t number, const char *user, uid_t uid)
{
    struct session s = {.uid = uid,
                        .leader = getpid(),
                        .started_ms = NOW,
                        .service = "sshd",
                        .source = "192.0.2.7",
                        .tty = "pts/3",
                        .key = "ab12"};
    session_make_id(number, s.id);
    snprintf(s.user, sizeof(s.user), "%s", user);
    assert_int_equal(session_leader_start(s.leader, &s.leader_start), 0);
    return s;
}

static void assert_same(const struct session *a, const struct session *b)
{
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->user, b->user);
    assert_int_equal(a->uid, b->uid);
    assert_string_equal(a->service, b->service);
    assert_string_equal(a->source, b->source);
    assert_string_equal(a->tty, b->tty);
    assert_int_equal(a->leader, b->leader);
    assert_int_equal(a->leader_start, b->leader_start);
    assert_int_equal(a->started_ms, b->started_ms);
    assert_string_equal(a->key, b->key);
}

static struct proof proved(enum factor factor, const char *session, const char *source, int64_t at)
{
    struct proof p = {
        .factor = factor, .user = "bob", .service = "sshd", .key = "k1", .boot_ms = at};
    snprintf(p.session, sizeof(p.session), "%s", session);
    snprintf(p.source, sizeof(p.source), "%s", source);
    snprintf(p.boot_id, sizeof(p.boot_id), "%s", clock_boot_id());
    return p;
}

/* --- Sessions
 * ------------------------------------------------------------------------------------- */

/* Goal: the id is the boot id and the kernel's number, which may use all 32 bits. */
static void test_id(void **state)
{
    char id[SESSION_ID_MAX], want[SESSION_ID_MAX];
    (void)state;
    session_make_id(4294967294U, id);
    snprintf(want, sizeof(want), "%s/4294967294", clock_boot_id());
    assert_string_equal(id, want);
}

/* Goal: a session is kept with every field, across a restart, and gone after close. */
static void test_open_close(void **state)
{
    struct fixture *f = *state;
    struct session s = sample(7, "bob", 1000), got;
    assert_int_equal(session_get(f->v, s.id, &got), SESSION_E_NONE);
    assert_int_equal(session_open(f->v, &s), 0);
    fixture_reopen(f);
    assert_int_equal(session_get(f->v, s.id, &got), 0);
    assert_same(&got, &s);
    assert_int_equal(session_close(f->v, s.id), 0);
    assert_int_equal(session_get(f->v, s.id, &got), SESSION_E_NONE);
    assert_int_equal(session_close(f->v, s.id), SESSION_E_NONE);
}

/* Goal: a recorded session can't be taken over; the same login may say it twice. */
static void test_taken(void **state)
{
    struct fixture *f = *state;
    struct session s = sample(7, "bob", 1000), got;
    assert_int_equal(session_open(f->v, &s), 0);
    struct session again = s;
    snprintf(again.service, sizeof(again.service), "other");
    again.started_ms++;
    assert_int_equal(session_open(f->v, &again), 0);
    struct session other = s;
    snprintf(other.user, sizeof(other.user), "eve");
    assert_int_equal(session_open(f->v, &other), SESSION_E_TAKEN);
    other = s;
    other.uid++;
    assert_int_equal(session_open(f->v, &other), SESSION_E_TAKEN);
    other = s;
    other.leader = 1;
    assert_int_equal(session_open(f->v, &other), SESSION_E_TAKEN);
    other = s;
    other.leader_start++;
    assert_int_equal(session_open(f->v, &other), SESSION_E_TAKEN);
    assert_int_equal(session_get(f->v, s.id, &got), 0);
    assert_same(&got, &s);
}

static int count(const struct session *s, void *data)
{
    (void)s;
    ++*(int *)data;
    return *(int *)data == 99 ? -ECANCELED : 0;
}

/* Goal: a session's row that somebody changed hides no other session from the one who ends them. */
static void test_each_broken(void **state)
{
    struct fixture *f = *state;
    int n = 0;
    for (uint32_t i = 0; i < 4; i++) {
        struct session s = sample(i, "bob", 1000);
        assert_int_equal(session_open(f->v, &s), 0);
    }
    vault_close(f->v);
    f->v = NULL;
    fixture_sql(f, "UPDATE session SET body = zeroblob(90) WHERE n = 1;"
                   "UPDATE session SET id = x'00' WHERE n = 3;");
    fixture_reopen(f);
    assert_int_equal(session_each(f->v, count, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(record_passed_over(f->v), 2);
}

/* Goal: all sessions are visited, and a visitor can end the visit. */
static void test_each(void **state)
{
    struct fixture *f = *state;
    int n = 0;
    for (uint32_t i = 0; i < 5; i++) {
        struct session s = sample(i, "bob", 1000);
        assert_int_equal(session_open(f->v, &s), 0);
    }
    assert_int_equal(session_each(f->v, count, &n), 0);
    assert_int_equal(n, 5);
    n = 98;
    assert_int_equal(session_each(f->v, count, &n), -ECANCELED);
}

/* Goal: text that can't be kept is an error, not a cut or broken row. */
static void test_odd_text(void **state)
{
    struct fixture *f = *state;
    struct session s = sample(7, "bob", 1000), got;
    snprintf(s.tty, sizeof(s.tty), "\xff");
    assert_int_equal(session_open(f->v, &s), -EINVAL);
    s = sample(7, "bob", 1000);
    memset(s.tty, 'a', sizeof(s.tty));
    assert_int_equal(session_open(f->v, &s), -EINVAL);
    assert_int_equal(session_get(f->v, s.id, &got), SESSION_E_NONE);
}

/* Goal: a session lives as long as its leader: not as another process of the number, nor in a new
 * boot. */
static void test_alive(void **state)
{
    struct session s = sample(7, "bob", 1000);
    (void)state;
    assert_true(session_alive(&s));
    s.leader_start++;
    assert_false(session_alive(&s));
    s.leader_start--;
    s.id[0] = s.id[0] == '0' ? '1' : '0';
    assert_false(session_alive(&s));
    struct session zero = {0};
    assert_false(session_alive(&zero));

    pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            pause();
    }
    s = sample(8, "bob", 1000);
    s.leader = pid;
    assert_int_equal(session_leader_start(pid, &s.leader_start), 0);
    assert_true(session_alive(&s));
    siginfo_t info;
    kill(pid, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_false(session_alive(&s)); /* a zombie */
    assert_int_equal(session_leader_start(pid, &s.leader_start), -ESRCH);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(session_alive(&s));
    assert_int_equal(session_leader_start(pid, &s.leader_start), -ESRCH);
    assert_int_equal(session_leader_start(0, &s.leader_start), -ESRCH);
}

/* --- Proofs
 * --------------------------------------------------------------------------------------- */

struct seen {
    int n;
    struct {
        enum factor factor;
        int64_t at;
        bool session, source;
    } list[16];
};

static int see(const struct proof *p, bool by_session, bool by_source, void *data)
{
    struct seen *seen = data;
    assert_true(by_session || by_source);
    assert_true(seen->n < 16);
    seen->list[seen->n].factor = p->factor;
    seen->list[seen->n].at = p->boot_ms;
    seen->list[seen->n].session = by_session;
    seen->list[seen->n++].source = by_source;
    return 0;
}

static struct seen look(struct vault *v, const char *session, const char *user, const char *source,
                        const char *key)
{
    struct seen seen = {0};
    assert_int_equal(session_proofs(v, session, user, source, key, see, &seen), 0);
    return seen;
}

/* Goal: a proof counts for its session and its user, and says so. */
static void test_by_session(void **state)
{
    struct fixture *f = *state;
    struct proof p = proved(FACTOR_TOTP, "s1", "", 100);
    assert_int_equal(session_prove(f->v, &p), 0);
    struct seen seen = look(f->v, "s1", "bob", NULL, NULL);
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.list[0].at, 100);
    assert_true(seen.list[0].session);
    assert_false(seen.list[0].source);
    assert_int_equal(look(f->v, "s2", "bob", NULL, NULL).n, 0);
    assert_int_equal(look(f->v, "s1", "eve", NULL, NULL).n, 0);
    assert_int_equal(look(f->v, NULL, "bob", NULL, NULL).n, 0);
    assert_int_equal(look(f->v, "", "bob", "", "k1").n, 0);
}

/* Goal: by source it counts for the same user, address and key, and nothing else. */
static void test_by_source(void **state)
{
    struct fixture *f = *state;
    struct proof p = proved(FACTOR_TOTP, "s1", "192.0.2.7", 100);
    assert_int_equal(session_prove(f->v, &p), 0);
    struct seen seen = look(f->v, "s2", "bob", "192.0.2.7", "k1");
    assert_int_equal(seen.n, 1);
    assert_false(seen.list[0].session);
    assert_true(seen.list[0].source);
    assert_int_equal(look(f->v, "s2", "bob", "192.0.2.8", "k1").n, 0);
    assert_int_equal(look(f->v, "s2", "bob", "192.0.2.7", "k2").n, 0);
    assert_int_equal(look(f->v, "s2", "bob", "192.0.2.7", "").n, 0);
    assert_int_equal(look(f->v, "s2", "bob", "192.0.2.7", NULL).n, 0);
    assert_int_equal(look(f->v, "s2", "eve", "192.0.2.7", "k1").n, 0);
    assert_int_equal(look(f->v, "s2", "bob", NULL, "k1").n, 0);
    seen = look(f->v, "s1", "bob", "192.0.2.7", "k1"); /* one proof, both ways: told once */
    assert_int_equal(seen.n, 1);
    assert_true(seen.list[0].session && seen.list[0].source);
}

/* Goal: a source that is no address ("?", none) never counts as one. */
static void test_no_source(void **state)
{
    struct fixture *f = *state;
    struct proof p = proved(FACTOR_TOTP, "", "?", 100), q = proved(FACTOR_TOTP, "", "", 100);
    assert_int_equal(session_prove(f->v, &p), 0);
    assert_int_equal(session_prove(f->v, &q), 0);
    assert_int_equal(look(f->v, NULL, "bob", "?", "k1").n, 0);
    assert_int_equal(look(f->v, NULL, "bob", "", "k1").n, 0);
    int64_t n;
    assert_int_equal(record_count(f->v, RECORD_PROOF, &n), 0);
    assert_int_equal(n, 0);
}

/* Goal: only the newest proof of a factor is kept, whatever the order; factors and people are
 * apart. */
static void test_newest(void **state)
{
    struct fixture *f = *state;
    static const int64_t times[] = {200, 300, 100};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct proof p = proved(FACTOR_TOTP, "s1", "192.0.2.7", times[i]);
        assert_int_equal(session_prove(f->v, &p), 0);
    }
    struct proof p = proved(FACTOR_RECOVERY, "s1", "192.0.2.7", 50);
    assert_int_equal(session_prove(f->v, &p), 0);
    p = proved(FACTOR_TOTP, "s1", "192.0.2.7", 400);
    snprintf(p.user, sizeof(p.user), "root");
    assert_int_equal(session_prove(f->v, &p), 0);
    struct seen seen = look(f->v, "s1", "bob", "192.0.2.7", "k1");
    assert_int_equal(seen.n, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(seen.list[i].at, seen.list[i].factor == FACTOR_TOTP ? 300 : 50);
        assert_true(seen.list[i].session && seen.list[i].source);
    }
    int64_t n;
    assert_int_equal(record_count(f->v, RECORD_PROOF, &n), 0);
    assert_int_equal(n, 6);
}

/* Goal: a newer proof from another session counts by source beside the session's own. */
static void test_two_sessions(void **state)
{
    struct fixture *f = *state;
    struct proof p = proved(FACTOR_TOTP, "s1", "192.0.2.7", 100),
                 q = proved(FACTOR_TOTP, "s2", "192.0.2.7", 200);
    assert_int_equal(session_prove(f->v, &p), 0);
    assert_int_equal(session_prove(f->v, &q), 0);
    struct seen seen = look(f->v, "s1", "bob", "192.0.2.7", "k1");
    assert_int_equal(seen.n, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(seen.list[i].session, seen.list[i].at == 100);
        assert_int_equal(seen.list[i].source, seen.list[i].at == 200);
    }
}

/* Goal: proofs of another boot count for nothing, and any of this boot takes their place. */
static void test_other_boot(void **state)
{
    struct fixture *f = *state;
    struct proof p = proved(FACTOR_TOTP, "s1", "192.0.2.7", 900000);
    snprintf(p.boot_id, sizeof(p.boot_id), "00000000-0000-0000-0000-000000000000");
    assert_int_equal(session_prove(f->v, &p), 0);
    assert_int_equal(look(f->v, "s1", "bob", "192.0.2.7", "k1").n, 0);
    p = proved(FACTOR_TOTP, "s1", "192.0.2.7", 100);
    assert_int_equal(session_prove(f->v, &p), 0);
    assert_int_equal(look(f->v, "s1", "bob", "192.0.2.7", "k1").n, 1);
}

/* Goal: closing a session ends what its proofs give it, but not what they give their source. */
static void test_close_proofs(void **state)
{
    struct fixture *f = *state;
    struct session s = sample(7, "bob", 1000);
    assert_int_equal(session_open(f->v, &s), 0);
    struct proof p = proved(FACTOR_TOTP, s.id, "192.0.2.7", 100);
    assert_int_equal(session_prove(f->v, &p), 0);
    assert_int_equal(session_close(f->v, s.id), 0);
    assert_int_equal(look(f->v, s.id, "bob", NULL, NULL).n, 0);
    assert_int_equal(look(f->v, NULL, "bob", "192.0.2.7", "k1").n, 1);
}

/* Goal: what is no proof is refused. */
static void test_odd_proof(void **state)
{
    struct fixture *f = *state;
    struct proof p = proved((enum factor)0, "s1", "", 1);
    struct seen seen = {0};
    char handle[SESSION_HANDLE_LEN + 1];
    assert_int_equal(session_prove(f->v, &p), -EINVAL);
    assert_int_equal(session_handle_make(f->v, &p, NOW, handle), -EINVAL);
    assert_string_equal(handle, "");
    p = proved((enum factor)3, "s1", "", 1);
    assert_int_equal(session_prove(f->v, &p), -EINVAL);
    p = proved(FACTOR_TOTP, "s1", "", 1);
    p.user[0] = '\0';
    assert_int_equal(session_prove(f->v, &p), -EINVAL);
    assert_int_equal(session_proofs(f->v, "s1", "", NULL, NULL, see, &seen), -EINVAL);
    assert_int_equal(session_proofs(f->v, "s1", NULL, NULL, NULL, see, &seen), -EINVAL);
}

/* --- Handles
 * -------------------------------------------------------------------------------------- */

static void make(struct vault *v, char handle[SESSION_HANDLE_LEN + 1])
{
    struct proof p = proved(FACTOR_TOTP, "", "192.0.2.7", 123);
    assert_int_equal(session_handle_make(v, &p, NOW, handle), 0);
    assert_int_equal(strlen(handle), SESSION_HANDLE_LEN);
    /* What countersign/dialogue.h says a handle is; the module refuses any other. */
    assert_int_equal(strspn(handle, "0123456789abcdef"), SESSION_HANDLE_LEN);
}

static int take(struct vault *v, const char *handle, const char *user, const char *service,
                int64_t now, bool peek)
{
    struct proof p;
    int r = session_handle_take(v, handle, user, service, now, peek, &p);
    if (r == 0) {
        assert_int_equal(p.factor, FACTOR_TOTP);
        assert_int_equal(p.boot_ms, 123);
        assert_string_equal(p.source, "192.0.2.7");
        assert_string_equal(p.session, "");
    } else {
        assert_int_equal(p.factor, 0);
        assert_string_equal(p.user, "");
    }
    return r;
}

/* Goal: a handle may be looked at often and is taken once, by another process after a restart too.
 */
static void test_handle_once(void **state)
{
    struct fixture *f = *state;
    char handle[SESSION_HANDLE_LEN + 1], other[SESSION_HANDLE_LEN + 1];
    make(f->v, handle);
    make(f->v, other);
    assert_string_not_equal(handle, other);
    assert_int_equal(take(f->v, handle, "bob", "sshd", NOW, true), 0);
    assert_int_equal(take(f->v, handle, "bob", "sshd", NOW, true), 0);
    fixture_reopen(f);
    assert_int_equal(take(f->v, handle, "bob", "sshd", NOW, false), 0);
    assert_int_equal(take(f->v, handle, "bob", "sshd", NOW, false), SESSION_E_NONE);
    assert_int_equal(take(f->v, handle, "bob", "sshd", NOW, true), SESSION_E_NONE);
    assert_int_equal(take(f->v, other, "bob", "sshd", NOW, false), 0);
}

/* Goal: another user or service gets nothing, and whoever tries to take it spends it. */
static void test_handle_bound(void **state)
{
    struct fixture *f = *state;
    char handle[SESSION_HANDLE_LEN + 1];
    make(f->v, handle);
    assert_int_equal(take(f->v, handle, "eve", "sshd", NOW, true), SESSION_E_NONE);
    assert_int_equal(take(f->v, handle, "bob", "login", NOW, true), SESSION_E_NONE);
    assert_int_equal(take(f->v, handle, "bob", "sshd", NOW, true), 0);
    assert_int_equal(take(f->v, handle, "bob", "login", NOW, false), SESSION_E_NONE);
    assert_int_equal(take(f->v, handle, "bob", "sshd", NOW, false), SESSION_E_NONE);
    make(f->v, handle);
    assert_int_equal(take(f->v, handle, "eve", "sshd", NOW, false), SESSION_E_NONE);
    assert_int_equal(take(f->v, handle, "bob", "sshd", NOW, false), SESSION_E_NONE);
}

/* Goal: it expires after five minutes, and a clock put back doesn't give it longer. */
static void test_handle_expires(void **state)
{
    struct fixture *f = *state;
    char handle[SESSION_HANDLE_LEN + 1];
    make(f->v, handle);
    assert_int_equal(take(f->v, handle, "bob", "sshd", NOW + SESSION_HANDLE_TTL_MS - 1, true), 0);
    assert_int_equal(take(f->v, handle, "bob", "sshd", NOW + SESSION_HANDLE_TTL_MS, true),
                     SESSION_E_NONE);
    assert_int_equal(take(f->v, handle, "bob", "sshd", NOW - 1, true), SESSION_E_NONE);
    assert_int_equal(take(f->v, handle, "bob", "sshd", NOW + SESSION_HANDLE_TTL_MS, false),
                     SESSION_E_NONE);
    assert_int_equal(take(f->v, handle, "bob", "sshd", NOW, true), SESSION_E_NONE); /* gone */
}

/* Goal: what is no handle, or one of another boot, is simply none. */
static void test_handle_odd(void **state)
{
    struct fixture *f = *state;
    char handle[SESSION_HANDLE_LEN + 1], endless[4000];
    memset(endless, 'a', sizeof(endless));
    endless[sizeof(endless) - 1] = '\0';
    const char *odd[] = {
        "",     "a",    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/",
        "\xff", endless};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++)
        assert_int_equal(take(f->v, odd[i], "bob", "sshd", NOW, false), SESSION_E_NONE);
    struct proof p = proved(FACTOR_TOTP, "", "", 1);
    snprintf(p.boot_id, sizeof(p.boot_id), "x");
    assert_int_equal(session_handle_make(f->v, &p, NOW, handle), 0);
    assert_int_equal(take(f->v, handle, "bob", "sshd", NOW, false), SESSION_E_NONE);
}

/* Goal: the sweep deletes what is past its deadline and nothing else. */
static void test_sweep(void **state)
{
    struct fixture *f = *state;
    char handle[SESSION_HANDLE_LEN + 1];
    int64_t n;
    make(f->v, handle);
    struct proof p = proved(FACTOR_TOTP, "s1", "192.0.2.7", 100);
    assert_int_equal(session_prove(f->v, &p), 0);
    assert_int_equal(session_sweep(f->v, NOW + SESSION_HANDLE_TTL_MS - 1, 100), 0);
    assert_int_equal(record_count(f->v, RECORD_HANDLE, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(session_sweep(f->v, NOW + SESSION_HANDLE_TTL_MS, 100), 0);
    assert_int_equal(record_count(f->v, RECORD_HANDLE, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(record_count(f->v, RECORD_PROOF, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(session_sweep(f->v, clock_wall_ms() + SESSION_PROOF_KEEP_S * 1000 + 1000, 100),
                     0);
    assert_int_equal(record_count(f->v, RECORD_PROOF, &n), 0);
    assert_int_equal(n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id),       FIXTURE_TEST(test_open_close),
        FIXTURE_TEST(test_taken),        FIXTURE_TEST(test_each),
        FIXTURE_TEST(test_each_broken),  FIXTURE_TEST(test_odd_text),
        cmocka_unit_test(test_alive),    FIXTURE_TEST(test_by_session),
        FIXTURE_TEST(test_by_source),    FIXTURE_TEST(test_no_source),
        FIXTURE_TEST(test_newest),       FIXTURE_TEST(test_two_sessions),
        FIXTURE_TEST(test_other_boot),   FIXTURE_TEST(test_close_proofs),
        FIXTURE_TEST(test_odd_proof),    FIXTURE_TEST(test_handle_once),
        FIXTURE_TEST(test_handle_bound), FIXTURE_TEST(test_handle_expires),
        FIXTURE_TEST(test_handle_odd),   FIXTURE_TEST(test_sweep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
