/*
 * Drives the OpenCL backend on the imitation of a library: drive_opencl FOLDER LIBRARY CACHE.
 * Program a has all steps in OpenCL; program b scales on the CPU, and needs half arithmetic; program c
 * is as a, but reads through images. Ends at the first thing that is not as it should be.
 */
#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "imitation.h"
#include "network.h"

const ec_program *edgeconv_program_a(void);
const ec_program *edgeconv_program_b(void);
const ec_program *edgeconv_program_c(void);

static const char *folder;
static const char *library;
static imitation_state *imitation;

/* The linker sends the runtime's calls of these here. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
static atomic_int allocations;

void *__wrap_malloc(size_t bytes)
{
    ++allocations;
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    ++allocations;
    return __real_calloc(count, bytes);
}

static void reset(bool unified)
{
    *imitation = (imitation_state)IMITATION_DEFAULT;
    imitation->unified = unified;
}

static void check_use(void)
{
    if (imitation->misuse[0])
        fprintf(stderr, "%s\n", imitation->misuse);
    CHECK(!imitation->misuse[0]);
}

static void close_model(ec_model *model)
{
    ec_close(model);
    check_use();
    CHECK(imitation->live == 0);
}

static void run_bound(ec_model *model, int scales, float phase)
{
    static tensors t;
    bind(model, &t);
    fill(&t, phase);
    CHECK(ec_run(model) == EC_OK);
    check_outputs(&t, scales);
}

/* Without memory of the caller's. */
static void run_own(ec_model *model, int scales, float phase)
{
    static tensors t;
    for (uint32_t i = 0; i < 2; ++i) {
        CHECK(ec_bind_input(model, i, NULL, 0) == EC_OK);
        CHECK(ec_bind_output(model, i, NULL, 0) == EC_OK);
    }
    fill(&t, phase);
    memcpy(ec_input_data(model, 0), t.a, BYTES);
    memcpy(ec_input_data(model, 1), t.b, BYTES);
    CHECK(ec_run(model) == EC_OK);
    memcpy(t.y, ec_output_data(model, 0), BYTES);
    memcpy(&t.positives, ec_output_data(model, 1), 4);
    check_outputs(&t, scales);
}

static void check_zero(ec_model *model)
{
    const unsigned char *input = ec_input_data(model, 0);
    const unsigned char *output = ec_output_data(model, 0);
    for (int i = 0; i < BYTES; ++i)
        CHECK(input[i] == 0 && output[i] == 0);
}

static void test_runs(bool unified, bool wanders)
{
    reset(unified);
    imitation->wanders = wanders;
    const ec_program *programs[] = {edgeconv_program_a(), edgeconv_program_b(),
                                    edgeconv_program_c()};
    static const int scales[] = {1, 2, 1};
    for (int i = 0; i < 3; ++i) {
        ec_model *model = open_model(programs[i], folder, 2);
        CHECK(strcmp(ec_device(model), "Paper GPU (Imitation, driver 7)") == 0);
        check_zero(model);
        for (int phase = 0; phase < 6; ++phase)
            (phase % 3 == 2 ? run_bound : run_own)(model, scales[i], (float)phase);
        check_use();
        close_model(model);
    }
}

/* Of the tensors themselves, or of all memory that they lie in. */
static void test_images(void)
{
    for (int whole = 0; whole < 2; ++whole) {
        reset(true);
        imitation->only_whole_images = whole;
        ec_model *model = open_model(edgeconv_program_c(), folder, 1);
        CHECK(imitation->images == 2);
        run_bound(model, 1, 0);
        run_own(model, 1, 1);
        CHECK(imitation->images == 2);
        close_model(model);
        imitation->images = 0;
        close_model(open_model(edgeconv_program_a(), folder, 1));
        CHECK(imitation->images == 0);
    }
}

/* What a run asks of the device: nothing is allocated, and nothing copied between kernels. */
static void test_work_of_a_run(void)
{
    for (int unified = 0; unified < 2; ++unified) {
        reset(unified);
        ec_model *model = open_model(edgeconv_program_a(), folder, 1);
        tensors t;
        bind(model, &t);
        fill(&t, 1);
        imitation_state before = *imitation;
        allocations = 0;
        CHECK(ec_run(model) == EC_OK && allocations == 0);
        CHECK(imitation->buffers == before.buffers && imitation->live == before.live);
        CHECK(imitation->launches == before.launches + 3);
        CHECK(imitation->writes == before.writes + 2 && imitation->reads == before.reads + 2);
        run_own(model, 1, 2);
        before = *imitation;
        run_own(model, 1, 3);
        CHECK(imitation->launches == before.launches + 3);
        CHECK(imitation->maps == before.maps + (unified ? 4 : 0));
        CHECK(imitation->writes == before.writes + (unified ? 0 : 2));
        CHECK(imitation->reads == before.reads + (unified ? 0 : 2));
        close_model(model);
    }
}

