/* operator init, unseal, seal, rotate. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <countersign/api.h>

#include "base/clock.h"
#include "cli/families.h"
#include "cli/keyfile.h"
#include "cli/prompt.h"
#include "cli/shares.h"
#include "cli/show.h"

/* --- init ---------------------------------------------------------------------------------------
 */

/* The seal is the shares themselves: there is no unseal key to be kept. */
static bool by_shares(struct cli *c)
{
    const char *seal = args_str(&c->args, "seal");

    return seal && strcmp(seal, "shamir") == 0;
}

/* Vault has one pair of flags for each kind of seal; here both mean the same. */
static int64_t size_of(struct cli *c, const char *recovery, const char *key, int64_t dflt)
{
    return args_int(&c->args, recovery, args_int(&c->args, key, dflt));
}

static int64_t threshold_of(struct cli *c)
{
    return size_of(c, "recovery-threshold", "key-threshold", 3);
}

static json_t *init_request(struct cli *c)
{
    const char *operator= args_str(&c->args, "operator"), *seal = args_str(&c->args, "seal");
    _cleanup_json_ json_t *body = json_object();

    if (json_set_int(body, by_shares(c) ? "secret_shares" : "recovery_shares",
                     size_of(c, "recovery-shares", "key-shares", 5)) < 0 ||
        json_set_int(body, by_shares(c) ? "secret_threshold" : "recovery_threshold",
                     threshold_of(c)) < 0 ||
        (seal && json_set_str(body, "seal", seal) < 0) ||
        (operator&& json_set_str(body, "operator", operator) < 0))
        return NULL;
    return json_incref(body);
}

/* Where the unseal key goes is made sure of before there is one. */
static int choose_destination(struct cli *c, struct keyfile *k)
{
    char why[512];

    if (keyfile_prepare(k, args_str(&c->args, "unseal-key-file"), c->address, why, sizeof(why)) ==
        0)
        return EXIT_CODE_OK;
    output_error("the unseal key could not be kept: %s", why);
    output_note("Nothing was initialised. Choose another place with -unseal-key-file=FILE.");
    return EXIT_CODE_LOCAL;
}

static void print_next(struct cli *c, const struct keyfile *k, const json_t *answer)
{
    const char *token = json_string_value(json_object_get(answer, "root_token"));
    const char *operator= args_str(&c->args, "operator");

    if (k->path)
        printf("\nThe unseal key is in %s%s\n", k->path,
               k->sealed_by_host ? ", encrypted for this host:\nthe agent is unsealed by itself "
                                   "after a restart or a reboot."
                                 : " (mode 0600).\nWhoever reads that file can open the store.");
    else
        printf("\nAfter each start of the agent: countersign operator unseal\n");
    if (token)
        printf("\nRoot token (no operator was named; revoke it when you have made one):\n\n  %s\n",
               token);
    printf("\nNext:\n"
           "  countersign status                      is all well?\n"
           "  countersign factor enroll               a second factor for yourself\n"
           "  countersign pam enable sshd sudo -rollback=10m\n");
    if (operator)
        printf("Members of %s may do everything here, on this host, without a token.\n", operator);
}

/* What was stored elsewhere isn't printed as well. */
static int print_init_json(struct cli *c, const json_t *answer, const struct keyfile *k,
                           bool stored)
{
    _cleanup_json_ json_t *copy = json_deep_copy(answer);

    (void)c;
    if (!copy)
        return call_no_memory();
    if (stored) {
        json_object_del(copy, "unseal_key");
        if (json_set_str(copy, "unseal_key_file", k->path) < 0)
            return call_no_memory();
    }
    return output_json(copy) < 0 ? call_no_memory() : EXIT_CODE_OK;
}

static int finish_init(struct cli *c, struct keyfile *k, const json_t *answer)
{
    const char *key = json_string_value(json_object_get(answer, "unseal_key"));
    char why[512] = "the agent sent none";
    bool stored = key && keyfile_store(k, key, why, sizeof(why)) == 0;
    int code = EXIT_CODE_OK;

    if (c->out.format == OUTPUT_JSON)
        code = print_init_json(c, answer, k, stored);
    else
        shares_print(c, shares_of(answer), threshold_of(c), !by_shares(c));
    if (!stored && !by_shares(c)) {
        output_error(
            "the store is initialised, but the unseal key could not be kept: %s\n"
            "The recovery shares above are now the only way to open it: keep them safe, and "
            "after a restart use: countersign operator unseal",
            why);
        return EXIT_CODE_LOCAL;
    }
    if (c->out.format != OUTPUT_JSON)
        print_next(c, k, answer);
    return code;
}

