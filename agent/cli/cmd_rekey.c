/* operator generate-root, rekey, reseal: what needs shares, or makes other keys. */
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "cli/families.h"
#include "cli/keyfile.h"
#include "cli/prompt.h"
#include "cli/shares.h"
#include "cli/show.h"

#define TOKEN_MAX 256

/* --- generate-root -------------------------------------------------------------------------------
 */

static bool started(const struct reply *r)
{
    return json_is_true(json_object_get(reply_data(r), "started"));
}

static const char *text_of(const struct reply *r, const char *field)
{
    const char *s = json_string_value(json_object_get(reply_data(r), field));
    return s ? s : "";
}

/* Base64, with or without its padding, XOR the otp's bytes. */
static int decode_token(const char *encoded, const char *otp, char out[TOKEN_MAX])
{
    _cleanup_buf_ struct buf b = BUF_INIT(2 * TOKEN_MAX);
    size_t n = 0;

    buf_puts(&b, encoded);
    while (b.len % 4 != 0 && buf_error(&b) == 0)
        buf_putc(&b, '=');
    if (buf_error(&b) < 0 || encode_from_base64(buf_str(&b), out, TOKEN_MAX - 1, &n) < 0 ||
        n == 0 || n != strlen(otp))
        return -1;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(out[i] ^ otp[i]);
    out[n] = '\0';
    return 0;
}

static int print_token(const char *encoded, const char *otp)
{
    char token[TOKEN_MAX];

    if (decode_token(encoded, otp, token) < 0) {
        output_error("that encoded token and that one-time password don't belong together");
        return EXIT_CODE_LOCAL;
    }
    printf("%s\n", token);
    mem_wipe(token, sizeof(token));
    return EXIT_CODE_OK;
}

/* Together they are the token, so one of them stays off the command line. */
static int run_decode(struct cli *c, const char *encoded)
{
    _cleanup_secret_ char *typed = NULL, *asked = NULL;
    const char *otp = args_str(&c->args, "otp");

    if (strcmp(encoded, "-") == 0) {
        if (prompt_line("Encoded token: ", false, &typed) != 0)
            return EXIT_CODE_LOCAL;
        encoded = typed;
    }
    if (!otp && prompt_line("One-time password (hidden): ", true, &asked) != 0)
        return EXIT_CODE_LOCAL;
    return print_token(encoded, otp ? otp : asked);
}

static int start_root(struct cli *c, struct reply *r)
{
    const char *otp = args_str(&c->args, "otp");
    _cleanup_json_ json_t *body = json_object();

    if (!body || (otp && json_set_str(body, "otp", otp) < 0))
        return call_no_memory();
    return call(c, "PUT", "sys/generate-root/attempt", NULL, body, r);
}

/* The nonce that was given, else the one of the attempt under way: on one host there is but one. */
static const char *nonce_of(struct cli *c, const struct reply *r)
{
    const char *nonce = args_str(&c->args, "nonce");
    return nonce ? nonce : text_of(r, "nonce");
}

static int finish_root(struct cli *c, const struct reply *r, const char *otp)
{
    int code;

    if (show_plainly(c, r, &code))
        return code;
    if (otp[0]) {
        output_note("The root token, shown now and never again. Revoke it when you are done:\n"
                    "countersign token revoke -self");
        return print_token(text_of(r, "encoded_token"), otp);
    }
    output_note("Whoever started this decodes it with their one-time password:\n"
                "countersign operator generate-root -decode=ENCODED");
    printf("%s\n", text_of(r, "encoded_token"));
    return EXIT_CODE_OK;
}

static int give_root_shares(struct cli *c, const struct reply *attempt, const char *otp)
{
    _cleanup_reply_ struct reply r = {0};
    _cleanup_(freep) char *nonce = strdup(nonce_of(c, attempt));
    bool done = false;
    int code;

    if (!nonce)
        return call_no_memory();
    code =
        shares_give(c, "sys/generate-root/update", "sys/generate-root/attempt", nonce, &r, &done);
    if (code != EXIT_CODE_OK)
        return code;
    if (done)
        return finish_root(c, &r, otp);
    output_note("Not enough shares yet. Others go on with: countersign operator generate-root");
    if (otp[0])
        output_note("Keep this one-time password, with which the token is decoded: %s", otp);
    return EXIT_CODE_LOCAL;
}

