/* What the agent can't take away from somebody who leaves: what runs, and what stands in other
 * people's files. Looks at this host itself. */
#ifndef COUNTERSIGN_CLI_LEAVER_H
#define COUNTERSIGN_CLI_LEAVER_H

#include "base/json.h"

/* Ends the person's logins and all that runs in them through logind, when we are root and end is
 * set; adds to hints (an array of sentences) what still runs. 0 or -ENOMEM. */
int leaver_end_logins(const char *user, bool end, json_t *hints);
/* Adds what is left elsewhere: the account, SSH keys, cron. 0 or -ENOMEM. */
int leaver_hints(const char *user, json_t *hints);

#endif
