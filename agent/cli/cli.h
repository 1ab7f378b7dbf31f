/* One run of the program: the command line, where results go, the way to the agent. */
#ifndef COUNTERSIGN_CLI_CLI_H
#define COUNTERSIGN_CLI_CLI_H

#include "cli/args.h"
#include "cli/client.h"
#include "cli/output.h"

struct cli {
    struct args args;
    struct output out;
    struct client *client; /* made by the first call */
    const char *address;   /* of the agent */
    char *token;           /* NULL: who we are on this host counts */
    bool stdin_used;       /* "-" can be read once */
};

#endif
