#include "model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 256, ALIGNMENT = 64 };

int32_t ec_api_version(void)
{
    return EDGECONV_API_VERSION;
}

static uint64_t align(uint64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static uint64_t total_bytes(const ec_tensor_info *tensors, uint32_t count)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; ++i)
        total += align(tensors[i].bytes);
    return total;
}

/* Gives each tensor its place; returns the end of the last. */
static unsigned char *place(void **own, void **bound, const ec_tensor_info *tensors, uint32_t count,
                            unsigned char *at)
{
    for (uint32_t i = 0; i < count; ++i) {
        own[i] = bound[i] = at;
        at += align(tensors[i].bytes);
    }
    return at;
}

/* Refreshes the addresses of all buffers of a space. A device's have one while they are mapped. */
static void resolve(ec_model *model, ec_space space)
{
    const ec_program *program = model->program;
    if (model->opencl && space != EC_WEIGHTS)
        return;
    for (uint32_t i = 0; i < program->buffer_count; ++i) {
        const ec_buffer *buffer = &program->buffers[i];
        if (buffer->space != space)
            continue;
        unsigned char *base = space == EC_ARENA     ? model->arena
                              : space == EC_WEIGHTS ? model->weights.data
                              : space == EC_INPUT   ? model->inputs[buffer->index]
                                                    : model->outputs[buffer->index];
        model->buffers[i] = base + buffer->offset;
    }
}

static bool uses_opencl(const ec_program *program)
{
    return program->opencl_source_count > 0;
}

static ec_status check_program(const ec_program *program, char *error)
{
    if (program->api_version != EDGECONV_API_VERSION)
        return ec_fail(error, EC_ERROR_VERSION,
                       "the program is for API version %" PRIu32 ", this runtime has version %d; "
                       "compile the model again", program->api_version, EDGECONV_API_VERSION);
    for (uint32_t i = 0; i < program->step_count; ++i) {
        ec_backend backend = program->steps[i].backend;
        if (backend != EC_BACKEND_CPU && !(backend == EC_BACKEND_OPENCL && uses_opencl(program)))
            return ec_fail(error, EC_ERROR_VERSION,
                           "step %" PRIu32 " (%s) needs backend %d, which this runtime lacks", i,
                           program->steps[i].name, (int)backend);
    }
    return EC_OK;
}

/* One block for all tables of the model; they are never empty, so that none is NULL. */
static ec_status allocate_tables(ec_model *model, char *error)
{
    const ec_program *program = model->program;
    size_t tensors = program->input_count + (size_t)program->output_count;
    model->own_inputs = calloc(2 * tensors + program->buffer_count + 1, sizeof(void *));
    model->step_ns = calloc(program->step_count + (size_t)1, sizeof *model->step_ns);
    if (!model->own_inputs || !model->step_ns)
        return ec_fail(error, EC_ERROR_MEMORY, "no memory for the tables of the model");
    model->own_outputs = model->own_inputs + program->input_count;
    model->inputs = model->own_inputs + tensors;
    model->outputs = model->inputs + program->input_count;
    model->buffers = model->inputs + tensors;
    return EC_OK;
}

/* Large blocks are lent by the kernel page by page, and zero: what is never touched, such as own
   inputs and outputs where others are bound, costs nothing. */
static ec_status allocate_memory(ec_model *model, uint32_t threads, unsigned char **scratch,
                                 char *error)
{
    const ec_program *program = model->program;
    uint64_t arena = uses_opencl(program) ? 0 : align(program->arena_bytes);
    uint64_t tensors = total_bytes(program->inputs, program->input_count)
                       + total_bytes(program->outputs, program->output_count);
    uint64_t bytes = arena + tensors + threads * align(program->scratch_bytes) + ALIGNMENT;
    model->memory = bytes > SIZE_MAX / 2 ? NULL : calloc(1, (size_t)bytes);
    if (!model->memory)
        return ec_fail(error, EC_ERROR_MEMORY,
                       "no memory for %" PRIu64 " bytes of tensors and workspace", bytes);
    unsigned char *at = (unsigned char *)align((uintptr_t)model->memory);
    model->arena = at;
    at += arena;
    at = place(model->own_inputs, model->inputs, program->inputs, program->input_count, at);
    *scratch = place(model->own_outputs, model->outputs, program->outputs, program->output_count,
                     at);
    return EC_OK;
}

