/* Calling the agent, and telling people why it didn't work and what to do next. */
#ifndef COUNTERSIGN_CLI_CALL_H
#define COUNTERSIGN_CLI_CALL_H

#include "cli/cli.h"

/* One call that has to succeed. Returns EXIT_CODE_OK with a 2xx answer in *r, or prints the reason
 * and returns the exit code. r is zeroed or an earlier answer. */
int call(struct cli *c, const char *method, const char *path, const char *query, const json_t *body,
         struct reply *r);

/* The same, but any answer of the agent is EXIT_CODE_OK: the caller looks at r->status. */
int call_any(struct cli *c, const char *method, const char *path, const char *query,
             const json_t *body, struct reply *r);
/* Tells why the agent refused (r->status is not 2xx). Returns the exit code. */
int call_refused(struct cli *c, const char *method, const char *path, const struct reply *r);
/* The agent's reasons in one string, joined by "; ". "" if it gave none. */
void call_reason(const struct reply *r, struct buf *why);

/* As call() and client_request(), without a word: 0 and any answer, or -errno. */
int call_quietly(struct cli *c, const char *method, const char *path, const json_t *body,
                 struct reply *r);

/* "prefix/name" as a new string; NULL on lack of memory. */
char *call_path(const char *prefix, const char *name);

/* Says that memory ran out. Returns EXIT_CODE_LOCAL. */
int call_no_memory(void);

/* Prints "WARNING" and what the agent warned of, if it did. */
void call_warnings(const struct reply *r);

#endif
