/* The inside of ec_model. */
#ifndef EC_MODEL_H
#define EC_MODEL_H

#include <stdatomic.h>

#include "error.h"
#include "opencl.h"
#include "pool.h"
#include "program.h"
#include "weights.h"

struct ec_model {
    const ec_program *program;
    ec_weights weights;
    ec_pool pool;
    ec_opencl *opencl; /* the device; NULL for a program of the CPU */
    void *memory;      /* arena, own inputs and outputs, workspaces; one block */
    unsigned char *arena;
    void **own_inputs; /* outputs follow inputs in one table */
    void **own_outputs;
    void **inputs; /* what is bound at the moment; likewise */
    void **outputs;
    void **buffers; /* the address of each of the program's buffers; on a device, while mapped */
    uint64_t *step_ns;
    ec_observer observer;
    void *observer_user;
    atomic_flag running;
    char error[EC_ERROR_TEXT_BYTES];
};

#endif
