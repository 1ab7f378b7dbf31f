/* Rows that say anything at all once they are opened: what an older or a broken agent wrote, or
 * somebody who has the key.
 *
 * First byte: what kind of row. Then lines: its id or path, its four index values, its deadline;
 * the rest is its body. It is sealed properly, then read by all that reads such rows. Promised
 * besides memory: it grants nothing (the token in it is not one that may do all), and holds up
 * neither requests nor the queue. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fuzz/fuzz.h"
#include "fuzz/whole.h"
#include "identity/factor.h"
#include "identity/session.h"
#include "identity/throttle.h"
#include "identity/token.h"
#include "server/mount.h"
#include "server/rules.h"
#include "vault/entry.h"
#include "vault/inner.h"

#define LINES 6
#define LINE_MAX 200

struct row {
    char line[LINES][LINE_MAX + 1];
    const char *body;
    size_t len;
};

static void cut(struct row *r, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < LINES; i++) {
        const uint8_t *end = n ? memchr(p, '\n', n) : NULL;
        size_t l = end ? (size_t)(end - p) : n;
        size_t most = l < LINE_MAX ? l : LINE_MAX;
        if (most)
            memcpy(r->line[i], p, most);
        p += l + (end != NULL);
        n -= l + (end != NULL);
    }
    r->body = (const char *)p;
    r->len = n;
}

/* --- Readers, one for each table ----------------------------------------------------------------
 */

static int ignore_lease(const json_t *lease, void *data)
{
    (void)data;
    PROMISE(json_is_object(lease));
    return 0;
}

static int ignore_gone(const char *id, void *data)
{
    (void)id, (void)data;
    return 0;
}

static int ignore_session(const struct session *s, void *data)
{
    (void)data;
    (void)session_alive(s);
    return 0;
}

static int ignore_proof(const struct proof *p, bool by_session, bool by_source, void *data)
{
    (void)p, (void)data;
    PROMISE(by_session || by_source);
    return 0;
}

static void read_leases(struct agent *a, const struct row *r)
{
    struct lease_counts counts;
    char why[200];
    int64_t ttl, n;
    size_t all;
    bool more;
    json_t *lease = NULL;
    (void)lease_counts(a->leases, &counts);
    (void)lease_each(a->leases, NULL, NULL, 0, ignore_lease, NULL);
    (void)lease_each(a->leases, "uid:0", NULL, 0, ignore_lease, NULL);
    if (lease_get(a->leases, r->line[0], &lease) == 0)
        json_decref(lease);
    (void)lease_count_session(a->leases, r->line[3], &n);
    (void)lease_renew(a->leases, r->line[0], 60, clock_lease_ms(), false, &ttl, why, sizeof(why));
    (void)lease_activate(a->leases, r->line[0], clock_lease_ms());
    (void)lease_due(a->leases, clock_lease_ms(), 100, &more);
    struct lease_tour t = {0}; /* without a limit: a part at a time */
    while (lease_restart(a->leases, INT64_MAX / 2, clock_lease_ms(), &t) == 0 && t.slice.more) {
    }
    (void)lease_revoked(a->leases, r->line[0], LEASE_RETRY, "why", NULL, clock_lease_ms());
    (void)lease_revoke_prefix(a->leases, "", "fuzz", clock_lease_ms(), &all, NULL);
    (void)lease_wake(a->leases, r->line[0], clock_lease_ms(), &(struct record_slice){0});
    (void)lease_due(a->leases, clock_lease_ms(), 100, &more);
}

static void read_tokens(struct agent *a, const struct row *r)
{
    char why[200];
    struct token t = {0};
    int64_t ttl;
    bool last;
    json_t *all = NULL;
    if (token_find_id(a->vault, r->line[0], clock_lease_ms(), &t) == 0) {
        json_t *shown = token_to_json(&t, NULL, clock_lease_ms());
        json_decref(shown);
        (void)token_renew(a->vault, &t, 60, clock_lease_ms(), &ttl, why, sizeof(why));
        (void)token_use(a->vault, &t, &last);
        token_clear(&t);
    }
    if (token_find_accessor(a->vault, r->line[1], clock_lease_ms(), &t) == 0)
        token_clear(&t);
    (void)token_accessors(a->vault, &all);
    json_decref(all);
    (void)token_expire(a->vault, clock_lease_ms(), 100, ignore_gone, NULL);
    (void)token_session_ended(a->vault, r->line[3], ignore_gone, NULL);
    (void)token_revoke(a->vault, r->line[0], false, ignore_gone, NULL);
}

