/* top: a live screen of leases, sessions and logins. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/families.h"
#include "cli/show.h"
#include "cli/topscreen.h"

#define LOOK_MS 1000
#define ANSWER_S 5 /* how long the screen may stand still */
#define PAGE 10

struct top {
    struct cli *cli;
    struct topdata data;
    struct topscreen screen;
    char wanted[1200]; /* the lease that "revoke?" is asked about */
    bool filtering, quit;
};

/* --- Rows ----------------------------------------------------------------------------------------
 */

/* The selection stays with what was selected, wherever it stands now. */
static void keep_selected(struct topscreen_pane *p, enum topdata_pane which, const char *id)
{
    for (size_t i = 0; id[0] && i < p->n; i++) {
        if (strcmp(topdata_id(which, p->rows[i]), id) == 0) {
            p->selected = i;
            return;
        }
    }
}

static void take_rows(struct top *t)
{
    for (int i = 0; i < TOPDATA_PANES; i++) {
        struct topscreen_pane *p = &t->screen.pane[i];

        free(p->rows);
        p->rows = topdata_rows(&t->data, (enum topdata_pane)i, &p->view, &p->n);
    }
}

static void selected_id(const struct top *t, enum topdata_pane which, char *out, size_t size)
{
    const struct topscreen_pane *p = &t->screen.pane[which];

    snprintf(out, size, "%s", p->selected < p->n ? topdata_id(which, p->rows[p->selected]) : "");
}

static void look(struct top *t)
{
    char ids[TOPDATA_PANES][1200];

    for (int i = 0; i < TOPDATA_PANES; i++)
        selected_id(t, (enum topdata_pane)i, ids[i], sizeof(ids[i]));
    for (int i = 0; i < TOPDATA_PANES; i++) { /* the rows are borrowed from what is fetched anew */
        free(t->screen.pane[i].rows);
        t->screen.pane[i].rows = NULL;
        t->screen.pane[i].n = 0;
    }
    (void)topdata_fetch(t->cli, &t->data);
    take_rows(t);
    for (int i = 0; i < TOPDATA_PANES; i++)
        keep_selected(&t->screen.pane[i], (enum topdata_pane)i, ids[i]);
}

/* --- Revoking ------------------------------------------------------------------------------------
 */

static void say(struct top *t, const char *text)
{
    snprintf(t->screen.line, sizeof(t->screen.line), "%s", text);
    t->screen.asking = false;
}

static void ask_revoke(struct top *t)
{
    const struct topscreen_pane *p = &t->screen.pane[TOPDATA_LEASES];

    if (t->screen.focus != TOPDATA_LEASES || p->selected >= p->n) {
        say(t, "Select a lease to revoke (1 goes to the leases)");
        return;
    }
    const json_t *lease = p->rows[p->selected];
    const char *holder = json_string_value(json_object_get(lease, "principal"));
    selected_id(t, TOPDATA_LEASES, t->wanted, sizeof(t->wanted));
    size_t n = strlen(t->wanted);
    snprintf(t->screen.line, sizeof(t->screen.line), "Revoke it? y/n: %s%.60s of %.200s",
             n > 40 ? "..." : "", t->wanted + (n > 40 ? n - 40 : 0), holder ? holder : "?");
    t->screen.asking = true;
}

static void revoke(struct top *t)
{
    _cleanup_json_ json_t *body = json_object();
    _cleanup_reply_ struct reply r = {0};
    _cleanup_buf_ struct buf why = BUF_INIT(4096);
    int e = json_set_str(body, "lease_id", t->wanted);

    if (e == 0)
        e = call_quietly(t->cli, "PUT", "sys/leases/revoke", body, &r);
    if (e < 0) {
        snprintf(t->screen.line, sizeof(t->screen.line), "Not revoked: %s", strerror(-e));
    } else if (r.status >= 300) {
        call_reason(&r, &why);
        snprintf(t->screen.line, sizeof(t->screen.line), "Not revoked: %s",
                 buf_error(&why) < 0 ? "?" : buf_str(&why));
    } else {
        snprintf(t->screen.line, sizeof(t->screen.line), "Revoked, or being revoked");
    }
    t->screen.asking = false;
    look(t);
}

