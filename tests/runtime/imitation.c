/*
 * An imitation of an OpenCL library: it computes the network of c_programs at once, fails where a
 * test wants it to, and notices what the specification does not allow.
 */
#include "imitation.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/api.h"

enum { CL_OUT_OF_RESOURCES = -5, CL_BUILD_PROGRAM_FAILURE = -11, CL_INVALID_BINARY = -42 };
enum { CL_DEVICE_NOT_FOUND = -1, CL_PLATFORM_NOT_FOUND_KHR = -1001, CL_INVALID_KERNEL_NAME = -46 };
enum { COUNT = 703, COLUMNS = 19, MAX_MAPPINGS = 8, MAX_ARGUMENTS = 4, MAX_DEVICES = 4 };
enum { TEXEL_BYTES = 16 };

#define API __attribute__((visibility("default")))

API extern imitation_state imitation;
imitation_state imitation = IMITATION_DEFAULT;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

typedef struct mapping {
    size_t begin, end;
    unsigned char *data;
} mapping;

struct _cl_platform_id {
    struct _cl_device_id {
        bool gpu;
    } devices[MAX_DEVICES];
};
struct _cl_context {
    int live;
};
struct _cl_command_queue {
    cl_int error; /* of a kernel that failed since the last clFinish */
};
struct _cl_mem {
    cl_mem parent; /* of a sub-buffer; of an image, its buffer */
    bool image;
    size_t begin, bytes;
    unsigned char *data; /* NULL for a sub-buffer */
    mapping mappings[MAX_MAPPINGS];
};
struct _cl_program {
    bool built;
    bool from_binary;
};
struct _cl_kernel {
    int number;
    cl_mem arguments[MAX_ARGUMENTS];
    cl_int first; /* texel of the argument that is an image */
};
struct _cl_event {
    cl_int status;
};

static const char *const kernel_names[] = {"ec_k_add", "ec_k_scale", "ec_k_relu_count",
                                           "ec_k_scale_image", "ec_k_relu_count_image"};
enum { ADD, SCALE, RELU_COUNT, SCALE_IMAGE, RELU_COUNT_IMAGE, KERNELS };
/* Which argument is an image. */
static const int image_arguments[KERNELS] = {-1, -1, -1, 1, 0};
static const char binary_text[] = "the network's kernels, built";
static struct _cl_platform_id platform_table[MAX_DEVICES];

static void misuse(const char *what)
{
    if (!imitation.misuse[0])
        snprintf(imitation.misuse, sizeof imitation.misuse, "%s", what);
}

static void expect(bool allowed, const char *what)
{
    if (!allowed)
        misuse(what);
}

static bool fails(const char *function)
{
    if (++imitation.calls != imitation.fail_at)
        return false;
    snprintf(imitation.failed, sizeof imitation.failed, "%s", function);
    return true;
}

static void *create(size_t bytes)
{
    ++imitation.live;
    return calloc(1, bytes);
}

static cl_int release(void *object)
{
    --imitation.live;
    free(object);
    return CL_SUCCESS;
}

/* Every function holds the mutex; `result` and what it does stand in a function of its own. */
#define DEFINE(type, name, parameters, arguments)                                                  \
    static type do_##name parameters;                                                              \
    API type cl##name parameters;                                                                  \
    API type cl##name parameters                                                                   \
    {                                                                                              \
        pthread_mutex_lock(&mutex);                                                                \
        type result = do_##name arguments;                                                         \
        pthread_mutex_unlock(&mutex);                                                              \
        return result;                                                                             \
    }                                                                                              \
    static type do_##name parameters

