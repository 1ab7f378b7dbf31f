/* Starting the few programs of the system that we need, without a shell. */
#ifndef COUNTERSIGN_CLI_EXEC_H
#define COUNTERSIGN_CLI_EXEC_H

#include "base/buf.h"

/* Runs argv[0] (an absolute path) with an environment of PATH and LANG only; input (may be NULL) on
 * its standard input; its standard output into out (NULL: /dev/null), standard error too when
 * with_stderr. Returns its exit status (128 + signal when killed), or -errno. */
int exec_run(const char *const *argv, const struct buf *input, struct buf *out, bool with_stderr);

/* The first of the usual folders that holds the program, into out; false if none does. */
bool exec_find(const char *program, char *out, size_t size);

#endif
