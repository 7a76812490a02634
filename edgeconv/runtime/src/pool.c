#include "pool.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "cores.h"
#include "error.h"

enum {
    SPIN_NS = 50000,        /* about what it costs to wake a sleeping thread up */
    RUN_SPIN_NS = 2000000,  /* during a run, whose next parallel step is near */
    TASKS_PER_THREAD = 8,
    STACK_BYTES = 1 << 20
};

static _Thread_local ec_worker *current_worker;

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

/*
 * Waits a while for the counter to become, or to differ from, `value`; true when it did. After the
 * time in which most waits end, other threads that want the core get it in between.
 */
static bool spin(const ec_pool *pool, atomic_uint *counter, unsigned value, bool equal)
{
    uint64_t start = 0;
    for (unsigned round = 0;; ++round) {
        if ((atomic_load_explicit(counter, memory_order_acquire) == value) == equal)
            return true;
        if (round % 64 == 0) {
            uint64_t now = ec_now_ns();
            if (start == 0)
                start = now;
            bool running = atomic_load_explicit(&pool->running, memory_order_relaxed);
            if (!pool->spins || now - start >= (running ? RUN_SPIN_NS : SPIN_NS))
                return false;
            if (now - start >= SPIN_NS)
                sched_yield();
        }
        relax();
    }
}

static int run_tasks(ec_task task, void *data, int32_t num_task, int32_t begin, int32_t end)
{
    ec_task_group group = {NULL, num_task};
    for (int32_t id = begin; id < end; ++id) {
        int result = task(id, &group, data);
        if (result != 0)
            return result;
    }
    return 0;
}

/* Tasks as one number, which threads change without a lock: `begin` is its upper half. */
static inline uint64_t task_range(uint32_t begin, uint32_t end)
{
    return (uint64_t)begin << 32 | end;
}

/* Takes the first or the last of a worker's tasks; -1 where none is left. */
static int32_t take_task(ec_worker *from, bool front)
{
    uint64_t range = atomic_load_explicit(&from->tasks, memory_order_relaxed);
    for (;;) {
        uint32_t begin = (uint32_t)(range >> 32);
        uint32_t end = (uint32_t)range;
        if (begin == end)
            return -1;
        uint64_t rest = front ? task_range(begin + 1, end) : task_range(begin, end - 1);
        if (atomic_compare_exchange_weak_explicit(&from->tasks, &range, rest, memory_order_relaxed,
                                                  memory_order_relaxed))
            return (int32_t)(front ? begin : end - 1);
    }
}

/*
 * Runs the worker's part of the job, tasks in a row, so that it finds in its cache what it wrote in
 * the step before. Then it helps the others, from the ends of theirs: cores differ in speed, by
 * their kind (big.LITTLE) or by what else runs on them.
 */
static int run_part(ec_worker *worker)
{
    ec_pool *pool = worker->pool;
    for (uint32_t i = 0; i < pool->threads; ++i) {
        ec_worker *from = &pool->workers[(worker->index + i) % pool->threads];
        int32_t id;
        while ((id = take_task(from, i == 0)) >= 0) {
            int result = run_tasks(pool->task, pool->data, pool->num_task, id, id + 1);
            if (result != 0)
                return result;
        }
    }
    return 0;
}

static void work(ec_worker *worker)
{
    worker->in_task = true;
    int result = run_part(worker);
    worker->in_task = false;
    if (result != 0)
        atomic_store_explicit(&worker->pool->result, result, memory_order_relaxed);
}

/*
 * Sleeping and waking. A sleeper announces itself, then looks at the counter once more; a waker
 * changes the counter, then looks for sleepers. Both orders are sequentially consistent, so that
 * at least one of them sees the other, and the mutex closes the gap before the wait.
 */
static void wait_for_job(ec_pool *pool, unsigned seen)
{
    while (!spin(pool, &pool->generation, seen, false)) {
        pthread_mutex_lock(&pool->mutex);
        atomic_fetch_add(&pool->sleepers, 1);
        unsigned alarms = pool->alarms;
        while (atomic_load(&pool->generation) == seen && pool->alarms == alarms)
            pthread_cond_wait(&pool->work, &pool->mutex);
        atomic_fetch_sub(&pool->sleepers, 1);
        pthread_mutex_unlock(&pool->mutex);
    }
}

static void announce_job(ec_pool *pool)
{
    atomic_fetch_add(&pool->generation, 1);
    if (atomic_load(&pool->sleepers) == 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
}

static void wait_for_workers(ec_pool *pool)
{
    if (spin(pool, &pool->remaining, 0, true))
        return;
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->caller_sleeps, true);
    while (atomic_load(&pool->remaining) != 0)
        pthread_cond_wait(&pool->done, &pool->mutex);
    atomic_store(&pool->caller_sleeps, false);
    pthread_mutex_unlock(&pool->mutex);
}

static void finish_part(ec_pool *pool)
{
    if (atomic_fetch_sub(&pool->remaining, 1) != 1 || !atomic_load(&pool->caller_sleeps))
        return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_signal(&pool->done);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument)
{
    ec_worker *worker = argument;
    ec_pool *pool = worker->pool;
    current_worker = worker;
    if (worker->core >= 0)
        ec_pin_to_core((uint32_t)worker->core);
    for (unsigned seen = 0;; ++seen) {
        wait_for_job(pool, seen);
        if (pool->stop)
            return NULL;
        work(worker);
        finish_part(pool);
    }
}

