/* Leases in the store itself, without HTTP and PostgreSQL: filling it with as many as are wanted,
 * through the same functions that the agent calls, and issuing and revoking among them. The agent
 * must not be running on that folder. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench/bench.h"
#include "lease/deadline.h"
#include "lease/lease.h"
#include "server/mount.h"
#include "vault/audit.h"

#define PATH "database/creds/bench"
#define TTL (30 * 86400)
#define FILL_BATCH 2000
#define SYNC_EVERY 20 /* turns of filling between two syncs of the audit log */

struct desk {
    const struct bench *b;
    struct vault *vault;
    struct effects *effects;
    struct leases *leases;
    struct mounts *mounts;
    const struct mount *mount;
    char (*id)[LEASE_ID_MAX]; /* of one batch */
};

/* --- The store of a --dev agent
 * -----------------------------------------------------------------*/

static void revoke_nothing(const char *id, const json_t *lease, void *data)
{
    (void)id, (void)lease, (void)data; /* the answer is given by revoke_batch() */
}

static int read_key(const char *dir, uint8_t key[VAULT_KEY_LEN])
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/unseal-key", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, key, VAULT_KEY_LEN);
    if (fd >= 0)
        close(fd);
    return n == VAULT_KEY_LEN ? 0 : -EBADMSG;
}

static int open_vault(struct desk *d)
{
    uint8_t key[VAULT_KEY_LEN];
    char path[PATH_MAX], why[256] = "";
    snprintf(path, sizeof(path), "%s/agent.db", d->b->arg[0]);
    int e = read_key(d->b->arg[0], key);
    if (e == 0)
        e = vault_open(path, &d->vault, why, sizeof(why));
    if (e == 0)
        e = vault_unseal(d->vault, key) == 0 ? 0 : -EACCES;
    mem_wipe(key, sizeof(key));
    snprintf(path, sizeof(path), "%s/audit.log", d->b->arg[0]);
    if (e == 0)
        e = audit_export_open(d->vault, path);
    if (e == 0)
        e = deadline_update(d->vault);
    return e < 0 ? e : 0;
}

static int open_desk(struct desk *d)
{
    static const struct lease_ops ops = {.revoke = revoke_nothing};
    int e = open_vault(d);
    d->effects = effects_new();
    d->mounts = mounts_new();
    d->id = calloc(d->b->size > FILL_BATCH ? d->b->size : FILL_BATCH, LEASE_ID_MAX);
    if (e == 0)
        e = d->effects && d->mounts && d->id ? 0 : -ENOMEM;
    if (e == 0)
        e = leases_new(d->vault, d->effects, &ops, d, &d->leases);
    if (e == 0)
        e = mounts_load(d->mounts, d->vault);
    if (e == 0 && !(d->mount = mounts_find(d->mounts, PATH)))
        e = -ENOENT;
    return e;
}

static void close_desk(struct desk *d)
{
    if (d->effects)
        effects_drop(d->effects, 0);
    leases_free(d->leases);
    mounts_free(d->mounts);
    effects_free(d->effects);
    if (d->vault)
        (void)audit_export_sync(d->vault);
    vault_close(d->vault);
    free(d->id);
}

/* What the agent does at the end of a turn. */
static int end_turn(struct desk *d, int e)
{
    if (e >= 0)
        e = vault_commit(d->vault);
    else
        vault_rollback(d->vault);
    if (e >= 0)
        effects_run(d->effects);
    return e < 0 ? e : audit_export_run(d->vault);
}

/* --- Steps of a lease's life, a batch a turn
 * ----------------------------------------------------*/

static int make_pending(struct desk *d, char id[LEASE_ID_MAX], uint64_t n)
{
    char principal[32], role[64];
    snprintf(principal, sizeof(principal), "uid:%u", (unsigned)(60000 + n % 1000));
    snprintf(role, sizeof(role), "v-bench-%llu", (unsigned long long)n);
    _cleanup_json_ json_t *recipe = json_pack("{s:s, s:s, s:[], s:[]}", "db", "bench", "role", role,
                                              "revocation_statements", "renew_statements");
    int e = recipe ? lease_make_id(PATH, id) : -ENOMEM;
    const struct lease_spec s = {.id = id,
                                 .path = PATH,
                                 .mount = d->mount->path,
                                 .engine = d->mount->engine->type,
                                 .space = d->mount->space,
                                 .principal = principal,
                                 .has_uid = true,
                                 .uid = (uint32_t)(60000 + n % 1000),
                                 .binding = "bench",
                                 .lifetime_kind = "none",
                                 .ttl = TTL,
                                 .max_ttl = TTL,
                                 .renewable = true,
                                 .recipe = recipe};
    return e < 0 ? e : lease_create(d->leases, &s, clock_lease_ms());
}

