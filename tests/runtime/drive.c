/*
 * Drives the C interface with two programs in one process: drive FOLDER_A FOLDER_B.
 * Ends at the first thing that is not as it should be.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cores.h"
#include "network.h"

const ec_program *edgeconv_program_a(void);
const ec_program *edgeconv_program_b(void);

static void test_runs(const char *folder)
{
    for (uint32_t threads = 1; threads <= 4; ++threads) {
        ec_model *model = open_model(edgeconv_program_a(), folder, threads);
        tensors t;
        bind(model, &t);
        for (int i = 0; i < 200; ++i) {
            fill(&t, (float)i);
            CHECK(ec_run(model) == EC_OK);
            check_outputs(&t, 1);
        }
        ec_close(model);
    }
}

/* Long pauses make the workers sleep; they must wake up. */
static void test_sleeping_workers(const char *folder)
{
    ec_model *model = open_model(edgeconv_program_a(), folder, 2);
    tensors t;
    bind(model, &t);
    for (int i = 0; i < 20; ++i) {
        struct timespec pause = {0, 2000000};
        nanosleep(&pause, NULL);
        fill(&t, (float)i);
        CHECK(ec_run(model) == EC_OK);
        check_outputs(&t, 1);
    }
    ec_close(model);
}

static void test_own_memory(const char *folder)
{
    ec_model *model = open_model(edgeconv_program_a(), folder, 1);
    static tensors t;
    fill(&t, 0);
    CHECK((uintptr_t)ec_input_data(model, 0) % 64 == 0);
    memcpy(ec_input_data(model, 0), t.a, BYTES);
    memcpy(ec_input_data(model, 1), t.b, BYTES);
    CHECK(ec_run(model) == EC_OK);
    memcpy(t.y, ec_output_data(model, 0), BYTES);
    memcpy(&t.positives, ec_output_data(model, 1), 4);
    check_outputs(&t, 1);
    void *own = ec_output_data(model, 0);
    CHECK(ec_bind_output(model, 0, t.y, BYTES) == EC_OK && ec_output_data(model, 0) == t.y);
    CHECK(ec_bind_output(model, 0, NULL, 0) == EC_OK && ec_output_data(model, 0) == own);
    CHECK(!ec_input_data(model, 2) && !ec_output_data(model, 2));
    ec_close(model);
}

static void test_unaligned_to_cache_lines(const char *folder)
{
    ec_model *model = open_model(edgeconv_program_a(), folder, 2);
    static _Alignas(64) unsigned char memory[2][sizeof(tensors) + 4];
    tensors *t = (tensors *)(memory[0] + 4);
    bind(model, t);
    fill(t, 1);
    CHECK(ec_run(model) == EC_OK);
    check_outputs(t, 1);
    ec_close(model);
}

static void test_description(const char *folder)
{
    ec_model *model = open_model(edgeconv_program_a(), folder, 3);
    ec_model_info info;
    ec_describe(model, &info);
    CHECK(strcmp(info.model, "a") == 0 && info.threads == 3);
    CHECK(info.input_count == 2 && info.output_count == 2 && info.step_count == 3);
    CHECK(info.weights_bytes == 128 && info.scratch_bytes == 3 * 256);
    const ec_tensor_info *y = ec_output_info(model, 0);
    CHECK(strcmp(y->name, "y") == 0 && strcmp(y->dtype, "float32") == 0 && y->bytes == BYTES);
    CHECK(y->rank == 2 && y->shape[0] == ROWS && y->shape[1] == COLUMNS && y->tolerance == 1e-6);
    CHECK(!ec_input_info(model, 2) && !ec_output_info(model, 2));
    CHECK(ec_api_version() == EDGECONV_API_VERSION && strcmp(ec_device(model), "") == 0);
    ec_close(model);
}