static int run_generate_root(struct cli *c)
{
    const char *encoded = args_str(&c->args, "decode");
    _cleanup_reply_ struct reply r = {0}, attempt = {0};
    int code;

    if (encoded)
        return run_decode(c, encoded);
    if (args_bool(&c->args, "cancel")) {
        code = call(c, "DELETE", "sys/generate-root/attempt", NULL, NULL, &r);
        return code ? code : show_done(c, &r, "No root token is being generated any more.");
    }
    code = call(c, "GET", "sys/generate-root/attempt", NULL, NULL, &r);
    if (code != EXIT_CODE_OK || args_bool(&c->args, "status"))
        return code ? code : show_reply(c, &r);
    if (args_bool(&c->args, "init") || !started(&r)) {
        code = start_root(c, &attempt);
        if (code != EXIT_CODE_OK || args_bool(&c->args, "init"))
            return code ? code : show_reply(c, &attempt);
        return give_root_shares(c, &attempt,
                                args_str(&c->args, "otp") ? args_str(&c->args, "otp")
                                                          : text_of(&attempt, "otp"));
    }
    return give_root_shares(c, &r, args_str(&c->args, "otp") ? args_str(&c->args, "otp") : "");
}

/* --- rekey ---------------------------------------------------------------------------------------
 */

/* Both lead to the same shares; -target is for the fingers of Vault's operators. */
static char *rekey_path(struct cli *c, const char *last)
{
    const char *target = args_str(&c->args, "target");
    bool recovery = target && strcmp(target, "recovery") == 0;

    return call_path(recovery ? "sys/rekey-recovery-key/" : "sys/rekey/", last);
}

static int start_rekey(struct cli *c, struct reply *r)
{
    _cleanup_(freep) char *path = rekey_path(c, "init");
    _cleanup_json_ json_t *body = json_object();
    bool verify = !args_has(&c->args, "verify") || args_bool(&c->args, "verify");

    if (!path || json_set_int(body, "secret_shares", args_int(&c->args, "key-shares", 5)) < 0 ||
        json_set_int(body, "secret_threshold", args_int(&c->args, "key-threshold", 3)) < 0 ||
        json_set_bool(body, "require_verification", verify) < 0)
        return call_no_memory();
    return call(c, "PUT", path, NULL, body, r);
}

static int verify_shares(struct cli *c)
{
    _cleanup_(freep) char *path = rekey_path(c, "verify");
    _cleanup_(freep) char *nonce = NULL;
    _cleanup_reply_ struct reply r = {0};
    bool done = false;
    int code = path ? call(c, "GET", path, NULL, NULL, &r) : call_no_memory();

    if (code != EXIT_CODE_OK)
        return code;
    if (!started(&r)) {
        output_error("no new shares wait to be given back: countersign operator rekey -status");
        return EXIT_CODE_LOCAL;
    }
    nonce = strdup(nonce_of(c, &r));
    if (!nonce)
        return call_no_memory();
    code = shares_give(c, path, path, nonce, &r, &done);
    if (code != EXIT_CODE_OK)
        return code;
    if (done)
        return show_done(c, &r, "The new shares are in force; the old ones open nothing any more.");
    output_note(
        "The old shares are still in force. Go on with: countersign operator rekey -verify");
    return EXIT_CODE_LOCAL;
}

/* New shares are here. With verification they don't count before enough were given back. */
static int finish_rekey(struct cli *c, const struct reply *r, int64_t threshold)
{
    bool verify = json_is_true(json_object_get(reply_data(r), "verification_required"));
    bool recovery = json_object_get(reply_data(r), "recovery_keys") != NULL;
    int code;

    if (show_plainly(c, r, &code))
        return code;
    shares_print(c, shares_of(reply_data(r)), threshold, recovery);
    if (!verify) {
        output_note("\nThey are in force; the old ones open nothing any more.");
        return EXIT_CODE_OK;
    }
    output_note(
        "\nThey are not in force yet: %lld of them must be given back, as a proof that they\n"
        "arrived. Until then the old ones hold.",
        (long long)threshold);
    if (prompt_is_terminal())
        return verify_shares(c);
    output_note("Go on with: countersign operator rekey -verify");
    return EXIT_CODE_OK;
}

