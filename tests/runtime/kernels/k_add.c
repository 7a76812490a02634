/* sum = a + b, one task for each thread; fails when a[0] is -999. */
#include "kernel.h"

typedef struct closure {
    const float *a, *b;
    float *sum;
} closure;

static int add_rows(int task, task_group *group, void *data)
{
    closure *c = data;
    int begin, end;
    task_rows(task, group, &begin, &end);
    for (int i = begin * COLUMNS; i < end * COLUMNS; ++i)
        c->sum[i] = c->a[i] + c->b[i];
    return begin == 0 && end > 0 && c->a[0] == -999 ? 7 : 0;
}

int32_t k_add(void *a, void *b, void *sum)
{
    closure c = {a, b, sum};
    return __TVMBackendParallelLaunch(add_rows, &c, 0);
}
