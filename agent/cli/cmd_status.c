/* status: one screen that says whether all is well and what to do if not. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/families.h"
#include "cli/show.h"

static void put_line(const char *label, const char *value)
{
    printf("  %-16s %s\n", label, value);
}

static void put_value(const char *label, const json_t *v)
{
    _cleanup_buf_ struct buf raw = BUF_INIT(4096), clean = BUF_INIT(8192);

    if (!v || json_is_null(v))
        return;
    output_value(&raw, v);
    output_clean(&clean, buf_str(&raw));
    if (clean.len > 0)
        put_line(label, buf_error(&clean) < 0 ? "?" : buf_str(&clean));
}

static void put_state(struct cli *c, const json_t *s)
{
    bool sealed = !json_is_false(json_object_get(s, "sealed"));
    bool initialized = json_is_true(json_object_get(s, "initialized"));
    bool held = json_is_object(json_object_get(s, "held"));
    const char *word = !initialized ? "not initialised" : sealed ? "sealed" : "unsealed";
    char line[128];

    snprintf(line, sizeof(line), "%s%s %s%s%s",
             output_color(&c->out, sealed ? OUTPUT_BAD
                                   : held ? OUTPUT_WARN
                                          : OUTPUT_GOOD),
             output_mark(&c->out, !sealed && !held), word,
             held ? ", but held: nothing is made, revoked or swept" : "",
             output_color(&c->out, OUTPUT_PLAIN));
    put_line("State", line);
}

static void put_since(const json_t *s)
{
    char when[64], stamp[64], line[160];

    output_when(json_object_get(s, "since"), when, sizeof(when));
    output_stamp(json_object_get(s, "since"), stamp, sizeof(stamp));
    if (!when[0])
        return;
    snprintf(line, sizeof(line), "%s (%s)", stamp, when);
    put_line("Since", line);
}

static void put_leases(const json_t *s)
{
    static const char *const states[] = {"active", "pending", "revoking", "quarantined"};
    const json_t *leases = json_object_get(s, "leases");
    char line[256] = "", when[64];
    size_t used = 0;

    if (!json_is_object(leases))
        return;
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        json_int_t n = json_integer_value(json_object_get(leases, states[i]));

        if (n > 0 || i == 0)
            used += (size_t)snprintf(line + used, sizeof(line) - used,
                                     "%s%" JSON_INTEGER_FORMAT " %s", i ? ", " : "", n, states[i]);
        if (used >= sizeof(line))
            break;
    }
    put_line("Leases", line);
    if (json_integer_value(json_object_get(s, "revocations_waiting")) == 0)
        return;
    output_when(json_object_get(s, "oldest_waiting"), when, sizeof(when));
    snprintf(line, sizeof(line), "%" JSON_INTEGER_FORMAT "%s%s%s",
             json_integer_value(json_object_get(s, "revocations_waiting")),
             when[0] ? " (the oldest since " : "", when, when[0] ? ")" : "");
    put_line("Revocations wait", line);
}

static void put_audit(const json_t *s)
{
    const json_t *audit = json_object_get(s, "audit");
    char line[200], when[64];
    json_int_t waiting = json_integer_value(json_object_get(audit, "waiting"));

    if (!json_is_object(audit))
        return;
    output_when(json_object_get(audit, "failing_since"), when, sizeof(when));
    snprintf(line, sizeof(line), "record %" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(audit, "seq")));
    if (waiting > 0)
        snprintf(line + strlen(line), sizeof(line) - strlen(line),
                 ", %" JSON_INTEGER_FORMAT " not yet in the log file", waiting);
    if (when[0])
        snprintf(line + strlen(line), sizeof(line) - strlen(line), ", the log has failed since %s",
                 when);
    put_line("Audit", line);
}

static void put_disk(const json_t *s)
{
    static const char *const names[] = {"store", "audit"};
    static const char *const shown[] = {"for the store", "for the audit log"};
    const json_t *disk = json_object_get(s, "disk");
    char line[256] = "", bytes[32];
    size_t used = 0;

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const json_t *one = json_object_get(disk, names[i]);

        if (json_integer_value(json_object_get(one, "reserve_whole")) == 0)
            continue;
        output_size(json_integer_value(json_object_get(one, "free")), bytes, sizeof(bytes));
        used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%s free %s", used ? ", " : "",
                                 json_is_true(json_object_get(one, "full")) ? "nothing" : bytes,
                                 shown[i]);
        if (used >= sizeof(line))
            break;
    }
    if (used)
        put_line("Disk", line);
}

static void put_alerts(const json_t *s)
{
    const json_t *alerts = json_object_get(s, "alerts");
    const char *last = json_string_value(json_object_get(alerts, "last_event"));
    _cleanup_buf_ struct buf clean = BUF_INIT(1024);
    char line[200], when[64];

    if (json_integer_value(json_object_get(alerts, "count")) == 0)
        return;
    output_when(json_object_get(alerts, "since"), when, sizeof(when));
    snprintf(line, sizeof(line), "%" JSON_INTEGER_FORMAT "%s%s",
             json_integer_value(json_object_get(alerts, "count")), when[0] ? ", the first " : "",
             when);
    put_line("Alerts", line);
    output_clean(&clean, last ? last : "?");
    output_when(json_object_get(alerts, "last"), when, sizeof(when));
    snprintf(line, sizeof(line), "%s: %.100s", when, buf_str(&clean));
    put_line("Last alert", line);
}

/* A sentence in lines that fit the terminal, the later ones indented. */
static void put_wrapped(const struct output *o, const char *text)
{
    size_t room = o->width > 20 ? o->width - 4 : 0;

    while (room && strlen(text) > room) {
        size_t n = room;

        while (n > 0 && text[n] != ' ')
            n--;
        if (n == 0)
            break;
        printf("%.*s\n    ", (int)n, text);
        text += n + 1;
    }
    printf("%s\n", text);
}

