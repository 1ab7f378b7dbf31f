/* What is wrong, and what to do about it: one table of checks, the worst first. */
#ifndef COUNTERSIGN_SERVER_PROBLEMS_H
#define COUNTERSIGN_SERVER_PROBLEMS_H

#include "server/agent.h"

/* What the checks look at. */
struct problem_facts {
    struct agent *agent;
    bool root; /* who asks may be told names */
    enum vault_state state;
    const struct lease_counts *leases;
    struct vault_health health;
    uint64_t audit_waiting;
    int64_t audit_failing_ms; /* wall time since when; 0 */
    int64_t now_ms;           /* wall time */
};

/* The sentences of all that are true, as a new array; NULL on lack of memory. */
json_t *problems_find(const struct problem_facts *f);

#endif
