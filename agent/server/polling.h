/* Screens and scrapers ask the same again and again: one line in the log a minute tells it. */
#ifndef COUNTERSIGN_SERVER_POLLING_H
#define COUNTERSIGN_SERVER_POLLING_H

#include "server/request.h"

#define POLLING_MS 60000

/* Whether the same process, as the same principal, asked for the same with the same answer a moment
 * ago, and its line stands in the log. Of rows with ROUTE_WATCH only. */
bool polling_again(const struct request *r);
/* In a turn: this request's line is being written. 0 or -ENOMEM. */
int polling_told(struct request *r);

#endif
