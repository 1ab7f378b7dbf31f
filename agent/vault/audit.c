/* Rows of the table `audit`: one for each turn that left lines.
 *
 *     seq, last  the numbers of the turn's first and last line
 *     body       sealed: the lines, each with its newline; bound to 'r', seq and last
 *
 * The newest row is never pruned: it is the head of the chain. */
#include "vault/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "vault/inner.h"

/* Bytes of lines in one turn. Revoking everything at once is one turn, with a line for each lease:
 * it must not be refused for being much (128 MiB: about 400,000 leases). */
#define TURN_MAX (128 * 1024 * 1024)
#define MAC_KEY ",\"mac\":\""
#define MAC_LEN (sizeof(MAC_KEY) - 1 + AUDIT_MAC_HEX + 2) /* ,"mac":"…"} */

/* --- The chain ------------------------------------------------------------------------------- */

static void chain_mac(const struct vault *v, const uint8_t prev[VAULT_HASH_LEN], const void *p,
                      size_t n, uint8_t out[VAULT_HASH_LEN])
{
    struct keyring_part parts[] = {{prev, VAULT_HASH_LEN}, {p, n}};
    keyring_hash(v->ring, KEYRING_NAME_AUDIT, "audit", parts, ARRAY_LEN(parts), out);
}

