#include "cli/applyplan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/applypam.h"
#include "cli/prompt.h"

#define PASSWORD_MAX 1024
#define CHECK "check=true"

void applyplan_clear(struct applyplan *p)
{
    applyset_clear(&p->set);
    json_decref(p->problems);
    json_decref(p->warnings);
    json_decref(p->names);
    json_decref(p->mounts);
}

bool applyplan_differs(const struct applyplan *p)
{
    for (size_t i = 0; i < p->set.n; i++)
        if (p->set.item[i].change != APPLY_NONE)
            return true;
    return false;
}

static int problem(struct applyplan *p, const char *where, const char *fmt, ...) _printf_(3, 4);
static int problem(struct applyplan *p, const char *where, const char *fmt, ...)
{
    char text[2048];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return json_array_append_new(p->problems, json_sprintf("%s: %s", where, text)) < 0
               ? call_no_memory()
               : EXIT_CODE_OK;
}

static const char *where(const struct apply_item *i)
{
    return i->file ? i->file : i->name;
}

/* --- Asking the agent
 * ---------------------------------------------------------------------------- */

static bool succeeded(const struct reply *r)
{
    return r->status >= 200 && r->status <= 299;
}

/* A refusal becomes a problem of the item. */
static int refused(struct applyplan *p, const struct apply_item *i, const struct reply *r)
{
    _cleanup_buf_ struct buf why = BUF_INIT(64 * 1024);

    call_reason(r, &why);
    return problem(p, where(i), "%s", why.len > 0 ? buf_str(&why) : "the agent refused it");
}

static int keep_warnings(struct applyplan *p, const struct apply_item *i, const struct reply *r)
{
    const json_t *list = json_object_get(r->json, "warnings"), *one;
    size_t k;

    json_array_foreach(list, k, one)
    {
        if (json_array_append_new(p->warnings,
                                  json_sprintf("%s: %s", where(i), json_string_value(one))) < 0)
            return call_no_memory();
    }
    return EXIT_CODE_OK;
}

static enum apply_change change_of(const struct reply *r)
{
    static const struct {
        const char *name;
        enum apply_change change;
    } rows[] = {{"none", APPLY_NONE},
                {"create", APPLY_CREATE},
                {"update", APPLY_UPDATE},
                {"delete", APPLY_DELETE}};
    const char *change = json_str_or(reply_data(r), "change", "");

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].name, change) == 0)
            return rows[i].change;
    return APPLY_UPDATE;
}

/* Sends it, in earnest or not. *r has the answer; EXIT_CODE_OK whatever that is. */
static int send(struct applyplan *p, const struct apply_item *i, const char *method,
                const char *rest, const json_t *body, bool check, struct reply *r)
{
    _cleanup_secret_ char *path = applyset_path(i);
    _cleanup_buf_ struct buf full = BUF_INIT(8192);

    buf_puts(&full, path ? path : "");
    buf_puts(&full, rest);
    if (!path || buf_error(&full) < 0)
        return call_no_memory();
    return call_any(p->c, method, buf_str(&full), check ? CHECK : NULL, body, r);
}

/* --- Passwords: outside of the folder, and only for as long as they are sent
 * ------------------------------- */

static int read_password(const char *path, struct buf *text, const char **fault)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), e = 0;
    struct stat st;

    *fault = NULL;
    if (fd < 0)
        *fault = strerror(errno);
    else if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        *fault = "it is no plain file";
    else if (st.st_mode & (S_IRWXO | S_IWGRP))
        *fault = "others may read or change it: chmod 0600";
    else
        e = prompt_read_all(fd, PASSWORD_MAX, text);
    if (e < 0 && e != -ENOMEM)
        *fault = strerror(-e);
    if (fd >= 0)
        close(fd);
    return e == -ENOMEM ? e : 0;
}

static void cut_line_end(struct buf *text)
{
    while (text->len > 0 && strchr("\r\n", text->data[text->len - 1]))
        text->data[--text->len] = '\0';
}

/* What is sent for the item, a new object; NULL with a problem noted, or (*code) on lack of memory.
 */
