#include "cli/table.h"

#include <errno.h>
#include <string.h>
#include <wchar.h>

#define CELL_MAX (4u * 1024 * 1024)
#define GAP_PAIR 4 /* between Key and Value, as vault's */
#define GAP 2

struct table {
    size_t columns, rows, cap;
    char *heads[TABLE_COLUMNS_MAX];
    char **cells; /* rows * columns, printable */
    int error;
};

/* The code point at s (n > 0 bytes left, printable text) and its length; a stray byte is itself. */
static size_t next_point(const char *s, size_t n, wchar_t *point)
{
    unsigned char c = (unsigned char)s[0];
    size_t len = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    unsigned long v = len == 1 ? c : c & (0x7fu >> len);

    if (len > n)
        len = 1;
    for (size_t i = 1; i < len; i++)
        v = v << 6 | ((unsigned char)s[i] & 0x3fu);
    *point = (wchar_t)v;
    return len;
}

size_t table_width(const char *s, size_t n)
{
    size_t width = 0;

    while (n > 0) {
        wchar_t point;
        size_t len = next_point(s, n, &point);
        int w = wcwidth(point);

        width += w < 0 ? 1 : (size_t)w;
        s += len;
        n -= len;
    }
    return width;
}

struct table *table_new(const char *const *heads, size_t columns)
{
    struct table *t = columns <= TABLE_COLUMNS_MAX ? calloc(1, sizeof(*t)) : NULL;

    if (!t)
        return NULL;
    t->columns = columns;
    for (size_t i = 0; i < columns; i++) {
        t->heads[i] = mem_dup(heads[i], strlen(heads[i]));
        if (!t->heads[i])
            t->error = -ENOMEM;
    }
    return t;
}

void table_free(struct table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->columns; i++)
        free(t->heads[i]);
    for (size_t i = 0; i < t->rows * t->columns; i++)
        mem_free_str(t->cells[i]);
    free(t->cells);
    free(t);
}

static bool make_room(struct table *t)
{
    size_t cap = t->cap ? 2 * t->cap : 16;
    char **cells;

    if (t->rows < t->cap)
        return true;
    cells = reallocarray(t->cells, cap * t->columns, sizeof(*cells));
    if (!cells)
        return false;
    t->cells = cells;
    t->cap = cap;
    return true;
}

static char *clean_cell(const char *s)
{
    _cleanup_buf_ struct buf b = BUF_INIT(CELL_MAX);

    output_clean(&b, s ? s : "");
    buf_puts(&b, "");
    return b.len ? buf_steal(&b) : buf_error(&b) < 0 ? NULL : mem_dup("", 0);
}

void table_add(struct table *t, const char *const *cells)
{
    char **row;

    if (!t || t->error < 0)
        return;
    if (!make_room(t)) {
        t->error = -ENOMEM;
        return;
    }
    row = t->cells + t->rows * t->columns;
    for (size_t i = 0; i < t->columns; i++) {
        row[i] = clean_cell(cells[i]);
        if (!row[i])
            t->error = -ENOMEM;
    }
    t->rows++;
}

void table_add_value(struct table *t, const char *key, const json_t *v)
{
    _cleanup_buf_ struct buf b = BUF_INIT(CELL_MAX);

    output_value(&b, v);
    if (t && t->error == 0)
        t->error = buf_error(&b);
    table_add(t, (const char *const[]){key, buf_str(&b)});
}

size_t table_rows(const struct table *t)
{
    return t ? t->rows : 0;
}

/* The width of the widest line of a cell. */
static size_t cell_width(const char *s)
{
    size_t widest = 0;

    for (;;) {
        size_t n = strcspn(s, "\n"), w = table_width(s, n);

        widest = w > widest ? w : widest;
        if (!s[n])
            return widest;
        s += n + 1;
    }
}

static void measure(const struct table *t, size_t *width)
{
    for (size_t c = 0; c < t->columns; c++) {
        width[c] = table_width(t->heads[c], strlen(t->heads[c]));
        for (size_t r = 0; r < t->rows; r++) {
            size_t w = cell_width(t->cells[r * t->columns + c]);

            width[c] = w > width[c] ? w : width[c];
        }
    }
}

static void put_spaces(size_t n)
{
    printf("%*s", (int)n, "");
}

/* Prints one line of each cell side by side; moves each cell on. Returns whether lines are left. */
static bool put_line(const char **cell, const size_t *width, size_t columns, size_t gap)
{
    size_t pending = 0;
    bool more = false;

    for (size_t c = 0; c < columns; c++) {
        size_t n = strcspn(cell[c], "\n");

        if (n > 0) {
            put_spaces(pending);
            fwrite(cell[c], 1, n, stdout);
            pending = 0;
        }
        pending += width[c] + gap - table_width(cell[c], n);
        cell[c] += n;
        if (*cell[c] == '\n')
            cell[c]++, more = true;
    }
    putchar('\n');
    return more;
}

static void put_row(char *const *cells, const size_t *width, size_t columns, size_t gap)
{
    const char *at[TABLE_COLUMNS_MAX];

    for (size_t c = 0; c < columns; c++)
        at[c] = cells[c];
    while (put_line(at, width, columns, gap))
        ;
}

static void put_heads(const struct table *t, const size_t *width, size_t gap,
                      const struct output *o)
{
    static const char dashes[] = "----------------------------------------";
    char rules[TABLE_COLUMNS_MAX][sizeof(dashes)];
    char *at[TABLE_COLUMNS_MAX];

    for (size_t c = 0; c < t->columns; c++) {
        snprintf(rules[c], sizeof(rules[c]), "%.*s", (int)strlen(t->heads[c]), dashes);
        at[c] = rules[c];
    }
    printf("%s", output_color(o, OUTPUT_BOLD));
    put_row(t->heads, width, t->columns, gap);
    printf("%s", output_color(o, OUTPUT_PLAIN));
    put_row(at, width, t->columns, gap);
}

static void put_stacked(const struct table *t, const struct output *o)
{
    for (size_t r = 0; r < t->rows; r++) {
        char *const *cells = t->cells + r * t->columns;

        printf("%s%s%s\n", output_color(o, OUTPUT_BOLD), cells[0], output_color(o, OUTPUT_PLAIN));
        for (size_t c = 1; c < t->columns; c++)
            if (cells[c][0])
                printf("    %-12s %s\n", t->heads[c], cells[c]);
    }
}

int table_print(const struct table *t, const struct output *o)
{
    size_t width[TABLE_COLUMNS_MAX], total = 0, gap;

    if (!t || t->error < 0)
        return t ? t->error : -ENOMEM;
    gap = t->columns == 2 ? GAP_PAIR : GAP;
    measure(t, width);
    for (size_t c = 0; c < t->columns; c++)
        total += width[c] + (c > 0 ? gap : 0);
    if (t->columns > 2 && o->width > 0 && total > o->width) {
        put_stacked(t, o);
        return 0;
    }
    put_heads(t, width, gap, o);
    for (size_t r = 0; r < t->rows; r++)
        put_row(t->cells + r * t->columns, width, t->columns, gap);
    return 0;
}