/* A decimal number without leading zeros; *p moves behind it. */
static bool parse_number(const char **p, const char *end, uint64_t *out)
{
    const char *s = *p;
    uint64_t n = 0;
    if (s == end || *s < '0' || *s > '9' ||
        (*s == '0' && s + 1 < end && s[1] >= '0' && s[1] <= '9'))
        return false;
    for (; s < end && *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
            return false;
    *p = s;
    *out = n;
    return true;
}

static bool starts_with(const char *p, const char *end, const char *what)
{
    size_t n = strlen(what);
    return (size_t)(end - p) >= n && memcmp(p, what, n) == 0;
}

/* Exactly the lower-case form that we write, so that every byte of a line counts. */
static bool parse_mac(const char *p, uint8_t out[VAULT_HASH_LEN])
{
    char hex[AUDIT_MAC_HEX + 1], again[AUDIT_MAC_HEX + 1];
    size_t n = 0;
    memcpy(hex, p, AUDIT_MAC_HEX);
    hex[AUDIT_MAC_HEX] = '\0';
    if (encode_from_hex(hex, out, VAULT_HASH_LEN, &n) < 0 || n != VAULT_HASH_LEN)
        return false;
    encode_hex(out, VAULT_HASH_LEN, again);
    return memcmp(hex, again, AUDIT_MAC_HEX) == 0;
}

bool audit_parse(const char *line, size_t n, struct audit_point *at, size_t *covered)
{
    const char *p = line, *end = line + n;
    if (n > AUDIT_LINE_MAX || n < MAC_LEN || !starts_with(p, end, "{\"seq\":"))
        return false;
    p += strlen("{\"seq\":");
    if (!parse_number(&p, end, &at->seq) || !starts_with(p, end, ",\"time\":\""))
        return false;
    const char *mac = end - MAC_LEN;
    if (mac < p || !starts_with(mac, end, MAC_KEY) || end[-2] != '"' || end[-1] != '}')
        return false;
    *covered = n - MAC_LEN;
    return parse_mac(mac + strlen(MAC_KEY), at->mac);
}

/* Whether the line, parsed to at, has the mac that prev gives it. */
static bool mac_fits(const struct vault *v, const struct audit_point *prev, const char *line,
                     size_t covered, const struct audit_point *at)
{
    uint8_t mac[VAULT_HASH_LEN];
    chain_mac(v, prev->mac, line, covered, mac);
    return mem_equal(mac, sizeof(mac), at->mac, sizeof(at->mac));
}

bool audit_follows(const struct vault *v, const struct audit_point *prev, const char *line,
                   size_t n)
{
    struct audit_point at;
    size_t covered;
    return audit_parse(line, n, &at, &covered) && at.seq == prev->seq + 1 &&
           mac_fits(v, prev, line, covered, &at);
}

/* --- Appending ------------------------------------------------------------------------------- */

void audit_cut(struct vault *v, size_t len, const struct audit_point *tip)
{
    struct buf *b = &v->audit.lines;
    v->audit.tip = *tip;
    if (!len && b->cap > 256 * 1024)
        buf_clear(b);
    if (len < b->len)
        b->len = len; /* nothing secret is in there */
    b->error = 0;
}

static bool type_ok(const char *type)
{
    size_t n = strlen(type);
    return n && n <= 32 && strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == n;
}

static bool fields_ok(const json_t *fields)
{
    static const char *const ours[] = {"seq", "time", "type", "mac"};
    if (!fields)
        return true;
    if (!json_is_object(fields))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (json_object_get(fields, ours[i]))
            return false;
    return true;
}

/* The object's members behind what is there already: `,"a":1,"b":2`. */
static void put_members(struct buf *b, const json_t *fields)
{
    if (!fields || !json_object_size(fields))
        return;
    size_t at = b->len;
    json_put_ascii(b, fields);
    if (buf_error(b) < 0 || b->len < at + 2)
        return;
    b->data[at] = ',';
    b->len--; /* the closing brace */
}

static void begin_line(struct vault *v, const char *type)
{
    struct buf *b = &v->audit.lines;
    char time[CLOCK_STAMP_LEN];
    clock_stamp(clock_wall_ms(), 1, time);
    buf_puts(b, "{\"seq\":");
    buf_put_dec(b, (int64_t)(v->audit.tip.seq + 1));
    buf_puts(b, ",\"time\":\"");
    buf_puts(b, time);
    buf_puts(b, "\",\"type\":\"");
    buf_puts(b, type);
    buf_putc(b, '"');
}

static int end_line(struct vault *v, size_t start)
{
    struct buf *b = &v->audit.lines;
    struct audit_point next = {.seq = v->audit.tip.seq + 1};
    char hex[AUDIT_MAC_HEX + 1];
    if (buf_error(b) < 0)
        return buf_error(b);
    if (b->len - start > AUDIT_LINE_MAX - MAC_LEN || b->len > TURN_MAX)
        return -EMSGSIZE;
    chain_mac(v, v->audit.tip.mac, b->data + start, b->len - start, next.mac);
    encode_hex(next.mac, VAULT_HASH_LEN, hex);
    buf_puts(b, MAC_KEY);
    buf_put(b, hex, AUDIT_MAC_HEX);
    buf_puts(b, "\"}\n");
    if (buf_error(b) < 0)
        return buf_error(b);
    v->audit.tip = next;
    return 0;
}

/* A line of our own with members or text (`,"a":1`) in it, or none of it. */
static int append(struct vault *v, const char *type, const json_t *fields, const struct buf *text)
{
    struct buf *b = &v->audit.lines;
    if (!v->in_turn || !type_ok(type))
        return -EINVAL;
    int r = vault_ready(v);
    if (r == 0)
        r = vault_has_room(v);
    if (r < 0)
        return r;
    size_t start = b->len;
    struct audit_point tip = v->audit.tip;
    begin_line(v, type);
    put_members(b, fields);
    if (text)
        buf_put(b, text->data, text->len);
    r = end_line(v, start);
    if (r < 0)
        audit_cut(v, start, &tip);
    return r;
}

int audit_append(struct vault *v, const char *type, const json_t *fields)
{
    return fields_ok(fields) ? append(v, type, fields, NULL) : -EINVAL;
}

int audit_append_text(struct vault *v, const char *type, const struct buf *members)
{
    int r = buf_error(members);
    return r < 0 ? r : append(v, type, NULL, members);
}

/* --- Rows ------------------------------------------------------------------------------------ */

static size_t bind_row(uint64_t seq, uint64_t last, uint8_t out[17])
{
    out[0] = 'r';
    for (int i = 0; i < 8; i++) {
        out[1 + i] = (uint8_t)(seq >> (8 * i));
        out[9 + i] = (uint8_t)(last >> (8 * i));
    }
    return 17;
}

int audit_flush(struct vault *v)
{
    if (!v->ring)
        return -EACCES;
    struct audit_book *a = &v->audit;
    uint8_t bound[17];
    uint64_t seq = a->head.seq + 1;
    size_t n = bind_row(seq, a->tip.seq, bound);
    struct keyring_part lines = {a->lines.data, a->lines.len};
    int r = keyring_seal(v->ring, KEYRING_AUDIT, bound, n, &lines, 1, &v->scratch);
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    if (r == 0)
        r = store_stmt(&v->store, STORE_AUDIT_INSERT, &st);
    if (r == 0) {
        sqlite3_bind_int64(st, 1, (int64_t)seq);
        sqlite3_bind_int64(st, 2, (int64_t)a->tip.seq);
        store_bind(st, 3, v->scratch.data, v->scratch.len);
        r = store_step(&v->store, st);
    }
    vault_scratch_done(v);
    return r;
}

/* Keeps the turn's lines for the export, as long as they go on where the file or the lines kept so
 * far end; else it reads them from the store. */
static void keep_fresh(struct audit_book *a)
{
    uint64_t end = a->fresh.len ? a->fresh_last.seq : a->out.seq;
    if (a->fd < 0 || end != a->head.seq || a->lines.len > AUDIT_FRESH_MAX - a->fresh.len) {
        a->fresh.len = 0; /* nothing secret is in there */
        return;
    }
    if (!a->fresh.len)
        a->fresh_after = a->head.seq;
    buf_put(&a->fresh, a->lines.data, a->lines.len);
    a->fresh_last = a->tip;
    if (buf_error(&a->fresh))
        buf_clear(&a->fresh);
}

void audit_committed(struct vault *v, bool durable)
{
    if (v->audit.lines.len)
        keep_fresh(&v->audit);
    v->audit.head = v->audit.tip;
    if (durable)
        v->audit.durable = v->audit.head.seq;
}

/* Opens the row under st (seq, last, body) into out. */
static int open_row(struct vault *v, sqlite3_stmt *st, struct buf *out, uint64_t *seq,
                    uint64_t *last)
{
    *seq = (uint64_t)sqlite3_column_int64(st, 0);
    *last = (uint64_t)sqlite3_column_int64(st, 1);
    uint8_t bound[17];
    size_t n = bind_row(*seq, *last, bound);
    const void *p = sqlite3_column_blob(st, 2);
    size_t len = (size_t)sqlite3_column_bytes(st, 2);
    if (!p || !*seq || *last < *seq)
        return -EBADMSG;
    return keyring_open(v->ring, KEYRING_AUDIT, bound, n, p, len, out);
}

/* The row that comes first by the statement's order. 1 a row, 0 none. */
static int read_row(struct vault *v, enum store_sql which, uint64_t seq, struct buf *out,
                    uint64_t *first, uint64_t *last)
{
    buf_reset(out);
    _cleanup_stmt_ sqlite3_stmt *st = NULL;
    int r = store_stmt(&v->store, which, &st);
    if (r < 0)
        return r;
    if (which != STORE_AUDIT_LAST)
        sqlite3_bind_int64(st, 1, (int64_t)seq);
    r = store_step(&v->store, st);
    if (r != 1)
        return r;
    r = open_row(v, st, out, first, last);
    return r < 0 ? r : 1;
}

/* Calls fn for the lines of one row that are newer than after. */
static int each_in_row(const struct buf *rows, uint64_t after, audit_line_fn fn, void *data)
{
    const char *p = (const char *)rows->data, *end = p + rows->len;
    while (p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        struct audit_point at;
        size_t covered;
        if (!nl || !audit_parse(p, (size_t)(nl - p), &at, &covered))
            return -EBADMSG;
        if (at.seq > after) {
            int r = fn(p, (size_t)(nl + 1 - p), &at, data);
            if (r)
                return r;
        }
        p = nl + 1;
    }
    return 0;
}

int audit_each_line(struct vault *v, uint64_t after, audit_line_fn fn, void *data)
{
    _cleanup_buf_ struct buf rows = BUF_INIT(2 * TURN_MAX);
    uint64_t first, last;
    /* the row that after stands in may hold newer lines, too */
    int r = read_row(v, STORE_AUDIT_AT, after, &rows, &first, &last);
    if (r == 1 && last > after)
        r = each_in_row(&rows, after, fn, data);
    else if (r > 0)
        r = 0;
    if (r)
        return r;
    while ((r = read_row(v, STORE_AUDIT_FROM, after, &rows, &first, &last)) == 1) {
        r = each_in_row(&rows, after, fn, data);
        if (r)
            return r;
        after = last;
    }
    return r;
}

struct wanted {
    uint64_t seq;
    struct audit_point *at;
};

static int pick(const char *line, size_t n, const struct audit_point *at, void *data)
{
    (void)line;
    (void)n;
    struct wanted *w = data;
    if (at->seq != w->seq)
        return 0;
    *w->at = *at;
    return 1;
}

int audit_point_at(struct vault *v, uint64_t seq, struct audit_point *at)
{
    const struct audit_point zero = {0};
    const struct audit_point *known[] = {&zero, &v->audit.head, &v->audit.saved};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i]->seq == seq) {
            *at = *known[i];
            return 0;
        }
    _cleanup_buf_ struct buf rows = BUF_INIT(2 * TURN_MAX);
    uint64_t first, last;
    int r = read_row(v, STORE_AUDIT_AT, seq, &rows, &first, &last);
    if (r <= 0)
        return r < 0 ? r : 1;
    struct wanted w = {seq, at};
    r = each_in_row(&rows, 0, pick, &w);
    return r < 0 ? r : !r; /* pick's 1 means found */
}

