/* One connection to one database, without ever blocking the loop: names looked up, connected, set
 * up, then one query at a time.
 *
 *   opening -> idle <-> busy (a query) ; tidying -> idle ; any -> lost
 *
 * libpq keeps its own copy of the password for as long as the connection lives; ours is wiped once
 * the connection is made. */
#ifndef COUNTERSIGN_CONNECTOR_PGCONN_H
#define COUNTERSIGN_CONNECTOR_PGCONN_H

#include <libpq-fe.h>
#include <systemd/sd-event.h>

#include "base/buf.h"
#include "connector/dsn.h"
#include "connector/failure.h"

struct pgconn;

/* Called from the loop only, never from within a call to this module. Each may free the connection.
 */
struct pgconn_events {
    void (*ready)(void *owner);                           /* opened or tidied: idle */
    void (*result)(void *owner, const PGresult *result);  /* the query is over: idle */
    void (*lost)(void *owner, const struct failure *why); /* of no more use: free it */
};

#define PGCONN_PARAMS_MAX 4

/* One SQL command; the text may be secret. */
struct pgconn_query {
    struct buf sql;
    const char *param[PGCONN_PARAMS_MAX]; /* $1 …, text, not copied before the query is sent */
    int params;
    bool script; /* several commands in one text (no params): one result, the first bad or the last
                  */
};

/* Begins to open a connection. *dsn is taken over (and cleared) whatever comes back. 0 or -errno.
 */
int pgconn_open(sd_event *event, struct dsn *dsn, const struct pgconn_events *events, void *owner,
                struct pgconn **out);
/* Closes at once; what the server was doing is given up by it (client_connection_check_interval).
 */
void pgconn_free(struct pgconn *c);

/* Sends a query on an idle connection. 0, or -EIO when it can't be sent (lost is not called then).
 */
int pgconn_query(struct pgconn *c, const struct pgconn_query *q);

/* Makes the connection fit for the next user: rolls an open transaction back and, when dirty,
 * forgets all session state. Returns PGCONN_IDLE when there is nothing to do; 0 when ready comes
 * later; -EIO when it is broken (lost is not called then). */
#define PGCONN_IDLE 1
int pgconn_tidy(struct pgconn *c, bool dirty);

/* For escaping, and for asking about the server. */
PGconn *pgconn_raw(struct pgconn *c);

#endif
