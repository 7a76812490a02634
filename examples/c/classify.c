/*
 * Prints the most likely classes of one input:
 *
 *     classify FOLDER INPUT...
 *
 * FOLDER is an unpacked artifact (weights.bin, and labels.txt where the model has class names);
 * each INPUT is a file with one input as raw little-endian float32, as in golden/0/input_0.bin.
 * The first output holds the scores.
 *
 * With the shared library, which lies beside edgeconv.h in FOLDER:
 *
 *     cc -O2 -I FOLDER classify.c -o classify -L FOLDER -lmodel -Wl,-rpath,FOLDER
 *
 * With the static library of a model called mobilenet:
 *
 *     cc -O2 -I FOLDER -DPROGRAM=edgeconv_program_mobilenet classify.c -o classify \
 *         FOLDER/libmodel.a -lm -pthread
 *
 * (and -ldl where the model was compiled for a GPU and the C library is older than glibc 2.34).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgeconv.h"

#ifndef PROGRAM
#define PROGRAM edgeconv_program
#endif

enum { TOP = 3, MAX_INPUTS = 8 };

const ec_program *PROGRAM(void);

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "classify: %s: %s\n", what, why);
    exit(1);
}

/* Reads a whole file of a known size into memory that the caller frees. */
static void *read_file(const char *path, size_t bytes)
{
    FILE *file = fopen(path, "rb");
    unsigned char *data = malloc(bytes + 1);
    if (!file || !data)
        fail(path, "cannot be read");
    /* One byte more than wanted, to notice a file that is too long. */
    if (fread(data, 1, bytes + 1, file) != bytes)
        fail(path, "is not of the input's size");
    fclose(file);
    return data;
}

/* Writes the name of a class, or nothing where there is no list of names. */
static void print_label(const char *folder, size_t wanted)
{
    char line[1024];
    snprintf(line, sizeof line, "%s/labels.txt", folder);
    FILE *file = fopen(line, "r");
    if (!file)
        return;
    for (size_t i = 0; fgets(line, sizeof line, file); ++i)
        if (i == wanted)
            printf(" %.*s", (int)strcspn(line, "\r\n"), line);
    fclose(file);
}

static void print_top(const char *folder, float *scores, size_t count)
{
    for (int rank = 0; rank < TOP && (size_t)rank < count; ++rank) {
        size_t best = 0;
        for (size_t i = 1; i < count; ++i)
            if (scores[i] > scores[best])
                best = i;
        printf("%zu %.4f", best, scores[best]);
        print_label(folder, best);
        putchar('\n');
        scores[best] = -3.4e38f;
    }
}

int main(int argc, char **argv)
{
    if (argc < 3)
        fail("usage", "classify FOLDER INPUT...");
    if (ec_api_version() != EDGECONV_API_VERSION)
        fail("libmodel", "is of another version than edgeconv.h");

    ec_options options = {.threads = 2};
    ec_model *model;
    if (ec_open(PROGRAM(), argv[1], &options, &model) != EC_OK)
        fail("cannot open the model", ec_last_error(NULL));

    ec_model_info info;
    ec_describe(model, &info);
    if (info.input_count != (uint32_t)(argc - 2) || info.input_count > MAX_INPUTS)
        fail("usage", "one file for each input of the model");
    const ec_tensor_info *output = ec_output_info(model, 0);
    if (strcmp(output->dtype, "float32") != 0)
        fail("the model", "has no float32 scores");

    void *inputs[MAX_INPUTS];
    for (uint32_t i = 0; i < info.input_count; ++i) {
        uint64_t bytes = ec_input_info(model, i)->bytes;
        inputs[i] = read_file(argv[2 + i], (size_t)bytes);
        if (ec_bind_input(model, i, inputs[i], bytes) != EC_OK)
            fail("cannot bind an input", ec_last_error(model));
    }
    float *scores = malloc((size_t)output->bytes);
    if (!scores || ec_bind_output(model, 0, scores, output->bytes) != EC_OK)
        fail("cannot bind the output", ec_last_error(model));

    if (ec_run(model) != EC_OK)
        fail("cannot run", ec_last_error(model));
    print_top(argv[1], scores, (size_t)output->bytes / sizeof *scores);

    free(scores);
    for (uint32_t i = 0; i < info.input_count; ++i)
        free(inputs[i]);
    ec_close(model);
    return 0;
}
