#include "cli/applyset.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/pamstore.h"
#include "cli/prompt.h"

#define FILE_MAX (512 * 1024)
#define DEPTH 4
#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@+"
#define NAME_LEN_MAX 128

/* --- The places
 * --------------------------------------------------------------------------------- */

static const struct json_field mount_fields[] = {
    {.name = "type", .kind = JSON_KIND_STRING, .required = true, .max = 64},
    {.name = "description", .kind = JSON_KIND_STRING, .max = 256},
    {.name = "options", .kind = JSON_KIND_OBJECT},
    {.name = "config", .kind = JSON_KIND_OBJECT},
    {0},
};
static const struct json_field mount_config_fields[] = {
    {.name = "default_lease_ttl", .kind = JSON_KIND_DURATION},
    {.name = "max_lease_ttl", .kind = JSON_KIND_DURATION},
    {0},
};
static const struct json_field config_fields[] = {
    {.name = "plugin_name", .kind = JSON_KIND_ANY},
    {.name = "connection_url", .kind = JSON_KIND_ANY},
    {.name = "username", .kind = JSON_KIND_ANY},
    {.name = "password_file", .kind = JSON_KIND_STRING, .min = 1},
    {.name = "allowed_roles", .kind = JSON_KIND_ANY},
    {.name = "verify_connection", .kind = JSON_KIND_ANY},
    {.name = "password_authentication", .kind = JSON_KIND_ANY},
    {0},
};
static const struct json_field role_fields[] = {
    {.name = "db_name", .kind = JSON_KIND_ANY},
    {.name = "creation_statements", .kind = JSON_KIND_ANY},
    {.name = "revocation_statements", .kind = JSON_KIND_ANY},
    {.name = "renew_statements", .kind = JSON_KIND_ANY},
    {.name = "rollback_statements", .kind = JSON_KIND_ANY},
    {.name = "default_ttl", .kind = JSON_KIND_ANY},
    {.name = "max_ttl", .kind = JSON_KIND_ANY},
    {.name = "groups", .kind = JSON_KIND_ANY},
    {.name = "connection_limit", .kind = JSON_KIND_ANY},
    {.name = "credential_type", .kind = JSON_KIND_ANY},
    {0},
};
static const struct json_field pam_fields[] = {
    {.name = "services", .kind = JSON_KIND_STRINGS, .required = true, .max = 32},
    {0},
};

static const struct place {
    enum apply_kind kind;
    const char *part[DEPTH]; /* "*" a folder of any name; the last one is "*.hcl" or a name */
    const struct json_field *fields; /* NULL: the agent knows them, and is strict itself */
    const char *label, *list, *path; /* path: what stands before the name on the agent */
} places[] = {
    {APPLY_MOUNT, {"mounts", "*.json"}, mount_fields, "mount", "mounts", "sys/mounts/"},
    {APPLY_POLICY, {"policies", "*.hcl"}, NULL, "policy", "policies", "sys/policies/acl/"},
    {APPLY_CONFIG,
     {"database", "*", "config", "*.json"},
     config_fields,
     "database",
     "database",
     ""},
    {APPLY_ROLE, {"database", "*", "roles", "*.json"}, role_fields, "database", "database", ""},
    {APPLY_BINDING, {"bindings", "*.json"}, NULL, "binding", "bindings", "sys/bindings/"},
    {APPLY_ENROLMENT, {"enrolment.json"}, NULL, "enrolment", NULL, "sys/"},
    {APPLY_PAM, {"pam.json"}, pam_fields, "pam", "pam", NULL},
};

const char *applyset_kind(enum apply_kind kind)
{
    return places[kind].label;
}

const char *applyset_list(enum apply_kind kind)
{
    return places[kind].list;
}

char *applyset_path(const struct apply_item *i)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4096);

    if (!places[i->kind].path)
        return NULL;
    buf_puts(&b, places[i->kind].path);
    buf_puts(&b, i->name);
    return buf_steal(&b);
}

/* --- The set
 * ------------------------------------------------------------------------------------ */

static void item_clear(struct apply_item *i)
{
    free(i->name);
    free(i->mount);
    free(i->file);
    json_decref(i->body);
}

void applyset_clear(struct applyset *set)
{
    for (size_t i = 0; i < set->n; i++)
        item_clear(&set->item[i]);
    free(set->item);
    *set = (struct applyset){0};
}

/* Takes *i over, also when memory is short. */
static int push(struct applyset *set, struct apply_item *i)
{
    struct apply_item *grown = reallocarray(set->item, set->n + 1, sizeof(*grown));

    if (grown)
        set->item = grown;
    if (!grown || !i->name) {
        item_clear(i);
        return -ENOMEM;
    }
    set->item[set->n++] = *i;
    return 0;
}

/* "database/config/shop": the mount is what stands before the last two parts. */
static char *mount_of(enum apply_kind kind, const char *name)
{
    const char *slash = strchr(name, '/');

    return (kind == APPLY_CONFIG || kind == APPLY_ROLE) && slash
               ? mem_dup(name, (size_t)(slash - name))
               : NULL;
}

