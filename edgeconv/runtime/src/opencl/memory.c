/* The device's memory: blocks, and sub-buffers of them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"

ec_cl_block *ec_cl_block_of(ec_opencl *opencl, const ec_program *program, const ec_buffer *buffer)
{
    switch (buffer->space) {
    case EC_ARENA:
        return &opencl->blocks[EC_CL_ARENA];
    case EC_WEIGHTS:
        return &opencl->blocks[EC_CL_WEIGHTS];
    case EC_INPUT:
        return &opencl->blocks[EC_CL_TENSORS + buffer->index];
    default:
        return &opencl->blocks[EC_CL_TENSORS + program->input_count + buffer->index];
    }
}

static ec_status check_fit(const ec_opencl *opencl, char *error)
{
    const ec_cl_device *device = &opencl->device;
    uint64_t total = 0, largest = 0;
    for (uint32_t i = 0; i < opencl->block_count; ++i) {
        uint64_t bytes = opencl->blocks[i].bytes;
        total += bytes;
        largest = bytes > largest ? bytes : largest;
    }
    if (total > device->memory || largest > device->largest_block)
        return ec_fail(error, EC_ERROR_DEVICE,
                       "the network needs %" PRIu64 " bytes of the device's memory, %" PRIu64
                       " of them in one block; %s has %" PRIu64 ", and gives %" PRIu64
                       " in a block. Compile for smaller inputs, or choose another device",
                       total, largest, device->text, device->memory, device->largest_block);
    return EC_OK;
}

static ec_status create_block(ec_opencl *opencl, ec_cl_block *block, void *content, char *error)
{
    cl_bitfield flags = content                  ? CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR
                        : opencl->device.unified ? CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR
                                                 : CL_MEM_READ_WRITE;
    cl_int code;
    block->memory =
        opencl->cl.CreateBuffer(opencl->context, flags, (size_t)block->bytes, content, &code);
    if (code == CL_SUCCESS)
        return EC_OK;
    return ec_cl_fail(error, EC_ERROR_DEVICE, code, "%s has no memory for %" PRIu64 " bytes",
                      opencl->device.text, block->bytes);
}

static ec_status create_blocks(ec_opencl *opencl, ec_model *model, char *error)
{
    const ec_program *program = model->program;
    ec_cl_block *tensors = opencl->blocks + EC_CL_TENSORS;
    opencl->blocks[EC_CL_ARENA].bytes = program->arena_bytes;
    opencl->blocks[EC_CL_WEIGHTS].bytes = program->weights_bytes;
    for (uint32_t i = 0; i < program->input_count; ++i)
        tensors[i].bytes = program->inputs[i].bytes;
    for (uint32_t i = 0; i < program->output_count; ++i)
        tensors[program->input_count + i].bytes = program->outputs[i].bytes;
    ec_status status = check_fit(opencl, error);
    for (uint32_t i = 0; status == EC_OK && i < opencl->block_count; ++i)
        if (opencl->blocks[i].bytes > 0) /* OpenCL has no empty buffer */
            status = create_block(opencl, &opencl->blocks[i],
                                  i == EC_CL_WEIGHTS ? model->weights.data : NULL, error);
    return status;
}

static ec_status create_buffer(ec_opencl *opencl, const ec_program *program, uint32_t index,
                               char *error)
{
    const ec_buffer *buffer = &program->buffers[index];
    if (buffer->offset % opencl->device.alignment != 0)
        return ec_fail(error, EC_ERROR_DEVICE,
                       "buffer %" PRIu32 " begins at byte %" PRIu64 ", while %s wants multiples of "
                       "%" PRIu64 "; compile the model for a target with this GPU", index,
                       buffer->offset, opencl->device.text, opencl->device.alignment);
    const ec_cl_block *block = ec_cl_block_of(opencl, program, buffer);
    cl_buffer_region region = {(size_t)buffer->offset, (size_t)buffer->bytes};
    cl_int code;
    opencl->buffers[index] = opencl->cl.CreateSubBuffer(
        block->memory, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &code);
    if (code == CL_SUCCESS)
        return EC_OK;
    return ec_cl_fail(error, EC_ERROR_DEVICE, code,
                      "%s makes no sub-buffer of %" PRIu64 " bytes at byte %" PRIu64,
                      opencl->device.text, buffer->bytes, buffer->offset);
}

