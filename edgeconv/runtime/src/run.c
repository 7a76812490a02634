/* The run loop, step durations and the observer. */
#include "run.h"

#include <inttypes.h>

#include "clock.h"
#include "model.h"

static void reset_workspaces(ec_model *model)
{
    for (uint32_t i = 0; i < model->pool.threads; ++i)
        ec_workspace_reset(&model->pool.workers[i].workspace);
}

static ec_status step_failed(ec_model *model, uint32_t index, int32_t code)
{
    const ec_step *step = &model->program->steps[index];
    bool exhausted = false;
    for (uint32_t i = 0; i < model->pool.threads; ++i)
        exhausted |= model->pool.workers[i].workspace.exhausted;
    reset_workspaces(model);
    return ec_fail(model->error, EC_ERROR_STEP, "step %" PRIu32 " (%s) failed with code %" PRId32
                   "%s", index, step->name, code,
                   exhausted ? ": its workspace is larger than the plan says" : "");
}

ec_status ec_call_step(ec_model *model, uint32_t index)
{
    int32_t code = model->program->steps[index].call(model->buffers);
    return code == 0 ? EC_OK : step_failed(model, index, code);
}

void ec_show_outputs(ec_model *model, uint32_t index)
{
    const ec_program *program = model->program;
    const ec_step *step = &program->steps[index];
    for (uint32_t i = 0; i < step->output_count; ++i) {
        uint32_t buffer = step->operands[step->input_count + i];
        model->observer(model->observer_user, index, i, model->buffers[buffer],
                        program->buffers[buffer].bytes);
    }
}

static ec_status run_steps(ec_model *model)
{
    const ec_program *program = model->program;
    uint64_t start = ec_now_ns();
    for (uint32_t i = 0; i < program->step_count; ++i) {
        ec_status status = ec_call_step(model, i);
        if (status != EC_OK)
            return status;
        uint64_t end = ec_now_ns();
        model->step_ns[i] = end - start;
        start = end;
        if (model->observer) {
            ec_show_outputs(model, i);
            start = ec_now_ns();
        }
    }
    return EC_OK;
}

ec_status ec_run(ec_model *model)
{
    if (atomic_flag_test_and_set_explicit(&model->running, memory_order_acquire))
        return EC_ERROR_BUSY;
    ec_worker *before = ec_pool_enter(&model->pool);
    ec_status status = model->opencl ? ec_opencl_run(model) : run_steps(model);
    ec_pool_leave(&model->pool, before);
    atomic_flag_clear_explicit(&model->running, memory_order_release);
    return status;
}

ec_status ec_profile(const ec_model *model, uint32_t index, ec_step_info *info)
{
    if (index >= model->program->step_count)
        return EC_ERROR_ARGUMENT;
    const ec_step *step = &model->program->steps[index];
    *info = (ec_step_info){step->name, step->family, step->macs, model->step_ns[index]};
    return EC_OK;
}

void ec_observe(ec_model *model, ec_observer observer, void *user)
{
    model->observer = observer;
    model->observer_user = user;
}
