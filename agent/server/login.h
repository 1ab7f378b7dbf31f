/* What the agent answers in a PAM dialogue: the logic of each hook, without sockets.
 *
 * A login is one hook's dialogue. Its steps run in turns; each leaves behind what is to happen
 * next. The verdict is DENY until the one line that sets it. */
#ifndef COUNTERSIGN_SERVER_LOGIN_H
#define COUNTERSIGN_SERVER_LOGIN_H

#include <countersign/dialogue.h>

#include "identity/factor.h"
#include "identity/session.h"
#include "server/agent.h"
#include "server/lockout.h"

enum login_next {
    LOGIN_VERDICT = 0, /* say the verdict, after delay_ms */
    LOGIN_PROMPT,      /* ask text, and call login_answer() with what was typed */
    LOGIN_HASH,        /* compare hash and answer on a worker, and call login_hashed() */
};

struct login {
    struct agent *agent;
    /* from the kernel */
    struct peer peer;
    bool user_socket; /* pam-user.sock: only the kernel's uid is believed */
    /* from BEGIN */
    enum dialogue_hook hook;
    unsigned flags;
    char service[DIALOGUE_NAME_MAX + 1];
    char user[DIALOGUE_NAME_MAX + 1]; /* once NSS knows the person: their name as NSS writes it */
    char ruser[DIALOGUE_NAME_MAX + 1];
    char rhost[DIALOGUE_NAME_MAX + 1];
    char tty[65];
    char handle[DIALOGUE_HANDLE_LEN + 1];
    char key[65];    /* fingerprint of the SSH key that was shown, hex; "" none */
    char source[64]; /* numeric address, "" local, "?" remote but not numeric */
    /* from NSS */
    bool known;
    bool nss_failed;
    uid_t uid;
    char **groups; /* owned */
    size_t n_groups;
    /* as it goes */
    bool has_session; /* the audit session is recorded, alive and this person's */
    struct session session;
    unsigned factors; /* those of which one is asked for; 0: none would do */
    char answer[DIALOGUE_ANSWER_MAX + 1];
    char hash[FACTOR_HASH_MAX];
    bool hash_real, hash_matches;
    /* what is next */
    enum login_next next;
    enum dialogue_verdict verdict;
    char text[256];   /* the prompt */
    char inform[256]; /* an error line to show before the verdict, "" none */
    char notice[256]; /* a line to show before the prompt, "" none */
    bool emergency;   /* the prompt is for an emergency code and nothing else */
    unsigned typos;
    int64_t delay_ms;
    char new_handle[DIALOGUE_HANDLE_LEN + 1];
    char why[512]; /* for the audit log */
    char binding[129];
    enum factor proved;
    char locked[LOCKOUT_TEXT]; /* why this person is locked out, behind login_facts() */
    bool watch;                /* a new session's leader is to be watched */
};

/* Each runs inside a turn; 0 or -errno (the caller then answers UNAVAIL). */
int login_begin(struct login *l);
int login_answer(struct login *l);
int login_hashed(struct login *l);
/* Wipes and frees what the login owns (not the struct). */
void login_clear(struct login *l);

/* login_facts.c: what is known of this login, for the decision. proofs has room for LOGIN_PROOFS.
 * extra: a proof made just now, or NULL. */
#define LOGIN_PROOFS 32
int login_facts(struct login *l, const enum factor *extra, struct decide_facts *f,
                struct decide_proof *proofs, char *exempt, size_t exempt_len);
/* Looks up the recorded session of the calling process. */
int login_find_session(struct login *l);
/* Fills source and key from what BEGIN said. auth_info may be NULL. */
void login_take_origin(struct login *l, const char *auth_info);
/* Whether the caller acts for somebody who is logged in already (sudo, su), rather than letting one
 * in. */
bool login_is_within(const struct login *l);
/* The name under which guesses are counted: the session's or the login's own source. */
const char *login_guess_source(const struct login *l);

/* login_session.c: the session hooks. */
int login_open(struct login *l);
int login_close(struct login *l);
/* One audit line. */
int login_audit(struct login *l, const char *event);
/* The same of type "alert", as it stands. */
int login_alert(struct login *l, const json_t *line);
/* sudo's ticket skips its auth hook, so there, and only there, account may ask. */
bool login_may_ask_in_account(const struct login *l);

/* login_emergency.c: emergency codes (server/break_glass.h). */
/* What any hook answers while the store is sealed. */
int login_sealed(struct login *l);
/* Asks for an emergency code and nothing else, saying why. 0: asked, or the verdict stands; 1:
 * there are none (nothing was done); -errno. */
int login_emergency_ask(struct login *l, const char *why);
int login_emergency_answer(struct login *l);
/* An answer to the usual prompt that may be one. 0: it was, the verdict stands (and the use in the
 * log); positive: it was not; -errno. */
int login_emergency_try(struct login *l);
/* Uses the code. As login_emergency_try(). */
int login_emergency_spend(struct login *l, const char *code);
/* Whether an emergency code opened this login at its auth hook. take: for the last time. */
bool login_emergency_passed(struct login *l, bool take);

#endif
