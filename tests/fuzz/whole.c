#include "fuzz/whole.h"

#include <countersign/connector.h>
#include <errno.h>
#include <fcntl.h>
#include <liboath/oath.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/clock.h"
#include "fuzz/fuzz.h"
#include "identity/token.h"
#include "server/assemble.h"
#include "server/http_internal.h"
#include "server/revoke.h"
#include "server/rules.h"

static const uint8_t unseal_key[VAULT_KEY_LEN] = "unseal key of the fuzz targets";

static struct {
    struct agent agent;
    char dir[64], db[80], first[80];
    char totp[128]; /* base32 */
    int connector;  /* our end, -1 = none */
    bool made, running, spoilt;
} whole = {.connector = -1};

/* --- The journal, which is read here and not written --------------------------------------------
 */

int sd_journal_print_with_location(int priority, const char *file, const char *line,
                                   const char *func, const char *format, ...)
{
    char text[4096];
    va_list args;
    (void)priority, (void)file, (void)line, (void)func;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (getenv("COUNTERSIGN_FUZZ_JOURNAL"))
        fprintf(stderr, "journal: %s\n", text);
    return n < 0 ? -EINVAL : 0;
}

int sd_journal_send_with_location(const char *file, const char *line, const char *func,
                                  const char *format, ...)
{
    char text[4096];
    va_list args;
    (void)file, (void)line, (void)func;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return n < 0 ? -EINVAL : 0;
}

/* --- Argon2id, which costs as much as a thousand inputs -----------------------------------------
 */

int crypto_pwhash_str(char out[crypto_pwhash_STRBYTES], const char *passwd, unsigned long long len,
                      unsigned long long opslimit, size_t memlimit)
{
    (void)passwd, (void)len, (void)opslimit, (void)memlimit;
    memset(out, 0, crypto_pwhash_STRBYTES);
    memcpy(out, "$argon2id$fuzz", 14);
    return 0;
}

int crypto_pwhash_str_verify(const char str[crypto_pwhash_STRBYTES], const char *passwd,
                             unsigned long long len)
{
    (void)str, (void)passwd, (void)len;
    return -1;
}

/* --- Made and unmade ----------------------------------------------------------------------------
 */

void whole_connect(void)
{
    static const char hello[] = "{\"hello\":1,\"program\":\"fuzz\"}";
    int pair[2];
    if (whole.connector >= 0)
        close(whole.connector);
    PROMISE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    PROMISE(link_attach(whole.agent.link, pair[0]) == 0);
    whole.connector = pair[1];
    whole_connector_says(hello, strlen(hello));
}

static void start(void)
{
    struct agent *a = &whole.agent;
    char why[256];
    PROMISE(vault_open(whole.db, &a->vault, why, sizeof(why)) == 0);
    PROMISE(assemble_open(a) == 0);
    a->root_uid = geteuid();
    a->counted_ms = 0;
    if (vault_state(a->vault) != VAULT_UNINITIALISED) {
        PROMISE(vault_unseal(a->vault, unseal_key) == 0);
        PROMISE(agent_unsealed(a) == 0);
        whole_run();
    }
    whole.running = true;
}

/* What waits for a connector is told that it went away once it was sent, and asks again, perhaps. */
static void lose_connector(void)
{
    for (unsigned times = 0; times < 3; times++) {
        whole_connect();
        close(whole.connector);
        whole.connector = -1;
        whole_settle();
    }
}

static void stop(void)
{
    struct agent *a = &whole.agent;
    if (!whole.running)
        return;
    lose_connector();
    revoke_forget_waiters();
    whole_settle();
    assemble_close(a);
    whole.running = false;
}

static void copy(const char *from, const char *to)
{
    char wal[96], *p = malloc(1 << 22);
    FILE *in = fopen(from, "re"), *out = fopen(to, "we");
    PROMISE(in && out && p);
    size_t n = fread(p, 1, 1 << 22, in);
    PROMISE(n > 0 && n < 1 << 22 && fwrite(p, 1, n, out) == n);
    PROMISE(fclose(in) == 0 && fclose(out) == 0);
    free(p);
    (void)snprintf(wal, sizeof(wal), "%s-wal", to);
    (void)unlink(wal);
}

