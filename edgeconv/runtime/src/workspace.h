/* Workspace of the kernels: one bump allocator per thread over memory that ec_open reserved. */
#ifndef EC_WORKSPACE_H
#define EC_WORKSPACE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ec_workspace {
    unsigned char *base; /* 64-byte aligned */
    uint64_t bytes;
    uint64_t used;
    bool exhausted; /* an allocation did not fit since the last reset */
} ec_workspace;

void *ec_workspace_allocate(ec_workspace *workspace, uint64_t bytes);

/* Frees `pointer` and everything that was allocated after it. */
void ec_workspace_free(ec_workspace *workspace, void *pointer);

void ec_workspace_reset(ec_workspace *workspace);

#endif
