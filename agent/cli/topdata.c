#include "cli/topdata.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/call.h"

static const struct {
    const char *path, *member, *title;
} panes[TOPDATA_PANES] = {
    [TOPDATA_LEASES] = {"sys/leases", "leases", "Leases"},
    [TOPDATA_SESSIONS] = {"sys/sessions", "sessions", "Sessions"},
    [TOPDATA_LOGINS] = {"sys/logins", "logins", "Logins"},
};

/* --- Fetching ------------------------------------------------------------------------------------
 */

static int fetch_status(struct cli *c, struct topdata *d)
{
    _cleanup_reply_ struct reply r = {0};
    int e = call_quietly(c, "GET", "sys/status", NULL, &r);

    if (e < 0) {
        snprintf(d->error, sizeof(d->error), "no answer from the agent: %s", strerror(-e));
        return e;
    }
    d->error[0] = '\0';
    json_decref(d->status);
    d->status = json_incref((json_t *)(uintptr_t)reply_data(&r));
    return 0;
}

static int fetch_pane(struct cli *c, struct topdata *d, enum topdata_pane p)
{
    _cleanup_reply_ struct reply r = {0};
    _cleanup_buf_ struct buf why = BUF_INIT(4096);
    int e = call_quietly(c, "GET", panes[p].path, NULL, &r);

    if (e < 0)
        return e;
    json_decref(d->list[p]);
    d->list[p] = json_incref(json_object_get(reply_data(&r), panes[p].member));
    d->why[p][0] = '\0';
    if (d->list[p])
        return 0;
    call_reason(&r, &why);
    snprintf(d->why[p], sizeof(d->why[p]), "%s", buf_error(&why) < 0 ? "" : buf_str(&why));
    return 0;
}

int topdata_fetch(struct cli *c, struct topdata *d)
{
    int e = fetch_status(c, d);

    for (int p = 0; e == 0 && p < TOPDATA_PANES; p++)
        e = fetch_pane(c, d, (enum topdata_pane)p);
    if (e == 0)
        d->taken_ms = clock_boot_ms();
    return e;
}

void topdata_clear(struct topdata *d)
{
    json_decref(d->status);
    for (int p = 0; p < TOPDATA_PANES; p++)
        json_decref(d->list[p]);
    *d = (struct topdata){0};
}

json_t *topdata_frame(const struct topdata *d)
{
    return json_pack("{s:O?, s:O?, s:O?, s:O?}", "status", d->status, "leases",
                     d->list[TOPDATA_LEASES], "sessions", d->list[TOPDATA_SESSIONS], "logins",
                     d->list[TOPDATA_LOGINS]);
}

/* --- Cells ---------------------------------------------------------------------------------------
 */

