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

static ec_status failed(ec_opencl *opencl, ec_model *model, cl_int code)
{
    return ec_cl_fail(model->error, EC_ERROR_DEVICE, code, "tensors do not get to %s or back",
                      opencl->device.text);
}

static cl_int write_input(ec_opencl *opencl, const ec_cl_block *block, const void *data)
{
    return opencl->cl.EnqueueWriteBuffer(opencl->queue, block->memory, CL_FALSE, 0,
                                         (size_t)block->bytes, data, 0, NULL, NULL);
}

static cl_int read_output(ec_opencl *opencl, const ec_cl_block *block, void *data)
{
    return opencl->cl.EnqueueReadBuffer(opencl->queue, block->memory, CL_FALSE, 0,
                                        (size_t)block->bytes, data, 0, NULL, NULL);
}

/* Whether a tensor lies in other memory than the device's. */
static bool copied(const ec_cl_block *block, const void *data)
{
    return data != block->own && block->bytes > 0;
}

ec_status ec_cl_hand_over(ec_opencl *opencl, ec_model *model)
{
    ec_cl_block *tensors = opencl->blocks + EC_CL_TENSORS;
    uint32_t inputs = model->program->input_count;
    uint32_t count = inputs + model->program->output_count;
    cl_int code = CL_SUCCESS;
    for (uint32_t i = 0; code == CL_SUCCESS && i < count; ++i) {
        if (tensors[i].mapped)
            code = ec_cl_unmap_range(opencl, &tensors[i], tensors[i].own);
        tensors[i].mapped = false;
    }
    for (uint32_t i = 0; code == CL_SUCCESS && i < inputs; ++i)
        if (copied(&tensors[i], model->inputs[i]))
            code = write_input(opencl, &tensors[i], model->inputs[i]);
    return code == CL_SUCCESS ? EC_OK : failed(opencl, model, code);
}

/* Gives the host its own memory of a tensor back. */
static cl_int take_back(ec_opencl *opencl, ec_cl_block *block)
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

ec_status ec_cl_collect(ec_opencl *opencl, ec_model *model)
{
    ec_cl_block *tensors = opencl->blocks + EC_CL_TENSORS;
    uint32_t inputs = model->program->input_count;
    uint32_t outputs = model->program->output_count;
    cl_int code = CL_SUCCESS;
    for (uint32_t i = 0; code == CL_SUCCESS && i < outputs; ++i)
        if (copied(&tensors[inputs + i], model->outputs[i]))
            code = read_output(opencl, &tensors[inputs + i], model->outputs[i]);
    for (uint32_t i = 0; i < inputs + outputs; ++i) {
        cl_int taken = CL_SUCCESS;
        if (tensors[i].own && !tensors[i].mapped)
            taken = take_back(opencl, &tensors[i]);
        code = code == CL_SUCCESS ? taken : code;
    }
    cl_int finished = opencl->cl.Finish(opencl->queue);
    code = code == CL_SUCCESS ? finished : code;
    return code == CL_SUCCESS ? EC_OK : failed(opencl, model, code);
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
            return failed(opencl, model, code);
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
    return code == CL_SUCCESS ? EC_OK : failed(opencl, model, code);
}
