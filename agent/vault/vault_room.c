/* Room on disk: the third part of vault.h. */
#include <errno.h>

#include "base/clock.h"
#include "vault/inner.h"

int vault_reserve(struct vault *v, const char *store_path, const char *audit_path)
{
    int r = reserve_open(&v->store_reserve, store_path, VAULT_RESERVE_STORE);
    if (r == 0 && audit_path)
        r = reserve_open(&v->audit_reserve, audit_path, VAULT_RESERVE_AUDIT);
    return r;
}

void vault_lend(struct vault *v, bool lend)
{
    v->lent = lend;
    (void)reserve_lend(lend ? &v->store_reserve : NULL);
}

int vault_has_room(struct vault *v)
{
    if (v->lent)
        return 0;
    if (reserve_short(&v->store_reserve))
        reserve_mend(&v->store_reserve);
    return reserve_short(&v->store_reserve) ? -ENOSPC : 0;
}

void vault_note_write(struct vault *v, int r)
{
    if (r == -EACCES) /* sealed meanwhile: says nothing of the disk */
        return;
    if (r < 0 && !v->write_error)
        v->write_error_ms = clock_wall_ms();
    if (r < 0 && !v->lent)
        reserve_note(&v->store_reserve, r);
    v->write_error = r;
    if (r == 0)
        v->write_error_ms = 0;
}

bool vault_changed(const struct vault *v)
{
    return v->in_turn && v->changed;
}

struct vault_alarm vault_alarm(const struct vault *v)
{
    return (struct vault_alarm){.store_full = reserve_short(&v->store_reserve),
                                .audit_full = reserve_short(&v->audit_reserve),
                                .error = v->write_error};
}

static void look(const struct reserve *r, struct vault_room *out)
{
    *out = (struct vault_room){0};
    if (!r->path)
        return;
    *out = (struct vault_room){.free = reserve_free_space(r->path),
                               .reserve = r->have,
                               .whole = r->want,
                               .full = reserve_short(r),
                               .since_ms = r->short_since_ms};
}

void vault_health(const struct vault *v, struct vault_health *out)
{
    *out = (struct vault_health){.error = v->write_error, .error_since_ms = v->write_error_ms};
    look(&v->store_reserve, &out->store);
    look(&v->audit_reserve, &out->audit);
}
