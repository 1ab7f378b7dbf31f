#include "engine/engine.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "engine/database.h"
#include "engine/kv.h"
#include "vault/entry.h"

#define WARNING_MAX 512
#define LIST_MAX 100000

static const struct engine *const engines[] = {&kv_engine, &database_engine, NULL};

const struct engine *engine_find(const char *type)
{
    for (size_t i = 0; engines[i]; i++) {
        if (strcmp(engines[i]->type, type) == 0)
            return engines[i];
    }
    return NULL;
}

const struct engine *const *engine_all(void)
{
    return engines;
}

void engine_request_clear(struct engine_request *r)
{
    json_decref(r->data);
    json_decref(r->warnings);
    json_decref(r->lease.recipe);
    json_decref(r->frame);
    buf_clear(&r->raw_data);
    if (r->state && r->state_free)
        r->state_free(r->state);
    r->data = r->warnings = r->lease.recipe = r->frame = NULL;
    r->state = NULL;
    r->state_free = NULL;
    mem_wipe(r->error, sizeof(r->error));
}

/* --- Answers -------------------------------------------------------------------------------------
 */

int engine_error(struct engine_request *r, int status, const char *fmt, ...)
{
    va_list ap;
    r->status = status;
    va_start(ap, fmt);
    int n = vsnprintf(r->error, sizeof(r->error), fmt, ap);
    va_end(ap);
    /* A cut must not leave half a character: the answer has to be UTF-8. */
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(r->error) ? (size_t)n : sizeof(r->error) - 1;
    while (len > 0 && !encode_is_utf8(r->error, len))
        len--;
    r->error[len] = '\0';
    return ENGINE_DONE;
}

int engine_warn(struct engine_request *r, const char *fmt, ...)
{
    char text[WARNING_MAX];
    _cleanup_buf_ struct buf shown = BUF_INIT(WARNING_MAX);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    encode_printable(&shown, text, WARNING_MAX);
    if (buf_error(&shown) < 0)
        return buf_error(&shown);
    if (!r->warnings)
        r->warnings = json_array();
    if (!r->warnings || json_array_append_new(r->warnings, json_string(buf_str(&shown))) < 0)
        return -ENOMEM;
    return 0;
}

int engine_data(struct engine_request *r, json_t *data)
{
    json_decref(r->data);
    r->data = data;
    return data ? ENGINE_DONE : -ENOMEM;
}

int engine_none(struct engine_request *r)
{
    r->status = 404;
    r->error[0] = '\0';
    return ENGINE_DONE;
}

const char *engine_query(const struct engine_request *r, const char *name)
{
    return json_str(r->query, name);
}

/* --- Lists ---------------------------------------------------------------------------------------
 */

static int add_key(const char *name, void *data)
{
    return json_array_append_new(data, json_string(name)) < 0 ? -ENOMEM : 0;
}

/* 0 = all. */
static int read_limit(const struct engine_request *r, size_t *limit)
{
    const char *text = engine_query(r, "limit");
    char *end;
    *limit = 0;
    if (!text || !text[0])
        return 0;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno || *end || n < 0 || n > LIST_MAX)
        return -EINVAL;
    *limit = (size_t)n;
    return 0;
}

int engine_list(struct engine_request *r, const char *folder)
{
    size_t limit;
    if (read_limit(r, &limit) < 0)
        return engine_error(r, 400, "limit must be a number from 0 to %d", LIST_MAX);
    _cleanup_json_ json_t *keys = json_array();
    if (!keys)
        return -ENOMEM;
    int e = entry_list(r->vault, r->space, folder, engine_query(r, "after"), limit, add_key, keys);
    if (e < 0)
        return e;
    if (json_array_size(keys) == 0)
        return engine_none(r);
    return engine_data(r, json_pack("{s:O}", "keys", keys));
}
