/* Options and commands; see bench.h. */
#include <errno.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "bench/bench.h"

static const struct command {
    const char *name;
    int (*run)(const struct bench *b);
    int args; /* at least */
} commands[] = {
    {"http", bench_http, 3},         {"constant", bench_constant, 1}, {"sqlite", bench_sqlite, 1},
    {"postgres", bench_postgres, 2}, {"pam", bench_pam, 4},           {"echo", bench_echo, 1},
    {"fill", bench_fill, 1},         {"leases", bench_leases, 1},     {"start", bench_start, 3},
    {"fsync", bench_fsync, 1},
};

/* --- Tally ------------------------------------------------------------------------------------*/

int64_t tally_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static size_t slot_of(uint64_t ns)
{
    if (ns < TALLY_PARTS)
        return (size_t)ns;
    unsigned octave = 63 - (unsigned)__builtin_clzll(ns);
    return (size_t)(octave - 6) * TALLY_PARTS + (size_t)((ns >> (octave - 7)) - TALLY_PARTS);
}

static double value_of(size_t slot)
{
    if (slot < TALLY_PARTS)
        return (double)slot;
    return ldexp((double)(slot % TALLY_PARTS + TALLY_PARTS) + 0.5, (int)(slot / TALLY_PARTS) - 1);
}

void tally_add(struct tally *t, int64_t ns)
{
    t->n[slot_of(ns > 0 ? (uint64_t)ns : 0)]++;
    t->count++;
}

double tally_us(const struct tally *t, double quantile)
{
    uint64_t want = (uint64_t)ceil((double)t->count * quantile), seen = 0;
    for (size_t i = 0; i < sizeof(t->n) / sizeof(t->n[0]); i++) {
        seen += t->n[i];
        if (t->count && seen >= want)
            return value_of(i) / 1000;
    }
    return 0;
}

void tally_print(const struct tally *t, uint64_t failed, double seconds)
{
    printf("rate=%.1f p50=%.1f p99=%.1f p999=%.1f done=%llu failed=%llu seconds=%.3f\n",
           seconds > 0 ? (double)t->count / seconds : 0, tally_us(t, 0.5), tally_us(t, 0.99),
           tally_us(t, 0.999), (unsigned long long)t->count, (unsigned long long)failed, seconds);
}

/* --- Commands ---------------------------------------------------------------------------------*/

int bench_failed(const char *what)
{
    fprintf(stderr, "bench: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    return 1;
}

bool bench_goes_on(const struct bench *b, int64_t began, uint64_t done)
{
    if (b->count && done >= b->count)
        return false;
    return b->seconds <= 0 || (double)(tally_now() - began) < b->seconds * 1e9;
}

static int usage(void)
{
    fprintf(stderr, "usage: bench COMMAND [-c CONNECTIONS] [-d SECONDS] [-n COUNT] [-r RATE] "
                    "[-k KEYS] [-b SIZE] [-t TOKENFILE] [-i ITEMS] [-s SAVE] ARGS...\n");
    return 2;
}

static bool take_options(int argc, char **argv, struct bench *b)
{
    int c;
    while ((c = getopt(argc, argv, "+c:d:n:r:k:b:t:i:s:")) != -1) {
        switch (c) {
        case 'c':
            b->connections = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'd':
            b->seconds = strtod(optarg, NULL);
            break;
        case 'n':
            b->count = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            b->rate = strtod(optarg, NULL);
            break;
        case 'k':
            b->keys = strtoull(optarg, NULL, 10);
            break;
        case 'b':
            b->size = strtoull(optarg, NULL, 10);
            break;
        case 't':
            b->token = optarg;
            break;
        case 'i':
            b->items = optarg;
            break;
        case 's':
            b->save = optarg;
            break;
        default:
            return false;
        }
    }
    b->arg = argv + optind;
    return b->connections > 0 && b->keys > 0 && (b->count > 0 || b->seconds > 0);
}

int main(int argc, char **argv)
{
    struct bench b = {.connections = 1, .count = 0, .keys = 1000, .size = 100};
    const struct command *command = NULL;
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            command = &commands[i];
    }
    if (!command || !take_options(argc - 1, argv + 1, &b) || argc - 1 - optind < command->args)
        return usage();
    if (sodium_init() < 0)
        return bench_failed("libsodium");
    json_init();
    errno = 0;
    return command->run(&b);
}
