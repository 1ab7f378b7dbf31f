#include "server/assemble.h"

#include <errno.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include "lease/deadline.h"
#include "server/break_glass.h"
#include "server/disk.h"
#include "server/hold.h"
#include "server/metrics.h"
#include "server/mount.h"
#include "server/pam.h"
#include "server/people.h"
#include "server/pipeline.h"
#include "server/quorum.h"
#include "server/restart.h"
#include "server/revoke.h"
#include "server/routes.h"
#include "server/rules.h"
#include "server/watch.h"
#include "vault/audit.h"

/* --- Who is told what ----------------------------------------------------------------------------
 */

static void on_commit(void *data)
{
    struct agent *a = data;
    watch_committed(a->watch);
    disk_look(a);
}

/* After a lost turn the rules and mounts in memory are read again: they must agree with the store.
 */
static void on_commit_failed(void *data)
{
    struct agent *a = data;
    metrics_count(METRICS_TURNS_LOST);
    disk_look(a);
    if (vault_state(a->vault) != VAULT_UNSEALED)
        return;
    (void)rules_load(a->rules, a->vault);
    (void)mounts_load(a->mounts, a->vault);
    if (hold_load(a) < 0)
        sd_journal_print(LOG_ERR, "what is held could not be read again: everything is held");
}

static void on_connector(void *data)
{
    revoke_sweep(data);
}

/* --- Workers -------------------------------------------------------------------------------------
 */

int assemble_workers(struct agent *a)
{
    int e = workers_new(a->loop, 4, 256, &a->nss);
    if (e == 0)
        e = workers_new(a->loop, 4, 256, &a->login_nss);
    if (e == 0)
        e = workers_new(a->loop, 1, 32, &a->enrol_kdf);
    if (e == 0)
        e = workers_new(a->loop, 1, 32, &a->login_kdf);
    if (e == 0)
        e = people_new(a->nss, &a->people);
    if (e == 0)
        e = people_new(a->login_nss, &a->login_people);
    return e;
}

void assemble_free_workers(struct agent *a)
{
    workers_free(a->nss);
    workers_free(a->login_nss);
    workers_free(a->enrol_kdf);
    workers_free(a->login_kdf);
    people_free(a->people);
    people_free(a->login_people);
}

/* --- The rest ------------------------------------------------------------------------------------
 */

static int make_rooms(struct agent *a)
{
    static const struct lease_ops ops = {.revoke = revoke_start, .changed = watch_changed};
    a->rules = rules_new();
    a->mounts = mounts_new();
    a->hold = hold_new();
    if (!a->rules || !a->mounts || !a->hold)
        return -ENOMEM;
    int e = turn_new(a->loop, a->vault, &a->turn);
    if (e == 0)
        e = leases_new(a->vault, turn_effects(a->turn), &ops, a, &a->leases);
    if (e == 0)
        e = link_new(a->loop, &a->link);
    return e;
}

int assemble_open(struct agent *a)
{
    int e = make_rooms(a);
    if (e == 0)
        e = watch_new(a, &a->watch);
    if (e == 0)
        e = restart_new(a, &a->restart);
    if (e == 0)
        e = break_glass_new(&a->break_glass);
    if (e == 0)
        e = pam_new(a, &a->pam);
    if (e == 0)
        e = pipeline_start(a, &a->http);
    if (e < 0)
        return e;
    turn_on_commit(a->turn, on_commit, a);
    turn_on_failure(a->turn, on_commit_failed, a);
    link_on_up(a->link, on_connector, a);
    return 0;
}

void assemble_close(struct agent *a)
{
    http_free(a->http);
    pam_free(a->pam);
    break_glass_free(a->break_glass);
    link_free(a->link);
    watch_free(a->watch);
    restart_free(a->restart);
    turn_free(a->turn);
    leases_free(a->leases);
    route_snapshot_end(a);
    route_restore_end(a);
    if (a->vault && vault_state(a->vault) == VAULT_UNSEALED) {
        (void)deadline_rest(a->vault);
        (void)audit_export_sync(a->vault);
    }
    vault_close(a->vault);
    rules_free(a->rules);
    mounts_free(a->mounts);
    hold_free(a->hold);
    quorum_end_unsealing(a);
    quorum_end_rooting(a);
    quorum_end_rekeying(a);
}
