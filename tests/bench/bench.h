/* The bench's programs are one, with a command for each thing that is measured. Every command
 * prints one line "key=value key=value …" for tests/bench/run: rate (per second), p50, p99, p999
 * (microseconds), done, failed, seconds; what else it prints stands at the command. */
#ifndef COUNTERSIGN_BENCH_H
#define COUNTERSIGN_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- What is asked ----------------------------------------------------------------------------*/

struct bench {
    unsigned connections; /* -c */
    double seconds;       /* -d: how long; 0 = until count */
    uint64_t count;       /* -n: how many; 0 = until seconds are over */
    double rate;          /* -r: open loop, arrivals per second; 0 = closed loop */
    uint64_t keys;        /* -k: how many different numbers %i goes through */
    size_t size;          /* -b: bytes of a value, or the rows of a batch */
    const char *token;    /* -t: the file that holds the token */
    const char *items;    /* -i: a file; %s goes through its lines */
    const char *save;     /* -s: a file that gets each answer's lease_id */
    char **arg;           /* what follows the options, NULL at its end */
};

/* Each returns the exit code: 0, 1 after an error was printed, 2 wrong use. */
int bench_http(const struct bench *b);     /* SOCKET METHOD PATH [BODY]: the load on the API */
int bench_constant(const struct bench *b); /* SOCKET: libmicrohttpd answering -b bytes; 3 = not
                                              compiled in */
int bench_sqlite(const struct bench *b);   /* FILE: commits of -b writes, our store's pragmas */
int bench_postgres(const struct bench *b); /* CONNINFO GROUP: a lease's SQL by libpq alone */
int bench_pam(const struct bench *b);      /* FOLDER SERVICE USER auth|account|session */
int bench_echo(const struct bench *b);     /* SOCKET: connect, a SEQPACKET record there and back */
int bench_fill(const struct bench *b);     /* DEV-FOLDER: -n leases, through the lease room */
int bench_leases(const struct bench *b); /* DEV-FOLDER: issues and revokes -n leases in the store */
int bench_start(const struct bench *b); /* SOCKET PATH COMMAND…: from exec to the first answer; the
                                           command goes on running: also pid= and ms= */
int bench_fsync(const struct bench *b); /* FILE: 4 KiB written and synced */

/* --- What is measured -------------------------------------------------------------------------*/

/* A histogram of durations: each octave in 128 parts, so within 1 %. */
#define TALLY_PARTS 128
struct tally {
    uint64_t n[64 * TALLY_PARTS];
    uint64_t count;
};

int64_t tally_now(void); /* CLOCK_MONOTONIC in ns */
void tally_add(struct tally *t, int64_t ns);
double tally_us(const struct tally *t, double quantile);
/* Prints the line. */
void tally_print(const struct tally *t, uint64_t failed, double seconds);
/* Says what went wrong, with errno's text where there is one; returns 1. */
int bench_failed(const char *what);
/* Whether the measurement goes on: time and count are not used up. */
bool bench_goes_on(const struct bench *b, int64_t began, uint64_t done);

#endif
