/* The runner: a program around one network, for a shell on the device. */
#ifndef EC_RUNNER_H
#define EC_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include "../program.h"

/* Exit codes. Functions that return one have already explained a failure on stderr. */
enum { RUN_OK = 0, RUN_USAGE = 2, RUN_CANNOT_LOAD = 3, RUN_STEP_FAILED = 4, RUN_TEST_FAILED = 5 };

typedef struct runner_options {
    const char *folder;
    uint32_t threads;
    uint32_t warmup;
    uint32_t repeat;
    bool profile;
    bool self_test;
    bool describe;
    bool pin;
    bool help;
    const char *dump_folder; /* or NULL */
    const char **inputs;     /* a file, or NULL, for each input of the program */
    const char **outputs;    /* and for each output */
} runner_options;

extern const char runner_usage[];

/* Reads the command line into options that are zero except for `inputs` and `outputs`, which have
   room for all files of the program. */
int runner_parse(runner_options *options, const ec_program *program, int argc, char **argv);

/* ec_run with its error on stderr. */
int runner_run(ec_model *model);

#endif
