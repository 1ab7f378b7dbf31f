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

struct relay {
    pam_handle_t *pamh;
    struct wire *wire;
    const struct begin *begin;
    bool silent; /* PAM_SILENT: INFORM of style INFO is not shown */
    bool debug;
    unsigned prompts, informs;            /* so far */
    enum dialogue_verdict verdict;        /* zero (deny) until the agent has spoken */
    char handle[DIALOGUE_HANDLE_LEN + 1]; /* what came with ALLOW, or "" */
};

/* Sends BEGIN and serves the agent until its verdict, which it leaves in r->verdict: ALLOW only if
 * the agent named the user the hook began with. The fields from `prompts` on must be zero. Returns
 * 0, or a negative errno when the dialogue broke off (-EBADMSG: the agent said something it may not
 * say; -ECANCELED, -E2BIG: the conversation; else wire_send, wire_receive); the verdict then is
 * deny. */
int relay_run(struct relay *r);

/* Whether s is DIALOGUE_HANDLE_LEN lower-case hex digits and nothing else. */
bool relay_is_handle(const char *s);

#endif
