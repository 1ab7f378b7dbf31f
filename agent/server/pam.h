/* The PAM dialogue's sockets (countersign/dialogue.h): one connection a hook. */
#ifndef COUNTERSIGN_SERVER_PAM_H
#define COUNTERSIGN_SERVER_PAM_H

#include "server/agent.h"

#define PAM_CONNECTIONS_MAX 512
#define PAM_CONNECTIONS_PER_UID 32 /* for uid 0: PAM_CONNECTIONS_MAX */
#define PAM_FIRST_MS 10000         /* connect to BEGIN */
#define PAM_ANSWER_MS 180000       /* a person's time to type */

struct pam_server;

int pam_new(struct agent *a, struct pam_server **out);
/* Adds a listening SOCK_SEQPACKET socket, owned from then on. user_socket: pam-user.sock. */
int pam_listen(struct pam_server *s, int fd, bool user_socket);
/* The doors are open from the start, except in between: who connects then waits in the backlog, of
 * this agent or of the next. */
void pam_hold(struct pam_server *s, bool hold);
/* Towards the end of the server: holds, and waits for dialogues that are under way. Those in which
 * the agent waits for a person are given PAM_LEAVE_MS since the end began and then broken off (the
 * module takes up the next agent where it left this one). To be called again and again; true when
 * none is left. */
#define PAM_LEAVE_MS 2000
bool pam_drain(struct pam_server *s, int64_t since_ms);
void pam_free(struct pam_server *s);

#endif