int audit_load(struct vault *v)
{
    struct audit_book *a = &v->audit;
    _cleanup_buf_ struct buf rows = BUF_INIT(2 * TURN_MAX);
    uint64_t first, last = 0;
    a->head = (struct audit_point){0};
    int r = read_row(v, STORE_AUDIT_LAST, 0, &rows, &first, &last);
    if (r < 0)
        return r;
    if (r == 1) {
        struct wanted w = {last, &a->head};
        r = each_in_row(&rows, 0, pick, &w);
        if (r <= 0)
            return r < 0 ? r : -EBADMSG;
    }
    a->tip = a->head;
    a->durable = 0; /* whoever ran before us may have been killed before the disk had it */
    return audit_load_saved(v);
}

void audit_forget(struct vault *v)
{
    struct audit_book *a = &v->audit;
    audit_export_close(v); /* keeps the path: it is opened again after unsealing */
    a->head = a->tip = a->out = a->saved = (struct audit_point){0};
    a->durable = 0;
    buf_reset(&a->lines);
    buf_clear(&a->fresh);
}

int audit_head(struct vault *v, uint64_t *seq, uint8_t mac[VAULT_HASH_LEN])
{
    if (!v->ring)
        return -EACCES;
    *seq = v->audit.head.seq;
    memcpy(mac, v->audit.head.mac, VAULT_HASH_LEN);
    return 0;
}