static void test_profile(const char *folder)
{
    ec_model *model = open_model(edgeconv_program_a(), folder, 1);
    ec_step_info step;
    CHECK(ec_profile(model, 1, &step) == EC_OK && step.last_ns == 0);
    CHECK(ec_run(model) == EC_OK);
    CHECK(ec_profile(model, 1, &step) == EC_OK && step.last_ns > 0);
    CHECK(strcmp(step.name, "scale_1") == 0 && strcmp(step.family, "elementwise") == 0);
    CHECK(step.macs == 703);
    CHECK(ec_profile(model, 3, &step) == EC_ERROR_ARGUMENT);
    ec_close(model);
}

/* A program of one step, which looks at how its tasks are spread over threads. */
typedef struct group {
    void *sync_handle;
    int32_t num_task;
} group;

extern int (*__TVMBackendParallelLaunch)(int (*)(int, group *, void *), void *, int);

enum { MAX_ASKED = 16, MAX_TASKS = 32 };
static pthread_t task_threads[MAX_TASKS], inner_threads[MAX_TASKS];
static int task_calls[MAX_TASKS];
static int task_order[MAX_TASKS];
static int asked_tasks, given_tasks, failing_task;
static atomic_int begun_tasks, ended_tasks;
static bool first_waits; /* task 0 for all others */

static int inner_task(int task, group *tasks, void *data)
{
    inner_threads[*(int *)data] = task < tasks->num_task ? pthread_self() : 0;
    return 0;
}

static int outer_task(int task, group *tasks, void *data)
{
    (void)data;
    task_threads[task] = pthread_self();
    ++task_calls[task];
    task_order[task] = atomic_fetch_add(&begun_tasks, 1);
    if (task == 0)
        given_tasks = tasks->num_task;
    while (task == 0 && first_waits && atomic_load(&ended_tasks) < tasks->num_task - 1)
        sched_yield();
    int inner_tasks = tasks->num_task > 1 ? 2 : 1; /* inside a single task it would be spread */
    int result = __TVMBackendParallelLaunch(inner_task, &task, inner_tasks);
    atomic_fetch_add(&ended_tasks, 1);
    return result != 0 || task == failing_task ? 9 : 0;
}

static int32_t spread(void *const *buffers)
{
    (void)buffers;
    return __TVMBackendParallelLaunch(outer_task, NULL, asked_tasks);
}

static void check_spread(int tasks, uint32_t threads)
{
    int own = tasks / (int)threads;
    int first_calls = 0;
    while (first_calls < own && pthread_equal(task_threads[first_calls], pthread_self()))
        ++first_calls;
    for (int i = 0; i < tasks; ++i) {
        CHECK(task_calls[i] == 1);
        CHECK(pthread_equal(inner_threads[i], task_threads[i]));
        /* This thread begins with its own part, from the front; others take from the back. */
        CHECK(i >= first_calls || i == 0 || task_order[i] > task_order[i - 1]);
        CHECK(i < first_calls || i >= own || !pthread_equal(task_threads[i], pthread_self()));
    }
}

static void test_cores_are_sorted(void)
{
    ec_core cores[64];
    uint32_t count = ec_cores_by_speed(cores, 64);
    CHECK(count > 0);
    for (uint32_t i = 1; i < count; ++i)
        CHECK(cores[i - 1].speed >= cores[i].speed);
}

static void test_tasks_are_spread(const char *folder)
{
    ec_step step = {.name = "spread", .family = "test", .call = spread};
    ec_program program = *edgeconv_program_a();
    program.step_count = 1;
    program.steps = &step;
    for (uint32_t threads = 1; threads <= 4; ++threads) {
        ec_model *model = open_model(&program, folder, threads);
        int parts = threads > 1 ? 8 * (int)threads : 1;
        for (asked_tasks = 0; asked_tasks <= MAX_ASKED; ++asked_tasks) {
            int tasks = asked_tasks ? asked_tasks : parts;
            failing_task = -1;
            for (int waits = 0; waits <= (threads > 1); ++waits) {
                first_waits = waits;
                memset(task_calls, 0, sizeof task_calls);
                atomic_store(&ended_tasks, 0);
                CHECK(ec_run(model) == EC_OK && given_tasks == tasks);
                check_spread(tasks, threads);
            }
            first_waits = false;
            failing_task = tasks - 1;
            CHECK(ec_run(model) == EC_ERROR_STEP && strstr(ec_last_error(model), "code 9"));
        }
        ec_close(model);
    }
    /* Outside a run there is no pool; a kernel still works. */
    failing_task = -1;
    CHECK(__TVMBackendParallelLaunch(outer_task, NULL, 0) == 0 && given_tasks == 1);
}

