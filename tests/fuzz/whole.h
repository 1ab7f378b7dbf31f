/* The whole agent inside a fuzz target, but for its sockets: a store in a scratch folder, unsealed,
 * with a KV engine of each version, a database, a policy, a binding and a person with factors.
 *
 * Every input begins with the same agent: one that changed anything is thrown away, and the next
 * begins with a copy of the first one's store. */
#ifndef COUNTERSIGN_TESTS_FUZZ_WHOLE_H
#define COUNTERSIGN_TESTS_FUZZ_WHOLE_H

#include <stdio.h>
#include <stdlib.h>

#include "server/agent.h"

#define WHOLE_TOKEN "the-root-token-of-the-fuzz-targets"
#define WHOLE_PERSON "root" /* there is one on every host */

#define PROMISE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The agent, as new. */
struct agent *whole_agent(void);
/* What came since whole_agent() changed it (or may have). */
void whole_spoilt(void);
/* The first store's file and its key, and the folder that it and whatever else is wanted lies in.
 */
const char *whole_store(void);
const uint8_t *whole_key(void);
const char *whole_folder(void);

/* Runs what is ready. */
void whole_run(void);
/* Runs until nothing has been ready for a moment: workers have come back by then. */
void whole_settle(void);

/* One request over a connection of its own; as_root: by the root token. Returns the status, 0 when
 * the connection was closed without an answer. reply (may be NULL) gets the body. */
int whole_ask(const char *method, const char *path, const char *body, size_t n, bool as_root,
              struct buf *reply);
/* The code that the person's authenticator shows now. */
void whole_code(char code[16]);
/* A connector comes (until then there is none). Then: the next packet that the agent sent it, or -1
 * when there is none, and what it answers. */
void whole_connect(void);
ssize_t whole_connector_hears(char *text, size_t size);
void whole_connector_says(const char *text, size_t n);

#endif