static void test_durations(void)
{
    reset(true);
    ec_model *model = open_model(edgeconv_program_b(), folder, 1);
    ec_step_info step;
    CHECK(ec_profile(model, 0, &step) == EC_OK && step.last_ns == 0);
    run_own(model, 2, 0);
    CHECK(ec_profile(model, 0, &step) == EC_OK && step.last_ns == 2000);
    CHECK(ec_profile(model, 1, &step) == EC_OK && step.last_ns > 0);
    close_model(model);
}

typedef struct seen {
    const tensors *t;
    int calls;
} seen;

/* The first step's sums, the last one's outputs, which are the network's. */
static void observer(void *user, uint32_t step, uint32_t output, const void *data, uint64_t bytes)
{
    seen *s = user;
    ++s->calls;
    CHECK(output == 1 ? bytes == 4 : bytes >= BYTES); /* what images are of is whole texels */
    const float *values = data;
    for (int i = 0; step == 0 && i < COUNT; ++i)
        CHECK(values[i] == s->t->a[i] + s->t->b[i]);
    tensors last = *s->t;
    if (output == 1)
        CHECK(*(const int32_t *)data > 0 && *(const int32_t *)data < COUNT);
    else if (step == 3) {
        memcpy(last.y, data, BYTES);
        last.positives = 0;
        for (int i = 0; i < COUNT; ++i)
            last.positives += last.y[i] > 0;
        check_outputs(&last, 2);
    }
}

static void test_observer(void)
{
    for (int unified = 0; unified < 2; ++unified) {
        reset(unified);
        ec_model *model = open_model(edgeconv_program_b(), folder, 1);
        tensors t;
        bind(model, &t);
        fill(&t, 4);
        seen s = {&t, 0};
        ec_observe(model, observer, &s);
        CHECK(ec_run(model) == EC_OK && s.calls == 5);
        check_outputs(&t, 2);
        ec_observe(model, NULL, NULL);
        run_own(model, 2, 5);
        CHECK(s.calls == 5);
        close_model(model);
    }
}

static void refuse(const ec_program *program, const char *text)
{
    ec_model *model;
    CHECK(ec_open(program, folder, NULL, &model) == EC_ERROR_DEVICE);
    CHECK(!model && strstr(ec_last_error(NULL), text));
    check_use();
    CHECK(imitation->live == 0);
}

static void test_machines_that_do_not_fit(void)
{
    const ec_program *a = edgeconv_program_a();
    reset(true);
    imitation->platforms = 0;
    refuse(a, "has no OpenCL device (CL_PLATFORM_NOT_FOUND_KHR)");
    reset(true);
    imitation->devices = 0;
    refuse(a, "has no OpenCL device (CL_DEVICE_NOT_FOUND)");
    reset(true);
    imitation->memory = 1000;
    refuse(a, "needs 14712 bytes");
    reset(true);
    imitation->largest_block = 1000;
    refuse(a, "6144 of them in one block; Paper GPU (Imitation, driver 7) has 1048576");
    reset(true);
    imitation->alignment_bits = 16384;
    refuse(a, "begins at byte 3072, while Paper GPU (Imitation, driver 7) wants multiples of 2048");
    reset(true);
    imitation->work_group = 32;
    refuse(a, "step 0 (add_0) needs work-groups of 64, while Paper GPU (Imitation, driver 7) gives "
              "its kernel 32");
    reset(true);
    imitation->build_log = "warning: old\nkernel.cl:3: error: no such type\n1 error\n";
    refuse(a, "does not build the kernels: CL_BUILD_PROGRAM_FAILURE (-11)\nkernel.cl:3: error: no");

    const ec_program *c = edgeconv_program_c();
    reset(true);
    imitation->image_texels = 175;
    refuse(c, "step 2 (relu_2) reads an image of 176 texels, while Paper GPU (Imitation, driver 7) "
              "makes images of at most 175");
    reset(true);
    imitation->image_texels = 0;
    refuse(c, "step 1 (scale_1) reads an image of 5 texels, while Paper GPU (Imitation, driver 7) "
              "makes images of at most 0");
    close_model(open_model(a, folder, 1));
    reset(true);
    imitation->extensions = "cl_khr_fp16_of_another_vendor";
    refuse(edgeconv_program_b(), "Paper GPU (Imitation, driver 7) lacks cl_khr_fp16");

    ec_step steps[3];
    memcpy(steps, a->steps, sizeof steps);
    steps[1].kernel = "ec_k_nothing";
    ec_program other = *a;
    other.steps = steps;
    reset(true);
    ec_model *model;
    CHECK(ec_open(&other, folder, NULL, &model) == EC_ERROR_STEP);
    CHECK(strstr(ec_last_error(NULL), "step 1 (scale_1) failed: CL_INVALID_KERNEL_NAME (-46)"));
    CHECK(imitation->live == 0);
}

