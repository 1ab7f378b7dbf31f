/* Tables whose columns line up.
 *
 * Cells are made printable and may have several lines. A table of more than two columns that is
 * wider than the terminal is printed row by row instead: the first cell, then "head: value" pairs.
 * Errors are sticky and reported by table_print(). */
#ifndef COUNTERSIGN_CLI_TABLE_H
#define COUNTERSIGN_CLI_TABLE_H

#include "cli/output.h"

#define TABLE_COLUMNS_MAX 12

struct table;

/* heads: column names. NULL on lack of memory (every function here takes NULL and then reports
 * -ENOMEM). */
struct table *table_new(const char *const *heads, size_t columns);
void table_free(struct table *t);
DEFINE_CLEANUP(struct table *, table_free)

/* Adds a row of as many cells as there are columns; a NULL cell is "". Copies. */
void table_add(struct table *t, const char *const *cells);
/* Adds a row of a two-column table whose second cell is a JSON value. */
void table_add_value(struct table *t, const char *key, const json_t *v);
size_t table_rows(const struct table *t);
/* Prints. 0, or the first error. */
int table_print(const struct table *t, const struct output *o);

/* How many terminal columns a string of UTF-8 takes. */
size_t table_width(const char *s, size_t n);

#endif
