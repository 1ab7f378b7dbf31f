/* Feeds any bytes to the JSON door and holds the result against jansson's own reader: both take the
 * same texts and see the same values. What was accepted is found again member by member. */
#include <stdint.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

static void check_members(const char *text, size_t n, json_t *object)
{
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value)
    {
        _cleanup_json_ json_t *again = NULL;
        char why[100];
        const char *p;
        size_t len;

        require(json_raw_member(text, n, key, &p, &len) == 0);
        require(json_parse(p, len, &again, why, sizeof(why)) == 0);
        require(json_equal(value, again));
    }
}

static void check_round_trip(json_t *value)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 24);
    _cleanup_json_ json_t *again = NULL;
    char why[100];

    json_put(&b, value);
    require(buf_error(&b) == 0);
    require(json_parse(buf_str(&b), b.len, &again, why, sizeof(why)) == 0);
    require(json_equal(value, again));
}

/* A schema with every kind, so that json_check() sees values it was not made for. */
static void check_schema(json_t *value)
{
    static const struct json_field schema[] = {
        {.name = "a", .kind = JSON_KIND_STRING},
        {.name = "b", .kind = JSON_KIND_INT},
        {.name = "c", .kind = JSON_KIND_BOOL},
        {.name = "d", .kind = JSON_KIND_DURATION},
        {.name = "e", .kind = JSON_KIND_STRINGS},
        {.name = "f", .kind = JSON_KIND_STATEMENTS},
        {.name = "g", .kind = JSON_KIND_OBJECT},
        {.name = "h", .kind = JSON_KIND_ANY},
        {.name = NULL},
    };
    char why[100];

    /* What has been normalised once is normal. */
    if (json_check(value, schema, true, why, sizeof(why)) == 0)
        require(json_check(value, schema, true, why, sizeof(why)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *text = (const char *)data;
    _cleanup_json_ json_t *ours = NULL;
    _cleanup_json_ json_t *theirs = NULL;
    const char *p;
    char why[100];
    size_t len;

    json_init();
    (void)json_raw_member(text, n, "a", &p, &len);
    /* jansson takes a NUL for the end of the text and does not look behind it. */
    if (!memchr(text, '\0', n))
        theirs = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    if (json_parse(text, n, &ours, why, sizeof(why)) < 0) {
        require(!ours && why[0] != '\0');
        require(!theirs || strstr(why, "too deeply"));
        return 0;
    }
    require(theirs && json_equal(ours, theirs));
    check_members(text, n, ours);
    check_round_trip(ours);
    check_schema(ours);
    return 0;
}
