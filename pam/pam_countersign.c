/* pam_countersign.so: a terminal for the agent, and nothing more.
 *
 * Each hook that decides opens one connection, tells the agent what it was called with (begin.c),
 * carries questions and answers (relay.c) and returns the agent's verdict. This code lives in
 * strangers' processes (sshd, sudo, login, screen lockers, cron), so it keeps nothing between
 * hooks, starts nothing, changes no signal's disposition and needs libc and libpam only.
 *
 * What it returns when things go wrong:
 *   - connect(2) says that no agent is there: the codes of DIALOGUE_UNAVAIL. The common
 *     "authinfo_unavail=ignore" turns such an outage into an open door; use `required`.
 *   - Everything else (deadline, closing without a verdict, a record it may not send, a server of
 *     the wrong uid, an unanswered prompt, bad arguments): the codes of DIALOGUE_DENY. A guesser
 * can bring some of these about, so no "unavailable" may come of them; nor do they get
 *     PAM_SERVICE_ERR or PAM_SYSTEM_ERR, which stacks in the field set to `ignore`.
 * PAM_IGNORE is never returned but for the agent's own IGNORE to the account hook. */
#include <stdio.h>
#include <syslog.h>

#include <security/pam_ext.h>
#include <security/pam_modules.h>

#include <countersign/dialogue.h>

#include "begin.h"
#include "modargs.h"
#include "plain.h"
#include "relay.h"
#include "wire.h"

#define EXPORT __attribute__((visibility("default")))
#define UNUSED __attribute__((unused))
#define VERDICTS (DIALOGUE_MAXTRIES + 1)

/* A hook's codes by verdict. ALLOW's is a refusal too: success is said in one place, finish(). */
struct hook {
    enum dialogue_hook id;
    const char *name; /* for the log */
    int code[VERDICTS];
};

static const struct hook auth_hook = {
    DIALOGUE_HOOK_AUTH,
    "authentication",
    {[DIALOGUE_DENY] = PAM_AUTH_ERR,
     [DIALOGUE_ALLOW] = PAM_AUTH_ERR,
     [DIALOGUE_IGNORE] = PAM_AUTH_ERR,
     [DIALOGUE_UNAVAIL] = PAM_AUTHINFO_UNAVAIL,
     [DIALOGUE_MAXTRIES] = PAM_MAXTRIES},
};
static const struct hook account_hook = {
    DIALOGUE_HOOK_ACCOUNT,
    "access",
    {[DIALOGUE_DENY] = PAM_PERM_DENIED,
     [DIALOGUE_ALLOW] = PAM_PERM_DENIED,
     [DIALOGUE_IGNORE] = PAM_IGNORE,
     [DIALOGUE_UNAVAIL] = PAM_AUTHINFO_UNAVAIL,
     [DIALOGUE_MAXTRIES] = PAM_PERM_DENIED},
};
/* sudo goes on after PAM_SESSION_ERR from open_session and stops after PAM_PERM_DENIED. */
#define SESSION_CODES                                                                              \
    {                                                                                              \
        [DIALOGUE_DENY] = PAM_PERM_DENIED, [DIALOGUE_ALLOW] = PAM_PERM_DENIED,                     \
        [DIALOGUE_IGNORE] = PAM_PERM_DENIED, [DIALOGUE_UNAVAIL] = PAM_SESSION_ERR,                 \
        [DIALOGUE_MAXTRIES] = PAM_PERM_DENIED                                                      \
    }
static const struct hook open_hook = {DIALOGUE_HOOK_OPEN, "session", SESSION_CODES};
static const struct hook close_hook = {DIALOGUE_HOOK_CLOSE, "end of session", SESSION_CODES};

/* Copies the handle out of the PAM environment; "" when there is none or it can't be ours. */
static void read_handle(pam_handle_t *pamh, char out[DIALOGUE_HANDLE_LEN + 1])
{
    const char *value = pam_getenv(pamh, DIALOGUE_HANDLE_ENV);
    out[0] = '\0';
    if (value && relay_is_handle(value))
        memcpy(out, value, DIALOGUE_HANDLE_LEN + 1);
}

/* libpam logs an error when what is to be removed is not there. */
static void remove_handle(pam_handle_t *pamh)
{
    if (pam_getenv(pamh, DIALOGUE_HANDLE_ENV))
        pam_putenv(pamh, DIALOGUE_HANDLE_ENV);
}

/* The PAM environment is all that outlives the process in which sshd authenticates. */
static bool keep_handle(pam_handle_t *pamh, const char *handle)
{
    char entry[sizeof(DIALOGUE_HANDLE_ENV) + 1 + DIALOGUE_HANDLE_LEN];
    if (*handle == '\0')
        return true;
    (void)snprintf(entry, sizeof(entry), "%s=%s", DIALOGUE_HANDLE_ENV, handle);
    return pam_putenv(pamh, entry) == PAM_SUCCESS;
}

/* One connection, from a connect that ended with rc on. Returns what relay_run() did; 0 as well
 * when there is nothing to go on with. */
static int talk(struct relay *r, const struct modargs *args, int rc)
{
    if (rc != 0) {
        errno = rc < 0 ? -rc : rc;
        pam_syslog(r->pamh, LOG_ERR, "no agent at %s: %m", args->socket);
        r->verdict = rc > 0 && r->resumes == 0 ? DIALOGUE_UNAVAIL : DIALOGUE_DENY;
        return 0;
    }
    if (!wire_trusted(r->wire, args->agent_uid)) {
        pam_syslog(r->pamh, LOG_ERR,
                   "the server of %s has neither uid 0 nor agent_uid=", args->socket);
        return 0;
    }
    return relay_run(r);
}

