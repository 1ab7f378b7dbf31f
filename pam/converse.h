/* Showing text to the person at the other end of PAM's conversation, and asking. */
#ifndef COUNTERSIGN_PAM_CONVERSE_H
#define COUNTERSIGN_PAM_CONVERSE_H

#include <stdbool.h>

#include <security/pam_modules.h>

#include <countersign/dialogue.h>

/* Whether the style belongs to a PROMPT, or to an INFORM. */
bool converse_is_prompt(uint8_t style);
bool converse_is_inform(uint8_t style);

/* Asks; text is made safe first. On 0 *answer is an ANSWER record, which the caller wipes. Returns
 * -ECANCELED when the conversation failed or gave no answer, -E2BIG when the answer is over
 * DIALOGUE_ANSWER_MAX. No copy of the answer is left behind on any path. */
int converse_ask(pam_handle_t *pamh, uint8_t style, const struct dialogue_field *text,
                 struct dialogue_record *answer);

/* Shows; text is made safe first. That an application can't show it changes no decision. */
void converse_tell(pam_handle_t *pamh, uint8_t style, const struct dialogue_field *text);

#endif
