/* Policies and bindings in force, parsed once and kept; the store has their text. */
#ifndef COUNTERSIGN_SERVER_RULES_H
#define COUNTERSIGN_SERVER_RULES_H

#include "base/effect.h"
#include "policy/decide.h"
#include "vault/vault.h"

#define RULES_E_NONE 1
#define RULES_E_REFUSED 2 /* why[] says it */

struct rules;

/* From now on the variable TZ is this module's (see rules_zone_offset()): call it before other
 * threads work. */
struct rules *rules_new(void);
void rules_free(struct rules *r);
/* Reads everything from the store (after unsealing; after a failed commit). A rule that was changed
 * from outside is left out, counted, and the agent says so in its status: it grants nothing. On
 * -errno those in force stay in force. */
int rules_load(struct rules *r, struct vault *v);
void rules_clear(struct rules *r);
/* For policy/decide.h; valid until the next change. */
const struct decide_rules *rules_view(const struct rules *r);
size_t rules_broken(const struct rules *r);
/* One policy by name, NULL if there is none. "root" is never one. */
const struct acl_policy *rules_policy(const struct rules *r, const char *name);
/* A token's policies, all of them: one left out could be the one that denies. The caller frees
 * *uses. 0 or -ENOMEM. */
int rules_uses(const struct rules *r, const json_t *names, struct acl_use **uses, size_t *n);

/* Changes go to the store in the turn; the parsed form follows as an effect. */
int rules_policy_put(struct rules *r, struct vault *v, struct effects *e, const char *name,
                     const char *text, char *why, size_t whylen);
int rules_policy_get(struct vault *v, const char *name, struct buf *text); /* 0, RULES_E_NONE */
int rules_policy_delete(struct rules *r, struct vault *v, struct effects *e, const char *name);
int rules_binding_put(struct rules *r, struct vault *v, struct effects *e, const char *name,
                      const json_t *obj, char *why, size_t whylen);
int rules_binding_get(struct vault *v, const char *name, json_t **out);
int rules_binding_delete(struct rules *r, struct vault *v, struct effects *e, const char *name);
int rules_names(struct vault *v, bool bindings, json_t **out);
/* Makes "default" (Vault's: look after one's own token) where it is missing. */
int rules_defaults(struct vault *v);
/* Seconds east of UTC of an IANA zone (decide_facts.zone_offset), and whether it exists. */
int rules_zone_offset(const char *zone, int64_t when, int *offset);
bool rules_zone_known(const char *zone);

/* Enrolment: what holds for people without a factor. */
struct rules_enrolment {
    bool grace;
    int64_t until_s;
    char until[40];
    json_t *exempt_groups; /* owned by rules */
};
const struct rules_enrolment *rules_enrolment(const struct rules *r);
int rules_enrolment_put(struct rules *r, struct vault *v, struct effects *e, const json_t *obj,
                        char *why, size_t whylen);
json_t *rules_enrolment_json(const struct rules *r);
/* Fills facts' exempt and exempt_why from the enrolment rule and the facts' groups and time; text[]
 * must outlive the facts. */
void rules_exemption(const struct rules *r, struct decide_facts *f, char *text, size_t n);

#endif