/* --- Headers --------------------------------------------------------------------------------- */

#define HEADER_START "{\"audit\":\"countersign\","

bool audit_is_header(const char *line, size_t n)
{
    return starts_with(line, line + n, HEADER_START);
}

void audit_put_header(const struct vault *v, const struct audit_point *at, struct buf *out)
{
    char hex[AUDIT_MAC_HEX + 1];
    encode_hex(at->mac, VAULT_HASH_LEN, hex);
    buf_putf(out, HEADER_START "\"instance\":\"%s\",\"after\":%" PRIu64 ",\"mac\":\"%s\"}\n",
             v->instance, at->seq, hex);
}

int audit_parse_header(const struct vault *v, const char *line, size_t n, struct audit_point *at)
{
    /* It must be, byte for byte, what audit_put_header() makes of what it says. */
    const char *end = line + n, *p = line;
    _cleanup_buf_ struct buf want = BUF_INIT(512);
    buf_putf(&want, HEADER_START "\"instance\":\"%s\",\"after\":", v->instance);
    if (buf_error(&want) < 0)
        return buf_error(&want);
    if (!starts_with(p, end, buf_str(&want)))
        return AUDIT_E_BROKEN;
    p += want.len;
    if (!parse_number(&p, end, &at->seq) || (size_t)(end - p) != MAC_LEN ||
        !parse_mac(p + strlen(MAC_KEY), at->mac))
        return AUDIT_E_BROKEN;
    buf_reset(&want);
    audit_put_header(v, at, &want);
    if (buf_error(&want) < 0)
        return buf_error(&want);
    return want.len == n + 1 && memcmp(want.data, line, n) == 0 ? 0 : AUDIT_E_BROKEN;
}

