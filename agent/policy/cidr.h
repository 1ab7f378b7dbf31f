/* Sources of logins: addresses, networks, and "local". Internal to policy/. */
#ifndef COUNTERSIGN_POLICY_CIDR_H
#define COUNTERSIGN_POLICY_CIDR_H

#include <stdint.h>

#include "base/buf.h"

enum cidr_kind {
    CIDR_NONE, /* matches nothing and is matched by nothing */
    CIDR_LOCAL,
    CIDR_V4,
    CIDR_V6,
};

struct cidr {
    enum cidr_kind kind;
    unsigned bits; /* of the prefix */
    uint8_t addr[16];
};

/* Reads "local", an address or a network in CIDR notation, IPv4 or IPv6 (RFC 4632, RFC 4291);
 * IPv4-mapped IPv6 becomes IPv4. 0, or -EINVAL with the reason in why[]; bits set behind the prefix
 * are refused, as they are most often a slip. */
int cidr_parse(const char *text, struct cidr *out, char *why, size_t whylen);

/* Reads where a login came from: "" is local, a numeric address itself (an IPv6 zone is dropped);
 * NULL and anything else give CIDR_NONE. */
void cidr_source(const char *text, struct cidr *out);

bool cidr_contains(const struct cidr *net, const struct cidr *source);
/* Appends the normal form: "local", "10.0.0.0/8", "192.0.2.7", "2001:db8::/32". */
void cidr_put(struct buf *b, const struct cidr *c);

#endif