static ec_status open_model(ec_model *model, const char *path, const ec_options *options,
                            char *error)
{
    uint32_t threads = options && options->threads ? options->threads : 1;
    if (threads > MAX_THREADS)
        return ec_fail(error, EC_ERROR_ARGUMENT, "%" PRIu32 " threads; the largest number is %d",
                       threads, MAX_THREADS);
    ec_status status = check_program(model->program, error);
    unsigned char *scratch = NULL;
    if (status == EC_OK)
        status = allocate_tables(model, error);
    if (status == EC_OK)
        status = ec_weights_map(&model->weights, model->program, path, error);
    if (status == EC_OK)
        status = allocate_memory(model, threads, &scratch, error);
    if (status == EC_OK && uses_opencl(model->program))
        status = ec_opencl_open(model, path, error);
    if (status == EC_OK)
        status = ec_pool_start(&model->pool, threads, options && options->pin_cores, scratch,
                               align(model->program->scratch_bytes), error);
    if (status == EC_OK)
        for (ec_space space = EC_ARENA; space <= EC_OUTPUT; ++space)
            resolve(model, space);
    return status;
}

static void free_model(ec_model *model)
{
    ec_opencl_close(model->opencl);
    ec_weights_unmap(&model->weights);
    free(model->memory);
    free(model->own_inputs);
    free(model->step_ns);
    free(model);
}

ec_status ec_open(const ec_program *program, const char *path, const ec_options *options,
                  ec_model **result)
{
    char *error = ec_thread_error();
    if (result)
        *result = NULL;
    if (!program || !path || !result)
        return ec_fail(error, EC_ERROR_ARGUMENT, "ec_open: program, path or model is NULL");
    ec_model *model = calloc(1, sizeof *model);
    if (!model)
        return ec_fail(error, EC_ERROR_MEMORY, "no memory for a model");
    model->program = program;
    atomic_flag_clear(&model->running);
    ec_status status = open_model(model, path, options, error);
    if (status == EC_OK)
        *result = model;
    else
        free_model(model);
    return status;
}

void ec_close(ec_model *model)
{
    if (!model)
        return;
    ec_pool_stop(&model->pool);
    free_model(model);
}

const char *ec_last_error(const ec_model *model)
{
    return model ? model->error : ec_thread_error();
}

void ec_describe(const ec_model *model, ec_model_info *info)
{
    const ec_program *program = model->program;
    uint32_t threads = model->pool.threads;
    *info = (ec_model_info){
        .model = program->model,
        .target = program->target,
        .input_count = program->input_count,
        .output_count = program->output_count,
        .step_count = program->step_count,
        .threads = threads,
        .arena_bytes = program->arena_bytes,
        .scratch_bytes = threads * align(program->scratch_bytes),
        .weights_bytes = program->weights_bytes,
    };
}

const char *ec_device(const ec_model *model)
{
    return model->opencl ? ec_opencl_device(model->opencl) : "";
}

const ec_tensor_info *ec_input_info(const ec_model *model, uint32_t index)
{
    return index < model->program->input_count ? &model->program->inputs[index] : NULL;
}

const ec_tensor_info *ec_output_info(const ec_model *model, uint32_t index)
{
    return index < model->program->output_count ? &model->program->outputs[index] : NULL;
}

static ec_status check_binding(ec_model *model, const char *kind, uint32_t index,
                               const ec_tensor_info *tensor, const void *data, uint64_t bytes)
{
    if (!tensor)
        return ec_fail(model->error, EC_ERROR_ARGUMENT, "there is no %s %" PRIu32, kind, index);
    if (data && bytes != tensor->bytes)
        return ec_fail(model->error, EC_ERROR_ARGUMENT,
                       "%s %" PRIu32 " (\"%s\", %s) has %" PRIu64 " bytes, not %" PRIu64, kind,
                       index, tensor->name, tensor->dtype, tensor->bytes, bytes);
    if (data && (uintptr_t)data % tensor->element_bytes != 0)
        return ec_fail(model->error, EC_ERROR_ARGUMENT,
                       "%s %" PRIu32 " (\"%s\") must be aligned to %" PRIu32 " bytes", kind, index,
                       tensor->name, tensor->element_bytes);
    return EC_OK;
}

ec_status ec_bind_input(ec_model *model, uint32_t index, const void *data, uint64_t bytes)
{
    ec_status status =
        check_binding(model, "input", index, ec_input_info(model, index), data, bytes);
    if (status != EC_OK)
        return status;
    /* Kernels take all buffers as void *; none writes to an input. */
    model->inputs[index] = data ? (void *)(uintptr_t)data : model->own_inputs[index];
    resolve(model, EC_INPUT);
    return EC_OK;
}

ec_status ec_bind_output(ec_model *model, uint32_t index, void *data, uint64_t bytes)
{
    ec_status status =
        check_binding(model, "output", index, ec_output_info(model, index), data, bytes);
    if (status != EC_OK)
        return status;
    model->outputs[index] = data ? data : model->own_outputs[index];
    resolve(model, EC_OUTPUT);
    return EC_OK;
}

void *ec_input_data(ec_model *model, uint32_t index)
{
    return index < model->program->input_count ? model->inputs[index] : NULL;
}

void *ec_output_data(ec_model *model, uint32_t index)
{
    return index < model->program->output_count ? model->outputs[index] : NULL;
}
