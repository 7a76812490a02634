#include "workspace.h"

#include <stddef.h>

enum { ALIGNMENT = 64 };

void *ec_workspace_allocate(ec_workspace *workspace, uint64_t bytes)
{
    uint64_t left = workspace->bytes - workspace->used;
    if (bytes > left) {
        workspace->exhausted = true;
        return NULL;
    }
    void *pointer = workspace->base + workspace->used;
    uint64_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    workspace->used += rounded < left ? rounded : left;
    return pointer;
}

void ec_workspace_free(ec_workspace *workspace, void *pointer)
{
    workspace->used = (uint64_t)((unsigned char *)pointer - workspace->base);
}

void ec_workspace_reset(ec_workspace *workspace)
{
    workspace->used = 0;
    workspace->exhausted = false;
}
