/* Where everything lies: the built-in paths, agent.hcl, then flags, each overriding the one before.
 */
#ifndef COUNTERSIGN_SERVER_CONFIG_H
#define COUNTERSIGN_SERVER_CONFIG_H

#include "base/mem.h"

struct config {
    char *store; /* agent.db */
    char *audit_log;
    char *agent_socket; /* these four only when systemd doesn't pass the sockets */
    char *pam_socket;
    char *pam_user_socket;
    char *connector_socket;
    char *connector_user; /* whose connection is taken for the connector's */
    char *dir;            /* dev mode */
    char *listen;         /* dev mode: 127.0.0.1:PORT */
    bool dev;
};

/* Reads the command line and the file. 0 = run, 1 = done (--help, --version), -EINVAL after an
 * error was printed. config_clear() in each case. */
int config_read(int argc, char **argv, struct config *out);
void config_clear(struct config *c);

#endif
