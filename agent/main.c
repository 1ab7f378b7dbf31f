/* countersignd: wiring. Arguments and configuration, sockets, the loop, readiness. */
#include <countersign/api.h>
#include <countersign/connector.h>
#include <countersign/dialogue.h>
#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/clock.h"
#include "lease/deadline.h"
#include "server/break_glass.h"
#include "server/config.h"
#include "server/dev.h"
#include "server/disk.h"
#include "server/hold.h"
#include "server/metrics.h"
#include "server/restart.h"
#include "server/mount.h"
#include "server/pam.h"
#include "server/people.h"
#include "server/quorum.h"
#include "server/request.h"
#include "server/revoke.h"
#include "server/routes.h"
#include "server/rules.h"
#include "server/sockets.h"
#include "server/watch.h"
#include "vault/audit.h"

/* --- The parts
 * ---------------------------------------------------------------------------------------- */

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

static int on_hup(sd_event_source *s _unused_, const struct signalfd_siginfo *si _unused_,
                  void *data)
{
    struct agent *a = data;
    if (vault_state(a->vault) == VAULT_UNSEALED && a->audit_path)
        agent_open_audit(a);
    return 0;
}

static int on_term(sd_event_source *s _unused_, const struct signalfd_siginfo *si _unused_,
                   void *data)
{
    struct agent *a = data;
    restart_end(a->restart);
    return 0;
}

static int watch_signals(struct agent *a)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    int e = sd_event_add_signal(a->loop, NULL, SIGTERM, on_term, a);
    if (e >= 0)
        e = sd_event_add_signal(a->loop, NULL, SIGINT, on_term, a);
    if (e >= 0)
        e = sd_event_add_signal(a->loop, NULL, SIGHUP, on_hup, a);
    return e;
}

static int make_workers(struct agent *a)
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
    if (e == 0)
        e = watch_new(a, &a->watch);
    return e;
}

static int make_agent(struct agent *a, const struct config *c)
{
    char why[256] = "";
    int e = sd_event_default(&a->loop);
    if (e >= 0)
        e = restart_new(a, &a->restart);
    if (e >= 0)
        e = watch_signals(a);
    if (e >= 0) {
        e = vault_open(c->store, &a->vault, why, sizeof(why));
        if (e < 0)
            fprintf(stderr, "countersignd: the store %s can't be opened: %s\n", c->store,
                    why[0] ? why : strerror(-e));
    }
    if (e >= 0)
        e = vault_reserve(a->vault, c->store, c->audit_log);
    if (e >= 0)
        e = make_workers(a);
    if (e >= 0)
        e = make_rooms(a);
    if (e >= 0)
        e = break_glass_new(&a->break_glass);
    if (e >= 0)
        e = pam_new(a, &a->pam);
    if (e >= 0)
        e = pipeline_start(a, &a->http);
    if (e < 0)
        return e;
    turn_on_commit(a->turn, on_commit, a);
    turn_on_failure(a->turn, on_commit_failed, a);
    link_on_up(a->link, on_connector, a);
    return 0;
}

/* Keys are wiped by closing the vault. What a hanging thread may still look at is left to the
 * kernel. */
static void close_agent(struct agent *a)
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
    if (a->vault && vault_state(a->vault) == VAULT_UNSEALED)
        (void)deadline_rest(a->vault);
    if (a->vault && vault_state(a->vault) == VAULT_UNSEALED)
        (void)audit_export_sync(a->vault);
    vault_close(a->vault);
    rules_free(a->rules);
    mounts_free(a->mounts);
    hold_free(a->hold);
    workers_free(a->nss);
    workers_free(a->login_nss);
    workers_free(a->enrol_kdf);
    workers_free(a->login_kdf);
    people_free(a->people);
    people_free(a->login_people);
    quorum_end_unsealing(a);
    quorum_end_rooting(a);
    quorum_end_rekeying(a);
    sd_event_unref(a->loop);
}

/* Every connection is a descriptor: use what the unit allows. */
static void raise_limits(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) < 0)
        return;
    l.rlim_cur = l.rlim_max < 16384 ? l.rlim_max : 16384;
    (void)setrlimit(RLIMIT_NOFILE, &l);
}

static int run(const struct config *c)
{
    struct agent a = {
        .audit_path = c->audit_log, .root_uid = c->dev ? geteuid() : 0, .dev = c->dev};
    a.started_ms = clock_wall_ms();
    if (!mem_can_lock())
        sd_journal_print(LOG_WARNING, "memory can't be locked here (LimitMEMLOCK=): the keys could "
                                      "be written to swap, where they stay");
    int e = make_agent(&a, c);
    if (e >= 0)
        e = sockets_open(&a, c);
    if (e >= 0 && c->dev)
        e = dev_start(&a, c);
    if (e >= 0)
        e = restart_await_key(a.restart);
    if (e >= 0) {
        link_expect(a.link, LINK_EXPECT_MS);
        (void)sd_event_set_watchdog(a.loop, 1);
        (void)sd_notify(0, "READY=1");
        e = sd_event_loop(a.loop);
    }
    if (e < 0)
        fprintf(stderr, "countersignd: %s\n", strerror(-e));
    close_agent(&a);
    return e < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct config c;
    if (mem_harden_process() < 0 || sodium_init() < 0) {
        fprintf(stderr, "countersignd: the process can't be hardened\n");
        return 1;
    }
    json_init();
    raise_limits();
    umask(0077);
    int r = config_read(argc, argv, &c);
    if (r == 0)
        r = run(&c);
    else
        r = r < 0 ? 1 : 0;
    config_clear(&c);
    return r;
}