static int run_init(struct cli *c)
{
    _cleanup_(keyfile_clear) struct keyfile k = {0};
    _cleanup_json_ json_t *body = init_request(c);
    _cleanup_reply_ struct reply r = {0};
    int code;

    if (!body)
        return call_no_memory();
    code = by_shares(c) ? EXIT_CODE_OK : choose_destination(c, &k);
    if (code == EXIT_CODE_OK)
        code = call(c, "PUT", "sys/init", NULL, body, &r);
    if (code != EXIT_CODE_OK)
        return code;
    if (by_shares(c) && keyfile_retire(c->address) < 0 && geteuid() == 0)
        output_note("WARNING: the unseal key of an earlier store could not be put aside: "
                    "remove " API_CREDENTIAL_FILE);
    return finish_init(c, &k, reply_data(&r));
}

/* --- unseal -------------------------------------------------------------------------------------
 */

static int send_key(struct cli *c, const char *field, const char *key, struct reply *r)
{
    _cleanup_json_ json_t *body = json_object();

    if (json_set_str(body, field, key) < 0)
        return call_no_memory();
    return call(c, "PUT", "sys/unseal", NULL, body, r);
}

static int show_seal(struct cli *c, const struct reply *r)
{
    int code;

    if (show_plainly(c, r, &code))
        return code;
    return show_done(c, NULL, "Unsealed.");
}

/* The key as it was stored: one line of text. */
static int read_key(const char *path, char **key)
{
    _cleanup_buf_ struct buf b = BUF_INIT(4096);
    int r = prompt_read_file(path, 4096, &b);
    size_t n;

    if (r < 0)
        return r;
    n = strcspn(buf_str(&b), "\r\n \t");
    if (n == 0 || b.data[n + strspn(buf_str(&b) + n, "\r\n \t")] != '\0')
        return -EBADMSG;
    *key = mem_dup(buf_str(&b), n);
    return *key ? 0 : -ENOMEM;
}

static int unseal_from_file(struct cli *c, const char *path)
{
    _cleanup_secret_ char *key = NULL;
    _cleanup_reply_ struct reply r = {0};
    int e = read_key(path, &key), code;

    if (e < 0) {
        output_error("no unseal key from %s: %s", path,
                     e == -EBADMSG ? "it is not one line of text" : strerror(-e));
        return EXIT_CODE_LOCAL;
    }
    code = send_key(c, "credential", key, &r);
    return code == EXIT_CODE_OK ? show_seal(c, &r) : code;
}

#define WAIT_S 30

/* Right after boot the socket may be there before the agent, or neither. */
static int wait_for_agent(struct cli *c, struct reply *r)
{
    int64_t until = clock_boot_ms() + WAIT_S * 1000;

    for (;;) {
        const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
        int e = call_quietly(c, "GET", "sys/seal-status", NULL, r);

        if (e == 0 && r->status == 200)
            return EXIT_CODE_OK;
        if (clock_boot_ms() >= until || (e < 0 && e != -ENOENT && e != -ECONNREFUSED))
            return call(c, "GET", "sys/seal-status", NULL, NULL, r);
        nanosleep(&pause, NULL);
    }
}

static int unseal_from_credential(struct cli *c, const char *name)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    _cleanup_reply_ struct reply r = {0};
    _cleanup_secret_ char *path = NULL;
    const json_t *s;
    int code = wait_for_agent(c, &r);

    if (code != EXIT_CODE_OK)
        return code;
    s = reply_data(&r);
    if (!json_is_true(json_object_get(s, "initialized")) ||
        json_is_false(json_object_get(s, "sealed")))
        return EXIT_CODE_OK;
    if (!folder || strchr(name, '/')) {
        output_error("no credential \"%s\": this is for a systemd unit with "
                     "LoadCredentialEncrypted=%s",
                     name, name);
        return EXIT_CODE_LOCAL;
    }
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        path = NULL;
        return call_no_memory();
    }
    if (access(path, R_OK) < 0 && errno == ENOENT) {
        output_error("there is no unseal key for this host (%s). Unseal with the recovery shares: "
                     "countersign operator unseal",
                     API_CREDENTIAL_FILE);
        return EXIT_CODE_LOCAL;
    }
    return unseal_from_file(c, path);
}

static void show_progress(const struct reply *r)
{
    const json_t *s = reply_data(r);

    output_note("%d/%d shares given.", (int)json_integer_value(json_object_get(s, "progress")),
                (int)json_integer_value(json_object_get(s, "t")));
}

#define MISTAKES_MAX 3

static bool is_sealed(const struct reply *r)
{
    return !json_is_false(json_object_get(reply_data(r), "sealed"));
}

/* One share. Returns EXIT_CODE_OK when another may be asked for (or none is needed any more). */
static int ask_share(struct cli *c, struct reply *r, unsigned *mistakes)
{
    _cleanup_secret_ char *share = NULL;
    int e = prompt_line("Share (hidden): ", true, &share), code;

    if (e != 0 || !share[0]) {
        output_error(
            "stopped; the agent is still sealed. Shares given so far count until it restarts "
            "(-reset forgets them)");
        return EXIT_CODE_LOCAL;
    }
    share[strcspn(share, " \t")] = '\0';
    code = send_key(c, "key", share, r);
    if (code == EXIT_CODE_REFUSED && r->status == 400 && prompt_is_terminal() &&
        ++*mistakes < MISTAKES_MAX) {
        output_note("Try again.");
        return call(c, "GET", "sys/seal-status", NULL, NULL, r);
    }
    return code;
}