static void read_sessions(struct agent *a, const struct row *r)
{
    struct session s;
    struct proof p;
    (void)session_each(a->vault, ignore_session, NULL);
    (void)session_get(a->vault, r->line[0], &s);
    (void)session_proofs(a->vault, r->line[1], "root", r->line[2], NULL, ignore_proof, NULL);
    (void)session_proofs(a->vault, NULL, "root", "192.0.2.1", "", ignore_proof, NULL);
    (void)session_handle_take(a->vault, r->line[0], "root", "sshd", clock_wall_ms(), true, &p);
    (void)session_sweep(a->vault, clock_wall_ms(), 100);
    (void)session_close(a->vault, r->line[0]);
}

static void read_factors(struct agent *a, const struct row *r)
{
    char hash[FACTOR_HASH_MAX];
    const char *user = r->line[0];
    unsigned mask;
    bool real;
    enum factor which;
    json_t *list = NULL;
    (void)factor_enrolled(a->vault, user, &mask);
    if (factor_list(a->vault, user, &list) == 0)
        json_decref(list);
    list = NULL;
    if (factor_people(a->vault, &list) == 0)
        json_decref(list);
    list = NULL;
    /* A code that is right by the row is right; one that is no code never is. */
    PROMISE(factor_check_code(a->vault, user, FACTOR_TOTP | FACTOR_RECOVERY, "", clock_wall_s(),
                              &which) != 0);
    (void)factor_check_code(a->vault, user, FACTOR_TOTP | FACTOR_RECOVERY, "000000", clock_wall_s(),
                            &which);
    (void)factor_check_code(a->vault, user, FACTOR_RECOVERY, "aaaa-bbbb-cccc-dddd", clock_wall_s(),
                            &which);
    (void)factor_passphrase_get(a->vault, user, hash, &real);
    PROMISE(memchr(hash, 0, sizeof(hash)));
    if (factor_totp_confirm(a->vault, user, "000000", clock_wall_s(), &list) == 0)
        json_decref(list);
    (void)factor_touch(a->vault, user, FACTOR_TOTP, clock_wall_s());
    (void)factor_remove(a->vault, user, FACTOR_PASSPHRASE);
    (void)factor_reset(a->vault, user);
}

static void read_throttles(struct agent *a, const struct row *r)
{
    struct throttle t;
    int64_t until;
    static const char *const sources[] = {"192.0.2.1", "local"};
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        (void)throttle_check(a->vault, "root", true, sources[i], clock_wall_ms(), &t);
        PROMISE(t.delay_ms >= 0 && t.delay_ms <= THROTTLE_DELAY_MAX_MS);
        (void)throttle_failed(a->vault, "root", true, sources[i], clock_wall_ms(), &t);
        PROMISE(t.delay_ms >= 0 && t.delay_ms <= THROTTLE_DELAY_MAX_MS);
    }
    (void)throttle_check(a->vault, r->line[0], false, "local", clock_wall_ms(), &t);
    (void)throttle_locked_until(a->vault, "root", clock_wall_ms(), &until);
    (void)throttle_passed(a->vault, "root", "local", clock_wall_ms());
    (void)throttle_pardon(a->vault, "root");
    (void)throttle_sweep(a->vault, clock_wall_ms(), 100);
}

static void (*const readers[RECORD_TABLES])(struct agent *a, const struct row *r) = {
    [RECORD_LEASE] = read_leases,     [RECORD_TOKEN] = read_tokens,
    [RECORD_SESSION] = read_sessions, [RECORD_FACTOR] = read_factors,
    [RECORD_PROOF] = read_sessions,   [RECORD_THROTTLE] = read_throttles,
    [RECORD_HANDLE] = read_sessions,
};

