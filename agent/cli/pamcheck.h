/* Is this host ready for our module? Asked before a service's file is changed. */
#ifndef COUNTERSIGN_CLI_PAMCHECK_H
#define COUNTERSIGN_CLI_PAMCHECK_H

#include "cli/cli.h"

/* Tells what is well and what is not, on standard error. Returns how many things must be put right
 * first. ssh: sshd is among the services. */
unsigned pamcheck_all(struct cli *c, bool ssh);

/* Reads the output of `sshd -T`: the value of a keyword (lower case) into out. false if absent. */
bool pamcheck_sshd_value(const char *text, const char *keyword, char *out, size_t size);

#endif