/* --- Keys ----------------------------------------------------------------------------------------
 */

static void move_by(struct top *t, long by)
{
    struct topscreen_pane *p = &t->screen.pane[t->screen.focus];
    long to = (long)p->selected + by;

    p->selected = to < 0 ? 0 : (size_t)to < p->n ? (size_t)to : p->n ? p->n - 1 : 0;
}

static void focus(struct top *t, int by)
{
    t->screen.focus =
        (enum topdata_pane)(((int)t->screen.focus + by + TOPDATA_PANES) % TOPDATA_PANES);
}

static void sort_next(struct top *t)
{
    struct topdata_view *v = &t->screen.pane[t->screen.focus].view;

    v->sort = (v->sort + 1) % (unsigned)topdata_column_count(t->screen.focus);
    v->reverse = false;
    take_rows(t);
}

static void show_filter(struct top *t)
{
    snprintf(t->screen.line, sizeof(t->screen.line), "Show what has: %s_",
             t->screen.pane[t->screen.focus].view.filter);
}

/* While a filter is typed, it is applied at each key. */
static void on_filter_key(struct top *t, int key)
{
    char *filter = t->screen.pane[t->screen.focus].view.filter;
    size_t n = strlen(filter);

    if (key == TOPSCREEN_NONE)
        return;
    if (key == TOPSCREEN_ENTER || key == TOPSCREEN_ESCAPE) {
        if (key == TOPSCREEN_ESCAPE)
            filter[0] = '\0';
        t->filtering = false;
        say(t, "");
    } else if (key == TOPSCREEN_ERASE) {
        filter[n ? n - 1 : 0] = '\0';
    } else if (key < TOPSCREEN_UP && n + 1 < sizeof(t->screen.pane[0].view.filter)) {
        filter[n] = (char)key;
        filter[n + 1] = '\0';
    }
    take_rows(t);
    if (t->filtering)
        show_filter(t);
}

static void on_plain_key(struct top *t, int key)
{
    struct topdata_view *v = &t->screen.pane[t->screen.focus].view;

    switch (key) {
    case 'q':
    case 'Q':
        t->quit = true;
        return;
    case TOPSCREEN_UP:
    case 'k':
        move_by(t, -1);
        return;
    case TOPSCREEN_DOWN:
    case 'j':
        move_by(t, 1);
        return;
    case TOPSCREEN_PAGE_UP:
        move_by(t, -PAGE);
        return;
    case TOPSCREEN_PAGE_DOWN:
        move_by(t, PAGE);
        return;
    case TOPSCREEN_HOME:
        move_by(t, -1000000);
        return;
    case TOPSCREEN_END:
        move_by(t, 1000000);
        return;
    case TOPSCREEN_NEXT:
        focus(t, 1);
        return;
    case TOPSCREEN_PREVIOUS:
        focus(t, -1);
        return;
    case '1':
    case '2':
    case '3':
        t->screen.focus = (enum topdata_pane)(key - '1');
        return;
    case 'r':
        ask_revoke(t);
        return;
    case 's':
        sort_next(t);
        return;
    case 'S':
        v->reverse = !v->reverse;
        take_rows(t);
        return;
    case '/':
        t->filtering = true;
        show_filter(t);
        return;
    case TOPSCREEN_ESCAPE:
        v->filter[0] = '\0';
        take_rows(t);
        return;
    case ' ':
        look(t);
        return;
    case '?':
    case 'h':
        t->screen.help = true;
        return;
    default:
        return;
    }
}

