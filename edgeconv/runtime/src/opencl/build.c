/* From OpenCL C, or the binary that the driver made of it before, to kernels. */
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "cache.h"

static const char options[] = "-cl-std=CL1.2";

static cl_int build(ec_opencl *opencl, cl_program program)
{
    return opencl->cl.BuildProgram(program, 1, &opencl->device.id, options, NULL, NULL);
}

/* Writes what the compiler says; from the first error on, where a text of it can be told. */
static ec_status build_failed(ec_opencl *opencl, cl_program program, cl_int code, char *error)
{
    ec_cl *cl = &opencl->cl;
    size_t bytes = 0;
    cl->GetProgramBuildInfo(program, opencl->device.id, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes);
    char *log = calloc(bytes + 1, 1);
    if (log)
        cl->GetProgramBuildInfo(program, opencl->device.id, CL_PROGRAM_BUILD_LOG, bytes, log, NULL);
    const char *first = log ? strstr(log, "error") : NULL;
    while (first && first > log && first[-1] != '\n')
        --first;
    ec_fail(error, EC_ERROR_DEVICE, "%s does not build the kernels: %s (%d)\n%s",
            opencl->device.text, ec_cl_error_name(code), (int)code,
            first ? first : log ? log : "");
    free(log);
    return EC_ERROR_DEVICE;
}

static ec_status build_sources(ec_opencl *opencl, const ec_program *program, char *error)
{
    ec_cl *cl = &opencl->cl;
    cl_int code;
    cl_program built =
        cl->CreateProgramWithSource(opencl->context, program->opencl_source_count,
                                    (const char **)program->opencl_sources, NULL, &code);
    if (code != CL_SUCCESS)
        return ec_cl_fail(error, EC_ERROR_DEVICE, code, "%s takes no kernels", opencl->device.text);
    code = build(opencl, built);
    if (code == CL_SUCCESS) {
        opencl->program = built;
        return EC_OK;
    }
    build_failed(opencl, built, code, error);
    cl->ReleaseProgram(built);
    return EC_ERROR_DEVICE;
}

/* A binary that the driver refuses counts as none. */
static void build_binary(ec_opencl *opencl, const unsigned char *binary, size_t bytes)
{
    ec_cl *cl = &opencl->cl;
    cl_int loaded, code;
    cl_program built = cl->CreateProgramWithBinary(opencl->context, 1, &opencl->device.id, &bytes,
                                                   &binary, &loaded, &code);
    if (code != CL_SUCCESS)
        return;
    if (loaded == CL_SUCCESS && build(opencl, built) == CL_SUCCESS)
        opencl->program = built;
    else
        cl->ReleaseProgram(built);
}

static void keep_binary(ec_opencl *opencl, const ec_cl_cache *cache)
{
    ec_cl *cl = &opencl->cl;
    size_t bytes = 0;
    cl_int code = cl->GetProgramInfo(opencl->program, CL_PROGRAM_BINARY_SIZES, sizeof bytes, &bytes,
                                     NULL);
    unsigned char *binary = code == CL_SUCCESS && bytes > 0 ? malloc(bytes) : NULL;
    if (!binary)
        return;
    code = cl->GetProgramInfo(opencl->program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL);
    if (code == CL_SUCCESS)
        ec_cl_cache_write(cache, binary, bytes);
    free(binary);
}

ec_status ec_cl_build(ec_opencl *opencl, const ec_program *program, const char *path, char *error)
{
    ec_cl_cache cache;
    ec_cl_cache_find(&cache, program, &opencl->device, path);
    size_t bytes;
    unsigned char *binary = ec_cl_cache_read(&cache, &bytes);
    if (binary)
        build_binary(opencl, binary, bytes);
    free(binary);
    if (opencl->program)
        return EC_OK;
    ec_status status = build_sources(opencl, program, error);
    if (status == EC_OK && cache.path[0]) /* asking for the binary may take the driver long */
        keep_binary(opencl, &cache);
    return status;
}
