/* The small part of HCL 1 that Vault's policies and configuration use, read strictly.
 *
 *   key = value                value: "string" (escapes \\ \" \n \t \uXXXX), number, true, false,
 *   block "label" { ... }             [ list, of, values ], { key = value, ... }, <<EOT heredocs
 *   block { ... }              comments: # // and slash-star
 *
 * The result is the JSON mapping: assignments become members; a block `path "a" { … }` becomes
 * {"path": [{"a": {…}}, …]}, always an array in order of appearance; a block without a label
 * becomes {"name": [{…}, …]}. An assignment given twice is an error; interpolation (${) is refused.
 */
#ifndef COUNTERSIGN_BASE_HCL_H
#define COUNTERSIGN_BASE_HCL_H

#include "base/json.h"

#define HCL_TEXT_MAX (1024 * 1024)
#define HCL_DEPTH_MAX 16

/* Parses n bytes of UTF-8. Returns 0 and a new object; -EBADMSG with "line L: what is wrong" in
 * why[]; -EMSGSIZE above HCL_TEXT_MAX; -ENOMEM. Text that begins with '{' is read as JSON instead
 * (as Vault does), and only by json_parse()'s rules. */
int hcl_parse(const char *text, size_t n, json_t **out, char *why, size_t whylen);

#endif
