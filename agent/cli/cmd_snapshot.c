/* operator snapshot save, restore, inspect. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <countersign/api.h>

#include "base/encode.h"
#include "cli/families.h"
#include "cli/keyfile.h"
#include "cli/prompt.h"
#include "cli/show.h"

#define MAGIC "CSsnap1\n"
#define HEAD_FIXED 12 /* the magic and the length of what follows */
#define HEAD_MAX 4096
#define STREAM_HEADER 24
#define PROGRESS_FROM (8 * 1024 * 1024)

/* --- Progress
 * ----------------------------------------------------------------------------
 */

struct progress {
    int64_t all, done;
    bool shown;
    const char *verb;
};

static void advance(struct progress *p, size_t n)
{
    p->done += (int64_t)n;
    if (p->all < PROGRESS_FROM || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r%s %3d %%", p->verb,
            (int)(p->done >= p->all ? 100 : p->done * 100 / p->all));
    p->shown = true;
}

static void end_progress(const struct progress *p)
{
    if (p->shown)
        fputc('\n', stderr);
}

/* --- The file that is being written
 * ----------------------------------------------------------------
 */

struct saved {
    const char *path; /* "-": standard output */
    char *partial;    /* what it is called until it is whole */
    int fd;
    int64_t bytes;
    crypto_hash_sha256_state sum;
};

static void saved_clear(struct saved *f)
{
    if (f->fd > STDERR_FILENO)
        close(f->fd);
    if (f->partial)
        (void)unlink(f->partial);
    free(f->partial);
    *f = (struct saved){.fd = -1};
}

static int refuse_file(const char *path, const char *why)
{
    output_error("%s: %s. Nothing was saved.", path, why);
    return EXIT_CODE_LOCAL;
}

static int open_saved(struct saved *f, const char *path)
{
    *f = (struct saved){.path = path, .fd = STDOUT_FILENO};
    crypto_hash_sha256_init(&f->sum);
    if (strcmp(path, "-") == 0) {
        if (isatty(STDOUT_FILENO))
            return refuse_file("standard output", "a snapshot is not for a terminal: name a file");
        return EXIT_CODE_OK;
    }
    if (access(path, F_OK) == 0)
        return refuse_file(path, "is there already; choose another name");
    if (asprintf(&f->partial, "%s.partial", path) < 0) {
        f->partial = NULL;
        return call_no_memory();
    }
    f->fd = open(f->partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->fd >= 0)
        return EXIT_CODE_OK;
    int e = errno, code = refuse_file(f->partial, strerror(e));
    free(f->partial);
    f->partial = NULL;
    return code;
}

static int append(struct saved *f, const uint8_t *p, size_t n)
{
    crypto_hash_sha256_update(&f->sum, p, n);
    for (size_t done = 0; done < n;) {
        ssize_t put = write(f->fd, p + done, n - done);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return put < 0 ? -errno : -EIO;
        done += (size_t)put;
    }
    f->bytes += (int64_t)n;
    return 0;
}

static int sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    _cleanup_(freep) char *folder =
        slash ? mem_dup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, r;

    if (fd < 0)
        return folder ? -errno : -ENOMEM;
    r = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return r;
}

/* Under its name only when all of it is on the disk; never over another file. */
static int settle(struct saved *f)
{
    if (!f->partial)
        return 0;
    if (fsync(f->fd) < 0)
        return -errno;
    if (renameat2(AT_FDCWD, f->partial, AT_FDCWD, f->path, RENAME_NOREPLACE) < 0)
        return -errno;
    free(f->partial);
    f->partial = NULL;
    return sync_folder_of(f->path);
}

/* --- save
 * ------------------------------------------------------------------------------------------
 */

/* A member in base64, into the file. */
static int append_member(struct saved *f, const json_t *answer, const char *key)
{
    const char *text = json_string_value(json_object_get(answer, key));
    size_t room = text ? strlen(text) / 4 * 3 + 3 : 1, n = 0;
    _cleanup_(freep) uint8_t *raw = malloc(room);
    int e = raw ? 0 : -ENOMEM;

    if (e == 0)
        e = text ? encode_from_base64(text, raw, room, &n) : -EBADMSG;
    return e < 0 ? e : append(f, raw, n);
}

