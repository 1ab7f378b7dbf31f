#include "cli/call.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define REASON_MAX (64 * 1024)

static int get_client(struct cli *c, char *why, size_t whylen)
{
    if (c->client)
        return 0;
    return client_new(c->address, c->token, &c->client, why, whylen);
}

int call_no_memory(void)
{
    output_error("out of memory");
    return EXIT_CODE_LOCAL;
}

static int no_agent(int e, const char *why)
{
    static const struct {
        int error;
        const char *what, *next;
    } rows[] = {
        {-ENOENT, "there is no agent",
         "Is countersignd running? Look with: systemctl status countersignd\n"
         "If it listens elsewhere, give -address=unix:///PATH or set COUNTERSIGN_ADDR."},
        {-ECONNREFUSED, "nobody listens there",
         "Is countersignd running? Look with: systemctl status countersignd"},
        {-EACCES, "this account may not connect",
         "The socket's mode decides who may: ls -l of the socket shows it."},
        {-ETIMEDOUT, "the agent did not answer in time",
         "Look what it does: journalctl -u countersignd -n 50"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].error == e) {
            output_error("%s (%s)\n%s", rows[i].what, why, rows[i].next);
            return EXIT_CODE_LOCAL;
        }
    output_error("no answer from the agent: %s", why);
    return EXIT_CODE_LOCAL;
}

int call_any(struct cli *c, const char *method, const char *path, const char *query,
             const json_t *body, struct reply *r)
{
    char why[1024] = "";
    int e = get_client(c, why, sizeof(why));

    if (e < 0) {
        output_error("%s", why);
        return EXIT_CODE_LOCAL;
    }
    e = client_request(c->client, method, path, query, body, r, why, sizeof(why));
    return e < 0 ? no_agent(e, why) : EXIT_CODE_OK;
}

int call_quietly(struct cli *c, const char *method, const char *path, const json_t *body,
                 struct reply *r)
{
    char why[1024];
    int e = get_client(c, why, sizeof(why));

    return e < 0 ? e : client_request(c->client, method, path, NULL, body, r, why, sizeof(why));
}

int call(struct cli *c, const char *method, const char *path, const char *query, const json_t *body,
         struct reply *r)
{
    int code = call_any(c, method, path, query, body, r);

    if (code != EXIT_CODE_OK)
        return code;
    if (r->status < 200 || r->status > 299)
        return call_refused(c, method, path, r);
    return EXIT_CODE_OK;
}

void call_reason(const struct reply *r, struct buf *why)
{
    const json_t *errors = json_object_get(r->json, "errors"), *e;
    size_t i;

    json_array_foreach(errors, i, e)
    {
        if (!json_is_string(e))
            continue;
        if (why->len > 0)
            buf_puts(why, "; ");
        buf_puts(why, json_string_value(e));
    }
}

/* What the method asks for, in the words of a policy. */
static const char *operation_of(const char *method)
{
    static const struct {
        const char *method, *operation;
    } rows[] = {{"GET", "read"}, {"LIST", "list"}, {"DELETE", "delete"}, {"PATCH", "patch"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(rows[i].method, method) == 0)
            return rows[i].operation;
    return "update";
}

static void forbidden_advice(struct cli *c, const char *method, const char *path)
{
    if (client_has_token(c->client))
        output_note(
            "The token's policies decide: countersign token capabilities %s\n"
            "If the token has ended, get a new one, or unset COUNTERSIGN_TOKEN and VAULT_TOKEN "
            "to come as yourself.",
            path);
    else
        output_note("Which rule decided: countersign explain self %s %s", operation_of(method),
                    path);
}

int call_refused(struct cli *c, const char *method, const char *path, const struct reply *r)
{
    static const struct {
        long status;
        const char *what, *next;
    } rows[] = {
        {400, "the agent did not accept that", NULL},
        {403, "permission denied", NULL},
        {404, "there is nothing at that path", NULL},
        {405, "that cannot be done with this path", NULL},
        {413, "that is too large for the agent", NULL},
        {429, "too many requests", "Wait a little and try again."},
        {501, "the agent is not initialised",
         "As root, once: countersign operator init -operator=group:NAME"},
        {502, "what the agent asked elsewhere failed", "Look: countersign status"},
        {503, "the agent is sealed",
         "As root: systemctl start countersign-unseal, or countersign operator unseal with the "
         "recovery "
         "shares."},
    };
    _cleanup_buf_ struct buf why = BUF_INIT(REASON_MAX);
    const char *what = "the agent refused", *next = NULL;

    call_reason(r, &why);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].status == r->status) {
            what = rows[i].what;
            next = rows[i].next;
        }
    /* The head of the reason often says the same as our own words. */
    if (why.len > 0 && strncasecmp(buf_str(&why), what, strlen(what)) == 0)
        output_error("%s (%s %s)", buf_str(&why), method, path);
    else if (why.len > 0)
        output_error("%s: %s (%s %s)", what, buf_str(&why), method, path);
    else
        output_error("%s (%s %s, status %ld)", what, method, path, r->status);
    if (r->status == 403)
        forbidden_advice(c, method, path);
    if (next)
        output_note("%s", next);
    return EXIT_CODE_REFUSED;
}

char *call_path(const char *prefix, const char *name)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8192);

    while (*name == '/')
        name++;
    buf_puts(&b, prefix);
    buf_puts(&b, name);
    return buf_error(&b) < 0 ? NULL : buf_steal(&b);
}

void call_warnings(const struct reply *r)
{
    const json_t *warnings = json_object_get(r->json, "warnings"), *w;
    size_t i;

    json_array_foreach(warnings, i, w) if (json_is_string(w))
        output_note("WARNING: %s", json_string_value(w));
}
