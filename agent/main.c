/* countersignd: arguments and configuration, signals, sockets, the loop, readiness. */
#include <errno.h>
#include <getopt.h>
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
#include "server/assemble.h"
#include "server/config.h"
#include "server/dev.h"
#include "server/restart.h"
#include "server/sockets.h"

/* --- Signals
 * ----------------------------------------------------------------------------------------- */

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

/* --- The whole
 * --------------------------------------------------------------------------------------- */

static int open_store(struct agent *a, const struct config *c)
{
    char why[256] = "";
    int e = vault_open(c->store, &a->vault, why, sizeof(why));
    if (e < 0)
        fprintf(stderr, "countersignd: the store %s can't be opened: %s\n", c->store,
                why[0] ? why : strerror(-e));
    return e < 0 ? e : vault_reserve(a->vault, c->store, c->audit_log);
}

static int make_agent(struct agent *a, const struct config *c)
{
    int e = sd_event_default(&a->loop);
    if (e >= 0)
        e = watch_signals(a);
    if (e >= 0)
        e = open_store(a, c);
    if (e >= 0)
        e = assemble_workers(a);
    if (e >= 0)
        e = assemble_open(a);
    return e;
}

static void close_agent(struct agent *a)
{
    assemble_close(a);
    assemble_free_workers(a);
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
