#include "cli/command.h"

#include <string.h>

#include "cli/families.h"

static const struct command *const tables[] = {
    cmd_generic_rows,  cmd_kv_rows,      cmd_kvmeta_rows,   cmd_status_rows,  cmd_top_rows,
    cmd_operator_rows, cmd_hold_rows,    cmd_snapshot_rows, cmd_rekey_rows,   cmd_breakglass_rows,
    cmd_factor_rows,   cmd_import_rows,  cmd_person_rows,   cmd_session_rows, cmd_binding_rows,
    cmd_policy_rows,   cmd_explain_rows, cmd_lease_rows,    cmd_token_rows,   cmd_apply_rows,
    cmd_secrets_rows,  cmd_audit_rows,   cmd_pam_rows,      cmd_help_rows,
};

const struct flag command_globals[] = {
    {"address", FLAG_STRING, "ADDR",
     "Where the agent listens: unix:///PATH or http://127.0.0.1:PORT. Environment: "
     "COUNTERSIGN_ADDR, VAULT_ADDR. Default: unix:///run/countersign/agent.sock"},
    {"token-file", FLAG_STRING, "FILE",
     "Read a token from FILE (\"-\": standard input). Environment (the token itself): "
     "COUNTERSIGN_TOKEN, VAULT_TOKEN. Without a token, who you are on this host counts"},
    {"format", FLAG_STRING, "table|json", "How to print. Environment: VAULT_FORMAT"},
    {"json", FLAG_BOOL, NULL, "The same as -format=json"},
    {"field", FLAG_STRING, "NAME", "Print only this one value, raw"},
    {"no-color", FLAG_BOOL, NULL, "No colours (never any unless on a terminal; NO_COLOR too)"},
    {"help", FLAG_BOOL, NULL, "Show this"},
    {"h", FLAG_BOOL, NULL, NULL},
    {NULL, FLAG_BOOL, NULL, NULL},
};

/* In the overview's order. */
static const struct command_group groups[] = {
    {"operator", "Set up, unseal, seal, change the keys"},
    {"operator snapshot", "Copies of the store: save, restore on another host"},
    {"operator break-glass", "Emergency codes, for when all else fails"},
    {"factor", "Second factors: enrol, import, list, remove"},
    {"person", "People: who is known, and taking everything from a leaver"},
    {"session", "Login sessions the agent knows"},
    {"binding", "Who may have what, under which conditions"},
    {"policy", "Paths and capabilities, in Vault's form"},
    {"lease", "What was handed out: list, renew, revoke"},
    {"kv", "Stored secrets (versioned key/value)"},
    {"kv metadata", "What is known about a stored secret's versions"},
    {"secrets", "Secrets engines: list, enable, disable"},
    {"token", "Tokens for clients that want them"},
    {"audit", "Check the record of what happened"},
    {"pam", "Put Countersign before sshd, sudo and others; and take it away"},
};

const struct command *command_next(struct command_walk *w)
{
    while (w->table < ARRAY_LEN(tables)) {
        const struct command *row = &tables[w->table][w->row];

        if (row->name) {
            w->row++;
            return row;
        }
        w->table++;
        w->row = 0;
    }
    return NULL;
}

const struct command_group *command_groups(size_t *n)
{
    *n = ARRAY_LEN(groups);
    return groups;
}

#define for_each_command(c) for (struct command_walk w_ = {0}; ((c) = command_next(&w_)) != NULL;)

const struct command *command_find(const char *name)
{
    const struct command *c;

    for_each_command(c) if (strcmp(c->name, name) == 0) return c;
    return NULL;
}

/* Whether `name` is `prefix` or continues it with a further word. */
static bool continues(const char *name, const char *prefix)
{
    size_t n = strlen(prefix);

    return strncmp(name, prefix, n) == 0 && (name[n] == '\0' || name[n] == ' ');
}

bool command_is_prefix(const char *name)
{
    const struct command *c;

    for_each_command(c) if (continues(c->name, name)) return true;
    return false;
}

