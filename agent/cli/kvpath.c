#include "cli/kvpath.h"

#include <stdio.h>
#include <string.h>

void kvpath_clear(struct kvpath *k)
{
    mem_free_str(k->mount);
    mem_free_str(k->rest);
    *k = (struct kvpath){0};
}

/* "mount/arg" without slashes at either end. */
static char *whole_path(struct cli *c, const char *arg)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8192);
    const char *mount = args_str(&c->args, "mount");

    if (mount) {
        mount += strspn(mount, "/");
        buf_puts(&b, mount);
        buf_putc(&b, '/');
    }
    buf_puts(&b, arg + strspn(arg, "/"));
    while (buf_error(&b) == 0 && b.len > 0 && b.data[b.len - 1] == '/')
        b.data[--b.len] = '\0';
    return buf_error(&b) < 0 ? NULL : buf_steal(&b);
}

/* Splits the path at the mount's. */
static bool split(struct kvpath *k, const char *path, const char *mount)
{
    size_t n = strlen(mount);
    const char *rest;

    while (n > 0 && mount[n - 1] == '/')
        n--;
    if (n == 0 || strncmp(path, mount, n) != 0 || (path[n] != '/' && path[n] != '\0'))
        return false;
    rest = path + n + (path[n] == '/');
    if (k->v2 && strncmp(rest, "data/", 5) == 0)
        rest += 5;
    k->rest = mem_dup(rest, strlen(rest));
    if (asprintf(&k->mount, "%.*s/", (int)n, mount) < 0)
        k->mount = NULL;
    return true;
}

int kvpath_find(struct cli *c, const char *arg, struct kvpath *k)
{
    _cleanup_secret_ char *path = whole_path(c, arg);
    _cleanup_secret_ char *preflight = path ? call_path("sys/internal/ui/mounts/", path) : NULL;
    _cleanup_reply_ struct reply r = {0};
    const char *mount, *version;
    int code;

    if (!preflight)
        return call_no_memory();
    code = call_any(c, "GET", preflight, NULL, NULL, &r);
    if (code != EXIT_CODE_OK)
        return code;
    if (r.status != 200) /* about the secret's own path, which is what a policy names */
        return call_refused(c, "GET", r.status == 403 ? path : preflight, &r);
    mount = json_string_value(json_object_get(reply_data(&r), "path"));
    version =
        json_string_value(json_object_get(json_object_get(reply_data(&r), "options"), "version"));
    k->v2 = version && strcmp(version, "2") == 0;
    if (!mount || !split(k, path, mount)) {
        output_error("the agent does not say in which mount %s lies", path);
        return EXIT_CODE_LOCAL;
    }
    return k->mount && k->rest ? EXIT_CODE_OK : call_no_memory();
}

char *kvpath_api(const struct kvpath *k, const char *kind)
{
    _cleanup_buf_ struct buf b = BUF_INIT(16384);

    buf_puts(&b, k->mount);
    if (k->v2) {
        buf_puts(&b, kind);
        buf_putc(&b, '/');
    }
    buf_puts(&b, k->rest);
    return buf_error(&b) < 0 ? NULL : buf_steal(&b);
}
