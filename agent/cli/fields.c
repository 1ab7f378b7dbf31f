#include "cli/fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/prompt.h"

int fields_read_source(const char *word, bool *stdin_used, struct buf *b, char *why, size_t whylen)
{
    const char *name = word[0] == '@' ? word + 1 : word;
    int r;

    if (strcmp(word, "-") != 0) {
        r = prompt_read_file(name, FIELDS_FILE_MAX, b);
    } else if (*stdin_used) {
        snprintf(why, whylen, "standard input can be read only once");
        return -EINVAL;
    } else {
        *stdin_used = true;
        name = "standard input";
        r = prompt_read_all(STDIN_FILENO, FIELDS_FILE_MAX, b);
    }
    if (r == -EMSGSIZE)
        snprintf(why, whylen, "%s is larger than %d bytes", name, FIELDS_FILE_MAX);
    else if (r < 0)
        snprintf(why, whylen, "%s: %s", name, strerror(-r));
    return r;
}

/* A key's second value makes a list of both. */
static int add_value(json_t *obj, const char *key, json_t *value)
{
    json_t *old = json_object_get(obj, key), *list;

    if (!value)
        return -ENOMEM;
    if (!old)
        return json_object_set_new(obj, key, value) < 0 ? -ENOMEM : 0;
    if (json_is_array(old))
        return json_array_append_new(old, value) < 0 ? -ENOMEM : 0;
    list = json_pack("[Oo]", old, value);
    if (!list)
        return -ENOMEM;
    return json_object_set_new(obj, key, list) < 0 ? -ENOMEM : 0;
}

static int add_object(json_t *obj, const char *word, bool *stdin_used, char *why, size_t whylen)
{
    _cleanup_buf_ struct buf b = BUF_INIT(FIELDS_FILE_MAX);
    _cleanup_json_ json_t *v = NULL;
    char reason[256];
    int r = fields_read_source(word, stdin_used, &b, why, whylen);

    if (r < 0)
        return r;
    r = json_parse(buf_str(&b), b.len, &v, reason, sizeof(reason));
    if (r == 0 && !json_is_object(v)) {
        r = -EBADMSG;
        snprintf(reason, sizeof(reason), "it is no JSON object");
    }
    if (r < 0) {
        snprintf(why, whylen, "%s: %s", strcmp(word, "-") == 0 ? "standard input" : word + 1,
                 r == -ENOMEM ? "out of memory" : reason);
        return r;
    }
    return json_object_update(obj, v) < 0 ? -ENOMEM : 0;
}

static int add_pair(json_t *obj, const char *word, bool *stdin_used, char *why, size_t whylen)
{
    _cleanup_buf_ struct buf b = BUF_INIT(FIELDS_FILE_MAX);
    const char *eq = strchr(word, '=');
    _cleanup_secret_ char *key = NULL;
    int r = 0;

    if (!eq || eq == word) {
        snprintf(why, whylen, "\"%.60s\" is not KEY=VALUE (nor @FILE.json, nor -)", word);
        return -EINVAL;
    }
    key = mem_dup(word, (size_t)(eq - word));
    if (!key)
        return -ENOMEM;
    eq++;
    if (eq[0] == '@' || strcmp(eq, "-") == 0)
        r = fields_read_source(eq, stdin_used, &b, why, whylen);
    else
        buf_puts(&b, eq[0] == '\\' && eq[1] == '@' ? eq + 1 : eq);
    if (r == 0)
        r = buf_error(&b);
    if (r == 0)
        r = add_value(obj, key, json_stringn(buf_str(&b), b.len));
    if (r == -ENOMEM)
        snprintf(why, whylen, "the value of %s is not UTF-8, or memory ran out", key);
    return r;
}

int fields_parse(const char *const *words, size_t n, bool *stdin_used, json_t *obj, char *why,
                 size_t whylen)
{
    snprintf(why, whylen, "out of memory");
    for (size_t i = 0; i < n; i++) {
        bool object = words[i][0] == '@' || strcmp(words[i], "-") == 0;
        int r = object ? add_object(obj, words[i], stdin_used, why, whylen)
                       : add_pair(obj, words[i], stdin_used, why, whylen);

        if (r < 0)
            return r;
    }
    return 0;
}
