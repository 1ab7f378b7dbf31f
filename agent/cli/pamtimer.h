/* Undoing an unconfirmed change after a while: a systemd timer, or a waiting process. */
#ifndef COUNTERSIGN_CLI_PAMTIMER_H
#define COUNTERSIGN_CLI_PAMTIMER_H

#include <stdint.h>

#include "base/mem.h"

/* Makes sure that `countersign pam rollback -id=ID -pam-dir=DIR -state-dir=STATE` runs after so
 * many seconds. 0 or -errno. */
int pamtimer_start(const char *id, const char *dir, const char *state, int64_t seconds);
/* Stops the systemd timer, if there is one (a waiting process finds its id gone). */
void pamtimer_stop(void);

#endif