static const char *str_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static int64_t int_of(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static void copy(char out[TOPDATA_CELL], const char *s)
{
    snprintf(out, TOPDATA_CELL, "%s", s);
}

static int64_t stamp_of(const json_t *o, const char *key)
{
    int64_t ms = 0;

    return clock_parse_stamp(str_of(o, key), &ms) == 0 ? ms : 0;
}

static void ago(const json_t *o, const char *key, char out[TOPDATA_CELL])
{
    int64_t s = (clock_wall_ms() - stamp_of(o, key)) / 1000;

    clock_human(s > 0 ? s : 0, out, TOPDATA_CELL);
}

static int64_t ttl_value(const json_t *l)
{
    return int_of(l, "ttl");
}

/* What has no time any more is being undone. */
static void ttl_cell(const json_t *l, int64_t age_s, char out[TOPDATA_CELL])
{
    int64_t left = int_of(l, "ttl") - age_s;

    if (strcmp(str_of(l, "state"), "active") != 0)
        copy(out, "-");
    else
        clock_human(left > 0 ? left : 0, out, TOPDATA_CELL);
}

#define TEXT_CELL(name, key)                                                                       \
    static void name(const json_t *o, int64_t age_s _unused_, char out[TOPDATA_CELL])              \
    {                                                                                              \
        copy(out, str_of(o, key));                                                                 \
    }
TEXT_CELL(state_cell, "state")
TEXT_CELL(holder_cell, "principal")
TEXT_CELL(id_cell, "id")
TEXT_CELL(user_cell, "user")
TEXT_CELL(service_cell, "service")
TEXT_CELL(source_cell, "source")
TEXT_CELL(tty_cell, "tty")
TEXT_CELL(hook_cell, "hook")
TEXT_CELL(result_cell, "result")
TEXT_CELL(rule_cell, "rule")

static void life_cell(const json_t *l, int64_t age_s _unused_, char out[TOPDATA_CELL])
{
    const json_t *life = json_object_get(l, "lifetime");
    const char *kind = str_of(life, "kind"), *number = strrchr(str_of(life, "id"), '/');

    if (strcmp(kind, "session") == 0 && number)
        snprintf(out, TOPDATA_CELL, "session %s", number + 1);
    else
        copy(out, strcmp(kind, "none") == 0 ? "its time" : kind);
}

static int64_t started_value(const json_t *s)
{
    return stamp_of(s, "started");
}

static void started_cell(const json_t *s, int64_t age_s _unused_, char out[TOPDATA_CELL])
{
    ago(s, "started", out);
}

static void proved_cell(const json_t *s, int64_t age_s, char out[TOPDATA_CELL])
{
    const json_t *p = json_array_get(json_object_get(s, "proofs"), 0);
    char age[32];

    clock_human(int_of(p, "age") + age_s, age, sizeof(age));
    snprintf(out, TOPDATA_CELL, "%s%s%s%s", p ? str_of(p, "factor") : "no factor", p ? " " : "",
             p ? age : "", p ? " ago" : "");
}

static int64_t leases_value(const json_t *s)
{
    return int_of(s, "leases");
}

static void leases_cell(const json_t *s, int64_t age_s _unused_, char out[TOPDATA_CELL])
{
    snprintf(out, TOPDATA_CELL, "%" JSON_INTEGER_FORMAT, (json_int_t)leases_value(s));
}

static int64_t when_value(const json_t *l)
{
    return -stamp_of(l, "time"); /* the newest first */
}

static void when_cell(const json_t *l, int64_t age_s _unused_, char out[TOPDATA_CELL])
{
    ago(l, "time", out);
}

static const struct topdata_column columns[TOPDATA_PANES][TOPDATA_COLUMNS + 1] = {
    [TOPDATA_LEASES] = {{"TTL", 8, true, ttl_cell, ttl_value},
                        {"STATE", 11, false, state_cell, NULL},
                        {"HELD BY", 16, false, holder_cell, NULL},
                        {"LEASE", 0, false, id_cell, NULL},
                        {"TIED TO", 14, false, life_cell, NULL},
                        {NULL, 0, false, NULL, NULL}},
    [TOPDATA_SESSIONS] = {{"SINCE", 8, true, started_cell, started_value},
                          {"USER", 12, false, user_cell, NULL},
                          {"SERVICE", 10, false, service_cell, NULL},
                          {"FROM", 15, false, source_cell, NULL},
                          {"TTY", 8, false, tty_cell, NULL},
                          {"PROVED", 0, false, proved_cell, NULL},
                          {"LEASES", 6, true, leases_cell, leases_value},
                          {NULL, 0, false, NULL, NULL}},
    [TOPDATA_LOGINS] = {{"AGO", 8, true, when_cell, when_value},
                        {"USER", 12, false, user_cell, NULL},
                        {"SERVICE", 10, false, service_cell, NULL},
                        {"FROM", 15, false, source_cell, NULL},
                        {"HOOK", 8, false, hook_cell, NULL},
                        {"RESULT", 11, false, result_cell, NULL},
                        {"RULE", 0, false, rule_cell, NULL},
                        {NULL, 0, false, NULL, NULL}},
};

const char *topdata_title(enum topdata_pane p)
{
    return panes[p].title;
}

const struct topdata_column *topdata_columns(enum topdata_pane p)
{
    return columns[p];
}

size_t topdata_column_count(enum topdata_pane p)
{
    size_t n = 0;

    while (columns[p][n].head)
        n++;
    return n;
}

const char *topdata_id(enum topdata_pane p, const json_t *item)
{
    return p == TOPDATA_LOGINS ? "" : str_of(item, "id");
}

/* --- Rows ----------------------------------------------------------------------------------------
 */

static const struct topdata_column *sort_by;
static bool sort_reverse;

static int compare(const void *a, const void *b)
{
    const json_t *x = *(const json_t *const *)a, *y = *(const json_t *const *)b;
    char s[TOPDATA_CELL], t[TOPDATA_CELL];
    int order;

    if (sort_by->number) {
        int64_t m = sort_by->value(x), n = sort_by->value(y);

        order = (m > n) - (m < n);
    } else {
        sort_by->cell(x, 0, s);
        sort_by->cell(y, 0, t);
        order = strcmp(s, t);
    }
    if (order == 0) /* equal ones keep their places from one look to the next */
        return strcmp(str_of(x, "id"), str_of(y, "id"));
    return sort_reverse ? -order : order;
}

static bool matches(enum topdata_pane p, const json_t *item, const char *filter)
{
    char cell[TOPDATA_CELL];

    for (const struct topdata_column *c = columns[p]; c->head; c++) {
        c->cell(item, 0, cell);
        if (strcasestr(cell, filter))
            return true;
    }
    return !filter[0];
}

const json_t **topdata_rows(const struct topdata *d, enum topdata_pane p,
                            const struct topdata_view *v, size_t *n)
{
    size_t all = json_array_size(d->list[p]), i;
    const json_t **rows = all ? calloc(all, sizeof(*rows)) : NULL;
    const json_t *item;

    *n = 0;
    if (!rows)
        return NULL;
    json_array_foreach(d->list[p], i, item)
    {
        if (matches(p, item, v->filter))
            rows[(*n)++] = item;
    }
    sort_by = &columns[p][v->sort < topdata_column_count(p) ? v->sort : 0];
    sort_reverse = v->reverse;
    qsort(rows, *n, sizeof(*rows), compare);
    return rows;
}
