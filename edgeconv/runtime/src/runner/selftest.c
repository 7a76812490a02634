#include "selftest.h"

#include <limits.h>
#include <stdlib.h>

#include "files.h"
#include "metrics.h"

static bool read_golden(const char *folder, uint32_t number, const char *kind, uint32_t index,
                        void *data, uint64_t bytes)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/golden/%u/%s_%u.bin", folder, (unsigned)number,
                          kind, (unsigned)index);
    if (length >= (int)sizeof path) {
        fprintf(stderr, "runner: the path %s is too long\n", folder);
        return false;
    }
    return file_read(path, data, bytes);
}

int load_golden_inputs(ec_model *model, const ec_program *program, const char *folder,
                       uint32_t number)
{
    for (uint32_t i = 0; i < program->input_count; ++i)
        if (!read_golden(folder, number, "input", i, ec_input_data(model, i),
                         program->inputs[i].bytes))
            return RUN_CANNOT_LOAD;
    return RUN_OK;
}

static bool report_output(json *json, const ec_tensor_info *output, const void *got,
                          const void *want)
{
    metrics result =
        metrics_compare(got, want, output->bytes / output->element_bytes, output->dtype);
    bool passed = result.max_rel <= output->tolerance; /* false for not-a-number */
    json_open(json, NULL, '{');
    json_string(json, "name", output->name);
    json_number(json, "max_abs", result.max_abs);
    json_number(json, "max_rel", result.max_rel);
    json_number(json, "sqnr_db", result.sqnr_db);
    json_number(json, "cosine", result.cosine);
    json_number(json, "tolerance", output->tolerance);
    json_boolean(json, "passed", passed);
    json_close(json, '}');
    return passed;
}

static int check_output(json *json, ec_model *model, const ec_tensor_info *output,
                        const char *folder, uint32_t number, uint32_t index)
{
    void *want = malloc((size_t)output->bytes + 1);
    if (!want) {
        fprintf(stderr, "runner: no memory for golden output %u\n", (unsigned)index);
        return RUN_CANNOT_LOAD;
    }
    int code = RUN_CANNOT_LOAD;
    if (read_golden(folder, number, "output", index, want, output->bytes)) {
        bool passed = report_output(json, output, ec_output_data(model, index), want);
        code = passed ? RUN_OK : RUN_TEST_FAILED;
        if (!passed)
            fprintf(stderr, "runner: self-test failed: case %u, output \"%s\"\n", (unsigned)number,
                    output->name);
    }
    free(want);
    return code;
}

/* Runs a case and writes its outputs; a failed comparison does not end it, any other failure does. */
static int run_case(json *json, ec_model *model, const ec_program *program, const char *folder,
                    uint32_t number)
{
    int code = load_golden_inputs(model, program, folder, number);
    if (code == RUN_OK)
        code = runner_run(model);
    if (code != RUN_OK)
        return code;
    json_open(json, NULL, '{');
    json_integer(json, "case", number);
    json_open(json, "outputs", '[');
    for (uint32_t i = 0; i < program->output_count; ++i) {
        int checked = check_output(json, model, &program->outputs[i], folder, number, i);
        if (checked != RUN_OK)
            code = checked;
        if (checked == RUN_CANNOT_LOAD)
            break;
    }
    json_close(json, ']');
    json_close(json, '}');
    return code;
}

static int check_testable(const ec_program *program)
{
    if (program->golden_cases == 0) {
        fprintf(stderr, "runner: the artifact has no golden cases to test against\n");
        return RUN_CANNOT_LOAD;
    }
    for (uint32_t i = 0; i < program->output_count; ++i)
        if (!metrics_supports(program->outputs[i].dtype)) {
            fprintf(stderr, "runner: cannot compare elements of type %s\n",
                    program->outputs[i].dtype);
            return RUN_CANNOT_LOAD;
        }
    return RUN_OK;
}

int run_self_test(json *json, ec_model *model, const ec_program *program, const char *folder)
{
    int code = check_testable(program);
    if (code != RUN_OK)
        return code;
    json_open(json, "self_test", '{');
    json_open(json, "cases", '[');
    for (uint32_t number = 0; number < program->golden_cases; ++number) {
        int result = run_case(json, model, program, folder, number);
        if (result != RUN_OK)
            code = result;
        if (result != RUN_OK && result != RUN_TEST_FAILED)
            break;
    }
    json_close(json, ']');
    json_boolean(json, "passed", code == RUN_OK);
    json_close(json, '}');
    return code;
}
