/* What compiled kernels know of the runtime: three weak pointers, null in their own object. */
#include <stdint.h>

enum { ROWS = 37, COLUMNS = 19 };

typedef struct task_group {
    void *sync_handle;
    int32_t num_task;
} task_group;

typedef int (*task_function)(int, task_group *, void *);

#define WEAK __attribute__((weak))
extern int (*__TVMBackendParallelLaunch)(task_function, void *, int);
extern void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int);
extern int (*__TVMBackendFreeWorkspace)(int, int, void *);
WEAK int (*__TVMBackendParallelLaunch)(task_function, void *, int) = 0;
WEAK void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int) = 0;
WEAK int (*__TVMBackendFreeWorkspace)(int, int, void *) = 0;

/* The rows of one task, as the code generator divides a parallel loop. */
static inline void task_rows(int task, const task_group *group, int *begin, int *end)
{
    int rows = (ROWS + group->num_task - 1) / group->num_task;
    *begin = task * rows < ROWS ? task * rows : ROWS;
    *end = *begin + rows < ROWS ? *begin + rows : ROWS;
}
