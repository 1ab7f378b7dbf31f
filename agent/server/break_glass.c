/* The row:
 *
 *     {"v": 1, "codes": [{"id", "user", "made", "salt", "hash", "mac", "used", "service",
 *      "source"}], "lines": [objects for the audit log]}
 *
 * Times are wall ms, 0 never; salt, hash and mac hex. mac binds id, user, made, salt and hash. */
#include "server/break_glass.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include "base/clock.h"
#include "base/encode.h"
#include "identity/emergency.h"
#include "server/agent.h"
#include "vault/audit.h"

#define META "break-glass"
#define ROW_MAX (1024 * 1024)
#define ID_BYTES 4
#define HASH_HEX (2 * EMERGENCY_HASH)

/* --- The row -----------------------------------------------------------------------------------
 */

static int parse_row(const struct buf *b, json_t **out)
{
    char why[128];
    _cleanup_json_ json_t *row = NULL;
    int e = json_parse((const char *)b->data, b->len, &row, why, sizeof(why));
    if (e < 0)
        return e;
    if (json_int(row, "v", 0) != 1 || !json_is_array(json_object_get(row, "codes")) ||
        !json_is_array(json_object_get(row, "lines")))
        return -EBADMSG;
    *out = json_incref(row);
    return 0;
}

static int load(struct vault *v, json_t **out)
{
    _cleanup_buf_ struct buf b = BUF_INIT(ROW_MAX);
    int e = vault_meta_get(v, META, &b);
    if (e < 0)
        return e;
    if (e == 0 && b.len)
        return parse_row(&b, out);
    *out = json_pack("{s:i, s:[], s:[]}", "v", 1, "codes", "lines");
    return *out ? 0 : -ENOMEM;
}

static int save(struct vault *v, const json_t *row)
{
    _cleanup_buf_ struct buf b = BUF_INIT(ROW_MAX);
    json_put(&b, row);
    int e = buf_error(&b);
    return e < 0 ? e : vault_meta_put(v, META, b.data, b.len);
}

/* What only an unsealed agent can write. */
static int make_mac(struct vault *v, const json_t *code, char out[2 * VAULT_HASH_LEN + 1])
{
    static const char *const parts[] = {"id", "user", "salt", "hash"};
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    uint8_t mac[VAULT_HASH_LEN];
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const char *s = json_str_or(code, parts[i], "");
        buf_put_blob(&b, s, strlen(s));
    }
    buf_put_u64(&b, (uint64_t)json_int(code, "made", 0));
    int e = buf_error(&b);
    if (e == 0)
        e = vault_hash(v, "break-glass", b.data, b.len, mac);
    if (e == 0)
        encode_hex(mac, sizeof(mac), out);
    return e;
}

static bool is_genuine(struct vault *v, const json_t *code)
{
    char mac[2 * VAULT_HASH_LEN + 1];
    return make_mac(v, code, mac) == 0 && mem_equal_str(mac, json_str_or(code, "mac", ""));
}

static bool is_of(const json_t *code, const char *user)
{
    return strcmp(json_str_or(code, "user", ""), user) == 0;
}

static bool is_used(const json_t *code)
{
    return json_int(code, "used", 0) != 0;
}

/* --- Making and forgetting ---------------------------------------------------------------------
 */

static size_t drop_codes(json_t *codes, const char *user)
{
    size_t unused = 0;
    for (size_t i = json_array_size(codes); i > 0; i--) {
        const json_t *code = json_array_get(codes, i - 1);
        if (!is_of(code, user))
            continue;
        unused += !is_used(code);
        (void)json_array_remove(codes, i - 1);
    }
    return unused;
}

static json_t *new_code(struct vault *v, const char *user, const char *code, int64_t now_ms)
{
    uint8_t salt[EMERGENCY_SALT], hash[EMERGENCY_HASH], id[ID_BYTES];
    char salt_hex[2 * EMERGENCY_SALT + 1], hash_hex[HASH_HEX + 1], id_hex[2 * ID_BYTES + 1];
    char mac[2 * VAULT_HASH_LEN + 1];
    randombytes_buf(salt, sizeof(salt));
    randombytes_buf(id, sizeof(id));
    emergency_hash(salt, user, code, hash);
    encode_hex(salt, sizeof(salt), salt_hex);
    encode_hex(hash, sizeof(hash), hash_hex);
    encode_hex(id, sizeof(id), id_hex);
    _cleanup_json_ json_t *o =
        json_pack("{s:s, s:s, s:I, s:s, s:s, s:I}", "id", id_hex, "user", user, "made",
                  (json_int_t)now_ms, "salt", salt_hex, "hash", hash_hex, "used", (json_int_t)0);
    if (!o || make_mac(v, o, mac) < 0 || json_set_str(o, "mac", mac) < 0)
        return NULL;
    return json_incref(o);
}

