/* Inside a hold: hold.c holds everything, hold_claim.c single databases. */
#ifndef COUNTERSIGN_SERVER_HOLD_INNER_H
#define COUNTERSIGN_SERVER_HOLD_INNER_H

#include "server/hold.h"

#define HOLD_KEY_MAX 200 /* "space/name" with its NUL */

struct hold {
    json_t *all;    /* {"cause","reason","since"(ms),"machine"}; cause "" = not held */
    json_t *claims; /* "space/name": {"known":[…],"next","take","held","since"} */
    json_t *fresh;  /* keys of claims whose "next" is of this start */
};

/* Reads the claims in the store, into an empty h->claims. 0 or -errno. */
int hold_claim_load(struct agent *a);
/* In a turn: whatever token is there, the next deed takes the database over; every configured one,
 * or those that are held. Only the store is changed; memory follows once the turn is committed. 0
 * or -errno. */
int hold_claim_take_all(struct agent *a);
int hold_claim_take_held(struct agent *a);

#endif