static int not_saved(const struct saved *f, int error)
{
    output_error("%s could not be written: %s. Nothing was saved.", f->path, strerror(-error));
    return EXIT_CODE_LOCAL;
}

static int fetch(struct cli *c, struct saved *f, const char *id, struct progress *p)
{
    _cleanup_json_ json_t *body = json_pack("{s:s}", "id", id);
    _cleanup_reply_ struct reply r = {0};

    if (!body)
        return call_no_memory();
    for (bool last = false; !last;) {
        int64_t before = f->bytes;
        int code = call(c, "PUT", "sys/snapshot/read", NULL, body, &r);
        int e = code == EXIT_CODE_OK ? append_member(f, reply_data(&r), "data") : 0;

        if (code != EXIT_CODE_OK)
            return code;
        if (e < 0) {
            (void)call_quietly(c, "DELETE", "sys/snapshot", NULL, &r);
            return not_saved(f, e);
        }
        last = !json_is_false(json_object_get(reply_data(&r), "last"));
        advance(p, (size_t)(f->bytes - before));
    }
    return EXIT_CODE_OK;
}

static int show_saved(struct cli *c, struct saved *f)
{
    uint8_t sum[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof(sum) + 1], size[32];

    crypto_hash_sha256_final(&f->sum, sum);
    encode_hex(sum, sizeof(sum), hex);
    if (strcmp(f->path, "-") == 0)
        return EXIT_CODE_OK;
    if (c->out.format == OUTPUT_JSON) {
        _cleanup_json_ json_t *o = json_pack("{s:s, s:I, s:s}", "file", f->path, "bytes",
                                             (json_int_t)f->bytes, "sha256", hex);

        return o && output_json(o) == 0 ? EXIT_CODE_OK : call_no_memory();
    }
    output_size(f->bytes, size, sizeof(size));
    printf("Saved %s (%s)\nSHA-256 %s\n\n"
           "The recovery shares that are good now open it, and nothing else does. Keep it on "
           "another host.\n",
           f->path, size, hex);
    return EXIT_CODE_OK;
}

static int run_save(struct cli *c)
{
    _cleanup_(saved_clear) struct saved f = {.fd = -1};
    _cleanup_reply_ struct reply r = {0};
    int code = open_saved(&f, args_pos(&c->args, 0)), e;

    if (code == EXIT_CODE_OK)
        code = call(c, "PUT", "sys/snapshot", NULL, NULL, &r);
    if (code != EXIT_CODE_OK)
        return code;
    struct progress p = {.all = json_int(reply_data(&r), "bytes", 0), .verb = "Saving"};
    _cleanup_(freep) char *id = strdup(json_str_or(reply_data(&r), "id", ""));
    e = append_member(&f, reply_data(&r), "head");
    if (e < 0 || !id)
        return not_saved(&f, e < 0 ? e : -ENOMEM);
    code = fetch(c, &f, id, &p);
    end_progress(&p);
    if (code != EXIT_CODE_OK)
        return code;
    e = settle(&f);
    return e < 0 ? not_saved(&f, e) : show_saved(c, &f);
}

/* --- Reading a file
 * --------------------------------------------------------------------------------
 */

struct opened {
    const char *path;
    int fd;
    int64_t bytes;
    struct buf head; /* all before the first piece */
    json_t *about;   /* what its head says */
};

static void opened_clear(struct opened *f)
{
    if (f->fd >= 0)
        close(f->fd);
    buf_clear(&f->head);
    json_decref(f->about);
}

static int read_some(int fd, uint8_t *p, size_t n, size_t *got)
{
    for (*got = 0; *got < n;) {
        ssize_t r = read(fd, p + *got, n - *got);

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0)
            break;
        *got += (size_t)r;
    }
    return 0;
}

