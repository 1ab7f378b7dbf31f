#include "cli/run.h"

#include <curl/curl.h>
#include <errno.h>
#include <locale.h>
#include <string.h>
#include <unistd.h>

#include <countersign/api.h>

#include "cli/call.h"
#include "cli/prompt.h"

#define TOKEN_MAX 8192

static const char *env(const char *name)
{
    const char *v = getenv(name);

    return v && v[0] ? v : NULL;
}

static const char *first(const char *a, const char *b, const char *c, const char *otherwise)
{
    return a ? a : b ? b : c ? c : otherwise;
}

/* Takes a token out of the environment, so that what we start doesn't inherit it. */
static int token_from_env(const char *name, char **token)
{
    char *v = getenv(name);

    if (v && v[0] && !*token) {
        *token = mem_dup(v, strlen(v));
        if (!*token)
            return -ENOMEM;
    }
    if (v) {
        mem_wipe(v, strlen(v));
        unsetenv(name);
    }
    return 0;
}

static int token_from_file(struct cli *c, const char *file)
{
    _cleanup_buf_ struct buf b = BUF_INIT(TOKEN_MAX);
    size_t n;
    int r;

    if (strcmp(file, "-") == 0) {
        c->stdin_used = !prompt_is_terminal();
        r = prompt_line("Token (hidden): ", true, &c->token);
        r = r == PROMPT_END ? -ENODATA : r;
    } else {
        r = prompt_read_file(file, TOKEN_MAX, &b);
        n = strcspn(buf_str(&b), "\r\n");
        if (r == 0 && !(c->token = mem_dup(buf_str(&b), n)))
            r = -ENOMEM;
    }
    if (r == 0 && !c->token[0])
        r = -ENODATA;
    if (r < 0)
        output_error("no token from %s: %s", file, strerror(-r));
    return r;
}

static int set_token(struct cli *c)
{
    const char *file = args_str(&c->args, "token-file");

    if (file && token_from_file(c, file) < 0)
        return -EINVAL;
    if (token_from_env("COUNTERSIGN_TOKEN", &c->token) < 0 ||
        token_from_env("VAULT_TOKEN", &c->token) < 0) {
        call_no_memory();
        return -ENOMEM;
    }
    return 0;
}

static int set_format(struct cli *c)
{
    const char *format = first(args_str(&c->args, "format"), env("VAULT_FORMAT"), NULL, "table");

    if (args_bool(&c->args, "json"))
        format = "json";
    if (strcmp(format, "json") == 0) {
        c->out.format = OUTPUT_JSON;
    } else if (strcmp(format, "table") != 0) {
        output_error("the format \"%s\" is not known: table or json", format);
        return -EINVAL;
    }
    c->out.field = args_str(&c->args, "field");
    return 0;
}

static bool wants_help(const struct args *a)
{
    return args_bool(a, "help") || args_bool(a, "h");
}

static int unknown_command(const struct args *a)
{
    char near[ARGS_WORDS_MAX + 40];

    if (a->n_pos == 0) {
        if (a->words[0])
            command_group_help(a->words, stderr);
        else
            command_overview(stderr);
        return EXIT_CODE_LOCAL;
    }
    command_suggest(a->words, a->pos[0], near, sizeof(near));
    output_error("there is no command \"%s%s%s\"", a->words, a->words[0] ? " " : "", a->pos[0]);
    if (near[0])
        output_note("Did you mean: countersign %s", near);
    else
        output_note("All commands: countersign help");
    return EXIT_CODE_LOCAL;
}

static int show_help(const struct args *a)
{
    if (a->command)
        command_help(a->command, stdout);
    else if (a->words[0])
        command_group_help(a->words, stdout);
    else if (a->n_pos > 0)
        return unknown_command(a);
    else
        command_overview(stdout);
    return EXIT_CODE_OK;
}

static int dispatch(struct cli *c, int argc, char **argv)
{
    char why[512];

    if (args_parse(argc, argv, &c->args, why, sizeof(why)) < 0) {
        output_error("%s", why);
        return EXIT_CODE_LOCAL;
    }
    output_init(&c->out, args_bool(&c->args, "no-color"));
    if (wants_help(&c->args))
        return show_help(&c->args);
    if (!c->args.command)
        return unknown_command(&c->args);
    if (args_check_count(&c->args, why, sizeof(why)) < 0) {
        output_error("%s", why);
        output_note("More: countersign %s -help", c->args.command->name);
        return EXIT_CODE_LOCAL;
    }
    if (set_format(c) < 0 || set_token(c) < 0)
        return EXIT_CODE_LOCAL;
    c->address = first(args_str(&c->args, "address"), env("COUNTERSIGN_ADDR"), env("VAULT_ADDR"),
                       "unix://" API_SOCKET);
    return c->args.command->run(c);
}

int run_main(int argc, char **argv)
{
    struct cli *c = calloc(1, sizeof(*c));
    int code, r;

    setlocale(LC_CTYPE, "");
    if (!c || curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        free(c);
        return call_no_memory();
    }
    code = dispatch(c, argc, argv);
    r = output_finish();
    if (r < 0) {
        output_error("not everything could be printed: %s", strerror(-r));
        code = EXIT_CODE_LOCAL;
    }
    client_free(c->client);
    mem_free_str(c->token);
    free(c);
    curl_global_cleanup();
    return code;
}