static int add_code(struct vault *v, json_t *codes, const char *user, int64_t now_ms,
                    json_t *printed)
{
    char text[EMERGENCY_TEXT + 1], code[EMERGENCY_CODE + 1];
    emergency_new(text);
    int e = emergency_parse(text, code) == 0 ? 0 : -EIO;
    json_t *o = e == 0 ? new_code(v, user, code, now_ms) : NULL;
    json_t *shown =
        o ? json_pack("{s:O, s:s}", "id", json_object_get(o, "id"), "code", text) : NULL;
    if (e == 0 &&
        (!shown || json_array_append(codes, o) < 0 || json_array_append(printed, shown) < 0))
        e = -ENOMEM;
    json_decref(o);
    json_decref(shown);
    mem_wipe(text, sizeof(text));
    mem_wipe(code, sizeof(code));
    return e;
}

int break_glass_make(struct vault *v, const char *user, unsigned count, int64_t now_ms,
                     json_t **codes)
{
    _cleanup_json_ json_t *row = NULL;
    _cleanup_json_ json_t *printed = json_array();
    if (!count || count > BREAK_GLASS_SET_MAX)
        return -EINVAL;
    int e = printed ? load(v, &row) : -ENOMEM;
    if (e < 0)
        return e;
    json_t *all = json_object_get(row, "codes");
    drop_codes(all, user);
    if (json_array_size(all) + count > BREAK_GLASS_ALL_MAX)
        return BREAK_GLASS_E_FULL;
    for (unsigned i = 0; i < count && e == 0; i++)
        e = add_code(v, all, user, now_ms, printed);
    if (e == 0)
        e = save(v, row);
    if (e == 0)
        *codes = json_incref(printed);
    return e;
}

int break_glass_revoke(struct vault *v, const char *user, size_t *n)
{
    _cleanup_json_ json_t *row = NULL;
    int e = load(v, &row);
    if (e < 0)
        return e;
    json_t *all = json_object_get(row, "codes");
    size_t before = json_array_size(all);
    *n = drop_codes(all, user);
    return json_array_size(all) == before ? 0 : save(v, row);
}

/* --- Looking -----------------------------------------------------------------------------------
 */

static json_t *shown_code(struct vault *v, const json_t *code)
{
    bool open = vault_state(v) == VAULT_UNSEALED;
    return json_pack("{s:s, s:s, s:o, s:o, s:s?, s:s?, s:o}", "id", json_str_or(code, "id", "?"),
                     "user", json_str_or(code, "user", "?"), "made",
                     json_stamp(json_int(code, "made", 0)), "used",
                     json_stamp(json_int(code, "used", 0)), "service", json_str(code, "service"),
                     "source", json_str(code, "source"), "genuine",
                     open ? json_boolean(is_genuine(v, code)) : json_null());
}

int break_glass_list(struct vault *v, json_t **out)
{
    _cleanup_json_ json_t *row = NULL;
    _cleanup_json_ json_t *list = json_array();
    const json_t *code;
    size_t i;
    int e = list ? load(v, &row) : -ENOMEM;
    if (e < 0)
        return e;
    json_array_foreach(json_object_get(row, "codes"), i, code)
    {
        if (json_array_append_new(list, shown_code(v, code)) < 0)
            return -ENOMEM;
    }
    *out = json_incref(list);
    return 0;
}

