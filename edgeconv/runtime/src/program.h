/* The program descriptor: what the compiler generates for one network, as constant tables. */
#ifndef EC_PROGRAM_H
#define EC_PROGRAM_H

#include "edgeconv.h"

typedef enum ec_space { EC_ARENA, EC_WEIGHTS, EC_INPUT, EC_OUTPUT } ec_space;

/* One tensor in memory. `index` is the input's or output's position, else 0. */
typedef struct ec_buffer {
    ec_space space;
    uint32_t index;
    uint64_t offset;
    uint64_t bytes;
} ec_buffer;

/* Which part of the runtime executes a step. ec_open refuses a tag that is not listed here. */
typedef enum ec_backend { EC_BACKEND_CPU, EC_BACKEND_OPENCL } ec_backend;

/*
 * How an OpenCL kernel takes an operand: as a pointer; or as an image of texels of four floats or
 * halves, which the next argument follows, an int, the operand's first texel.
 */
typedef enum ec_binding { EC_POINTER, EC_FLOAT_IMAGE, EC_HALF_IMAGE } ec_binding;

/*
 * One kernel call. On the CPU, `call` picks the kernel's arguments out of the table of all buffers.
 * The arguments of an OpenCL kernel are its inputs and then its outputs.
 */
typedef struct ec_step {
    const char *name;
    const char *family;
    ec_backend backend;
    int32_t (*call)(void *const *buffers); /* CPU, else NULL */
    const char *kernel;                    /* OpenCL: a function of opencl_sources, else NULL */
    uint32_t global_size[3];               /* OpenCL: work-items; multiples of local_size */
    uint32_t local_size[3];
    uint32_t input_count;
    uint32_t output_count;
    const uint32_t *operands; /* buffer indices of the inputs, then of the outputs */
    const ec_binding *bindings; /* OpenCL: of each operand; NULL: all are pointers */
    uint64_t macs;
} ec_step;

struct ec_program {
    uint32_t api_version; /* first, so that any version of the runtime can read it */
    uint32_t input_count;
    uint32_t output_count;
    uint32_t buffer_count;
    uint32_t step_count;
    uint32_t golden_cases;
    const char *model;
    const char *target;
    const ec_tensor_info *inputs;
    const ec_tensor_info *outputs;
    const ec_buffer *buffers;
    const ec_step *steps;
    uint32_t opencl_source_count; /* 0: the program needs no OpenCL */
    uint32_t half_arithmetic; /* not 0: they take a device with cl_khr_fp16 */
    const char *const *opencl_sources; /* OpenCL C 1.2, to be built as one program */
    uint64_t arena_bytes;
    uint64_t scratch_bytes; /* of one thread */
    uint64_t weights_bytes;
    uint8_t weights_sha256[32];
    uint8_t opencl_sha256[32]; /* of the sources, one after the other */
};

#endif
