/* The conditions of a binding, held against the facts. Internal to policy/. */
#ifndef COUNTERSIGN_POLICY_CONDITION_H
#define COUNTERSIGN_POLICY_CONDITION_H

#include "policy/binding_parts.h"
#include "policy/decide.h"

/* What conditions are held against. Zone offsets and proofs are read from the facts each time. */
struct condition_case {
    const struct decide_facts *facts;
    const char *service; /* of PAM; NULL for an API path (no exemption from mfa there) */
    struct cidr source;  /* facts->source, read once */
};

void condition_case_init(struct condition_case *c, const struct decide_facts *f,
                         const char *service);

/* Which of the binding's conditions are not met: bits of enum binding_condition; 0 when all are. */
unsigned condition_failed(const struct binding *b, const struct condition_case *c);

/* The conditions by number, from 0 up; NULL behind the last. */
const char *condition_name(size_t i);
enum binding_condition condition_bit(size_t i);
/* Appends one clause for a person on why the condition is met or not. */
void condition_put(struct buf *out, size_t i, const struct binding *b,
                   const struct condition_case *c);

#endif
