/* Saying why: one sentence, and the trace for `countersign explain`. Internal to policy/. */
#ifndef COUNTERSIGN_POLICY_EXPLAIN_H
#define COUNTERSIGN_POLICY_EXPLAIN_H

#include "policy/weigh.h"

/* Each writes d->why. Those about a rule take it from d->binding, d->policy and d->rule. */
void explain_memory(struct decision *d);
/* The person is locked out. */
void explain_locked(struct decision *d, const struct weigh *w);

void explain_path_allowed(struct decision *d);
void explain_path_denied(struct decision *d);
/* What the deciding rule does not grant: `missing` has ACL_ bits of which one was needed. */
void explain_path_lacks(struct decision *d, unsigned missing);
/* No rule covers the path at all. */
void explain_path_uncovered(struct decision *d, const struct weigh *w, const char *path);
/* A binding that would have given the path (or names the service), but for a condition. */
void explain_blocked(struct decision *d, const struct weigh *w, const struct weigh_view *v);

void explain_service_allowed(struct decision *d, const struct weigh *w, const struct weigh_view *v);
void explain_service_challenge(struct decision *d, const struct weigh *w,
                               const struct weigh_view *v);
void explain_service_strange(struct decision *d, const struct weigh *w);
/* No binding names the service: allowed by exemption, challenged or ignored, as d->verdict says. */
void explain_service_unbound(struct decision *d, const struct weigh *w);

/* The whole story; NULL on lack of memory. */
json_t *explain_trace(const struct weigh *w, const struct decision *d);

#endif
