#include "server/mount.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include "base/encode.h"
#include "vault/entry.h"

#define SPACE_MOUNT "mount"
#define MOUNT_PATH_MAX 128

struct mounts {
    struct mount **list;
    size_t n, room;
    struct change *changes; /* of this turn: in the store, not in the list yet */
};

static void mount_free(struct mount *m)
{
    if (!m)
        return;
    free(m->path);
    free(m->description);
    json_decref(m->options);
    free(m);
}
DEFINE_CLEANUP(struct mount *, mount_free)

struct mounts *mounts_new(void)
{
    return calloc(1, sizeof(struct mounts));
}

void mounts_clear(struct mounts *m)
{
    for (size_t i = 0; i < m->n; i++)
        mount_free(m->list[i]);
    free(m->list);
    m->list = NULL;
    m->n = m->room = 0;
}

void mounts_free(struct mounts *m)
{
    if (!m)
        return;
    mounts_clear(m);
    free(m);
}

const struct mount *mounts_find(const struct mounts *m, const char *path)
{
    for (size_t i = 0; i < m->n; i++) {
        if (strncmp(path, m->list[i]->path, strlen(m->list[i]->path)) == 0)
            return m->list[i];
    }
    return NULL;
}

const struct mount *mounts_by_space(const struct mounts *m, const char *space)
{
    for (size_t i = 0; i < m->n; i++) {
        if (strcmp(space, m->list[i]->space) == 0)
            return m->list[i];
    }
    return NULL;
}

size_t mounts_count(const struct mounts *m)
{
    return m->n;
}

const struct mount *mounts_at(const struct mounts *m, size_t i)
{
    return m->list[i];
}

/* --- The stored form
 * ------------------------------------------------------------------------------ */

static json_t *mount_store(const struct mount *m)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:O?, s:I, s:I}", "path", m->path, "type",
                     m->engine->type, "space", m->space, "accessor", m->accessor, "description",
                     m->description, "options", m->options, "default_ttl",
                     (json_int_t)m->default_ttl, "max_ttl", (json_int_t)m->max_ttl);
}

/* 0, -EBADMSG when it is no mount of ours, -ENOMEM. */
static int mount_read(const json_t *obj, struct mount **out)
{
    _cleanup_(mount_freep) struct mount *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->path = strdup(json_str_or(obj, "path", ""));
    m->description = strdup(json_str_or(obj, "description", ""));
    m->engine = engine_find(json_str_or(obj, "type", ""));
    if (!m->path || !m->description)
        return -ENOMEM;
    if (!m->engine || !m->path[0])
        return -EBADMSG;
    snprintf(m->space, sizeof(m->space), "%s", json_str_or(obj, "space", ""));
    snprintf(m->accessor, sizeof(m->accessor), "%s", json_str_or(obj, "accessor", ""));
    json_t *options = json_object_get(obj, "options");
    m->options = json_is_object(options) ? json_incref(options) : NULL;
    m->default_ttl = json_int(obj, "default_ttl", 0);
    m->max_ttl = json_int(obj, "max_ttl", 0);
    *out = m;
    m = NULL;
    return 0;
}

json_t *mounts_json(const struct mount *m)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:O?, s:{s:I, s:I, s:b}, s:b, s:b, s:b, s:s, s:s}",
                     "type", m->engine->type, "description", m->description, "accessor",
                     m->accessor, "uuid", m->space, "options", m->options, "config",
                     "default_lease_ttl", (json_int_t)m->default_ttl, "max_lease_ttl",
                     (json_int_t)m->max_ttl, "force_no_cache", 0, "local", 0, "seal_wrap", 0,
                     "external_entropy_access", 0, "plugin_version", "", "running_plugin_version",
                     "v" COUNTERSIGN_VERSION);
}

