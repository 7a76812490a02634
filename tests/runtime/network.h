/* The network of c_programs, for programs that drive the C interface. */
#ifndef NETWORK_H
#define NETWORK_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "program.h"

enum { ROWS = 37, COLUMNS = 19, COUNT = ROWS * COLUMNS, BYTES = COUNT * 4 };

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s; errors: \"%s\"\n", __LINE__, #condition,                 \
                    ec_last_error(NULL));                                                          \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

typedef struct tensors {
    float a[COUNT], b[COUNT], y[COUNT];
    int32_t positives;
} tensors;

static inline void fill(tensors *t, float phase)
{
    for (int i = 0; i < COUNT; ++i) {
        t->a[i] = sinf((float)i + phase);
        t->b[i] = cosf((float)(3 * i) - phase);
        t->y[i] = NAN;
    }
    t->positives = -1;
}

static inline void check_outputs(const tensors *t, int scales)
{
    int positives = 0;
    for (int i = 0; i < COUNT; ++i) {
        float want = t->a[i] + t->b[i];
        for (int s = 0; s < scales; ++s)
            want *= 0.5f + 1.5f * (float)(i % COLUMNS) / (COLUMNS - 1);
        positives += want > 0;
        CHECK(fabsf(t->y[i] - (want > 0 ? want : 0)) < 1e-5f);
    }
    CHECK(t->positives == positives);
}

static inline void bind(ec_model *model, tensors *t)
{
    CHECK(ec_bind_input(model, 0, t->a, BYTES) == EC_OK);
    CHECK(ec_bind_input(model, 1, t->b, BYTES) == EC_OK);
    CHECK(ec_bind_output(model, 0, t->y, BYTES) == EC_OK);
    CHECK(ec_bind_output(model, 1, &t->positives, 4) == EC_OK);
}

static inline ec_model *open_model(const ec_program *program, const char *folder, uint32_t threads)
{
    ec_options options = {threads, 0};
    ec_model *model;
    CHECK(ec_open(program, folder, &options, &model) == EC_OK);
    return model;
}

#endif
