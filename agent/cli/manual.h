/* The part of countersign(1) that tells of each command, from the same rows as -help: a manual that
 * can't disagree with the program. */
#ifndef COUNTERSIGN_CLI_MANUAL_H
#define COUNTERSIGN_CLI_MANUAL_H

#include <stdio.h>

/* Prints the sections COMMANDS and OPTIONS in mdoc(7), UTF-8. */
void manual_commands(FILE *to);

#endif