static ec_status create_buffers(ec_opencl *opencl, const ec_program *program, char *error)
{
    ec_status status = EC_OK;
    for (uint32_t i = 0; i < program->step_count; ++i) {
        const ec_step *step = &program->steps[i];
        uint32_t count = step->backend == EC_BACKEND_OPENCL ? ec_operand_count(step) : 0;
        for (uint32_t k = 0; status == EC_OK && k < count; ++k) {
            uint32_t operand = step->operands[k];
            if (!opencl->buffers[operand] && program->buffers[operand].bytes > 0)
                status = create_buffer(opencl, program, operand, error);
        }
    }
    return status;
}

/*
 * Makes a block the model's own memory of its tensor, as long as the driver maps it to the same
 * address each time; else the tensor stays in the host's memory and is copied.
 */
static cl_int share_block(ec_opencl *opencl, ec_cl_block *block)
{
    cl_int code;
    void *first = ec_cl_map_range(opencl, block, CL_TRUE, 0, block->bytes, &code);
    if (code != CL_SUCCESS)
        return code;
    memset(first, 0, (size_t)block->bytes);
    code = ec_cl_unmap_range(opencl, block, first);
    if (code != CL_SUCCESS)
        return code;
    void *again = ec_cl_map_range(opencl, block, CL_TRUE, 0, block->bytes, &code);
    if (code != CL_SUCCESS)
        return code;
    if (again != first)
        return ec_cl_unmap_range(opencl, block, again);
    block->own = again;
    block->mapped = true;
    return CL_SUCCESS;
}

static ec_status share_tensors(ec_opencl *opencl, ec_model *model, char *error)
{
    for (uint32_t i = EC_CL_TENSORS; i < opencl->block_count; ++i) {
        ec_cl_block *block = &opencl->blocks[i];
        if (block->bytes == 0)
            continue;
        cl_int code = share_block(opencl, block);
        if (code != CL_SUCCESS)
            return ec_cl_fail(error, EC_ERROR_DEVICE, code, "%s maps no memory for the host",
                              opencl->device.text);
        if (block->own)
            model->own_inputs[i - EC_CL_TENSORS] = model->inputs[i - EC_CL_TENSORS] = block->own;
    }
    return EC_OK;
}

ec_status ec_cl_reserve(ec_opencl *opencl, ec_model *model, char *error)
{
    const ec_program *program = model->program;
    opencl->block_count = EC_CL_TENSORS + program->input_count + program->output_count;
    opencl->blocks = calloc(opencl->block_count, sizeof *opencl->blocks);
    opencl->buffer_count = program->buffer_count;
    opencl->buffers = calloc(program->buffer_count + (size_t)1, sizeof *opencl->buffers);
    opencl->images = calloc(program->buffer_count + (size_t)1, sizeof *opencl->images);
    opencl->views = calloc(program->buffer_count + (size_t)1, sizeof *opencl->views);
    if (!opencl->blocks || !opencl->buffers || !opencl->images || !opencl->views)
        return ec_fail(error, EC_ERROR_MEMORY, "no memory for the tables of the device's memory");
    ec_status status = create_blocks(opencl, model, error);
    if (status == EC_OK)
        status = create_buffers(opencl, program, error);
    if (status == EC_OK)
        status = ec_cl_create_images(opencl, program, error);
    if (status == EC_OK && opencl->device.unified)
        status = share_tensors(opencl, model, error);
    return status;
}

void ec_cl_release_memory(ec_opencl *opencl)
{
    ec_cl_release_images(opencl);
    for (uint32_t i = 0; opencl->buffers && i < opencl->buffer_count; ++i)
        if (opencl->buffers[i])
            opencl->cl.ReleaseMemObject(opencl->buffers[i]);
    for (uint32_t i = 0; opencl->blocks && i < opencl->block_count; ++i) {
        if (opencl->blocks[i].mapped)
            ec_cl_unmap_range(opencl, &opencl->blocks[i], opencl->blocks[i].own);
        if (opencl->blocks[i].memory)
            opencl->cl.ReleaseMemObject(opencl->blocks[i].memory);
    }
    free(opencl->buffers);
    free(opencl->blocks);
    free(opencl->views);
}