static void on_key(struct top *t, int key)
{
    if (key == TOPSCREEN_NONE)
        return;
    if (t->filtering) {
        on_filter_key(t, key);
    } else if (t->screen.asking) {
        if (key == 'y' || key == 'Y')
            revoke(t);
        else
            say(t, "Nothing was revoked");
    } else if (t->screen.help) {
        t->screen.help = false;
    } else {
        say(t, "");
        on_plain_key(t, key);
    }
}

/* --- Running -------------------------------------------------------------------------------------
 */

static void live(struct top *t)
{
    int64_t next = clock_boot_ms() + LOOK_MS;

    while (!t->quit && !topscreen_stopped()) {
        int64_t now = clock_boot_ms();

        if (now >= next) {
            look(t);
            next = clock_boot_ms() + LOOK_MS;
        }
        topscreen_draw(&t->screen);
        now = clock_boot_ms();
        on_key(t, topscreen_key(next > now ? (int)(next - now) : 1));
    }
}

static int print_pane(struct top *t, enum topdata_pane p)
{
    const struct topdata_column *all = topdata_columns(p);
    const char *heads[TOPDATA_COLUMNS], *cells[TOPDATA_COLUMNS];
    char text[TOPDATA_COLUMNS][TOPDATA_CELL];
    size_t n = topdata_column_count(p);
    struct table *table;

    for (size_t i = 0; i < n; i++)
        heads[i] = all[i].head;
    printf("%s (%zu)%s%s\n", topdata_title(p), t->screen.pane[p].n, t->data.why[p][0] ? " " : "",
           t->data.why[p]);
    if (t->screen.pane[p].n == 0)
        return EXIT_CODE_OK;
    table = table_new(heads, n);
    for (size_t row = 0; row < t->screen.pane[p].n; row++) {
        for (size_t i = 0; i < n; i++) {
            all[i].cell(t->screen.pane[p].rows[row], 0, text[i]);
            cells[i] = text[i];
        }
        table_add(table, cells);
    }
    return show_table(t->cli, table);
}

/* Where there is no screen: one look, and done. */
static int once(struct top *t)
{
    int code = EXIT_CODE_OK;

    if (t->cli->out.format == OUTPUT_JSON) {
        _cleanup_json_ json_t *frame = topdata_frame(&t->data);

        return frame && output_json(frame) == 0 ? EXIT_CODE_OK : call_no_memory();
    }
    for (int p = 0; p < TOPDATA_PANES && code == EXIT_CODE_OK; p++) {
        if (p)
            printf("\n");
        code = print_pane(t, (enum topdata_pane)p);
    }
    return code;
}

static int run_top(struct cli *c)
{
    struct top *t = calloc(1, sizeof(*t));
    _cleanup_reply_ struct reply first = {0};
    int code = t ? call(c, "GET", "sys/status", NULL, NULL, &first) : call_no_memory();

    if (code == EXIT_CODE_OK) {
        client_limit(c->client, ANSWER_S);
        *t = (struct top){.cli = c};
        t->screen.data = &t->data;
        t->screen.address = c->address;
        look(t);
        if (c->out.format != OUTPUT_JSON && topscreen_open() == 0) {
            live(t);
            topscreen_close();
        } else {
            code = once(t);
        }
        for (int i = 0; i < TOPDATA_PANES; i++)
            free(t->screen.pane[i].rows);
        topdata_clear(&t->data);
    }
    free(t);
    return code;
}

const struct command cmd_top_rows[] = {
    {.name = "top",
     .args = "",
     .purpose = "A live screen of leases, sessions and logins; one key revokes",
     .details =
         "Looks once a second. Keys: Tab pane, arrows select, r revoke (asks), s sort, / filter,\n"
         "? help, q quit. Without a terminal, or with -format=json, it prints one look and "
         "ends.\n"
         "What you see are your own leases and sessions; a policy with read on sys/leases,\n"
         "sys/sessions and sys/logins (or being root) shows everybody's.",
     .example = "countersign top\ncountersign top -format=json | jq '.leases[].id'",
     .run = run_top},
    {.name = NULL},
};
