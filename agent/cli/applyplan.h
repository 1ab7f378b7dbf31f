/* What differs between a configuration kept as files and the agent, and making it the same.
 *
 * The agent itself compares (?check=true on the very requests that would follow), so that what is
 * said is what would happen. Nothing is changed before every item has been checked. */
#ifndef COUNTERSIGN_CLI_APPLYPLAN_H
#define COUNTERSIGN_CLI_APPLYPLAN_H

#include "cli/applyset.h"
#include "cli/call.h"

struct applyplan {
    struct cli *c;
    bool prune, force;
    const char *rollback;            /* of the PAM services; NULL */
    const char *pam_dir, *pam_state; /* NULL: the usual ones */
    struct applyset set;
    json_t *problems; /* sentences: why nothing is done */
    json_t *warnings; /* sentences of the agent */
    json_t *names;    /* what earlier applies made: {list: [name …]} */
    int64_t version;  /* of that record */
    json_t *mounts;   /* the agent's */
};
void applyplan_clear(struct applyplan *p);

/* Fills each item's change; with prune, items to be deleted are added. An exit code; when problems
 * has something in it, nothing may be changed. */
int applyplan_make(struct applyplan *p);
/* Does it, and notes what is managed now. An exit code; what was done is marked in the items. */
int applyplan_execute(struct applyplan *p);
/* Whether anything is to be changed. */
bool applyplan_differs(const struct applyplan *p);

#endif
