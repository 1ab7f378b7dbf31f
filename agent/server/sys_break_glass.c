/* sys/break-glass: making, listing and revoking emergency codes. */
#include <errno.h>
#include <stdio.h>

#include "identity/lock.h"
#include "identity/person.h"
#include "server/break_glass.h"
#include "server/routes.h"

const struct json_field route_fields_break_glass[] = {
    {.name = "count", .kind = JSON_KIND_INT, .min = 1, .max = BREAK_GLASS_SET_MAX},
    {0},
};

int route_break_glass_list(struct request *r)
{
    struct break_glass_summary sum;
    json_t *codes = NULL;
    int e = break_glass_summary(r->agent->vault, &sum);
    if (e == 0)
        e = break_glass_list(r->agent->vault, &codes);
    if (e < 0)
        return e;
    return request_data(r, json_pack("{s:I, s:I, s:o}", "left", (json_int_t)sum.left, "used",
                                     (json_int_t)sum.used, "codes", codes));
}

/* 0, or 1 when the refusal stands in r, -errno. */
static int refuse_locked(struct request *r, const char *user)
{
    struct lock l;
    int e = lock_get(r->agent->vault, user, &l);
    if (e != 0)
        return e < 0 ? e : 0;
    lock_clear(&l);
    e = request_error(r, 400, "%s is locked out: first countersign person unlock %s", user, user);
    return e < 0 ? e : 1;
}

int route_break_glass_make(struct request *r)
{
    const char *user = request_param(r, "user");
    json_t *codes = NULL;
    if (!person_valid_name(user))
        return request_error(r, 400, "that can't be a person's name");
    /* A sealed agent can't look the lock up: a code would let them in then. */
    int e = refuse_locked(r, user);
    if (e != 0)
        return e < 0 ? e : 0;
    e = break_glass_make(r->agent->vault, user, (unsigned)json_int(r->body, "count", 4), r->now_ms,
                         &codes);
    if (e == BREAK_GLASS_E_FULL)
        return request_error(r, 400, "there are %d emergency codes at most: revoke others first",
                             BREAK_GLASS_ALL_MAX);
    if (e < 0)
        return e;
    request_alert(r, "emergency codes were made");
    return request_data(r, json_pack("{s:s, s:o}", "user", user, "codes", codes));
}

int route_break_glass_revoke(struct request *r)
{
    size_t n = 0;
    int e = break_glass_revoke(r->agent->vault, request_param(r, "user"), &n);
    return e < 0 ? e : request_data(r, json_pack("{s:I}", "revoked", (json_int_t)n));
}
