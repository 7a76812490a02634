/* The self-test: the golden inputs against the golden outputs that came with the artifact. */
#ifndef EC_SELFTEST_H
#define EC_SELFTEST_H

#include "json.h"
#include "runner.h"

/* Reads golden case `number` into the model's bound inputs. */
int load_golden_inputs(ec_model *model, const ec_program *program, const char *folder,
                       uint32_t number);

/* Runs all cases and writes "self_test". */
int run_self_test(json *json, ec_model *model, const ec_program *program, const char *folder);

#endif
