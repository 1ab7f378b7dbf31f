#include "server/login.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/fault.h"
#include "identity/throttle.h"
#include "server/rules.h"
#include "vault/audit.h"

static const char code_prompt[] = "Verification code: ";
static const char passphrase_prompt[] = "Passphrase: ";
#define PRINTED_MAX 1024

static const char *verdict_name(enum dialogue_verdict v)
{
    static const char *const names[] = {"denied", "allowed", "ignored", "unavailable",
                                        "too many tries"};
    return (size_t)v < ARRAY_LEN(names) ? names[v] : "?";
}

int login_audit(struct login *l, const char *event)
{
    /* What was typed at a login prompt need not even be UTF-8. */
    _cleanup_buf_ struct buf service = BUF_INIT(PRINTED_MAX), user = BUF_INIT(PRINTED_MAX);
    _cleanup_buf_ struct buf ruser = BUF_INIT(PRINTED_MAX), why = BUF_INIT(PRINTED_MAX);
    encode_printable(&service, l->service, PRINTED_MAX);
    encode_printable(&user, l->user, PRINTED_MAX);
    encode_printable(&ruser, l->ruser, PRINTED_MAX);
    encode_printable(&why, l->why, PRINTED_MAX);
    _cleanup_json_ json_t *line = json_pack(
        "{s:s, s:s, s:s, s:s?, s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:I, s:s?}", "event", event,
        "service", buf_str(&service), "user", buf_str(&user), "ruser",
        ruser.len ? buf_str(&ruser) : NULL, "source", l->source[0] ? l->source : "local", "outcome",
        l->next == LOGIN_VERDICT ? verdict_name(l->verdict) : "asked", "factor",
        l->proved ? factor_name(l->proved) : NULL, "binding", l->binding[0] ? l->binding : NULL,
        "why", why.len ? buf_str(&why) : NULL, "session", l->has_session ? l->session.id : NULL,
        "pid", (json_int_t)l->peer.pid, "key", l->key[0] ? l->key : NULL);
    return line ? audit_append(l->agent->vault, "login", line) : -ENOMEM;
}

int login_alert(struct login *l, const json_t *line)
{
    return audit_append(l->agent->vault, "alert", line);
}

static int decide(struct login *l, enum decide_hook hook, const enum factor *extra,
                  struct decision *d)
{
    struct decide_facts f;
    struct decide_proof proofs[LOGIN_PROOFS];
    char exempt[160];
    int e = login_facts(l, extra, &f, proofs, exempt, sizeof(exempt));
    if (e < 0)
        return e;
    decide_pam(rules_view(l->agent->rules), &f, l->service, hook, false, d);
    snprintf(l->why, sizeof(l->why), "%s", d->why);
    snprintf(l->binding, sizeof(l->binding), "%s", d->binding);
    return 0;
}

/* Guessing must not be a way to lock the bearer of an emergency code out. */
static int ask_in_emergency(struct login *l)
{
    char notice[sizeof(l->notice)];
    snprintf(notice, sizeof(notice), "%.128s Only an emergency code lets you in before.",
             l->inform);
    int e = login_emergency_ask(l, notice);
    if (e == 0 && l->next == LOGIN_PROMPT) {
        l->inform[0] = '\0';
        l->verdict = DIALOGUE_DENY;
    }
    return e < 0 ? e : 0;
}

/* Too many wrong answers: nobody is asked. 0 = go on, 1 = the verdict stands, -errno. */
static int check_throttle(struct login *l)
{
    struct throttle t;
    int64_t now = clock_wall_ms();
    char left[32];
    int e = throttle_check(l->agent->vault, l->user, l->known, login_guess_source(l), now, &t);
    if (e < 0 || !t.locked)
        return e;
    clock_human((t.until - now + 999) / 1000, left, sizeof(left));
    snprintf(l->inform, sizeof(l->inform), "Too many wrong codes. Try again in %s.", left);
    snprintf(l->why, sizeof(l->why), "%s", t.reason);
    l->next = LOGIN_VERDICT;
    l->verdict = DIALOGUE_MAXTRIES;
    e = ask_in_emergency(l);
    if (e >= 0)
        e = login_audit(l, "throttled");
    return e < 0 ? e : 1;
}

