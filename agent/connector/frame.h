/* Reading requests and writing answers: the connector's side of <countersign/connector.h>. */
#ifndef COUNTERSIGN_CONNECTOR_FRAME_H
#define COUNTERSIGN_CONNECTOR_FRAME_H

#include <countersign/connector.h>

#include "base/json.h"
#include "connector/failure.h"

enum frame_op {
    FRAME_CHECK,
    FRAME_CREATE,
    FRAME_RENEW,
    FRAME_REVOKE,
    FRAME_SWEEP,
    FRAME_FORGET,
    FRAME_OPS,
};

#define FRAME_TIMEOUT_MS 10000 /* where a request names none */
#define FRAME_TIMEOUT_MAX_MS 600000
#define FRAME_GROUPS_MAX 32
#define FRAME_STATEMENTS_MAX 64
#define FRAME_SWEEP_MAX 1000
#define FRAME_EXPIRES_MAX INT64_C(253402300799) /* the end of the year 9999 */

struct frame {
    int64_t id;
    enum frame_op op;
    int64_t timeout_ms;
    json_t *body; /* the whole request, checked against its op's schema */
};

/* Reads one packet. Returns 0; FRAME_INVALID when the request is not well-formed but has an id to
 * answer to (out->id; why[] is for a person and quotes no value); -EBADMSG when no id can be read;
 * -ENOMEM. On 0 the frame is the caller's to frame_clear(). */
#define FRAME_INVALID 1
int frame_read(const char *text, size_t n, struct frame *out, char *why, size_t whylen);
void frame_clear(struct frame *f);

/* Append one frame to out. The errors are the buffer's (-EMSGSIZE: more than a packet holds). */
int frame_hello(struct buf *out);
/* {"id", "ok": true} and the members of fields (NULL: none). */
int frame_success(int64_t id, json_t *fields, struct buf *out);
/* objects (NULL: none) is the list that "dependent" carries. */
int frame_failure(int64_t id, const struct failure *why, json_t *objects, struct buf *out);

#endif