static void check_device(const char *wanted, const char *device)
{
    setenv("EDGECONV_OPENCL_DEVICE", wanted, 1);
    reset(true);
    ec_model *model = open_model(edgeconv_program_a(), folder, 1);
    CHECK(strstr(ec_device(model), device));
    close_model(model);
    unsetenv("EDGECONV_OPENCL_DEVICE");
}

static void test_choice_of_a_device(void)
{
    check_device("", "Paper GPU");
    check_device("0:1", "Paper CPU");
    check_device("1:1", "Paper GPU");
    check_device("paper cpu", "Paper CPU");
    check_device("imitation", "Paper GPU");
    reset(true);
    setenv("EDGECONV_OPENCL_DEVICE", "0:7", 1);
    refuse(edgeconv_program_a(), "no OpenCL device fits EDGECONV_OPENCL_DEVICE=0:7; there are: 0:0 "
                                 "Imitation: Paper CPU, 0:1 Imitation: Paper CPU, 1:0 Imitation: "
                                 "Paper CPU, 1:1 Imitation: Paper GPU");
    unsetenv("EDGECONV_OPENCL_DEVICE");
}

static void test_libraries_that_do_not_fit(void)
{
    reset(true);
    setenv("EDGECONV_OPENCL", "/nowhere.so", 1);
    refuse(edgeconv_program_a(), "EDGECONV_OPENCL names no library: /nowhere.so");
    setenv("EDGECONV_OPENCL", "libm.so.6", 1);
    refuse(edgeconv_program_a(), "libm.so.6 lacks clGetPlatformIDs");
    setenv("EDGECONV_OPENCL", library, 1);
}

/* A kernel that fails on the device, which is known only at the end of the run. */
static void test_a_kernel_that_fails(void)
{
    for (int launch = 1; launch <= 3; ++launch) {
        reset(true);
        ec_model *model = open_model(edgeconv_program_a(), folder, 1);
        imitation->fail_launch = launch;
        CHECK(ec_run(model) == EC_ERROR_STEP);
        static const char *const texts[] = {"step 0 (add_0)", "step 1 (scale_1)",
                                            "step 2 (relu_2)"};
        CHECK(strstr(ec_last_error(model), texts[launch - 1]));
        CHECK(strstr(ec_last_error(model), " failed: CL_OUT_OF_RESOURCES (-5)"));
        run_bound(model, 1, 0);
        run_own(model, 1, 0);
        close_model(model);
    }
}

static void *run_many(void *argument)
{
    bool second = argument;
    ec_model *model =
        open_model(second ? edgeconv_program_b() : edgeconv_program_a(), folder, 2);
    tensors t;
    bind(model, &t);
    for (int i = 0; i < 50; ++i) {
        fill(&t, (float)i);
        CHECK(ec_run(model) == EC_OK);
        check_outputs(&t, 1 + second);
    }
    ec_close(model);
    return NULL;
}

static void test_models_at_once(void)
{
    reset(false);
    pthread_t threads[3];
    for (int i = 0; i < 3; ++i)
        CHECK(pthread_create(&threads[i], NULL, run_many, i == 1 ? &threads : NULL) == 0);
    for (int i = 0; i < 3; ++i)
        pthread_join(threads[i], NULL);
    check_use();
    CHECK(imitation->live == 0);
}

/* Opens and runs with one call failing; whether that call was reached. */
static bool run_with_fault(const ec_program *program, int scales, bool unified, bool observed,
                           int fail_at)
{
    reset(unified);
    imitation->only_whole_images = observed; /* which makes no other difference */
    imitation->fail_at = fail_at;
    ec_model *model;
    ec_status status = ec_open(program, folder, NULL, &model);
    const char *error = ec_last_error(status == EC_OK ? model : NULL);
    if (status == EC_OK) {
        tensors t;
        seen s = {&t, 0};
        if (observed)
            ec_observe(model, observer, &s);
        bind(model, &t);
        fill(&t, 0);
        status = ec_run(model);
        if (status == EC_OK)
            check_outputs(&t, scales);
        imitation->fail_at = 0;
        if (strcmp(imitation->failed, "clEnqueueUnmapMemObject") != 0) {
            fill(&t, 1);
            CHECK(ec_run(model) == EC_OK);
            check_outputs(&t, scales);
        } else { /* what stays mapped can only be released */
            imitation->misuse[0] = '\0';
        }
    }
    if (status != EC_OK) {
        CHECK(status == EC_ERROR_DEVICE || status == EC_ERROR_STEP);
        CHECK(strstr(error, "CL_OUT_OF_RESOURCES"));
    }
    close_model(model);
    return imitation->failed[0];
}

