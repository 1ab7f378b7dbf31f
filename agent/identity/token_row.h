/* The token's row, which token.c and token_tree.c share. Indexes: accessor, parent, session. */
#ifndef COUNTERSIGN_IDENTITY_TOKEN_ROW_H
#define COUNTERSIGN_IDENTITY_TOKEN_ROW_H

#include "identity/token.h"
#include "vault/record.h"

enum { TOKEN_ROW_ACCESSOR, TOKEN_ROW_PARENT, TOKEN_ROW_SESSION };

/* By id, expired or not. 0, TOKEN_E_NONE, -errno. */
int token_row_load(struct vault *v, const char *id, struct token *out);
int token_row_parse(const struct record *rec, struct token *out);
int token_row_save(struct vault *v, const struct token *t);

#endif
