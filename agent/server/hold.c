#include "server/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "server/hold_inner.h"
#include "server/journal.h"
#include "server/mount.h"
#include "server/request.h"
#include "vault/audit.h"
#include "vault/entry.h"

#define SPACE "hold"
#define ROW "all"
#define MACHINE_LEN (2 * VAULT_HASH_LEN)
#define WHAT_TO_DO "countersign operator accept-rollback"

struct hold *hold_new(void)
{
    return calloc(1, sizeof(struct hold));
}

void hold_clear(struct hold *h)
{
    json_decref(h->all);
    json_decref(h->claims);
    json_decref(h->fresh);
    *h = (struct hold){0};
}

void hold_free(struct hold *h)
{
    if (h)
        hold_clear(h);
    free(h);
}

/* --- Everything ----------------------------------------------------------------------------------
 */

static json_t *make_row(const char *cause, const char *reason, const char *machine)
{
    return json_pack("{s:s, s:s, s:I, s:s}", "cause", cause, "reason", reason, "since",
                     (json_int_t)(cause[0] ? clock_wall_ms() : 0), "machine", machine);
}

/* A keyed hash of this machine's id; "" where there is none. */
static int read_machine(const struct vault *v, char out[MACHINE_LEN + 1])
{
    char text[64];
    uint8_t hash[VAULT_HASH_LEN];
    int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
    out[0] = '\0';
    if (fd >= 0)
        close(fd);
    while (n > 0 && strchr("\n ", text[n - 1]))
        n--;
    if (n <= 0)
        return 0;
    int e = vault_hash(v, "machine", text, (size_t)n, hash);
    if (e == 0)
        encode_hex(hash, sizeof(hash), out);
    return e;
}

static int alert_turn(void *data)
{
    struct agent *a = data;
    if (vault_state(a->vault) != VAULT_UNSEALED)
        return 0;
    _cleanup_json_ json_t *line = json_pack("{s:s, s:s, s:O*}", "event", "held", "text",
                                            json_str_or(a->hold->all, "reason", ""), "cause",
                                            json_object_get(a->hold->all, "cause"));
    return line ? audit_append(a->vault, "alert", line) : -ENOMEM;
}

const char *hold_reason(const struct agent *a)
{
    static const char unknown[] = "what is known of a hold could not be kept in memory";
    if (!a->hold->all) /* before hold_load(), and when memory ran out: not known to be free */
        return unknown;
    return json_str_or(a->hold->all, "cause", "")[0] ? json_str_or(a->hold->all, "reason", "")
                                                     : NULL;
}

void hold_enter(struct agent *a, const char *cause, const char *text)
{
    struct hold *h = a->hold;
    if (h->all && hold_reason(a))
        return;
    json_t *row = make_row(cause, text, json_str_or(h->all, "machine", ""));
    json_decref(h->all);
    h->all = row;
    int e = row ? entry_put_json(a->vault, SPACE, ROW, row) : -ENOMEM;
    const struct journal_fields f = {.alert = "held"};
    journal_tell(JOURNAL_ALERT, LOG_WARNING, &f,
                 "held: %s. Nothing is made, revoked or swept until it is accepted: " WHAT_TO_DO,
                 text);
    if (e < 0)
        sd_journal_print(LOG_ERR, "the hold could not be written to the store: %s", strerror(-e));
    (void)turn_add(a->turn, TURN_BACKGROUND, alert_turn, NULL, a);
}

int hold_mark_restored(struct vault *v, const char *text)
{
    _cleanup_json_ json_t *row = make_row("restored", text, "");
    return row ? entry_put_json(v, SPACE, ROW, row) : -ENOMEM;
}

/* A new store, or one of a machine that had no id, learns it. */
static int look_at_machine(struct agent *a)
{
    struct hold *h = a->hold;
    char machine[MACHINE_LEN + 1];
    int e = read_machine(a->vault, machine);
    const char *was = json_str_or(h->all, "machine", "");
    if (e < 0 || !machine[0] || a->dev || hold_reason(a) || strcmp(was, machine) == 0)
        return e;
    if (was[0]) {
        hold_enter(a, "moved",
                   "the store was last open on another machine: it was moved, or this host is a "
                   "clone");
        return 0;
    }
    e = json_set_str(h->all, "machine", machine);
    return e < 0 ? e : entry_put_json(a->vault, SPACE, ROW, h->all);
}

/* --- What the store knows ------------------------------------------------------------------------
 */

