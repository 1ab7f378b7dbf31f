#include "cli/topscreen.h"

#include <errno.h>
#include <ncurses.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "base/clock.h"

#define HEAD_LINES 3
#define SMALL_PANE 4 /* the most lines of a pane that is not looked at */

enum { COLOR_HEAD = 1, COLOR_GOOD, COLOR_BAD, COLOR_DIM };

static SCREEN *screen;
static volatile sig_atomic_t stopped;

static void on_signal(int sig _unused_)
{
    stopped = 1;
}

bool topscreen_stopped(void)
{
    return stopped != 0;
}

static void catch_signals(void)
{
    static const int all[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    struct sigaction sa = {.sa_handler = on_signal};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        sigaction(all[i], &sa, NULL);
}

void topscreen_close(void)
{
    if (!screen)
        return;
    endwin();
    delscreen(screen);
    screen = NULL;
}

static void set_colors(void)
{
    const char *never = getenv("NO_COLOR");

    if ((never && never[0]) || !has_colors() || start_color() == ERR)
        return;
    use_default_colors();
    init_pair(COLOR_HEAD, COLOR_CYAN, -1);
    init_pair(COLOR_GOOD, COLOR_GREEN, -1);
    init_pair(COLOR_BAD, COLOR_RED, -1);
    init_pair(COLOR_DIM, COLOR_BLUE, -1);
}

int topscreen_open(void)
{
    const char *term = getenv("TERM");

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || !term || strcmp(term, "dumb") == 0)
        return -ENOTTY;
    screen = newterm(NULL, stdout, stdin);
    if (!screen)
        return -ENOTTY;
    atexit(topscreen_close);
    set_term(screen);
    catch_signals();
    set_escdelay(50);
    set_colors();
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
    return 0;
}

/* --- Drawing -------------------------------------------------------------------------------------
 */

/* Puts a text into so many columns: cut, and filled with blanks. Control characters were made
 * harmless before. */
static void put_cell(int y, int x, int width, const char *text)
{
    wchar_t wide[TOPDATA_CELL];
    const char *p = text;
    mbstate_t state = {0};
    int used = 0;
    size_t n = mbsrtowcs(wide, &p, ARRAY_LEN(wide) - 1, &state), keep = 0;

    if (n == (size_t)-1)
        n = 0;
    for (; keep < n; keep++) {
        int w = wcwidth(wide[keep]);

        if (w < 0 || used + w > width)
            break;
        used += w;
    }
    wide[keep] = L'\0';
    mvaddwstr(y, x, wide);
    while (used++ < width)
        addch(' ');
}

static void put_clean(int y, int x, int width, const char *text)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4 * TOPDATA_CELL);

    output_clean(&b, text);
    for (size_t i = 0; i < b.len; i++) /* line ends are kept by it, tabs too */
        if (b.data[i] < ' ')
            b.data[i] = ' ';
    if (width > 0)
        put_cell(y, x, width, buf_error(&b) < 0 ? "?" : buf_str(&b));
}

static int64_t count_of(const struct topdata *d, const char *state)
{
    return json_integer_value(json_object_get(json_object_get(d->status, "leases"), state));
}

static void draw_head(const struct topscreen *s)
{
    const struct topdata *d = s->data;
    bool sealed = !json_is_false(json_object_get(d->status, "sealed"));
    const char *link = json_string_value(json_object_get(d->status, "connector"));
    const json_t *problems = json_object_get(d->status, "problems");
    const char *first = json_string_value(json_array_get(problems, 0));
    char line[TOPDATA_CELL], more[64] = "";
    size_t n = json_array_size(problems);

    snprintf(line, sizeof(line),
             "countersign top  %s, connector %s, leases %lld active %lld waiting %lld quarantined",
             sealed ? "SEALED" : "unsealed", link ? link : "?", (long long)count_of(d, "active"),
             (long long)count_of(d, "revoking"), (long long)count_of(d, "quarantined"));
    attron(A_BOLD | COLOR_PAIR(COLOR_HEAD));
    put_clean(0, 0, COLS, line);
    attroff(A_BOLD | COLOR_PAIR(COLOR_HEAD));
    if (n > 1)
        snprintf(more, sizeof(more), " (and %zu more: countersign status)", n - 1);
    snprintf(line, sizeof(line), "%s%s",
             d->error[0] ? d->error
             : first     ? first
                         : "nothing needs you",
             more);
    attron(COLOR_PAIR(d->error[0] || first ? COLOR_BAD : COLOR_GOOD));
    put_clean(1, 0, COLS, line);
    attroff(COLOR_PAIR(d->error[0] || first ? COLOR_BAD : COLOR_GOOD));
}

/* Columns of no width of their own share what is left; those that don't fit are left out. */
static int width_of(const struct topdata_column *all, const struct topdata_column *c)
{
    int fixed = 0, open = 0, left;

    if (c->width)
        return (int)c->width;
    for (; all->head; all++) {
        fixed += (int)all->width + 1;
        open += all->width == 0;
    }
    left = COLS - 1 - fixed;
    return open && left / open > 8 ? left / open : 8;
}

static void draw_heads(const struct topscreen *s, enum topdata_pane p, int y)
{
    const struct topdata_column *all = topdata_columns(p);
    const struct topdata_view *v = &s->pane[p].view;
    int x = 1;
    unsigned i = 0;

    attron(A_UNDERLINE);
    put_cell(y, 0, COLS, "");
    for (const struct topdata_column *c = all; c->head && x < COLS; c++, i++) {
        char head[64];
        int w = width_of(all, c);

        snprintf(head, sizeof(head), "%s%s", c->head, v->sort == i ? v->reverse ? "^" : "v" : "");
        put_cell(y, x, w < COLS - x ? w : COLS - x, head);
        x += w + 1;
    }
    attroff(A_UNDERLINE);
}