/* Connects and talks. Sets r->verdict; whatever breaks leaves it at deny, or at unavail when
 * there was nobody to talk to. An agent that was restarted while a person typed is asked again. */
static void consult(struct relay *r, const struct modargs *args)
{
    int rc = talk(r, args, wire_open(r->wire, args->socket, args->timeout));
    while (relay_resume(r, rc))
        rc = talk(r, args, wire_reopen(r->wire, args->socket));
    if (rc < 0) {
        errno = -rc;
        pam_syslog(r->pamh, LOG_ERR, "the dialogue with the agent broke off: %m");
    }
    wire_close(r->wire);
    explicit_bzero(&r->last, sizeof(r->last));
}

static void log_verdict(const struct relay *r, const struct hook *hook)
{
    static const char *const said[VERDICTS] = {"denied", "allowed", "no opinion", "unavailable",
                                               "too many tries"};
    bool routine = r->verdict == DIALOGUE_ALLOW || r->verdict == DIALOGUE_IGNORE;
    char user[DIALOGUE_NAME_MAX + 1];
    if (routine && !r->debug)
        return;
    plain_clean(user, r->begin->user, strlen(r->begin->user), false);
    pam_syslog(r->pamh, routine ? LOG_DEBUG : LOG_NOTICE, "%s for user %s: %s", hook->name, user,
               said[r->verdict]);
}

/* Turns what the agent said into the hook's code. A favourable word (allow, no opinion) was about
 * the user the hook began with and counts for nobody else. */
static int finish(const struct relay *r, const struct hook *hook)
{
    int verdict = hook->code[DIALOGUE_DENY];
    bool changed = !begin_user_unchanged(r->begin, r->pamh);
    if (changed)
        pam_syslog(r->pamh, LOG_ERR, "PAM_USER changed during the dialogue: refusing");
    else if (r->verdict != DIALOGUE_ALLOW)
        verdict = hook->code[r->verdict];
    else if (!begin_may_prompt(hook->id) || keep_handle(r->pamh, r->handle))
        verdict = PAM_SUCCESS;
    return verdict;
}

static int run_hook(pam_handle_t *pamh, int flags, int argc, const char **argv,
                    const struct hook *hook, const char *handle)
{
    struct modargs args;
    struct begin begin;
    struct wire wire;
    struct relay relay = {.pamh = pamh, .wire = &wire, .begin = &begin};
    if (!modargs_read(pamh, argc, argv, &args) ||
        !begin_gather(&begin, pamh, hook->id, flags, handle))
        return hook->code[DIALOGUE_DENY];
    relay.silent = ((unsigned)flags & PAM_SILENT) != 0;
    relay.debug = args.debug;
    consult(&relay, &args);
    log_verdict(&relay, hook);
    return finish(&relay, hook);
}

/* Whether sshd says that this login has proved a public key. Its word stands in PAM's environment,
 * where nobody else has written yet when auth runs; in other services anybody may have. */
static bool publickey_proved(pam_handle_t *pamh)
{
    static const char method[] = "publickey ";
    const void *service = NULL;
    const char *info = pam_getenv(pamh, "SSH_AUTH_INFO_0");
    return pam_get_item(pamh, PAM_SERVICE, &service) == PAM_SUCCESS && service &&
           strcmp(service, "sshd") == 0 && info && strncmp(info, method, sizeof(method) - 1) == 0;
}

/* For the line `auth [success=1 default=ignore] pam_countersign.so publickey_proved`, which lets
 * `publickey,keyboard-interactive` skip the password and nothing else: it asks the agent nothing.
 */
static int check_publickey(pam_handle_t *pamh)
{
    int verdict = PAM_AUTH_ERR;
    if (publickey_proved(pamh))
        verdict = PAM_SUCCESS;
    return verdict;
}

/* A handle that is there before counts for nothing: only the verdict that follows puts one there.
 */
EXPORT int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    struct modargs args;
    remove_handle(pamh);
    if (modargs_read(pamh, argc, argv, &args) && args.publickey_proved)
        return check_publickey(pamh);
    return run_hook(pamh, flags, argc, argv, &auth_hook, "");
}

EXPORT int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    char handle[DIALOGUE_HANDLE_LEN + 1];
    read_handle(pamh, handle);
    return run_hook(pamh, flags, argc, argv, &account_hook, handle);
}

/* From here on the environment goes to the user's program: the handle leaves it first of all. */
EXPORT int pam_sm_open_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    char handle[DIALOGUE_HANDLE_LEN + 1];
    read_handle(pamh, handle);
    remove_handle(pamh);
    return run_hook(pamh, flags, argc, argv, &open_hook, handle);
}

EXPORT int pam_sm_close_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
    return run_hook(pamh, flags, argc, argv, &close_hook, "");
}

/* There are no credentials to set, and sshd calls this in processes that know nothing of the
 * authentication. */
EXPORT int pam_sm_setcred(pam_handle_t *pamh UNUSED, int flags UNUSED, int argc UNUSED,
                          const char **argv UNUSED)
{
    return PAM_SUCCESS;
}

/* PAM_AUTHTOK_ERR at the preliminary check already: nothing of the stack is changed then, and no
 * stack takes it for a success. libpam calls twice; the message is for the first time. */
EXPORT int pam_sm_chauthtok(pam_handle_t *pamh, int flags, int argc UNUSED,
                            const char **argv UNUSED)
{
    if (((unsigned)flags & PAM_PRELIM_CHECK) && !((unsigned)flags & PAM_SILENT))
        pam_error(pamh, "Countersign does not change passwords: use `countersign factor`");
    return PAM_AUTHTOK_ERR;
}