static int unseal_with_shares(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    unsigned mistakes = 0;
    int code = call(c, "GET", "sys/seal-status", NULL, NULL, &r);

    if (code != EXIT_CODE_OK)
        return code;
    if (!is_sealed(&r)) {
        return show_done(c, &r, "The agent is unsealed already.");
    }
    while (code == EXIT_CODE_OK && is_sealed(&r)) {
        show_progress(&r);
        code = ask_share(c, &r, &mistakes);
    }
    return code == EXIT_CODE_OK ? show_seal(c, &r) : code;
}

static int run_unseal(struct cli *c)
{
    const char *credential = args_str(&c->args, "from-credential");
    const char *file = args_str(&c->args, "key-file");
    _cleanup_reply_ struct reply r = {0};
    _cleanup_json_ json_t *reset = json_pack("{s:b}", "reset", 1);
    int code;

    if (!reset)
        return call_no_memory();
    if (args_bool(&c->args, "reset")) {
        code = call(c, "PUT", "sys/unseal", NULL, reset, &r);
        return code ? code : show_done(c, &r, "The shares given so far are forgotten.");
    }
    if (credential)
        return unseal_from_credential(c, credential);
    return file ? unseal_from_file(c, file) : unseal_with_shares(c);
}

static int run_seal(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    int code = call(c, "PUT", "sys/seal", NULL, NULL, &r);

    if (code != EXIT_CODE_OK)
        return code;
    return show_done(
        c, &r,
        "Sealed. Logins that need a factor, and every request, are refused until it is\n"
        "unsealed: systemctl start countersign-unseal, or countersign operator unseal.");
}

static int run_rotate(struct cli *c)
{
    _cleanup_reply_ struct reply r = {0};
    int code = call(c, "POST", "sys/rotate", NULL, NULL, &r);

    if (code != EXIT_CODE_OK)
        return code;
    return show_done(c, &r, "A new data key is in use. What was stored before stays readable.");
}

static const struct flag init_flags[] = {
    {"operator", FLAG_STRING, "group:NAME|user:NAME",
     "Who may do everything on this host without a token. Without it a root token is printed"},
    {"seal", FLAG_STRING, "host|shamir",
     "Who opens the store after a start: this host by itself (default), or people with shares"},
    {"key-shares", FLAG_INT, "N", "How many shares (default 5); also -recovery-shares"},
    {"key-threshold", FLAG_INT, "N",
     "How many of them are needed (default 3); also -recovery-threshold"},
    {"recovery-shares", FLAG_INT, "N", NULL},
    {"recovery-threshold", FLAG_INT, "N", NULL},
    {"unseal-key-file", FLAG_STRING, "FILE",
     "Keep the unseal key in this new file instead of " API_CREDENTIAL_FILE},
    {NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag unseal_flags[] = {
    {"from-credential", FLAG_STRING, "NAME",
     "The unseal key from $CREDENTIALS_DIRECTORY/NAME, for a systemd unit; waits for the agent up "
     "to "
     "30 seconds; succeeds silently when there is nothing to unseal"},
    {"key-file", FLAG_STRING, "FILE", "The unseal key from a file that -unseal-key-file made"},
    {"reset", FLAG_BOOL, NULL, "Forget the shares given so far"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

const struct command cmd_operator_rows[] = {
    {.name = "operator init",
     .args = "",
     .purpose = "Make the store's keys, once; prints the recovery shares",
     .details =
         "As root, the unseal key is kept as a systemd credential encrypted for this host (with "
         "its\n"
         "TPM where it has one), so that the agent opens by itself after a reboot. The recovery\n"
         "shares are for when that doesn't work. With -seal=shamir no key is kept anywhere: after\n"
         "each start people give shares, and until then nobody logs in where a factor is asked "
         "for.",
     .example = "sudo countersign operator init -operator=group:sre",
     .flags = init_flags,
     .run = run_init},
    {.name = "operator unseal",
     .args = "",
     .purpose = "Open the store, with shares or the unseal key",
     .details = "Asks for one share after the other, hidden; from a pipe, one a line. "
                "Never give a\n"
                "share on the command line, where others on this host can see it.",
     .example = "sudo countersign operator unseal",
     .flags = unseal_flags,
     .run = run_unseal},
    {.name = "operator seal",
     .args = "",
     .purpose = "Forget the keys: nothing is served until unsealed",
     .example = "sudo countersign operator seal",
     .run = run_seal},
    {.name = "operator rotate",
     .args = "",
     .purpose = "Use a new data key from now on",
     .example = "countersign operator rotate",
     .run = run_rotate},
    {.name = NULL},
};
