/* The end of tokens: a token's descendants go with it. The tree is walked by its rows, down to a
 * token without children and up again, so that neither stack nor memory grows with it. */
#include <errno.h>
#include <string.h>

#include "identity/token_row.h"

struct gone {
    struct vault *v;
    token_gone_fn fn;
    void *data;
};

static int take_id(const struct record *rec, void *data)
{
    char *out = data;

    if (strlen(rec->id) > TOKEN_ID_LEN)
        return -EBADMSG;
    strcpy(out, rec->id);
    return 0;
}

#define ENOUGH (-ECANCELED)

static int take_first(const struct record *rec, void *data)
{
    int r = take_id(rec, data);
    return r < 0 ? r : ENOUGH;
}

/* The first child; "" when there is none. A broken row is nobody's child: its token is refused
 * wherever it is shown, and its parent must not outlive its time for it. */
static int first_child(struct vault *v, const char *id, char out[TOKEN_ID_LEN + 1])
{
    size_t broken = 0;
    out[0] = '\0';
    int r = record_pass_key(v, RECORD_TOKEN, TOKEN_ROW_PARENT, id, 1, take_first, out, &broken);
    if (r == 0 && broken > 0)
        r = record_pass_key(v, RECORD_TOKEN, TOKEN_ROW_PARENT, id, 0, take_first, out, NULL);
    return r == ENOUGH ? 0 : r;
}

static int parent_of(struct vault *v, const char *id, char out[TOKEN_ID_LEN + 1])
{
    struct token t;

    int r = token_row_load(v, id, &t);
    if (r == 0)
        strcpy(out, t.parent);
    token_clear(&t);
    return r;
}

static int delete_one(const struct gone *g, const char *id)
{
    int r = record_delete(g->v, RECORD_TOKEN, id);

    if (r != 0)
        return r < 0 ? r : 0;
    return g->fn ? g->fn(id, g->data) : 0;
}

static int delete_tree(const struct gone *g, const char *root)
{
    char at[TOKEN_ID_LEN + 1], next[TOKEN_ID_LEN + 1];

    strcpy(at, root);
    for (;;) {
        int r = first_child(g->v, at, next);
        if (r < 0)
            return r;
        if (next[0]) {
            strcpy(at, next);
            continue;
        }
        bool done = strcmp(at, root) == 0;
        if (!done && (r = parent_of(g->v, at, next)) != 0)
            return r < 0 ? r : -EBADMSG;
        r = delete_one(g, at);
        if (r < 0 || done)
            return r < 0 ? r : 0;
        strcpy(at, next);
    }
}

static int make_orphan(const struct record *rec, void *data)
{
    struct token t;

    int r = token_row_parse(rec, &t);
    if (r == 0) {
        t.parent[0] = '\0';
        r = token_row_save(data, &t);
    }
    token_clear(&t);
    return r == -EBADMSG ? RECORD_E_BROKEN : r;
}

int token_revoke(struct vault *v, const char *id, bool orphan_children, token_gone_fn gone,
                 void *data)
{
    const struct gone g = {.v = v, .fn = gone, .data = data};
    struct token t;

    int r = token_row_load(v, id, &t);
    if (r != 0)
        return r;
    if (orphan_children)
        r = record_pass_key(v, RECORD_TOKEN, TOKEN_ROW_PARENT, t.id, 0, make_orphan, v, NULL);
    if (r == 0)
        r = delete_tree(&g, t.id);
    token_clear(&t);
    return r;
}

static int revoke_one(const struct record *rec, void *data)
{
    const struct gone *g = data;
    char id[TOKEN_ID_LEN + 1];

    int r = take_id(rec, id);
    return r < 0 ? r : delete_tree(g, id);
}

int token_expire(struct vault *v, int64_t now_ms, size_t limit, token_gone_fn gone, void *data)
{
    struct gone g = {.v = v, .fn = gone, .data = data};
    return record_pass_due(v, RECORD_TOKEN, now_ms, limit, revoke_one, &g, NULL);
}

int token_session_ended(struct vault *v, const char *session, token_gone_fn gone, void *data)
{
    struct gone g = {.v = v, .fn = gone, .data = data};

    if (!*session)
        return 0;
    return record_pass_key(v, RECORD_TOKEN, TOKEN_ROW_SESSION, session, 0, revoke_one, &g, NULL);
}

struct of_uid {
    uid_t uid;
    token_fn fn;
    void *data;
};

static int visit_uid(const struct record *rec, void *data)
{
    const struct of_uid *u = data;
    struct token t;

    int r = token_row_parse(rec, &t);
    if (r == -EBADMSG)
        return RECORD_E_BROKEN;
    if (r == 0 && t.has_uid && t.uid == u->uid)
        r = u->fn(&t, u->data);
    token_clear(&t);
    return r < 0 ? r : 0;
}

int token_each_uid(struct vault *v, uid_t uid, token_fn fn, void *data)
{
    struct of_uid u = {.uid = uid, .fn = fn, .data = data};
    return record_pass(v, RECORD_TOKEN, 0, visit_uid, &u, NULL);
}

int token_next_due(struct vault *v, int64_t *due_ms)
{
    int r = record_next_due(v, RECORD_TOKEN, due_ms);
    return r == RECORD_E_NONE ? TOKEN_E_NONE : r;
}