/* Everybody is asked the same, whether they exist, are enrolled, or could pass at all. */
static int ask(struct login *l, unsigned factors)
{
    l->factors = factors;
    l->next = LOGIN_PROMPT;
    snprintf(l->text, sizeof(l->text), "%s",
             factors == FACTOR_PASSPHRASE ? passphrase_prompt : code_prompt);
    return 0;
}

static int begin_auth(struct login *l)
{
    struct decision d = {0};
    int e = check_throttle(l);
    if (e == 0 && l->known)
        e = decide(l, DECIDE_PAM_AUTH, NULL, &d);
    if (e != 0)
        return e < 0 ? e : 0;
    unsigned factors = d.factors;
    enum decide_verdict verdict = d.verdict;
    decision_clear(&d);
    if (verdict != DECIDE_ALLOW)
        return ask(l, verdict == DECIDE_CHALLENGE ? factors : 0);
    l->verdict = DIALOGUE_ALLOW;
    return login_audit(l, "auth");
}

bool login_may_ask_in_account(const struct login *l)
{
    return strcmp(l->service, "sudo") == 0 || strcmp(l->service, "sudo-i") == 0;
}

static int account_challenge(struct login *l, unsigned factors)
{
    int e;
    if (login_may_ask_in_account(l)) {
        e = check_throttle(l);
        return e == 0 ? ask(l, factors) : e < 0 ? e : 0;
    }
    snprintf(l->inform, sizeof(l->inform),
             "A second factor is required, and this way of logging in did not ask for one.");
    return login_audit(l, "account");
}

static int begin_account(struct login *l)
{
    struct decision d = {0};
    int e = decide(l, DECIDE_PAM_ACCOUNT, NULL, &d);
    unsigned factors = d.factors;
    enum decide_verdict verdict = d.verdict;
    bool locked = d.locked;
    decision_clear(&d);
    if (e < 0)
        return e;
    if (locked)
        snprintf(l->inform, sizeof(l->inform),
                 "Access to this host was taken away from %.100s. Ask its operators.", l->user);
    else if (login_emergency_passed(l, false)) {
        snprintf(l->why, sizeof(l->why), "an emergency code opened this login");
        l->verdict = DIALOGUE_ALLOW;
        return login_audit(l, "account");
    }
    if (verdict == DECIDE_CHALLENGE)
        return account_challenge(l, factors);
    l->verdict = verdict == DECIDE_ALLOW    ? DIALOGUE_ALLOW
                 : verdict == DECIDE_IGNORE ? DIALOGUE_IGNORE
                                            : DIALOGUE_DENY;
    return login_audit(l, "account");
}

int login_begin(struct login *l)
{
    static int (*const hooks[])(struct login *) = {
        [DIALOGUE_HOOK_AUTH] = begin_auth,
        [DIALOGUE_HOOK_ACCOUNT] = begin_account,
        [DIALOGUE_HOOK_OPEN] = login_open,
        [DIALOGUE_HOOK_CLOSE] = login_close,
    };
    l->next = LOGIN_VERDICT;
    l->verdict = DIALOGUE_DENY;
    if (l->nss_failed) {
        l->verdict = DIALOGUE_UNAVAIL;
        return 0;
    }
    if (vault_state(l->agent->vault) != VAULT_UNSEALED)
        return login_sealed(l);
    int e = login_find_session(l);
    return e < 0 ? e : hooks[l->hook](l);
}

/* --- The answer
 * -------------------------------------------------------------------------------------- */

/* Keeps the proof: with the session where there is one already, else behind a handle. */
static int keep_proof(struct login *l)
{
    struct proof p = {.factor = l->proved, .boot_ms = clock_boot_ms()};
    snprintf(p.user, sizeof(p.user), "%s", l->user);
    snprintf(p.service, sizeof(p.service), "%s", l->service);
    snprintf(p.source, sizeof(p.source), "%s", l->source);
    snprintf(p.key, sizeof(p.key), "%s", l->key);
    snprintf(p.boot_id, sizeof(p.boot_id), "%s", clock_boot_id());
    if (l->has_session) {
        snprintf(p.session, sizeof(p.session), "%s", l->session.id);
        return session_prove(l->agent->vault, &p);
    }
    if (l->user_socket)
        return 0;
    return session_handle_make(l->agent->vault, &p, clock_wall_ms(), l->new_handle);
}