/* --- Requests ------------------------------------------------------------------------------------
 */

void whole_run(void)
{
    for (unsigned turns = 0; sd_event_run(whole.agent.loop, 0) > 0; turns++)
        PROMISE(turns < 100000);
}

void whole_settle(void)
{
    do {
        whole_run();
    } while (sd_event_run(whole.agent.loop, 2000) > 0);
}

/* The body of the one answer in text; the status, 0 when there is none. */
static int take_answer(const char *text, size_t n, struct buf *reply)
{
    int status = 0;
    if (n == 0)
        return 0;
    const char *end = strstr(text, "\r\n\r\n");
    PROMISE(end && sscanf(text, "HTTP/1.1 %3d ", &status) == 1);
    if (reply)
        buf_puts(reply, end + 4);
    return status;
}

static void send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t r = send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (r < 0 && errno != EAGAIN)
            return;
        p += r > 0 ? r : 0;
        n -= r > 0 ? (size_t)r : 0;
        whole_run();
    }
}

int whole_ask(const char *method, const char *path, const char *body, size_t n, bool as_root,
              struct buf *reply)
{
    static char got[1 << 22];
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 22);
    int pair[2];
    size_t len = 0;
    buf_putf(&text, "%s %s HTTP/1.1\r\nHost: x\r\n", method, path);
    if (as_root)
        buf_puts(&text, "X-Vault-Token: " WHOLE_TOKEN "\r\n");
    buf_putf(&text, "Connection: close\r\nContent-Length: %zu\r\n\r\n", n);
    buf_put(&text, body, n);
    PROMISE(buf_error(&text) == 0);
    PROMISE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    PROMISE(http_adopt(whole.agent.http, pair[1], true) == 0);
    send_all(pair[0], (const char *)text.data, text.len);
    for (int waited = 0;;) {
        whole_run();
        ssize_t r = recv(pair[0], got + len, sizeof(got) - 1 - len, MSG_DONTWAIT);
        if (r == 0 || (r < 0 && errno != EAGAIN))
            break;
        len += r > 0 ? (size_t)r : 0;
        if (r < 0) {
            PROMISE(waited++ < 100);
            PROMISE(sd_event_run(whole.agent.loop, 100000) >= 0);
        }
    }
    got[len] = '\0';
    close(pair[0]);
    whole_run();
    return take_answer(got, len, reply);
}

static void want(const char *path, const char *body)
{
    _cleanup_buf_ struct buf reply = BUF_INIT(1 << 20);
    int status = whole_ask("PUT", path, body, strlen(body), true, &reply);
    if (status / 100 != 2)
        fprintf(stderr, "%s: %d %s\n", path, status, buf_str(&reply));
    PROMISE(status / 100 == 2);
}

/* --- The first store -----------------------------------------------------------------------------
 */

static void enrol(void)
{
    _cleanup_buf_ struct buf reply = BUF_INIT(1 << 20);
    _cleanup_json_ json_t *answer = NULL;
    char why[100], code[16], body[64];
    PROMISE(whole_ask("PUT", "/v1/sys/factors/" WHOLE_PERSON "/totp", "{}", 2, true, &reply) ==
            200);
    PROMISE(json_parse(buf_str(&reply), reply.len, &answer, why, sizeof(why)) == 0);
    (void)snprintf(whole.totp, sizeof(whole.totp), "%s",
                   json_str_or(json_object_get(answer, "data"), "secret", ""));
    whole_code(code);
    (void)snprintf(body, sizeof(body), "{\"code\":\"%s\"}", code);
    want("/v1/sys/factors/" WHOLE_PERSON "/totp/confirm", body);
}