static void ask_all(void)
{
    static const struct {
        const char *method, *path, *body;
    } asked[] = {
        {"GET", "/v1/kv1/a", ""},
        {"GET", "/v1/secret/data/a", ""},
        {"GET", "/v1/secret/metadata/a", ""},
        {"LIST", "/v1/secret/metadata", ""},
        {"PUT", "/v1/secret/data/a", "{\"data\":{\"x\":\"y\"}}"},
        {"PATCH", "/v1/secret/data/a", "{\"data\":{\"x\":\"z\"}}"},
        {"PUT", "/v1/secret/delete/a", "{\"versions\":[1]}"},
        {"GET", "/v1/secret/config", ""},
        {"GET", "/v1/database/config/shop", ""},
        {"GET", "/v1/database/roles/ro", ""},
        {"GET", "/v1/database/creds/ro", ""},
        {"GET", "/v1/sys/policies/acl/p", ""},
        {"GET", "/v1/sys/bindings/b", ""},
        {"GET", "/v1/sys/enrolment", ""},
        {"GET", "/v1/sys/mounts", ""},
        {"GET", "/v1/sys/leases", ""},
        {"GET", "/v1/sys/sessions", ""},
        {"GET", "/v1/sys/factors/" WHOLE_PERSON, ""},
        {"GET", "/v1/sys/status", ""},
        {"PUT", "/v1/sys/explain", "{\"principal\":\"user:root\",\"path\":\"kv1/a\"}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(asked); i++)
        PROMISE(whole_ask(asked[i].method, asked[i].path, asked[i].body, strlen(asked[i].body),
                          true, NULL) > 0);
}

/* --- Writing the row
 * ------------------------------------------------------------------------------ */

static int put_record(struct agent *a, enum record_table t, const struct row *r)
{
    struct record rec = {.id = r->line[0], .due = strtoll(r->line[5], NULL, 10)};
    for (size_t i = 0; i < RECORD_KEYS; i++)
        rec.key[i] = r->line[1 + i][0] ? r->line[1 + i] : NULL;
    rec.body = r->body;
    rec.body_len = r->len;
    return record_put(a->vault, t, &rec);
}

/* A space is named, or is that of a mount that is named. */
static int put_entry(struct agent *a, const struct row *r)
{
    const struct mount *m = mounts_find(a->mounts, r->line[1]);
    return entry_put(a->vault, m ? m->space : r->line[1], r->line[0], r->body, r->len);
}

/* The keyring's own text, in its box, and the seal's rows. */
static void try_keyring(const struct row *r)
{
    _cleanup_buf_ struct buf box = BUF_INIT(1 << 20);
    struct keyring *ring = NULL;
    if (keyring_box(whole_key(), "keyring", "i", r->body, r->len, &box) == 0)
        (void)keyring_unwrap(whole_key(), "i", box.data, box.len, &ring);
    keyring_free(ring);
}

static void try_audit(struct agent *a, const struct row *r)
{
    struct audit_point at;
    size_t covered = 0;
    if (audit_parse(r->body, r->len, &at, &covered))
        PROMISE(covered <= r->len);
    (void)audit_follows(a->vault, &a->vault->audit.head, r->body, r->len);
    (void)audit_is_header(r->body, r->len);
    (void)audit_parse_header(a->vault, r->body, r->len, &at);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct row r = {0};
    if (n < 1)
        return 0;
    struct agent *a = whole_agent();
    unsigned kind = p[0] % (RECORD_TABLES + 3);
    cut(&r, p + 1, n - 1);
    if (kind == RECORD_TABLES) {
        if (put_entry(a, &r) == 0)
            whole_spoilt();
        (void)rules_load(a->rules, a->vault);
        (void)mounts_load(a->mounts, a->vault);
        ask_all();
        whole_spoilt();
    } else if (kind == RECORD_TABLES + 1) {
        try_keyring(&r);
    } else if (kind == RECORD_TABLES + 2) {
        try_audit(a, &r);
    } else if (put_record(a, (enum record_table)kind, &r) == 0) {
        whole_spoilt();
        readers[kind](a, &r);
        whole_settle();
        PROMISE(whole_ask("GET", "/v1/kv1/a", "", 0, true, NULL) > 0);
    }
    return 0;
}
