/* Claims: which agent's a database is, said by a token in it; and calls that carry the claim. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include <countersign/connector.h>

#include "base/clock.h"
#include "base/encode.h"
#include "server/hold_inner.h"
#include "server/mount.h"
#include "vault/entry.h"

#define CLAIMS "claim" /* the space of claims: <mount's space>/<database> */

/* --- In the store --------------------------------------------------------------------------------
 */

struct loading {
    struct agent *agent;
    char folder[80];
};

static int load_claim(const char *name, void *data)
{
    struct loading *x = data;
    _cleanup_buf_ struct buf path = BUF_INIT(ENTRY_PATH_MAX);
    _cleanup_json_ json_t *claim = NULL;
    buf_putf(&path, "%s%s", x->folder, name);
    int e = buf_error(&path);
    if (e == 0)
        e = entry_get_json(x->agent->vault, CLAIMS, buf_str(&path), &claim);
    if (e == 0 && json_object_set(x->agent->hold->claims, buf_str(&path), claim) < 0)
        e = -ENOMEM;
    return e < 0 ? e : 0;
}

static int load_folder(const char *name, void *data)
{
    struct loading x = {.agent = data};
    if (strlen(name) >= sizeof(x.folder))
        return 0;
    snprintf(x.folder, sizeof(x.folder), "%s", name);
    int e = entry_list(x.agent->vault, CLAIMS, name, NULL, 0, load_claim, &x);
    return e < 0 ? e : 0;
}

int hold_claim_load(struct agent *a)
{
    int e = entry_list(a->vault, CLAIMS, "", NULL, 0, load_folder, a);
    return e < 0 ? e : 0;
}

static int put_claim(struct agent *a, const char *key)
{
    return entry_put_json(a->vault, CLAIMS, key, json_object_get(a->hold->claims, key));
}

/* Keeps the oldest and the newest: the oldest is what was last seen there for certain. */
static int remember(json_t *known, const char *token)
{
    if (!token[0] || json_has_str(known, token))
        return 0;
    if (json_array_size(known) >= CONNECTOR_CLAIMS_MAX)
        (void)json_array_remove(known, 1);
    return json_array_append_new(known, json_string(token)) < 0 ? -ENOMEM : 0;
}

static int make_token(char out[CONNECTOR_CLAIM_LEN + 1])
{
    char uuid[ENCODE_UUID_LEN + 1]; /* its first group and the end of its last: 64 random bits */
    encode_random_uuid(uuid);
    return snprintf(out, CONNECTOR_CLAIM_LEN + 1, "%.8s%.8s", uuid, uuid + 28) ==
                   CONNECTOR_CLAIM_LEN
               ? 0
               : -EINVAL;
}

static json_t *new_claim(void)
{
    return json_pack("{s:[], s:s, s:b, s:s, s:I}", "known", "next", "", "take", 0, "held", "",
                     "since", (json_int_t)0);
}

/* The claim of a database with the token of this start, which rests in the store. */
static int fresh_claim(struct agent *a, const char *key, json_t **out)
{
    struct hold *h = a->hold;
    char token[CONNECTOR_CLAIM_LEN + 1];
    *out = json_object_get(h->claims, key);
    if (*out && json_object_get(h->fresh, key))
        return 0;
    _cleanup_json_ json_t *claim = *out ? json_deep_copy(*out) : new_claim();
    int e = claim ? make_token(token) : -ENOMEM;
    if (e == 0)
        e = remember(json_object_get(claim, "known"), json_str_or(claim, "next", ""));
    if (e == 0)
        e = json_set_str(claim, "next", token);
    if (e == 0)
        e = entry_put_json(a->vault, CLAIMS, key, claim);
    if (e == 0 && (json_object_set(h->claims, key, claim) < 0 ||
                   json_object_set_new(h->fresh, key, json_true()) < 0))
        e = -ENOMEM;
    *out = json_object_get(h->claims, key);
    return e;
}

static void host_name(char *out, size_t size)
{
    struct utsname u;
    snprintf(out, size, "%s", uname(&u) == 0 ? u.nodename : "a host without a name");
}

/* Which marker: one for each configuration and account, so that two of them in one server don't
 * take each other's for a stranger's. */
