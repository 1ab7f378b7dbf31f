/* What a hook was called with, as the BEGIN record that opens the dialogue. */
#ifndef COUNTERSIGN_PAM_BEGIN_H
#define COUNTERSIGN_PAM_BEGIN_H

#include <stdbool.h>

#include <security/pam_modules.h>

#include <countersign/dialogue.h>

struct begin {
    enum dialogue_hook hook;
    char user[DIALOGUE_NAME_MAX +
              1]; /* PAM_USER as the hook began; a copy, since the item may move */
    struct dialogue_record record;
};

/* Gathers the PAM items into *b. flags are the hook's PAM flags; handle is what the PAM environment
 * held, or "" to send none. Asks for the user's name only in hooks where prompting is allowed.
 * Returns false, having logged why, when an item is missing, over its limit or not UTF-8: the hook
 * must refuse, since a shortened name would be somebody else's. */
bool begin_gather(struct begin *b, pam_handle_t *pamh, enum dialogue_hook hook, int flags,
                  const char *handle);

/* Whether PAM_USER still is what it was when the hook began. */
bool begin_user_unchanged(const struct begin *b, pam_handle_t *pamh);

/* Whether the hook may ask a person something: sshd and others refuse it in the session hooks. */
bool begin_may_prompt(enum dialogue_hook hook);

#endif
