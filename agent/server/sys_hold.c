/* sys/hold: what is held back until an operator accepts it. */
#include <errno.h>
#include <stdio.h>

#include "server/hold.h"
#include "server/routes.h"

int route_hold(struct request *r)
{
    return request_data(r, json_pack("{s:o, s:o}", "held", hold_show(r->agent), "databases",
                                     hold_show_databases(r->agent)));
}

static int tell(const struct agent *a, json_t *list)
{
    const char *why = hold_reason(a);
    _cleanup_json_ json_t *databases = hold_show_databases(a);
    const json_t *one;
    size_t i;
    int e = databases ? 0 : -ENOMEM;
    if (e == 0 && why)
        e = json_append_text(list, "%s; this store goes on, and takes over its databases", why);
    json_array_foreach(databases, i, one)
    {
        if (e == 0)
            e = json_append_text(list, "%sconfig/%s is taken over: %s",
                                 json_str_or(one, "mount", ""), json_str_or(one, "name", ""),
                                 json_str_or(one, "reason", ""));
    }
    return e;
}

int route_hold_accept(struct request *r)
{
    struct agent *a = r->agent;
    _cleanup_json_ json_t *list = json_array();
    int e = list ? tell(a, list) : -ENOMEM;
    if (e < 0)
        return e;
    if (json_array_size(list) == 0)
        return request_error(r, 400, "nothing is held: there is nothing to accept");
    e = hold_accept(a);
    if (e < 0)
        return e;
    request_alert(r, "a hold was accepted: this store goes on");
    return request_data(r, json_pack("{s:O}", "accepted", list));
}
