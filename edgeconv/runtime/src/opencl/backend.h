/* The inside of ec_opencl. */
#ifndef EC_OPENCL_BACKEND_H
#define EC_OPENCL_BACKEND_H

#include <stdbool.h>

#include "../model.h"
#include "api.h"

enum { EC_CL_TEXT_BYTES = 800, EC_CL_IDENTITY_BYTES = 1536 };

typedef struct ec_cl_device {
    cl_device_id id;
    char text[EC_CL_TEXT_BYTES];         /* for people */
    char identity[EC_CL_IDENTITY_BYTES]; /* what binaries depend on beside their source; or "" */
    bool unified;                        /* it shares the host's memory */
    uint64_t memory;
    uint64_t largest_block;
    uint64_t alignment; /* of sub-buffers, in bytes */
    uint64_t image_texels; /* of an image of a buffer, at most; 0 without images */
} ec_cl_device;

/* One allocation: the arena, the weights, an input or an output. */
typedef struct ec_cl_block {
    cl_mem memory;
    uint64_t bytes;
    void *own;   /* an input or output where host and device share it: its address; else NULL */
    bool mapped; /* at `own` */
} ec_cl_block;

/* An image of a buffer, and the buffer's first texel in it. */
typedef struct ec_cl_image {
    cl_mem memory;
    cl_int first;
} ec_cl_image;

/* Where blocks stand in their table; those of the inputs and then of the outputs come last. */
enum { EC_CL_ARENA, EC_CL_WEIGHTS, EC_CL_TENSORS };

/* A piece of a block, mapped for the host. */
typedef struct ec_cl_view {
    ec_cl_block *block;
    uint64_t begin, end;
    unsigned char *data;
} ec_cl_view;

struct ec_opencl {
    ec_cl cl;
    ec_cl_device device;
    cl_context context;
    cl_command_queue queue;
    cl_program program;
    ec_cl_block *blocks;
    uint32_t block_count;
    cl_mem *buffers; /* a sub-buffer for each of the program's buffers; NULL where no kernel's */
    ec_cl_image *images; /* of the program's buffers that kernels read so; else all NULL */
    uint32_t buffer_count;
    cl_kernel *kernels; /* one for each step, with its arguments; NULL for a step of the CPU */
    cl_event *events;   /* of the present run, one for each step; likewise */
    uint32_t step_count;
    ec_cl_view *views; /* of the present step of the CPU */
    uint32_t view_count;
};

/* Writes "TEXT: ERROR NAME (CODE)" and returns `status`. */
__attribute__((format(printf, 4, 5))) ec_status ec_cl_fail(char *error, ec_status status,
                                                           cl_int code, const char *format, ...);

/* What a part of a run, such as "copying an input", came to. */
ec_status ec_cl_check_run(const ec_opencl *opencl, ec_model *model, cl_int code, const char *part);

/* Chooses a device. */
ec_status ec_cl_find_device(ec_cl *cl, ec_cl_device *device, char *error);

/* Whether the device has what the program's kernels take beyond OpenCL C 1.2. */
ec_status ec_cl_check_extensions(ec_cl *cl, const ec_cl_device *device, const ec_program *program,
                                 char *error);

/* Builds opencl->program, from the cache or the sources. `path` is that of ec_open. */
ec_status ec_cl_build(ec_opencl *opencl, const ec_program *program, const char *path, char *error);

/* Reserves the device's memory, uploads the weights, and moves own inputs and outputs there. */
ec_status ec_cl_reserve(ec_opencl *opencl, ec_model *model, char *error);
void ec_cl_release_memory(ec_opencl *opencl);

/* Makes the images of buffers, which have to be there. */
ec_status ec_cl_create_images(ec_opencl *opencl, const ec_program *program, char *error);
void ec_cl_release_images(ec_opencl *opencl);

static inline uint32_t ec_operand_count(const ec_step *step)
{
    return step->input_count + step->output_count;
}

static inline ec_binding ec_binding_of(const ec_step *step, uint32_t operand)
{
    return step->bindings ? step->bindings[operand] : EC_POINTER;
}

/* The block that a buffer lies in. */
ec_cl_block *ec_cl_block_of(ec_opencl *opencl, const ec_program *program, const ec_buffer *buffer);

/* Maps a piece of a block for the host, and waits for its content if told to. */
void *ec_cl_map_range(ec_opencl *opencl, const ec_cl_block *block, cl_bool wait, uint64_t begin,
                      uint64_t end, cl_int *code);
cl_int ec_cl_unmap_range(ec_opencl *opencl, const ec_cl_block *block, void *data);

/* Makes the kernels and sets their arguments. */
ec_status ec_cl_prepare_steps(ec_opencl *opencl, const ec_program *program, char *error);
void ec_cl_release_steps(ec_opencl *opencl);

/*
 * Before and after the steps of a run: what was bound is copied to and from the device, and own
 * inputs and outputs are the device's in between. ec_cl_collect waits until all is done, after a
 * failure, `status`, too; returns it or its own. Texts go to the model's error.
 */
ec_status ec_cl_hand_over(ec_opencl *opencl, ec_model *model);
ec_status ec_cl_collect(ec_opencl *opencl, ec_model *model, ec_status status);

/*
 * Maps `count` operands of a step, and points model->buffers to them; waits for the steps before.
 * ec_cl_unmap ends it; also after a failure.
 */
ec_status ec_cl_map(ec_opencl *opencl, ec_model *model, const uint32_t *operands, uint32_t count);
ec_status ec_cl_unmap(ec_opencl *opencl, ec_model *model);

#endif
