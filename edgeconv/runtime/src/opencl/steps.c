/* The steps: kernels with their arguments, the run, its errors and durations. */
#include <inttypes.h>
#include <stdlib.h>

#include "../clock.h"
#include "../run.h"
#include "backend.h"

/* Drivers may let kernels wait until the queue is flushed; then the device is idle while the host
   prepares the others. Each flush costs the host time. */
enum { LAUNCHES_PER_FLUSH = 8 };

static ec_status step_failed(const ec_program *program, uint32_t index, cl_int code, char *error)
{
    return ec_cl_fail(error, EC_ERROR_STEP, code, "step %" PRIu32 " (%s) failed", index,
                      program->steps[index].name);
}

/* Drivers would refuse a work-group that is too large at every launch; this says why. */
static ec_status check_work_group(ec_opencl *opencl, const ec_program *program, uint32_t index,
                                  char *error)
{
    const ec_step *step = &program->steps[index];
    size_t items = (size_t)step->local_size[0] * step->local_size[1] * step->local_size[2];
    size_t most = 0;
    cl_int code = opencl->cl.GetKernelWorkGroupInfo(opencl->kernels[index], opencl->device.id,
                                                    CL_KERNEL_WORK_GROUP_SIZE, sizeof most, &most,
                                                    NULL);
    if (code != CL_SUCCESS)
        return step_failed(program, index, code, error);
    if (items > most)
        return ec_fail(error, EC_ERROR_DEVICE,
                       "step %" PRIu32 " (%s) needs work-groups of %zu, while %s gives its kernel "
                       "%zu; compile the model for a target with this GPU",
                       index, step->name, items, opencl->device.text, most);
    return EC_OK;
}

static cl_int set_arguments(ec_opencl *opencl, const ec_step *step, cl_kernel kernel)
{
    cl_uint argument = 0;
    cl_int code = CL_SUCCESS;
    for (uint32_t i = 0; code == CL_SUCCESS && i < ec_operand_count(step); ++i) {
        bool is_image = ec_binding_of(step, i) != EC_POINTER;
        const ec_cl_image *image = &opencl->images[step->operands[i]];
        code = opencl->cl.SetKernelArg(kernel, argument++, sizeof(cl_mem),
                                       is_image ? &image->memory
                                                : &opencl->buffers[step->operands[i]]);
        if (code == CL_SUCCESS && is_image)
            code = opencl->cl.SetKernelArg(kernel, argument++, sizeof image->first, &image->first);
    }
    return code;
}

static ec_status prepare_step(ec_opencl *opencl, const ec_program *program, uint32_t index,
                              char *error)
{
    const ec_step *step = &program->steps[index];
    cl_int code;
    opencl->kernels[index] = opencl->cl.CreateKernel(opencl->program, step->kernel, &code);
    if (code == CL_SUCCESS)
        code = set_arguments(opencl, step, opencl->kernels[index]);
    return code == CL_SUCCESS ? check_work_group(opencl, program, index, error)
                              : step_failed(program, index, code, error);
}

ec_status ec_cl_prepare_steps(ec_opencl *opencl, const ec_program *program, char *error)
{
    opencl->step_count = program->step_count;
    opencl->kernels = calloc(program->step_count, sizeof *opencl->kernels);
    opencl->events = calloc(program->step_count, sizeof *opencl->events);
    if (!opencl->kernels || !opencl->events)
        return ec_fail(error, EC_ERROR_MEMORY, "no memory for the tables of the device's kernels");
    ec_status status = EC_OK;
    for (uint32_t i = 0; status == EC_OK && i < program->step_count; ++i)
        if (program->steps[i].backend == EC_BACKEND_OPENCL)
            status = prepare_step(opencl, program, i, error);
    return status;
}

void ec_cl_release_steps(ec_opencl *opencl)
{
    for (uint32_t i = 0; opencl->kernels && i < opencl->step_count; ++i)
        if (opencl->kernels[i])
            opencl->cl.ReleaseKernel(opencl->kernels[i]);
    free(opencl->kernels);
    free(opencl->events);
}

