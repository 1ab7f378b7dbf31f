#include "connector/pgconn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "connector/resolve.h"

enum state { LOOKING_UP, CONNECTING, SETTING_UP, SET_UP, WATCHED, IDLE, BUSY, TIDYING };

struct pgconn {
    sd_event *event;
    sd_event_source *io, *soon;
    const struct pgconn_events *events;
    void *owner;
    struct dsn dsn;
    struct resolve *look_up;
    PGconn *pg;
    enum state state;
    PGresult *result; /* of the query under way: the first bad one, or else the last */
    bool dirty;
    struct failure why;
};

PGconn *pgconn_raw(struct pgconn *c)
{
    return c->pg;
}

/* What each session begins with. Names are looked for in pg_catalog only, so that nobody who may
 * create functions can slip one under ours; templates get the account's own search_path back. */
#define SESSION                                                                                    \
    "SET standard_conforming_strings = on; SET search_path = pg_catalog, pg_temp; "                \
    "SET statement_timeout = '600s'"
/* From 14 on, and where its system can, the server notices by itself that we are gone and gives up
 * what it was doing. */
#define WATCH "SET client_connection_check_interval = '1s'"

static int on_io(sd_event_source *s, int fd, uint32_t events, void *data);

/* Tells the owner; c may be gone when this returns. */
static void lose(struct pgconn *c)
{
    struct failure why = c->why;

    c->io = sd_event_source_disable_unref(c->io);
    c->events->lost(c->owner, &why);
}

static void note_connection_error(struct pgconn *c)
{
    const char *secrets[] = {PQpass(c->pg), NULL};
    const char *text = PQerrorMessage(c->pg);
    char sqlstate[6];
    const char *message = failure_find_sqlstate(text, sqlstate);
    size_t len = strcspn(message, "\n");
    char *line _cleanup_secret_ = sqlstate[0] ? mem_dup(message, len) : mem_dup(text, strlen(text));

    failure_from_server(&c->why, sqlstate[0] ? sqlstate : "08000", line ? line : "", secrets);
    if (strstr(text, "no password supplied"))
        c->why.kind = FAILURE_DENIED;
    if (!sqlstate[0])
        c->why.sqlstate[0] = '\0';
    if (c->why.message[0] == '\0')
        failure_set(&c->why, FAILURE_UNREACHABLE, "the connection to the database broke");
}

/* Watches the socket anew: libpq closes and opens sockets as it goes from host to host. */
static int watch(struct pgconn *c, uint32_t events)
{
    c->io = sd_event_source_disable_unref(c->io);
    return sd_event_add_io(c->event, &c->io, PQsocket(c->pg), events, on_io, c);
}

/* --- Queries. -------------------------------------------------------------------------------- */

static void drop_result(struct pgconn *c)
{
    PQclear(c->result);
    c->result = NULL;
}

static bool is_good(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
}

static void keep_result(struct pgconn *c, PGresult *result)
{
    if (c->result && !is_good(c->result)) {
        PQclear(result);
        return;
    }
    drop_result(c);
    c->result = result;
}

