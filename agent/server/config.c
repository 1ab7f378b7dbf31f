#include "server/config.h"

#include <countersign/api.h>
#include <countersign/connector.h>
#include <countersign/dialogue.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hcl.h"

enum { OPT_CONFIG = 256, OPT_DEV, OPT_DIR, OPT_LISTEN, OPT_VERSION, OPT_PATHS };

/* One row a setting: its name in agent.hcl (and, with dashes, as a flag), where it goes, its
 * default. */
static const struct setting {
    const char *name, *flag;
    size_t offset;
    const char *fallback; /* NULL: none */
    const char *dev;      /* the file's name below --dir */
    const char *help;
} settings[] = {
#define AT(field) offsetof(struct config, field)
    {"store", "store", AT(store), API_STORE, "agent.db", "the encrypted SQLite store"},
    {"audit_log", "audit-log", AT(audit_log), API_AUDIT_LOG, "audit.log", "where audit lines go"},
    {"agent_socket", "agent-socket", AT(agent_socket), API_SOCKET, "agent.sock", "the HTTP API"},
    {"pam_socket", "pam-socket", AT(pam_socket), DIALOGUE_SOCKET, "pam.sock", "sshd, sudo, login"},
    {"pam_user_socket", "pam-user-socket", AT(pam_user_socket), DIALOGUE_USER_SOCKET,
     "pam-user.sock", "screen lockers"},
    {"connector_socket", "connector-socket", AT(connector_socket), CONNECTOR_SOCKET, NULL,
     "the connector's"},
    {"connector_user", "connector-user", AT(connector_user), "countersign-connector", NULL,
     "the account that the connector runs as"},
#undef AT
};

static char **slot(struct config *c, const struct setting *s)
{
    return (char **)(void *)((char *)c + s->offset);
}

static int set(char **where, const char *value)
{
    char *copy = strdup(value);
    if (!copy)
        return -ENOMEM;
    free(*where);
    *where = copy;
    return 0;
}

void config_clear(struct config *c)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        free(*slot(c, &settings[i]));
    free(c->dir);
    free(c->listen);
    *c = (struct config){0};
}

static void print_help(void)
{
    printf(
        "countersignd: the agent that keeps secrets and answers PAM.\n\n"
        "Usage:\n"
        "  countersignd [--config FILE] [flags]      run as a service (systemd passes the "
        "sockets)\n"
        "  countersignd --dev --dir DIR [--listen 127.0.0.1:PORT]\n"
        "                                            a throwaway agent below DIR, initialised and\n"
        "                                            unsealed, for whoever writes a client\n\n"
        "Flags (each is also a setting of %s, with _ in place of -):\n",
        API_CONFIG);
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        printf("  --%-18s %s (%s)\n", settings[i].flag, settings[i].help, settings[i].fallback);
    printf("  --version, --help\n\n"
           "Example:\n  countersignd --dev --dir /tmp/cs --listen 127.0.0.1:8200\n");
}

static int complain(const char *what, const char *value)
{
    fprintf(stderr, "countersignd: %s%s%s; see --help\n", what, value ? ": " : "",
            value ? value : "");
    return -EINVAL;
}

/* --- agent.hcl
 * ---------------------------------------------------------------------------------------- */

static int read_file(const char *path, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    char chunk[4096];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof(chunk))) > 0)
        buf_put(out, chunk, (size_t)n);
    int e = n < 0 ? -errno : buf_error(out);
    close(fd);
    return e;
}

static int apply(struct config *c, const json_t *file, const char *path)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)file, key, value)
    {
        const struct setting *s = NULL;
        for (size_t i = 0; i < ARRAY_LEN(settings); i++)
            s = strcmp(settings[i].name, key) == 0 ? &settings[i] : s;
        if (!s || !json_is_string(value)) {
            fprintf(stderr, "countersignd: %s: \"%s\" is no setting, or not a string\n", path, key);
            return -EINVAL;
        }
        int e = set(slot(c, s), json_string_value(value));
        if (e < 0)
            return e;
    }
    return 0;
}

