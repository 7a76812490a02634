/* The runner's main: open, self-test, dump, timed runs, report. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../clock.h"
#include "files.h"
#include "json.h"
#include "runner.h"
#include "selftest.h"

/* Durations of the timed runs, in nanoseconds. */
typedef struct timings {
    uint64_t *runs;
    uint64_t *steps; /* [run][step] */
} timings;

static double milliseconds(uint64_t ns)
{
    return (double)ns / 1e6;
}

int runner_run(ec_model *model)
{
    ec_status status = ec_run(model);
    if (status == EC_OK)
        return RUN_OK;
    fprintf(stderr, "runner: %s\n", ec_last_error(model));
    return RUN_STEP_FAILED;
}

static int read_inputs(ec_model *model, const ec_program *program, const runner_options *options)
{
    if (program->input_count == 0)
        return RUN_OK;
    if (!options->inputs[0]) {
        if (program->golden_cases > 0)
            return load_golden_inputs(model, program, options->folder, 0);
        fprintf(stderr, "runner: the artifact has no golden inputs; give --input\n");
        return RUN_USAGE;
    }
    for (uint32_t i = 0; i < program->input_count; ++i)
        if (!file_read(options->inputs[i], ec_input_data(model, i), program->inputs[i].bytes))
            return RUN_USAGE;
    return RUN_OK;
}

static int write_outputs(ec_model *model, const ec_program *program,
                         const runner_options *options)
{
    for (uint32_t i = 0; i < program->output_count; ++i)
        if (options->outputs[i]
            && !file_write(options->outputs[i], ec_output_data(model, i),
                           program->outputs[i].bytes))
            return RUN_USAGE;
    return RUN_OK;
}

typedef struct dump {
    const char *folder;
    bool failed;
} dump;

static void dump_output(void *user, uint32_t step, uint32_t output, const void *data,
                        uint64_t bytes)
{
    dump *to = user;
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%u_%u.bin", to->folder, (unsigned)step,
                          (unsigned)output);
    to->failed = to->failed || length >= (int)sizeof path || !file_write(path, data, bytes);
}

static int dump_steps(ec_model *model, const char *folder)
{
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "runner: cannot make the folder %s: %s\n", folder, strerror(errno));
        return RUN_USAGE;
    }
    dump to = {folder, false};
    ec_observe(model, dump_output, &to);
    int code = runner_run(model);
    ec_observe(model, NULL, NULL);
    return code == RUN_OK && to.failed ? RUN_USAGE : code;
}

static int timed_runs(ec_model *model, const ec_program *program, const runner_options *options,
                      timings *times)
{
    for (uint32_t i = 0; i < options->warmup; ++i) {
        int code = runner_run(model);
        if (code != RUN_OK)
            return code;
    }
    for (uint32_t i = 0; i < options->repeat; ++i) {
        uint64_t start = ec_now_ns();
        int code = runner_run(model);
        if (code != RUN_OK)
            return code;
        times->runs[i] = ec_now_ns() - start;
        for (uint32_t step = 0; step < program->step_count; ++step) {
            ec_step_info info;
            ec_profile(model, step, &info);
            times->steps[(size_t)i * program->step_count + step] = info.last_ns;
        }
    }
    return RUN_OK;
}

/* All runs on the inputs of the command line: the dump, then the timed ones. */
static int run_inputs(ec_model *model, const ec_program *program, const runner_options *options,
                      timings *times)
{
    if (options->repeat == 0 && !options->dump_folder)
        return RUN_OK;
    int code = read_inputs(model, program, options);
    if (code == RUN_OK && options->dump_folder)
        code = dump_steps(model, options->dump_folder);
    if (code == RUN_OK)
        code = timed_runs(model, program, options, times);
    if (code == RUN_OK)
        code = write_outputs(model, program, options);
    return code;
}

static void report_identity(json *json, const ec_program *program)
{
    json_string(json, "model", program->model);
    json_string(json, "target", program->target);
    json_integer(json, "api", program->api_version);
}

static void report_times(json *json, const ec_program *program, const runner_options *options,
                         const timings *times)
{
    json_open(json, "runs_ms", '[');
    for (uint32_t i = 0; i < options->repeat; ++i)
        json_number(json, NULL, milliseconds(times->runs[i]));
    json_close(json, ']');
    if (!options->profile)
        return;
    json_open(json, "steps", '[');
    for (uint32_t step = 0; step < program->step_count; ++step) {
        json_open(json, NULL, '{');
        json_string(json, "name", program->steps[step].name);
        json_string(json, "family", program->steps[step].family);
        json_open(json, "ms", '[');
        for (uint32_t i = 0; i < options->repeat; ++i)
            json_number(json, NULL,
                        milliseconds(times->steps[(size_t)i * program->step_count + step]));
        json_close(json, ']');
        json_close(json, '}');
    }
    json_close(json, ']');
}

