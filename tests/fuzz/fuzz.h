/* What every fuzz target is. */
#ifndef COUNTERSIGN_TESTS_FUZZ_FUZZ_H
#define COUNTERSIGN_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#endif
