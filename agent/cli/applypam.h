/* The PAM services of a configuration kept as files: through `countersign pam` itself. */
#ifndef COUNTERSIGN_CLI_APPLYPAM_H
#define COUNTERSIGN_CLI_APPLYPAM_H

#include "cli/applyplan.h"

/* Compares, and asks pam enable whether it could. 0, -ENOMEM; problems get what stands against it.
 */
int applypam_check(struct applyplan *p);
/* Whether a service has our lines now. */
bool applypam_enabled(struct applyplan *p, const char *service);
/* Enables (delete: disables) those of the set that are to be changed. An exit code. */
int applypam_execute(struct applyplan *p, bool delete);

#endif
