/* The fields of a request as words: vault's KEY=VALUE.
 *
 *   KEY=VALUE    a string          KEY=@FILE   the file's contents
 *   KEY=\@VALUE  "@VALUE" itself   KEY=-       standard input
 *   @FILE.json   an object from a file         -  an object from standard input
 *
 * A key given twice becomes a list of its values. */
#ifndef COUNTERSIGN_CLI_FIELDS_H
#define COUNTERSIGN_CLI_FIELDS_H

#include "base/json.h"

#define FIELDS_FILE_MAX (1024 * 1024)

/* Adds the fields of n words to obj. *stdin_used is set when standard input was read; a second use
 * is an error. 0, or -errno with a sentence for a person in why[]. */
int fields_parse(const char *const *words, size_t n, bool *stdin_used, json_t *obj, char *why,
                 size_t whylen);

/* Reads "@FILE", "-" or a plain file name (when plain) whole into b. Errors as above. */
int fields_read_source(const char *word, bool *stdin_used, struct buf *b, char *why, size_t whylen);

#endif
