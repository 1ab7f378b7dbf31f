/* Reading the command line: vault's grammar.
 *
 * -flag=value, -flag value, -flag (booleans), with one dash or two, before or after the words of
 * the command and between its arguments; "--" ends the flags; "-" alone is an argument (standard
 * input). All strings point into argv. */
#ifndef COUNTERSIGN_CLI_ARGS_H
#define COUNTERSIGN_CLI_ARGS_H

#include "base/json.h"
#include "cli/command.h"

#define ARGS_MAX 256 /* most words on the command line */
#define ARGS_WORDS_MAX 64

struct args_flag {
    const struct flag *flag;
    const char *value;
};

struct args {
    const struct command *command; /* NULL: words name no command, or only a group */
    char words[ARGS_WORDS_MAX];    /* the words recognised, "kv metadata" */
    const char *pos[ARGS_MAX];
    size_t n_pos;
    struct args_flag flags[ARGS_MAX];
    size_t n_flags;
};

/* Fills *a (which need not be initialised). 0, or -EINVAL with a sentence for a person in why[].
 * The number of arguments is not checked here: -help may stand without them. */
int args_parse(int argc, char **argv, struct args *a, char *why, size_t whylen);
/* Checks the number of arguments. 0, or -EINVAL with why. */
int args_check_count(const struct args *a, char *why, size_t whylen);

bool args_has(const struct args *a, const char *flag);
/* The last value given; NULL when the flag was not given. */
const char *args_str(const struct args *a, const char *flag);
bool args_bool(const struct args *a, const char *flag);
int64_t args_int(const struct args *a, const char *flag, int64_t dflt);
/* All values of a flag as a new array of strings, split at commas. NULL on lack of memory. */
json_t *args_list(const struct args *a, const char *flag);
/* The i-th argument; NULL beyond the end. */
const char *args_pos(const struct args *a, size_t i);

#endif
