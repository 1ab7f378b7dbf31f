#include "cli/show.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/clock.h"

const json_t *show_field(const struct reply *r, const char *field)
{
    const json_t *auth = json_object_get(r->json, "auth"), *v;

    v = json_object_get(reply_data(r), field);
    if (!v && json_is_object(auth)) {
        static const char *const names[][2] = {{"token", "client_token"},
                                               {"token_accessor", "accessor"},
                                               {"token_duration", "lease_duration"},
                                               {"token_renewable", "renewable"}};

        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (strcmp(names[i][0], field) == 0)
                v = json_object_get(auth, names[i][1]);
        if (!v)
            v = json_object_get(auth, field);
    }
    if (!v && strcmp(field, "lease_renewable") == 0)
        field = "renewable";
    return v ? v : json_object_get(r->json, field);
}

bool show_plainly(struct cli *c, const struct reply *r, int *code)
{
    const char *field = c->out.field;
    const json_t *v;

    *code = EXIT_CODE_OK;
    if (field) {
        v = show_field(r, field);
        if (v && !json_is_null(v)) {
            *code = output_raw(&c->out, v) < 0 ? call_no_memory() : EXIT_CODE_OK;
            return true;
        }
        output_error("the answer has no field \"%s\"", field);
        *code = EXIT_CODE_LOCAL;
        return true;
    }
    if (c->out.format != OUTPUT_JSON)
        return false;
    if (r->json)
        output_json_text(buf_str(&r->body), r->body.len);
    return true;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int add_sorted(struct table *t, const json_t *object)
{
    size_t n = json_object_size(object), i = 0;
    const char **keys = calloc(n + 1, sizeof(*keys));
    const char *key;
    json_t *v;

    if (!keys)
        return -ENOMEM;
    /* jansson's iterator wants a mutable object though it changes nothing. */
    json_object_foreach((json_t *)(uintptr_t)object, key, v) keys[i++] = key;
    qsort(keys, n, sizeof(*keys), compare_keys);
    for (i = 0; i < n; i++)
        table_add_value(t, keys[i], json_object_get(object, keys[i]));
    free(keys);
    return 0;
}

int show_table(struct cli *c, struct table *t)
{
    int r = table_print(t, &c->out);

    table_free(t);
    return r < 0 ? call_no_memory() : EXIT_CODE_OK;
}

static struct table *pair_table(void)
{
    return table_new((const char *const[]){"Key", "Value"}, 2);
}

int show_object(struct cli *c, const json_t *object)
{
    struct table *t = pair_table();

    if (!t || add_sorted(t, object) < 0) {
        table_free(t);
        return call_no_memory();
    }
    return show_table(c, t);
}

static void add_duration(struct table *t, const char *key, const json_t *v)
{
    char text[32];

    clock_human(json_integer_value(v), text, sizeof(text));
    table_add(t, (const char *const[]){key, text});
}

static void add_lease(struct table *t, const json_t *whole)
{
    const char *id = json_string_value(json_object_get(whole, "lease_id"));

    if (!id || !id[0])
        return;
    table_add(t, (const char *const[]){"lease_id", id});
    add_duration(t, "lease_duration", json_object_get(whole, "lease_duration"));
    table_add_value(t, "lease_renewable", json_object_get(whole, "renewable"));
}

static void add_auth(struct table *t, const json_t *auth)
{
    if (!json_is_object(auth))
        return;
    table_add_value(t, "token", json_object_get(auth, "client_token"));
    table_add_value(t, "token_accessor", json_object_get(auth, "accessor"));
    if (json_integer_value(json_object_get(auth, "lease_duration")) > 0)
        add_duration(t, "token_duration", json_object_get(auth, "lease_duration"));
    else
        table_add(t, (const char *const[]){"token_duration", "∞"});
    table_add_value(t, "token_renewable", json_object_get(auth, "renewable"));
    table_add_value(t, "token_policies", json_object_get(auth, "token_policies"));
    table_add_value(t, "identity_policies", json_object_get(auth, "identity_policies"));
    table_add_value(t, "policies", json_object_get(auth, "policies"));
}

/* Whether the answer is an envelope rather than a bare object. */
static bool is_envelope(const json_t *whole)
{
    return json_object_get(whole, "request_id") || json_object_get(whole, "data");
}

int show_reply(struct cli *c, const struct reply *r)
{
    struct table *t;
    const json_t *data;
    int code;

    call_warnings(r);
    if (show_plainly(c, r, &code))
        return code;
    t = pair_table();
    if (!t)
        return call_no_memory();
    data = is_envelope(r->json) ? json_object_get(r->json, "data") : reply_data(r);
    add_lease(t, r->json);
    add_auth(t, json_object_get(r->json, "auth"));
    if (json_is_object(data) && add_sorted(t, data) < 0) {
        table_free(t);
        return call_no_memory();
    }
    return show_table(c, t);
}

/* As vault: -format=json of a list is the bare array. */
int show_keys(struct cli *c, const struct reply *r)
{
    const json_t *keys = json_object_get(reply_data(r), "keys"), *k;
    struct table *t;
    size_t i;

    call_warnings(r);
    if (c->out.format == OUTPUT_JSON)
        return output_json(keys) < 0 ? call_no_memory() : EXIT_CODE_OK;
    t = table_new((const char *const[]){"Keys"}, 1);
    json_array_foreach(keys, i, k) table_add(t, (const char *const[]){json_string_value(k)});
    return show_table(c, t);
}

int show_done(struct cli *c, const struct reply *r, const char *fmt, ...)
{
    _cleanup_buf_ struct buf clean = BUF_INIT(64 * 1024);
    char *text = NULL;
    va_list ap;
    int n;

    if (r)
        call_warnings(r);
    if (c->out.format == OUTPUT_JSON) {
        if (r && r->json)
            output_json_text(buf_str(&r->body), r->body.len);
        return EXIT_CODE_OK;
    }
    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return call_no_memory();
    output_clean(&clean, text);
    mem_free_str(text);
    if (buf_error(&clean) < 0)
        return call_no_memory();
    printf("%s%s%s\n", output_color(&c->out, OUTPUT_GOOD), buf_str(&clean),
           output_color(&c->out, OUTPUT_PLAIN));
    return EXIT_CODE_OK;
}

void show_title(struct cli *c, const char *title, size_t width)
{
    static const char signs[] = "========================================";
    size_t n = strlen(title) + 2, left, right;

    width = width < n + 4 ? n + 4 : width;
    left = (width - n) / 2;
    right = width - n - left;
    left = left < sizeof(signs) ? left : sizeof(signs) - 1;
    right = right < sizeof(signs) ? right : sizeof(signs) - 1;
    printf("%s%.*s %s %.*s%s\n", output_color(&c->out, OUTPUT_BOLD), (int)left, signs, title,
           (int)right, signs, output_color(&c->out, OUTPUT_PLAIN));
}