static int flush(struct pgconn *c)
{
    int left = PQflush(c->pg);

    if (left < 0)
        return -EIO;
    return sd_event_source_set_io_events(c->io, left > 0 ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static int send_script(struct pgconn *c, const char *sql, enum state state)
{
    drop_result(c);
    c->state = state;
    return PQsendQuery(c->pg, sql) == 1 && flush(c) >= 0 ? 0 : -EIO;
}

int pgconn_query(struct pgconn *c, const struct pgconn_query *q)
{
    const char *sql = buf_str(&q->sql);

    if (c->state != IDLE || buf_error(&q->sql) < 0)
        return -EIO;
    if (q->script)
        return send_script(c, sql, BUSY);
    drop_result(c);
    if (PQsendQueryParams(c->pg, sql, q->params, NULL, q->param, NULL, NULL, 0) != 1 ||
        flush(c) < 0)
        return -EIO;
    c->state = BUSY;
    return 0;
}

/* Sends the next thing that has to be done before the connection is fit for use: 0, PGCONN_IDLE
 * when all is done, or -EIO. */
static int next_chore(struct pgconn *c)
{
    PGTransactionStatusType open = PQtransactionStatus(c->pg);

    if (open == PQTRANS_UNKNOWN)
        return -EIO;
    if (open == PQTRANS_INTRANS || open == PQTRANS_INERROR)
        return send_script(c, "ROLLBACK", TIDYING);
    if (c->dirty) {
        c->dirty = false;
        return send_script(c, "DISCARD ALL", SETTING_UP);
    }
    if (c->state == SETTING_UP)
        return send_script(c, SESSION, SET_UP);
    if (c->state == SET_UP && PQserverVersion(c->pg) >= 140000)
        return send_script(c, WATCH, WATCHED);
    c->state = IDLE;
    return PGCONN_IDLE;
}

int pgconn_tidy(struct pgconn *c, bool dirty)
{
    drop_result(c);
    c->dirty = c->dirty || dirty;
    return next_chore(c);
}

/* What the server said last, or what libpq knows. */
static void lose_by_result(struct pgconn *c)
{
    const char *secrets[] = {PQpass(c->pg), NULL};

    if (c->result && !is_good(c->result))
        failure_from_result(&c->why, c->result, secrets);
    else
        note_connection_error(c);
    lose(c);
}

static void chore_over(struct pgconn *c)
{
    int r;

    if (c->state != WATCHED && (!c->result || !is_good(c->result))) {
        lose_by_result(c);
        return;
    }
    drop_result(c);
    r = next_chore(c);
    if (r == PGCONN_IDLE)
        c->events->ready(c->owner);
    else if (r < 0)
        lose_by_result(c);
}

static void query_over(struct pgconn *c)
{
    PGresult *result = c->result;

    c->result = NULL;
    c->state = IDLE;
    c->events->result(c->owner, result);
    PQclear(result);
}

/* Takes results until the query is over or more has to come. */
static void collect(struct pgconn *c)
{
    while (!PQisBusy(c->pg)) {
        PGresult *result = PQgetResult(c->pg);
        ExecStatusType status = PQresultStatus(result);

        if (!result && PQstatus(c->pg) == CONNECTION_BAD) {
            lose_by_result(c);
            return;
        }
        if (!result) {
            if (c->state == BUSY)
                query_over(c);
            else
                chore_over(c);
            return;
        }
        keep_result(c, result);
        /* COPY would have us feed or drain it: not what this connection is for. */
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
            failure_set(&c->why, FAILURE_STATEMENT, "COPY can't be run here");
            lose(c);
            return;
        }
    }
}

static void drop_notifications(struct pgconn *c)
{
    PGnotify *n;

    while ((n = PQnotifies(c->pg)))
        PQfreemem(n);
}

static void converse(struct pgconn *c, uint32_t events)
{
    bool good = !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || PQconsumeInput(c->pg) == 1;

    if (good && (events & EPOLLOUT))
        good = flush(c) == 0;
    /* The server's last words ("terminating connection …") may be here though it has hung up. */
    if (c->state != IDLE && !PQisBusy(c->pg)) {
        collect(c);
    } else if (!good || PQstatus(c->pg) == CONNECTION_BAD) {
        lose_by_result(c);
    } else if (c->state == IDLE) {
        drop_notifications(c);
    }
}

/* --- Opening. -------------------------------------------------------------------------------- */

static void connected(struct pgconn *c)
{
    int r = PQsetnonblocking(c->pg, 1) == 0 ? watch(c, EPOLLIN) : -EIO;

    dsn_clear(&c->dsn);
    PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
    c->state = SETTING_UP;
    if (r >= 0)
        r = next_chore(c);
    if (r < 0)
        lose_by_result(c);
}

static void poll_connecting(struct pgconn *c)
{
    PostgresPollingStatusType status;
    int r;

    c->io = sd_event_source_disable_unref(c->io);
    status = PQconnectPoll(c->pg);
    if (status == PGRES_POLLING_OK) {
        connected(c);
        return;
    }
    if (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING) {
        r = watch(c, status == PGRES_POLLING_READING ? EPOLLIN : EPOLLOUT);
        if (r >= 0)
            return;
    }
    note_connection_error(c);
    lose(c);
}

static int on_io(sd_event_source *s _unused_, int fd _unused_, uint32_t events, void *data)
{
    struct pgconn *c = data;

    if (c->state == CONNECTING)
        poll_connecting(c);
    else
        converse(c, events);
    return 0;
}

static void ignore_notice(void *unused _unused_, const PGresult *result _unused_)
{
}

/* All names are known: connect. */
static int begin(struct pgconn *c)
{
    int r = dsn_settle(&c->dsn);

    if (r < 0)
        return r;
    c->pg =
        PQconnectStartParams((const char *const *)c->dsn.key, (const char *const *)c->dsn.value, 0);
    if (!c->pg)
        return -ENOMEM;
    if (PQstatus(c->pg) == CONNECTION_BAD) {
        note_connection_error(c);
        return -EIO;
    }
    /* The one way to learn the SQLSTATE of a failed login: it then stands in the text. */
    PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(c->pg, ignore_notice, NULL);
    c->state = CONNECTING;
    return watch(c, EPOLLOUT);
}

static int look_up_next(struct pgconn *c);

static void looked_up(void *data, char *const *address, size_t count, const char *error)
{
    struct pgconn *c = data;
    size_t i = 0;
    int r = 0;

    c->look_up = NULL;
    while (!c->dsn.host[i].look_up)
        i++;
    c->dsn.host[i].look_up = false;
    c->dsn.host[i].absent = count == 0;
    if (count == 0)
        failure_set(&c->why, FAILURE_UNREACHABLE, "host %s: %s", c->dsn.host[i].name, error);
    for (size_t k = 0; k < count && r == 0; k++)
        r = dsn_add_address(&c->dsn, i, address[k]);
    if (r == 0)
        r = look_up_next(c);
    if (r < 0)
        lose(c);
}

/* Looks the next name up; when there is none, connects. */
static int look_up_next(struct pgconn *c)
{
    for (size_t i = 0; i < c->dsn.hosts; i++) {
        if (c->dsn.host[i].look_up)
            return resolve_start(c->dsn.host[i].name, looked_up, c, &c->look_up);
    }
    return begin(c);
}

/* Begins from the loop, so that a failure can be told by callback like any other. */
static int on_soon(sd_event_source *s _unused_, void *data)
{
    struct pgconn *c = data;

    c->soon = sd_event_source_disable_unref(c->soon);
    if (look_up_next(c) < 0)
        lose(c);
    return 0;
}

int pgconn_open(sd_event *event, struct dsn *dsn, const struct pgconn_events *events, void *owner,
                struct pgconn **out)
{
    struct pgconn *c = calloc(1, sizeof(*c));
    int r;

    if (!c) {
        dsn_clear(dsn);
        return -ENOMEM;
    }
    *c = (struct pgconn){.event = event, .events = events, .owner = owner, .dsn = *dsn};
    *dsn = (struct dsn){0};
    failure_set(&c->why, FAILURE_UNREACHABLE, "the connection could not be opened");
    r = sd_event_add_defer(event, &c->soon, on_soon, c);
    if (r < 0) {
        pgconn_free(c);
        return r;
    }
    *out = c;
    return 0;
}

void pgconn_free(struct pgconn *c)
{
    if (!c)
        return;
    resolve_cancel(c->look_up);
    sd_event_source_disable_unref(c->soon);
    sd_event_source_disable_unref(c->io);
    drop_result(c);
    if (c->pg)
        PQfinish(c->pg);
    dsn_clear(&c->dsn);
    free(c);
}