static int reserve(struct mounts *m, size_t more)
{
    if (m->n + more <= m->room)
        return 0;
    struct mount **grown = reallocarray(m->list, m->n + more, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    m->list = grown;
    m->room = m->n + more;
    return 0;
}

/* Adds to the list, or replaces the mount of the same space. */
static int list_set(struct mounts *m, struct mount *mount)
{
    for (size_t i = 0; i < m->n; i++) {
        if (strcmp(m->list[i]->space, mount->space) == 0) {
            mount_free(m->list[i]);
            m->list[i] = mount;
            return 0;
        }
    }
    int e = reserve(m, 1);
    if (e == 0)
        m->list[m->n++] = mount;
    return e;
}

struct loading {
    struct mounts *mounts;
    struct vault *vault;
};

static int load_one(const char *space, void *data)
{
    struct loading *l = data;
    _cleanup_json_ json_t *obj = NULL;
    int e = entry_get_json(l->vault, SPACE_MOUNT, space, &obj);
    if (e != 0)
        return e < 0 ? e : 0;
    _cleanup_(mount_freep) struct mount *m = NULL;
    e = mount_read(obj, &m);
    if (e == -EBADMSG) {
        sd_journal_print(
            LOG_ERR,
            "the mount %s is of a type that this agent does not have (%s): it is out of reach",
            json_str_or(obj, "path", "?"), json_str_or(obj, "type", "?"));
        return 0;
    }
    if (e == 0)
        e = list_set(l->mounts, m);
    if (e == 0)
        m = NULL;
    return e;
}

int mounts_load(struct mounts *m, struct vault *v)
{
    struct mounts fresh = {0};
    struct loading l = {.mounts = &fresh, .vault = v};
    int e = entry_list(v, SPACE_MOUNT, "", NULL, 0, load_one, &l);
    if (e < 0) {
        mounts_clear(&fresh); /* half a table would let a path be mounted twice */
        return e;
    }
    mounts_clear(m);
    fresh.changes = m->changes;
    *m = fresh;
    return 0;
}

/* --- Changes
 * -------------------------------------------------------------------------------------- */

struct change {
    struct change *next;
    struct mounts *mounts;
    struct mount *mount; /* NULL: removed */
    char space[40];
    char path[MOUNT_PATH_MAX + 2];
};

static void change_drop(void *data)
{
    struct change *c = data;
    struct change **p = &c->mounts->changes;
    while (*p && *p != c)
        p = &(*p)->next;
    if (*p)
        *p = c->next;
    mount_free(c->mount);
    free(c);
}

static bool overlap(const char *a, const char *b)
{
    size_t n = strlen(a) < strlen(b) ? strlen(a) : strlen(b);
    return strncmp(a, b, n) == 0;
}

/* Another request of this turn has changed the table there: one after the other. */
static bool in_change(const struct mounts *m, const char *path, char *why, size_t whylen)
{
    for (const struct change *c = m->changes; c; c = c->next) {
        if (!overlap(c->path, path))
            continue;
        snprintf(why, whylen, "the mount at %s is being changed just now; try again", c->path);
        return true;
    }
    return false;
}

static void change_run(void *data)
{
    struct change *c = data;
    struct mounts *m = c->mounts;
    if (c->mount && list_set(m, c->mount) == 0)
        c->mount = NULL;
    for (size_t i = 0; !c->mount && c->space[0] && i < m->n; i++) {
        if (strcmp(m->list[i]->space, c->space) == 0) {
            mount_free(m->list[i]);
            m->list[i] = m->list[--m->n];
        }
    }
    change_drop(c);
}

/* mount: taken over; NULL with old = removal. Room is made before the commit: a mount that is in
 * the store must not be missing from the list. */
static int push(struct mounts *m, struct effects *e, struct mount *mount, const struct mount *old)
{
    size_t coming = 1;
    for (const struct change *other = m->changes; other; other = other->next)
        coming++;
    struct change *c = reserve(m, coming) == 0 ? calloc(1, sizeof(*c)) : NULL;
    if (!c) {
        mount_free(mount);
        return -ENOMEM;
    }
    *c = (struct change){.next = m->changes, .mounts = m, .mount = mount};
    snprintf(c->space, sizeof(c->space), "%s", old ? old->space : "");
    snprintf(c->path, sizeof(c->path), "%s", (old ? old : mount)->path);
    m->changes = c;
    int r = effects_push(e, change_run, change_drop, c);
    if (r < 0)
        change_drop(c);
    return r;
}

static int put(struct mounts *m, struct vault *v, struct effects *e, struct mount *mount)
{
    _cleanup_json_ json_t *obj = mount_store(mount);
    int r = obj ? entry_put_json(v, SPACE_MOUNT, mount->space, obj) : -ENOMEM;
    if (r < 0) {
        mount_free(mount);
        return r;
    }
    return push(m, e, mount, NULL);
}

static int check_path(const struct mounts *m, const char *path, char *why, size_t whylen)
{
    static const char *const reserved[] = {"sys/", "auth/", "identity/", "cubbyhole/", "audit/"};
    size_t n = strlen(path);
    if (n < 2 || n > MOUNT_PATH_MAX || path[0] == '/' || strstr(path, "//") ||
        strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") != n ||
        strstr(path, "..")) {
        snprintf(why, whylen, "a mount path has letters, digits, '-', '_', '.' and '/', at most %d",
                 MOUNT_PATH_MAX);
        return MOUNT_E_REFUSED;
    }
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (strncmp(path, reserved[i], strlen(reserved[i])) == 0) {
            snprintf(why, whylen, "paths below %s are the agent's own", reserved[i]);
            return MOUNT_E_REFUSED;
        }
    }
    for (size_t i = 0; i < m->n; i++) {
        if (overlap(m->list[i]->path, path)) {
            snprintf(why, whylen, "path is already in use at %s", m->list[i]->path);
            return MOUNT_E_REFUSED;
        }
    }
    return in_change(m, path, why, whylen) ? MOUNT_E_REFUSED : 0;
}

