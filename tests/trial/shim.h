/* The page that nth.c and the calls that fail (shim.c, preloaded into the programs) share: it is
 * the file named by COUNTERSIGN_NTH, mapped by all of them. */
#ifndef COUNTERSIGN_TESTS_SHIM_H
#define COUNTERSIGN_TESTS_SHIM_H

#include <stdatomic.h>
#include <stdint.h>

/* What can fail, as bits. */
#define SHIM_MALLOC 1u /* malloc, calloc, realloc, …, so SQLite's, jansson's; libsodium's pages */
#define SHIM_WRITE 2u  /* writing, lengthening or cutting a regular file */
#define SHIM_SYNC 4u   /* fsync, fdatasync */
#define SHIM_SEND 8u   /* sending a packet: connector frames, PAM dialogues */
#define SHIM_RECEIVE 16u
#define SHIM_KINDS 5
#define SHIM_ALL 31u

enum shim_program { SHIM_AGENT, SHIM_CONNECTOR, SHIM_LOGIN, SHIM_PROGRAMS };

struct shim_slot {
    _Atomic uint32_t kind;     /* which calls are counted; 0: none */
    _Atomic uint32_t nth;      /* this one fails (from 1); 0: none, they are only counted */
    _Atomic uint32_t for_good; /* and all after it, for SHIM_FOR_GOOD_MS */
    _Atomic uint32_t count[SHIM_KINDS]; /* calls since armed, of each kind */
    _Atomic uint32_t hits;              /* that failed */
    _Atomic int64_t since_ms;           /* when the first did */
    _Atomic int64_t live;               /* blocks allocated and not freed */
};

#define SHIM_FOR_GOOD_MS 400

struct shim_page {
    struct shim_slot slot[SHIM_PROGRAMS];
};

#endif