static json_t *body_of(struct applyplan *p, const struct apply_item *i, int *code)
{
    const char *file = i->kind == APPLY_CONFIG ? json_str(i->body, "password_file") : NULL, *fault;
    _cleanup_buf_ struct buf text = BUF_INIT(PASSWORD_MAX);
    _cleanup_json_ json_t *body = json_copy(i->body);

    *code = EXIT_CODE_OK;
    if (!body || (file && read_password(file, &text, &fault) < 0)) {
        *code = call_no_memory();
        return NULL;
    }
    if (!file)
        return json_incref(body);
    cut_line_end(&text);
    if (!fault && text.len == 0)
        fault = "it is empty";
    if (!fault && json_set_str(body, "password", buf_str(&text)) < 0)
        fault = "it is not UTF-8";
    if (fault) {
        *code = problem(p, where(i), "password_file %s: %s", file, fault);
        return NULL;
    }
    (void)json_object_del(body, "password_file");
    return json_incref(body);
}

/* --- Mounts: made once, tuned afterwards
 * ------------------------------------------------------------- */

static const json_t *mount_there(const struct applyplan *p, const char *name)
{
    char key[300];

    (void)snprintf(key, sizeof(key), "%.290s/", name);
    return json_object_get(p->mounts, key);
}

/* What tuning takes; what the file doesn't say is the default. */
static json_t *tune_body(const struct apply_item *i)
{
    const json_t *config = json_object_get(i->body, "config");

    return json_pack("{s:s, s:I, s:I, s:O*}", "description",
                     json_str_or(i->body, "description", ""), "default_lease_ttl",
                     (json_int_t)json_int(config, "default_lease_ttl", 0), "max_lease_ttl",
                     (json_int_t)json_int(config, "max_lease_ttl", 0), "options",
                     json_object_get(i->body, "options"));
}

/* "kv-v2" is kv with options. */
static bool same_type(const char *wanted, const json_t *there)
{
    const char *type = json_str_or(there, "type", "");
    const char *version = json_str_or(json_object_get(there, "options"), "version", "1");

    if (strcmp(wanted, "kv-v1") == 0 || strcmp(wanted, "kv-v2") == 0)
        return strcmp(type, "kv") == 0 && version[0] == wanted[4];
    return strcmp(wanted, type) == 0;
}

static int send_mount(struct applyplan *p, struct apply_item *i, bool check, struct reply *r)
{
    const json_t *there = mount_there(p, i->name);
    const char *type = json_str_or(i->body, "type", "");
    _cleanup_json_ json_t *tune = NULL;

    if (!there)
        return send(p, i, "PUT", "", i->body, check, r);
    if (!same_type(type, there)) {
        r->status = 400;
        return problem(p, where(i),
                       "a mount of another type (%s) is there: move or disable that one",
                       json_str_or(there, "type", "?"));
    }
    tune = tune_body(i);
    return tune ? send(p, i, "PUT", "/tune", tune, check, r) : call_no_memory();
}

/* Whether what belongs to this mount can be asked about; else it is yet to be made. */
static bool mount_ready(struct applyplan *p, struct apply_item *i, int *code)
{
    const json_t *there = i->mount ? mount_there(p, i->mount) : NULL;
    const struct apply_item *made = i->mount ? applyset_find(&p->set, APPLY_MOUNT, i->mount) : NULL;
    const char *type = there  ? json_str_or(there, "type", "")
                       : made ? json_str_or(made->body, "type", "")
                              : NULL;

    *code = EXIT_CODE_OK;
    if (!i->mount)
        return true;
    if (!type || strcmp(type, "database") != 0) {
        *code = problem(p, where(i), "there is no database engine at %s/: say so in mounts/%s.json",
                        i->mount, i->mount);
        return false;
    }
    i->unchecked = there == NULL;
    if (i->unchecked)
        i->change = APPLY_CREATE;
    return there != NULL;
}

/* --- Making the plan
 * ----------------------------------------------------------------------------- */

