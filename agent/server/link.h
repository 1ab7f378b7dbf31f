/* The agent's end of the connector's socket (countersign/connector.h): requests out, answers in. */
#ifndef COUNTERSIGN_SERVER_LINK_H
#define COUNTERSIGN_SERVER_LINK_H

#include <systemd/sd-event.h>
#include <sys/types.h>

#include "base/json.h"

#define LINK_PENDING_MAX 1024
#define LINK_TIMEOUT_MS                                                                            \
    10000 /* told to the connector; a little later the answer is made up here                      \
           */

struct link;

/* answer is borrowed; when there is none (connector away, queue full, timeout) it is
 * {"ok":false,"kind":"unreachable"|"busy"|"timeout","message":…}. Called exactly once, from the loop,
 * never from within link_call(). */
typedef void (*link_answer_fn)(const json_t *answer, void *data);

/* uid: whose connection is accepted on listen_fd (SOCK_SEQPACKET, owned by the link from then on);
 * one at a time, a new one replaces the old. */
int link_new(sd_event *loop, struct link **out);
int link_listen(struct link *l, int listen_fd, uid_t uid);
/* Takes over one end of a socketpair (dev mode: the connector is our child). */
int link_attach(struct link *l, int fd);
void link_free(struct link *l);
bool link_up(const struct link *l);
/* Whether there is room for work that can wait: half of the places are for what somebody waits for.
 */
bool link_has_room(const struct link *l);
/* A connector is expected soon (the agent or the connector is being restarted): calls made within
 * the next ms wait for it that long, where they would fail at once. A connector that went
 * away, or that leaves in order (it takes no more frames, but answers those it has), is expected
 * back without this. */
#define LINK_EXPECT_MS 4000
void link_expect(struct link *l, int64_t ms);
/* Told when the connector comes. */
void link_on_up(struct link *l, void (*fn)(void *data), void *data);
/* Sends the frame (taken over, wiped) with an id and timeout_ms added. 0 or -ENOMEM (then answer
 * isn't called; the frame is freed all the same). */
int link_call(struct link *l, json_t *frame, link_answer_fn answer, void *data);

#endif
