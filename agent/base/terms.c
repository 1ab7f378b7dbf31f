#include "base/terms.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"

static const struct {
    enum factor factor;
    const char *name;
} factors[] = {
    {FACTOR_TOTP, "totp"},
    {FACTOR_RECOVERY, "recovery"},
    {FACTOR_PASSPHRASE, "passphrase"},
};

static const char *const assurances[] = {
    [ASSURANCE_NONE] = "none",   [ASSURANCE_UID] = "uid",         [ASSURANCE_PID] = "pid",
    [ASSURANCE_PIDFD] = "pidfd", [ASSURANCE_MANAGER] = "manager",
};

const char *factor_name(enum factor f)
{
    for (size_t i = 0; i < ARRAY_LEN(factors); i++) {
        if (factors[i].factor == f)
            return factors[i].name;
    }
    return NULL;
}

unsigned factor_from_name(const char *name)
{
    for (size_t i = 0; name && i < ARRAY_LEN(factors); i++) {
        if (strcmp(factors[i].name, name) == 0)
            return factors[i].factor;
    }
    return 0;
}

const char *assurance_name(enum assurance a)
{
    return (unsigned)a < ARRAY_LEN(assurances) ? assurances[a] : NULL;
}