static void fill(struct agent *a)
{
    char text[TOKEN_TEXT_MAX], why[128];
    uint8_t root[VAULT_KEY_LEN];
    struct token t = {0};
    bool shortened;
    _cleanup_json_ json_t *policies = json_pack("[s]", "root");
    const struct token_spec spec = {
        .policies = policies, .root = true, .path = "auth/token/root", .given_id = WHOLE_TOKEN};
    PROMISE(vault_init(a->vault, unseal_key, 5, 3, root) == 0);
    PROMISE(agent_unsealed(a) == 0);
    PROMISE(rules_defaults(a->vault) == 0 && rules_load(a->rules, a->vault) == 0);
    PROMISE(token_create(a->vault, &spec, clock_lease_ms(), text, &t, &shortened, why,
                         sizeof(why)) == 0);
    token_clear(&t);
    want("/v1/sys/mounts/kv1", "{\"type\":\"kv\",\"options\":{\"version\":\"1\"}}");
    want("/v1/sys/mounts/secret", "{\"type\":\"kv\",\"options\":{\"version\":\"2\"}}");
    want("/v1/sys/mounts/database", "{\"type\":\"database\"}");
    want("/v1/kv1/a", "{\"b\":\"c\"}");
    want("/v1/secret/data/a", "{\"data\":{\"b\":\"c\"}}");
    want("/v1/database/config/shop",
         "{\"plugin_name\":\"postgresql-database-plugin\",\"verify_connection\":false,"
         "\"allowed_roles\":\"*\",\"username\":\"admin\",\"password\":\"x\",\"connection_url\":"
         "\"postgresql://{{username}}:{{password}}@h/db\"}");
    want("/v1/database/roles/ro", "{\"db_name\":\"shop\",\"groups\":\"readers\"}");
    want("/v1/sys/policies/acl/p", "{\"policy\":\"path \\\"kv1/*\\\" { capabilities = "
                                   "[\\\"read\\\"] }\"}");
    want("/v1/sys/bindings/b",
         "{\"principals\":[\"user:" WHOLE_PERSON "\"],\"services\":[\"sshd\"],\"policies\":[\"p\"],"
         "\"mfa\":{\"max_age\":\"15m\"}}");
    enrol();
}

static void clean_up(void)
{
    static const char *const names[] = {"agent.db", "agent.db-wal", "first.db",
                                        "bad.db",   "bad.db-wal",   "pam.sock"};
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", whole.dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(whole.dir);
}

static void make(void)
{
    /* Memory where there is some: each input may be a store's worth of fsyncs. */
    const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    PROMISE(sodium_init() >= 0);
    json_init();
    umask(0077);
    (void)snprintf(whole.dir, sizeof(whole.dir), "%s/countersign-fuzz-XXXXXX", where);
    PROMISE(mkdtemp(whole.dir));
    (void)atexit(clean_up);
    (void)snprintf(whole.db, sizeof(whole.db), "%s/agent.db", whole.dir);
    (void)snprintf(whole.first, sizeof(whole.first), "%s/first.db", whole.dir);
    PROMISE(sd_event_new(&whole.agent.loop) >= 0);
    PROMISE(assemble_workers(&whole.agent) == 0);
    start();
    fill(&whole.agent);
    stop();
    copy(whole.db, whole.first);
    whole.made = true;
}

struct agent *whole_agent(void)
{
    if (!whole.made)
        make();
    if (whole.spoilt)
        stop();
    if (!whole.running) {
        copy(whole.first, whole.db);
        start();
    }
    whole.spoilt = false;
    return &whole.agent;
}

void whole_spoilt(void)
{
    whole.spoilt = true;
}

const char *whole_store(void)
{
    return whole.first;
}

const uint8_t *whole_key(void)
{
    return unseal_key;
}

const char *whole_folder(void)
{
    return whole.dir;
}

/* --- People and the connector --------------------------------------------------------------------
 */

void whole_code(char code[16])
{
    char *secret = NULL;
    size_t n = 0;
    PROMISE(oath_base32_decode(whole.totp, strlen(whole.totp), &secret, &n) == OATH_OK);
    PROMISE(oath_totp_generate(secret, n, (time_t)clock_wall_s(), 30, 0, 6, code) == OATH_OK);
    free(secret);
}

ssize_t whole_connector_hears(char *text, size_t size)
{
    ssize_t n = recv(whole.connector, text, size - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    return n;
}

void whole_connector_says(const char *text, size_t n)
{
    (void)send(whole.connector, text, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    whole_run();
}
