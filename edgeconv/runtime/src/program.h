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
typedef enum ec_backend { EC_BACKEND_CPU } ec_backend;

/* One kernel call. `call` picks the kernel's arguments out of the table of all buffers. */
typedef struct ec_step {
    const char *name;
    const char *family;
    int32_t (*call)(void *const *buffers);
    ec_backend backend;
    uint32_t output_count;
    const uint32_t *outputs; /* buffer indices */
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
    uint64_t arena_bytes;
    uint64_t scratch_bytes; /* of one thread */
    uint64_t weights_bytes;
    uint8_t weights_sha256[32];
};

#endif