/* The kernel's high-water mark; getrusage would count what the parent had before exec. */
static uint64_t peak_resident_bytes(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    if (!file)
        return 0;
    char line[128];
    unsigned long kib = 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lu kB", &kib) == 1)
            break;
    fclose(file);
    return (uint64_t)kib * 1024;
}

static void report_run(json *json, const ec_model *model, const ec_program *program,
                       uint64_t load_ns)
{
    ec_model_info info;
    ec_describe(model, &info);
    report_identity(json, program);
    json_string(json, "device", ec_device(model));
    json_integer(json, "threads", info.threads);
    json_number(json, "load_ms", milliseconds(load_ns));
    json_integer(json, "arena_bytes", info.arena_bytes);
    json_integer(json, "weights_bytes", info.weights_bytes);
    json_integer(json, "peak_rss_bytes", peak_resident_bytes());
}

static void report_tensors(json *json, const char *key, const ec_tensor_info *tensors,
                           uint32_t count)
{
    json_open(json, key, '[');
    for (uint32_t i = 0; i < count; ++i) {
        json_open(json, NULL, '{');
        json_string(json, "name", tensors[i].name);
        json_string(json, "dtype", tensors[i].dtype);
        json_open(json, "shape", '[');
        for (uint32_t axis = 0; axis < tensors[i].rank; ++axis)
            json_integer(json, NULL, (uint64_t)tensors[i].shape[axis]);
        json_close(json, ']');
        json_integer(json, "bytes", tensors[i].bytes);
        json_number(json, "tolerance", tensors[i].tolerance);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static int describe(json *json, const ec_program *program)
{
    json_open(json, NULL, '{');
    report_identity(json, program);
    json_integer(json, "arena_bytes", program->arena_bytes);
    json_integer(json, "scratch_bytes", program->scratch_bytes);
    json_integer(json, "weights_bytes", program->weights_bytes);
    json_integer(json, "golden_cases", program->golden_cases);
    report_tensors(json, "inputs", program->inputs, program->input_count);
    report_tensors(json, "outputs", program->outputs, program->output_count);
    json_open(json, "steps", '[');
    for (uint32_t i = 0; i < program->step_count; ++i) {
        json_open(json, NULL, '{');
        json_string(json, "name", program->steps[i].name);
        json_string(json, "family", program->steps[i].family);
        json_integer(json, "macs", program->steps[i].macs);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_close(json, '}');
    return RUN_OK;
}

static int run_model(json *json, ec_model *model, const ec_program *program,
                     const runner_options *options, uint64_t load_ns)
{
    size_t runs = options->repeat;
    timings times = {calloc(runs + 1, sizeof(uint64_t)),
                     calloc(runs * program->step_count + 1, sizeof(uint64_t))};
    int code = RUN_CANNOT_LOAD;
    if (!times.runs || !times.steps)
        fprintf(stderr, "runner: no memory for the times of %u runs\n", (unsigned)runs);
    else
        code = run_inputs(model, program, options, &times);
    if (code == RUN_OK) {
        json_open(json, NULL, '{');
        if (options->self_test)
            code = run_self_test(json, model, program, options->folder);
        report_run(json, model, program, load_ns);
        report_times(json, program, options, &times);
        json_close(json, '}');
    }
    free(times.runs);
    free(times.steps);
    return code;
}

static int open_and_run(json *json, const ec_program *program, const runner_options *options)
{
    ec_options open_options = {options->threads, options->pin};
    ec_model *model;
    uint64_t start = ec_now_ns();
    if (ec_open(program, options->folder, &open_options, &model) != EC_OK) {
        fprintf(stderr, "runner: %s\n", ec_last_error(NULL));
        return RUN_CANNOT_LOAD;
    }
    int code = run_model(json, model, program, options, ec_now_ns() - start);
    ec_close(model);
    return code;
}

static int dispatch(const ec_program *program, runner_options *options, int argc, char **argv)
{
    int code = runner_parse(options, program, argc, argv);
    if (code != RUN_OK)
        return code;
    if (options->help) {
        fputs(runner_usage, stdout);
        return RUN_OK;
    }
    if (!options->folder)
        options->folder = own_folder(argv[0]);
    json json = {stdout, true};
    code = options->describe ? describe(&json, program) : open_and_run(&json, program, options);
    if (!json.first)
        putchar('\n');
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "runner: cannot write to stdout: %s\n", strerror(errno));
    return RUN_USAGE;
}

int main(int argc, char **argv)
{
    const ec_program *program = edgeconv_program();
    runner_options options = {0};
    options.inputs = calloc(program->input_count + (size_t)1, sizeof *options.inputs);
    options.outputs = calloc(program->output_count + (size_t)1, sizeof *options.outputs);
    int code = RUN_CANNOT_LOAD;
    if (options.inputs && options.outputs)
        code = dispatch(program, &options, argc, argv);
    else
        fprintf(stderr, "runner: no memory for the command line\n");
    free(options.inputs);
    free(options.outputs);
    return code;
}
