/* Showing the agent's answers as vault shows them. Each returns an exit code. */
#ifndef COUNTERSIGN_CLI_SHOW_H
#define COUNTERSIGN_CLI_SHOW_H

#include "cli/call.h"
#include "cli/table.h"

/* An answer in Vault's envelope: lease, auth and data as a Key/Value table; -field and -format are
 * obeyed. */
int show_reply(struct cli *c, const struct reply *r);
/* The "keys" of a LIST, one a line below "Keys". */
int show_keys(struct cli *c, const struct reply *r);
/* A sentence for a success without an answer; in JSON nothing unless there was an answer. */
int show_done(struct cli *c, const struct reply *r, const char *fmt, ...) _printf_(3, 4);
/* Where the answer is shown in a form of our own: prints -field and -format=json. Returns true when
 * that was all, with *code set. */
bool show_plainly(struct cli *c, const struct reply *r, int *code);
/* A table of Key and Value of an object, sorted by key as vault's. */
int show_object(struct cli *c, const json_t *object);
/* Prints a table, or why not. Frees it. */
int show_table(struct cli *c, struct table *t);
/* "==== Title ====", centred over a table as wide as vault's. */
void show_title(struct cli *c, const char *title, size_t width);
/* The value of one field of an answer: in data (or what stands for it), else beside it. "data" is
 * the whole data. Borrowed; NULL when there is none. */
const json_t *show_field(const struct reply *r, const char *field);

#endif
