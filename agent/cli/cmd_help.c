/* version, help, and what shell completion reads. */
#include <string.h>

#include "cli/families.h"
#include "cli/manual.h"
#include "cli/show.h"

static int run_version(struct cli *c)
{
    _cleanup_json_ json_t *v = json_pack("{s:s}", "version", COUNTERSIGN_VERSION);

    if (c->out.format == OUTPUT_JSON)
        return output_json(v) < 0 ? call_no_memory() : EXIT_CODE_OK;
    printf("countersign %s\n", COUNTERSIGN_VERSION);
    return EXIT_CODE_OK;
}

static int help_exit_codes(void)
{
    printf("Exit codes\n\n"
           "  0  done\n"
           "  1  wrong usage, or a problem on this side: no agent, no such file, no memory\n"
           "  2  the agent answered and refused, or there is nothing at the path\n\n"
           "Some commands say more with them:\n\n"
           "  status        0 unsealed, 2 sealed or not initialised, 1 no answer\n"
           "  explain       0 allowed, 2 denied\n"
           "  audit verify  0 whole, 2 broken, 1 it could not be checked\n"
           "  pam status    0 no change waits, 2 a change waits for: countersign pam confirm\n");
    return EXIT_CODE_OK;
}

static int run_help(struct cli *c)
{
    char words[ARGS_WORDS_MAX] = "", near[ARGS_WORDS_MAX + 40];
    const struct command *found;

    for (size_t i = 0; i < c->args.n_pos; i++) {
        size_t n = strlen(words);

        snprintf(words + n, sizeof(words) - n, "%s%s", i ? " " : "", c->args.pos[i]);
    }
    if (strcmp(words, "exit-codes") == 0)
        return help_exit_codes();
    found = command_find(words);
    if (!words[0])
        command_overview(stdout);
    else if (found)
        command_help(found, stdout);
    else if (command_is_prefix(words))
        command_group_help(words, stdout);
    else {
        command_suggest("", words, near, sizeof(near));
        output_error("there is no command \"%s\"%s%s%s", words, near[0] ? "; did you mean " : "",
                     near, near[0] ? "?" : "");
        return EXIT_CODE_LOCAL;
    }
    return EXIT_CODE_OK;
}

static int run_completion(struct cli *c)
{
    (void)c;
    command_completion(stdout);
    return EXIT_CODE_OK;
}

static int run_manual(struct cli *c)
{
    (void)c;
    manual_commands(stdout);
    return EXIT_CODE_OK;
}

const struct command cmd_help_rows[] = {
    {.name = "version",
     .args = "",
     .purpose = "Print the version",
     .example = "countersign version",
     .run = run_version},
    {.name = "help",
     .args = "[COMMAND... | exit-codes]",
     .purpose = "Tell more about a command, or what the exit codes mean",
     .example = "countersign help kv put",
     .max_args = -1,
     .run = run_help},
    {.name = "completion-data",
     .args = "",
     .purpose = "What the shell's completion reads",
     .hidden = true,
     .run = run_completion},
    {.name = "manual-data",
     .args = "",
     .purpose = "What countersign(1) is made of",
     .hidden = true,
     .run = run_manual},
    {.name = NULL},
};
