/* sys/restore: a snapshot in the place of this host's store, opened with the recovery shares. */
#include <countersign/api.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include "base/clock.h"
#include "base/encode.h"
#include "server/hold.h"
#include "server/quorum.h"
#include "server/routes.h"
#include "vault/snapshot.h"

#define BASE64_OF(n) (((n) + 2) / 3 * 4)

const struct json_field route_fields_restore[] = {
    {.name = "head",
     .kind = JSON_KIND_STRING,
     .required = true,
     .max = BASE64_OF(SNAPSHOT_HEAD_MAX + 64)},
    {.name = "force", .kind = JSON_KIND_BOOL},
    {0},
};

const struct json_field route_fields_restore_share[] = {
    {.name = "id", .kind = JSON_KIND_STRING, .required = true, .max = 64},
    {.name = "key", .kind = JSON_KIND_STRING, .required = true, .max = 128},
    {0},
};

const struct json_field route_fields_restore_data[] = {
    {.name = "id", .kind = JSON_KIND_STRING, .required = true, .max = 64},
    {.name = "data",
     .kind = JSON_KIND_STRING,
     .required = true,
     .max = BASE64_OF(API_SNAPSHOT_BATCH)},
    {0},
};

struct restoring {
    struct snapshot_load *load;
    char id[ENCODE_UUID_LEN + 1];
    struct quorum *given;
    unsigned threshold;
    bool opened;
};

void route_restore_end(struct agent *a)
{
    if (!a->restoring)
        return;
    snapshot_load_free(a->restoring->load);
    quorum_free(a->restoring->given);
    mem_free(a->restoring, sizeof(*a->restoring));
    a->restoring = NULL;
}

/* The one under way, if the request means it. */
static struct restoring *current(const struct request *r)
{
    struct restoring *x = r->agent->restoring;
    return x && strcmp(x->id, json_str_or(r->body, "id", "")) == 0 ? x : NULL;
}

static int none_such(struct request *r)
{
    return request_error(r, 404,
                         "no restore of that id is under way: the agent was restarted, or another "
                         "one was begun; begin again");
}

/* --- Beginning
 * -------------------------------------------------------------------------------------
 */

static int load_new(struct request *r, struct snapshot_load **out)
{
    uint8_t head[SNAPSHOT_HEAD_MAX + 64];
    char path[4096];
    size_t n = 0;
    int e = encode_from_base64(json_str(r->body, "head"), head, sizeof(head), &n);
    snprintf(path, sizeof(path), "%s.restore", vault_path(r->agent->vault));
    if (e == 0)
        e = snapshot_load_new(path, head, n, out);
    if (e == SNAPSHOT_E_NEWER)
        return request_error(r, 400,
                             "the snapshot was made by a newer program: install that one first");
    if (e == SNAPSHOT_E_NONE || e == -EBADMSG || e == -EMSGSIZE)
        return request_error(r, 400, "that is no snapshot of a store");
    return e;
}

int route_restore_begin(struct request *r)
{
    struct agent *a = r->agent;
    bool there = vault_state(a->vault) != VAULT_UNINITIALISED;
    if (there && !json_bool(r->body, "force", false))
        return request_error(
            r, 400,
            "this agent has a store already (instance %s). Restoring puts it aside, with "
            "everything in it: its secrets, factors, policies and leases, whose accounts nobody "
            "would end. If that is meant: -force",
            vault_instance(a->vault));
    route_restore_end(a);
    struct restoring *x = calloc(1, sizeof(*x));
    if (!x)
        return -ENOMEM;
    x->given = quorum_new();
    int e = x->given ? load_new(r, &x->load) : -ENOMEM;
    if (e < 0 || request_refused(r)) {
        quorum_free(x->given);
        mem_free(x, sizeof(*x));
        return e;
    }
    const json_t *head = snapshot_load_head(x->load);
    encode_random_uuid(x->id);
    x->threshold = (unsigned)json_int(head, "threshold", 1);
    a->restoring = x;
    return request_data(
        r, json_pack("{s:s, s:i, s:O}", "id", x->id, "threshold", x->threshold, "head", head));
}

/* --- Shares
 * ----------------------------------------------------------------------------------------
 */

static int open_with_shares(struct restoring *x)
{
    uint8_t root[VAULT_KEY_LEN];
    int e = quorum_join(x->given, x->threshold, root);
    e = e == 0 ? snapshot_load_key(x->load, root) : SNAPSHOT_E_KEY;
    mem_wipe(root, sizeof(root));
    quorum_reset(x->given);
    x->opened = e == 0;
    return e;
}

int route_restore_share(struct request *r)
{
    struct restoring *x = current(r);
    int e = 0;
    if (!x)
        return none_such(r);
    if (x->opened)
        return request_error(r, 400, "the snapshot is open already: no more shares are needed");
    if (quorum_add(x->given, json_str(r->body, "key")) != 0)
        return request_error(r, 400,
                             "'key' must be one recovery share, in hex or base64 (%d bytes)",
                             QUORUM_SHARE_LEN);
    if (x->given->n >= x->threshold)
        e = open_with_shares(x);
    if (e == SNAPSHOT_E_KEY)
        return request_error(r, 400,
                             "these recovery shares don't open this snapshot: they are of another "
                             "store, or were replaced (rekey) before it was taken or since; all "
                             "of them were forgotten, begin with the first");
    if (e > 0)
        return request_error(r, 400, "the snapshot is damaged");
    return e < 0 ? e
                 : request_data(r, json_pack("{s:i, s:i, s:b}", "progress",
                                             x->opened ? x->threshold : x->given->n, "threshold",
                                             x->threshold, "opened", x->opened));
}