static void draw_row(const struct topscreen *s, enum topdata_pane p, int y, const json_t *item,
                     bool selected)
{
    const struct topdata_column *all = topdata_columns(p);
    int64_t age = (clock_boot_ms() - s->data->taken_ms) / 1000;
    char cell[TOPDATA_CELL];
    int x = 1;

    if (selected)
        attron(A_REVERSE);
    put_cell(y, 0, COLS, selected ? ">" : "");
    for (const struct topdata_column *c = all; c->head && x < COLS; c++) {
        int w = width_of(all, c);

        c->cell(item, age > 0 ? age : 0, cell);
        put_clean(y, x, w < COLS - x ? w : COLS - x, cell);
        x += w + 1;
    }
    if (selected)
        attroff(A_REVERSE);
}

static void keep_in_sight(struct topscreen_pane *p, size_t rows)
{
    if (p->selected >= p->n)
        p->selected = p->n ? p->n - 1 : 0;
    if (p->selected < p->first)
        p->first = p->selected;
    if (rows && p->selected >= p->first + rows)
        p->first = p->selected - rows + 1;
    if (rows && p->first + rows > p->n)
        p->first = p->n > rows ? p->n - rows : 0;
}

/* A pane: its title, the heads of its columns, its rows. Returns the line below it. */
static int draw_pane(struct topscreen *s, enum topdata_pane p, int y, int lines)
{
    struct topscreen_pane *pane = &s->pane[p];
    bool focused = s->focus == p;
    size_t rows = lines > 2 ? (size_t)lines - 2 : 0;
    char title[TOPDATA_CELL];

    if (lines < 1)
        return y;
    keep_in_sight(pane, rows);
    snprintf(title, sizeof(title), "%s (%zu)%s%s %s", topdata_title(p), pane->n,
             pane->view.filter[0] ? " with " : "", pane->view.filter, s->data->why[p]);
    attron(focused ? A_BOLD | COLOR_PAIR(COLOR_HEAD) : A_NORMAL);
    put_clean(y, 0, COLS, title);
    attroff(focused ? A_BOLD | COLOR_PAIR(COLOR_HEAD) : A_NORMAL);
    if (lines > 1)
        draw_heads(s, p, y + 1);
    for (size_t i = 0; i < rows && pane->first + i < pane->n; i++)
        draw_row(s, p, y + 2 + (int)i, pane->rows[pane->first + i],
                 focused && pane->first + i == pane->selected);
    return y + lines;
}

static void draw_panes(struct topscreen *s)
{
    int left = LINES - HEAD_LINES, y = 2, small = left / 4;

    small = small > SMALL_PANE + 2 ? SMALL_PANE + 2 : small;
    for (int p = 0; p < TOPDATA_PANES; p++) {
        bool focused = s->focus == (enum topdata_pane)p;

        y = draw_pane(s, (enum topdata_pane)p, y,
                      focused ? left - (TOPDATA_PANES - 1) * small : small);
    }
}

static void draw_help(void)
{
    static const char *const lines[] = {
        "countersign top: who holds what, who is logged in, who came and who was turned away",
        "",
        "  Tab, 1 2 3     the next pane; leases, sessions, logins",
        "  Up Down j k    select; Page Up, Page Down, Home, End",
        "  r              revoke the selected lease (asks first): open sessions are cut",
        "  s, S           sort by the next column; the other way round",
        "  /              show only what has a text in it; Escape shows all again",
        "  Space          look again now (it looks once a second)",
        "  q              quit",
        "",
        "Any key goes back.",
    };

    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        put_cell(1 + (int)i, 1, COLS - 1, lines[i]);
}

void topscreen_draw(struct topscreen *s)
{
    static const char keys[] =
        "q quit  Tab pane  Up/Down select  r revoke  s sort  / filter  ? help";

    erase();
    if (s->help) {
        draw_help();
    } else {
        draw_head(s);
        draw_panes(s);
    }
    attron(s->line[0] ? A_BOLD : A_DIM);
    put_clean(LINES - 1, 0, COLS - 1, s->line[0] ? s->line : keys);
    attroff(s->line[0] ? A_BOLD : A_DIM);
    refresh();
}

/* --- Keys ----------------------------------------------------------------------------------------
 */

int topscreen_key(int ms)
{
    static const struct {
        int curses, key;
    } keys[] = {
        {KEY_UP, TOPSCREEN_UP},           {KEY_DOWN, TOPSCREEN_DOWN},
        {KEY_PPAGE, TOPSCREEN_PAGE_UP},   {KEY_NPAGE, TOPSCREEN_PAGE_DOWN},
        {KEY_HOME, TOPSCREEN_HOME},       {KEY_END, TOPSCREEN_END},
        {'\t', TOPSCREEN_NEXT},           {KEY_BTAB, TOPSCREEN_PREVIOUS},
        {'\r', TOPSCREEN_ENTER},          {'\n', TOPSCREEN_ENTER},
        {KEY_ENTER, TOPSCREEN_ENTER},     {27, TOPSCREEN_ESCAPE},
        {KEY_BACKSPACE, TOPSCREEN_ERASE}, {127, TOPSCREEN_ERASE},
        {'\b', TOPSCREEN_ERASE},
    };
    int ch;

    timeout(ms > 0 ? ms : 0);
    ch = getch();
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (keys[i].curses == ch)
            return keys[i].key;
    return ch >= ' ' && ch < 127 ? ch : TOPSCREEN_NONE;
}