/* Sends an item, in earnest or not. Only where r->status is a success was it taken. */
static int send_item(struct applyplan *p, struct apply_item *i, bool check, struct reply *r)
{
    _cleanup_json_ json_t *body = NULL;
    int code;

    if (i->kind == APPLY_MOUNT)
        return send_mount(p, i, check, r);
    body = body_of(p, i, &code);
    r->status = 400; /* until it is answered */
    return body ? send(p, i, "PUT", "", body, check, r) : code;
}

static int check_item(struct applyplan *p, struct apply_item *i)
{
    _cleanup_reply_ struct reply r = {0};
    size_t before = json_array_size(p->problems);
    int code = send_item(p, i, true, &r);

    if (code != EXIT_CODE_OK)
        return code;
    if (!succeeded(&r))
        return json_array_size(p->problems) > before ? EXIT_CODE_OK : refused(p, i, &r);
    i->change = change_of(&r);
    if (i->kind == APPLY_MOUNT && i->change == APPLY_UPDATE && !mount_there(p, i->name))
        i->change = APPLY_CREATE;
    return i->change == APPLY_NONE ? EXIT_CODE_OK : keep_warnings(p, i, &r);
}

static int check_items(struct applyplan *p)
{
    for (size_t i = 0; i < p->set.n; i++) {
        int code;

        if (p->set.item[i].kind == APPLY_PAM || !mount_ready(p, &p->set.item[i], &code))
            continue;
        code = check_item(p, &p->set.item[i]);
        if (code != EXIT_CODE_OK)
            return code;
    }
    return applypam_check(p) < 0 ? call_no_memory() : EXIT_CODE_OK;
}

static enum apply_kind kind_of_list(const char *list, const char *name)
{
    if (strcmp(list, "database") == 0)
        return strstr(name, "/config/") ? APPLY_CONFIG : APPLY_ROLE;
    for (enum apply_kind k = 0; k < APPLY_KINDS; k++)
        if (applyset_list(k) && strcmp(applyset_list(k), list) == 0)
            return k;
    return APPLY_KINDS;
}

/* Whether something that an earlier apply made, and that is in no file now, is there at all. */
static int check_gone(struct applyplan *p, enum apply_kind kind, const char *name, bool *there)
{
    _cleanup_reply_ struct reply r = {0};
    struct apply_item i = {.kind = kind, .name = (char *)(uintptr_t)name};
    const char *slash = strchr(name, '/');
    char mount[300];
    int code;

    if (kind == APPLY_PAM) {
        *there = applypam_enabled(p, name);
        return EXIT_CODE_OK;
    }
    (void)snprintf(mount, sizeof(mount), "%.*s", slash ? (int)(slash - name) : 0, name);
    *there = kind == APPLY_MOUNT ? mount_there(p, name) != NULL : false;
    if (kind == APPLY_MOUNT && !*there)
        return EXIT_CODE_OK;
    if ((kind == APPLY_CONFIG || kind == APPLY_ROLE) && !mount_there(p, mount))
        return EXIT_CODE_OK;
    code = send(p, &i, "DELETE", "", NULL, true, &r);
    if (code == EXIT_CODE_OK && r.status == 404)
        return EXIT_CODE_OK;
    if (code == EXIT_CODE_OK && !succeeded(&r))
        return refused(p, &i, &r);
    *there = code == EXIT_CODE_OK && change_of(&r) != APPLY_NONE;
    return code;
}

static int find_gone(struct applyplan *p)
{
    const char *list;
    json_t *names, *name;
    size_t k;

    json_object_foreach(p->names, list, names) json_array_foreach(names, k, name)
    {
        const char *text = json_string_value(name);
        enum apply_kind kind = text ? kind_of_list(list, text) : APPLY_KINDS;
        bool there = false;
        int code;

        if (kind == APPLY_KINDS || applyset_find(&p->set, kind, text))
            continue;
        code = check_gone(p, kind, text, &there);
        if (code == EXIT_CODE_OK && there && applyset_add(&p->set, kind, text, APPLY_DELETE) < 0)
            code = call_no_memory();
        if (code != EXIT_CODE_OK)
            return code;
    }
    return EXIT_CODE_OK;
}

