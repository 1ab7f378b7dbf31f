/* Named places where a test may end the process, as a power cut, the OOM killer or an impatient
 * operator would: at the worst moment.
 *
 * Only with -DCOUNTERSIGN_FAULTS (the flavours check, asan and tsan): in a release FAULT_POINT() is
 * nothing at all. A name that is not in the table does not compile, and the check fails on a row
 * that no source passes (tests/lib/check-faults).
 *
 *   COUNTERSIGN_FAULT=FILE        at each passing FILE is looked at. It says NAME[:N]: the Nth
 *                                 passing (from 1, counted since the file was last changed) is the
 *                                 end, by SIGKILL. Empty or absent: nothing happens
 *   COUNTERSIGN_FAULT_TRACE=FILE  each passing appends the name of the point, one a line
 *
 * The environment is read once. Single-threaded like the rest of both programs' loops: no worker
 * thread passes a point. */
#ifndef COUNTERSIGN_BASE_FAULT_H
#define COUNTERSIGN_BASE_FAULT_H

#ifdef COUNTERSIGN_FAULTS

/* clang-format off */
#define FAULT_TABLE(X)                                                                             \
    /* the turn */                                                                                 \
    X(turn_begun) X(turn_item_ran) X(turn_before_commit) X(turn_committed) X(turn_effect_ran)      \
    X(turn_effects_ran) X(turn_item_told) X(turn_over)                                             \
    /* the store: each row, the audit lines of a commit, each step of the schema */                \
    X(row_written) X(lines_written) X(schema_step)                                                 \
    /* init, unseal, seal, rotate */                                                               \
    X(init_begun) X(init_committed) X(init_opened) X(init_filled)                                  \
    X(unseal_opened) X(unseal_loaded) X(seal_begun) X(sealed) X(rotate_begun) X(rotate_committed)  \
    /* answers */                                                                                  \
    X(reply_ready) X(reply_handed) X(verdict_ready) X(verdict_sent)                                \
    /* people */                                                                                   \
    X(login_proved) X(login_proof_kept) X(session_opened) X(session_ending) X(session_ended)       \
    X(factor_changed)                                                                              \
    /* leases: what is committed, and what the connector said of it */                             \
    X(lease_pending) X(lease_activated) X(lease_revocation_begun) X(lease_revocation_answered)     \
    X(lease_revocation_recorded) X(frame_sent) X(frame_taken)                                      \
    /* the audit log's file */                                                                     \
    X(export_header_written) X(export_written) X(export_synced) X(export_pruned)                   \
    X(export_rotating) X(export_rotated)                                                           \
    /* the connector */                                                                            \
    X(connector_frame_taken) X(connector_query_sent) X(connector_before_create)                    \
    X(connector_committing) X(connector_committed) X(connector_locked) X(connector_cut)            \
    X(connector_before_drop) X(connector_dropped) X(connector_answering) X(connector_answered)
/* clang-format on */

enum fault_point {
#define FAULT_ENUM(name) FAULT_##name,
    FAULT_TABLE(FAULT_ENUM)
#undef FAULT_ENUM
        FAULT_POINTS
};

/* Passes a point: perhaps the last thing that this process does. */
void fault_pass(enum fault_point p);
/* Its name; NULL behind the last. */
const char *fault_name(unsigned p);

#define FAULT_POINT(name) fault_pass(FAULT_##name)

#else
#define FAULT_POINT(name) ((void)0)
#endif

#endif
