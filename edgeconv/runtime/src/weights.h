/* The weights file, mapped read-only. */
#ifndef EC_WEIGHTS_H
#define EC_WEIGHTS_H

#include <stddef.h>

#include "program.h"

typedef struct ec_weights {
    void *mapping;
    size_t mapping_bytes;
    unsigned char *data; /* 64-byte aligned */
} ec_weights;

/*
 * Maps `path`, or `path`/weights.bin where it is a folder, and checks that it belongs to the
 * program. On failure the text goes to `error`, and there is nothing to unmap.
 */
ec_status ec_weights_map(ec_weights *weights, const ec_program *program, const char *path,
                         char *error);

void ec_weights_unmap(ec_weights *weights);

#endif