/* --- Data
 * ------------------------------------------------------------------------------------------
 */

static int damaged(struct request *r)
{
    route_restore_end(r->agent);
    return request_error(r, 400,
                         "the snapshot is damaged: it was cut short or changed. Nothing was "
                         "restored; this host's store is as it was");
}

int route_restore_data(struct request *r)
{
    struct restoring *x = current(r);
    size_t n = 0;
    if (!x)
        return none_such(r);
    if (!x->opened)
        return request_error(r, 400, "recovery shares come first");
    uint8_t *raw = malloc(API_SNAPSHOT_BATCH);
    if (!raw)
        return -ENOMEM;
    int e = encode_from_base64(json_str(r->body, "data"), raw, API_SNAPSHOT_BATCH, &n);
    if (e == 0)
        e = snapshot_load_write(x->load, raw, n);
    free(raw); /* ciphertext */
    if (e == -EBADMSG || e == -EMSGSIZE)
        return request_error(r, 400, "'data' must be base64 of at most %d bytes",
                             API_SNAPSHOT_BATCH);
    if (e == -ENOSPC)
        return request_error(r, 500,
                             "there is not enough free space beside the store; nothing was "
                             "restored");
    if (e > 0)
        return damaged(r);
    return e < 0 ? e : request_data(r, json_object());
}

/* --- The end
 * ---------------------------------------------------------------------------------------
 */

/* Everything that can go wrong with the copy goes wrong before this host's store is touched. */
static int prepare(struct restoring *x, const uint8_t key[VAULT_KEY_LEN], char *why, size_t whylen)
{
    const json_t *head = snapshot_load_head(x->load);
    char text[400];
    struct vault *v = NULL;
    snprintf(text, sizeof(text), "the store was restored from a snapshot that %.100s made at %.40s",
             json_str_or(head, "host", "?"), json_str_or(head, "made", "?"));
    int e = snapshot_load_open(x->load, &v, why, whylen);
    if (e == 0 && vault_seal_kind(v) == VAULT_SEAL_HOST)
        e = vault_new_unseal_key(v, key);
    if (e == 0)
        e = hold_mark_restored(v, text);
    vault_close(v);
    return e;
}

/* Another store's log is nothing that ours could go on from. */
static void put_log_aside(struct agent *a, const char *instance)
{
    char aside[4200];
    if (!a->audit_path || vault_state(a->vault) == VAULT_UNINITIALISED ||
        strcmp(vault_instance(a->vault), instance) == 0)
        return;
    snprintf(aside, sizeof(aside), "%s.before-restore-%lld", a->audit_path,
             (long long)clock_wall_s());
    if (rename(a->audit_path, aside) < 0)
        sd_journal_print(LOG_WARNING, "%s could not be put aside: %s", a->audit_path,
                         strerror(errno));
}

static int take_place(struct agent *a, struct restoring *x, const uint8_t key[VAULT_KEY_LEN],
                      char *aside, size_t asidelen, char *why, size_t whylen)
{
    char instance[ENCODE_UUID_LEN + 1];
    snprintf(instance, sizeof(instance), "%s",
             json_str_or(snapshot_load_head(x->load), "instance", ""));
    if (vault_state(a->vault) == VAULT_UNSEALED)
        agent_seal(a);
    put_log_aside(a, instance);
    int e = snapshot_replace(a->vault, x->load, aside, asidelen, why, whylen);
    if (e < 0)
        return e;
    sd_journal_print(LOG_WARNING, "a snapshot took the place of the store; instance %s", instance);
    if (vault_seal_kind(a->vault) != VAULT_SEAL_HOST)
        return 0; /* people open it, with their shares */
    e = vault_unseal(a->vault, key);
    return e == 0 ? agent_unsealed(a) : e < 0 ? e : -EBADMSG;
}

static int answer(struct request *r, const uint8_t key[VAULT_KEY_LEN], const char *aside)
{
    _cleanup_buf_ struct buf text = BUF_INIT(128);
    bool host = vault_seal_kind(r->agent->vault) == VAULT_SEAL_HOST;
    encode_base64(&text, key, VAULT_KEY_LEN);
    if (buf_error(&text) < 0)
        return buf_error(&text);
    return request_data(r, json_pack("{s:s?, s:s, s:s}", "unseal_key", host ? buf_str(&text) : NULL,
                                     "instance", vault_instance(r->agent->vault), "aside", aside));
}

int route_restore_finish(struct request *r)
{
    struct agent *a = r->agent;
    struct restoring *x = a->restoring;
    uint8_t key[VAULT_KEY_LEN];
    char why[300] = "", aside[4200] = "";
    if (!x)
        return none_such(r);
    int e = snapshot_load_finish(x->load);
    if (e == SNAPSHOT_E_DAMAGED || e == -EINVAL)
        return damaged(r);
    randombytes_buf(key, sizeof(key));
    if (e == 0)
        e = prepare(x, key, why, sizeof(why));
    bool replacing = e == 0;
    if (e == 0)
        e = take_place(a, x, key, aside, sizeof(aside), why, sizeof(why));
    if (e == 0)
        e = answer(r, key, aside);
    mem_wipe(key, sizeof(key));
    route_restore_end(a);
    if (e >= 0)
        return e;
    return request_error(r, 500, "%s: %s",
                         replacing ? "the snapshot is good, but could not take the store's place"
                                   : "nothing was restored, this host's store is as it was",
                         why[0] ? why : strerror(-e));
}

int route_restore_cancel(struct request *r)
{
    route_restore_end(r->agent);
    r->status = 204;
    return 0;
}
