#include "modargs.h"

#include <stdint.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <security/pam_ext.h>

#include <countersign/dialogue.h>

/* Digits only: strtoul would also take blanks, signs and the empty string. */
static bool read_decimal(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    uint64_t value = 0;
    if (*text == '\0')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > most)
            return false;
    }
    *out = value;
    return value >= least;
}

static bool take_socket(struct modargs *args, const char *value)
{
    size_t n = strnlen(value, sizeof(args->socket));
    if (value[0] != '/' || n == sizeof(args->socket))
        return false;
    memcpy(args->socket, value, n + 1);
    return true;
}

static bool take_timeout(struct modargs *args, const char *value)
{
    uint64_t seconds;
    if (!read_decimal(value, 1, MODARGS_TIMEOUT_MAX, &seconds))
        return false;
    args->timeout = (int)seconds;
    return true;
}

/* (uid_t)-1 is no uid. */
static bool take_agent_uid(struct modargs *args, const char *value)
{
    uint64_t uid;
    if (!read_decimal(value, 0, UINT32_MAX - 1, &uid))
        return false;
    args->agent_uid = (uid_t)uid;
    return true;
}

static bool take_debug(struct modargs *args, const char *value)
{
    if (*value != '\0')
        return false;
    args->debug = true;
    return true;
}

static bool take_publickey_proved(struct modargs *args, const char *value)
{
    if (*value != '\0')
        return false;
    args->publickey_proved = true;
    return true;
}

static const struct {
    const char *prefix;
    bool (*take)(struct modargs *args, const char *value);
} known[] = {
    {"socket=", take_socket},
    {"timeout=", take_timeout},
    {"agent_uid=", take_agent_uid},
    {"debug", take_debug},
    {"publickey_proved", take_publickey_proved},
};

static bool take_argument(struct modargs *args, const char *argument)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t n = strlen(known[i].prefix);
        if (strncmp(argument, known[i].prefix, n) == 0)
            return known[i].take(args, argument + n);
    }
    return false;
}

bool modargs_read(pam_handle_t *pamh, int argc, const char **argv, struct modargs *args)
{
    *args = (struct modargs){.timeout = MODARGS_TIMEOUT_DEFAULT};
    /* Only root gets to the first one; a screen locker speaks for itself at the other. */
    take_socket(args, geteuid() == 0 ? DIALOGUE_SOCKET : DIALOGUE_USER_SOCKET);
    for (int i = 0; i < argc; i++) {
        if (!take_argument(args, argv[i])) {
            pam_syslog(pamh, LOG_ERR, "unknown or malformed argument \"%s\": refusing", argv[i]);
            return false;
        }
    }
    return true;
}
