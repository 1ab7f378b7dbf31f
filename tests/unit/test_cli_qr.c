/* QR codes: what is drawn is the code, with its quiet zone; and a scanner reads it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <qrencode.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/qr.h"

#define URL                                                                                        \
    "otpauth://totp/"                                                                              \
    "Countersign:alice%40shop?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Countersign"
#define SIDE_MAX 128

/* The picture as a person sees it: true is light. Returns its width, *height its rows. */
static size_t read_picture(const char *s, enum qr_style style, bool light[SIDE_MAX][SIDE_MAX],
                           size_t *height)
{
    size_t x = 0, y = 0, width = 0;
    bool ground = false;

    for (; *s; s++) {
        if (*s == '\n') {
            width = x;
            x = 0;
            y += style == QR_SPACES ? 1 : 2;
            continue;
        }
        if (*s == '\033') {
            const char *end = strchr(s, 'm');

            assert_non_null(end);
            ground = strncmp(s, "\033[107m", 6) == 0;
            s = end;
            continue;
        }
        assert_true(x < SIDE_MAX && y + 1 < SIDE_MAX);
        if (style == QR_SPACES) {
            assert_memory_equal(s, "  ", 2);
            light[y][x++] = ground;
            s++;
        } else if (*s == ' ') {
            light[y][x] = light[y + 1][x] = false;
            x++;
        } else {
            light[y][x] = strncmp(s, "▀", 3) == 0 || strncmp(s, "█", 3) == 0;
            light[y + 1][x] = strncmp(s, "▄", 3) == 0 || strncmp(s, "█", 3) == 0;
            assert_true(light[y][x] || light[y + 1][x]);
            x++;
            s += 2;
        }
    }
    *height = y;
    return width;
}

static void check_style(enum qr_style style)
{
    static bool light[SIDE_MAX][SIDE_MAX];
    _cleanup_buf_ struct buf b = BUF_INIT(1024 * 1024);
    QRcode *code = QRcode_encodeString8bit(URL, 0, QR_ECLEVEL_L);
    size_t height, width, size = (size_t)code->width;

    assert_int_equal(qr_render(URL, style, 0, &b), 0);
    width = read_picture(buf_str(&b), style, light, &height);
    assert_int_equal(width, size + 2 * QR_QUIET);
    assert_true(height >= size + 2 * QR_QUIET);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            bool inside =
                x >= QR_QUIET && y >= QR_QUIET && x < size + QR_QUIET && y < size + QR_QUIET;
            bool dark = inside && (code->data[(y - QR_QUIET) * size + x - QR_QUIET] & 1);

            assert_int_equal(light[y][x], !dark);
        }
    QRcode_free(code);
}

/* Goal: each style draws every module, and at least two light ones around. */
static void every_module(void **state)
{
    (void)state;
    check_style(QR_COLOR);
    check_style(QR_PLAIN);
    check_style(QR_SPACES);
}

/* Goal: with colours both colours of every line are explicit, so any background will do. */
static void explicit_colours(void **state)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1024 * 1024);

    (void)state;
    assert_int_equal(qr_render(URL, QR_COLOR, 0, &b), 0);
    for (const char *line = buf_str(&b); *line; line = strchr(line, '\n') + 1) {
        assert_memory_equal(line, "\033[97;40m", 8);
        assert_memory_equal(strchr(line, '\n') - 4, "\033[0m", 4);
    }
}

/* Goal: a narrow terminal is told apart, exactly at its edge; too much text is refused. */
static void limits(void **state)
{
    static char much[8000];
    _cleanup_buf_ struct buf b = BUF_INIT(1024 * 1024);
    QRcode *code = QRcode_encodeString8bit(URL, 0, QR_ECLEVEL_L);
    unsigned need = (unsigned)code->width + 2 * QR_QUIET;

    (void)state;
    QRcode_free(code);
    assert_int_equal(qr_render(URL, QR_PLAIN, need - 1, &b), QR_TOO_WIDE);
    assert_int_equal(b.len, 0);
    assert_int_equal(qr_render(URL, QR_PLAIN, need, &b), 0);
    assert_int_equal(qr_render(URL, QR_SPACES, need, &b), QR_TOO_WIDE);
    memset(much, 'a', sizeof(much) - 1);
    assert_true(qr_render(much, QR_PLAIN, 0, &b) < 0);
}

/* Goal: a real scanner reads the text back from what the terminal shows. */
static void scanner_reads_it(void **state)
{
    static bool light[SIDE_MAX][SIDE_MAX];
    _cleanup_buf_ struct buf b = BUF_INIT(1024 * 1024);
    char path[] = "/tmp/cli-qr-XXXXXX", command[200], said[512] = "";
    size_t height, width;
    FILE *f;
    int fd;

    (void)state;
    if (access("/usr/bin/zbarimg", X_OK) != 0)
        skip();
    assert_int_equal(qr_render(URL, QR_COLOR, 0, &b), 0);
    width = read_picture(buf_str(&b), QR_COLOR, light, &height);
    fd = mkstemp(path);
    f = fdopen(fd, "w");
    assert_non_null(f);
    fprintf(f, "P5\n%zu %zu\n255\n", width * 6, height * 6);
    for (size_t y = 0; y < height * 6; y++)
        for (size_t x = 0; x < width * 6; x++)
            fputc(light[y / 6][x / 6] ? 255 : 0, f);
    fclose(f);
    snprintf(command, sizeof(command), "zbarimg -q --raw pnm:%s 2>/dev/null", path);
    f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(said, sizeof(said), f));
    pclose(f);
    unlink(path);
    said[strcspn(said, "\n")] = '\0';
    assert_string_equal(said, URL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_module),
        cmocka_unit_test(explicit_colours),
        cmocka_unit_test(limits),
        cmocka_unit_test(scanner_reads_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