/* n more bytes of the head, or -EBADMSG. */
static int more_head(struct opened *f, size_t n)
{
    uint8_t *p = buf_extend(&f->head, n);
    size_t got;
    int r = p ? read_some(f->fd, p, n, &got) : buf_error(&f->head);

    return r < 0 ? r : got == n ? 0 : -EBADMSG;
}

static int read_head(struct opened *f)
{
    char why[128];
    uint32_t n = 0;
    int r = more_head(f, HEAD_FIXED);
    struct span s = {f->head.data + strlen(MAGIC), 4};

    if (r == 0 && memcmp(f->head.data, MAGIC, strlen(MAGIC)) != 0)
        r = -EBADMSG;
    if (r == 0 && (span_u32(&s, &n) < 0 || n > HEAD_MAX))
        r = -EBADMSG;
    if (r == 0)
        r = more_head(f, n + STREAM_HEADER);
    if (r == 0)
        r = json_parse((const char *)f->head.data + HEAD_FIXED, n, &f->about, why, sizeof(why));
    return r == 0 && !json_is_object(f->about) ? -EBADMSG : r;
}

static int open_file(struct opened *f, const char *path)
{
    struct stat st;

    *f = (struct opened){
        .path = path, .head = BUF_INIT(HEAD_FIXED + HEAD_MAX + STREAM_HEADER), .fd = -1};
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (f->fd < 0 || fstat(f->fd, &st) < 0) {
        output_error("%s: %s", path, strerror(errno));
        return EXIT_CODE_LOCAL;
    }
    f->bytes = st.st_size;
    int r = read_head(f);
    if (r == 0)
        return EXIT_CODE_OK;
    output_error("%s: %s", path,
                 r == -EBADMSG ? "this is no snapshot of a Countersign store, or it was cut short"
                               : strerror(-r));
    return EXIT_CODE_LOCAL;
}

static void print_about(const struct opened *f, FILE *to)
{
    static const struct {
        const char *label, *key;
    } rows[] = {{"Made", "made"},
                {"On host", "host"},
                {"Instance", "instance"},
                {"Audit record", "generation"},
                {"Program", "program"}};
    char size[32];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        _cleanup_buf_ struct buf raw = BUF_INIT(4096), clean = BUF_INIT(8192);

        output_value(&raw, json_object_get(f->about, rows[i].key));
        output_clean(&clean, buf_str(&raw));
        fprintf(to, "  %-14s %s\n", rows[i].label, buf_str(&clean));
    }
    output_size(f->bytes, size, sizeof(size));
    fprintf(to, "  %-14s %s\n  %-14s %d of %d recovery shares\n", "Size", size, "Opened by",
            (int)json_int(f->about, "threshold", 0), (int)json_int(f->about, "shares", 0));
}

static int run_inspect(struct cli *c)
{
    _cleanup_(opened_clear) struct opened f = {.fd = -1};
    int code = open_file(&f, args_pos(&c->args, 0));

    if (code != EXIT_CODE_OK)
        return code;
    if (c->out.format == OUTPUT_JSON)
        return output_json(f.about) == 0 ? EXIT_CODE_OK : call_no_memory();
    print_about(&f, stdout);
    printf("\nNothing of this is proved before it is opened with the shares.\n");
    return EXIT_CODE_OK;
}

/* --- restore
 * ---------------------------------------------------------------------------------------
 */

static int begin(struct cli *c, const struct opened *f, char **id)
{
    _cleanup_buf_ struct buf text = BUF_INIT(64 * 1024);
    _cleanup_reply_ struct reply r = {0};

    encode_base64(&text, f->head.data, f->head.len);
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:b}", "head", buf_str(&text), "force", args_bool(&c->args, "force"));
    int code = body && buf_error(&text) == 0 ? call(c, "PUT", "sys/restore", NULL, body, &r)
                                             : call_no_memory();
    if (code != EXIT_CODE_OK)
        return code;
    *id = strdup(json_str_or(reply_data(&r), "id", ""));
    return *id ? EXIT_CODE_OK : call_no_memory();
}