static void refuse(const ec_program *program, const char *path, ec_status status, const char *text)
{
    ec_model *model = (ec_model *)&status;
    CHECK(ec_open(program, path, NULL, &model) == status);
    CHECK(!model && strstr(ec_last_error(NULL), text));
}

static void test_open_errors(const char *folder)
{
    const ec_program *a = edgeconv_program_a();
    refuse(NULL, folder, EC_ERROR_ARGUMENT, "NULL");
    refuse(a, NULL, EC_ERROR_ARGUMENT, "NULL");
    refuse(a, "/nowhere", EC_ERROR_FILE, "/nowhere");
    CHECK(ec_open(a, folder, NULL, NULL) == EC_ERROR_ARGUMENT);
    ec_options crowd = {257, 0};
    ec_model *model;
    CHECK(ec_open(a, folder, &crowd, &model) == EC_ERROR_ARGUMENT && !model);

    ec_program other = *a;
    other.api_version = 99;
    refuse(&other, folder, EC_ERROR_VERSION, "99");
    other = *a;
    other.weights_sha256[0] ^= 1;
    refuse(&other, folder, EC_ERROR_WEIGHTS, "another model");
    other = *a;
    other.arena_bytes = UINT64_MAX / 2 + 1;
    refuse(&other, folder, EC_ERROR_MEMORY, "no memory");

    ec_step steps[3];
    memcpy(steps, a->steps, sizeof steps);
    steps[2].backend = (ec_backend)99;
    other = *a;
    other.steps = steps;
    refuse(&other, folder, EC_ERROR_VERSION, "relu_2");
    steps[2].backend = EC_BACKEND_OPENCL;
    refuse(&other, folder, EC_ERROR_VERSION, "relu_2");
    other.opencl_source_count = 1;
    refuse(&other, folder, EC_ERROR_VERSION, "built without");
    ec_close(NULL);
}

static void test_bind_errors(const char *folder)
{
    ec_model *model = open_model(edgeconv_program_a(), folder, 1);
    tensors t;
    CHECK(strcmp(ec_last_error(model), "") == 0);
    CHECK(ec_bind_input(model, 2, t.a, BYTES) == EC_ERROR_ARGUMENT);
    CHECK(strstr(ec_last_error(model), "no input 2"));
    CHECK(ec_bind_output(model, 1, t.y, BYTES) == EC_ERROR_ARGUMENT);
    CHECK(strstr(ec_last_error(model), "positives"));
    CHECK(ec_bind_input(model, 0, (char *)t.a + 1, BYTES) == EC_ERROR_ARGUMENT);
    CHECK(strstr(ec_last_error(model), "aligned"));
    CHECK(ec_run(model) == EC_OK);
    ec_close(model);
}

static void test_failing_steps(const char *folder)
{
    for (uint32_t threads = 1; threads <= 2; ++threads) {
        ec_model *model = open_model(edgeconv_program_a(), folder, threads);
        tensors t;
        bind(model, &t);
        fill(&t, 0);
        t.a[0] = -999;
        CHECK(ec_run(model) == EC_ERROR_STEP);
        CHECK(strstr(ec_last_error(model), "step 0 (add_0) failed with code 7"));
        fill(&t, 0);
        CHECK(ec_run(model) == EC_OK);
        check_outputs(&t, 1);
        ec_close(model);

        ec_program small = *edgeconv_program_a();
        small.scratch_bytes = 64;
        model = open_model(&small, folder, threads);
        for (int i = 0; i < 2; ++i) {
            CHECK(ec_run(model) == EC_ERROR_STEP);
            CHECK(strstr(ec_last_error(model), "scale_1"));
            CHECK(strstr(ec_last_error(model), "workspace"));
        }
        ec_close(model);
    }
}