/* --- Checking -------------------------------------------------------------------------------- */

static int broken(char *why, size_t whylen, uint64_t seq, const char *what)
{
    snprintf(why, whylen, "seq %" PRIu64 ": %s", seq, what);
    return AUDIT_E_BROKEN;
}

static int check_header(struct vault *v, struct audit_chain *chain, const char *line, size_t n,
                        char *why, size_t whylen)
{
    struct audit_point at;
    int r = audit_parse_header(v, line, n, &at);
    if (r < 0)
        return r;
    if (r)
        return broken(why, whylen, chain->seq + 1,
                      "the header line in front of it was changed or is another store's");
    if (chain->started && (at.seq != chain->seq ||
                           !mem_equal(at.mac, sizeof(at.mac), chain->mac, sizeof(chain->mac)))) {
        snprintf(why, whylen,
                 "seq %" PRIu64 ": a header line goes on behind seq %" PRIu64
                 " where the chain stands at %" PRIu64 ": lines are missing, doubled or changed",
                 chain->seq + 1, at.seq, chain->seq);
        return AUDIT_E_BROKEN;
    }
    *chain = (struct audit_chain){.started = true, .seq = at.seq};
    memcpy(chain->mac, at.mac, VAULT_HASH_LEN);
    return 0;
}

int audit_check(struct vault *v, struct audit_chain *chain, const char *line, size_t n, char *why,
                size_t whylen)
{
    if (whylen)
        *why = '\0';
    if (!v->ring)
        return -EACCES;
    if (audit_is_header(line, n))
        return check_header(v, chain, line, n, why, whylen);
    struct audit_point prev = {.seq = chain->started ? chain->seq : 0}, at;
    if (chain->started)
        memcpy(prev.mac, chain->mac, VAULT_HASH_LEN);
    uint64_t want = prev.seq + 1;
    size_t covered;
    if (!audit_parse(line, n, &at, &covered))
        return broken(why, whylen, want, "the line is torn or was changed (it can't be read)");
    if (at.seq != want) {
        snprintf(why, whylen,
                 "seq %" PRIu64 ": found seq %" PRIu64
                 " in its place: a line is missing, moved or changed, or there is no header",
                 want, at.seq);
        return AUDIT_E_BROKEN;
    }
    if (!mac_fits(v, &prev, line, covered, &at))
        return broken(why, whylen, want, "the line was changed (its mac does not fit)");
    *chain = (struct audit_chain){.started = true, .seq = at.seq};
    memcpy(chain->mac, at.mac, VAULT_HASH_LEN);
    return 0;
}
