/* The connection to the agent: one SOCK_SEQPACKET socket with one budget of waiting time. Nothing
 * here can raise a signal, block beyond the budget or leave a descriptor to a child. */
#ifndef COUNTERSIGN_PAM_WIRE_H
#define COUNTERSIGN_PAM_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <countersign/dialogue.h>

struct wire {
    int fd;
    int64_t left_ns; /* what remains of the waiting time; it runs only inside the calls below */
};

/* Connects to the socket at path. timeout (seconds) is for this and all later calls together.
 * Returns 0; a positive errno when connect(2) says that no agent is there for us (absent, refusing,
 * not permitted); -ETIMEDOUT when its backlog stayed full; another negative errno. On anything but
 * 0 there is nothing to close. */
int wire_open(struct wire *w, const char *path, int timeout);

/* Connects anew after the connection broke, within what remains of the waiting time. Returns as
 * wire_open(). */
int wire_reopen(struct wire *w, const char *path);

/* Whether the server is uid 0 or agent_uid by the kernel's word (SO_PEERCRED: who called listen).
 */
bool wire_trusted(const struct wire *w, uid_t agent_uid);

/* Sends one record. Returns 0, -EMSGSIZE for a bad record, -ETIMEDOUT, or the socket's error. */
int wire_send(struct wire *w, const struct dialogue_record *record);

/* The same without waiting and without an answer: for the last word before giving up. */
void wire_send_now(struct wire *w, const struct dialogue_record *record);

/* Receives one packet into packet[DIALOGUE_RECORD_MAX]. Returns its length (> 0), -ENODATA when the
 * agent has closed, -EBADMSG for one too long, -ETIMEDOUT, or the socket's error. */
ssize_t wire_receive(struct wire *w, uint8_t *packet);

void wire_close(struct wire *w);

#endif