typedef struct seen {
    ec_model *model;
    int calls;
    ec_status inner;
} seen;

static void observer(void *user, uint32_t step, uint32_t output, const void *data, uint64_t bytes)
{
    static const uint32_t order[][2] = {{0, 0}, {1, 0}, {2, 0}, {2, 1}};
    seen *s = user;
    CHECK(s->calls < 4 && step == order[s->calls][0] && output == order[s->calls][1]);
    CHECK(data && bytes == (s->calls == 3 ? 4 : BYTES));
    if (s->calls++ == 2)
        CHECK(data == ec_output_data(s->model, 0));
    s->inner = ec_run(s->model);
}

static void test_observer_and_busy(const char *folder)
{
    ec_model *model = open_model(edgeconv_program_a(), folder, 1);
    seen s = {model, 0, EC_OK};
    ec_observe(model, observer, &s);
    CHECK(ec_run(model) == EC_OK && s.calls == 4 && s.inner == EC_ERROR_BUSY);
    ec_observe(model, NULL, NULL);
    CHECK(ec_run(model) == EC_OK && s.calls == 4);
    ec_close(model);
}

typedef struct job {
    const ec_program *program;
    const char *folder;
    int scales;
} job;

static void *run_job(void *argument)
{
    job *j = argument;
    ec_model *model = open_model(j->program, j->folder, 2);
    tensors t;
    bind(model, &t);
    for (int i = 0; i < 100; ++i) {
        fill(&t, (float)(i * j->scales));
        CHECK(ec_run(model) == EC_OK);
        check_outputs(&t, j->scales);
    }
    ec_close(model);
    return NULL;
}

static void test_two_models_at_once(const char *folder_a, const char *folder_b)
{
    job jobs[] = {{edgeconv_program_a(), folder_a, 1}, {edgeconv_program_b(), folder_b, 2}};
    pthread_t threads[2];
    for (int i = 0; i < 2; ++i)
        CHECK(pthread_create(&threads[i], NULL, run_job, &jobs[i]) == 0);
    for (int i = 0; i < 2; ++i)
        pthread_join(threads[i], NULL);
}

static void *run_pinned(void *folder)
{
    ec_options options = {2, 1};
    ec_model *model;
    CHECK(ec_open(edgeconv_program_a(), folder, &options, &model) == EC_OK);
    cpu_set_t cores;
    CHECK(sched_getaffinity(0, sizeof cores, &cores) == 0 && CPU_COUNT(&cores) == 1);
    tensors t;
    bind(model, &t);
    fill(&t, 5);
    CHECK(ec_run(model) == EC_OK);
    check_outputs(&t, 1);
    ec_close(model);
    return NULL;
}

static void test_pinning(char *folder)
{
    pthread_t thread; /* so that the pin ends with it */
    CHECK(pthread_create(&thread, NULL, run_pinned, folder) == 0);
    pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    test_runs(argv[1]);
    test_sleeping_workers(argv[1]);
    test_own_memory(argv[1]);
    test_unaligned_to_cache_lines(argv[1]);
    test_description(argv[1]);
    test_profile(argv[1]);
    test_cores_are_sorted();
    test_tasks_are_spread(argv[1]);
    test_open_errors(argv[1]);
    test_bind_errors(argv[1]);
    test_failing_steps(argv[1]);
    test_observer_and_busy(argv[1]);
    test_two_models_at_once(argv[1], argv[2]);
    test_pinning(argv[1]);
    puts("all is well");
    return 0;
}
