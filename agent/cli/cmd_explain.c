/* explain: which rule decides, and why. */
#include <string.h>

#include "cli/families.h"
#include "cli/show.h"

static json_t *request(struct cli *c, bool *service)
{
    const char *principal = args_pos(&c->args, 0), *word = args_pos(&c->args, 1);
    _cleanup_secret_ char *path = call_path("", args_pos(&c->args, 2));

    *service = strcmp(word, "service") == 0;
    if (!path)
        return NULL;
    if (*service)
        return json_pack("{s:s, s:s}", "principal", principal, "service", path);
    return json_pack("{s:s, s:s, s:s}", "principal", principal, "operation", word, "path", path);
}

/* Prints text made printable. */
static void put_clean(const char *s)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64 * 1024);

    output_clean(&b, s ? s : "");
    fputs(buf_str(&b), stdout);
}

static void put_mark(struct cli *c, bool good)
{
    printf("%s%s%s ", output_color(&c->out, good ? OUTPUT_GOOD : OUTPUT_BAD),
           output_mark(&c->out, good), output_color(&c->out, OUTPUT_PLAIN));
}

static void put_field(const json_t *o, const char *label, const char *key)
{
    const char *v = json_string_value(json_object_get(o, key));

    if (!v || !v[0])
        return;
    printf("  %-11s", label);
    put_clean(v);
    putchar('\n');
}

static void put_list(const json_t *list, const char *label, const char *indent)
{
    _cleanup_buf_ struct buf b = BUF_INIT(64 * 1024);
    const json_t *v;
    size_t i;

    if (json_array_size(list) == 0)
        return;
    json_array_foreach(list, i, v) if (json_is_string(v))
    {
        buf_puts(&b, b.len ? ", " : "");
        buf_puts(&b, json_string_value(v));
    }
    printf("%s%-11s", indent, label);
    put_clean(buf_str(&b));
    putchar('\n');
}

static void put_conditions(struct cli *c, const json_t *conditions)
{
    const json_t *k;
    size_t i;

    json_array_foreach(conditions, i, k)
    {
        const char *detail = json_string_value(json_object_get(k, "detail"));

        printf("      ");
        put_mark(c, json_is_true(json_object_get(k, "met")));
        put_clean(json_string_value(json_object_get(k, "condition")));
        if (detail && detail[0]) {
            printf(": ");
            put_clean(detail);
        }
        putchar('\n');
    }
}

static void put_binding(struct cli *c, const json_t *b)
{
    const char *principal = json_string_value(json_object_get(b, "principal"));

    printf("  ");
    put_mark(c, json_is_true(json_object_get(b, "satisfied")));
    put_clean(json_string_value(json_object_get(b, "name")));
    if (principal && principal[0]) {
        printf("  (as ");
        put_clean(principal);
        putchar(')');
    }
    printf(principal && principal[0] ? "\n" : "  (names none of these principals)\n");
    put_conditions(c, json_object_get(b, "conditions"));
    put_list(json_object_get(b, "policies"), "policies", "      ");
    put_list(json_object_get(b, "services"), "services", "      ");
}

static void put_trace(struct cli *c, const json_t *t, const char *verdict)
{
    static const struct {
        const char *verdict;
        enum output_style style;
    } styles[] = {{"allow", OUTPUT_GOOD}, {"deny", OUTPUT_BAD}, {"challenge", OUTPUT_WARN}};
    const json_t *bindings = json_object_get(t, "bindings"), *b;
    enum output_style style = OUTPUT_BOLD;
    size_t i;

    for (i = 0; i < ARRAY_LEN(styles); i++)
        if (strcmp(styles[i].verdict, verdict) == 0)
            style = styles[i].style;
    printf("%s", output_color(&c->out, style));
    put_clean(verdict);
    printf("%s  ", output_color(&c->out, OUTPUT_PLAIN));
    put_clean(json_string_value(json_object_get(t, "why")));
    printf("\n\n");
    put_field(t, "binding", "binding");
    put_field(t, "policy", "policy");
    put_field(t, "rule", "rule");
    put_list(json_object_get(t, "principals"), "principals", "  ");
    if (json_array_size(bindings) == 0) {
        printf("\nNo binding names this principal.\n");
        return;
    }
    printf("\n%sBindings%s\n", output_color(&c->out, OUTPUT_BOLD),
           output_color(&c->out, OUTPUT_PLAIN));
    json_array_foreach(bindings, i, b) put_binding(c, b);
}

/* A challenge, or "none of our business", is no refusal; anything unknown is one. */
static int exit_code_of(const char *verdict)
{
    static const char *const good[] = {"allow", "challenge", "ignore"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (strcmp(good[i], verdict) == 0)
            return EXIT_CODE_OK;
    return EXIT_CODE_REFUSED;
}

static int run_explain(struct cli *c)
{
    bool service;
    _cleanup_json_ json_t *body = request(c, &service);
    _cleanup_reply_ struct reply r = {0};
    const char *verdict;
    int code = body ? call(c, "POST", "sys/explain", NULL, body, &r) : call_no_memory(), shown;

    if (code != EXIT_CODE_OK)
        return code;
    verdict = json_string_value(json_object_get(reply_data(&r), "verdict"));
    if (!verdict) {
        output_error("the agent's answer has no verdict");
        return EXIT_CODE_LOCAL;
    }
    if (!show_plainly(c, &r, &shown))
        put_trace(c, reply_data(&r), verdict);
    else if (shown != EXIT_CODE_OK)
        return shown;
    return exit_code_of(verdict);
}

const struct command cmd_explain_rows[] = {
    {.name = "explain",
     .args = "PRINCIPAL OPERATION PATH | PRINCIPAL service NAME",
     .purpose = "Who may do that, and which rule decides",
     .details = "PRINCIPAL is user:NAME, uid:NUMBER or self. OPERATION is create, read, update, "
                "delete, list\n"
                "or patch. Nothing is done and nothing is leased.",
     .example = "countersign explain user:alice read database/creds/shop-ro\n"
                "countersign explain self service sudo",
     .exits = "0 allowed (or a factor would be asked for); 2 denied, or the agent refused; 1 a "
              "local problem.",
     .min_args = 3,
     .max_args = 3,
     .run = run_explain},
    {.name = NULL},
};
