/*
 * Stands before oclgrind, which checks neither the bounds of images nor whether what is read through
 * them was ever written: makes the images of buffers those buffers, and kernels read them through
 * pointers, at the same places. Linked with oclgrind's library, where the search for any other
 * function ends.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl/api.h"

#define API __attribute__((visibility("default")))

cl_int clRetainMemObject(cl_mem); /* oclgrind's */

API cl_mem clCreateImage(cl_context, cl_bitfield, const cl_image_format *, const cl_image_desc *,
                         void *, cl_int *);
API cl_program clCreateProgramWithSource(cl_context, cl_uint, const char **, const size_t *,
                                         cl_int *);

cl_mem clCreateImage(cl_context context, cl_bitfield flags, const cl_image_format *format,
                     const cl_image_desc *description, void *content, cl_int *code)
{
    (void)context, (void)flags, (void)content;
    if (format->image_channel_data_type != CL_FLOAT) {
        fprintf(stderr, "under oclgrind, images of floats only\n");
        abort();
    }
    *code = clRetainMemObject(description->buffer);
    return description->buffer;
}

static const char definitions[] = "#define __read_only __global const\n"
                                  "#define image1d_buffer_t float4 *restrict\n"
                                  "#define read_imagef(image, texel) ((image)[texel])\n";

cl_program clCreateProgramWithSource(cl_context context, cl_uint count, const char **sources,
                                     const size_t *lengths, cl_int *code)
{
    (void)lengths;
    static cl_program (*next)(cl_context, cl_uint, const char **, const size_t *, cl_int *);
    if (!next) {
        void *function = dlsym(RTLD_NEXT, "clCreateProgramWithSource");
        memcpy(&next, &function, sizeof next);
    }
    const char **all = malloc((count + 1) * sizeof *all);
    all[0] = definitions;
    memcpy(all + 1, sources, count * sizeof *all);
    cl_program program = next(context, count + 1, all, NULL, code);
    free(all);
    return program;
}