static void test_every_call_may_fail(void)
{
    for (int variant = 0; variant < 8; ++variant) {
        bool images = variant & 4;
        const ec_program *program = images ? edgeconv_program_c() : edgeconv_program_b();
        int fail_at = 1;
        while (run_with_fault(program, images ? 1 : 2, variant & 1, variant & 2, fail_at))
            ++fail_at;
        CHECK(fail_at > 60);
    }
}

/* Opens the model; whether its kernels came from the cache. */
static bool opens_from_cache(void)
{
    imitation->sources = imitation->binaries = 0;
    ec_model *model = open_model(edgeconv_program_a(), folder, 1);
    run_bound(model, 1, 0);
    close_model(model);
    CHECK(imitation->sources + imitation->binaries == 1);
    return imitation->binaries;
}

/* A file that is not what was kept counts as none, and is replaced. */
static void check_damage(const char *path, long at, long bytes)
{
    FILE *file = fopen(path, "r+b");
    CHECK(file && fseek(file, at, at < 0 ? SEEK_END : SEEK_SET) == 0);
    int byte = fgetc(file);
    CHECK(byte != EOF && fseek(file, -1, SEEK_CUR) == 0 && fputc(byte ^ 1, file) != EOF);
    CHECK(fclose(file) == 0 && (bytes == 0 || truncate(path, bytes) == 0));
    CHECK(!opens_from_cache());
    CHECK(opens_from_cache());
}

static void test_cache(const char *place)
{
    setenv("EDGECONV_OPENCL_CACHE", place, 1);
    reset(true);
    CHECK(!opens_from_cache());
    CHECK(opens_from_cache());
    char pattern[4096];
    snprintf(pattern, sizeof pattern, "%s/*", place);
    glob_t found;
    CHECK(glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc == 1);
    const char *path = found.gl_pathv[0];
    CHECK(strcmp(path + strlen(path) - 6, ".clbin") == 0);
    static const long places[] = {0, 8, 20, 60, -1}; /* in each part of the file */
    for (int i = 0; i < 5; ++i)
        check_damage(path, places[i], 0);
    check_damage(path, 0, 1);
    check_damage(path, 0, 1600);
    CHECK(unlink(path) == 0 && mkfifo(path, 0600) == 0);
    CHECK(!opens_from_cache());
    CHECK(opens_from_cache());

    /* What the driver does not take is built again, and so is what is for another device. */
    imitation->refuses_binaries = true;
    CHECK(!opens_from_cache());
    imitation->refuses_binaries = false;
    setenv("EDGECONV_OPENCL_DEVICE", "0:0", 1);
    CHECK(!opens_from_cache());
    unsetenv("EDGECONV_OPENCL_DEVICE");
    CHECK(opens_from_cache());
    globfree(&found);

    /* Where nothing can be kept, all else works. */
    setenv("EDGECONV_OPENCL_CACHE", "/proc/nowhere", 1);
    CHECK(!opens_from_cache());
    CHECK(!opens_from_cache());
}

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    folder = argv[1];
    library = argv[2];
    void *loaded = dlopen(library, RTLD_NOW);
    CHECK(loaded);
    imitation = dlsym(loaded, "imitation");
    CHECK(imitation);
    setenv("EDGECONV_OPENCL", library, 1);
    setenv("EDGECONV_OPENCL_CACHE", "", 1);
    test_runs(true, false);
    test_runs(true, true);
    test_runs(false, false);
    test_images();
    test_work_of_a_run();
    test_durations();
    test_observer();
    test_machines_that_do_not_fit();
    test_choice_of_a_device();
    test_libraries_that_do_not_fit();
    test_a_kernel_that_fails();
    test_models_at_once();
    test_every_call_may_fail();
    test_cache(argv[3]);
    setenv("EDGECONV_OPENCL_CACHE", argv[3], 1);
    test_every_call_may_fail();
    dlclose(loaded);
    puts("all is well");
    return 0;
}
