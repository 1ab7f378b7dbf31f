#include "identity/cgroup.h"

#include <ctype.h>
#include <string.h>

struct piece {
    const char *p;
    size_t n;
};

static bool is(const struct piece *c, const char *name)
{
    return c->n == strlen(name) && memcmp(c->p, name, c->n) == 0;
}

static bool begins(const struct piece *c, const char *head)
{
    return c->n >= strlen(head) && memcmp(c->p, head, strlen(head)) == 0;
}

static bool ends(const struct piece *c, const char *tail)
{
    size_t n = strlen(tail);
    return c->n > n && memcmp(c->p + c->n - n, tail, n) == 0;
}

/* --- Names that container managers give ---------------------------------------------------------
 */

static const char *const container_names[] = {"docker", "lxc", "machine.slice", "payload",
                                              "buildkit"};
static const char *const container_heads[] = {"kubepods",        "libpod",   "lxc.payload", "crio-",
                                              "cri-containerd-", "nerdctl-", "buildah-"};
static const char *const container_scopes[] = {"docker-", "machine-", "podman-pause-", "lxc-"};

static bool is_long_hex(const struct piece *c)
{
    if (c->n < 64)
        return false;
    for (size_t i = 0; i < 64; i++) {
        if (!isxdigit((unsigned char)c->p[i]))
            return false;
    }
    return true;
}

static bool is_container(const struct piece *c)
{
    for (size_t i = 0; i < ARRAY_LEN(container_names); i++) {
        if (is(c, container_names[i]))
            return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(container_heads); i++) {
        if (begins(c, container_heads[i]))
            return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(container_scopes); i++) {
        if (begins(c, container_scopes[i]) && ends(c, ".scope"))
            return true;
    }
    return is_long_hex(c);
}

/* --- The shape of a path -------------------------------------------------------------------------
 */

struct walk {
    size_t depth; /* pieces so far */
    size_t units; /* services and scopes so far, one inside the other */
    bool manager; /* the first of them is a user's service manager */
    struct piece unit;
};

static bool next(const char **at, const char *end, struct piece *c)
{
    while (*at < end && **at == '/')
        (*at)++;
    c->p = *at;
    while (*at < end && **at != '/')
        (*at)++;
    c->n = (size_t)(*at - c->p);
    return c->n > 0;
}

/* Whether one more piece keeps the path one that this host's own manager makes. A unit holds no
 * units of its own, unless it is a user's manager: anything else is a whole system inside a unit.
 */
static bool step(struct walk *w, const struct piece *c)
{
    bool unit = ends(c, ".service") || ends(c, ".scope");

    if (is_container(c) || is(c, "..") || ends(c, " (deleted)"))
        return false;
    if (w->depth++ == 0 && !is(c, "system.slice") && !is(c, "user.slice") && !is(c, "init.scope"))
        return false;
    if ((unit || ends(c, ".slice")) && w->units > (w->manager ? 1U : 0U))
        return false;
    /* A user's manager has slices of its own names, but never the system's. */
    if (w->units > 0 && is(c, "system.slice"))
        return false;
    if (!unit)
        return true;
    if (w->units++ == 0) {
        w->unit = *c;
        w->manager = begins(c, "user@") && ends(c, ".service");
    }
    return true;
}

static bool is_host(const char *path, const char *end, struct walk *w)
{
    struct piece c;

    *w = (struct walk){0};
    while (next(&path, end, &c)) {
        if (!step(w, &c))
            return false;
    }
    return true;
}

static bool leaves_root(const char *path, const char *end)
{
    return path >= end || *path != '/' || (end - path >= 3 && memcmp(path, "/..", 3) == 0);
}

/* The path of a line that tells of the unified hierarchy or systemd's own; NULL for the others. */
static const char *path_of(const char *line, const char *end)
{
    static const char unified[] = "0::", named[] = ":name=systemd:";

    if ((size_t)(end - line) >= sizeof(unified) - 1 &&
        memcmp(line, unified, sizeof(unified) - 1) == 0)
        return line + sizeof(unified) - 1;
    const char *at = memmem(line, (size_t)(end - line), named, sizeof(named) - 1);
    return at && memchr(line, ':', (size_t)(end - line)) == at ? at + sizeof(named) - 1 : NULL;
}

static void keep_unit(const struct walk *w, struct cgroup *out)
{
    if (w->units == 0 || w->unit.n >= sizeof(out->unit))
        return;
    memcpy(out->unit, w->unit.p, w->unit.n);
    out->unit[w->unit.n] = '\0';
}

void cgroup_judge(const char *text, bool has_systemd, struct cgroup *out)
{
    bool seen = false, foreign = false;

    *out = (struct cgroup){.foreign = true};
    while (*text) {
        const char *end = strchrnul(text, '\n');
        const char *path = path_of(text, end);
        struct walk w;
        if (path) {
            seen = true;
            bool host = is_host(path, end, &w);
            foreign |= leaves_root(path, end) || (has_systemd && !host);
            if (host)
                keep_unit(&w, out);
        }
        text = *end ? end + 1 : end;
    }
    out->foreign = foreign || (has_systemd && !seen);
    if (out->foreign)
        out->unit[0] = '\0';
}
