/* Opening and closing a device. */
#include "backend.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

ec_status ec_cl_fail(char *error, ec_status status, cl_int code, const char *format, ...)
{
    char text[EC_ERROR_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return ec_fail(error, status, "%s: %s (%d)", text, ec_cl_error_name(code), (int)code);
}

ec_status ec_cl_check_run(const ec_opencl *opencl, ec_model *model, cl_int code, const char *part)
{
    if (code == CL_SUCCESS)
        return EC_OK;
    return ec_cl_fail(model->error, EC_ERROR_DEVICE, code, "%s failed on %s", part,
                      opencl->device.text);
}

static ec_status create_queue(ec_opencl *opencl, char *error)
{
    ec_cl *cl = &opencl->cl;
    cl_int code;
    opencl->context = cl->CreateContext(NULL, 1, &opencl->device.id, NULL, NULL, &code);
    if (code == CL_SUCCESS)
        opencl->queue = cl->CreateCommandQueue(opencl->context, opencl->device.id,
                                               CL_QUEUE_PROFILING_ENABLE, &code);
    return code == CL_SUCCESS
               ? EC_OK
               : ec_cl_fail(error, EC_ERROR_DEVICE, code, "%s cannot be used", opencl->device.text);
}

ec_status ec_opencl_open(ec_model *model, const char *path, char *error)
{
    ec_opencl *opencl = calloc(1, sizeof *opencl);
    if (!opencl)
        return ec_fail(error, EC_ERROR_MEMORY, "no memory for a device");
    ec_status status = ec_cl_load(&opencl->cl, error);
    if (status == EC_OK)
        status = ec_cl_find_device(&opencl->cl, &opencl->device, error);
    if (status == EC_OK)
        status = ec_cl_check_extensions(&opencl->cl, &opencl->device, model->program, error);
    if (status == EC_OK)
        status = create_queue(opencl, error);
    if (status == EC_OK)
        status = ec_cl_build(opencl, model->program, path, error);
    if (status == EC_OK)
        status = ec_cl_reserve(opencl, model, error);
    if (status == EC_OK)
        status = ec_cl_prepare_steps(opencl, model->program, error);
    if (status == EC_OK)
        model->opencl = opencl;
    else
        ec_opencl_close(opencl);
    return status;
}

void ec_opencl_close(ec_opencl *opencl)
{
    if (!opencl)
        return;
    ec_cl *cl = &opencl->cl;
    ec_cl_release_steps(opencl);
    ec_cl_release_memory(opencl);
    if (opencl->program)
        cl->ReleaseProgram(opencl->program);
    if (opencl->queue) {
        cl->Finish(opencl->queue);
        cl->ReleaseCommandQueue(opencl->queue);
    }
    if (opencl->context)
        cl->ReleaseContext(opencl->context);
    ec_cl_unload(cl);
    free(opencl);
}

const char *ec_opencl_device(const ec_opencl *opencl)
{
    return opencl->device.text;
}
