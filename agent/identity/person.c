#include "identity/person.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>

#include "base/encode.h"

#define NSS_BUF_FIRST 4096
#define NSS_BUF_MAX (1024 * 1024) /* a group of some ten thousand members */

static bool in_class(unsigned char c)
{
    return c <= ' ' || c == 0x7f || c == '/' || c == ':';
}

/* White space beyond ASCII that UTF-8 can spell, and C1 controls: all begin with one of these. */
static bool is_blank_point(const unsigned char *s)
{
    static const char *const blanks[] = {"\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\xa8",
                                         "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f",
                                         "\xe3\x80\x80"};

    if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] <= 0x9f)
        return true;
    if (s[0] == 0xe2 && s[1] == 0x80 && s[2] >= 0x80 && s[2] <= 0x8a)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(blanks); i++) {
        if (strncmp((const char *)s, blanks[i], strlen(blanks[i])) == 0)
            return true;
    }
    return false;
}

bool person_valid_name(const char *name)
{
    size_t n = name ? strnlen(name, PERSON_NAME_MAX + 1) : 0;

    if (n == 0 || n > PERSON_NAME_MAX || name[0] == '-' || !encode_is_utf8(name, n))
        return false;
    for (const unsigned char *s = (const unsigned char *)name; *s; s++) {
        if (in_class(*s) || is_blank_point(s))
            return false;
    }
    return true;
}

void person_free(struct person *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n_groups; i++)
        free(p->groups[i]);
    free(p->groups);
    free(p);
}

/* --- Asking NSS: each question again with twice the memory while the answer does not fit
 * ---------- */

struct answer {
    char *buf;
    size_t size;
};

static void answer_clear(struct answer *a)
{
    mem_free(a->buf, a->size); /* it may hold a password's hash */
    *a = (struct answer){0};
}

static int answer_grow(struct answer *a)
{
    size_t size = a->size ? 2 * a->size : NSS_BUF_FIRST;

    if (size > NSS_BUF_MAX)
        return -E2BIG;
    answer_clear(a);
    a->buf = malloc(size);
    if (!a->buf)
        return -ENOMEM;
    a->size = size;
    return 0;
}

/* "Not found" has these spellings, getpwnam_r(3); what else NSS says is a failure. */
static bool is_absent(int error)
{
    return error == 0 || error == ENOENT || error == ESRCH;
}

/* 0 with *found NULL when there is none. */
static int ask_passwd(const char *name, uid_t uid, struct passwd *pw, struct answer *a,
                      struct passwd **found)
{
    int error;

    do {
        int r = answer_grow(a);
        if (r < 0)
            return r;
        *found = NULL;
        error = name ? getpwnam_r(name, pw, a->buf, a->size, found)
                     : getpwuid_r(uid, pw, a->buf, a->size, found);
    } while (error == ERANGE || error == EINTR);
    return *found || is_absent(error) ? 0 : -error;
}

static int ask_group(gid_t gid, struct group *gr, struct answer *a, struct group **found)
{
    int error = a->size ? 0 : ERANGE;

    do {
        int r = error ? answer_grow(a) : 0;
        if (r < 0)
            return r;
        *found = NULL;
        error = getgrgid_r(gid, gr, a->buf, a->size, found);
    } while (error == ERANGE || error == EINTR);
    return *found || is_absent(error) ? 0 : -error;
}

/* --- Groups
 * --------------------------------------------------------------------------------------- */

static int ask_gids(const struct passwd *pw, gid_t **gids, size_t *n)
{
    int want = 64, room;

    *gids = NULL;
    do {
        room = want > PERSON_GROUPS_MAX ? PERSON_GROUPS_MAX : want;
        gid_t *more = reallocarray(*gids, (size_t)room, sizeof(**gids));
        if (!more)
            return -ENOMEM;
        *gids = more;
        want = room;
        if (getgrouplist(pw->pw_name, pw->pw_gid, *gids, &want) >= 0) {
            *n = (size_t)want;
            return 0;
        }
        if (want <= room) /* it must say how many there are, or we'd ask for ever */
            want = 2 * room;
    } while (room < PERSON_GROUPS_MAX);
    return -E2BIG; /* half of the groups could be the half without the one that is denied */
}

static bool valid_group_name(const char *s)
{
    size_t n = strnlen(s, PERSON_NAME_MAX + 1);

    if (n == 0 || n > PERSON_NAME_MAX || !encode_is_utf8(s, n))
        return false;
    for (; *s; s++) {
        if ((unsigned char)*s < ' ' || *s == 0x7f)
            return false;
    }
    return true;
}

static int add_group(struct person *p, gid_t gid, struct answer *a)
{
    struct group gr, *found;

    int r = ask_group(gid, &gr, a, &found);
    if (r < 0 || !found || !valid_group_name(found->gr_name))
        return r; /* a group without a name is nobody's principal */
    char *name = strdup(found->gr_name);
    if (!name)
        return -ENOMEM;
    p->groups[p->n_groups++] = name;
    return 0;
}

static int add_groups(struct person *p, const struct passwd *pw)
{
    _cleanup_(answer_clear) struct answer a = {0};
    _cleanup_(freep) gid_t *gids = NULL;
    size_t n = 0;

    int r = ask_gids(pw, &gids, &n);
    if (r < 0)
        return r;
    p->groups = calloc(n ? n : 1, sizeof(*p->groups));
    if (!p->groups)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = add_group(p, gids[i], &a);
    return r;
}

int person_lookup(const char *name, uid_t uid, struct person **out)
{
    _cleanup_(answer_clear) struct answer a = {0};
    _cleanup_(person_freep) struct person *p = calloc(1, sizeof(*p));
    struct passwd pw, *found = NULL;
    int r = 0;

    *out = NULL;
    if (!p)
        return -ENOMEM;
    if (!name || person_valid_name(name))
        r = ask_passwd(name, uid, &pw, &a, &found);
    if (r == 0 && found && person_valid_name(found->pw_name)) {
        p->exists = true;
        p->uid = found->pw_uid;
        strcpy(p->name, found->pw_name); /* its length was checked */
        r = add_groups(p, found);
    }
    if (r < 0)
        return r;
    *out = p;
    p = NULL;
    return 0;
}
