/* sys/snapshot: a sealed copy of the store, taken while it is used, handed out piece by piece. */
#include <countersign/api.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/encode.h"
#include "server/routes.h"
#include "vault/snapshot.h"

#define IDLE_MS 60000

const struct json_field route_fields_snapshot[] = {
    {.name = "id", .kind = JSON_KIND_STRING, .required = true, .max = 64},
    {0},
};

struct saving {
    struct agent *agent;
    struct snapshot_save *save; /* NULL before the turn's commit */
    struct request *waiter;     /* who asked for it, until the copy is whole */
    sd_event_source *step, *idle;
    char id[ENCODE_UUID_LEN + 1];
    int64_t bytes;
    int error;
};

static int taken(struct request *r);

static void free_saving(struct saving *s)
{
    if (s->agent->saving == s)
        s->agent->saving = NULL;
    sd_event_source_disable_unref(s->step);
    sd_event_source_disable_unref(s->idle);
    snapshot_save_free(s->save);
    free(s);
}

void route_snapshot_end(struct agent *a)
{
    struct request *waiter = a->saving ? a->saving->waiter : NULL;
    if (a->saving)
        free_saving(a->saving);
    if (waiter)
        request_resume(waiter, taken);
}

/* --- Copying -------------------------------------------------------------------------------------
 */

static int on_idle(sd_event_source *source _unused_, uint64_t usec _unused_, void *data)
{
    free_saving(data);
    return 0;
}

static int rest(struct saving *s)
{
    if (!s->idle)
        return sd_event_add_time_relative(s->agent->loop, &s->idle, CLOCK_MONOTONIC,
                                          IDLE_MS * 1000ULL, 0, on_idle, s);
    int e = sd_event_source_set_time_relative(s->idle, IDLE_MS * 1000ULL);
    return e < 0 ? e : sd_event_source_set_enabled(s->idle, SD_EVENT_ONESHOT);
}

/* Whoever waits for it is answered in a turn of its own; should that fail, it goes when idle. */
static void tell_waiter(struct saving *s, int error)
{
    struct request *r = s->waiter;
    int e = rest(s);
    s->error = error < 0 ? error : e < 0 ? e : 0;
    s->waiter = NULL;
    request_resume(r, taken);
}

static int on_step(sd_event_source *source _unused_, void *data)
{
    struct saving *s = data;
    int e = snapshot_save_step(s->save);
    if (e == 1)
        return 0;
    s->step = sd_event_source_disable_unref(s->step);
    tell_waiter(s, e);
    return 0;
}

/* A megabyte at a time, when there is nothing else to do. */
static void start(void *data)
{
    struct saving *s = data;
    int e = snapshot_save_new(s->agent->vault, &s->save);
    if (e == 0)
        e = sd_event_add_defer(s->agent->loop, &s->step, on_step, s);
    if (e >= 0)
        e = sd_event_source_set_priority(s->step, SD_EVENT_PRIORITY_IDLE);
    if (e >= 0)
        e = sd_event_source_set_enabled(s->step, SD_EVENT_ON);
    if (e < 0)
        tell_waiter(s, e);
}

static void never_started(void *data)
{
    free_saving(data);
}

/* --- Answers
 * ---------------------------------------------------------------------------------------
 */

static int failed(struct request *r, int error)
{
    if (error == -ECANCELED)
        return request_error(r, 503, "the snapshot was given up, since the agent was sealed");
    if (error == -ENOSPC)
        return request_error(r, 500,
                             "no snapshot: it needs as much free space beside the store as the "
                             "store itself has, until it is saved");
    return request_error(r, 500, "no snapshot: the copy failed: %s", strerror(-error));
}

static int taken(struct request *r)
{
    struct saving *s = r->agent->saving;
    struct utsname host;
    _cleanup_buf_ struct buf head = BUF_INIT(64 * 1024), text = BUF_INIT(128 * 1024);
    int e = s ? s->error : -ECANCELED;
    if (e == 0)
        e = snapshot_save_head(s->save, uname(&host) == 0 ? host.nodename : "?", &head);
    if (e < 0) {
        if (s)
            free_saving(s);
        return failed(r, e);
    }
    encode_base64(&text, head.data, head.len);
    if (buf_error(&text) < 0)
        return buf_error(&text);
    return request_data(r, json_pack("{s:s, s:I, s:s}", "id", s->id, "bytes",
                                     (json_int_t)snapshot_save_bytes(s->save), "head",
                                     buf_str(&text)));
}

int route_snapshot_take(struct request *r)
{
    struct agent *a = r->agent;
    if (a->saving)
        return request_error(r, 400,
                             "another snapshot is being taken; try again when it is done (it is "
                             "given up when nobody reads it for a minute)");
    struct saving *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->agent = a;
    s->waiter = r;
    encode_random_uuid(s->id);
    a->saving = s;
    int e = effects_push(turn_effects(a->turn), start, never_started, s);
    if (e < 0)
        free_saving(s);
    return e < 0 ? e : REQUEST_WAIT;
}

int route_snapshot_read(struct request *r)
{
    struct saving *s = r->agent->saving;
    bool last = false;
    _cleanup_buf_ struct buf raw = BUF_INIT(2 * API_SNAPSHOT_BATCH);
    _cleanup_buf_ struct buf text = BUF_INIT(4 * API_SNAPSHOT_BATCH);
    if (!s || s->waiter || s->error || strcmp(s->id, json_str_or(r->body, "id", "")) != 0)
        return request_error(r, 404,
                             "there is no such snapshot: it was given up after a minute without "
                             "reading, or by sealing; take another");
    int e = snapshot_save_read(s->save, API_SNAPSHOT_BATCH, &raw, &last);
    if (e == 0)
        e = rest(s);
    encode_base64(&text, raw.data, raw.len);
    if (e >= 0)
        e = buf_error(&text);
    if (e < 0)
        return failed(r, e);
    if (last)
        free_saving(s);
    return request_data(r, json_pack("{s:s, s:b}", "data", buf_str(&text), "last", last));
}

int route_snapshot_drop(struct request *r)
{
    struct saving *s = r->agent->saving;
    if (s && !s->waiter)
        free_saving(s);
    r->status = 204;
    return 0;
}
