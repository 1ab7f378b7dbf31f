/* Undoing what leases gave: the lease room says what is to be undone, the engine how, the connector
 * does it, and the outcome goes back to the lease room. */
#ifndef COUNTERSIGN_SERVER_REVOKE_H
#define COUNTERSIGN_SERVER_REVOKE_H

#include "server/request.h"

/* struct lease_ops's revoke: data is the agent. */
void revoke_start(const char *id, const json_t *lease, void *data);

/* For a handler: answers the request (which stands complete in r) once all these leases are gone;
 * when one can't be yet, or after a minute, with 502 and the reason (it goes on by itself). Returns
 * REQUEST_WAIT or -errno. */
int revoke_wait(struct request *r, const json_t *ids);
/* The same for a request that goes over several turns and finds the leases bit by bit, while the
 * first of them may be gone already: add() and close() from effects, the request being in no turn
 * and owning the waiter (free() with its state). After close() it is resumed as by revoke_wait().
 */
struct waiter;
struct waiter *revoke_wait_open(struct request *r); /* NULL: no memory */
void revoke_wait_add(struct waiter *w, const json_t *ids);
void revoke_wait_close(struct waiter *w);
void revoke_wait_free(struct waiter *w);
/* Sealing: who waits is answered. */
void revoke_forget_waiters(void);
/* In a turn: the lease's row was dropped; who waits for it is told after the commit. 0 or -ENOMEM.
 */
int revoke_forgotten(struct agent *a, const char *id);

/* Lists this instance's accounts in every configured database and revokes those that no lease
 * knows. After start, and when the connector comes; nothing while it is away. */
void revoke_sweep(struct agent *a);

#endif
