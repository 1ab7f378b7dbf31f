/* The tables of commands, one file each: cmd_NAME.c holds cmd_NAME_rows and nothing else visible.
 */
#ifndef COUNTERSIGN_CLI_FAMILIES_H
#define COUNTERSIGN_CLI_FAMILIES_H

#include "cli/command.h"

extern const struct command cmd_apply_rows[];
extern const struct command cmd_audit_rows[];
extern const struct command cmd_binding_rows[];
extern const struct command cmd_breakglass_rows[];
extern const struct command cmd_explain_rows[];
extern const struct command cmd_factor_rows[];
extern const struct command cmd_generic_rows[];
extern const struct command cmd_help_rows[];
extern const struct command cmd_hold_rows[];
extern const struct command cmd_import_rows[];
extern const struct command cmd_kv_rows[];
extern const struct command cmd_kvmeta_rows[];
extern const struct command cmd_lease_rows[];
extern const struct command cmd_operator_rows[];
extern const struct command cmd_pam_rows[];
extern const struct command cmd_person_rows[];
extern const struct command cmd_policy_rows[];
extern const struct command cmd_rekey_rows[];
extern const struct command cmd_secrets_rows[];
extern const struct command cmd_session_rows[];
extern const struct command cmd_snapshot_rows[];
extern const struct command cmd_status_rows[];
extern const struct command cmd_token_rows[];
extern const struct command cmd_top_rows[];

#endif
