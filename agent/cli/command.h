/* What a command is: a row of data from which parsing, help and completion come. */
#ifndef COUNTERSIGN_CLI_COMMAND_H
#define COUNTERSIGN_CLI_COMMAND_H

#include <stdio.h>

#include "base/buf.h"

/* Exit codes of the program, as vault's. */
enum { EXIT_CODE_OK = 0, EXIT_CODE_LOCAL = 1, EXIT_CODE_REFUSED = 2 };

enum flag_kind {
    FLAG_STRING,
    FLAG_INT,
    FLAG_BOOL, /* takes a value only behind '=' */
    FLAG_LIST, /* may be given several times */
};

struct flag {
    const char *name; /* without dashes; NULL ends a table */
    enum flag_kind kind;
    const char *value; /* how help calls its value; NULL for FLAG_BOOL */
    const char *help;
};

struct cli;

struct command {
    const char *name;    /* "operator init"; NULL ends a table */
    const char *args;    /* "PATH [KEY=VALUE…]", "" if none */
    const char *purpose; /* one line */
    const char *details; /* more for --help, indented by nothing; NULL */
    const char *example; /* one or more command lines, without "$ " */
    const char *exits;   /* what differs from the usual exit codes; NULL */
    const struct flag *flags;
    int min_args, max_args; /* max_args -1: any number */
    bool hidden;
    int (*run)(struct cli *c); /* returns an exit code */
};

/* Flags that every command takes. */
extern const struct flag command_globals[];

struct command_group {
    const char *name, *purpose;
};

/* Every group of commands, in the overview's order. */
const struct command_group *command_groups(size_t *n);

/* Walks over every command, hidden ones too, in the order of the tables. Start with {0}; NULL at
 * the end. */
struct command_walk {
    size_t table, row;
};
const struct command *command_next(struct command_walk *w);

/* The command with exactly this name; NULL if there is none. */
const struct command *command_find(const char *name);
/* Whether a command has this name or goes on from it ("kv" in "kv get"). */
bool command_is_prefix(const char *name);
const struct flag *command_flag(const struct flag *table, const char *name);
/* The next words that may follow `prefix` ("" at the start) nearest to `word`; at the start also a
 * longer command that has the word further on. "" if none is near. */
void command_suggest(const char *prefix, const char *word, char *out, size_t size);

/* --help of a command; of a group of commands; of the whole program. */
void command_help(const struct command *cmd, FILE *to);
void command_group_help(const char *group, FILE *to);
void command_overview(FILE *to);
/* One line a command, "name<TAB>flag flag …", for shell completion. */
void command_completion(FILE *to);

#endif
