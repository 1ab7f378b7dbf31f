/* creds/NAME: an account for the one who asks. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <countersign/connector.h>

#include "base/clock.h"
#include "base/encode.h"
#include "engine/database_inner.h"
#include "engine/scram.h"

#define PART_MAX 8
#define RANDOM_LEN 20
#define PASSWORD_GROUP 8
#define PASSWORD_GROUPS 3 /* 24 characters of base62: 142 bits */

/* --- Names ---------------------------------------------------------------------------------------
 */

/* At most 8 characters that need no quoting anywhere. */
static void put_part(struct buf *b, const char *s)
{
    size_t n = 0;
    for (; *s && n < PART_MAX; s++) {
        char c = (char)tolower((unsigned char)*s);
        bool safe = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        if (!safe && strchr(":/.@", c))
            continue; /* "uid:0" is uid0 */
        buf_putc(b, safe ? c : '_');
        n++;
    }
    buf_putc(b, '-');
}

/* Vault's form: v-<who>-<role>-<random>-<seconds>. */
static int make_account(const struct engine_request *r, const char *role, struct buf *out)
{
    char random[RANDOM_LEN + 1];
    const char *who = r->principal ? r->principal : "";
    if (strncmp(who, "user:", 5) == 0)
        who += 5;
    encode_random_base62(random, RANDOM_LEN);
    for (size_t i = 0; i < RANDOM_LEN; i++)
        random[i] = (char)tolower((unsigned char)random[i]);
    buf_puts(out, "v-");
    put_part(out, who);
    put_part(out, role);
    buf_putf(out, "%s-%lld", random, (long long)(r->now_ms / 1000));
    return buf_error(out);
}

static char *make_password(void)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64);
    char part[PASSWORD_GROUP + 1];
    for (int i = 0; i < PASSWORD_GROUPS; i++) {
        encode_random_base62(part, PASSWORD_GROUP);
        if (i > 0)
            buf_putc(&b, '-');
        buf_puts(&b, part);
    }
    mem_wipe(part, sizeof(part));
    return buf_steal(&b);
}

/* --- How long ------------------------------------------------------------------------------------
 */

/* The smaller of two bounds; 0 is none. */
static int64_t narrower(int64_t a, int64_t b)
{
    if (a <= 0)
        return b > 0 ? b : 0;
    return b > 0 && b < a ? b : a;
}

static int choose_ttl(struct engine_request *r, const json_t *role)
{
    char is[32], was[32];
    int64_t max = narrower(json_int(role, "max_ttl", 0), r->max_ttl);
    int64_t ttl = r->wish_ttl;
    if (ttl <= 0)
        ttl = narrower(json_int(role, "default_ttl", 0), r->ttl);
    if (ttl <= 0)
        ttl = DATABASE_TTL_DEFAULT;
    max = max ? max : DATABASE_TTL_MAX;
    r->lease.ttl = narrower(ttl, max);
    r->lease.max_ttl = max;
    if (ttl <= max)
        return 0;
    clock_human(ttl, was, sizeof(was));
    clock_human(max, is, sizeof(is));
    return engine_warn(r,
                       "TTL of %s exceeded the effective max_ttl of %s; TTL value is capped "
                       "accordingly",
                       was, is);
}

/* --- The call ------------------------------------------------------------------------------------
 */

static int make_frame(struct engine_request *r, const json_t *role, const json_t *config,
                      const struct database_state *s)
{
    _cleanup_buf_ struct buf verifier = BUF_INIT(512), comment = BUF_INIT(1024);
    int64_t expires = r->lease_ms / 1000 + r->lease.ttl + DATABASE_GRACE;
    int e = scram_verifier(s->password, &verifier);
    buf_putf(&comment, CONNECTOR_COMMENT, vault_instance(r->vault), r->lease_id);
    if (e == 0)
        e = buf_error(&comment);
    if (e < 0)
        return e;
    r->frame = json_pack("{s:s, s:o, s:s, s:s, s:I, s:O, s:I, s:s, s:O}", "op", "create", "db",
                         database_config_db(s->name, config), "role", s->account, "verifier",
                         buf_str(&verifier), "expires", (json_int_t)expires, "groups",
                         json_object_get(role, "groups"), "connection_limit",
                         (json_int_t)json_int(role, "connection_limit", DATABASE_CONNECTION_LIMIT),
                         "comment", buf_str(&comment), "statements",
                         json_object_get(role, "creation_statements"));
    return r->frame ? 0 : -ENOMEM;
}

static int made(struct engine_request *r, struct database_state *s, const json_t *answer)
{
    if (!json_bool(answer, "ok", false))
        return database_failed(r, s->name, answer);
    return engine_data(r, json_pack("{s:s, s:s}", "username", s->account, "password", s->password));
}

static int issue(struct engine_request *r, const json_t *role, const json_t *config,
                 const char *name)
{
    _cleanup_buf_ struct buf account = BUF_INIT(CONNECTOR_ROLE_MAX);
    struct database_state *s = database_state_new(r, json_str_or(role, "db_name", ""));
    int e = make_account(r, name, &account);
    if (!s || e < 0)
        return e < 0 ? e : -ENOMEM;
    s->answered = made;
    s->account = buf_steal(&account);
    s->password = make_password();
    if (!s->account || !s->password)
        return -ENOMEM;
    e = choose_ttl(r, role);
    if (e == 0)
        e = make_frame(r, role, config, s);
    if (e < 0)
        return e;
    r->lease.wanted = true;
    r->lease.renewable = true;
    r->lease.recipe =
        json_pack("{s:s, s:s, s:O, s:O}", "db", s->name, "role", s->account,
                  "revocation_statements", json_object_get(role, "revocation_statements"),
                  "renew_statements", json_object_get(role, "renew_statements"));
    return r->lease.recipe ? ENGINE_CALL : -ENOMEM;
}

int database_creds_read(struct engine_request *r, const char *name)
{
    _cleanup_json_ json_t *role = NULL, *config = NULL;
    int e = database_role_load(r->vault, r->space, name, &role);
    if (e == ENTRY_E_NONE)
        return engine_error(r, 400, "unknown role: %s", name);
    if (e < 0)
        return e;
    const char *db = json_str_or(role, "db_name", "");
    e = database_config_load(r->vault, r->space, db, &config);
    if (e == ENTRY_E_NONE)
        return engine_error(r, 400,
                            "failed to find entry for connection with name: \"%s\" (write "
                            "config/%s first)",
                            db, db);
    if (e < 0)
        return e;
    if (!database_config_allows(config, name))
        return engine_error(r, 400,
                            "\"%s\" is not an allowed role: add it to allowed_roles of config/%s",
                            name, db);
    return issue(r, role, config, name);
}
