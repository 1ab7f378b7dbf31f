#include "begin.h"

#include <syslog.h>

#include <security/pam_ext.h>

#include "plain.h"

#define AUTH_INFO_ENV "SSH_AUTH_INFO_0"

static const struct {
    int item;
    enum dialogue_tag tag;
    bool required;
    const char *name;
} items[] = {
    {PAM_SERVICE, DIALOGUE_TAG_SERVICE, true, "PAM_SERVICE"},
    {PAM_RUSER, DIALOGUE_TAG_RUSER, false, "PAM_RUSER"},
    {PAM_RHOST, DIALOGUE_TAG_RHOST, false, "PAM_RHOST"},
    {PAM_TTY, DIALOGUE_TAG_TTY, false, "PAM_TTY"},
};

bool begin_may_prompt(enum dialogue_hook hook)
{
    return hook == DIALOGUE_HOOK_AUTH || hook == DIALOGUE_HOOK_ACCOUNT;
}

static bool is_fit(const char *value, size_t most)
{
    size_t n = strnlen(value, most + 1);
    return n <= most && plain_is_utf8(value, n);
}

/* Absent and empty mean the same to PAM's applications; neither is sent. */
static const char *get_item(pam_handle_t *pamh, int item)
{
    const void *value = NULL;
    if (pam_get_item(pamh, item, &value) != PAM_SUCCESS || !value || !*(const char *)value)
        return NULL;
    return value;
}

static bool gather_user(struct begin *b, pam_handle_t *pamh)
{
    const char *user = NULL;
    if (!begin_may_prompt(b->hook))
        user = get_item(pamh, PAM_USER);
    else if (pam_get_user(pamh, &user, NULL) != PAM_SUCCESS)
        user = NULL;
    if (!user || !*user || !is_fit(user, DIALOGUE_NAME_MAX)) {
        pam_syslog(pamh, LOG_ERR, "refusing: PAM_USER is missing, too long or not UTF-8");
        return false;
    }
    memcpy(b->user, user, strlen(user) + 1);
    dialogue_put_str(&b->record, DIALOGUE_TAG_USER, b->user);
    return true;
}

static bool gather_items(struct begin *b, pam_handle_t *pamh)
{
    for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
        const char *value = get_item(pamh, items[i].item);
        if (value ? !is_fit(value, DIALOGUE_NAME_MAX) : items[i].required) {
            pam_syslog(pamh, LOG_ERR, "refusing: %s is %s", items[i].name,
                       value ? "too long or not UTF-8" : "missing");
            return false;
        }
        dialogue_put_str(&b->record, items[i].tag, value);
    }
    return true;
}

static uint8_t wire_flags(int flags)
{
    unsigned out = 0;
    if ((unsigned)flags & PAM_SILENT)
        out |= DIALOGUE_FLAG_SILENT;
    if ((unsigned)flags & PAM_DISALLOW_NULL_AUTHTOK)
        out |= DIALOGUE_FLAG_DISALLOW_NULL;
    return (uint8_t)out;
}

bool begin_gather(struct begin *b, pam_handle_t *pamh, enum dialogue_hook hook, int flags,
                  const char *handle)
{
    const char *auth_info = pam_getenv(pamh, AUTH_INFO_ENV);
    b->hook = hook;
    dialogue_start(&b->record, DIALOGUE_BEGIN);
    dialogue_put_u8(&b->record, DIALOGUE_TAG_HOOK, (uint8_t)hook);
    dialogue_put_u8(&b->record, DIALOGUE_TAG_FLAGS, wire_flags(flags));
    if (!gather_user(b, pamh) || !gather_items(b, pamh))
        return false;
    /* It only helps the agent to know more: without it the decision can but be stricter. */
    if (auth_info && *auth_info && is_fit(auth_info, DIALOGUE_AUTH_INFO_MAX))
        dialogue_put_str(&b->record, DIALOGUE_TAG_AUTH_INFO, auth_info);
    if (*handle)
        dialogue_put_str(&b->record, DIALOGUE_TAG_HANDLE, handle);
    return !b->record.bad;
}

bool begin_user_unchanged(const struct begin *b, pam_handle_t *pamh)
{
    const char *user = get_item(pamh, PAM_USER);
    return user && strcmp(user, b->user) == 0;
}