int break_glass_summary(struct vault *v, struct break_glass_summary *out)
{
    _cleanup_json_ json_t *row = NULL;
    const json_t *code;
    size_t i;
    bool open = vault_state(v) == VAULT_UNSEALED;
    *out = (struct break_glass_summary){0};
    int e = load(v, &row);
    if (e < 0)
        return e;
    json_array_foreach(json_object_get(row, "codes"), i, code)
    {
        int64_t used = json_int(code, "used", 0);
        bool strange = open && !is_genuine(v, code);
        out->strange += strange;
        out->used += used != 0;
        out->left += used == 0 && !strange;
        if (used > out->last_used_ms)
            out->last_used_ms = used;
    }
    return 0;
}

/* --- Using -------------------------------------------------------------------------------------
 */

static bool hash_fits(const json_t *kept, const char *user, const char *code)
{
    uint8_t salt[EMERGENCY_SALT] = {0}, hash[EMERGENCY_HASH], want[EMERGENCY_HASH] = {0};
    size_t n_salt = 0, n_want = 0;
    bool whole = encode_from_hex(json_str_or(kept, "salt", ""), salt, sizeof(salt), &n_salt) == 0 &&
                 encode_from_hex(json_str_or(kept, "hash", ""), want, sizeof(want), &n_want) == 0 &&
                 n_salt == sizeof(salt) && n_want == sizeof(want);
    emergency_hash(salt, user, code, hash);
    bool same = mem_equal(hash, sizeof(hash), want, sizeof(want));
    mem_wipe(hash, sizeof(hash));
    return same && whole;
}

/* All of them are compared, whoever asks. */
static json_t *find(json_t *codes, const char *user, const char *code)
{
    json_t *found = NULL, *kept;
    size_t i;
    json_array_foreach(codes, i, kept)
    {
        bool fits = hash_fits(kept, user, code);
        if (fits && is_of(kept, user))
            found = kept;
    }
    return found;
}

static int mark_used(json_t *kept, const json_t *line, int64_t now_ms)
{
    int e = json_set_int(kept, "used", now_ms ? now_ms : 1);
    if (e == 0)
        e = json_set_str(kept, "service", json_str(line, "service"));
    return e < 0 ? e : json_set_str(kept, "source", json_str(line, "source"));
}

/* Into the log, or, without keys, into the row until there are some. */
static int tell(struct vault *v, json_t *row, json_t *line)
{
    if (vault_state(v) == VAULT_UNSEALED)
        return audit_append(v, "alert", line);
    return json_array_append(json_object_get(row, "lines"), line) < 0 ? -ENOMEM : 0;
}

int break_glass_spend(struct vault *v, const char *user, bool known, const char *code, json_t *line,
                      int64_t now_ms)
{
    _cleanup_json_ json_t *row = NULL;
    int e = load(v, &row);
    if (e < 0)
        return e;
    json_t *kept = find(json_object_get(row, "codes"), user, code);
    if (!kept || !known || (vault_state(v) == VAULT_UNSEALED && !is_genuine(v, kept)))
        return BREAK_GLASS_E_WRONG;
    if (json_set_str(line, "code", json_str(kept, "id")) < 0)
        return -ENOMEM;
    if (is_used(kept))
        return BREAK_GLASS_E_USED;
    e = mark_used(kept, line, now_ms);
    if (e == 0)
        e = tell(v, row, line);
    return e < 0 ? e : save(v, row);
}

/* --- In memory ---------------------------------------------------------------------------------
 */

#define BUCKETS 64
#define WINDOW_MS 60000
#define HANDLES 32
#define HANDLE_MS (5 * 60 * 1000LL)

struct break_glass {
    uint8_t key[crypto_shorthash_KEYBYTES];
    int64_t window_ms; /* boot clock: when this minute began */
    unsigned wrong_all, wrong[BUCKETS];
    uint64_t wrong_sealed; /* since the last unsealing */
    size_t next;
    struct {
        char text[DIALOGUE_HANDLE_LEN + 1]; /* "": free */
        char user[DIALOGUE_NAME_MAX + 1];
        char service[DIALOGUE_NAME_MAX + 1];
        int64_t made_ms;
    } handle[HANDLES];
};

int break_glass_new(struct break_glass **out)
{
    struct break_glass *b = calloc(1, sizeof(*b));
    if (!b)
        return -ENOMEM;
    crypto_shorthash_keygen(b->key);
    *out = b;
    return 0;
}

void break_glass_free(struct break_glass *b)
{
    if (b)
        mem_free(b, sizeof(*b));
}

