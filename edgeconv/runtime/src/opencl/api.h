/*
 * The part of OpenCL 1.2 that is used here, declared anew so that building needs no headers of it,
 * and loaded at run time, since every vendor's library lies elsewhere. Names and numbers are those
 * of the OpenCL specification; a function's name here lacks the "cl".
 */
#ifndef EC_OPENCL_API_H
#define EC_OPENCL_API_H

#include <stddef.h>
#include <stdint.h>

#include "../error.h"

typedef int32_t cl_int;
typedef uint32_t cl_uint;
typedef uint64_t cl_ulong;
typedef cl_uint cl_bool;
typedef cl_ulong cl_bitfield;
typedef cl_uint cl_enum;

typedef struct _cl_platform_id *cl_platform_id;
typedef struct _cl_device_id *cl_device_id;
typedef struct _cl_context *cl_context;
typedef struct _cl_command_queue *cl_command_queue;
typedef struct _cl_mem *cl_mem;
typedef struct _cl_program *cl_program;
typedef struct _cl_kernel *cl_kernel;
typedef struct _cl_event *cl_event;

typedef struct cl_buffer_region {
    size_t origin;
    size_t size;
} cl_buffer_region;

typedef struct cl_image_format {
    cl_uint image_channel_order;
    cl_uint image_channel_data_type;
} cl_image_format;

typedef struct cl_image_desc {
    cl_uint image_type;
    size_t image_width, image_height, image_depth;
    size_t image_array_size, image_row_pitch, image_slice_pitch;
    cl_uint num_mip_levels, num_samples;
    cl_mem buffer;
} cl_image_desc;

enum { CL_SUCCESS = 0, CL_FALSE = 0, CL_TRUE = 1 };
enum { CL_MAP_FAILURE = -12, CL_INVALID_MEM_OBJECT = -38 };

#define CL_DEVICE_TYPE_GPU (1u << 2)
#define CL_DEVICE_TYPE_ALL 0xFFFFFFFFu
#define CL_QUEUE_PROFILING_ENABLE (1u << 1)
#define CL_MEM_READ_WRITE (1u << 0)
#define CL_MEM_READ_ONLY (1u << 2)
#define CL_MEM_ALLOC_HOST_PTR (1u << 4)
#define CL_MEM_COPY_HOST_PTR (1u << 5)
#define CL_MAP_READ (1u << 0)
#define CL_MAP_WRITE (1u << 1)

enum {
    CL_PLATFORM_VERSION = 0x0901,
    CL_PLATFORM_NAME = 0x0902,
    CL_DEVICE_TYPE = 0x1000,
    CL_DEVICE_MAX_MEM_ALLOC_SIZE = 0x1010,
    CL_DEVICE_IMAGE_SUPPORT = 0x1016,
    CL_DEVICE_MEM_BASE_ADDR_ALIGN = 0x1019,
    CL_DEVICE_GLOBAL_MEM_SIZE = 0x101F,
    CL_DEVICE_NAME = 0x102B,
    CL_DRIVER_VERSION = 0x102D,
    CL_DEVICE_VERSION = 0x102F,
    CL_DEVICE_EXTENSIONS = 0x1030,
    CL_DEVICE_HOST_UNIFIED_MEMORY = 0x1035,
    CL_DEVICE_IMAGE_MAX_BUFFER_SIZE = 0x1040,
    CL_RGBA = 0x10B5,
    CL_HALF_FLOAT = 0x10DD,
    CL_FLOAT = 0x10DE,
    CL_MEM_OBJECT_IMAGE1D_BUFFER = 0x10F6,
    CL_PROGRAM_BINARY_SIZES = 0x1165,
    CL_PROGRAM_BINARIES = 0x1166,
    CL_PROGRAM_BUILD_LOG = 0x1183,
    CL_KERNEL_WORK_GROUP_SIZE = 0x11B0,
    CL_EVENT_COMMAND_EXECUTION_STATUS = 0x11D3,
    CL_BUFFER_CREATE_TYPE_REGION = 0x1220,
    CL_PROFILING_COMMAND_START = 0x1282,
    CL_PROFILING_COMMAND_END = 0x1283
};