/* Gives each worker its tasks; their numbers differ by one at most. */
static void share_tasks(ec_pool *pool)
{
    uint64_t tasks = (uint64_t)pool->num_task;
    for (uint32_t i = 0; i < pool->threads; ++i) {
        uint32_t begin = (uint32_t)(tasks * i / pool->threads);
        uint32_t end = (uint32_t)(tasks * (i + 1) / pool->threads);
        atomic_store_explicit(&pool->workers[i].tasks, task_range(begin, end), memory_order_relaxed);
    }
}

static int launch(ec_task task, void *data, int num_task)
{
    ec_worker *self = current_worker;
    if (!self || self->in_task || self->pool->threads == 1 || num_task == 1) {
        int32_t tasks = num_task == 0 ? 1 : num_task;
        return run_tasks(task, data, tasks, 0, tasks);
    }
    ec_pool *pool = self->pool;
    pool->task = task;
    pool->data = data;
    pool->num_task = num_task == 0 ? (int32_t)pool->threads * TASKS_PER_THREAD : num_task;
    share_tasks(pool);
    atomic_store_explicit(&pool->result, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->remaining, pool->threads - 1, memory_order_relaxed);
    announce_job(pool);
    work(self);
    wait_for_workers(pool);
    return atomic_load_explicit(&pool->result, memory_order_relaxed);
}

static void *allocate_workspace(int device_type, int device_id, uint64_t bytes, int dtype_code,
                                int dtype_bits)
{
    (void)device_type, (void)device_id, (void)dtype_code, (void)dtype_bits;
    return current_worker ? ec_workspace_allocate(&current_worker->workspace, bytes) : NULL;
}

static int free_workspace(int device_type, int device_id, void *pointer)
{
    (void)device_type, (void)device_id;
    ec_workspace_free(&current_worker->workspace, pointer);
    return 0;
}

/*
 * Kernel objects hold weak, null definitions of these. The strong ones stand in this object, which
 * every program needs anyway, so that a linker takes it out of a static library too.
 */
int (*__TVMBackendParallelLaunch)(ec_task, void *, int) = launch;
void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int) = allocate_workspace;
int (*__TVMBackendFreeWorkspace)(int, int, void *) = free_workspace;

/* Wakes sleeping workers while the first steps run, where the run before had work for them. */
static void wake_early(ec_pool *pool)
{
    unsigned jobs = atomic_load(&pool->generation);
    bool worked = jobs != pool->jobs_before;
    pool->jobs_before = jobs;
    if (!worked || !pool->spins || atomic_load(&pool->sleepers) == 0)
        return;
    pthread_mutex_lock(&pool->mutex);
    ++pool->alarms;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
}

ec_worker *ec_pool_enter(ec_pool *pool)
{
    ec_worker *before = current_worker;
    current_worker = &pool->workers[0];
    atomic_store_explicit(&pool->running, true, memory_order_relaxed);
    wake_early(pool);
    return before;
}

void ec_pool_leave(ec_pool *pool, ec_worker *before)
{
    atomic_store_explicit(&pool->running, false, memory_order_relaxed);
    current_worker = before;
}

/* Starts the workers with all signals blocked: those belong to the app's own threads. */
static int start_workers(ec_pool *pool)
{
    pthread_attr_t attributes;
    int code = pthread_attr_init(&attributes);
    if (code != 0)
        return code;
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    code = pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (code == 0 && pool->started + 1 < pool->threads) {
        ec_worker *worker = &pool->workers[pool->started + 1];
        code = pthread_create(&worker->thread, &attributes, worker_main, worker);
        if (code == 0)
            ++pool->started;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return code;
}

/*
 * Looks at the cores that the threads will have, and pins each thread to one if asked to; the
 * calling thread is pinned at once. Returns 0 or an errno value.
 */
static int choose_cores(ec_pool *pool, bool pin)
{
    enum { CAPACITY = 256 };
    ec_core cores[CAPACITY];
    uint32_t count = ec_cores_by_speed(cores, CAPACITY);
    /* With fewer cores than threads, spinning would keep the others from their work. */
    pool->spins = pool->threads <= count;
    if (count == 0)
        return 0;
    for (uint32_t i = 0; pin && i < pool->threads; ++i)
        pool->workers[i].core = (int)cores[i % count].index;
    return pin ? ec_pin_to_core(cores[0].index) : 0;
}

ec_status ec_pool_start(ec_pool *pool, uint32_t threads, bool pin_cores, unsigned char *scratch,
                        uint64_t scratch_bytes, char *error)
{
    memset(pool, 0, sizeof *pool);
    pool->threads = threads;
    pool->workers = calloc(threads, sizeof *pool->workers);
    if (!pool->workers)
        return ec_fail(error, EC_ERROR_MEMORY, "no memory for %u threads", (unsigned)threads);
    for (uint32_t i = 0; i < threads; ++i) {
        ec_worker *worker = &pool->workers[i];
        worker->pool = pool;
        worker->index = i;
        worker->core = -1;
        worker->workspace.base = scratch + i * scratch_bytes;
        worker->workspace.bytes = scratch_bytes;
    }
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    int code = choose_cores(pool, pin_cores);
    if (code == 0)
        code = start_workers(pool);
    if (code == 0)
        return EC_OK;
    ec_pool_stop(pool);
    return ec_fail(error, EC_ERROR_THREADS, "cannot start or pin %u threads: %s",
                   (unsigned)threads, strerror(code));
}

void ec_pool_stop(ec_pool *pool)
{
    pool->stop = true;
    announce_job(pool);
    for (uint32_t i = 1; i <= pool->started; ++i)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->workers);
    pool->workers = NULL;
}
