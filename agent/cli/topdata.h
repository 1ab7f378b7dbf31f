/* What `countersign top` shows: one look at the agent, and its rows cut, sorted and filtered into
 * panes. Without a terminal. */
#ifndef COUNTERSIGN_CLI_TOPDATA_H
#define COUNTERSIGN_CLI_TOPDATA_H

#include "cli/cli.h"

enum topdata_pane { TOPDATA_LEASES, TOPDATA_SESSIONS, TOPDATA_LOGINS, TOPDATA_PANES };

#define TOPDATA_COLUMNS 7
#define TOPDATA_CELL 512

struct topdata {
    json_t *status;              /* sys/status's data; NULL: no answer */
    json_t *list[TOPDATA_PANES]; /* arrays; NULL: refused */
    char why[TOPDATA_PANES][160];
    char error[256];  /* no answer at all: why; "" */
    int64_t taken_ms; /* boot clock */
};

/* Asks anew. What was known stays when there is no answer, with error saying why. 0, -ENOMEM, or
 * -errno of the last call. */
int topdata_fetch(struct cli *c, struct topdata *d);
void topdata_clear(struct topdata *d);
/* One frame for programs: {"status", "leases", "sessions", "logins"}. NULL on lack of memory. */
json_t *topdata_frame(const struct topdata *d);

struct topdata_column {
    const char *head; /* NULL ends the row */
    unsigned width;   /* columns on the screen; 0: what is left */
    bool number;      /* sorted as one; cell gives it */
    /* What is shown of an item, seconds after it was fetched. */
    void (*cell)(const json_t *item, int64_t age_s, char out[TOPDATA_CELL]);
    int64_t (*value)(const json_t *item); /* for number */
};

const char *topdata_title(enum topdata_pane p);
const struct topdata_column *topdata_columns(enum topdata_pane p);
size_t topdata_column_count(enum topdata_pane p);
/* "" where an item can't be told from others. */
const char *topdata_id(enum topdata_pane p, const json_t *item);

struct topdata_view {
    unsigned sort; /* column */
    bool reverse;
    char filter[64]; /* shown rows have it in a cell, whatever the case; "" */
};
/* The rows to show, in order: a new array of borrowed items (free() it); *n their number. NULL when
 * there are none. */
const json_t **topdata_rows(const struct topdata *d, enum topdata_pane p,
                            const struct topdata_view *v, size_t *n);

#endif
