#include "server/agent.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include "base/encode.h"
#include "base/fault.h"
#include "lease/deadline.h"
#include "server/mount.h"
#include "server/revoke.h"
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
        agent_alert(a, "older store put back",
                    "the audit log has seen lines that the store has not: an older store was put "
                    "back; move the "
                    "log away if that was meant, and reload the agent");
    else if (e < 0)
        sd_journal_print(LOG_WARNING,
                         "the audit log %s can't be opened (%s); its lines wait in the store",
                         a->audit_path, strerror(-e));
}

static int load(struct agent *a)
{
    int e = rules_load(a->rules, a->vault);
    if (e == 0)
        e = mounts_load(a->mounts, a->vault);
    if (e < 0)
        return e;
    agent_open_audit(a);
    e = deadline_update(a->vault);
    return e < 0 ? e : watch_start(a->watch);
}

int agent_unsealed(struct agent *a)
{
    int e = load(a);
    if (e < 0) {
        sd_journal_print(LOG_ERR, "unsealed, but the rules can't be loaded (%s): sealed again",
                         strerror(-e));
        agent_seal(a);
        return e;
    }
    FAULT_POINT(unseal_loaded);
    revoke_sweep(a);
    sd_journal_print(LOG_NOTICE, "unsealed; instance %s", vault_instance(a->vault));
    return 0;
}

void agent_seal(struct agent *a)
{
    if (a->audit_path && vault_state(a->vault) == VAULT_UNSEALED)
        (void)audit_export_sync(a->vault);
    FAULT_POINT(seal_begun);
    watch_stop(a->watch);
    rules_clear(a->rules);
    mounts_clear(a->mounts);
    vault_seal(a->vault);
    a->counted_ms = 0;
    revoke_forget_waiters();
    FAULT_POINT(sealed);
    sd_journal_print(LOG_NOTICE, "sealed");
}

void agent_alert(struct agent *a, const char *event, const char *text)
{
    sd_journal_send("MESSAGE=%s", text, "PRIORITY=%d", LOG_WARNING, "COUNTERSIGN_ALERT=%s", event,
                    NULL);
    if (!vault_in_turn(a->vault) || vault_state(a->vault) != VAULT_UNSEALED)
        return;
    _cleanup_buf_ struct buf shown = BUF_INIT(1024);
    encode_printable(&shown, text, 1024);
    _cleanup_json_ json_t *line = json_pack("{s:s, s:s}", "event", event, "text", buf_str(&shown));
    if (line)
        (void)audit_append(a->vault, "alert", line);
}