#define MISTAKES_MAX 3

static int give_share(struct cli *c, const char *id, struct reply *r)
{
    _cleanup_secret_ char *share = NULL;
    int e = prompt_line("Recovery share (hidden): ", true, &share);

    if (e != 0 || !share[0]) {
        output_error("stopped; nothing was restored");
        return EXIT_CODE_LOCAL;
    }
    share[strcspn(share, " \t")] = '\0';
    _cleanup_json_ json_t *body = json_pack("{s:s, s:s}", "id", id, "key", share);
    return body ? call(c, "PUT", "sys/restore/share", NULL, body, r) : call_no_memory();
}

static int give_shares(struct cli *c, const char *id, int64_t threshold)
{
    _cleanup_reply_ struct reply r = {0};
    int mistakes = 0;
    int64_t given = 0;

    for (;;) {
        output_note("%" PRId64 "/%" PRId64 " recovery shares given.", given, threshold);
        int code = give_share(c, id, &r);

        if (code == EXIT_CODE_REFUSED && r.status == 400 && prompt_is_terminal() &&
            ++mistakes < MISTAKES_MAX) {
            output_note("Try again.");
            given = given + 1 >= threshold ? 0 : given;
            continue;
        }
        if (code != EXIT_CODE_OK)
            return code;
        if (json_is_true(json_object_get(reply_data(&r), "opened")))
            return EXIT_CODE_OK;
        given = json_int(reply_data(&r), "progress", 0);
    }
}

static int send_piece(struct cli *c, const char *id, const uint8_t *p, size_t n)
{
    _cleanup_buf_ struct buf text = BUF_INIT(2 * API_SNAPSHOT_BATCH);
    _cleanup_reply_ struct reply r = {0};

    encode_base64(&text, p, n);
    _cleanup_json_ json_t *body = json_pack("{s:s, s:s}", "id", id, "data", buf_str(&text));
    if (!body || buf_error(&text) < 0)
        return call_no_memory();
    return call(c, "PUT", "sys/restore/data", NULL, body, &r);
}

static int send_all(struct cli *c, const struct opened *f, const char *id)
{
    struct progress p = {.all = f->bytes, .verb = "Restoring"};
    _cleanup_(freep) uint8_t *piece = malloc(API_SNAPSHOT_BATCH);
    int code = piece ? EXIT_CODE_OK : call_no_memory();
    size_t n = 1;

    while (code == EXIT_CODE_OK && n > 0) {
        int e = read_some(f->fd, piece, API_SNAPSHOT_BATCH, &n);

        if (e < 0) {
            output_error("%s: %s. Nothing was restored.", f->path, strerror(-e));
            code = EXIT_CODE_LOCAL;
        } else if (n > 0) {
            code = send_piece(c, id, piece, n);
            advance(&p, n);
        }
    }
    end_progress(&p);
    return code;
}

static int print_restored(struct cli *c, const json_t *answer, const struct keyfile *k, bool stored)
{
    const char *aside = json_str_or(answer, "aside", "");

    if (c->out.format == OUTPUT_JSON) {
        _cleanup_json_ json_t *copy = json_deep_copy(answer);

        if (stored)
            json_object_del(copy, "unseal_key");
        if (!copy || (stored && json_set_str(copy, "unseal_key_file", k->path) < 0))
            return call_no_memory();
        return output_json(copy) == 0 ? EXIT_CODE_OK : call_no_memory();
    }
    printf("Restored: the store of instance %s.\n", json_str_or(answer, "instance", "?"));
    if (stored)
        printf("This host has an unseal key of its own now, in %s\n", k->path);
    if (aside[0])
        printf("The store that was here is kept in %s (remove it when nobody needs it).\n", aside);
    printf("\nIt is held: logins and reads work, leases are listed, but nothing is made, revoked "
           "or swept,\nsince the host that the snapshot came from may still be at work. When that "
           "one has stopped:\n  countersign operator accept-rollback\n");
    return EXIT_CODE_OK;
}

