/* An agent that sends anything at all to the connector: frames, the url and the templates in them.
 *
 * The packet is read, and what passes is taken as far as it goes without a database: the connection
 * string is taken apart, the templates are filled in (with libpq's own escaping, for which a
 * connection that failed is enough), the failure is written. Promised besides memory: a refusal has
 * a reason that quotes no secret, and every answer is a frame. */
#include <errno.h>
#include <string.h>

#include "connector/dsn.h"
#include "connector/frame.h"
#include "connector/sql.h"
#include "connector/template.h"
#include "fuzz/fuzz.h"
#include "fuzz/whole.h"

static PGconn *conn;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    json_init();
    conn = PQconnectdb("host=/nonexistent");
    PROMISE(conn);
    return 0;
}

static void check_frame(const struct buf *b)
{
    _cleanup_json_ json_t *frame = NULL;
    char why[100];
    if (buf_error(b))
        return;
    PROMISE(json_parse((const char *)b->data, b->len, &frame, why, sizeof(why)) == 0);
    PROMISE(json_is_object(frame) && b->len <= CONNECTOR_FRAME_MAX);
}

static void try_dsn(const json_t *db)
{
    struct dsn d = {0};
    char why[200] = "";
    int r = dsn_build(json_str_or(db, "url", ""), json_str_or(db, "username", ""),
                      json_str_or(db, "password", ""), &d, why, sizeof(why));
    PROMISE(r == 0 || r == -ENOMEM || (r == -EINVAL && why[0]));
    for (size_t i = 0; r == 0 && i < d.hosts; i++) {
        if (d.host[i].look_up) {
            PROMISE(dsn_add_address(&d, i, "192.0.2.1") == 0);
            d.host[i].look_up = false;
        }
    }
    if (r == 0) {
        r = dsn_settle(&d);
        PROMISE(r == 0 || r == -ENOENT);
        PROMISE(d.count <= DSN_PARAMS_MAX);
    }
    dsn_clear(&d);
}

static void try_templates(const struct frame *f)
{
    const json_t *text;
    size_t i;
    const char *role = json_str_or(f->body, "role", "r");
    const struct template_value values[] = {
        {"name", role, true},
        {"username", role, true},
        {"password", json_str_or(f->body, "verifier", "v"), false},
        {"expiration", "2026-11-22T00:00:00Z", false},
        {NULL, NULL, false}};
    json_array_foreach(json_object_get(f->body, "statements"), i, text)
    {
        _cleanup_template_ struct template_list list = {0};
        char why[200] = "";
        int r = template_expand(conn, json_string_value(text), values, &list, why, sizeof(why));
        PROMISE(r == 0 || r == -ENOMEM || r == -EMSGSIZE || (r == -EINVAL && why[0]));
        PROMISE(list.count <= TEMPLATE_STATEMENTS_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    _cleanup_buf_ struct buf out = BUF_INIT(CONNECTOR_FRAME_MAX);
    struct failure failure = {0};
    struct frame f;
    char why[200];
    int r = frame_read((const char *)data, n, &f, why, sizeof(why));
    PROMISE(r == 0 || r == FRAME_INVALID || r == -EBADMSG || r == -ENOMEM || r == -EINVAL);
    if (r == FRAME_INVALID) {
        PROMISE(why[0] && f.id >= 0);
        failure_set(&failure, FAILURE_INVALID, "%s", why);
        (void)frame_failure(f.id, &failure, NULL, &out);
        check_frame(&out);
    }
    if (r != 0)
        return 0;
    PROMISE(f.op < FRAME_OPS && f.id >= 0 && f.timeout_ms > 0 &&
            f.timeout_ms <= FRAME_TIMEOUT_MAX_MS);
    try_dsn(json_object_get(f.body, "db"));
    try_templates(&f);
    PROMISE(frame_success(f.id, NULL, &out) == 0);
    check_frame(&out);
    frame_clear(&f);
    return 0;
}
