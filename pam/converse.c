#include "converse.h"

#include <stdlib.h>

#include <security/pam_ext.h>

#include "plain.h"

static const int pam_style[] = {
    [DIALOGUE_STYLE_ECHO_OFF] = PAM_PROMPT_ECHO_OFF,
    [DIALOGUE_STYLE_ECHO_ON] = PAM_PROMPT_ECHO_ON,
    [DIALOGUE_STYLE_INFO] = PAM_TEXT_INFO,
    [DIALOGUE_STYLE_ERROR] = PAM_ERROR_MSG,
};

bool converse_is_prompt(uint8_t style)
{
    return style == DIALOGUE_STYLE_ECHO_OFF || style == DIALOGUE_STYLE_ECHO_ON;
}

bool converse_is_inform(uint8_t style)
{
    return style == DIALOGUE_STYLE_INFO || style == DIALOGUE_STYLE_ERROR;
}

/* Done here and not in a cleanup function of libpam's: sshd leaves its authenticating process
 * without pam_end. */
static void wipe_answer(char *answer)
{
    if (answer)
        explicit_bzero(answer, strlen(answer));
    free(answer);
}

int converse_ask(pam_handle_t *pamh, uint8_t style, const struct dialogue_field *text,
                 struct dialogue_record *answer)
{
    char shown[DIALOGUE_TEXT_MAX + 1];
    char *typed = NULL;
    plain_clean(shown, (const char *)text->p, text->n, false);
    int asked = pam_prompt(pamh, pam_style[style], &typed, "%s", shown);
    if (asked != PAM_SUCCESS || !typed) {
        wipe_answer(typed);
        return -ECANCELED;
    }
    size_t n = strnlen(typed, DIALOGUE_ANSWER_MAX + 1);
    dialogue_start(answer, DIALOGUE_ANSWER);
    if (n <= DIALOGUE_ANSWER_MAX)
        dialogue_put(answer, DIALOGUE_TAG_ANSWER, typed, n);
    wipe_answer(typed);
    return n <= DIALOGUE_ANSWER_MAX ? 0 : -E2BIG;
}

void converse_tell(pam_handle_t *pamh, uint8_t style, const struct dialogue_field *text)
{
    char shown[DIALOGUE_TEXT_MAX + 1];
    plain_clean(shown, (const char *)text->p, text->n, true);
    (void)pam_prompt(pamh, pam_style[style], NULL, "%s", shown);
}