#define FAIL_HERE(name)                                                                            \
    if (fails(#name))                                                                              \
    return CL_OUT_OF_RESOURCES

#define FAIL_OBJECT(name)                                                                          \
    *code = fails(#name) ? CL_OUT_OF_RESOURCES : CL_SUCCESS;                                       \
    if (*code != CL_SUCCESS)                                                                       \
    return NULL

static cl_int give(const void *value, size_t bytes, size_t room, void *to, size_t *needed)
{
    if (needed)
        *needed = bytes;
    if (to && room < bytes)
        return -30; /* CL_INVALID_VALUE */
    if (to)
        memcpy(to, value, bytes);
    return CL_SUCCESS;
}

static cl_int give_text(const char *text, size_t room, void *to, size_t *needed)
{
    return give(text, strlen(text) + 1, room, to, needed);
}

DEFINE(cl_int, GetPlatformIDs, (cl_uint room, cl_platform_id *platforms, cl_uint *count),
       (room, platforms, count))
{
    FAIL_HERE(clGetPlatformIDs);
    for (uint32_t i = 0; i < imitation.platforms && i < room; ++i)
        platforms[i] = &platform_table[i];
    *count = imitation.platforms;
    return imitation.platforms ? CL_SUCCESS : CL_PLATFORM_NOT_FOUND_KHR;
}

DEFINE(cl_int, GetPlatformInfo,
       (cl_platform_id platform, cl_enum what, size_t room, void *to, size_t *needed),
       (platform, what, room, to, needed))
{
    FAIL_HERE(clGetPlatformInfo);
    (void)platform;
    return give_text(what == CL_PLATFORM_NAME ? "Imitation" : "OpenCL 1.2", room, to, needed);
}

DEFINE(cl_int, GetDeviceIDs,
       (cl_platform_id platform, cl_bitfield type, cl_uint room, cl_device_id *devices,
        cl_uint *count),
       (platform, type, room, devices, count))
{
    FAIL_HERE(clGetDeviceIDs);
    expect(type == CL_DEVICE_TYPE_ALL, "clGetDeviceIDs: type");
    bool last = platform == &platform_table[imitation.platforms - 1];
    for (uint32_t i = 0; i < imitation.devices && i < room; ++i) {
        devices[i] = &platform->devices[i];
        devices[i]->gpu = last && i + 1 == imitation.devices;
    }
    *count = imitation.devices;
    return imitation.devices ? CL_SUCCESS : CL_DEVICE_NOT_FOUND;
}

DEFINE(cl_int, GetDeviceInfo,
       (cl_device_id device, cl_enum what, size_t room, void *to, size_t *needed),
       (device, what, room, to, needed))
{
    FAIL_HERE(clGetDeviceInfo);
    cl_bitfield type = device->gpu ? CL_DEVICE_TYPE_GPU : 1u << 1;
    cl_bool unified = imitation.unified, images = imitation.image_texels > 0;
    switch (what) {
    case CL_DEVICE_TYPE:
        return give(&type, sizeof type, room, to, needed);
    case CL_DEVICE_NAME:
        return give_text(device->gpu ? "Paper GPU" : "Paper CPU", room, to, needed);
    case CL_DEVICE_VERSION:
        return give_text("OpenCL 1.2 paper", room, to, needed);
    case CL_DEVICE_EXTENSIONS:
        return give_text(imitation.extensions, room, to, needed);
    case CL_DRIVER_VERSION:
        return give_text("7", room, to, needed);
    case CL_DEVICE_HOST_UNIFIED_MEMORY:
        return give(&unified, sizeof unified, room, to, needed);
    case CL_DEVICE_GLOBAL_MEM_SIZE:
        return give(&imitation.memory, sizeof(cl_ulong), room, to, needed);
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE:
        return give(&imitation.largest_block, sizeof(cl_ulong), room, to, needed);
    case CL_DEVICE_IMAGE_SUPPORT:
        return give(&images, sizeof images, room, to, needed);
    case CL_DEVICE_IMAGE_MAX_BUFFER_SIZE:
        expect(images, "clGetDeviceInfo: images of a device that has none");
        return give(&imitation.image_texels, sizeof(size_t), room, to, needed);
    case CL_DEVICE_MEM_BASE_ADDR_ALIGN:
        return give(&imitation.alignment_bits, sizeof(cl_uint), room, to, needed);
    default:
        misuse("clGetDeviceInfo: not imitated");
        return -30;
    }
}

DEFINE(cl_context, CreateContext,
       (const intptr_t *properties, cl_uint count, const cl_device_id *devices,
        void (*notify)(const char *, const void *, size_t, void *), void *user, cl_int *code),
       (properties, count, devices, notify, user, code))
{
    (void)properties, (void)devices, (void)notify, (void)user;
    FAIL_OBJECT(clCreateContext);
    expect(count == 1, "clCreateContext: devices");
    return create(sizeof(struct _cl_context));
}

DEFINE(cl_int, ReleaseContext, (cl_context context), (context))
{
    return release(context);
}

DEFINE(cl_command_queue, CreateCommandQueue,
       (cl_context context, cl_device_id device, cl_bitfield properties, cl_int *code),
       (context, device, properties, code))
{
    (void)context, (void)device;
    FAIL_OBJECT(clCreateCommandQueue);
    expect(properties == CL_QUEUE_PROFILING_ENABLE, "clCreateCommandQueue: properties");
    return create(sizeof(struct _cl_command_queue));
}

DEFINE(cl_int, ReleaseCommandQueue, (cl_command_queue queue), (queue))
{
    return release(queue);
}

DEFINE(cl_int, Flush, (cl_command_queue queue), (queue))
{
    (void)queue;
    FAIL_HERE(clFlush);
    return CL_SUCCESS;
}

DEFINE(cl_int, Finish, (cl_command_queue queue), (queue))
{
    FAIL_HERE(clFinish);
    cl_int error = queue->error;
    queue->error = CL_SUCCESS;
    return error;
}

DEFINE(cl_mem, CreateBuffer,
       (cl_context context, cl_bitfield flags, size_t bytes, void *content, cl_int *code),
       (context, flags, bytes, content, code))
{
    (void)context;
    FAIL_OBJECT(clCreateBuffer);
    expect(bytes > 0, "clCreateBuffer: no bytes");
    expect(!content == !(flags & CL_MEM_COPY_HOST_PTR), "clCreateBuffer: host pointer");
    cl_mem memory = create(sizeof *memory);
    memory->bytes = bytes;
    memory->data = malloc(bytes);
    if (content)
        memcpy(memory->data, content, bytes);
    else
        memset(memory->data, 0x55, bytes);
    ++imitation.buffers;
    return memory;
}

DEFINE(cl_mem, CreateSubBuffer,
       (cl_mem parent, cl_bitfield flags, cl_enum type, const void *info, cl_int *code),
       (parent, flags, type, info, code))
{
    (void)flags;
    FAIL_OBJECT(clCreateSubBuffer);
    const cl_buffer_region *region = info;
    expect(type == CL_BUFFER_CREATE_TYPE_REGION && !parent->parent, "clCreateSubBuffer");
    expect(region->origin % (imitation.alignment_bits / 8) == 0, "clCreateSubBuffer: alignment");
    expect(region->size > 0 && region->origin + region->size <= parent->bytes,
           "clCreateSubBuffer: size");
    cl_mem memory = create(sizeof *memory);
    *memory = (struct _cl_mem){.parent = parent, .begin = region->origin, .bytes = region->size};
    ++imitation.buffers;
    return memory;
}

DEFINE(cl_mem, CreateImage,
       (cl_context context, cl_bitfield flags, const cl_image_format *format,
        const cl_image_desc *description, void *content, cl_int *code),
       (context, flags, format, description, content, code))
{
    (void)context;
    FAIL_OBJECT(clCreateImage);
    cl_mem buffer = description->buffer;
    expect(flags == CL_MEM_READ_ONLY && !content, "clCreateImage: flags");
    expect(format->image_channel_order == CL_RGBA && format->image_channel_data_type == CL_FLOAT,
           "clCreateImage: format");
    expect(description->image_type == CL_MEM_OBJECT_IMAGE1D_BUFFER, "clCreateImage: type");
    expect(description->image_width > 0 && description->image_width <= imitation.image_texels
               && description->image_width * TEXEL_BYTES <= buffer->bytes,
           "clCreateImage: width");
    if (imitation.only_whole_images && buffer->parent) {
        *code = CL_INVALID_MEM_OBJECT;
        return NULL;
    }
    cl_mem memory = create(sizeof *memory);
    *memory = (struct _cl_mem){.parent = buffer, .bytes = buffer->bytes, .image = true};
    ++imitation.images;
    return memory;
}

DEFINE(cl_int, ReleaseMemObject, (cl_mem memory), (memory))
{
    for (int i = 0; i < MAX_MAPPINGS; ++i)
        if (memory->mappings[i].data && !imitation.unified)
            free(memory->mappings[i].data);
    free(memory->data);
    return release(memory);
}

/* Whether the host has a piece of the buffer. */
static bool is_mapped(cl_mem memory, size_t begin, size_t end)
{
    cl_mem root = memory->parent ? memory->parent : memory;
    for (int i = 0; i < MAX_MAPPINGS; ++i) {
        const mapping *at = &root->mappings[i];
        if (at->data && at->begin < memory->begin + end && memory->begin + begin < at->end)
            return true;
    }
    return false;
}

DEFINE(cl_int, EnqueueReadBuffer,
       (cl_command_queue queue, cl_mem memory, cl_bool wait, size_t offset, size_t bytes, void *to,
        cl_uint count, const cl_event *events, cl_event *event),
       (queue, memory, wait, offset, bytes, to, count, events, event))
{
    (void)queue, (void)wait, (void)count, (void)events, (void)event;
    FAIL_HERE(clEnqueueReadBuffer);
    expect(bytes > 0 && offset + bytes <= memory->bytes, "clEnqueueReadBuffer: size");
    memcpy(to, memory->data + offset, bytes);
    ++imitation.reads;
    return CL_SUCCESS;
}

DEFINE(cl_int, EnqueueWriteBuffer,
       (cl_command_queue queue, cl_mem memory, cl_bool wait, size_t offset, size_t bytes,
        const void *from, cl_uint count, const cl_event *events, cl_event *event),
       (queue, memory, wait, offset, bytes, from, count, events, event))
{
    (void)queue, (void)wait, (void)count, (void)events, (void)event;
    FAIL_HERE(clEnqueueWriteBuffer);
    expect(bytes > 0 && offset + bytes <= memory->bytes, "clEnqueueWriteBuffer: size");
    expect(!is_mapped(memory, offset, offset + bytes), "clEnqueueWriteBuffer: mapped");
    memcpy(memory->data + offset, from, bytes);
    ++imitation.writes;
    return CL_SUCCESS;
}

/* Where memory is not shared, the host gets a copy, which goes back when it is unmapped. */
DEFINE(void *, EnqueueMapBuffer,
       (cl_command_queue queue, cl_mem memory, cl_bool wait, cl_bitfield flags, size_t offset,
        size_t bytes, cl_uint count, const cl_event *events, cl_event *event, cl_int *code),
       (queue, memory, wait, flags, offset, bytes, count, events, event, code))
{
    (void)queue, (void)wait, (void)flags, (void)count, (void)events, (void)event;
    FAIL_OBJECT(clEnqueueMapBuffer);
    expect(bytes > 0 && offset + bytes <= memory->bytes, "clEnqueueMapBuffer: size");
    expect(!is_mapped(memory, offset, offset + bytes), "clEnqueueMapBuffer: mapped twice");
    mapping *free_one = memory->mappings;
    while (free_one->data)
        ++free_one;
    if (imitation.unified && imitation.wanders && !is_mapped(memory, 0, memory->bytes)) {
        unsigned char *elsewhere = malloc(memory->bytes);
        memcpy(elsewhere, memory->data, memory->bytes);
        free(memory->data);
        memory->data = elsewhere;
    }
    unsigned char *data = memory->data + offset;
    if (!imitation.unified)
        data = memcpy(malloc(bytes), data, bytes);
    *free_one = (mapping){offset, offset + bytes, data};
    ++imitation.maps;
    return data;
}

DEFINE(cl_int, EnqueueUnmapMemObject,
       (cl_command_queue queue, cl_mem memory, void *data, cl_uint count, const cl_event *events,
        cl_event *event),
       (queue, memory, data, count, events, event))
{
    (void)queue, (void)count, (void)events, (void)event;
    FAIL_HERE(clEnqueueUnmapMemObject);
    for (int i = 0; i < MAX_MAPPINGS; ++i) {
        mapping *at = &memory->mappings[i];
        if (!data || at->data != data)
            continue;
        if (!imitation.unified) {
            memcpy(memory->data + at->begin, data, at->end - at->begin);
            free(data);
        }
        at->data = NULL;
        return CL_SUCCESS;
    }
    misuse("clEnqueueUnmapMemObject: not mapped");
    return -30;
}

DEFINE(cl_program, CreateProgramWithSource,
       (cl_context context, cl_uint count, const char **sources, const size_t *lengths,
        cl_int *code),
       (context, count, sources, lengths, code))
{
    (void)context, (void)lengths;
    FAIL_OBJECT(clCreateProgramWithSource);
    expect(count == 1 && strstr(sources[0], "__kernel"), "clCreateProgramWithSource: sources");
    ++imitation.sources;
    return create(sizeof(struct _cl_program));
}

DEFINE(cl_program, CreateProgramWithBinary,
       (cl_context context, cl_uint count, const cl_device_id *devices, const size_t *bytes,
        const unsigned char **binaries, cl_int *loaded, cl_int *code),
       (context, count, devices, bytes, binaries, loaded, code))
{
    (void)context, (void)count, (void)devices;
    FAIL_OBJECT(clCreateProgramWithBinary);
    bool same = !imitation.refuses_binaries && *bytes == sizeof binary_text
                && memcmp(*binaries, binary_text, *bytes) == 0;
    *loaded = *code = same ? CL_SUCCESS : CL_INVALID_BINARY;
    if (!same)
        return NULL;
    ++imitation.binaries;
    cl_program program = create(sizeof *program);
    program->from_binary = true;
    return program;
}

DEFINE(cl_int, BuildProgram,
       (cl_program program, cl_uint count, const cl_device_id *devices, const char *options,
        void (*notify)(cl_program, void *), void *user),
       (program, count, devices, options, notify, user))
{
    (void)count, (void)devices, (void)options, (void)notify, (void)user;
    FAIL_HERE(clBuildProgram);
    if (imitation.build_log && !program->from_binary)
        return CL_BUILD_PROGRAM_FAILURE;
    program->built = true;
    return CL_SUCCESS;
}

DEFINE(cl_int, GetProgramInfo,
       (cl_program program, cl_enum what, size_t room, void *to, size_t *needed),
       (program, what, room, to, needed))
{
    (void)program, (void)needed;
    FAIL_HERE(clGetProgramInfo);
    size_t bytes = sizeof binary_text;
    if (what == CL_PROGRAM_BINARY_SIZES)
        return give(&bytes, sizeof bytes, room, to, needed);
    expect(room == sizeof(void *), "clGetProgramInfo: binaries");
    memcpy(*(unsigned char **)to, binary_text, sizeof binary_text);
    return CL_SUCCESS;
}

DEFINE(cl_int, GetProgramBuildInfo,
       (cl_program program, cl_device_id device, cl_enum what, size_t room, void *to,
        size_t *needed),
       (program, device, what, room, to, needed))
{
    (void)program, (void)device;
    FAIL_HERE(clGetProgramBuildInfo);
    expect(what == CL_PROGRAM_BUILD_LOG, "clGetProgramBuildInfo: not imitated");
    return give_text(imitation.build_log ? imitation.build_log : "", room, to, needed);
}

DEFINE(cl_int, ReleaseProgram, (cl_program program), (program))
{
    return release(program);
}

DEFINE(cl_kernel, CreateKernel, (cl_program program, const char *name, cl_int *code),
       (program, name, code))
{
    FAIL_OBJECT(clCreateKernel);
    expect(program->built, "clCreateKernel: program is not built");
    for (int i = 0; i < KERNELS; ++i)
        if (strcmp(name, kernel_names[i]) == 0) {
            cl_kernel kernel = create(sizeof *kernel);
            kernel->number = i;
            return kernel;
        }
    *code = CL_INVALID_KERNEL_NAME;
    return NULL;
}

DEFINE(cl_int, SetKernelArg, (cl_kernel kernel, cl_uint index, size_t bytes, const void *value),
       (kernel, index, bytes, value))
{
    FAIL_HERE(clSetKernelArg);
    int image = image_arguments[kernel->number];
    if (image >= 0 && (int)index == image + 1) {
        expect(bytes == sizeof kernel->first, "clSetKernelArg: first texel");
        memcpy(&kernel->first, value, sizeof kernel->first);
        return CL_SUCCESS;
    }
    cl_uint position = index - (image >= 0 && (int)index > image);
    expect(position < 3 && bytes == sizeof(cl_mem), "clSetKernelArg");
    memcpy(&kernel->arguments[position], value, sizeof(cl_mem));
    expect(kernel->arguments[position]->image == ((int)position == image),
           "clSetKernelArg: image or pointer");
    return CL_SUCCESS;
}

DEFINE(cl_int, GetKernelWorkGroupInfo,
       (cl_kernel kernel, cl_device_id device, cl_enum what, size_t room, void *to, size_t *needed),
       (kernel, device, what, room, to, needed))
{
    (void)kernel, (void)device;
    FAIL_HERE(clGetKernelWorkGroupInfo);
    expect(what == CL_KERNEL_WORK_GROUP_SIZE, "clGetKernelWorkGroupInfo: not imitated");
    return give(&imitation.work_group, sizeof imitation.work_group, room, to, needed);
}

DEFINE(cl_int, ReleaseKernel, (cl_kernel kernel), (kernel))
{
    return release(kernel);
}

static void *argument(const struct _cl_kernel *kernel, int index)
{
    cl_mem memory = kernel->arguments[index];
    size_t begin = 0;
    if (memory->image) {
        begin = (size_t)kernel->first * TEXEL_BYTES;
        memory = memory->parent;
    }
    begin += memory->begin;
    return (memory->parent ? memory->parent : memory)->data + begin;
}

static void compute(const struct _cl_kernel *kernel)
{
    const float *x = argument(kernel, 0);
    float *second = argument(kernel, 1);
    float *third = argument(kernel, 2);
    int32_t positives = 0;
    int number = kernel->number < SCALE_IMAGE ? kernel->number : kernel->number - 2;
    for (int i = 0; i < COUNT; ++i) {
        if (number == ADD)
            third[i] = x[i] + second[i];
        else if (number == SCALE)
            third[i] = x[i] * second[i % COLUMNS];
        else
            second[i] = x[i] < 0 ? 0 : x[i];
        positives += x[i] > 0;
    }
    if (number == RELU_COUNT)
        memcpy(third, &positives, sizeof positives);
}

DEFINE(cl_int, EnqueueNDRangeKernel,
       (cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t *offset,
        const size_t *global, const size_t *local, cl_uint count, const cl_event *events,
        cl_event *event),
       (queue, kernel, dimensions, offset, global, local, count, events, event))
{
    (void)offset, (void)count, (void)events;
    FAIL_HERE(clEnqueueNDRangeKernel);
    for (cl_uint i = 0; i < dimensions; ++i)
        expect(local[i] && global[i] % local[i] == 0, "clEnqueueNDRangeKernel: sizes");
    for (int i = 0; i < 3; ++i) {
        cl_mem memory = kernel->arguments[i];
        expect(memory && !is_mapped(memory, 0, memory->bytes), "clEnqueueNDRangeKernel: mapped");
    }
    *event = create(sizeof **event);
    if (++imitation.launches == imitation.fail_launch)
        queue->error = (*event)->status = CL_OUT_OF_RESOURCES;
    else
        compute(kernel);
    return CL_SUCCESS;
}

DEFINE(cl_int, GetEventInfo,
       (cl_event event, cl_enum what, size_t room, void *to, size_t *needed),
       (event, what, room, to, needed))
{
    FAIL_HERE(clGetEventInfo);
    expect(what == CL_EVENT_COMMAND_EXECUTION_STATUS, "clGetEventInfo: not imitated");
    return give(&event->status, sizeof event->status, room, to, needed);
}

/* Each kernel takes two microseconds. */
DEFINE(cl_int, GetEventProfilingInfo,
       (cl_event event, cl_enum what, size_t room, void *to, size_t *needed),
       (event, what, room, to, needed))
{
    (void)event;
    FAIL_HERE(clGetEventProfilingInfo);
    cl_ulong time = what == CL_PROFILING_COMMAND_START ? 1000000 : 1002000;
    return give(&time, sizeof time, room, to, needed);
}

DEFINE(cl_int, ReleaseEvent, (cl_event event), (event))
{
    return release(event);
}