static ec_status launch(ec_opencl *opencl, ec_model *model, uint32_t index)
{
    const ec_step *step = &model->program->steps[index];
    size_t global[3], local[3];
    for (int i = 0; i < 3; ++i) {
        global[i] = step->global_size[i];
        local[i] = step->local_size[i];
    }
    cl_int code =
        opencl->cl.EnqueueNDRangeKernel(opencl->queue, opencl->kernels[index], 3, NULL, global,
                                        local, 0, NULL, &opencl->events[index]);
    if (code == CL_SUCCESS && index % LAUNCHES_PER_FLUSH == 0)
        code = opencl->cl.Flush(opencl->queue);
    return code == CL_SUCCESS ? EC_OK : step_failed(model->program, index, code, model->error);
}

/* A step of the CPU. Its duration includes its operands' way from the device. */
static ec_status call(ec_opencl *opencl, ec_model *model, uint32_t index)
{
    const ec_step *step = &model->program->steps[index];
    cl_int code = opencl->cl.Finish(opencl->queue);
    ec_status status = ec_cl_check_run(opencl, model, code, "waiting for the steps");
    if (status != EC_OK)
        return status;
    uint64_t start = ec_now_ns();
    status = ec_cl_map(opencl, model, step->operands, ec_operand_count(step));
    if (status == EC_OK)
        status = ec_call_step(model, index);
    model->step_ns[index] = ec_now_ns() - start;
    ec_status unmapped = ec_cl_unmap(opencl, model);
    return status == EC_OK ? unmapped : status;
}

static ec_status observe(ec_opencl *opencl, ec_model *model, uint32_t index)
{
    const ec_step *step = &model->program->steps[index];
    ec_status status =
        ec_cl_map(opencl, model, step->operands + step->input_count, step->output_count);
    if (status == EC_OK)
        ec_show_outputs(model, index);
    ec_status unmapped = ec_cl_unmap(opencl, model);
    return status == EC_OK ? unmapped : status;
}

static ec_status run_steps(ec_opencl *opencl, ec_model *model)
{
    const ec_program *program = model->program;
    ec_status status = EC_OK;
    for (uint32_t i = 0; status == EC_OK && i < program->step_count; ++i) {
        bool kernel = program->steps[i].backend == EC_BACKEND_OPENCL;
        status = kernel ? launch(opencl, model, i) : call(opencl, model, i);
        if (status == EC_OK && model->observer)
            status = observe(opencl, model, i);
    }
    return status;
}

/* A kernel's duration; 0 where the driver does not know it. */
static uint64_t duration(ec_opencl *opencl, cl_event event)
{
    cl_ulong start = 0, end = 0;
    cl_int code = opencl->cl.GetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start,
                                                   &start, NULL);
    if (code == CL_SUCCESS)
        code = opencl->cl.GetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end,
                                                NULL);
    return code == CL_SUCCESS && end > start ? end - start : 0;
}

/*
 * Takes the durations of the kernels, all of which have ended. The first that failed on the device
 * is what went wrong, whatever call has told of it.
 */
static ec_status finish_events(ec_opencl *opencl, ec_model *model, ec_status status)
{
    bool blamed = false;
    for (uint32_t i = 0; i < opencl->step_count; ++i) {
        if (!opencl->events[i])
            continue;
        cl_int state = CL_SUCCESS;
        opencl->cl.GetEventInfo(opencl->events[i], CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state,
                                &state, NULL);
        if (state < 0 && !blamed) {
            status = step_failed(model->program, i, state, model->error);
            blamed = true;
        }
        model->step_ns[i] = duration(opencl, opencl->events[i]);
        opencl->cl.ReleaseEvent(opencl->events[i]);
        opencl->events[i] = NULL;
    }
    return status;
}

ec_status ec_opencl_run(ec_model *model)
{
    ec_opencl *opencl = model->opencl;
    ec_status status = ec_cl_hand_over(opencl, model);
    if (status == EC_OK)
        status = run_steps(opencl, model);
    status = ec_cl_collect(opencl, model, status);
    return finish_events(opencl, model, status);
}