/* What the caller could no longer write afterwards, though they may now. */
static int preview(struct applyplan *p)
{
    _cleanup_json_ json_t *body = json_pack("{s:{}, s:{}}", "policies", "bindings");
    _cleanup_reply_ struct reply r = {0};
    const json_t *lost, *one;
    size_t k;
    bool any = false;
    int code = EXIT_CODE_OK;

    for (size_t n = 0; body && n < p->set.n; n++) {
        const struct apply_item *i = &p->set.item[n];
        json_t *value = i->kind == APPLY_POLICY ? json_object_get(i->body, "policy") : i->body;

        if (i->change == APPLY_NONE || (i->kind != APPLY_POLICY && i->kind != APPLY_BINDING))
            continue;
        any = true;
        if (json_object_set_new(json_object_get(body, applyset_list(i->kind)), i->name,
                                value ? json_incref(value) : json_null()) < 0)
            return call_no_memory();
    }
    if (!body || !any)
        return body ? EXIT_CODE_OK : call_no_memory();
    code = call(p->c, "PUT", "sys/managed/preview", NULL, body, &r);
    lost = json_object_get(reply_data(&r), "lost");
    json_array_foreach(lost, k, one)
    {
        if (code == EXIT_CODE_OK)
            code = problem(p, json_string_value(one),
                           "after this change you could not write it any more, and so not take the "
                           "change back (-force does it all the same)");
    }
    return code;
}

static int read_agent(struct applyplan *p)
{
    _cleanup_reply_ struct reply managed = {0}, mounts = {0};
    int code = call(p->c, "GET", "sys/managed", NULL, NULL, &managed);

    if (code == EXIT_CODE_OK)
        code = call(p->c, "GET", "sys/mounts", NULL, NULL, &mounts);
    if (code != EXIT_CODE_OK)
        return code;
    p->version = json_int(reply_data(&managed), "version", 0);
    p->names = json_incref(json_object_get(reply_data(&managed), "names"));
    p->mounts = json_incref((json_t *)(uintptr_t)reply_data(&mounts));
    return p->names && p->mounts ? EXIT_CODE_OK : call_no_memory();
}

int applyplan_make(struct applyplan *p)
{
    int code = read_agent(p);

    if (code == EXIT_CODE_OK)
        code = check_items(p);
    if (code == EXIT_CODE_OK && p->prune)
        code = find_gone(p);
    if (code == EXIT_CODE_OK && !p->force && json_array_size(p->problems) == 0)
        code = preview(p);
    return code;
}

/* --- Doing it
 * ------------------------------------------------------------------------------------ */

/* Names by list: what was managed before and what is in the files, without what is deleted (done).
 */
static json_t *names_now(const struct applyplan *p, bool pruned)
{
    _cleanup_json_ json_t *names = pruned ? json_object() : json_deep_copy(p->names);

    for (size_t n = 0; names && n < p->set.n; n++) {
        const struct apply_item *i = &p->set.item[n];
        const char *list = applyset_list(i->kind);
        json_t *array = list ? json_object_get(names, list) : NULL;

        if (!list || (i->change == APPLY_DELETE && (pruned && i->done)))
            continue;
        if (!array && json_object_set_new(names, list, array = json_array()) < 0)
            return NULL;
        if (!json_has_str(array, i->name) && json_array_append_new(array, json_string(i->name)) < 0)
            return NULL;
    }
    return json_incref(names);
}

/* Notes what is managed, before the first change and behind the last. Where two apply at once, one
 * of them is stopped here: the second one before it has changed anything, or the first one at its
 * end. */
static int note(struct applyplan *p, bool pruned, bool must)
{
    json_t *names = names_now(p, pruned);
    _cleanup_json_ json_t *body =
        json_pack("{s:I, s:o}", "cas", (json_int_t)p->version, "names", names);
    _cleanup_reply_ struct reply r = {0};
    int code = EXIT_CODE_OK;

    if (!body)
        code = call_no_memory();
    else if (must)
        code = call(p->c, "PUT", "sys/managed", NULL, body, &r);
    else
        (void)call_quietly(p->c, "PUT", "sys/managed", body, &r);

    if (code == EXIT_CODE_OK)
        p->version = json_int(reply_data(&r), "version", p->version + 1);
    return code;
}

