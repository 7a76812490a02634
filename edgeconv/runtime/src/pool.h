/*
 * The thread pool: the thread that runs a model and its workers share the tasks of a parallel
 * loop. Kernels reach it, and their workspace, through the three pointers that TVM's code
 * generator declares; these find the pool by the calling thread.
 */
#ifndef EC_POOL_H
#define EC_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "edgeconv.h"
#include "workspace.h"

typedef struct ec_pool ec_pool;

/* What a parallel kernel's task gets beside its own number. */
typedef struct ec_task_group {
    void *sync_handle; /* always NULL: tasks cannot wait for each other */
    int32_t num_task;
} ec_task_group;

typedef int (*ec_task)(int task_id, ec_task_group *group, void *data);

/* One thread of the pool. */
typedef struct ec_worker {
    ec_pool *pool;
    uint32_t index; /* 0 is the thread that runs the model */
    int core;       /* to be pinned to, or -1 */
    bool in_task;   /* a launch from inside a task runs serially */
    _Atomic uint64_t tasks; /* of the job, those of its part that nobody has taken */
    ec_workspace workspace;
    pthread_t thread;
} ec_worker;

struct ec_pool {
    uint32_t threads;
    uint32_t started; /* workers that run, without the calling thread */
    bool spins;       /* a waiting thread spins a while before it sleeps */
    ec_worker *workers;

    /* The present job; written before `generation` grows, read after. */
    ec_task task;
    void *data;
    int32_t num_task;
    bool stop;

    atomic_uint generation; /* number of jobs so far */
    atomic_uint remaining;  /* workers that have not finished the job */
    atomic_bool running;    /* a model runs: more jobs will come soon */
    unsigned jobs_before;   /* number of jobs when the last run began */
    atomic_uint sleepers;   /* workers asleep in `work` */
    unsigned alarms;        /* grows to wake sleepers before there is a job; under the mutex */
    atomic_bool caller_sleeps;
    atomic_int result; /* 0, or what a failing task returned */
    pthread_mutex_t mutex;
    pthread_cond_t work;
    pthread_cond_t done;
};

/*
 * Starts `threads` - 1 threads. `scratch` is `threads` workspaces of `scratch_bytes` each.
 * On failure the text goes to `error`, and there is nothing to stop.
 */
ec_status ec_pool_start(ec_pool *pool, uint32_t threads, bool pin_cores, unsigned char *scratch,
                        uint64_t scratch_bytes, char *error);

void ec_pool_stop(ec_pool *pool);

/* Begins a run: launches of the calling thread go to the pool. Returns where they went before. */
ec_worker *ec_pool_enter(ec_pool *pool);
void ec_pool_leave(ec_pool *pool, ec_worker *before);

#endif