/* F(result, name, arguments) for each function. */
#define EC_CL_FUNCTIONS(F)                                                                         \
    F(cl_int, GetPlatformIDs, (cl_uint, cl_platform_id *, cl_uint *))                              \
    F(cl_int, GetPlatformInfo, (cl_platform_id, cl_enum, size_t, void *, size_t *))                \
    F(cl_int, GetDeviceIDs, (cl_platform_id, cl_bitfield, cl_uint, cl_device_id *, cl_uint *))     \
    F(cl_int, GetDeviceInfo, (cl_device_id, cl_enum, size_t, void *, size_t *))                    \
    F(cl_context, CreateContext,                                                                   \
      (const intptr_t *, cl_uint, const cl_device_id *,                                            \
       void (*)(const char *, const void *, size_t, void *), void *, cl_int *))                    \
    F(cl_int, ReleaseContext, (cl_context))                                                        \
    F(cl_command_queue, CreateCommandQueue, (cl_context, cl_device_id, cl_bitfield, cl_int *))     \
    F(cl_int, ReleaseCommandQueue, (cl_command_queue))                                             \
    F(cl_int, Flush, (cl_command_queue))                                                           \
    F(cl_int, Finish, (cl_command_queue))                                                          \
    F(cl_mem, CreateBuffer, (cl_context, cl_bitfield, size_t, void *, cl_int *))                   \
    F(cl_mem, CreateSubBuffer, (cl_mem, cl_bitfield, cl_enum, const void *, cl_int *))             \
    F(cl_mem, CreateImage,                                                                         \
      (cl_context, cl_bitfield, const cl_image_format *, const cl_image_desc *, void *, cl_int *)) \
    F(cl_int, ReleaseMemObject, (cl_mem))                                                          \
    F(cl_int, EnqueueReadBuffer,                                                                   \
      (cl_command_queue, cl_mem, cl_bool, size_t, size_t, void *, cl_uint, const cl_event *,       \
       cl_event *))                                                                                \
    F(cl_int, EnqueueWriteBuffer,                                                                  \
      (cl_command_queue, cl_mem, cl_bool, size_t, size_t, const void *, cl_uint, const cl_event *, \
       cl_event *))                                                                                \
    F(void *, EnqueueMapBuffer,                                                                    \
      (cl_command_queue, cl_mem, cl_bool, cl_bitfield, size_t, size_t, cl_uint, const cl_event *,  \
       cl_event *, cl_int *))                                                                      \
    F(cl_int, EnqueueUnmapMemObject,                                                               \
      (cl_command_queue, cl_mem, void *, cl_uint, const cl_event *, cl_event *))                   \
    F(cl_program, CreateProgramWithSource,                                                         \
      (cl_context, cl_uint, const char **, const size_t *, cl_int *))                              \
    F(cl_program, CreateProgramWithBinary,                                                         \
      (cl_context, cl_uint, const cl_device_id *, const size_t *, const unsigned char **,          \
       cl_int *, cl_int *))                                                                        \
    F(cl_int, BuildProgram,                                                                        \
      (cl_program, cl_uint, const cl_device_id *, const char *, void (*)(cl_program, void *),      \
       void *))                                                                                    \
    F(cl_int, GetProgramInfo, (cl_program, cl_enum, size_t, void *, size_t *))                     \
    F(cl_int, GetProgramBuildInfo, (cl_program, cl_device_id, cl_enum, size_t, void *, size_t *))  \
    F(cl_int, ReleaseProgram, (cl_program))                                                        \
    F(cl_kernel, CreateKernel, (cl_program, const char *, cl_int *))                               \
    F(cl_int, SetKernelArg, (cl_kernel, cl_uint, size_t, const void *))                            \
    F(cl_int, GetKernelWorkGroupInfo,                                                              \
      (cl_kernel, cl_device_id, cl_enum, size_t, void *, size_t *))                                \
    F(cl_int, ReleaseKernel, (cl_kernel))                                                          \
    F(cl_int, EnqueueNDRangeKernel,                                                                \
      (cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *,       \
       cl_uint, const cl_event *, cl_event *))                                                     \
    F(cl_int, GetEventInfo, (cl_event, cl_enum, size_t, void *, size_t *))                         \
    F(cl_int, GetEventProfilingInfo, (cl_event, cl_enum, size_t, void *, size_t *))                \
    F(cl_int, ReleaseEvent, (cl_event))

/* A library and its functions. */
typedef struct ec_cl {
    void *library;
    const char *path;
#define EC_CL_POINTER(result, name, arguments) result(*name) arguments;
    EC_CL_FUNCTIONS(EC_CL_POINTER)
#undef EC_CL_POINTER
} ec_cl;

/*
 * Loads the library that EDGECONV_OPENCL names, or else the first of the usual ones. On failure
 * the text goes to `error`, and there is nothing to unload.
 */
ec_status ec_cl_load(ec_cl *cl, char *error);

void ec_cl_unload(ec_cl *cl);

/* An error's name in the specification, such as "CL_OUT_OF_RESOURCES". */
const char *ec_cl_error_name(cl_int code);

#endif
