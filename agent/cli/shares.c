#include "cli/shares.h"

#include <stdio.h>
#include <string.h>

#include "cli/prompt.h"

#define MISTAKES_MAX 3

const json_t *shares_of(const json_t *answer)
{
    static const char *const names[] = {"keys_base64", "recovery_keys_base64", "keys",
                                        "recovery_keys"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (json_array_size(json_object_get(answer, names[i])) > 0)
            return json_object_get(answer, names[i]);
    return NULL;
}

static const char for_recovery[] =
    "open the store when this host cannot do it by itself: after the\n"
    "    disk moved to another machine, or when the unseal key is lost. Fewer tell nothing.\n";
static const char for_opening[] =
    "open the store after each start of the agent: no key is kept\n"
    "    on this host. Fewer tell nothing. Keep a door that works without the agent (a console\n"
    "    login, or emergency codes), or nobody gets in to give them after a reboot.\n";

void shares_print(struct cli *c, const json_t *shares, int64_t threshold, bool recovery)
{
    size_t n = json_array_size(shares), i;
    const json_t *s;

    printf("%s%s shares%s (shown now and never again)\n\n", output_color(&c->out, OUTPUT_BOLD),
           recovery ? "Recovery" : "Unseal key", output_color(&c->out, OUTPUT_PLAIN));
    json_array_foreach(shares, i, s) printf("  %2zu  %s\n", i + 1, json_string_value(s));
    printf(
        "\n"
        "What to do with them:\n"
        "  - Give each to a different person, who keeps it offline: on paper in a safe, or in a\n"
        "    password manager that is not on this host.\n"
        "  - Any %" JSON_INTEGER_FORMAT " of these %zu %s"
        "  - Clear this screen and its scrollback afterwards. Put them into no file here.\n",
        (json_int_t)threshold, n, recovery ? for_recovery : for_opening);
}

static int send_share(struct cli *c, const char *path, const char *nonce, const char *share,
                      struct reply *r)
{
    _cleanup_json_ json_t *body = json_object();

    if (json_set_str(body, "key", share) < 0 || json_set_str(body, "nonce", nonce) < 0)
        return call_no_memory();
    return call(c, "PUT", path, NULL, body, r);
}

static void show_progress(const json_t *s)
{
    const json_t *needed = json_object_get(s, "required");

    output_note("%d/%d shares given.", (int)json_integer_value(json_object_get(s, "progress")),
                (int)json_integer_value(needed ? needed : json_object_get(s, "t")));
}

int shares_give(struct cli *c, const char *path, const char *status, const char *nonce,
                struct reply *r, bool *done)
{
    unsigned mistakes = 0;
    int code = call(c, "GET", status, NULL, NULL, r);

    *done = false;
    while (code == EXIT_CODE_OK && !*done) {
        _cleanup_secret_ char *share = NULL;

        show_progress(reply_data(r));
        if (prompt_line("Share (hidden; Enter alone: stop here): ", true, &share) != 0 || !share[0])
            return EXIT_CODE_OK;
        share[strcspn(share, " \t")] = '\0';
        code = send_share(c, path, nonce, share, r);
        if (code == EXIT_CODE_REFUSED && r->status == 400 && prompt_is_terminal() &&
            ++mistakes < MISTAKES_MAX)
            code = call(c, "GET", status, NULL, NULL, r);
        *done = json_is_true(json_object_get(reply_data(r), "complete"));
    }
    return code;
}