static struct mount *mount_make(const char *path, const struct engine *engine,
                                const char *description, json_t *options)
{
    _cleanup_(mount_freep) struct mount *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->path = strdup(path);
    m->description = strdup(description ? description : "");
    m->engine = engine;
    m->options = options ? json_incref(options) : NULL;
    encode_random_uuid(m->space);
    char random[9];
    encode_random_base62(random, 8);
    snprintf(m->accessor, sizeof(m->accessor), "%.16s_%s", engine->type, random);
    if (!m->path || !m->description)
        return NULL;
    struct mount *done = m;
    m = NULL;
    return done;
}

int mounts_enable(struct mounts *m, struct vault *v, struct effects *e, const char *path,
                  const char *type, const char *description, json_t *options, int64_t default_ttl,
                  int64_t max_ttl, char *why, size_t whylen)
{
    char full[MOUNT_PATH_MAX + 2];
    size_t n = strlen(path);
    snprintf(full, sizeof(full), "%s%s", path, n > 0 && path[n - 1] == '/' ? "" : "/");
    int r = check_path(m, full, why, whylen);
    if (r != 0)
        return r;
    const struct engine *engine = engine_find(type);
    if (!engine) {
        snprintf(why, whylen, "there is no secrets engine of type \"%.32s\"", type);
        return MOUNT_E_REFUSED;
    }
    struct mount *mount = mount_make(full, engine, description, options);
    if (!mount)
        return -ENOMEM;
    mount->default_ttl = default_ttl;
    mount->max_ttl = max_ttl;
    r = engine->mounted ? engine->mounted(v, mount->space, options, why, whylen) : 0;
    if (r < 0) {
        mount_free(mount);
        return r == -EINVAL ? MOUNT_E_REFUSED : r;
    }
    return put(m, v, e, mount);
}

static const struct mount *at_path(const struct mounts *m, const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < m->n; i++) {
        const char *have = m->list[i]->path;
        size_t len = strlen(have);
        if (strncmp(have, path, n) == 0 && (len == n || (len == n + 1 && have[n] == '/')))
            return m->list[i];
    }
    return NULL;
}

int mounts_disable(struct mounts *m, struct vault *v, struct effects *e, const char *path,
                   char *why, size_t whylen)
{
    const struct mount *mount = at_path(m, path);
    if (!mount)
        return MOUNT_E_NONE;
    if (in_change(m, mount->path, why, whylen))
        return MOUNT_E_REFUSED;
    int r = entry_delete_tree(v, mount->space, "");
    if (r >= 0)
        r = entry_delete(v, SPACE_MOUNT, mount->space);
    return r < 0 ? r : push(m, e, NULL, mount);
}

static const struct json_field tune_fields[] = {
    {.name = "default_lease_ttl", .kind = JSON_KIND_DURATION},
    {.name = "max_lease_ttl", .kind = JSON_KIND_DURATION},
    {.name = "description", .kind = JSON_KIND_STRING, .max = 256},
    {.name = "options", .kind = JSON_KIND_OBJECT},
    {0},
};

/* What is said of options must be what they are. */
static bool same_options(const struct mount *m, const json_t *options)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)options, key, value)
    {
        if (!json_equal(value, json_object_get(m->options, key)))
            return false;
    }
    return true;
}

int mounts_tune(struct mounts *m, struct vault *v, struct effects *e, const char *path,
                const json_t *change, char *why, size_t whylen)
{
    const struct mount *old = at_path(m, path);
    if (!old)
        return MOUNT_E_NONE;
    if (in_change(m, old->path, why, whylen))
        return MOUNT_E_REFUSED;
    _cleanup_json_ json_t *c = json_deep_copy(change);
    _cleanup_json_ json_t *obj = mount_store(old);
    if (!c || !obj)
        return -ENOMEM;
    int r = json_check(c, tune_fields, false, why, whylen);
    if (r < 0)
        return r == -EINVAL ? MOUNT_E_REFUSED : r;
    if (!same_options(old, json_object_get(c, "options"))) {
        snprintf(why, whylen, "the options of a mount can't be changed: make a new one and copy");
        return MOUNT_E_REFUSED;
    }
    struct mount *mount = NULL;
    r = mount_read(obj, &mount);
    if (r < 0)
        return r;
    mount->default_ttl = json_int(c, "default_lease_ttl", mount->default_ttl);
    mount->max_ttl = json_int(c, "max_lease_ttl", mount->max_ttl);
    const char *description = json_str(c, "description");
    char *copy = description ? strdup(description) : NULL;
    if (description && !copy) {
        mount_free(mount);
        return -ENOMEM;
    }
    if (copy) {
        free(mount->description);
        mount->description = copy;
    }
    return put(m, v, e, mount);
}