int applyset_add(struct applyset *set, enum apply_kind kind, const char *name,
                 enum apply_change change)
{
    struct apply_item i = {
        .kind = kind, .name = strdup(name), .mount = mount_of(kind, name), .change = change};

    return push(set, &i);
}

const struct apply_item *applyset_find(const struct applyset *set, enum apply_kind kind,
                                       const char *name)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->item[i].kind == kind && strcmp(set->item[i].name, name) == 0)
            return &set->item[i];
    return NULL;
}

static int by_kind_and_name(const void *a, const void *b)
{
    const struct apply_item *x = a, *y = b;

    return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : strcmp(x->name, y->name);
}

/* --- One file
 * ----------------------------------------------------------------------------------- */

struct reading {
    struct applyset *set;
    json_t *problems;
};

static int problem(struct reading *r, const char *file, const char *fmt, ...) _printf_(3, 4);
static int problem(struct reading *r, const char *file, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return json_array_append_new(r->problems, json_sprintf("%s: %s", file, text)) < 0 ? -ENOMEM : 0;
}

/* Whoever may write the files decides who gets in. */
static const char *fault_of(const struct stat *st)
{
    if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode))
        return "it is no plain file and no folder";
    return st->st_mode & S_IWOTH ? "everybody may write to it: chmod o-w" : NULL;
}

static int read_at(int dir, const char *name, struct buf *text)
{
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), e;

    if (fd < 0)
        return -errno;
    e = prompt_read_all(fd, FILE_MAX, text);
    close(fd);
    return e;
}

/* What the file doesn't say goes back to what it is without being said: the agent itself would keep
 * what was there. */
static int fill_defaults(struct apply_item *i)
{
    static const char *const empty[] = {"creation_statements", "revocation_statements",
                                        "renew_statements", "rollback_statements", "groups"};
    static const char *const zero[] = {"default_ttl", "max_ttl"};
    int e = 0;

    for (size_t k = 0; i->kind == APPLY_ROLE && k < ARRAY_LEN(empty); k++)
        if (!json_object_get(i->body, empty[k]) &&
            json_object_set_new(i->body, empty[k], json_array()) < 0)
            e = -ENOMEM;
    for (size_t k = 0; i->kind == APPLY_ROLE && k < ARRAY_LEN(zero); k++)
        if (!json_object_get(i->body, zero[k]) && json_set_int(i->body, zero[k], 0) < 0)
            e = -ENOMEM;
    if (i->kind == APPLY_CONFIG && !json_object_get(i->body, "allowed_roles") &&
        json_object_set_new(i->body, "allowed_roles", json_array()) < 0)
        e = -ENOMEM;
    return e;
}

static int check_config(struct reading *r, const struct apply_item *i)
{
    const char *file = json_str(i->body, "password_file");

    if (file && file[0] != '/')
        return problem(r, i->file, "password_file is an absolute path");
    return 0;
}

/* pam.json becomes an item for each service. */
static int take_pam(struct reading *r, struct apply_item *i)
{
    const json_t *one;
    size_t k;
    int e = 0;

    r->set->has_pam = true;
    json_array_foreach(json_object_get(i->body, "services"), k, one)
    {
        const char *service = json_string_value(one);

        if (applyset_find(r->set, APPLY_PAM, service))
            e = problem(r, i->file, "%s is named twice", service);
        else if (!pamstore_is_name(service))
            e = problem(r, i->file, "\"%s\" is no name of a PAM service", service);
        else
            e = applyset_add(r->set, APPLY_PAM, service, APPLY_NONE);
        if (e < 0)
            break;
    }
    item_clear(i);
    return e;
}

static int check_item(struct reading *r, const struct place *p, struct apply_item *i)
{
    char why[512];
    json_t *config = p->kind == APPLY_MOUNT ? json_object_get(i->body, "config") : NULL;
    int e = 0;

    if (p->kind == APPLY_CONFIG && json_object_get(i->body, "password"))
        return problem(r, i->file,
                       "a password never stands in these files: say password_file, a path outside");
    if (p->fields)
        e = json_check(i->body, p->fields, true, why, sizeof(why));
    if (e == 0 && json_is_object(config))
        e = json_check(config, mount_config_fields, true, why, sizeof(why));
    if (e == -EINVAL)
        return problem(r, i->file, "%s", why);
    return e < 0 ? e : p->kind == APPLY_CONFIG ? check_config(r, i) : 0;
}

static int parse(struct reading *r, const struct place *p, const struct buf *text,
                 struct apply_item *i)
{
    char why[512];
    int e;

    if (p->kind == APPLY_POLICY) {
        i->body = json_pack("{s:s%}", "policy", buf_str(text), text->len);
        return i->body ? 0 : problem(r, i->file, "it is not UTF-8");
    }
    e = json_parse(buf_str(text), text->len, &i->body, why, sizeof(why));
    if (e == -EBADMSG)
        return problem(r, i->file, "it is not valid JSON: %s", why);
    if (e == 0 && !json_is_object(i->body)) {
        json_decref(i->body);
        i->body = NULL;
        return problem(r, i->file, "it must be a JSON object");
    }
    return e < 0 ? e : check_item(r, p, i);
}

