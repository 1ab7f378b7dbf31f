#include "cli/args.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FLAG_NAME_MAX 64

static bool bool_value(const char *s, bool *v)
{
    static const char *const yes[] = {"true", "t", "1", "yes"}, *const no[] = {"false", "f", "0",
                                                                               "no"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcmp(s, yes[i]) == 0)
            return *v = true, true;
        if (strcmp(s, no[i]) == 0)
            return *v = false, true;
    }
    return false;
}

static bool int_value(const char *s, int64_t *v)
{
    char *end;

    errno = 0;
    *v = strtoll(s, &end, 10);
    return errno == 0 && end != s && *end == '\0';
}

/* A boolean's value stands behind '=' only; any other flag takes the next word if it has none. */
static int take_value(int argc, char **argv, int *i, struct args_flag *f, char *why, size_t whylen)
{
    bool b;
    int64_t n;

    if (!f->value && f->flag->kind == FLAG_BOOL) {
        f->value = "true";
    } else if (!f->value) {
        if (*i + 1 >= argc) {
            snprintf(why, whylen, "-%s needs a value: -%s=%s", f->flag->name, f->flag->name,
                     f->flag->value);
            return -EINVAL;
        }
        f->value = argv[++*i];
    }
    if (f->flag->kind == FLAG_BOOL && !bool_value(f->value, &b)) {
        snprintf(why, whylen, "-%s is true or false, not \"%s\"", f->flag->name, f->value);
        return -EINVAL;
    }
    if (f->flag->kind == FLAG_INT && !int_value(f->value, &n)) {
        snprintf(why, whylen, "-%s needs a whole number, not \"%s\"", f->flag->name, f->value);
        return -EINVAL;
    }
    return 0;
}

static int unknown_flag(const struct args *a, const char *name, char *why, size_t whylen)
{
    if (a->command)
        snprintf(why, whylen, "\"%s\" has no flag -%s; countersign %s -help lists its flags",
                 a->command->name, name, a->command->name);
    else
        snprintf(why, whylen,
                 "-%s is not a flag of every command: write it behind the command's words", name);
    return -EINVAL;
}

static int parse_flag(int argc, char **argv, int *i, struct args *a, char *why, size_t whylen)
{
    const char *word = argv[*i] + (argv[*i][1] == '-' ? 2 : 1);
    size_t len = strcspn(word, "=");
    struct args_flag f = {0};
    char name[FLAG_NAME_MAX];

    snprintf(name, sizeof(name), "%.*s", (int)(len < sizeof(name) ? len : sizeof(name) - 1), word);
    f.flag = a->command ? command_flag(a->command->flags, name) : NULL;
    if (!f.flag)
        f.flag = command_flag(command_globals, name);
    if (!f.flag)
        return unknown_flag(a, name, why, whylen);
    f.value = word[len] == '=' ? word + len + 1 : NULL;
    if (take_value(argc, argv, i, &f, why, whylen) < 0)
        return -EINVAL;
    a->flags[a->n_flags++] = f;
    return 0;
}

/* A word goes on with the command's name as long as no argument stood before it and a command of
 * that name exists. */
static bool extend_words(struct args *a, const char *word)
{
    char longer[ARGS_WORDS_MAX];
    int n = snprintf(longer, sizeof(longer), "%s%s%s", a->words, a->words[0] ? " " : "", word);

    if (a->n_pos > 0 || n < 0 || (size_t)n >= sizeof(longer) || strchr(word, ' ') ||
        !command_is_prefix(longer))
        return false;
    memcpy(a->words, longer, (size_t)n + 1);
    a->command = command_find(longer);
    return true;
}

static bool is_flag(const char *word)
{
    return word[0] == '-' && word[1] != '\0';
}

int args_parse(int argc, char **argv, struct args *a, char *why, size_t whylen)
{
    bool flags_over = false;

    *a = (struct args){0};
    why[0] = '\0';
    if (argc > ARGS_MAX) {
        snprintf(why, whylen, "more than %d words on the command line", ARGS_MAX);
        return -EINVAL;
    }
    for (int i = 1; i < argc; i++) {
        if (!flags_over && strcmp(argv[i], "--") == 0) {
            flags_over = true;
        } else if (!flags_over && is_flag(argv[i])) {
            if (parse_flag(argc, argv, &i, a, why, whylen) < 0)
                return -EINVAL;
        } else if (!extend_words(a, argv[i])) {
            a->pos[a->n_pos++] = argv[i];
        }
    }
    return 0;
}

int args_check_count(const struct args *a, char *why, size_t whylen)
{
    const struct command *c = a->command;

    if (a->n_pos < (size_t)c->min_args) {
        snprintf(why, whylen, "\"%s\" needs more: countersign %s %s", c->name, c->name, c->args);
        return -EINVAL;
    }
    if (c->max_args >= 0 && a->n_pos > (size_t)c->max_args) {
        snprintf(why, whylen, "\"%s\" is one word too many: countersign %s%s%s",
                 a->pos[c->max_args], c->name, c->args[0] ? " " : "", c->args);
        return -EINVAL;
    }
    return 0;
}

const char *args_str(const struct args *a, const char *flag)
{
    for (size_t i = a->n_flags; i-- > 0;)
        if (strcmp(a->flags[i].flag->name, flag) == 0)
            return a->flags[i].value;
    return NULL;
}

bool args_has(const struct args *a, const char *flag)
{
    return args_str(a, flag) != NULL;
}

bool args_bool(const struct args *a, const char *flag)
{
    const char *s = args_str(a, flag);
    bool v = false;

    return s && bool_value(s, &v) && v;
}

int64_t args_int(const struct args *a, const char *flag, int64_t dflt)
{
    const char *s = args_str(a, flag);
    int64_t v;

    return s && int_value(s, &v) ? v : dflt;
}

static int append_split(json_t *list, const char *s)
{
    while (*s) {
        size_t n = strcspn(s, ",");

        if (n > 0 && json_array_append_new(list, json_stringn(s, n)) < 0)
            return -ENOMEM;
        s += n;
        s += *s == ',';
    }
    return 0;
}

json_t *args_list(const struct args *a, const char *flag)
{
    _cleanup_json_ json_t *list = json_array();

    if (!list)
        return NULL;
    for (size_t i = 0; i < a->n_flags; i++)
        if (strcmp(a->flags[i].flag->name, flag) == 0 && append_split(list, a->flags[i].value) < 0)
            return NULL;
    return json_incref(list);
}

const char *args_pos(const struct args *a, size_t i)
{
    return i < a->n_pos ? a->pos[i] : NULL;
}