static int finish(struct cli *c, struct keyfile *k)
{
    _cleanup_reply_ struct reply r = {0};
    char why[512] = "the agent sent none";
    int code = call(c, "PUT", "sys/restore/finish", NULL, NULL, &r);
    const char *key;
    bool stored;

    if (code != EXIT_CODE_OK)
        return code;
    key = json_str(reply_data(&r), "unseal_key");
    if (json_is_null(json_object_get(reply_data(&r), "unseal_key"))) {
        code = print_restored(c, reply_data(&r), k, false);
        output_note("It is sealed by its shares: countersign operator unseal");
        return code;
    }
    stored = key && keyfile_store(k, key, why, sizeof(why)) == 0;
    code = print_restored(c, reply_data(&r), k, stored);
    if (stored)
        return code;
    output_error("the store is restored, but its unseal key could not be kept: %s\n"
                 "After a restart open it with the recovery shares: countersign operator unseal",
                 why);
    return EXIT_CODE_LOCAL;
}

static int run_restore(struct cli *c)
{
    _cleanup_(opened_clear) struct opened f = {.fd = -1};
    _cleanup_(keyfile_clear) struct keyfile k = {0};
    _cleanup_(freep) char *id = NULL;
    _cleanup_reply_ struct reply r = {0};
    char why[512];
    int code = open_file(&f, args_pos(&c->args, 0));

    if (code != EXIT_CODE_OK)
        return code;
    if (keyfile_prepare(&k, args_str(&c->args, "unseal-key-file"), c->address, why, sizeof(why)) <
        0) {
        output_error("the new unseal key could not be kept: %s", why);
        output_note("Nothing was restored. Choose another place with -unseal-key-file=FILE.");
        return EXIT_CODE_LOCAL;
    }
    code = begin(c, &f, &id);
    if (code != EXIT_CODE_OK)
        return code;
    print_about(&f, stderr);
    code = give_shares(c, id, json_int(f.about, "threshold", 1));
    if (code == EXIT_CODE_OK)
        code = send_all(c, &f, id);
    if (code == EXIT_CODE_OK)
        return finish(c, &k);
    (void)call_quietly(c, "DELETE", "sys/restore", NULL, &r);
    return code;
}

static const struct flag restore_flags[] = {
    {"force", FLAG_BOOL, NULL, "Put the store that is there aside"},
    {"unseal-key-file", FLAG_STRING, "FILE",
     "Keep the new unseal key in this new file instead of " API_CREDENTIAL_FILE},
    {NULL, FLAG_BOOL, NULL, NULL},
};

const struct command cmd_snapshot_rows[] = {
    {.name = "operator snapshot save",
     .args = "FILE",
     .purpose = "Save an encrypted copy of the whole store, while it is in use",
     .details = "FILE (\"-\": standard output) must be new; it is there under its name only once "
                "it is whole.\n"
                "The recovery shares open it on any host.",
     .example = "sudo countersign operator snapshot save /root/countersign-$(date +%F).snap",
     .min_args = 1,
     .max_args = 1,
     .run = run_save},
    {.name = "operator snapshot restore",
     .args = "FILE",
     .purpose = "Put a snapshot in the place of this host's store, with the recovery shares",
     .details =
         "Asks for the recovery shares, hidden; from a pipe, one a line. The host gets an unseal\n"
         "key of its own. Nothing is made, revoked or swept until \"operator accept-rollback\".",
     .example = "sudo countersign operator snapshot restore /root/countersign-2026-11-22.snap",
     .flags = restore_flags,
     .min_args = 1,
     .max_args = 1,
     .run = run_restore},
    {.name = "operator snapshot inspect",
     .args = "FILE",
     .purpose = "What a snapshot says of itself; needs no shares",
     .example = "countersign operator snapshot inspect /root/countersign-2026-11-22.snap",
     .min_args = 1,
     .max_args = 1,
     .run = run_inspect},
    {.name = NULL},
};
