#include "identity/totp.h"

#include <errno.h>
#include <liboath/oath.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    size_t secret_len; /* the hash's own length, RFC 4226 section 4 (R6) */
    int flag;
} algorithms[] = {
    {"SHA1", 20, 0},
    {"SHA256", 32, OATH_TOTP_HMAC_SHA256},
    {"SHA512", 64, OATH_TOTP_HMAC_SHA512},
};

void totp_clear(struct totp *t)
{
    mem_wipe(t, sizeof(*t));
}

const char *totp_algorithm(const char *name, size_t *secret_len)
{
    for (size_t i = 0; name && i < ARRAY_LEN(algorithms); i++) {
        if (strcasecmp(algorithms[i].name, name) == 0) {
            *secret_len = algorithms[i].secret_len;
            return algorithms[i].name;
        }
    }
    return NULL;
}

static int flag_of(const char *algorithm)
{
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
        if (strcmp(algorithms[i].name, algorithm) == 0)
            return algorithms[i].flag;
    }
    return -EINVAL;
}

static int code_at(const struct totp *t, int flag, int64_t step, char code[TOTP_CODE_MAX + 1])
{
    memset(code, 0, TOTP_CODE_MAX + 1);
    int r =
        oath_totp_generate2((const char *)t->secret, t->secret_len, (time_t)(step * TOTP_PERIOD),
                            TOTP_PERIOD, 0, (unsigned)t->digits, flag, code);
    if (r == OATH_MALLOC_ERROR)
        return -ENOMEM;
    return r == OATH_OK ? 0 : -EIO;
}

/* Takes a code that matches at this step, without telling by the time it takes. */
static void weigh(bool match, bool fresh, int64_t step, int64_t *newest, bool *used)
{
    int64_t mask = -(int64_t)(match & fresh);

    *newest = (step & mask) | (*newest & ~mask);
    *used |= match & !fresh;
}

int totp_check(const struct totp *t, const char *code, int64_t now_s, int64_t *step)
{
    char typed[TOTP_CODE_MAX + 1] = {0}, want[TOTP_CODE_MAX + 1];
    size_t n = strnlen(code, TOTP_CODE_MAX + 1);
    int64_t newest = -1;
    bool used = false;
    int flag = flag_of(t->algorithm);
    int r = flag < 0 ? flag : 0;

    if (now_s < 0 || now_s > INT64_MAX / 2 || (t->digits != 6 && t->digits != 8))
        return -EINVAL;
    memcpy(typed, code, n <= TOTP_CODE_MAX ? n : 0); /* all zeros equal no code */
    for (int64_t i = -TOTP_WINDOW; r == 0 && i <= TOTP_WINDOW; i++) {
        int64_t at = now_s / TOTP_PERIOD + t->skew + i;
        bool real = at >= 0; /* a clock at the very beginning */
        r = code_at(t, flag, real ? at : 0, want);
        bool same = mem_equal(typed, sizeof(typed), want, sizeof(want));
        weigh(same & real, at > t->last_step, at, &newest, &used);
    }
    mem_wipe(typed, sizeof(typed));
    mem_wipe(want, sizeof(want));
    if (r < 0)
        return r;
    *step = newest;
    if (newest >= 0)
        return 0;
    return used ? TOTP_E_USED : TOTP_E_WRONG;
}

void totp_base32(struct buf *b, const void *p, size_t n)
{
    const uint8_t *s = p;
    unsigned held = 0;
    uint32_t bits = 0;

    for (size_t i = 0; i < n || held > 0;) {
        if (held < 5 && i < n) {
            bits = bits << 8 | s[i++];
            held += 8;
        }
        int v = (int)((held >= 5 ? bits >> (held - 5) : bits << (5 - held)) & 31);
        held = held >= 5 ? held - 5 : 0;
        bits &= (1U << held) - 1;
        /* 0..25 are letters; the mask is all ones for 26..31, the digits 2..7 */
        buf_putc(b,
                 (char)('A' + v + (((25 - v) >> (sizeof(int) * CHAR_BIT - 1)) & ('2' - 26 - 'A'))));
    }
}

static void put_percent(struct buf *b, const char *s)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (; *s; s++) {
        if (strchr(plain, *s))
            buf_putc(b, *s);
        else
            buf_putf(b, "%%%02X", (unsigned)(unsigned char)*s);
    }
}

/* The value of a letter or digit of base32, -1 for another, without a table to be looked up in. */
static int value_of(unsigned char c)
{
    int letter = (c | 0x20) - 'a', digit = c - '2' + 26;
    int is_letter = -(((c | 0x20) >= 'a') & ((c | 0x20) <= 'z'));
    int is_digit = -((c >= '2') & (c <= '7'));

    return (letter & is_letter) | (digit & is_digit) | ~(is_letter | is_digit);
}

int totp_from_base32(const char *text, uint8_t *out, size_t max, size_t *n)
{
    size_t end = strlen(text);
    unsigned bits = 0, held = 0;

    *n = 0;
    while (end > 0 && text[end - 1] == '=')
        end--;
    for (size_t i = 0; i < end; i++) {
        int value = value_of((unsigned char)text[i]);

        if (text[i] == ' ' || text[i] == '-')
            continue;
        if (value < 0)
            return -EBADMSG;
        held = (held << 5 | (unsigned)value) & 0xfff;
        bits += 5;
        if (bits < 8)
            continue;
        bits -= 8;
        if (*n == max)
            return -EMSGSIZE;
        out[(*n)++] = (uint8_t)(held >> bits);
    }
    return 0;
}

void totp_url(struct buf *b, const struct totp *t, const char *issuer, const char *account)
{
    buf_puts(b, "otpauth://totp/");
    put_percent(b, issuer);
    buf_putc(b, ':');
    put_percent(b, account);
    buf_puts(b, "?secret=");
    totp_base32(b, t->secret, t->secret_len);
    buf_puts(b, "&issuer=");
    put_percent(b, issuer);
    buf_putf(b, "&algorithm=%s&digits=%d&period=%d", t->algorithm, t->digits, TOTP_PERIOD);
}
