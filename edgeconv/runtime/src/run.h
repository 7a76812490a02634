/* What a run consists of, for the backends. */
#ifndef EC_RUN_H
#define EC_RUN_H

#include "edgeconv.h"

/* Calls a step of the CPU on model->buffers. On failure the text goes to the model's error. */
ec_status ec_call_step(ec_model *model, uint32_t step);

/* Shows the observer the outputs of a step, which lie where model->buffers says. */
void ec_show_outputs(ec_model *model, uint32_t step);

#endif
