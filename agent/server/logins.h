/* The latest logins, for whoever watches: a ring in memory, gone with the process or the seal. The
 * audit log is what keeps. */
#ifndef COUNTERSIGN_SERVER_LOGINS_H
#define COUNTERSIGN_SERVER_LOGINS_H

#include "server/login.h"

#define LOGINS_KEPT 100

/* A hook has its verdict. Counted (server/metrics.h), told to the journal, and remembered if it let
 * somebody in or turned somebody away. */
void logins_told(const struct login *l);
void logins_forget(void);
/* The newest first, as an array of {"time","user","service","source","hook","result","rule"}; NULL
 * on lack of memory. */
json_t *logins_list(void);

#endif
