#include "cli/manual.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "cli/command.h"

#define LINE 72

/* --- mdoc --------------------------------------------------------------------------------------
 */

/* One character of text: a backslash would begin an escape, a plain hyphen is a line break's. */
static void put_char(FILE *to, char c)
{
    if (c == '\\')
        fputs("\\e", to);
    else if (c == '-')
        fputs("\\-", to);
    else
        fputc(c, to);
}

/* The argument of a macro: quoted, and no macro's name itself. */
static void put_argument(FILE *to, const char *text)
{
    fputs(" \"\\&", to);
    for (; *text; text++) {
        if (*text == '"')
            fputs("\\(dq", to);
        else
            put_char(to, *text == '\n' ? ' ' : *text);
    }
    fputc('"', to);
}

/* A line of text; one that begins with a dot or a quote would be a request. */
static void put_line(FILE *to, const char *text, size_t n)
{
    if (n > 0 && (*text == '.' || *text == '\''))
        fputs("\\&", to);
    for (size_t i = 0; i < n; i++)
        put_char(to, text[i]);
    fputc('\n', to);
}

/* Whether a sentence ends at this blank: roff wants each to begin a line. */
static bool sentence_ends(const char *text, size_t at)
{
    return at > 1 && text[at - 1] == '.' && isupper((unsigned char)text[at + 1]);
}

/* The text in lines of at most LINE columns; its own line breaks mean nothing. */
static void put_text(FILE *to, const char *text)
{
    char line[LINE + 1];
    size_t used = 0;

    while (*text) {
        size_t n = strcspn(text, " \n");

        if (used > 0 && used + 1 + n > LINE) {
            put_line(to, line, used);
            used = 0;
        }
        if (n >= LINE) {
            put_line(to, text, n);
        } else if (n > 0) {
            used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%.*s", used ? " " : "",
                                     (int)n, text);
        }
        if (text[n] && sentence_ends(text, n) && used > 0) {
            put_line(to, line, used);
            used = 0;
        }
        text += n + (text[n] != '\0');
    }
    if (used > 0)
        put_line(to, line, used);
}

static void put_flags(FILE *to, const struct flag *f)
{
    fputs(".Bl -tag -width Ds\n", to);
    for (; f->name; f++) {
        if (!f->help)
            continue;
        fputs(".It Fl", to);
        put_argument(to, f->name);
        if (f->value) {
            fputs(" Ns = Ns Ar", to);
            put_argument(to, f->value);
        }
        fputc('\n', to);
        put_text(to, f->help);
    }
    fputs(".El\n", to);
}

static void put_example(FILE *to, const char *text)
{
    bool begins = true;

    fputs(".Bd -literal -offset 2n\n", to);
    while (*text) {
        size_t n = strcspn(text, "\n");

        fputs(begins ? "$ " : "", to);
        begins = n == 0 || text[n - 1] != '\\';
        put_line(to, text, n);
        text += n;
        text += *text == '\n';
    }
    fputs(".Ed\n", to);
}

/* --- The commands ------------------------------------------------------------------------------
 */

static void put_command(FILE *to, const struct command *c)
{
    bool flags = c->flags && c->flags->name;

    fputs(".It Nm Cm", to);
    put_argument(to, c->name);
    if (flags)
        fputs(" Oo Ar flags Oc", to);
    if (c->args[0]) {
        fputs(" Ar", to);
        put_argument(to, c->args);
    }
    fputc('\n', to);
    put_text(to, c->purpose);
    if (c->details) {
        fputs(".Pp\n", to);
        put_text(to, c->details);
    }
    if (flags)
        put_flags(to, c->flags);
    if (c->exits) {
        fputs(".Pp\nExit status:\n", to);
        put_text(to, c->exits);
    }
    if (c->example)
        put_example(to, c->example);
}

/* The longest group that the command belongs to; NULL for one on its own. */
static const struct command_group *group_of(const struct command *c)
{
    const struct command_group *best = NULL;
    size_t n;
    const struct command_group *groups = command_groups(&n);

    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(groups[i].name);

        if (strncmp(c->name, groups[i].name, len) == 0 && c->name[len] == ' ' &&
            (!best || len > strlen(best->name)))
            best = &groups[i];
    }
    return best;
}

static void put_group(FILE *to, const struct command_group *g)
{
    struct command_walk w = {0};

    fputs(".Bl -tag -width Ds\n", to);
    for (const struct command *c; (c = command_next(&w)) != NULL;)
        if (!c->hidden && group_of(c) == g)
            put_command(to, c);
    fputs(".El\n", to);
}

void manual_commands(FILE *to)
{
    size_t n;
    const struct command_group *groups = command_groups(&n);

    fputs(".Sh COMMANDS\n", to);
    put_group(to, NULL);
    for (size_t i = 0; i < n; i++) {
        fputs(".Ss", to);
        put_argument(to, groups[i].name);
        fputc('\n', to);
        put_text(to, groups[i].purpose);
        put_group(to, &groups[i]);
    }
    fputs(".Sh OPTIONS\nEvery command takes these, with one dash or two.\n", to);
    put_flags(to, command_globals);
}