static int put_marker(struct agent *a, const char *key, const json_t *frame, json_t *claim)
{
    uint8_t hash[VAULT_HASH_LEN];
    char hex[2 * VAULT_HASH_LEN + 1], marker[CONNECTOR_ROLE_MAX + 1];
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    buf_puts(&b, key);
    buf_putc(&b, '\n');
    buf_puts(&b, json_str_or(json_object_get(frame, "db"), "username", ""));
    int e = buf_error(&b);
    if (e == 0)
        e = vault_hash(a->vault, "claim-marker", b.data, b.len, hash);
    if (e < 0)
        return e;
    encode_hex(hash, sizeof(hash), hex);
    snprintf(marker, sizeof(marker), CONNECTOR_MARKER, vault_instance(a->vault), hex);
    return json_set_str(claim, "marker", marker);
}

static int add_claim(struct agent *a, const char *key, json_t *frame,
                     char token[CONNECTOR_CLAIM_LEN + 1])
{
    char host[65];
    json_t *claim;
    int e = fresh_claim(a, key, &claim);
    if (e < 0)
        return e;
    host_name(host, sizeof(host));
    snprintf(token, CONNECTOR_CLAIM_LEN + 1, "%s", json_str_or(claim, "next", ""));
    _cleanup_json_ json_t *mine = json_pack(
        "{s:O, s:O, s:O, s:s}", "next", json_object_get(claim, "next"), "known",
        json_object_get(claim, "known"), "take", json_object_get(claim, "take"), "by", host);
    e = mine ? put_marker(a, key, frame, mine) : -ENOMEM;
    if (e == 0 && json_object_set(frame, "claim", mine) < 0)
        e = -ENOMEM;
    return e;
}

/* --- Calls ---------------------------------------------------------------------------------------
 */

struct called {
    struct agent *agent;
    char key[HOLD_KEY_MAX];
    char token[CONNECTOR_CLAIM_LEN + 1]; /* that it was sent with */
    link_answer_fn answer;
    void *data;
    json_t *made_up; /* an answer without a call */
};

struct note {
    struct agent *agent;
    char key[HOLD_KEY_MAX];
    char held[400]; /* "" = claimed */
};

static int note_turn(void *data)
{
    struct note *n = data;
    struct agent *a = n->agent;
    if (vault_state(a->vault) != VAULT_UNSEALED || !json_object_get(a->hold->claims, n->key))
        return 0;
    int e = put_claim(a, n->key);
    if (e == 0 && n->held[0])
        agent_alert(a, "database held", n->held);
    return e < 0 ? e : 0;
}

static void note_done(void *data, int error)
{
    struct note *n = data;
    if (error < 0) /* it is known in memory; after a restart the database itself tells again */
        sd_journal_print(LOG_ERR, "the claim of %s could not be written: %s", n->key,
                         strerror(-error));
    free(n);
}

/* What an answer changed in the claim (in memory already) goes to the store. */
static void keep(struct agent *a, const char *key, const char *held)
{
    struct note *n = calloc(1, sizeof(*n));
    if (!n)
        return;
    n->agent = a;
    snprintf(n->key, sizeof(n->key), "%s", key);
    if (held)
        snprintf(n->held, sizeof(n->held), "the database %s is held: %s", strchr(key, '/') + 1,
                 held);
    if (turn_add(a->turn, TURN_BACKGROUND, note_turn, note_done, n) < 0)
        free(n);
}

/* The answer to a call with an earlier token than today's (the store was sealed and opened, or a
 * commit was lost, while it was under way) says nothing of today's: what it found a stranger's may
 * be ours, and what it left there is to stay known. */
static void learn(struct agent *a, const char *key, const char *token, const json_t *answer)
{
    json_t *claim = json_object_get(a->hold->claims, key);
    if (!claim || strcmp(json_str_or(claim, "next", ""), token) != 0)
        return;
    if (strcmp(json_str_or(answer, "kind", ""), "superseded") == 0) {
        const char *why = json_str_or(answer, "message", "another agent has claimed it");
        if (json_str_or(claim, "held", "")[0] == '\0' && json_set_str(claim, "held", why) == 0 &&
            json_set_int(claim, "since", clock_wall_ms()) == 0)
            keep(a, key, why);
    } else if (json_bool(answer, "claimed", false) &&
               (json_array_size(json_object_get(claim, "known")) > 0 ||
                json_bool(claim, "take", false))) {
        (void)json_array_clear(json_object_get(claim, "known"));
        (void)json_set_bool(claim, "take", false);
        keep(a, key, NULL);
    }
}

