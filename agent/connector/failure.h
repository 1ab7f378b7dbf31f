/* How things fail: the kinds of <countersign/connector.h>, SQLSTATEs, and messages fit to be seen.
 */
#ifndef COUNTERSIGN_CONNECTOR_FAILURE_H
#define COUNTERSIGN_CONNECTOR_FAILURE_H

#include <libpq-fe.h>

#include "base/mem.h"

#define FAILURE_UNREACHABLE "unreachable"
#define FAILURE_BUSY "busy"
#define FAILURE_DENIED "denied"
#define FAILURE_TIMEOUT "timeout"
#define FAILURE_DEPENDENT "dependent"
#define FAILURE_GONE "gone"
#define FAILURE_STATEMENT "statement"
#define FAILURE_INVALID "invalid"
#define FAILURE_SUPERSEDED "superseded"

#define FAILURE_MESSAGE_MAX 400

struct failure {
    const char *kind;
    char sqlstate[6]; /* "" where there is none */
    char message[FAILURE_MESSAGE_MAX + 1];
};

/* Sets kind and message; no SQLSTATE. */
void failure_set(struct failure *f, const char *kind, const char *fmt, ...) _printf_(3, 4);
/* Sets everything from a server's report. The kind is the SQLSTATE's; text is cleaned as by
 * failure_clean(). */
void failure_from_server(struct failure *f, const char *sqlstate, const char *text,
                         const char *const *secrets);

/* The same from a failed result. Of a syntax error only the position is told: the server quotes the
 * place, and what stands there may be a value. */
void failure_from_result(struct failure *f, const PGresult *result, const char *const *secrets);

/* The kind an SQLSTATE (PostgreSQL's manual, appendix A) stands for: "statement" unless the table
 * knows better. */
const char *failure_kind(const char *sqlstate);

/* Copies text into out for a person: one line, nothing that moves a terminal's cursor, at most n-1
 * bytes, and every piece of a secret (8 bytes of it in a row, or all of a shorter one) as "***".
 * secrets ends with NULL. */
void failure_clean(char *out, size_t n, const char *text, const char *const *secrets);

/* Finds the SQLSTATE in libpq's verbose text of a failed connection ("FATAL:  28P01: …"), since a
 * connection that never was has no result to ask. Returns where the message proper begins, or text
 * itself with sqlstate "" when there is none. */
const char *failure_find_sqlstate(const char *text, char sqlstate[6]);

#endif
