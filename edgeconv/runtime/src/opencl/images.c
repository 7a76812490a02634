/* Images of buffers, through which kernels read: linear, of texels of four floats or halves. */
#include <inttypes.h>
#include <stdlib.h>

#include "backend.h"

static uint64_t texel_bytes(ec_binding binding)
{
    return binding == EC_HALF_IMAGE ? 8 : 16;
}

static cl_mem create(ec_opencl *opencl, ec_binding binding, cl_mem memory, uint64_t bytes,
                     cl_int *code)
{
    cl_image_format format = {CL_RGBA, binding == EC_HALF_IMAGE ? CL_HALF_FLOAT : CL_FLOAT};
    cl_image_desc description = {.image_type = CL_MEM_OBJECT_IMAGE1D_BUFFER,
                                 .image_width = (size_t)(bytes / texel_bytes(binding)),
                                 .buffer = memory};
    return opencl->cl.CreateImage(opencl->context, CL_MEM_READ_ONLY, &format, &description, NULL,
                                  code);
}

/*
 * Makes the image of a sub-buffer. A driver that makes none, as PoCL's, makes one of the whole
 * block, in which other kernels' tensors lie, too; OpenCL promises nothing there for kernels that
 * write one of them meanwhile.
 */
static cl_int create_image(ec_opencl *opencl, const ec_program *program, uint32_t index,
                           ec_binding binding)
{
    const ec_buffer *buffer = &program->buffers[index];
    ec_cl_image *image = &opencl->images[index];
    cl_int code;
    image->memory = create(opencl, binding, opencl->buffers[index], buffer->bytes, &code);
    if (code != CL_INVALID_MEM_OBJECT)
        return code;
    const ec_cl_block *block = ec_cl_block_of(opencl, program, buffer);
    image->first = (cl_int)(buffer->offset / texel_bytes(binding));
    image->memory = create(opencl, binding, block->memory, block->bytes, &code);
    return code;
}

static ec_status create_images_of(ec_opencl *opencl, const ec_program *program, uint32_t index,
                                  char *error)
{
    const ec_step *step = &program->steps[index];
    for (uint32_t i = 0; i < step->input_count; ++i) {
        uint32_t operand = step->operands[i];
        ec_binding binding = ec_binding_of(step, i);
        if (binding == EC_POINTER || opencl->images[operand].memory)
            continue;
        uint64_t texels = program->buffers[operand].bytes / texel_bytes(binding);
        if (texels > opencl->device.image_texels)
            return ec_fail(error, EC_ERROR_DEVICE,
                           "step %" PRIu32 " (%s) reads an image of %" PRIu64 " texels, while %s "
                           "makes images of at most %" PRIu64 " of a buffer; compile the model for "
                           "a target with this GPU",
                           index, step->name, texels, opencl->device.text,
                           opencl->device.image_texels);
        cl_int code = create_image(opencl, program, operand, binding);
        if (code != CL_SUCCESS)
            return ec_cl_fail(error, EC_ERROR_DEVICE, code,
                              "step %" PRIu32 " (%s): %s makes no image of %" PRIu64 " texels of a "
                              "buffer", index, step->name, opencl->device.text, texels);
    }
    return EC_OK;
}

ec_status ec_cl_create_images(ec_opencl *opencl, const ec_program *program, char *error)
{
    ec_status status = EC_OK;
    for (uint32_t i = 0; status == EC_OK && i < program->step_count; ++i)
        if (program->steps[i].bindings)
            status = create_images_of(opencl, program, i, error);
    return status;
}

void ec_cl_release_images(ec_opencl *opencl)
{
    for (uint32_t i = 0; opencl->images && i < opencl->buffer_count; ++i)
        if (opencl->images[i].memory)
            opencl->cl.ReleaseMemObject(opencl->images[i].memory);
    free(opencl->images);
}