static int load(struct agent *a)
{
    struct hold *h = a->hold;
    h->claims = json_object();
    h->fresh = json_object();
    if (!h->claims || !h->fresh)
        return -ENOMEM;
    int e = entry_get_json(a->vault, SPACE, ROW, &h->all);
    if (e == ENTRY_E_NONE)
        h->all = make_row("", "", "");
    else if (e == -EBADMSG)
        h->all = make_row("damaged", "what the store knew of a hold was changed from outside", "");
    else if (e < 0)
        return e;
    if (!h->all)
        return -ENOMEM;
    e = hold_claim_load(a);
    return e < 0 ? e : look_at_machine(a);
}

int hold_load(struct agent *a)
{
    hold_clear(a->hold);
    int e = load(a);
    if (e < 0)
        hold_clear(a->hold); /* half of it would be taken for all of it */
    return e;
}

/* Where it could not be read before (memory ran out), it is tried again. */
static void look_again(struct agent *a)
{
    if (!a->hold->all && vault_state(a->vault) == VAULT_UNSEALED)
        (void)hold_load(a);
}

const char *hold_database(struct agent *a, const char *space, const char *name)
{
    char key[HOLD_KEY_MAX];
    look_again(a);
    const char *why = hold_reason(a);
    if (why)
        return why;
    snprintf(key, sizeof(key), "%s/%s", space, name);
    why = json_str_or(json_object_get(a->hold->claims, key), "held", "");
    return why[0] ? why : NULL;
}

/* --- Telling -------------------------------------------------------------------------------------
 */

int hold_refuse(struct request *r)
{
    look_again(r->agent);
    const char *why = hold_reason(r->agent);
    if (!why)
        return 0;
    int e = request_error(r, 503,
                          "held: %s. Logins and reads are served, but nothing is made, renewed or "
                          "revoked until an operator accepts it: " WHAT_TO_DO,
                          why);
    return e < 0 ? e : 1;
}

void hold_problems(const struct agent *a, json_t *list, bool names)
{
    const char *why = hold_reason(a), *key;
    const json_t *claim;
    size_t held = 0;
    if (why)
        (void)json_append_text(
            list,
            "held: %s. Logins work; nothing is made, revoked, expired or swept. If this "
            "store is to go on: " WHAT_TO_DO,
            why);
    json_object_foreach(a->hold->claims, key, claim)
    {
        const char *by = json_str_or(claim, "held", "");
        held += by[0] != '\0';
        if (by[0] && names)
            (void)json_append_text(
                list,
                "the database %s is held: %s. If that agent is to stop and this one to go "
                "on: " WHAT_TO_DO,
                strchr(key, '/') + 1, by);
    }
    if (held && !names)
        (void)json_append_text(
            list, "%zu databases are held, since another agent has claimed them: " WHAT_TO_DO,
            held);
}

json_t *hold_show(const struct agent *a)
{
    const json_t *all = a->hold->all;
    const char *why = hold_reason(a);
    if (!why)
        return json_null();
    return json_pack("{s:s, s:s, s:o}", "cause", json_str_or(all, "cause", "damaged"), "reason",
                     why, "since", json_stamp(json_int(all, "since", 0)));
}

json_t *hold_show_databases(const struct agent *a)
{
    json_t *list = json_array();
    const json_t *claim;
    const char *key;
    json_object_foreach(a->hold->claims, key, claim)
    {
        const char *by = json_str_or(claim, "held", ""), *slash = strchr(key, '/');
        char space[80];
        snprintf(space, sizeof(space), "%.*s", (int)(slash - key), key);
        const struct mount *m = mounts_by_space(a->mounts, space);
        if (!by[0] || !m)
            continue;
        json_t *one = json_pack("{s:s, s:s, s:s, s:o}", "mount", m->path, "name", slash + 1,
                                "reason", by, "since", json_stamp(json_int(claim, "since", 0)));
        if (json_array_append_new(list, one) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* --- Accepting -----------------------------------------------------------------------------------
 */

static void all_accepted(void *data)
{
    agent_accepted(data, true);
}

static void databases_accepted(void *data)
{
    agent_accepted(data, false);
}

int hold_accept(struct agent *a)
{
    char machine[MACHINE_LEN + 1];
    bool all = hold_reason(a) != NULL;
    int e = all ? hold_claim_take_all(a) : hold_claim_take_held(a);
    if (e == 0)
        e = read_machine(a->vault, machine);
    if (e < 0)
        return e;
    _cleanup_json_ json_t *row = make_row("", "", machine);
    e = row ? entry_put_json(a->vault, SPACE, ROW, row) : -ENOMEM;
    if (e == 0)
        e = effects_push(turn_effects(a->turn), all ? all_accepted : databases_accepted, NULL, a);
    return e;
}
