/* Emergency codes in the dialogue: where the store is sealed, where wrong codes have locked
 * somebody out, and beside the other codes.
 *
 * While sealed nobody can tell who has which factors, and the prompt must tell nobody who has
 * emergency codes: if there is an unused one on this host, for whomever, everybody is asked; else
 * nobody is, and the module is told that no answer can be had. So a stranger learns at most that
 * this host has emergency codes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "identity/emergency.h"
#include "server/break_glass.h"
#include "server/journal.h"
#include "server/login.h"

#define TYPOS_MAX 3
#define WRONG_DELAY_MS 2000

static const char prompt[] = "Emergency code: ";

static bool is_sealed(const struct login *l)
{
    return vault_state(l->agent->vault) != VAULT_UNSEALED;
}

/* --- Asking ------------------------------------------------------------------------------------
 */

int login_emergency_ask(struct login *l, const char *why)
{
    struct break_glass_summary sum;
    if (l->user_socket)
        return 1;
    int e = break_glass_summary(l->agent->vault, &sum);
    if (e < 0 || sum.left == 0)
        return e < 0 ? e : 1;
    if (!break_glass_may_try(l->agent->break_glass, l->user)) {
        l->next = LOGIN_VERDICT;
        l->verdict = DIALOGUE_MAXTRIES;
        snprintf(l->inform, sizeof(l->inform), "Too many wrong codes. Try again in a minute.");
        snprintf(l->why, sizeof(l->why), "too many wrong emergency codes within a minute");
        return 0;
    }
    l->emergency = true;
    l->next = LOGIN_PROMPT;
    snprintf(l->notice, sizeof(l->notice), "%s", why);
    snprintf(l->text, sizeof(l->text), "%s", prompt);
    return 0;
}

bool login_emergency_passed(struct login *l, bool take)
{
    /* sudo's session hook names another person than its auth hook. */
    const char *user = l->hook == DIALOGUE_HOOK_OPEN ? NULL : l->user;
    return l->handle[0] && !l->user_socket &&
           break_glass_passed(l->agent->break_glass, l->handle, user, l->service, take);
}

int login_sealed(struct login *l)
{
    bool asks = l->hook == DIALOGUE_HOOK_AUTH ||
                (l->hook == DIALOGUE_HOOK_ACCOUNT && login_may_ask_in_account(l));
    l->verdict = DIALOGUE_UNAVAIL;
    snprintf(l->why, sizeof(l->why), "the store is sealed");
    if (vault_state(l->agent->vault) == VAULT_UNINITIALISED)
        return 0;
    if ((l->hook == DIALOGUE_HOOK_ACCOUNT || l->hook == DIALOGUE_HOOK_OPEN) &&
        login_emergency_passed(l, l->hook == DIALOGUE_HOOK_OPEN)) {
        l->verdict = DIALOGUE_ALLOW;
        snprintf(l->why, sizeof(l->why), "an emergency code opened this login");
        return 0;
    }
    if (!asks)
        return 0;
    int e = login_emergency_ask(l, "This host's agent is sealed and can't check the usual codes. "
                                   "Only an emergency code lets you in.");
    return e < 0 ? e : 0;
}

/* --- The code ----------------------------------------------------------------------------------
 */

static json_t *make_line(struct login *l, const char *event)
{
    _cleanup_buf_ struct buf service = BUF_INIT(1024), user = BUF_INIT(1024);
    char at[CLOCK_STAMP_LEN];
    clock_stamp(clock_wall_ms(), 1, at);
    encode_printable(&service, l->service, 1024);
    encode_printable(&user, l->user, 1024);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:b}", "event", event, "at", at, "user",
                     buf_str(&user), "service", buf_str(&service), "source",
                     l->source[0] ? l->source : "local", "pid", (json_int_t)l->peer.pid, "sealed",
                     is_sealed(l));
}