typedef int (*step_fn)(struct desk *d, char id[LEASE_ID_MAX], uint64_t n);

static int activate(struct desk *d, char id[LEASE_ID_MAX], uint64_t n)
{
    (void)n;
    return lease_activate(d->leases, id, clock_lease_ms());
}

static int make_active(struct desk *d, char id[LEASE_ID_MAX], uint64_t n)
{
    int e = make_pending(d, id, n);
    return e < 0 ? e : activate(d, id, n);
}

static int take_back(struct desk *d, char id[LEASE_ID_MAX], uint64_t n)
{
    (void)n;
    return lease_revoke(d->leases, id, "the bench", clock_lease_ms());
}

static int gone(struct desk *d, char id[LEASE_ID_MAX], uint64_t n)
{
    (void)n;
    return lease_revoked(d->leases, id, LEASE_GONE, "", NULL, clock_lease_ms());
}

/* Each in its own mark, as the agent's requests are. */
static int turn_of(struct desk *d, step_fn fn, uint64_t first, uint64_t n)
{
    int e = vault_begin(d->vault);
    for (uint64_t i = 0; e >= 0 && i < n; i++) {
        e = vault_mark(d->vault);
        if (e >= 0)
            e = fn(d, d->id[i], first + i);
        if (e >= 0)
            e = vault_keep(d->vault);
    }
    return end_turn(d, e);
}

static int drive(struct desk *d, uint64_t n)
{
    bool more;
    int e = vault_begin(d->vault);
    if (e >= 0)
        e = lease_due(d->leases, clock_lease_ms(), n, &more);
    return end_turn(d, e);
}

/* --- The commands -----------------------------------------------------------------------------*/

static int finish(struct desk *d, int e, const char *what)
{
    close_desk(d);
    errno = e < 0 ? -e : 0;
    return e < 0 ? bench_failed(what) : 0;
}

static int fill(struct desk *d)
{
    int e = 0;
    for (uint64_t done = 0, turn = 1; e >= 0 && done < d->b->count; turn++) {
        uint64_t n = d->b->count - done < FILL_BATCH ? d->b->count - done : FILL_BATCH;
        e = turn_of(d, make_active, done, n);
        if (e >= 0 && turn % SYNC_EVERY == 0)
            e = audit_export_sync(d->vault);
        done += n;
    }
    return e;
}

int bench_fill(const struct bench *b)
{
    struct desk d = {.b = b};
    int64_t began = tally_now();
    int e = open_desk(&d);
    if (e >= 0)
        e = fill(&d);
    if (e >= 0)
        printf("done=%llu seconds=%.1f\n", (unsigned long long)b->count,
               (double)(tally_now() - began) / 1e9);
    return finish(&d, e, "fill");
}

/* One batch issued and revoked again; *issue and *undo become their times. */
static int round_of(struct desk *d, uint64_t first, int64_t *issue, int64_t *undo)
{
    int64_t at = tally_now();
    int e = turn_of(d, make_pending, first, d->b->size);
    if (e >= 0)
        e = turn_of(d, activate, first, d->b->size);
    *issue = tally_now() - at;
    at = tally_now();
    if (e >= 0)
        e = turn_of(d, take_back, first, d->b->size);
    if (e >= 0)
        e = drive(d, d->b->size);
    if (e >= 0)
        e = turn_of(d, gone, first, d->b->size);
    *undo = tally_now() - at;
    return e;
}

/* Prints issue= and revoke=, leases per second in batches of -b, medians over the rounds (the disk
 * and the neighbours have their moments). */
static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int bench_leases(const struct bench *b)
{
    struct desk d = {.b = b};
    uint64_t rounds = b->size ? b->count / b->size : 0;
    int64_t *time = calloc(2 * (rounds + 1), sizeof(*time));
    int e = !rounds ? -EINVAL : time ? open_desk(&d) : -ENOMEM;
    for (uint64_t i = 0; e >= 0 && i < rounds; i++)
        e = round_of(&d, 10000000 + i * b->size, &time[i], &time[rounds + i]);
    if (e >= 0) {
        qsort(time, rounds, sizeof(*time), by_value);
        qsort(time + rounds, rounds, sizeof(*time), by_value);
        printf("issue=%.1f revoke=%.1f done=%llu\n",
               (double)b->size * 1e9 / (double)time[rounds / 2],
               (double)b->size * 1e9 / (double)time[rounds + rounds / 2],
               (unsigned long long)(rounds * b->size));
    }
    free(time);
    return finish(&d, e, "leases");
}
