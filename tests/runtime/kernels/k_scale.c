/* y = x * scale by columns: a task for each row, through workspace, and a launch inside a task. */
#include "kernel.h"

typedef struct closure {
    const float *x, *scale;
    float *y;
} closure;

typedef struct row {
    const float *x, *scale;
    float *product;
} row;

static int scale_part(int task, task_group *group, void *data)
{
    row *r = data;
    for (int i = task; i < COLUMNS; i += group->num_task)
        r->product[i] = r->x[i] * r->scale[i];
    return 0;
}

static int scale_row(int task, task_group *group, void *data)
{
    (void)group;
    closure *c = data;
    float *copy = __TVMBackendAllocWorkspace(1, 0, COLUMNS * sizeof(float), 2, 32);
    float *product = __TVMBackendAllocWorkspace(1, 0, COLUMNS * sizeof(float), 2, 32);
    if (!copy || !product || (uintptr_t)copy % 64 || (uintptr_t)product % 64)
        return -1;
    for (int i = 0; i < COLUMNS; ++i)
        copy[i] = c->x[task * COLUMNS + i];
    row r = {copy, c->scale, product};
    int result = __TVMBackendParallelLaunch(scale_part, &r, 3);
    for (int i = 0; i < COLUMNS; ++i)
        c->y[task * COLUMNS + i] = product[i];
    __TVMBackendFreeWorkspace(1, 0, product);
    __TVMBackendFreeWorkspace(1, 0, copy);
    return result;
}

int32_t k_scale(void *x, void *scale, void *y)
{
    closure c = {x, scale, y};
    return __TVMBackendParallelLaunch(scale_row, &c, ROWS);
}
