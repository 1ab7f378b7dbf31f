/* Handlers by route row, one family a file. Internal to server/. */
#ifndef COUNTERSIGN_SERVER_ROUTES_H
#define COUNTERSIGN_SERVER_ROUTES_H

#include "server/request.h"

/* engine_api.c */
int route_engine(struct request *r);

/* sys_seal.c */
int route_init_status(struct request *r);
int route_init(struct request *r);
int route_seal_status(struct request *r);
int route_unseal(struct request *r);
int route_seal(struct request *r);
int route_health(struct request *r);
int route_leader(struct request *r);
int route_rotate(struct request *r);

/* sys_generate_root.c */
int route_generate_root_status(struct request *r);
int route_generate_root_start(struct request *r);
int route_generate_root_cancel(struct request *r);
int route_generate_root_update(struct request *r);

/* sys_rekey.c */
int route_rekey_status(struct request *r);
int route_rekey_start(struct request *r);
int route_rekey_cancel(struct request *r);
int route_rekey_update(struct request *r);
int route_rekey_verify_status(struct request *r);
int route_rekey_verify(struct request *r);
int route_rekey_verify_restart(struct request *r);
int route_reseal_start(struct request *r);
int route_reseal_finish(struct request *r);
int route_reseal_cancel(struct request *r);

/* sys_break_glass.c */
int route_break_glass_list(struct request *r);
int route_break_glass_make(struct request *r);
int route_break_glass_revoke(struct request *r);
/* sys_status.c */
int route_status(struct request *r);
int route_logins(struct request *r);

/* sys_metrics.c */
int route_metrics(struct request *r);

/* sys_rules.c */
int route_policy_list(struct request *r);
int route_policy_read(struct request *r);
int route_policy_write(struct request *r);
int route_policy_delete(struct request *r);
int route_binding_list(struct request *r);
int route_binding_read(struct request *r);
int route_binding_write(struct request *r);
int route_binding_delete(struct request *r);
int route_enrolment_read(struct request *r);
int route_enrolment_write(struct request *r);
int route_capabilities_self(struct request *r);
int route_capabilities(struct request *r);
int route_explain(struct request *r);

/* sys_managed.c */
int route_managed_read(struct request *r);
int route_managed_write(struct request *r);
int route_managed_preview(struct request *r);

/* sys_people.c */
int route_people_list(struct request *r);
int route_person_read(struct request *r);
int route_person_offboard(struct request *r);
int route_person_unlock(struct request *r);

/* sys_mounts.c */
int route_mounts(struct request *r);
int route_mount_read(struct request *r);
int route_mount_enable(struct request *r);
int route_mount_disable(struct request *r);
int route_mount_tune_read(struct request *r);
int route_mount_tune(struct request *r);
int route_auth_mounts(struct request *r);
int route_ui_mount(struct request *r);
int route_ui_mounts(struct request *r);

/* sys_leases.c */
int route_lease_lookup(struct request *r);
int route_lease_tree(struct request *r);
int route_lease_list(struct request *r);
int route_lease_renew(struct request *r);
int route_lease_revoke(struct request *r);
int route_lease_revoke_prefix(struct request *r);
int route_lease_revoke_force(struct request *r);
int route_lease_revoke_principal(struct request *r);
int route_lease_count(struct request *r);

/* sys_factors.c */
int route_factor_list(struct request *r);
int route_factor_totp(struct request *r);
int route_factor_totp_confirm(struct request *r);
int route_factor_totp_import(struct request *r);
int route_factor_recovery(struct request *r);
int route_factor_passphrase(struct request *r);
int route_factor_remove(struct request *r);
int route_factor_reset(struct request *r);

/* sys_hold.c */
int route_hold(struct request *r);
int route_hold_accept(struct request *r);

/* sys_snapshot.c, sys_restore.c */
int route_snapshot_take(struct request *r);
int route_snapshot_read(struct request *r);
int route_snapshot_drop(struct request *r);
int route_restore_begin(struct request *r);
int route_restore_share(struct request *r);
int route_restore_data(struct request *r);
int route_restore_finish(struct request *r);
int route_restore_cancel(struct request *r);
/* Gives up what is under way, at sealing and at the end. */
void route_snapshot_end(struct agent *a);
void route_restore_end(struct agent *a);

/* sys_audit.c */
int route_sessions(struct request *r);
int route_audit_head(struct request *r);
int route_audit_verify(struct request *r);

/* token_api.c */
int route_token_create(struct request *r);
int route_token_create_orphan(struct request *r);
int route_token_lookup(struct request *r);
int route_token_lookup_self(struct request *r);
int route_token_lookup_accessor(struct request *r);
int route_token_renew(struct request *r);
int route_token_renew_self(struct request *r);
int route_token_renew_accessor(struct request *r);
int route_token_revoke(struct request *r);
int route_token_revoke_self(struct request *r);
int route_token_revoke_orphan(struct request *r);
int route_token_revoke_accessor(struct request *r);
int route_token_accessors(struct request *r);

/* Body schemas, beside their handlers. */
extern const struct json_field route_fields_generate_root[], route_fields_share[],
    route_fields_rekey[], route_fields_reseal[], route_fields_break_glass[];
extern const struct json_field route_fields_snapshot[], route_fields_restore[],
    route_fields_restore_share[], route_fields_restore_data[];
extern const struct json_field route_fields_init[], route_fields_unseal[], route_fields_policy[],
    route_fields_paths[], route_fields_explain[], route_fields_mount[], route_fields_lease[],
    route_fields_lease_principal[], route_fields_totp[], route_fields_totp_confirm[],
    route_fields_passphrase[], route_fields_audit_verify[], route_fields_token_create[],
    route_fields_token[], route_fields_accessor[], route_fields_managed[], route_fields_preview[],
    route_fields_offboard[], route_fields_totp_import[];

#endif
