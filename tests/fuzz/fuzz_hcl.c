/* Feeds any bytes to the HCL reader. What it accepts must be good JSON when written down, and what
 * it refuses must have a reason. */
#include <stdint.h>

#include "base/hcl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool holds)
{
    if (!holds)
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    _cleanup_buf_ struct buf b = BUF_INIT(1 << 24);
    _cleanup_json_ json_t *value = NULL;
    _cleanup_json_ json_t *again = NULL;
    char why[100];

    json_init();
    if (hcl_parse((const char *)data, n, &value, why, sizeof(why)) < 0) {
        require(!value && why[0] != '\0');
        return 0;
    }
    require(json_is_object(value));
    json_put(&b, value);
    require(buf_error(&b) == 0);
    /* jansson's reader, as blocks nest deeper in JSON than json_parse() allows. */
    again = json_loadb(buf_str(&b), b.len, JSON_REJECT_DUPLICATES, NULL);
    require(again && json_equal(value, again));
    return 0;
}
