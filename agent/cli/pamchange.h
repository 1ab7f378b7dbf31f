/* A change of services' files in PAM's folder: planned for all of them before the first is written,
 * and taken back where one can't be. Functions that return an exit code have said why. */
#ifndef COUNTERSIGN_CLI_PAMCHANGE_H
#define COUNTERSIGN_CLI_PAMCHANGE_H

#include "cli/cli.h"

#define PAMCHANGE_MAX 32

struct pamchange_item {
    const char *service;
    struct buf before, after;
    bool already, written;
    char note[256];
};

struct pamchange {
    const char *dir, *state;
    size_t n;
    struct pamchange_item item[PAMCHANGE_MAX];
};

/* -pam-dir and -state-dir, or where they are on a host. */
const char *pamchange_dir(struct cli *c);
const char *pamchange_state(struct cli *c);
/* Says why; EXIT_CODE_LOCAL. */
int pamchange_fail(const char *why);
/* Whether it names a service of its own; says so when it does not. */
bool pamchange_is_service(const char *name);

/* Of the services in the arguments. NULL on lack of memory. */
struct pamchange *pamchange_new(struct cli *c);
void pamchange_free(struct pamchange *all);
DEFINE_CLEANUP(struct pamchange *, pamchange_free)
/* Reads the files and makes the new ones, in memory. An exit code. */
int pamchange_plan(struct pamchange *all);
/* Keeps copies, writes what is not enabled already; all or nothing. An exit code. */
int pamchange_write(struct pamchange *all);

/* The services that were enabled already, or those that were not, as a new array; NULL on lack of
 * memory. */
json_t *pamchange_names(const struct pamchange *all, bool already);
/* "a, b" of an array of strings. */
void pamchange_join(const json_t *list, char *out, size_t size);
/* Whether the service is among them. */
bool pamchange_has(const struct pamchange *all, const char *service);

#endif