static int load(struct config *c, const char *path, bool must)
{
    _cleanup_buf_ struct buf text = BUF_INIT(64 * 1024);
    _cleanup_json_ json_t *file = NULL;
    char why[256];
    int e = read_file(path, &text);
    if (e == -ENOENT && !must)
        return 0;
    if (e == 0)
        e = hcl_parse(buf_str(&text), text.len, &file, why, sizeof(why));
    else
        snprintf(why, sizeof(why), "%s", strerror(-e));
    if (e < 0) {
        fprintf(stderr, "countersignd: %s: %s\n", path, why);
        return -EINVAL;
    }
    return apply(c, file, path);
}

/* --- The command line
 * --------------------------------------------------------------------------------- */

struct given {
    const char *config, *dir, *listen;
    const char *path[ARRAY_LEN(settings)];
    bool dev, version, help;
};

static int parse(int argc, char **argv, struct given *g)
{
    struct option options[ARRAY_LEN(settings) + 8] = {
        {"config", required_argument, NULL, OPT_CONFIG},
        {"dev", no_argument, NULL, OPT_DEV},
        {"dir", required_argument, NULL, OPT_DIR},
        {"listen", required_argument, NULL, OPT_LISTEN},
        {"version", no_argument, NULL, OPT_VERSION},
        {"help", no_argument, NULL, 'h'},
    };
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        options[6 + i] =
            (struct option){settings[i].flag, required_argument, NULL, OPT_PATHS + (int)i};
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (o == OPT_CONFIG)
            g->config = optarg;
        else if (o == OPT_DIR)
            g->dir = optarg;
        else if (o == OPT_LISTEN)
            g->listen = optarg;
        else if (o >= OPT_PATHS)
            g->path[o - OPT_PATHS] = optarg;
        else if (o == '?')
            return -EINVAL;
        g->dev |= o == OPT_DEV;
        g->version |= o == OPT_VERSION;
        g->help |= o == 'h';
    }
    return optind < argc ? complain("unexpected argument", argv[optind]) : 0;
}

static int settle_dev(struct config *c, const struct given *g)
{
    char path[PATH_MAX];
    if (!g->dir)
        return complain("--dev needs --dir DIR", NULL);
    if (mkdir(g->dir, 0700) < 0 && errno != EEXIST)
        return complain("the folder can't be made", g->dir);
    c->dir = realpath(g->dir, NULL);
    if (!c->dir)
        return complain("the folder can't be used", g->dir);
    int e = g->listen ? set(&c->listen, g->listen) : 0;
    for (size_t i = 0; i < ARRAY_LEN(settings) && e == 0; i++) {
        if (!settings[i].dev)
            continue;
        if (snprintf(path, sizeof(path), "%s/%s", c->dir, settings[i].dev) >= (int)sizeof(path))
            return complain("the folder's path is too long", c->dir);
        e = set(slot(c, &settings[i]), path);
    }
    return e;
}

static int settle(struct config *c, const struct given *g)
{
    int e = 0;
    for (size_t i = 0; i < ARRAY_LEN(settings) && e == 0; i++)
        e = set(slot(c, &settings[i]), settings[i].fallback);
    c->dev = g->dev;
    if (e == 0 && g->dev)
        e = settle_dev(c, g);
    else if (e == 0 && (g->dir || g->listen))
        e = complain("--dir and --listen go with --dev", NULL);
    else if (e == 0)
        e = load(c, g->config ? g->config : API_CONFIG, g->config != NULL);
    for (size_t i = 0; i < ARRAY_LEN(settings) && e == 0; i++)
        e = g->path[i] ? set(slot(c, &settings[i]), g->path[i]) : 0;
    return e;
}

int config_read(int argc, char **argv, struct config *out)
{
    struct given g = {0};
    *out = (struct config){0};
    int e = parse(argc, argv, &g);
    if (e < 0)
        return e;
    if (g.help)
        print_help();
    if (g.version)
        printf("countersignd %s\n", COUNTERSIGN_VERSION);
    if (g.help || g.version)
        return 1;
    return settle(out, &g);
}
