/* The stages of the pipeline, each in its own file. Internal to server/. */
#ifndef COUNTERSIGN_SERVER_PIPELINE_H
#define COUNTERSIGN_SERVER_PIPELINE_H

#include "server/request.h"

/* What a stage returns once request_error() has made an error answer (or lacked the memory for it).
 */
static inline int pipeline_refuse(int made)
{
    return made < 0 ? made : 1;
}

/* parse.c: fills in what the wire said. 0, or 1 when an error answer stands in r, -ENOMEM. */
int pipeline_parse(struct request *r);

/* identify.c: finds out who calls, by the kernel and NSS, then calls then(r) from the loop; an
 * error answer may stand in r by then (request_refused()). */
void pipeline_identify(struct request *r, void (*then)(struct request *r));
/* In the turn: the token's or the session's row. 0, 1 when an error answer stands in r, -errno. */
int pipeline_identity_rows(struct request *r);
/* The groups of a person become the request's. 0 or -ENOMEM. */
int pipeline_copy_groups(struct request *r, const struct person *p);
void pipeline_free_groups(struct request *r);

/* authorise.c, in the turn: fills r->allowed and r->decision; 0, 1 when an error answer stands in
 * r. */
int pipeline_authorise(struct request *r);
/* engine_api.c: the capability an engine's path needs, from the verb and whether it exists. */
int pipeline_engine_caps(struct request *r, unsigned *caps, bool *sudo);

/* reply.c: the audit line (in the turn), and the answer (after the commit). */
int pipeline_audit(struct request *r);
void pipeline_reply(struct request *r);
void pipeline_request_free(struct request *r);

#endif
