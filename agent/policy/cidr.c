#include "policy/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "policy/text.h"

static unsigned width(const struct cidr *c)
{
    return c->kind == CIDR_V4 ? 32 : 128;
}

static bool read_address(const char *text, struct cidr *out)
{
    *out = (struct cidr){0};
    if (inet_pton(AF_INET, text, out->addr) == 1)
        out->kind = CIDR_V4;
    else if (inet_pton(AF_INET6, text, out->addr) == 1)
        out->kind = CIDR_V6;
    else
        return false;
    out->bits = width(out);
    return true;
}

/* ::ffff:a.b.c.d is a.b.c.d that came in through an IPv6 socket. */
static void unmap(struct cidr *c)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (c->kind != CIDR_V6 || c->bits < 96 || memcmp(c->addr, mapped, sizeof(mapped)) != 0)
        return;
    memmove(c->addr, c->addr + 12, 4);
    memset(c->addr + 4, 0, 12);
    c->kind = CIDR_V4;
    c->bits -= 96;
}

static bool read_bits(const char *text, unsigned max, unsigned *bits)
{
    size_t n = strlen(text);

    *bits = 0;
    if (n == 0 || n > 3 || (n > 1 && text[0] == '0'))
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        *bits = *bits * 10 + (unsigned)(*text - '0');
    }
    return *bits <= max;
}

static bool bit(const struct cidr *c, unsigned i)
{
    return c->addr[i / 8] >> (7 - i % 8) & 1;
}

int cidr_parse(const char *text, struct cidr *out, char *why, size_t whylen)
{
    const char *slash = strchr(text, '/');
    char address[INET6_ADDRSTRLEN];
    size_t n = slash ? (size_t)(slash - text) : strlen(text);

    *out = (struct cidr){0};
    if (strcmp(text, "local") == 0) {
        out->kind = CIDR_LOCAL;
        return 0;
    }
    if (n >= sizeof(address))
        n = 0;
    memcpy(address, text, n);
    address[n] = '\0';
    if (!read_address(address, out) || (slash && !read_bits(slash + 1, width(out), &out->bits))) {
        out->kind = CIDR_NONE;
        return text_refuse(why, whylen, "'%.64s' is no address or network, nor \"local\"", text);
    }
    for (unsigned i = out->bits; i < width(out); i++) {
        if (bit(out, i)) {
            out->kind = CIDR_NONE;
            return text_refuse(why, whylen, "'%.64s' has bits set behind its prefix", text);
        }
    }
    unmap(out);
    return 0;
}

void cidr_source(const char *text, struct cidr *out)
{
    char address[INET6_ADDRSTRLEN];
    size_t n = text ? strcspn(text, "%") : 0;

    *out = (struct cidr){0};
    if (!text || n >= sizeof(address))
        return;
    if (text[0] == '\0') {
        out->kind = CIDR_LOCAL;
        return;
    }
    memcpy(address, text, n);
    address[n] = '\0';
    if (!read_address(address, out) || (text[n] == '%' && out->kind != CIDR_V6))
        *out = (struct cidr){0};
    unmap(out);
}

bool cidr_contains(const struct cidr *net, const struct cidr *source)
{
    unsigned whole = net->bits / 8, rest = net->bits % 8;

    if (net->kind == CIDR_NONE || net->kind != source->kind)
        return false;
    if (memcmp(net->addr, source->addr, whole) != 0)
        return false;
    return rest == 0 || ((net->addr[whole] ^ source->addr[whole]) >> (8 - rest)) == 0;
}

void cidr_put(struct buf *b, const struct cidr *c)
{
    char text[INET6_ADDRSTRLEN] = "?";

    if (c->kind == CIDR_NONE || c->kind == CIDR_LOCAL) {
        buf_puts(b, c->kind == CIDR_LOCAL ? "local" : "none");
        return;
    }
    (void)inet_ntop(c->kind == CIDR_V4 ? AF_INET : AF_INET6, c->addr, text, sizeof(text));
    buf_puts(b, text);
    if (c->bits < width(c))
        buf_putf(b, "/%u", c->bits);
}
