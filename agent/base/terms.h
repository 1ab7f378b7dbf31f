/* The words that rooms of one floor share: factors, assurance, lifetimes. */
#ifndef COUNTERSIGN_BASE_TERMS_H
#define COUNTERSIGN_BASE_TERMS_H

enum factor {
    FACTOR_TOTP = 1 << 0,
    FACTOR_RECOVERY = 1 << 1,
    FACTOR_PASSPHRASE = 1 << 2,
};
#define FACTOR_ALL (FACTOR_TOTP | FACTOR_RECOVERY | FACTOR_PASSPHRASE)
/* "totp", "recovery", "passphrase"; NULL / 0 for unknown. */
const char *factor_name(enum factor f);
unsigned factor_from_name(const char *name);

/* How sure the agent is who calls; a binding may ask for a level or better. */
enum assurance {
    ASSURANCE_NONE,
    ASSURANCE_UID,     /* the kernel's uid of the peer */
    ASSURANCE_PID,     /* its process, looked up by number and checked again afterwards */
    ASSURANCE_PIDFD,   /* its process, pinned by the kernel */
    ASSURANCE_MANAGER, /* vouched for by the service manager (root) */
};
const char *assurance_name(enum assurance a);

#endif
