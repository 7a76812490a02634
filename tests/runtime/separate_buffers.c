/*
 * Stands before oclgrind, which knows the bounds of buffers, but not those of sub-buffers: makes
 * each sub-buffer a buffer of its own. Equal pieces of a buffer stay one, so that steps still hand
 * their tensors on; only the host does not see them any more, and pieces that overlap in part do not
 * either. Linked with oclgrind's library, where the search for any other function ends.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/api.h"

enum { CL_MEM_FLAGS = 0x1101, CL_MEM_SIZE, CL_MEM_CONTEXT = 0x1106, CL_CONTEXT_DEVICES = 0x1081 };
enum { MAX_PIECES = 4096 };

#define API __attribute__((visibility("default")))

/* oclgrind's. */
cl_int clGetMemObjectInfo(cl_mem, cl_enum, size_t, void *, size_t *);
cl_int clGetContextInfo(cl_context, cl_enum, size_t, void *, size_t *);
cl_int clRetainMemObject(cl_mem);
cl_mem clCreateBuffer(cl_context, cl_bitfield, size_t, void *, cl_int *);
cl_command_queue clCreateCommandQueue(cl_context, cl_device_id, cl_bitfield, cl_int *);
cl_int clEnqueueCopyBuffer(cl_command_queue, cl_mem, cl_mem, size_t, size_t, size_t, cl_uint,
                           const cl_event *, cl_event *);
cl_int clFinish(cl_command_queue);
cl_int clReleaseCommandQueue(cl_command_queue);

API cl_mem clCreateSubBuffer(cl_mem, cl_bitfield, cl_enum, const void *, cl_int *);
API void *clEnqueueMapBuffer(cl_command_queue, cl_mem, cl_bool, cl_bitfield, size_t, size_t,
                             cl_uint, const cl_event *, cl_event *, cl_int *);

/* Pieces are never freed: a program opens one model. */
static struct piece {
    cl_mem whole;
    cl_buffer_region region;
    cl_mem own;
} pieces[MAX_PIECES];
static int piece_count;

/* Only what the host has written: copying would make other memory look initialised. */
static void copy(cl_mem whole, const cl_buffer_region *region, cl_mem own, cl_context context)
{
    cl_device_id device;
    cl_int code;
    clGetContextInfo(context, CL_CONTEXT_DEVICES, sizeof device, &device, NULL);
    cl_command_queue queue = clCreateCommandQueue(context, device, 0, &code);
    clEnqueueCopyBuffer(queue, whole, own, region->origin, 0, region->size, 0, NULL, NULL);
    clFinish(queue);
    clReleaseCommandQueue(queue);
}

static cl_mem separate(cl_mem whole, const cl_buffer_region *region)
{
    cl_context context;
    cl_bitfield flags;
    cl_int code;
    clGetMemObjectInfo(whole, CL_MEM_CONTEXT, sizeof context, &context, NULL);
    clGetMemObjectInfo(whole, CL_MEM_FLAGS, sizeof flags, &flags, NULL);
    cl_mem own = clCreateBuffer(context, CL_MEM_READ_WRITE, region->size, NULL, &code);
    if (flags & CL_MEM_READ_ONLY)
        copy(whole, region, own, context);
    return own;
}

cl_mem clCreateSubBuffer(cl_mem whole, cl_bitfield flags, cl_enum type, const void *info,
                         cl_int *code)
{
    (void)flags, (void)type;
    const cl_buffer_region *region = info;
    *code = CL_SUCCESS;
    size_t bytes;
    clGetMemObjectInfo(whole, CL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    cl_mem found = region->size == bytes ? whole : NULL;
    for (int i = 0; !found && i < piece_count; ++i)
        if (pieces[i].whole == whole && memcmp(&pieces[i].region, region, sizeof *region) == 0)
            found = pieces[i].own;
    if (!found) {
        if (piece_count == MAX_PIECES)
            abort();
        found = separate(whole, region);
        pieces[piece_count++] = (struct piece){whole, *region, found};
    }
    clRetainMemObject(found);
    return found;
}

void *clEnqueueMapBuffer(cl_command_queue queue, cl_mem memory, cl_bool wait, cl_bitfield flags,
                         size_t offset, size_t bytes, cl_uint count, const cl_event *events,
                         cl_event *event, cl_int *code)
{
    for (int i = 0; i < piece_count; ++i)
        if (pieces[i].whole == memory) {
            fprintf(stderr, "under oclgrind, the host cannot see what lies in the arena\n");
            abort();
        }
    static void *(*next)(cl_command_queue, cl_mem, cl_bool, cl_bitfield, size_t, size_t, cl_uint,
                         const cl_event *, cl_event *, cl_int *);
    if (!next) {
        void *function = dlsym(RTLD_NEXT, "clEnqueueMapBuffer");
        memcpy(&next, &function, sizeof next);
    }
    return next(queue, memory, wait, flags, offset, bytes, count, events, event, code);
}