/* Whether the decision, made anew with the proof among the facts, lets this login through. The
 * built-in requirement has no memory: it asks at each login, and what it asks for has just been
 * given. */
static bool lets_through(const struct decision *d, enum factor proved)
{
    bool built_in =
        d->verdict == DECIDE_CHALLENGE && d->binding[0] == '\0' && (d->factors & (unsigned)proved);
    return d->verdict == DECIDE_ALLOW || built_in;
}

static int passed(struct login *l)
{
    struct decision d = {0};
    enum decide_hook hook = l->hook == DIALOGUE_HOOK_AUTH ? DECIDE_PAM_AUTH : DECIDE_PAM_ACCOUNT;
    int64_t now = clock_wall_ms();
    int e = throttle_passed(l->agent->vault, l->user, login_guess_source(l), now);
    if (e >= 0)
        e = factor_touch(l->agent->vault, l->user, l->proved, now / 1000);
    if (e >= 0)
        e = decide(l, hook, &l->proved, &d);
    bool allowed = e >= 0 && lets_through(&d, l->proved);
    FAULT_POINT(login_proved);
    decision_clear(&d);
    if (e >= 0 && allowed)
        e = keep_proof(l);
    FAULT_POINT(login_proof_kept);
    if (e >= 0 && allowed)
        l->verdict = DIALOGUE_ALLOW; /* the one line */
    if (l->verdict == DIALOGUE_ALLOW)
        snprintf(l->why, sizeof(l->why), "proved by %s", factor_name(l->proved));
    if (e >= 0)
        e = login_audit(l, "auth");
    return e < 0 ? e : 0;
}

static int failed(struct login *l, const char *why)
{
    struct throttle t;
    int e = throttle_failed(l->agent->vault, l->user, l->known, login_guess_source(l),
                            clock_wall_ms(), &t);
    if (e < 0)
        return e;
    l->delay_ms = t.delay_ms;
    snprintf(l->why, sizeof(l->why), "%s", why);
    return login_audit(l, "auth");
}

int login_answer(struct login *l)
{
    l->next = LOGIN_VERDICT;
    l->verdict = DIALOGUE_DENY;
    if (l->emergency)
        return login_emergency_answer(l);
    if (vault_state(l->agent->vault) != VAULT_UNSEALED) {
        l->verdict = DIALOGUE_UNAVAIL;
        return 0;
    }
    int e = check_throttle(l); /* others may have guessed meanwhile */
    if (e != 0)
        return e < 0 ? e : 0;
    e = factor_check_code(l->agent->vault, l->user, l->factors & ~(unsigned)FACTOR_PASSPHRASE,
                          l->answer, clock_wall_s(), &l->proved);
    if (e < 0)
        return e;
    if (e == 0 && l->known)
        return passed(l);
    l->proved = 0;
    int emergency = login_emergency_try(l);
    if (emergency <= 0)
        return emergency < 0 ? emergency : login_audit(l, "auth");
    if (e == FACTOR_E_WRONG && (l->factors & FACTOR_PASSPHRASE) &&
        strlen(l->answer) >= FACTOR_PASSPHRASE_MIN) {
        l->next = LOGIN_HASH;
        return factor_passphrase_get(l->agent->vault, l->user, l->hash, &l->hash_real);
    }
    return failed(l, e == FACTOR_E_USED ? "the code was used already" : "wrong code");
}

int login_hashed(struct login *l)
{
    l->next = LOGIN_VERDICT;
    l->verdict = DIALOGUE_DENY;
    /* While this one was compared, others may have used the guesses up: many at once count as many.
     */
    int e = check_throttle(l);
    if (e != 0)
        return e < 0 ? e : 0;
    if (!l->hash_matches || !l->hash_real || !l->known)
        return failed(l, "wrong passphrase");
    l->proved = FACTOR_PASSPHRASE;
    return passed(l);
}

void login_clear(struct login *l)
{
    for (size_t i = 0; i < l->n_groups; i++)
        free(l->groups[i]);
    free(l->groups);
    peer_clear(&l->peer);
    mem_wipe(l, sizeof(*l));
}
