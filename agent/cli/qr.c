#include "cli/qr.h"

#include <errno.h>
#include <qrencode.h>
#include <string.h>

struct grid {
    const unsigned char *dark;
    int size;
};

/* Whether there is a light module; the quiet zone is. The row below the last of an odd number is
 * outside and treated as quiet zone too. */
static bool is_light(const struct grid *g, int x, int y)
{
    if (x < 0 || y < 0 || x >= g->size || y >= g->size)
        return true;
    return !(g->dark[y * g->size + x] & 1);
}

#define WHITE_ON_BLACK "\033[97;40m"
#define ON_WHITE "\033[107m"
#define ON_BLACK "\033[40m"
#define RESET "\033[0m"

/* Light modules are ink in both half-block styles: with colours white on black, without colours the
 * terminal's own text colour. */
static const char *half_block(bool top, bool bottom)
{
    if (top && bottom)
        return "█";
    if (top)
        return "▀";
    return bottom ? "▄" : " ";
}

static void put_half_lines(const struct grid *g, bool color, struct buf *out)
{
    for (int y = -QR_QUIET; y < g->size + QR_QUIET; y += 2) {
        if (color)
            buf_puts(out, WHITE_ON_BLACK);
        for (int x = -QR_QUIET; x < g->size + QR_QUIET; x++)
            buf_puts(out, half_block(is_light(g, x, y), is_light(g, x, y + 1)));
        buf_puts(out, color ? RESET "\n" : "\n");
    }
}

static void put_space_lines(const struct grid *g, struct buf *out)
{
    for (int y = -QR_QUIET; y < g->size + QR_QUIET; y++) {
        bool light = true;

        buf_puts(out, ON_WHITE);
        for (int x = -QR_QUIET; x < g->size + QR_QUIET; x++) {
            if (is_light(g, x, y) != light) {
                light = !light;
                buf_puts(out, light ? ON_WHITE : ON_BLACK);
            }
            buf_puts(out, "  ");
        }
        buf_puts(out, RESET "\n");
    }
}

int qr_render(const char *text, enum qr_style style, unsigned width, struct buf *out)
{
    QRcode *code;
    struct grid g;
    unsigned columns;
    int r = 0;

    errno = 0;
    code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L);
    if (!code)
        return errno == ENOMEM ? -ENOMEM : -EMSGSIZE;
    g = (struct grid){code->data, code->width};
    columns = (unsigned)(g.size + 2 * QR_QUIET) * (style == QR_SPACES ? 2u : 1u);
    if (width > 0 && columns > width)
        r = QR_TOO_WIDE;
    else if (style == QR_SPACES)
        put_space_lines(&g, out);
    else
        put_half_lines(&g, style == QR_COLOR, out);
    mem_wipe(code->data, (size_t)g.size * (size_t)g.size);
    QRcode_free(code);
    return r < 0 || r > 0 ? r : buf_error(out);
}
