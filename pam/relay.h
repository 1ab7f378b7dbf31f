/* The module's side of the dialogue once the connection stands: carries prompts to the person and
 * answers to the agent until the verdict comes. It decides nothing. */
#ifndef COUNTERSIGN_PAM_RELAY_H
#define COUNTERSIGN_PAM_RELAY_H

#include <stdbool.h>

#include <security/pam_modules.h>

#include <countersign/dialogue.h>

#include "begin.h"
#include "wire.h"

#define RELAY_PROMPTS_MAX 10 /* for one hook; an agent that wants more is broken */
#define RELAY_INFORMS_MAX 20
#define RELAY_RESUMES_MAX 3

/* What a person typed last, and what they were asked then. */
struct relay_answer {
    struct dialogue_record record; /* len 0: nothing */
    uint8_t style;
    char text[DIALOGUE_TEXT_MAX];
    size_t text_len;
};

struct relay {
    pam_handle_t *pamh;
    struct wire *wire;
    const struct begin *begin;
    bool silent; /* PAM_SILENT: INFORM of style INFO is not shown */
    bool debug;
    unsigned prompts, informs, resumes;   /* so far */
    bool again;                           /* the dialogue was begun anew: `last` is not used yet */
    struct relay_answer last;             /* to be wiped by the caller */
    enum dialogue_verdict verdict;        /* zero (deny) until the agent has spoken */
    char handle[DIALOGUE_HANDLE_LEN + 1]; /* what came with ALLOW, or "" */
};

/* Sends BEGIN and serves the agent until its verdict, which it leaves in r->verdict: ALLOW only if
 * the agent named the user the hook began with. The fields from `prompts` on must be zero. Returns
 * 0, or a negative errno when the dialogue broke off (-EBADMSG: the agent said something it may not
 * say; -ECANCELED, -E2BIG: the conversation; else wire_send, wire_receive); the verdict then is
 * deny. */
int relay_run(struct relay *r);

/* Whether a dialogue that broke off with rc may be begun anew on a new connection, by relay_run():
 * the agent went away while a person was being asked, as when it is restarted. It counts, and what
 * the person typed answers the same prompt of the next agent. */
bool relay_resume(struct relay *r, int rc);

/* Whether s is DIALOGUE_HANDLE_LEN lower-case hex digits and nothing else. */
bool relay_is_handle(const char *s);

#endif
