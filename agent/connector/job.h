/* One request on its way: a table of steps on one connection.
 *
 * A step asks (writes a query) and takes the result; the runner in between is the same for all ops.
 */
#ifndef COUNTERSIGN_CONNECTOR_JOB_H
#define COUNTERSIGN_CONNECTOR_JOB_H

#include "connector/frame.h"
#include "connector/pgconn.h"
#include "connector/template.h"

struct job;

enum verdict {
    STEP_NEXT,
    STEP_SEND,  /* from ask only: the query is written */
    STEP_AGAIN, /* this step once more */
    STEP_PAUSE, /* this step once more, a little later */
    STEP_JUMP,  /* to j->step, which was set */
    STEP_DONE,  /* the whole job has succeeded */
    STEP_FAIL,  /* j->why says why */
};

struct step {
    enum verdict (*ask)(struct job *j, struct pgconn_query *q);  /* NULL ends a table: done */
    enum verdict (*take)(struct job *j, const PGresult *result); /* NULL: next */
    /* The query failed and j->why is set; NULL: fail. Inside a transaction only STEP_FAIL makes
     * sense. */
    enum verdict (*failed)(struct job *j);
    bool commits; /* once sent, nobody knows without the answer whether it took place */
};

/* Told to whoever runs the job; each may free it. */
struct job_events {
    void (*over)(struct job *j, bool ok); /* answer and why are ready */
    void (*again)(struct job *j);         /* it lost a race in the server: start over */
    void (*broken)(struct job *j);        /* its connection can't send */
};

struct job {
    struct job *next;
    struct frame frame;
    const struct job_events *events;
    void *owner;
    sd_event *event;
    sd_event_source *deadline, *pause; /* the deadline is the owner's */
    int64_t deadline_ms;               /* clock_boot_ms() */

    struct pgconn *conn; /* while it runs */
    const struct step *steps;
    size_t step;
    bool retried;    /* has been begun again on a fresh connection */
    bool committing; /* a step with `commits` is under way */
    bool committed;  /* one has been sent at some time */
    bool answered;   /* nobody waits any more */
    bool dirty;      /* templates ran: the session may have been changed */
    bool claimed;    /* the database is this agent's: the request's claim stood the test */
    unsigned races;
    unsigned pause_ms;

    struct failure why;
    json_t *answer;  /* members of the success */
    json_t *objects; /* of "dependent" */

    /* What the steps of an op remember; cleared when it starts over. */
    struct template_list list;
    size_t at; /* the statement that is next */
    bool expanded;
    char oid[16];
    bool is_member;
    int *pid; /* sessions that were told to end */
    size_t pids;
    json_t *names;
};

/* Takes the frame over. NULL on lack of memory (the frame is the caller's then). */
struct job *job_new(struct frame *frame, sd_event *event, const struct job_events *events,
                    void *owner);
void job_free(struct job *j);

/* Starts (again) on an idle connection. */
void job_begin(struct job *j, struct pgconn *conn);
/* Its connection's query is over. */
void job_result(struct job *j, const PGresult *result);

/* --- For the ops. ---------------------------------------------------------------------------- */

extern const struct step job_steps_check[], job_steps_create[], job_steps_renew[],
    job_steps_revoke[], job_steps_sweep[];
/* Before all of them, where the request brings a claim (op_claim.c). */
extern const struct step job_steps_claim[];

/* The string member of the request ("" when absent). */
const char *job_str(const struct job *j, const char *key);
/* Milliseconds until the deadline, at least 1. */
int64_t job_left_ms(const struct job *j);
/* j->why = kind and the message; returns STEP_FAIL. */
enum verdict job_fail(struct job *j, const char *kind, const char *message);

bool job_has_statements(const struct job *j);
/* Steps that several ops share: BEGIN with the job's time as the server's limit, the request's
 * statements one by one, COMMIT. The three skip themselves when job_begin_always is not used and
 * there are no statements. */
enum verdict job_ask_begin(struct job *j, struct pgconn_query *q);
enum verdict job_ask_begin_if_statements(struct job *j, struct pgconn_query *q);
enum verdict job_ask_statement(struct job *j, struct pgconn_query *q);
enum verdict job_take_statement(struct job *j, const PGresult *result);
enum verdict job_statement_failed(struct job *j);
enum verdict job_ask_commit(struct job *j, struct pgconn_query *q);
enum verdict job_ask_commit_if_statements(struct job *j, struct pgconn_query *q);
enum verdict job_take_commit(struct job *j, const PGresult *result);

#endif
