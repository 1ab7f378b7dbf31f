#include "cli/pamchange.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/call.h"
#include "cli/output.h"
#include "cli/pamfile.h"
#include "cli/pamstore.h"

const char *pamchange_dir(struct cli *c)
{
    const char *dir = args_str(&c->args, "pam-dir");

    return dir ? dir : PAMSTORE_DIR;
}

const char *pamchange_state(struct cli *c)
{
    const char *state = args_str(&c->args, "state-dir");

    return state ? state : PAMSTORE_STATE;
}

void pamchange_free(struct pamchange *all)
{
    for (size_t i = 0; all && i < all->n; i++) {
        buf_clear(&all->item[i].before);
        buf_clear(&all->item[i].after);
    }
    free(all);
}

int pamchange_fail(const char *why)
{
    output_error("%s", why);
    return EXIT_CODE_LOCAL;
}

bool pamchange_is_service(const char *service)
{
    if (!pamstore_is_name(service)) {
        output_error("\"%s\" is not the name of a PAM service", service);
        return false;
    }
    if (strncmp(service, "common-", 7) == 0 || strcmp(service, "other") == 0) {
        output_error(
            "%s is part of every service at once (cron too): name the services, as sshd sudo",
            service);
        return false;
    }
    return true;
}

struct pamchange *pamchange_new(struct cli *c)
{
    struct pamchange *all = calloc(1, sizeof(*all));

    if (!all)
        return NULL;
    all->dir = pamchange_dir(c);
    all->state = pamchange_state(c);
    for (size_t i = 0; i < c->args.n_pos && i < PAMCHANGE_MAX; i++)
        all->item[all->n++] = (struct pamchange_item){.service = c->args.pos[i],
                                                      .before = BUF_INIT(PAMSTACK_TEXT_MAX),
                                                      .after = BUF_INIT(2 * PAMSTACK_TEXT_MAX)};
    return all;
}

json_t *pamchange_names(const struct pamchange *all, bool already)
{
    _cleanup_json_ json_t *list = json_array();

    for (size_t i = 0; list && i < all->n; i++)
        if (all->item[i].already == already &&
            json_array_append_new(list, json_string(all->item[i].service)) < 0)
            return NULL;
    return json_incref(list);
}

void pamchange_join(const json_t *list, char *out, size_t size)
{
    const json_t *v;
    size_t i;

    out[0] = '\0';
    json_array_foreach(list, i, v)
    {
        size_t n = strlen(out);

        snprintf(out + n, size - n, "%s%s", i ? ", " : "", json_string_value(v));
    }
}

/* --- Planning, then writing ---------------------------------------------------------------------
 */

static int open_included(const char *name, struct buf *text, void *data)
{
    const char *slash = strrchr(name, '/');
    char folder[4096], why[256];

    if (!slash)
        return pamstore_is_name(name) ? pamstore_read(data, name, text, why, sizeof(why)) : -EINVAL;
    if (name[0] != '/' || (size_t)(slash - name) >= sizeof(folder) || !pamstore_is_name(slash + 1))
        return -EINVAL;
    snprintf(folder, sizeof(folder), "%.*s", (int)(slash - name), name);
    return pamstore_read(folder, slash + 1, text, why, sizeof(why));
}

static int plan_one(struct pamchange *all, struct pamchange_item *k)
{
    char why[512];
    int r;

    if (!pamchange_is_service(k->service))
        return EXIT_CODE_LOCAL;
    if (pamstore_read(all->dir, k->service, &k->before, why, sizeof(why)) < 0)
        return pamchange_fail(why);
    r = pamfile_enable(k->service, buf_str(&k->before), k->before.len, open_included,
                       (void *)(uintptr_t)all->dir, &k->after, k->note, sizeof(k->note), why,
                       sizeof(why));
    if (r == PAMFILE_REFUSED) {
        output_error("%s/%s is left as it is: %s", all->dir, k->service, why);
        output_note("If you know what the file does, write by hand:\n%s",
                    pamfile_by_hand(k->service));
    }
    k->already = r == PAMFILE_ALREADY;
    return r == 0 || k->already ? EXIT_CODE_OK
                                : (r == PAMFILE_REFUSED ? EXIT_CODE_LOCAL : call_no_memory());
}

int pamchange_plan(struct pamchange *all)
{
    int code = EXIT_CODE_OK;

    for (size_t i = 0; i < all->n && code == EXIT_CODE_OK; i++)
        code = plan_one(all, &all->item[i]);
    if (code != EXIT_CODE_OK)
        output_note("Nothing was changed.");
    return code;
}

static void undo_written(struct pamchange *all)
{
    char why[512];

    for (size_t i = 0; i < all->n; i++)
        if (all->item[i].written && pamstore_write(all->dir, all->item[i].service,
                                                   &all->item[i].before, why, sizeof(why)) < 0)
            output_error("%s", why);
}

int pamchange_write(struct pamchange *all)
{
    char why[512];

    for (size_t i = 0; i < all->n; i++) {
        struct pamchange_item *k = &all->item[i];

        if (k->already)
            continue;
        if (pamstore_keep(all->state, k->service, &k->before, why, sizeof(why)) < 0 ||
            pamstore_write(all->dir, k->service, &k->after, why, sizeof(why)) < 0) {
            undo_written(all);
            return pamchange_fail(why);
        }
        k->written = true;
    }
    return EXIT_CODE_OK;
}

bool pamchange_has(const struct pamchange *all, const char *service)
{
    for (size_t i = 0; i < all->n; i++)
        if (strcmp(all->item[i].service, service) == 0)
            return true;
    return false;
}
