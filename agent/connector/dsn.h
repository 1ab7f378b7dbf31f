/* What a connection is opened with: the db's url, its account, and the addresses of its hosts.
 *
 * libpq would look host names up itself, and block the loop while it does. So the names are looked
 * up beforehand and given as hostaddr beside host; host stays, since TLS checks the certificate
 * against it. */
#ifndef COUNTERSIGN_CONNECTOR_DSN_H
#define COUNTERSIGN_CONNECTOR_DSN_H

#include "base/mem.h"

#define DSN_PARAMS_MAX 64
#define DSN_HOSTS_MAX 8
#define DSN_ADDRESSES_MAX 8 /* of one host */

struct dsn_host {
    char *name, *port; /* "" where the url names none */
    char *address[DSN_ADDRESSES_MAX];
    size_t addresses;
    bool look_up; /* a name without addresses yet */
    bool absent;  /* it has none: left out */
};

struct dsn {
    /* For PQconnectStartParams(), each ending with NULL. Every value may be secret. */
    char *key[DSN_PARAMS_MAX + 1];
    char *value[DSN_PARAMS_MAX + 1];
    size_t count;
    struct dsn_host host[DSN_HOSTS_MAX];
    size_t hosts;
};

/* Reads a libpq URI or conninfo. {{username}} is replaced inside the user (and dbname),
 * {{password}} inside the password, after the url was taken apart, so that no value needs escaping;
 * elsewhere they are refused. A username or password that the url does not ask for is set over its
 * own. What would make libpq look elsewhere (service) or speak another protocol (replication) is
 * refused. Returns 0, -EINVAL with the reason in why[] (without a value), or -ENOMEM. */
int dsn_build(const char *url, const char *username, const char *password, struct dsn *out,
              char *why, size_t whylen);

/* Notes one address (numeric) of d->host[i]; further ones than fit are left out. 0 or -ENOMEM. */
int dsn_add_address(struct dsn *d, size_t i, const char *address);
/* Once no host has look_up set: writes host, hostaddr and port into the parameters, one entry for
 * each address. 0, -ENOENT when every host is absent, or -ENOMEM. */
int dsn_settle(struct dsn *d);

/* Wipes and frees. */
void dsn_clear(struct dsn *d);

#endif
