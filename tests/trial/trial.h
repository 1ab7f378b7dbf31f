/* Trials on the real programs: an agent in dev mode with its connector, below a scratch folder,
 * through one operation after the other, while something is made to fail. Afterwards the agent has
 * to serve, and what the operation changes has to be as before it or as after it, never in between.
 *
 * What the two kinds of trials share: crash.c ends the programs at named points (base/fault.h),
 * nth.c makes the nth call of something fail (shim.c). */
#ifndef COUNTERSIGN_TESTS_TRIAL_H
#define COUNTERSIGN_TESTS_TRIAL_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TRIAL_LOOKS 3
#define TRIAL_ANSWER_MS 20000

/* --- The agent (agent.c) -----------------------------------------------------------------------
 */

struct trial_agent {
    char build[PATH_MAX / 4]; /* where the programs are */
    char dir[PATH_MAX / 4];   /* the agent's folder; beside it lie our own files */
    char socket[PATH_MAX / 2];
    char token[128];
    const char *preload; /* NULL: none */
    pid_t pid;           /* 0: not running */
};

/* Starts it and waits until it answers. False with a word on standard output when it doesn't. */
bool trial_start(struct trial_agent *a);
/* Sends the signal and waits for the end; what is left of its connector goes with it. */
void trial_stop(struct trial_agent *a, int signal);
/* Whether it has ended by itself (it is reaped then); *status as waitpid(2) has it. */
bool trial_ended(struct trial_agent *a, int *status);
/* The process id of its connector; 0 when there is none. */
pid_t trial_connector(const struct trial_agent *a);

/* --- Asking it (client.c) -----------------------------------------------------------------------
 */

/* One request over the Unix socket. Returns the status; 0 when there was no whole answer within
 * timeout_ms; -1 when that time was used up. *answer (may be NULL) is the body, to be freed by
 * json_decref(), NULL when it has none. token: NULL for none. */
int trial_ask(const struct trial_agent *a, const char *token, const char *method, const char *path,
              const char *body, int timeout_ms, json_t **answer);
/* The member at "data.keys.0"; NULL when there is none. */
json_t *trial_member(json_t *answer, const char *where);

/* --- Operations (ops.c) ------------------------------------------------------------------------
 */

enum trial_kind {
    TRIAL_HTTP,
    TRIAL_LOGIN,   /* the PAM hooks auth and account, answered with $A */
    TRIAL_SESSION, /* account, open and close of a login session */
    TRIAL_HANGUP,  /* SIGHUP: the audit log is rotated */
};

/* In paths and bodies %N is the trial's number, $A and $B are what was captured, $T is the code
 * that the TOTP secret $A gives now, $U the person's name, $K the unseal key. */
struct trial_call {
    const char *method, *path, *body;
    const char *a, *b; /* members to capture as $A and $B */
    const char *as;    /* the token; NULL: root's */
};

/* What the outcome is seen by: the answer's status, and a member of it. A '#' behind the member:
 * its length, less what it was before; a '/': divided by 1000. */
struct trial_look {
    const char *method, *path, *body, *member;
};

struct trial_op {
    const char *name;
    enum trial_kind kind;
    bool database; /* needs PostgreSQL */
    bool slow;     /* Argon2id */
    bool waits;    /* its answer may take a minute: it waits for what is tried again */
    bool shifts;   /* what it does can also happen by itself at a restart (unsealing) */
    struct trial_call prepare[4];
    struct trial_call act;
    struct trial_look look[TRIAL_LOOKS];
};

extern const struct trial_op trial_ops[];
extern const size_t trial_n_ops;

/* One trial of an operation. */
struct trial {
    struct trial_agent *agent;
    const struct trial_op *op;
    long number;
    char a[1200], b[1200];
    json_int_t base[TRIAL_LOOKS];
    bool based;
};

/* Makes what the operation needs; false (and says so) when that fails. */
bool trial_prepare(struct trial *t);
/* Does it: 1 acknowledged, 0 refused or no answer, -1 no answer in time. */
int trial_act(struct trial *t, int timeout_ms);
/* What can be seen now; free it. */
char *trial_look(struct trial *t);
/* Once, after the first start: the person's factor, the database's configuration. url NULL: there
 * is no database. */
bool trial_furnish(struct trial_agent *a, const char *url, const char *password);

/* --- PAM (pam.c) -------------------------------------------------------------------------------
 */

/* The stack that leads to the agent: writes its service file. */
bool trial_pam_stack(const struct trial_agent *a);
/* Runs the hooks of a login in a process of their own (with the agent's preload), answering with
 * code: 1 when all succeeded, 0 when one was refused, -1 when it crashed or did not end in time. */
int trial_pam(const struct trial_agent *a, const char *code, bool session, int timeout_ms);
/* That process: `PROGRAM --pam …`. Returns its exit code, or -1 when argv is not for it. */
int trial_pam_main(int argc, char **argv);

/* --- TAP, and small things (agent.c) ------------------------------------------------------------
 */

void trial_ok(bool ok, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void trial_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints the plan; the exit code. */
int trial_finish(void);
int64_t trial_now_ms(void);
void trial_sleep_ms(int ms);
/* The number in the environment, or otherwise. */
long trial_number(const char *name, long otherwise);
bool trial_write_file(const char *path, const char *text);
char *trial_read_file(const char *path, size_t max, size_t *n);

#endif