static int give_old_shares(struct cli *c, const struct reply *attempt)
{
    _cleanup_(freep) char *path = rekey_path(c, "update"), *status = rekey_path(c, "init");
    _cleanup_(freep) char *nonce = strdup(nonce_of(c, attempt));
    int64_t threshold = json_integer_value(json_object_get(reply_data(attempt), "t"));
    _cleanup_reply_ struct reply r = {0};
    bool done = false;
    int code;

    if (!path || !status || !nonce)
        return call_no_memory();
    code = shares_give(c, path, status, nonce, &r, &done);
    if (code != EXIT_CODE_OK)
        return code;
    if (done)
        return finish_rekey(c, &r, threshold);
    output_note("Not enough shares yet. Others go on with: countersign operator rekey");
    return EXIT_CODE_LOCAL;
}

static int cancel_rekey(struct cli *c)
{
    _cleanup_(freep) char *path = rekey_path(c, "init");
    _cleanup_reply_ struct reply r = {0};
    int code = path ? call(c, "DELETE", path, NULL, NULL, &r) : call_no_memory();

    return code ? code : show_done(c, &r, "No new shares are being made; those there are hold.");
}

static int run_rekey(struct cli *c)
{
    _cleanup_(freep) char *path = rekey_path(c, "init");
    _cleanup_reply_ struct reply r = {0}, fresh = {0};
    bool init = args_bool(&c->args, "init");
    int code;

    if (!path)
        return call_no_memory();
    if (args_bool(&c->args, "cancel"))
        return cancel_rekey(c);
    if (args_bool(&c->args, "verify") && !init)
        return verify_shares(c);
    code = call(c, "GET", path, NULL, NULL, &r);
    if (code != EXIT_CODE_OK || args_bool(&c->args, "status"))
        return code ? code : show_reply(c, &r);
    if (!init && started(&r))
        return give_old_shares(c, &r);
    code = start_rekey(c, &fresh);
    if (code != EXIT_CODE_OK)
        return code;
    return init ? show_reply(c, &fresh) : give_old_shares(c, &fresh);
}

/* --- reseal --------------------------------------------------------------------------------------
 */

/* The old key goes only after the new one was read back from where it is kept, and opened. */
static int prove(struct cli *c, const struct keyfile *k, char *why, size_t whylen)
{
    _cleanup_secret_ char *key = NULL;
    _cleanup_json_ json_t *body = json_object();
    _cleanup_buf_ struct buf reason = BUF_INIT(4096);
    _cleanup_reply_ struct reply r = {0};
    int e = keyfile_read_back(k, &key, why, whylen);

    if (e < 0)
        return e;
    snprintf(why, whylen, "out of memory");
    if (json_set_str(body, "credential", key) < 0)
        return -1;
    e = call_quietly(c, "PUT", "sys/reseal/update", body, &r);
    if (e == 0 && r.status == 200)
        return 0;
    call_reason(&r, &reason);
    snprintf(why, whylen, "%s", e < 0 ? strerror(-e) : buf_str(&reason));
    return -1;
}

static int give_up(struct cli *c, struct keyfile *k, const char *why)
{
    _cleanup_reply_ struct reply r = {0};
    int undone = keyfile_undo(k);

    if (undone == 0)
        (void)call_quietly(c, "DELETE", "sys/reseal/init", NULL, &r);
    output_error("the unseal key was not replaced: %s", why);
    output_note(undone == 0 ? "All is as it was: the key of before opens the store."
                            : "Both the key of before and the new one open the store. Try again.");
    return EXIT_CODE_REFUSED;
}

