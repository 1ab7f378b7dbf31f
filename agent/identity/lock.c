#include "identity/lock.h"

#include <errno.h>
#include <stdio.h>

#include "identity/person.h"
#include "vault/entry.h"

#define SPACE_LOCK "lock"
#define LOCK_VERSION 1

void lock_clear(struct lock *l)
{
    json_decref(l->principals);
    *l = (struct lock){0};
}

static int parse(const json_t *o, struct lock *out)
{
    json_t *principals = json_object_get(o, "principals");
    *out = (struct lock){.at_ms = json_int(o, "at", 0)};
    if (json_int(o, "v", 0) != LOCK_VERSION || (principals && !json_is_array(principals)))
        return -EBADMSG;
    snprintf(out->by, sizeof(out->by), "%s", json_str_or(o, "by", "?"));
    snprintf(out->reason, sizeof(out->reason), "%s", json_str_or(o, "reason", ""));
    out->has_uid = json_object_get(o, "uid") != NULL;
    out->uid = (uint32_t)json_int(o, "uid", 0);
    out->principals = principals ? json_incref(principals) : NULL;
    return 0;
}

int lock_get(struct vault *v, const char *user, struct lock *out)
{
    _cleanup_json_ json_t *o = NULL;
    *out = (struct lock){0};
    int e = entry_get_json(v, SPACE_LOCK, user, &o);
    if (e != 0)
        return e < 0 ? e : LOCK_E_NONE;
    return parse(o, out);
}

int lock_put(struct vault *v, const char *user, const struct lock *l)
{
    if (!person_valid_name(user))
        return -EINVAL;
    _cleanup_json_ json_t *o =
        json_pack("{s:i, s:I, s:s, s:s, s:O*}", "v", LOCK_VERSION, "at", (json_int_t)l->at_ms, "by",
                  l->by, "reason", l->reason, "principals", l->principals);
    int e = o ? 0 : -ENOMEM;
    if (e == 0 && l->has_uid)
        e = json_set_int(o, "uid", l->uid);
    return e < 0 ? e : entry_put_json(v, SPACE_LOCK, user, o);
}

int lock_remove(struct vault *v, const char *user)
{
    int e = entry_delete(v, SPACE_LOCK, user);
    return e == ENTRY_E_NONE ? LOCK_E_NONE : e;
}

int lock_each(struct vault *v, lock_fn fn, void *data)
{
    int e = entry_list(v, SPACE_LOCK, "", NULL, 0, fn, data);
    return e < 0 ? e : 0;
}

static int one(const char *user _unused_, void *data)
{
    *(bool *)data = true;
    return 0;
}

int lock_any(struct vault *v, bool *any)
{
    *any = false;
    int e = entry_list(v, SPACE_LOCK, "", NULL, 1, one, any);
    return e < 0 ? e : 0;
}
