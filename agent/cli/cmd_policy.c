/* policy list, read, write, delete. */
#include <string.h>

#include "cli/families.h"
#include "cli/fields.h"
#include "cli/show.h"

static char *policy_path(struct cli *c)
{
    return call_path("sys/policies/acl/", args_pos(&c->args, 0));
}

static int run_list(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    const json_t *keys, *k;
    size_t i;
    int code = call(c, "LIST", "sys/policies/acl", NULL, NULL, &r);

    if (code != EXIT_CODE_OK)
        return code;
    keys = json_object_get(reply_data(&r), "keys");
    if (c->out.format == OUTPUT_JSON)
        return output_json(keys) < 0 ? call_no_memory() : EXIT_CODE_OK;
    json_array_foreach(keys, i, k) if (json_is_string(k))
    {
        _cleanup_buf_ struct buf clean = BUF_INIT(8192);

        output_clean(&clean, json_string_value(k));
        printf("%s\n", buf_str(&clean));
    }
    return EXIT_CODE_OK;
}

/* The text as it was written, ready for a file again; a terminal gets it cleaned. */
static int run_read(struct cli *c)
{
    _cleanup_secret_ char *path = policy_path(c);
    _cleanup_buf_ struct buf clean = BUF_INIT(4 * FIELDS_FILE_MAX);
    _cleanup_reply_ struct reply r = {0};
    const char *text;
    int code = path ? call(c, "GET", path, NULL, NULL, &r) : call_no_memory(), shown;

    if (code != EXIT_CODE_OK)
        return code;
    if (show_plainly(c, &r, &shown))
        return shown;
    text = json_string_value(json_object_get(reply_data(&r), "policy"));
    if (!text) {
        output_error("the agent's answer has no policy text");
        return EXIT_CODE_LOCAL;
    }
    if (c->out.terminal)
        output_clean(&clean, text);
    else
        buf_puts(&clean, text);
    if (buf_error(&clean) < 0)
        return call_no_memory();
    fputs(buf_str(&clean), stdout);
    if (clean.len > 0 && clean.data[clean.len - 1] != '\n')
        putchar('\n');
    return EXIT_CODE_OK;
}

static int run_write(struct cli *c)
{
    _cleanup_buf_ struct buf text = BUF_INIT(FIELDS_FILE_MAX);
    _cleanup_secret_ char *path = policy_path(c);
    _cleanup_json_ json_t *body = NULL;
    _cleanup_reply_ struct reply r = {0};
    char why[512];
    int code;

    if (!path)
        return call_no_memory();
    if (fields_read_source(args_pos(&c->args, 1), &c->stdin_used, &text, why, sizeof(why)) < 0) {
        output_error("%s", why);
        return EXIT_CODE_LOCAL;
    }
    body = json_pack("{s:s%}", "policy", buf_str(&text), text.len);
    if (!body) {
        output_error("the policy is not UTF-8 text");
        return EXIT_CODE_LOCAL;
    }
    code = call(c, "PUT", path, NULL, body, &r);
    return code ? code : show_done(c, &r, "Success! Uploaded policy: %s", args_pos(&c->args, 0));
}

static int run_delete(struct cli *c)
{
    _cleanup_secret_ char *path = policy_path(c);
    _cleanup_reply_ struct reply r = {0};
    int code = path ? call(c, "DELETE", path, NULL, NULL, &r) : call_no_memory();

    return code ? code : show_done(c, &r, "Success! Deleted policy: %s", args_pos(&c->args, 0));
}

const struct command cmd_policy_rows[] = {
    {.name = "policy list",
     .args = "",
     .purpose = "List the policies",
     .example = "countersign policy list",
     .run = run_list},
    {.name = "policy read",
     .args = "NAME",
     .purpose = "Print a policy's text",
     .example = "countersign policy read db-read > db-read.hcl",
     .min_args = 1,
     .max_args = 1,
     .run = run_read},
    {.name = "policy write",
     .args = "NAME FILE|-",
     .purpose = "Write a policy from a file or standard input",
     .example = "echo 'path \"database/creds/shop-ro\" { capabilities = [\"read\"] }' | "
                "countersign policy write db-read -",
     .min_args = 2,
     .max_args = 2,
     .run = run_write},
    {.name = "policy delete",
     .args = "NAME",
     .purpose = "Delete a policy",
     .example = "countersign policy delete db-read",
     .min_args = 1,
     .max_args = 1,
     .run = run_delete},
    {.name = NULL},
};