#define SHOWN_MAX 5 /* so that all of it fits on a screen */

static void put_problems(struct cli *c, const json_t *problems)
{
    const json_t *p;
    size_t i;

    if (json_array_size(problems) == 0)
        return;
    printf("\n%sWhat needs you%s\n", output_color(&c->out, OUTPUT_BOLD),
           output_color(&c->out, OUTPUT_PLAIN));
    json_array_foreach(problems, i, p)
    {
        _cleanup_buf_ struct buf clean = BUF_INIT(8192);

        if (c->out.width && i == SHOWN_MAX) {
            printf("  and %zu more: countersign status -field=problems\n",
                   json_array_size(problems) - i);
            break;
        }
        output_clean(&clean, json_is_string(p) ? json_string_value(p) : "?");
        printf("  %s%s%s ", output_color(&c->out, OUTPUT_WARN), output_mark(&c->out, false),
               output_color(&c->out, OUTPUT_PLAIN));
        put_wrapped(&c->out, buf_str(&clean));
    }
}

static void put_next(const json_t *s)
{
    if (!json_is_true(json_object_get(s, "initialized")))
        printf("\nTo set it up, once, as root: countersign operator init -operator=group:NAME\n");
    else if (!json_is_false(json_object_get(s, "sealed")))
        printf("\nTo unseal it, as root: systemctl start countersign-unseal\n"
               "or, with the recovery shares: countersign operator unseal\n");
}

static void put_seal_progress(const json_t *s)
{
    char line[64];

    if (!json_integer_value(json_object_get(s, "progress")))
        return;
    snprintf(line, sizeof(line), "%d/%d recovery shares given",
             (int)json_integer_value(json_object_get(s, "progress")),
             (int)json_integer_value(json_object_get(s, "t")));
    put_line("Unsealing", line);
}

static void put_screen(struct cli *c, const json_t *s)
{
    printf("%sCountersign%s at %s\n\n", output_color(&c->out, OUTPUT_BOLD),
           output_color(&c->out, OUTPUT_PLAIN), c->address);
    put_state(c, s);
    put_seal_progress(s);
    put_since(s);
    put_value("Version", json_object_get(s, "version"));
    put_value("Instance", json_object_get(s, "instance"));
    if (json_is_false(json_object_get(s, "sealed"))) {
        put_leases(s);
        put_value("Connector", json_object_get(s, "connector"));
        put_value("Sessions", json_object_get(s, "sessions"));
        put_audit(s);
        put_alerts(s);
    }
    put_disk(s);
    put_problems(c, json_object_get(s, "problems"));
    if (json_array_size(json_object_get(s, "problems")) == 0)
        put_next(s);
}

/* sys/seal-status answers everybody in any state; sys/status may need more rights or an open store.
 */
static int run_status(struct cli *c)
{
    _cleanup_reply_ struct reply seal = {0}, full = {0};
    const struct reply *best = &seal;
    int code = call(c, "GET", "sys/seal-status", NULL, NULL, &seal), shown;

    if (code != EXIT_CODE_OK)
        return EXIT_CODE_LOCAL;
    code = call_any(c, "GET", "sys/status", NULL, NULL, &full);
    if (code != EXIT_CODE_OK)
        return EXIT_CODE_LOCAL;
    if (full.status == 200 && json_is_boolean(json_object_get(reply_data(&full), "sealed")))
        best = &full;
    if (!show_plainly(c, best, &shown))
        put_screen(c, reply_data(best));
    else if (shown != EXIT_CODE_OK)
        return shown;
    return json_is_false(json_object_get(reply_data(best), "sealed")) ? EXIT_CODE_OK
                                                                      : EXIT_CODE_REFUSED;
}

const struct command cmd_status_rows[] = {
    {.name = "status",
     .args = "",
     .purpose = "Is the agent well? What waits, and what to do",
     .example = "countersign status",
     .exits = "0 unsealed; 2 sealed or not initialised; 1 no answer.",
     .run = run_status},
    {.name = NULL},
};
