#include "cli/families.h"
const struct command cmd_apply_rows[] = {{.name = NULL}};