/* Said at once, before the login is let through: a crash may repeat it, never swallow it. */
static void cry(struct agent *a, const json_t *line, const char *event)
{
    const struct journal_fields f = {.user = json_str(line, "user"),
                                     .service = json_str(line, "service"),
                                     .rhost = json_str(line, "source"),
                                     .alert = event};
    journal_tell(JOURNAL_ALERT, LOG_ALERT, &f, "EMERGENCY: %s: code %s of %s, at %s from %s%s",
                 event, json_str_or(line, "code", "?"), json_str_or(line, "user", "?"),
                 json_str_or(line, "service", "?"), json_str_or(line, "source", "?"),
                 json_bool(line, "sealed", false) ? ", while sealed" : "");
    agent_count_alert(a, event);
}

static int let_in(struct login *l)
{
    if (l->hook == DIALOGUE_HOOK_AUTH && !l->user_socket)
        (void)break_glass_handle(l->agent->break_glass, l->user, l->service, l->new_handle);
    snprintf(l->why, sizeof(l->why), "an emergency code was used");
    l->verdict = DIALOGUE_ALLOW;
    return 0;
}

/* A used code that comes again was read by somebody: that is an alert, too. */
static int used_again(struct login *l, json_t *line)
{
    static const char event[] = "a used emergency code was given again";
    if (json_set_str(line, "event", event) < 0)
        return -ENOMEM;
    cry(l->agent, line, event);
    int e = is_sealed(l) ? 0 : login_alert(l, line);
    return e < 0 ? e : BREAK_GLASS_E_USED;
}

int login_emergency_spend(struct login *l, const char *code)
{
    static const char event[] = "an emergency code was used";
    _cleanup_json_ json_t *line = make_line(l, event);
    if (!line)
        return -ENOMEM;
    int e = break_glass_spend(l->agent->vault, l->user, l->known, code, line, clock_wall_ms());
    if (e == BREAK_GLASS_E_USED)
        return used_again(l, line);
    if (e != 0)
        return e;
    cry(l->agent, line, event);
    return let_in(l);
}

int login_emergency_try(struct login *l)
{
    char code[EMERGENCY_CODE + 1];
    int e = l->user_socket ? EMERGENCY_E_OTHER : emergency_parse(l->answer, code);
    if (e == EMERGENCY_E_TYPO)
        snprintf(l->inform, sizeof(l->inform),
                 "If this was an emergency code: one of its "
                 "characters is mistyped.");
    e = e == 0 ? login_emergency_spend(l, code) : 1;
    mem_wipe(code, sizeof(code));
    return e;
}

static int wrong(struct login *l, const char *why)
{
    break_glass_failed(l->agent->break_glass, l->user);
    l->delay_ms = WRONG_DELAY_MS;
    snprintf(l->why, sizeof(l->why), "%s", why);
    return is_sealed(l) ? 0 : login_audit(l, "auth");
}

/* The check character is no secret: who mistypes may try again, and nothing is counted. */
static int mistyped(struct login *l, int form)
{
    if (++l->typos >= TYPOS_MAX)
        return wrong(l, "no emergency code");
    l->next = LOGIN_PROMPT;
    snprintf(l->notice, sizeof(l->notice), "%s",
             form == EMERGENCY_E_TYPO
                 ? "One of the characters is mistyped. Please compare with the paper."
                 : "An emergency code has 20 letters and digits, in groups of four.");
    return 0;
}

int login_emergency_answer(struct login *l)
{
    char code[EMERGENCY_CODE + 1];
    int form = emergency_parse(l->answer, code), e;
    l->next = LOGIN_VERDICT;
    l->verdict = DIALOGUE_DENY;
    if (form != 0)
        return mistyped(l, form);
    if (!break_glass_may_try(l->agent->break_glass, l->user))
        e = BREAK_GLASS_E_WRONG; /* others guessed meanwhile */
    else
        e = login_emergency_spend(l, code);
    mem_wipe(code, sizeof(code));
    if (e <= 0)
        return e < 0 || is_sealed(l) ? e : login_audit(l, "auth");
    return wrong(l, e == BREAK_GLASS_E_USED ? "the emergency code was used already"
                                            : "wrong emergency code");
}
