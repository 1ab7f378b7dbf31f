/* The rows behind session.h's proofs and handles, for session.c alone. */
#ifndef COUNTERSIGN_IDENTITY_PROOF_H
#define COUNTERSIGN_IDENTITY_PROOF_H

#include "vault/vault.h"

/* Deletes the rows that count for a session. */
int proof_forget_session(struct vault *v, const char *id);

#endif