static int run_reseal(struct cli *c)
{
    _cleanup_(keyfile_clear) struct keyfile k = {0};
    _cleanup_reply_ struct reply r = {0};
    char why[512];
    int code;

    if (keyfile_prepare(&k, args_str(&c->args, "unseal-key-file"), c->address, why, sizeof(why)) <
        0) {
        output_error("the new unseal key could not be kept: %s", why);
        output_note("Nothing was changed. Choose another place with -unseal-key-file=FILE.");
        return EXIT_CODE_LOCAL;
    }
    code = call(c, "PUT", "sys/reseal/init", NULL, NULL, &r);
    if (code != EXIT_CODE_OK)
        return code;
    if (keyfile_store(&k, text_of(&r, "unseal_key"), why, sizeof(why)) < 0 ||
        prove(c, &k, why, sizeof(why)) != 0)
        return give_up(c, &k, why);
    if (keyfile_drop_old(&k) < 0)
        output_note("WARNING: %s could not be removed. It opens this store no more.", k.aside);
    return show_done(c, NULL,
                     "A new unseal key is in %s.\nIt was read back and opens the store; the one of "
                     "before doesn't any more.",
                     k.path);
}

static const struct flag generate_root_flags[] = {
    {"init", FLAG_BOOL, NULL,
     "Only start, and print the one-time password (kept by whoever starts)"},
    {"otp", FLAG_STRING, "TEXT", "A one-time password of your own, of 32 characters"},
    {"decode", FLAG_STRING, "ENCODED",
     "Decode a token (\"-\": asks for it); asks for the one-time password"},
    {"status", FLAG_BOOL, NULL, "How far it is"},
    {"cancel", FLAG_BOOL, NULL, "Forget the attempt and the shares given so far"},
    {"nonce", FLAG_STRING, "UUID", "The attempt's nonce (default: of the one under way)"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag rekey_flags[] = {
    {"key-shares", FLAG_INT, "N", "How many new shares (default 5)"},
    {"key-threshold", FLAG_INT, "N", "How many of them will be needed (default 3)"},
    {"init", FLAG_BOOL, NULL, "Only start; each holder then gives a share with \"operator rekey\""},
    {"verify", FLAG_BOOL, NULL,
     "Give the new shares back. With -init: -verify=false puts them in force at once"},
    {"status", FLAG_BOOL, NULL, "How far it is"},
    {"cancel", FLAG_BOOL, NULL, "Forget the attempt and the shares given so far"},
    {"target", FLAG_STRING, "barrier|recovery", "As Vault's; both are the same shares here"},
    {"nonce", FLAG_STRING, "UUID", "The attempt's nonce (default: of the one under way)"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

static const struct flag reseal_flags[] = {
    {"unseal-key-file", FLAG_STRING, "FILE",
     "Keep the unseal key in this new file instead of the host's credential store"},
    {NULL, FLAG_BOOL, NULL, NULL},
};

const struct command cmd_rekey_rows[] = {
    {.name = "operator generate-root",
     .args = "",
     .purpose = "Make a root token, with shares",
     .details =
         "For when no other token or binding is left. Asks for enough shares, hidden; from a\n"
         "pipe, one a line. With -init it only starts, and each holder gives a share with the\n"
         "same command; the last one gets the token encoded with the one-time password.",
     .example = "sudo countersign operator generate-root",
     .flags = generate_root_flags,
     .run = run_generate_root},
    {.name = "operator rekey",
     .args = "",
     .purpose = "Make new shares; the old ones open nothing any more",
     .details =
         "Asks for enough of the old shares, hidden; from a pipe, one a line. The new ones are in\n"
         "force once enough of them were given back (-verify). The host's unseal key stays good.",
     .example = "sudo countersign operator rekey -key-shares=5 -key-threshold=3",
     .flags = rekey_flags,
     .run = run_rekey},
    {.name = "operator reseal",
     .args = "",
     .purpose = "Make a new unseal key for this host; the old one opens nothing any more",
     .details =
         "The old key is dropped only after the new one was read back from where it is kept, and\n"
         "found to open the store. The recovery shares stay as they are.",
     .example = "sudo countersign operator reseal",
     .flags = reseal_flags,
     .run = run_reseal},
    {.name = NULL},
};