int break_glass_handle(struct break_glass *b, const char *user, const char *service,
                       char out[DIALOGUE_HANDLE_LEN + 1])
{
    uint8_t raw[DIALOGUE_HANDLE_LEN / 2];
    size_t at = b->next++ % HANDLES; /* the oldest makes room */
    randombytes_buf(raw, sizeof(raw));
    encode_hex(raw, sizeof(raw), out);
    memcpy(b->handle[at].text, out, DIALOGUE_HANDLE_LEN + 1);
    snprintf(b->handle[at].user, sizeof(b->handle[at].user), "%s", user);
    snprintf(b->handle[at].service, sizeof(b->handle[at].service), "%s", service);
    b->handle[at].made_ms = clock_boot_ms();
    return 0;
}

bool break_glass_passed(struct break_glass *b, const char *handle, const char *user,
                        const char *service, bool take)
{
    bool passed = false;
    for (size_t i = 0; i < HANDLES; i++) {
        if (!b->handle[i].text[0] || !mem_equal_str(b->handle[i].text, handle))
            continue;
        passed = clock_boot_ms() - b->handle[i].made_ms <= HANDLE_MS &&
                 strcmp(b->handle[i].service, service) == 0 &&
                 (!user || strcmp(b->handle[i].user, user) == 0);
        if (take || !passed)
            mem_wipe(&b->handle[i], sizeof(b->handle[i]));
    }
    return passed;
}

static unsigned *bucket_of(struct break_glass *b, const char *user)
{
    uint8_t hash[crypto_shorthash_BYTES];
    int64_t now = clock_boot_ms();
    if (now - b->window_ms >= WINDOW_MS) {
        b->window_ms = now;
        b->wrong_all = 0;
        memset(b->wrong, 0, sizeof(b->wrong));
    }
    crypto_shorthash(hash, (const uint8_t *)user, strlen(user), b->key);
    return &b->wrong[hash[0] % BUCKETS];
}

bool break_glass_may_try(struct break_glass *b, const char *user)
{
    return *bucket_of(b, user) < BREAK_GLASS_TRIES && b->wrong_all < BREAK_GLASS_TRIES_ALL;
}

void break_glass_failed(struct break_glass *b, const char *user)
{
    (*bucket_of(b, user))++;
    b->wrong_all++;
    b->wrong_sealed++;
}

/* --- After unsealing ---------------------------------------------------------------------------
 */

static int write_lines(struct vault *v)
{
    _cleanup_json_ json_t *row = NULL;
    const json_t *line;
    size_t i;
    int e = load(v, &row);
    if (e < 0)
        return e;
    json_t *lines = json_object_get(row, "lines");
    if (json_array_size(lines) == 0)
        return 0;
    json_array_foreach(lines, i, line)
    {
        e = audit_append(v, "alert", line);
        if (e == -EINVAL) /* whatever wrote this into the file, it was not us */
            e = audit_append(v, "alert", NULL);
        if (e < 0)
            return e;
    }
    (void)json_array_clear(lines);
    return save(v, row);
}

static int unsealed_turn(void *data)
{
    struct agent *a = data;
    struct break_glass_summary sum;
    int e = write_lines(a->vault);
    if (e == 0)
        e = break_glass_summary(a->vault, &sum);
    if (e < 0)
        return e;
    if (a->break_glass->wrong_sealed) {
        char text[128];
        snprintf(text, sizeof(text), "%llu wrong emergency codes were given before the unsealing",
                 (unsigned long long)a->break_glass->wrong_sealed);
        agent_alert(a, "wrong emergency codes", text);
    }
    a->break_glass->wrong_sealed = 0;
    if (sum.strange)
        agent_alert(
            a, "emergency codes changed",
            "the store holds emergency codes that its agent did not make: see \"countersign "
            "operator break-glass status\"");
    return 0;
}

static void unsealed_done(void *data _unused_, int error)
{
    if (error < 0)
        sd_journal_print(LOG_ERR,
                         "what emergency codes were used for while sealed could not be written "
                         "into the audit log (%s); it is tried again at the next unsealing",
                         strerror(-error));
}

void break_glass_unsealed(struct agent *a)
{
    if (turn_add(a->turn, TURN_BACKGROUND, unsealed_turn, unsealed_done, a) == 0)
        turn_now(a->turn);
}