static void on_answer(const json_t *answer, void *data)
{
    struct called *c = data;
    learn(c->agent, c->key, c->token, answer);
    c->answer(answer, c->data);
    json_decref(c->made_up);
    free(c);
}

static int on_made_up(sd_event_source *s, void *data)
{
    struct called *c = data;
    sd_event_source_disable_unref(s);
    c->answer(c->made_up, c->data);
    json_decref(c->made_up);
    free(c);
    return 0;
}

/* Never from within the call. */
static int answer_held(struct called *c, const char *why)
{
    sd_event_source *later = NULL;
    c->made_up = json_pack("{s:b, s:s, s:s}", "ok", 0, "kind", "superseded", "message", why);
    int e = c->made_up ? sd_event_add_defer(c->agent->loop, &later, on_made_up, c) : -ENOMEM;
    if (e < 0) {
        json_decref(c->made_up);
        free(c);
    }
    return e < 0 ? e : 0;
}

static bool is_a_deed(const json_t *frame)
{
    static const char *const ops[] = {"create", "renew", "revoke", "sweep"};
    const char *op = json_str_or(frame, "op", "");
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (strcmp(ops[i], op) == 0)
            return true;
    }
    return false;
}

int hold_call(struct agent *a, const char *space, json_t *frame, link_answer_fn answer, void *data)
{
    _cleanup_json_ json_t *own = frame;
    if (!is_a_deed(frame)) {
        own = NULL;
        return link_call(a->link, frame, answer, data);
    }
    const char *name = json_str_or(json_object_get(frame, "db"), "name", "");
    struct called *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    *c = (struct called){.agent = a, .answer = answer, .data = data};
    snprintf(c->key, sizeof(c->key), "%s/%s", space, name);
    const char *why = hold_database(a, space, name);
    if (why)
        return answer_held(c, why);
    int e = add_claim(a, c->key, frame, c->token);
    if (e == 0) {
        own = NULL;
        e = link_call(a->link, frame, on_answer, c);
    }
    if (e < 0)
        free(c);
    return e;
}

/* --- Taking over ---------------------------------------------------------------------------------
 */

/* Only the store is changed; memory follows it once the turn is committed. */
static int take_over(struct agent *a, const char *key)
{
    const json_t *claim = json_object_get(a->hold->claims, key);
    _cleanup_json_ json_t *taken = claim ? json_deep_copy(claim) : new_claim();
    int e = taken ? json_set_bool(taken, "take", true) : -ENOMEM;
    if (e == 0)
        e = json_set_str(taken, "held", "");
    return e < 0 ? e : entry_put_json(a->vault, CLAIMS, key, taken);
}

struct taking {
    struct agent *agent;
    const char *space;
};

/* Whatever token is there, the next deed takes the database over. */
static int take_configured(json_t *frame, const char *name, void *data)
{
    struct taking *x = data;
    char key[HOLD_KEY_MAX];
    json_decref(frame);
    snprintf(key, sizeof(key), "%s/%s", x->space, name);
    return take_over(x->agent, key);
}

int hold_claim_take_all(struct agent *a)
{
    int e = 0;
    for (size_t i = 0; i < mounts_count(a->mounts) && e >= 0; i++) {
        const struct mount *m = mounts_at(a->mounts, i);
        struct taking x = {.agent = a, .space = m->space};
        if (m->engine->sweep)
            e = m->engine->sweep(a->vault, m->space, take_configured, &x);
    }
    return e < 0 ? e : 0;
}

int hold_claim_take_held(struct agent *a)
{
    const json_t *claim;
    const char *key;
    int e = 0;
    json_object_foreach(a->hold->claims, key, claim)
    {
        if (e == 0 && json_str_or(claim, "held", "")[0])
            e = take_over(a, key);
    }
    return e;
}
