/* kv metadata get, put, delete. */
#include <errno.h>
#include <string.h>

#include "cli/families.h"
#include "cli/kvpath.h"
#include "cli/show.h"

static int metadata_call(struct cli *c, const char *method, const json_t *body, char **path,
                         struct reply *r)
{
    _cleanup_kvpath_ struct kvpath k = {0};
    int code = kvpath_find(c, args_pos(&c->args, 0), &k);

    if (code != EXIT_CODE_OK)
        return code;
    if (!k.v2) {
        output_error("only version 2 of kv keeps metadata; %s is version 1", k.mount);
        return EXIT_CODE_LOCAL;
    }
    *path = kvpath_api(&k, "metadata");
    return *path ? call(c, method, *path, NULL, body, r) : call_no_memory();
}

static int compare_versions(const void *a, const void *b)
{
    long long x = strtoll(*(const char *const *)a, NULL, 10),
              y = strtoll(*(const char *const *)b, NULL, 10);

    return x < y ? -1 : x > y;
}

static int print_versions(struct cli *c, const json_t *versions)
{
    size_t n = json_object_size(versions), i = 0;
    const char **keys = calloc(n + 1, sizeof(*keys)), *key;
    int code = EXIT_CODE_OK;
    json_t *v;

    if (!keys)
        return call_no_memory();
    json_object_foreach((json_t *)(uintptr_t)versions, key, v) keys[i++] = key;
    qsort(keys, n, sizeof(*keys), compare_versions);
    for (i = 0; i < n && code == EXIT_CODE_OK; i++) {
        char title[64];

        snprintf(title, sizeof(title), "Version %.20s", keys[i]);
        putchar('\n');
        show_title(c, title, 34);
        code = show_object(c, json_object_get(versions, keys[i]));
    }
    free(keys);
    return code;
}

static int run_get(struct cli *c)
{
    _cleanup_secret_ char *path = NULL;
    _cleanup_reply_ struct reply r = {0};
    _cleanup_json_ json_t *head = NULL;
    int code = metadata_call(c, "GET", NULL, &path, &r), shown;

    if (code != EXIT_CODE_OK)
        return code;
    if (show_plainly(c, &r, &shown))
        return shown;
    head = json_copy((json_t *)(uintptr_t)reply_data(&r));
    if (!head)
        return call_no_memory();
    json_object_del(head, "versions");
    show_title(c, "Metadata Path", strlen(path));
    printf("%s\n\n", path);
    show_title(c, "Metadata", 34);
    code = show_object(c, head);
    return code ? code : print_versions(c, json_object_get(reply_data(&r), "versions"));
}

static int put_custom(struct cli *c, json_t *body)
{
    _cleanup_json_ json_t *list = args_list(&c->args, "custom-metadata"), *custom = json_object();
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
    {
        const char *s = json_string_value(v), *eq = strchr(s, '=');
        _cleanup_secret_ char *key = eq ? mem_dup(s, (size_t)(eq - s)) : NULL;

        if (!eq) {
            output_error("-custom-metadata takes KEY=VALUE, not \"%s\"", s);
            return EXIT_CODE_LOCAL;
        }
        if (!key || json_set_str(custom, key, eq + 1) < 0)
            return call_no_memory();
    }
    if (!list ||
        (json_object_size(custom) > 0 && json_object_set(body, "custom_metadata", custom) < 0))
        return call_no_memory();
    return EXIT_CODE_OK;
}

static json_t *put_request(struct cli *c)
{
    _cleanup_json_ json_t *body = json_object();
    const char *after = args_str(&c->args, "delete-version-after");

    if (!body ||
        (args_has(&c->args, "max-versions") &&
         json_set_int(body, "max_versions", args_int(&c->args, "max-versions", 0)) < 0) ||
        (args_has(&c->args, "cas-required") &&
         json_set_bool(body, "cas_required", args_bool(&c->args, "cas-required")) < 0) ||
        (after && json_set_str(body, "delete_version_after", after) < 0))
        return NULL;
    return json_incref(body);
}

static int run_put(struct cli *c)
{
    _cleanup_json_ json_t *body = put_request(c);
    _cleanup_secret_ char *path = NULL;
    _cleanup_reply_ struct reply r = {0};
    int code = body ? put_custom(c, body) : call_no_memory();

    if (code == EXIT_CODE_OK)
        code = metadata_call(c, "PUT", body, &path, &r);
    return code ? code : show_done(c, &r, "Success! Data written to: %s", path);
}

static int run_delete(struct cli *c)
{
    _cleanup_secret_ char *path = NULL;
    _cleanup_reply_ struct reply r = {0};
    int code = metadata_call(c, "DELETE", NULL, &path, &r);

    return code ? code : show_done(c, &r, "Success! Data deleted (if it existed) at: %s", path);
}

#define MOUNT_FLAG                                                                                 \
    {                                                                                              \
        "mount", FLAG_STRING, "MOUNT", "Where the engine is; the path is then below it"            \
    }
#define END_FLAG                                                                                   \
    {                                                                                              \
        NULL, FLAG_BOOL, NULL, NULL                                                                \
    }

static const struct flag mount_flags[] = {MOUNT_FLAG, END_FLAG};
static const struct flag put_flags[] = {
    {"max-versions", FLAG_INT, "N", "How many versions are kept (0: the mount's own limit)"},
    {"cas-required", FLAG_BOOL, NULL, "Every write must name the version it replaces"},
    {"delete-version-after", FLAG_STRING, "TIME", "When a version is deleted by itself"},
    {"custom-metadata", FLAG_LIST, "KEY=VALUE", "For people; may be given several times"},
    MOUNT_FLAG,
    END_FLAG,
};

const struct command cmd_kvmeta_rows[] = {
    {.name = "kv metadata get",
     .args = "PATH",
     .purpose = "Show which versions there are",
     .example = "countersign kv metadata get secret/app",
     .flags = mount_flags,
     .min_args = 1,
     .max_args = 1,
     .run = run_get},
    {.name = "kv metadata put",
     .args = "PATH",
     .purpose = "Set how versions are kept",
     .example = "countersign kv metadata put -max-versions=5 secret/app",
     .flags = put_flags,
     .min_args = 1,
     .max_args = 1,
     .run = run_put},
    {.name = "kv metadata delete",
     .args = "PATH",
     .purpose = "Delete a secret with all its versions",
     .example = "countersign kv metadata delete secret/app",
     .flags = mount_flags,
     .min_args = 1,
     .max_args = 1,
     .run = run_delete},
    {.name = NULL},
};
