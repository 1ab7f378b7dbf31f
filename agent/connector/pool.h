/* The databases there are connections to, and the jobs that wait for one.
 *
 * A database is known by a keyed hash of url, account and password, which are not kept. Its jobs
 * are begun in their order, but never two for one role at a time, in whatever database. */
#ifndef COUNTERSIGN_CONNECTOR_POOL_H
#define COUNTERSIGN_CONNECTOR_POOL_H

#include <sodium.h>
#include <systemd/sd-event.h>

#include "connector/job.h"

#define POOL_CONNECTIONS 4   /* to one database */
#define POOL_IDLE_SECONDS 60 /* then an idle connection is closed */
#define POOL_KEY_LEN crypto_generichash_BYTES

struct desk;
struct pool_database;

/* A place for one connection. */
struct pool_slot {
    struct pool_database *db;
    struct pgconn *conn; /* NULL: free */
    struct job *job;     /* on it; NULL: idle, or being tidied */
    sd_event_source *idle;
    bool ready;
    bool used; /* has served a job before this one: it may have died unnoticed */
    bool forget;
};

struct pool_database {
    struct pool_database *next;
    struct pool *pool;
    uint8_t key[POOL_KEY_LEN];
    struct pool_slot slot[POOL_CONNECTIONS];
    struct job *first; /* waiting */
    size_t waiting;
};

struct pool {
    struct desk *desk; /* whose it is */
    sd_event *event;
    uint8_t key[crypto_generichash_KEYBYTES];
    struct pool_database *databases;
};

/* The database that a frame's "db" means; NULL when there is none yet. */
struct pool_database *pool_find(const struct pool *p, const json_t *db);
/* The same, made if need be. NULL on lack of memory. */
struct pool_database *pool_get(struct pool *p, const json_t *db);
/* Forgets databases without connections and jobs. From the beginning of a request only, when nobody
 * holds a pointer to one. */
void pool_sweep(struct pool *p);
/* Whether an unanswered job has this request's id. */
bool pool_has_id(const struct pool *p, int64_t id);

/* Where the job runs; NULL: it waits. The job's owner is its pool_database. */
struct pool_slot *pool_slot_of(const struct job *j);
/* One that is ready and idle, else an empty one, else NULL. */
struct pool_slot *pool_find_slot(struct pool_database *db);
/* Closes the connection; its job, if it has one, is the caller's. */
void pool_close(struct pool_slot *s);
/* The connection has no job and nothing to do. */
void pool_rest(struct pool_slot *s);
/* Parts the connection from its job; it is tidied first when that left it dirty. */
void pool_release(struct pool_slot *s, bool dirty);

/* The queue of a database. front: before the others, since it was begun already. */
void pool_enqueue(struct pool_database *db, struct job *j, bool front);
/* Takes the job out if it is in there. */
void pool_unqueue(struct pool_database *db, struct job *j);
/* The first that may be begun now; it stays in the queue. */
struct job *pool_next_job(const struct pool_database *db);

#endif
