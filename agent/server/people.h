/* NSS through the worker pool, remembered for PEOPLE_FRESH_MS, so that a request doesn't wait for
 * it. */
#ifndef COUNTERSIGN_SERVER_PEOPLE_H
#define COUNTERSIGN_SERVER_PEOPLE_H

#include "identity/person.h"
#include "server/worker.h"

#define PEOPLE_FRESH_MS 30000
#define PEOPLE_DEADLINE_MS 5000
#define PEOPLE_KEPT 1024

struct people;

int people_new(struct workers *w, struct people **out);
void people_free(struct people *p);
/* Who is remembered right now; NULL if nobody (then ask). By uid, or by name (uid ignored then).
 * Valid until the next call into people. */
const struct person *people_known(struct people *p, const char *name, uid_t uid);
/* Asks NSS; fn gets the person (borrowed; exists = false when unknown) or an error (-ETIMEDOUT,
 * -EBUSY, …) on the loop, later. 0 or -errno (fn is not called then). */
typedef void (*people_fn)(const struct person *person, int error, void *data);
int people_ask(struct people *p, const char *name, uid_t uid, people_fn fn, void *data);

#endif