/* The name on the agent: the file's without its ending, behind its mount. */
static char *name_of(const struct place *p, const char *const *part, size_t n)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1024);
    const char *last = part[n - 1], *dot = strrchr(last, '.');

    if (p->kind == APPLY_CONFIG || p->kind == APPLY_ROLE)
        buf_putf(&b, "%s/%s/", part[1], part[2]);
    buf_put(&b, last, (size_t)(dot - last));
    return buf_steal(&b);
}

static int load(struct reading *r, const struct place *p, int dir, const char *const *part,
                size_t n, const char *file)
{
    _cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
    struct apply_item i = {.kind = p->kind};
    int e = read_at(dir, part[n - 1], &text);

    if (e < 0 && e != -ENOMEM)
        return problem(r, file, "%s", strerror(-e));
    i.name = name_of(p, part, n);
    i.file = strdup(file);
    if (e < 0 || !i.name || !i.file) {
        item_clear(&i);
        return -ENOMEM;
    }
    i.mount = mount_of(i.kind, i.name);
    e = parse(r, p, &text, &i);
    if (e == 0 && i.body)
        e = fill_defaults(&i);
    if (e < 0 || !i.body) {
        item_clear(&i);
        return e;
    }
    return p->kind == APPLY_PAM ? take_pam(r, &i) : push(r->set, &i);
}

/* --- Walking
 * ------------------------------------------------------------------------------------ */

static bool fits(const char *pattern, const char *name)
{
    size_t n = strlen(name), ending = strlen(pattern);

    if (pattern[0] != '*')
        return strcmp(pattern, name) == 0;
    pattern++;
    ending--;
    return n > ending && strcmp(name + n - ending, pattern) == 0;
}

/* The place of a file (whole), or one that a folder leads to. */
static const struct place *place_of(const char *const *part, size_t n, bool whole)
{
    for (size_t k = 0; k < ARRAY_LEN(places); k++) {
        size_t len = 0, same = 0;

        while (len < DEPTH && places[k].part[len])
            len++;
        while (same < n && same < len && fits(places[k].part[same], part[same]))
            same++;
        if (same == n && (whole ? len == n : len > n))
            return &places[k];
    }
    return NULL;
}

static bool passed_over(const char *name)
{
    return name[0] == '.' || strcmp(name, "README.md") == 0 || strcmp(name, "README") == 0;
}

static int walk(struct reading *r, int dir, const char **part, size_t n, const char *shown);

static int walk_into(struct reading *r, int dir, const char **part, size_t n, const char *shown)
{
    int fd = openat(dir, part[n - 1], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? problem(r, shown, "%s", strerror(errno)) : walk(r, fd, part, n, shown);
}

static int visit(struct reading *r, int dir, const char **part, size_t n, const char *shown)
{
    const char *name = part[n - 1], *fault;
    const struct place *p;
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return problem(r, shown, "%s", strerror(errno));
    fault = fault_of(&st);
    if (fault)
        return problem(r, shown, "%s", fault);
    if (strspn(name, NAME_CHARS) != strlen(name) || strlen(name) > NAME_LEN_MAX)
        return problem(r, shown, "its name has something else than letters, digits and -_.@+");
    p = place_of(part, n, S_ISREG(st.st_mode));
    if (!p)
        return problem(r, shown, "nothing of this name belongs here (countersign apply -help)");
    return S_ISDIR(st.st_mode) ? walk_into(r, dir, part, n, shown)
                               : load(r, p, dir, part, n, shown);
}

static int walk_names(struct reading *r, int dir, struct dirent **names, int count,
                      const char **part, size_t n, const char *shown)
{
    char file[2048];
    int e = 0;

    for (int i = 0; i < count && e == 0; i++) {
        const char *name = names[i]->d_name;

        if (passed_over(name))
            continue;
        (void)snprintf(file, sizeof(file), "%s%s%s", shown, shown[0] ? "/" : "", name);
        part[n] = name;
        e = n < DEPTH ? visit(r, dir, part, n + 1, file) : 0;
    }
    return e;
}

/* Takes dir over. */
static int walk(struct reading *r, int dir, const char **part, size_t n, const char *shown)
{
    struct dirent **names = NULL;
    int count = scandirat(dir, ".", &names, NULL, alphasort);
    int e = count < 0 ? -errno : walk_names(r, dir, names, count, part, n, shown);

    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
    close(dir);
    return e;
}

int applyset_read(const char *dir, struct applyset *set, json_t *problems)
{
    struct reading r = {.set = set, .problems = problems};
    const char *part[DEPTH + 1];
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), e;
    struct stat st;

    *set = (struct applyset){0};
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) == 0 && (st.st_mode & S_IWOTH) &&
        problem(&r, dir, "%s", fault_of(&st)) < 0) {
        close(fd);
        return -ENOMEM;
    }
    e = walk(&r, fd, part, 0, "");
    if (e == 0 && set->n > 0)
        qsort(set->item, set->n, sizeof(*set->item), by_kind_and_name);
    return e;
}
