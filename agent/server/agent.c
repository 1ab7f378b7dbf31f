#include "server/agent.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/fault.h"
#include "lease/deadline.h"
#include "server/break_glass.h"
#include "server/hold.h"
#include "server/journal.h"
#include "server/lockout.h"
#include "server/logins.h"
#include "server/metrics.h"
#include "server/mount.h"
#include "server/quorum.h"
#include "server/restart.h"
#include "server/revoke.h"
#include "server/routes.h"
#include "server/rules.h"
#include "server/watch.h"
#include "vault/audit.h"

void agent_open_audit(struct agent *a)
{
    if (!a->audit_path)
        return;
    int e = audit_export_open(a->vault, a->audit_path);
    if (e == AUDIT_E_BROKEN)
        agent_alert(
            a, "audit log damaged",
            "the audit log lost or changed lines that were safely in it: countersign audit verify");
    else if (e == -ESTALE)
        hold_enter(a, "rollback",
                   "the audit log has seen lines that the store has not: an older store was put "
                   "back");
    else if (e < 0)
        sd_journal_print(LOG_WARNING,
                         "the audit log %s can't be opened (%s); its lines wait in the store",
                         a->audit_path, strerror(-e));
}

static int load(struct agent *a)
{
    lockout_forget(a);
    int e = rules_load(a->rules, a->vault);
    if (e == 0)
        e = mounts_load(a->mounts, a->vault);
    if (e == 0)
        e = hold_load(a);
    if (e < 0)
        return e;
    agent_open_audit(a);
    e = deadline_update(a->vault);
    return e < 0 ? e : watch_start(a->watch);
}

int agent_unsealed(struct agent *a)
{
    vault_lend(a->vault, true); /* a full disk must not keep it sealed */
    int e = load(a);
    vault_lend(a->vault, false);
    if (e < 0) {
        sd_journal_print(LOG_ERR, "unsealed, but the rules can't be loaded (%s): sealed again",
                         strerror(-e));
        agent_seal(a);
        return e;
    }
    FAULT_POINT(unseal_loaded);
    break_glass_unsealed(a);
    if (vault_state(a->vault) != VAULT_UNSEALED) /* by a request that waited for that turn */
        return 0;
    revoke_sweep(a);
    journal_tell(JOURNAL_UNSEALED, LOG_NOTICE, NULL, "unsealed; instance %s",
                 vault_instance(a->vault));
    restart_keyed(a->restart);
    return 0;
}

void agent_accepted(struct agent *a, bool all)
{
    int e = hold_load(a);
    if (e == 0 && a->audit_path && audit_export_open(a->vault, a->audit_path) == -ESTALE)
        e = audit_export_set_aside(a->vault);
    if (e < 0)
        sd_journal_print(LOG_ERR, "what was accepted can't be gone on with: %s", strerror(-e));
    if (a->audit_path)
        agent_open_audit(a);
    if (all && watch_start(a->watch) < 0)
        sd_journal_print(LOG_ERR, "out of memory: restart the agent");
    revoke_sweep(a);
}

void agent_seal(struct agent *a)
{
    if (vault_state(a->vault) == VAULT_UNSEALED)
        (void)deadline_rest(a->vault);
    if (a->audit_path && vault_state(a->vault) == VAULT_UNSEALED)
        (void)audit_export_sync(a->vault);
    route_snapshot_end(a);
    FAULT_POINT(seal_begun);
    watch_stop(a->watch);
    rules_clear(a->rules);
    mounts_clear(a->mounts);
    quorum_end_rooting(a);
    quorum_end_rekeying(a);
    lockout_forget(a);
    hold_clear(a->hold);
    vault_seal(a->vault);
    a->counted_ms = 0;
    revoke_forget_waiters();
    logins_forget();
    FAULT_POINT(sealed);
    journal_tell(JOURNAL_SEALED, LOG_NOTICE, NULL, "sealed");
}

int agent_count_leases(struct agent *a)
{
    int64_t now = clock_boot_ms();
    if (a->counted_ms && now - a->counted_ms < 1000)
        return 0;
    a->counted_ms = now;
    return lease_counts(a->leases, &a->counts);
}

void agent_count_alert(struct agent *a, const char *event)
{
    metrics_count(METRICS_ALERTS);
    a->alerts.last_ms = clock_wall_ms();
    if (a->alerts.n++ == 0)
        a->alerts.first_ms = a->alerts.last_ms;
    snprintf(a->alerts.last, sizeof(a->alerts.last), "%s", event);
}

void agent_alert(struct agent *a, const char *event, const char *text)
{
    const struct journal_fields f = {.alert = event};
    journal_tell(JOURNAL_ALERT, LOG_WARNING, &f, "%s", text);
    agent_count_alert(a, event);
    if (!vault_in_turn(a->vault) || vault_state(a->vault) != VAULT_UNSEALED)
        return;
    _cleanup_buf_ struct buf shown = BUF_INIT(1024);
    encode_printable(&shown, text, 1024);
    _cleanup_json_ json_t *line = json_pack("{s:s, s:s}", "event", event, "text", buf_str(&shown));
    if (line)
        (void)audit_append(a->vault, "alert", line);
}
