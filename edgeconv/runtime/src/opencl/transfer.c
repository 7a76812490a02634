/* Tensors' way from the host to the device and back. */
#include "backend.h"

void *ec_cl_map_range(ec_opencl *opencl, const ec_cl_block *block, cl_bool wait, uint64_t begin,
                      uint64_t end, cl_int *code)
{
    return opencl->cl.EnqueueMapBuffer(opencl->queue, block->memory, wait,
                                       CL_MAP_READ | CL_MAP_WRITE, (size_t)begin,
                                       (size_t)(end - begin), 0, NULL, NULL, code);
}

cl_int ec_cl_unmap_range(ec_opencl *opencl, const ec_cl_block *block, void *data)
{
    return opencl->cl.EnqueueUnmapMemObject(opencl->queue, block->memory, data, 0, NULL, NULL);
}

/* Whether a tensor lies in other memory than the device's. */
static bool copied(const ec_cl_block *block, const void *data)
{
    return data != block->own && block->bytes > 0;
}

static cl_int write_inputs(ec_opencl *opencl, ec_model *model)
{
    cl_int code = CL_SUCCESS;
    for (uint32_t i = 0; code == CL_SUCCESS && i < model->program->input_count; ++i) {
        const ec_cl_block *block = &opencl->blocks[EC_CL_TENSORS + i];
        if (copied(block, model->inputs[i]))
            code = opencl->cl.EnqueueWriteBuffer(opencl->queue, block->memory, CL_FALSE, 0,
                                                 (size_t)block->bytes, model->inputs[i], 0, NULL,
                                                 NULL);
    }
    return code;
}

static cl_int read_outputs(ec_opencl *opencl, ec_model *model)
{
    cl_int code = CL_SUCCESS;
    for (uint32_t i = 0; code == CL_SUCCESS && i < model->program->output_count; ++i) {
        const ec_cl_block *block = &opencl->blocks[EC_CL_TENSORS + model->program->input_count + i];
        if (copied(block, model->outputs[i]))
            code = opencl->cl.EnqueueReadBuffer(opencl->queue, block->memory, CL_FALSE, 0,
                                                (size_t)block->bytes, model->outputs[i], 0, NULL,
                                                NULL);
    }
    return code;
}

/* The model's own inputs and outputs are the device's during a run. */
static cl_int give_away(ec_opencl *opencl)
{
    cl_int code = CL_SUCCESS;
    for (uint32_t i = EC_CL_TENSORS; code == CL_SUCCESS && i < opencl->block_count; ++i) {
        ec_cl_block *block = &opencl->blocks[i];
        if (!block->mapped)
            continue;
        code = ec_cl_unmap_range(opencl, block, block->own);
        block->mapped = code != CL_SUCCESS;
    }
    return code;
}

static cl_int take_block_back(ec_opencl *opencl, ec_cl_block *block)
{
    cl_int code;
    void *data = ec_cl_map_range(opencl, block, CL_FALSE, 0, block->bytes, &code);
    if (code != CL_SUCCESS)
        return code;
    if (data != block->own) {
        ec_cl_unmap_range(opencl, block, data);
        return CL_MAP_FAILURE;
    }
    block->mapped = true;
    return CL_SUCCESS;
}

/* Takes back what it can; returns the first error. */
static cl_int take_back(ec_opencl *opencl)
{
    cl_int code = CL_SUCCESS;
    for (uint32_t i = EC_CL_TENSORS; i < opencl->block_count; ++i) {
        ec_cl_block *block = &opencl->blocks[i];
        bool missing = block->own && !block->mapped;
        cl_int taken = missing ? take_block_back(opencl, block) : CL_SUCCESS;
        code = code == CL_SUCCESS ? taken : code;
    }
    return code;
}

ec_status ec_cl_hand_over(ec_opencl *opencl, ec_model *model)
{
    ec_status status =
        ec_cl_check_run(opencl, model, give_away(opencl), "unmapping inputs and outputs");
    if (status != EC_OK)
        return status;
    return ec_cl_check_run(opencl, model, write_inputs(opencl, model), "copying an input");
}

ec_status ec_cl_collect(ec_opencl *opencl, ec_model *model, ec_status status)
{
    if (status == EC_OK)
        status =
            ec_cl_check_run(opencl, model, read_outputs(opencl, model), "copying an output");
    cl_int taken = take_back(opencl);
    cl_int finished = opencl->cl.Finish(opencl->queue);
    if (status == EC_OK)
        status = ec_cl_check_run(opencl, model, taken, "mapping inputs and outputs");
    if (status == EC_OK)
        status = ec_cl_check_run(opencl, model, finished, "waiting for the steps");
    return status;
}

/* Views that overlap become one, since nothing may be mapped twice at a time. */
static void add_view(ec_opencl *opencl, ec_cl_block *block, uint64_t begin, uint64_t end)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < opencl->view_count; ++i) {
        ec_cl_view view = opencl->views[i];
        if (view.block == block && view.begin < end && begin < view.end) {
            begin = view.begin < begin ? view.begin : begin;
            end = view.end > end ? view.end : end;
        } else {
            opencl->views[kept++] = view;
        }
    }
    opencl->views[kept] = (ec_cl_view){block, begin, end, NULL};
    opencl->view_count = kept + 1;
}

static unsigned char *find_data(const ec_opencl *opencl, const ec_cl_block *block, uint64_t offset)
{
    const ec_cl_view *view = opencl->views;
    while (view->block != block || offset < view->begin || offset >= view->end)
        ++view;
    return view->data + (offset - view->begin);
}

/* Whether an operand must be mapped: the host has the weights anyway. */
static bool on_device(const ec_buffer *buffer)
{
    return buffer->space != EC_WEIGHTS && buffer->bytes > 0;
}

ec_status ec_cl_map(ec_opencl *opencl, ec_model *model, const uint32_t *operands, uint32_t count)
{
    const ec_program *program = model->program;
    for (uint32_t i = 0; i < count; ++i) {
        const ec_buffer *buffer = &program->buffers[operands[i]];
        if (on_device(buffer))
            add_view(opencl, ec_cl_block_of(opencl, program, buffer), buffer->offset,
                     buffer->offset + buffer->bytes);
    }
    for (uint32_t i = 0; i < opencl->view_count; ++i) {
        ec_cl_view *view = &opencl->views[i];
        cl_int code;
        view->data =
            ec_cl_map_range(opencl, view->block, CL_TRUE, view->begin, view->end, &code);
        if (code != CL_SUCCESS)
            return ec_cl_check_run(opencl, model, code, "mapping a step's operands");
    }
    for (uint32_t i = 0; i < count; ++i) {
        const ec_buffer *buffer = &program->buffers[operands[i]];
        if (on_device(buffer))
            model->buffers[operands[i]] = find_data(
                opencl, ec_cl_block_of(opencl, program, buffer), buffer->offset);
    }
    return EC_OK;
}

ec_status ec_cl_unmap(ec_opencl *opencl, ec_model *model)
{
    cl_int code = CL_SUCCESS;
    for (uint32_t i = 0; i < opencl->view_count; ++i) {
        const ec_cl_view *view = &opencl->views[i];
        cl_int unmapped =
            view->data ? ec_cl_unmap_range(opencl, view->block, view->data) : CL_SUCCESS;
        code = code == CL_SUCCESS ? unmapped : code;
    }
    opencl->view_count = 0;
    return ec_cl_check_run(opencl, model, code, "unmapping a step's operands");
}
