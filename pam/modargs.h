/* The module's arguments, as they stand in a line of /etc/pam.d. */
#ifndef COUNTERSIGN_PAM_MODARGS_H
#define COUNTERSIGN_PAM_MODARGS_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

#include <security/pam_modules.h>

#define MODARGS_TIMEOUT_DEFAULT 30 /* seconds */
#define MODARGS_TIMEOUT_MAX 300

struct modargs {
    char socket[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* absolute, terminated */
    int timeout;                                              /* seconds, 1..MODARGS_TIMEOUT_MAX */
    uid_t agent_uid; /* the server may have this uid besides 0; 0 when not given */
    bool debug;
    bool publickey_proved; /* auth only: don't ask, say whether sshd has proved a public key */
};

/* Reads socket=PATH, timeout=SECONDS, agent_uid=UID, debug and publickey_proved into *args,
 * defaults for what is not given; of a repeated argument the last counts. Returns false after an
 * unknown or malformed one, which it has logged: the hook must then refuse, since what the
 * administrator meant is not known.
 */
bool modargs_read(pam_handle_t *pamh, int argc, const char **argv, struct modargs *args);

#endif
