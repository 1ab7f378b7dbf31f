/* A store's file that was changed from outside, opened by vault_open().
 *
 * First byte: 0 a good store, patched at places the input names; 1 the input itself; 2 a good store
 * with the input as its write-ahead log. A patch is an offset (3 bytes), a length (1 byte) and as
 * many bytes. Promised: opening, unsealing and reading all of it ends, without harm; what was
 * changed is not believed (each value that is read is one that was written). */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "fuzz/whole.h"
#include "vault/entry.h"
#include "vault/inner.h"

#define STORE_MAX (1 << 20)

static uint8_t good[STORE_MAX];
static size_t good_len;

static void load_good(void)
{
    if (good_len)
        return;
    (void)whole_agent();
    FILE *f = fopen(whole_store(), "re");
    PROMISE(f);
    good_len = fread(good, 1, sizeof(good), f);
    fclose(f);
    PROMISE(good_len > 4096 && good_len < sizeof(good));
}

static void write_file(const char *path, const void *p, size_t n)
{
    FILE *f = fopen(path, "we");
    PROMISE(f && fwrite(p, 1, n, f) == n && fclose(f) == 0);
}

static void patch(uint8_t *store, const uint8_t *p, size_t n)
{
    while (n > 4) {
        size_t at = ((size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16) % good_len;
        size_t len = p[3];
        p += 4;
        n -= 4;
        len = len < n ? len : n;
        len = len < good_len - at ? len : good_len - at;
        memcpy(store + at, p, len);
        p += len;
        n -= len;
    }
}

static int ignore_record(const struct record *r, void *data)
{
    (void)data;
    PROMISE(r->id && strlen(r->id) <= RECORD_ID_MAX);
    return 0;
}

static int ignore_name(const char *name, void *data)
{
    (void)name, (void)data;
    return 0;
}

static int ignore_line(const char *line, size_t n, const struct audit_point *at, void *data)
{
    (void)at, (void)data;
    PROMISE(n > 0 && line[n - 1] == '\n');
    return 0;
}

static void read_all(struct vault *v)
{
    _cleanup_buf_ struct buf value = BUF_INIT(ENTRY_VALUE_MAX);
    int64_t n;
    for (unsigned t = 0; t < RECORD_TABLES; t++) {
        (void)record_count(v, t, &n);
        (void)record_next_due(v, t, &n);
        (void)record_each(v, t, 0, ignore_record, NULL);
        (void)record_pass(v, t, 0, ignore_record, NULL, NULL);
        (void)record_pass_due(v, t, INT64_MAX, 0, ignore_record, NULL, NULL);
    }
    (void)entry_list(v, "policy", "", NULL, 0, ignore_name, NULL);
    if (entry_get(v, "policy", "p", &value) == 0)
        PROMISE(strcmp(buf_str(&value), "path \"kv1/*\" { capabilities = [\"read\"] }") == 0);
    (void)entry_delete_tree(v, "mount", "");
    (void)audit_each_line(v, 0, ignore_line, NULL);
    if (vault_begin(v) == 0) {
        _cleanup_json_ json_t *line = json_pack("{s:s}", "what", "fuzz");
        (void)audit_append(v, "request", line);
        (void)entry_put(v, "policy", "q", "x", 1);
        (void)vault_commit(v);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static uint8_t bad[STORE_MAX];
    char path[128], wal[140], why[256] = "";
    struct vault *v = NULL;
    if (n < 1)
        return 0;
    load_good();
    (void)snprintf(path, sizeof(path), "%s/bad.db", whole_folder());
    (void)snprintf(wal, sizeof(wal), "%s-wal", path);
    (void)unlink(wal);
    memcpy(bad, good, good_len);
    if (p[0] % 3 == 0)
        patch(bad, p + 1, n - 1);
    if (p[0] % 3 == 1)
        write_file(path, p + 1, n - 1);
    else
        write_file(path, bad, good_len);
    if (p[0] % 3 == 2)
        write_file(wal, p + 1, n - 1);
    int r = vault_open(path, &v, why, sizeof(why));
    PROMISE(r == 0 || (r < 0 && why[0] && !v));
    if (r == 0 && vault_state(v) == VAULT_SEALED && vault_unseal(v, whole_key()) == 0)
        read_all(v);
    vault_close(v);
    return 0;
}
