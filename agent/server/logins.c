#include "server/logins.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "server/journal.h"
#include "server/metrics.h"

struct told {
    int64_t when_ms;
    char user[DIALOGUE_NAME_MAX + 1], service[DIALOGUE_NAME_MAX + 1];
    char source[64], rule[129];
    const char *hook, *result;
};

static struct told ring[LOGINS_KEPT];
static uint64_t told;

static const char *source_of(const struct login *l)
{
    return l->source[0] ? l->source : "local";
}

/* What somebody typed at a prompt need not be text. */
static void put_clean(char *out, size_t size, const char *s)
{
    _cleanup_buf_ struct buf b = BUF_INIT(2 * DIALOGUE_NAME_MAX);
    encode_printable(&b, s, size - 1);
    snprintf(out, size, "%s", buf_error(&b) ? "?" : buf_str(&b));
}

/* A hook that only agrees with the one before it (account after auth), or that ends a session, is
 * no login of its own. */
static bool worth_keeping(const struct login *l)
{
    bool fine = l->verdict == DIALOGUE_ALLOW || l->verdict == DIALOGUE_IGNORE;
    if (l->hook == DIALOGUE_HOOK_CLOSE || l->verdict == DIALOGUE_IGNORE)
        return false;
    if (fine && l->hook == DIALOGUE_HOOK_OPEN)
        return l->has_session && !login_is_within(l);
    return !(fine && l->hook == DIALOGUE_HOOK_ACCOUNT) || l->proved;
}

static void keep(const struct login *l, const char *hook, const char *result)
{
    struct told *t = &ring[told++ % LOGINS_KEPT];
    *t = (struct told){.when_ms = clock_wall_ms(), .hook = hook, .result = result};
    put_clean(t->user, sizeof(t->user), l->user);
    put_clean(t->service, sizeof(t->service), l->service);
    put_clean(t->source, sizeof(t->source), source_of(l));
    put_clean(t->rule, sizeof(t->rule), l->binding);
}

void logins_told(const struct login *l)
{
    const char *hook = metrics_hook_name((size_t)l->hook - DIALOGUE_HOOK_AUTH);
    const char *result = metrics_verdict_name((size_t)l->verdict);
    bool fine = l->verdict == DIALOGUE_ALLOW || l->verdict == DIALOGUE_IGNORE;
    const struct journal_fields f = {.user = l->user,
                                     .service = l->service,
                                     .rhost = source_of(l),
                                     .hook = hook,
                                     .result = result,
                                     .rule = l->binding,
                                     .session = l->has_session ? l->session.id : NULL};
    metrics_login(l->service, l->hook, l->verdict);
    if (l->verdict == DIALOGUE_MAXTRIES)
        metrics_count(METRICS_LOCKOUTS);
    journal_tell(JOURNAL_LOGIN, fine ? LOG_INFO : LOG_NOTICE, &f, "%s for %s by %s: %s: %s",
                 l->service, l->user, l->peer.comm, result, l->why[0] ? l->why : "-");
    if (worth_keeping(l))
        keep(l, hook, result);
}

void logins_forget(void)
{
    mem_wipe(ring, sizeof(ring));
    told = 0;
}

json_t *logins_list(void)
{
    json_t *list = json_array();
    uint64_t n = told < LOGINS_KEPT ? told : LOGINS_KEPT;
    for (uint64_t i = 0; list && i < n; i++) {
        const struct told *t = &ring[(told - 1 - i) % LOGINS_KEPT];
        char when[CLOCK_STAMP_LEN];
        clock_stamp(t->when_ms, 0, when);
        json_t *one = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "time", when, "user",
                                t->user, "service", t->service, "source", t->source, "hook",
                                t->hook, "result", t->result, "rule", t->rule);
        if (json_array_append_new(list, one) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}
