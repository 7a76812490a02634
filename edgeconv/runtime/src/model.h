/* The inside of ec_model. */
#ifndef EC_MODEL_H
#define EC_MODEL_H

#include <stdatomic.h>

#include "error.h"
#include "pool.h"
#include "program.h"
#include "weights.h"

struct ec_model {
    const ec_program *program;
    ec_weights weights;
    ec_pool pool;
    unsigned char *memory; /* arena, own inputs and outputs, workspaces; one block */
    void **own_inputs;
    void **own_outputs;
    void **inputs; /* what is bound at the moment */
    void **outputs;
    void **buffers; /* the address of each of the program's buffers */
    uint64_t *step_ns;
    ec_observer observer;
    void *observer_user;
    atomic_flag running;
    char error[EC_ERROR_TEXT_BYTES];
};

#endif
