/*
 * The OpenCL backend, as the rest of the runtime sees it. Programs of CPU targets are built with
 * cpu_only/no_opencl.c in its place, so that they need no dynamic loader.
 */
#ifndef EC_OPENCL_H
#define EC_OPENCL_H

#include "edgeconv.h"

/* A device with a model's kernels and memory on it. */
typedef struct ec_opencl ec_opencl;

/*
 * Opens a device for `model`, whose weights are mapped and whose own inputs and outputs have host
 * memory; where the device shares the host's memory, moves these to it. `path` is that of ec_open.
 * On success model->opencl is set; on failure the text goes to `error` and nothing is left.
 */
ec_status ec_opencl_open(ec_model *model, const char *path, char *error);

/* Frees everything; NULL is allowed. */
void ec_opencl_close(ec_opencl *opencl);

/* Runs all steps, those of the CPU too; the text goes to the model's error. */
ec_status ec_opencl_run(ec_model *model);

/* The device and its driver, for people. */
const char *ec_opencl_device(const ec_opencl *opencl);

#endif