/* Whether the record would change by this. */
static bool notes_more(const struct applyplan *p, bool *failed)
{
    _cleanup_json_ json_t *names = names_now(p, false);

    *failed = !names;
    return names && !json_equal(names, p->names);
}

static int do_item(struct applyplan *p, struct apply_item *i)
{
    _cleanup_reply_ struct reply r = {0};
    size_t before = json_array_size(p->problems);
    int code = i->change == APPLY_DELETE ? send(p, i, "DELETE", "", NULL, false, &r)
                                         : send_item(p, i, false, &r);

    if (code != EXIT_CODE_OK)
        return code;
    i->done = succeeded(&r);
    if (i->done)
        return EXIT_CODE_OK;
    if (json_array_size(p->problems) == before)
        code = refused(p, i, &r);
    return code ? code : EXIT_CODE_REFUSED;
}

static bool wanted(const struct apply_item *i, enum apply_kind from, enum apply_kind to)
{
    return i->kind >= from && i->kind <= to && i->kind != APPLY_PAM && i->change != APPLY_NONE &&
           i->change != APPLY_DELETE;
}

static int do_kinds(struct applyplan *p, enum apply_kind from, enum apply_kind to)
{
    int code = EXIT_CODE_OK;

    for (size_t i = 0; i < p->set.n && code == EXIT_CODE_OK; i++)
        if (wanted(&p->set.item[i], from, to))
            code = do_item(p, &p->set.item[i]);
    return code;
}

/* Empty mounts of this run go again, since what was to be in them was refused. */
static void undo_mounts(struct applyplan *p)
{
    for (size_t n = 0; n < p->set.n; n++) {
        struct apply_item *i = &p->set.item[n];
        _cleanup_reply_ struct reply r = {0};

        if (i->kind == APPLY_MOUNT && i->change == APPLY_CREATE && i->done &&
            send(p, i, "DELETE", "", NULL, false, &r) == EXIT_CODE_OK && succeeded(&r))
            i->done = false;
    }
}

/* What could not be checked before its mount was there is checked now, before anything else. */
static int check_rest(struct applyplan *p)
{
    int code = EXIT_CODE_OK;

    for (size_t n = 0; n < p->set.n && code == EXIT_CODE_OK; n++)
        if (p->set.item[n].unchecked)
            code = check_item(p, &p->set.item[n]);
    if (code == EXIT_CODE_OK && json_array_size(p->problems) > 0)
        code = EXIT_CODE_REFUSED;
    if (code != EXIT_CODE_OK)
        undo_mounts(p);
    return code;
}

static int do_deletions(struct applyplan *p)
{
    int code = applypam_execute(p, true);

    for (int kind = APPLY_BINDING; kind >= 0 && code == EXIT_CODE_OK; kind--)
        for (size_t n = 0; n < p->set.n && code == EXIT_CODE_OK; n++) {
            struct apply_item *i = &p->set.item[n];

            if (i->change == APPLY_DELETE && (int)i->kind == kind)
                code = do_item(p, i);
        }
    return code;
}

int applyplan_execute(struct applyplan *p)
{
    bool failed, more = notes_more(p, &failed), differs = applyplan_differs(p);
    int code = failed ? call_no_memory() : EXIT_CODE_OK;

    if (code == EXIT_CODE_OK && (more || differs))
        code = note(p, false, true);
    if (code == EXIT_CODE_OK)
        code = do_kinds(p, APPLY_MOUNT, APPLY_MOUNT);
    if (code == EXIT_CODE_OK)
        code = check_rest(p);
    if (code == EXIT_CODE_OK)
        code = do_kinds(p, APPLY_POLICY, APPLY_ENROLMENT);
    if (code == EXIT_CODE_OK)
        code = applypam_execute(p, false);
    if (code == EXIT_CODE_OK)
        code = do_deletions(p);
    /* Whoever began meanwhile is found out here; who was forced out can't write it any more. */
    if (code == EXIT_CODE_OK && differs)
        code = note(p, p->prune, !p->force);
    return code;
}
