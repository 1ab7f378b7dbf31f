#include "server/lockout.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"

/* Most hosts have nobody locked: that is remembered, so that a request costs no look into the
 * store. "None" is only ever learned from the store while no lock is being made or taken away,
 * since either may yet be taken back with its turn; what is wrong in the other direction costs a
 * look. */

static int anybody(struct agent *a, bool *some)
{
    *some = a->locks != AGENT_LOCKS_NONE;
    if (a->locks != AGENT_LOCKS_UNKNOWN)
        return 0;
    int e = lock_any(a->vault, some);
    if (e == 0)
        a->locks = *some ? AGENT_LOCKS_SOME : AGENT_LOCKS_NONE;
    return e;
}

int lockout_facts(struct agent *a, struct decide_facts *f, char text[LOCKOUT_TEXT])
{
    struct lock l;
    char stamp[CLOCK_STAMP_LEN];
    bool some;
    if (!f->user)
        return 0;
    int e = anybody(a, &some);
    if (e < 0 || !some)
        return e;
    e = lock_get(a->vault, f->user, &l);
    if (e != 0)
        return e < 0 ? e : 0;
    clock_stamp(l.at_ms, 0, stamp);
    snprintf(text, LOCKOUT_TEXT, "locked by %s at %s%s%s", l.by, stamp, l.reason[0] ? ": " : "",
             l.reason);
    f->locked = text;
    lock_clear(&l);
    return 0;
}

void lockout_forget(struct agent *a)
{
    a->locks = AGENT_LOCKS_UNKNOWN;
}

static void learn_again(void *data)
{
    lockout_forget(data);
}

static int changing(struct agent *a)
{
    a->locks = AGENT_LOCKS_SOME;
    return effects_push(turn_effects(a->turn), learn_again, NULL, a);
}

int lockout_lock(struct agent *a, const char *user, const struct lock *l)
{
    int e = changing(a);
    return e < 0 ? e : lock_put(a->vault, user, l);
}

int lockout_unlock(struct agent *a, const char *user)
{
    int e = changing(a);
    return e < 0 ? e : lock_remove(a->vault, user);
}