const struct flag *command_flag(const struct flag *table, const char *name)
{
    for (; table && table->name; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

/* --- Suggestions --------------------------------------------------------------------------------
 */

#define WORD_MAX 32

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many letters must be added, dropped, changed or swapped with their neighbour. */
static unsigned distance(const char *a, const char *b)
{
    unsigned d[WORD_MAX + 1][WORD_MAX + 1];
    size_t n = strnlen(a, WORD_MAX), m = strnlen(b, WORD_MAX);

    for (size_t i = 0; i <= n; i++)
        d[i][0] = (unsigned)i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            unsigned change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

            d[i][j] = least(change, least(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[n][m];
}

/* The first command that has the word behind its first one, up to that word. */
static bool suggest_longer(const char *word, char *out, size_t size)
{
    const struct command *c;

    for_each_command(c)
    {
        for (const char *at = strchr(c->name, ' '); at && !c->hidden; at = strchr(at + 1, ' ')) {
            if (continues(at + 1, word)) {
                snprintf(out, size, "%.*s", (int)((size_t)(at + 1 - c->name) + strlen(word)),
                         c->name);
                return true;
            }
        }
    }
    return false;
}

void command_suggest(const char *prefix, const char *word, char *out, size_t size)
{
    size_t skip = prefix[0] ? strlen(prefix) + 1 : 0;
    unsigned best = least((unsigned)strlen(word) / 2, 3) + 1;
    const struct command *c;

    out[0] = '\0';
    if (!prefix[0] && word[0] && suggest_longer(word, out, size))
        return;
    for_each_command(c)
    {
        char next[WORD_MAX + 1];
        unsigned d;

        if (c->hidden || (skip > 0 && (!continues(c->name, prefix) || strlen(c->name) < skip)))
            continue;
        snprintf(next, sizeof(next), "%.*s", (int)strcspn(c->name + skip, " "), c->name + skip);
        d = distance(next, word);
        if (d < best) {
            best = d;
            snprintf(out, size, "%s%s%s", prefix, skip ? " " : "", next);
        }
    }
}

/* --- Help ---------------------------------------------------------------------------------------
 */

/* Prints text broken at spaces to lines of at most 90 columns, each indented. */
static void put_wrapped(FILE *to, const char *text, unsigned indent)
{
    unsigned column = 0;

    while (*text) {
        size_t n = strcspn(text, " ");

        if (column > 0 && column + 1 + n > 90 - indent) {
            fputc('\n', to);
            column = 0;
        }
        if (column == 0)
            fprintf(to, "%*s", (int)indent, "");
        else
            fputc(' ', to), column++;
        fwrite(text, 1, n, to);
        column += (unsigned)n;
        text += n;
        text += *text == ' ';
    }
    fputc('\n', to);
}

static void put_lines(FILE *to, const char *text, const char *indent)
{
    while (*text) {
        size_t n = strcspn(text, "\n");

        fprintf(to, "%s%.*s\n", indent, (int)n, text);
        text += n;
        text += *text == '\n';
    }
}

static void put_flags(const struct flag *f, FILE *to)
{
    for (; f && f->name; f++) {
        if (!f->help)
            continue;
        if (f->value)
            fprintf(to, "  -%s=%s\n", f->name, f->value);
        else
            fprintf(to, "  -%s\n", f->name);
        put_wrapped(to, f->help, 6);
    }
}

void command_help(const struct command *cmd, FILE *to)
{
    bool flags = cmd->flags && cmd->flags->name;

    fprintf(to, "Usage: countersign %s%s%s%s\n\n", cmd->name, flags ? " [flags]" : "",
            cmd->args[0] ? " " : "", cmd->args);
    put_wrapped(to, cmd->purpose, 2);
    if (cmd->details) {
        fputc('\n', to);
        put_lines(to, cmd->details, "  ");
    }
    if (cmd->example) {
        fprintf(to, "\nExample:\n\n");
        put_lines(to, cmd->example, "    $ ");
    }
    if (flags) {
        fprintf(to, "\nFlags:\n\n");
        put_flags(cmd->flags, to);
    }
    fprintf(to, "\nFlags of every command:\n\n");
    put_flags(command_globals, to);
    fprintf(to, "\nExit codes: %s\n",
            cmd->exits ? cmd->exits
                       : "0 done; 1 wrong usage or a local problem; 2 the agent refused.");
}

/* How wide the longest name of a group is. */
static int widest(const char *group)
{
    const struct command *c;
    size_t most = 22;

    for_each_command(c) if (!c->hidden && continues(c->name, group) && strlen(c->name) > most)
        most = strlen(c->name);
    return (int)most;
}

void command_group_help(const char *group, FILE *to)
{
    const struct command *c;
    int width = widest(group);

    fprintf(to, "Usage: countersign %s COMMAND [flags] [arguments]\n\n", group);
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        if (strcmp(groups[i].name, group) == 0)
            fprintf(to, "  %s.\n\n", groups[i].purpose);
    fprintf(to, "Commands:\n\n");
    for_each_command(c) if (!c->hidden && continues(c->name, group))
        fprintf(to, "  %-*s  %s\n", width, c->name, c->purpose);
    fprintf(to, "\ncountersign %s COMMAND -help tells more about each.\n", group);
}

void command_overview(FILE *to)
{
    const struct command *c;

    fprintf(to, "Usage: countersign COMMAND [flags] [arguments]\n\n"
                "  Asks the Countersign agent of this host: log in with a second factor, and what\n"
                "  you take is leased and ends with you.\n\n"
                "Common commands:\n\n");
    for_each_command(c) if (!c->hidden && !strchr(c->name, ' '))
        fprintf(to, "  %-14s  %s\n", c->name, c->purpose);
    fprintf(to, "\nGroups of commands:\n\n");
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        if (!strchr(groups[i].name, ' '))
            fprintf(to, "  %-14s  %s\n", groups[i].name, groups[i].purpose);
    fprintf(to, "\nFlags of every command:\n\n");
    put_flags(command_globals, to);
    fprintf(to, "\ncountersign COMMAND -help tells more about each.\n");
}

void command_completion(FILE *to)
{
    const struct command *c;
    const struct flag *f;

    for (f = command_globals, fputc('\t', to); f->name; f++)
        if (f->help)
            fprintf(to, "-%s%s ", f->name, f->value ? "=" : "");
    fputc('\n', to);
    for_each_command(c)
    {
        if (c->hidden)
            continue;
        fprintf(to, "%s\t", c->name);
        for (f = c->flags; f && f->name; f++)
            fprintf(to, "-%s%s ", f->name, f->value ? "=" : "");
        fputc('\n', to);
    }
}
