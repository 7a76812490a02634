/*
 * edgeconv.h: run a network that edgeconv has compiled.
 *
 *     ec_model *model;
 *     if (ec_open(edgeconv_program(), "model-folder", NULL, &model) != EC_OK) {
 *         fprintf(stderr, "%s\n", ec_last_error(NULL));
 *         return 1;
 *     }
 *     ec_bind_input(model, 0, pixels, sizeof pixels);
 *     ec_bind_output(model, 0, scores, sizeof scores);
 *     if (ec_run(model) != EC_OK)
 *         fprintf(stderr, "%s\n", ec_last_error(model));
 *     ec_close(model);
 *
 * Threads. A model may be used by one thread at a time; it need not be the same thread each time.
 * Different models are independent: each has its own memory and its own worker threads, and they
 * may run at the same time. `ec_api_version`, `ec_status_text` and `ec_open` may be called from
 * any thread at any time. ec_run on a model that is running returns EC_ERROR_BUSY.
 *
 * Several models in one application: link their static libraries, each of which has a program
 * function of its own, or open each shared library with dlopen and RTLD_LOCAL, since every
 * libmodel.so exports the same names.
 *
 * Memory. Everything is allocated by ec_open and freed by ec_close; a run allocates nothing, though
 * a GPU's driver may.
 * Pointers that this interface returns stay valid until ec_close of their model.
 *
 * Versions. EDGECONV_API_VERSION changes whenever a declaration below changes its meaning or its
 * layout; new functions may be added without a change. ec_open refuses a program that was
 * generated for another version.
 *
 * C11 and C++.
 */
#ifndef EDGECONV_H
#define EDGECONV_H

#include <stdint.h>

#define EDGECONV_API_VERSION 1

#if defined(__GNUC__)
#define EC_API __attribute__((visibility("default")))
#else
#define EC_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A compiled network: constant tables and code, generated at compile time. */
typedef struct ec_program ec_program;

/* A program with its weights, memory and threads. */
typedef struct ec_model ec_model;

typedef enum ec_status {
    EC_OK = 0,
    EC_ERROR_ARGUMENT = 1, /* null pointer, index out of range, size that does not fit */
    EC_ERROR_VERSION = 2,  /* the program is for another API version or needs another backend */
    EC_ERROR_FILE = 3,     /* the weights file cannot be read */
    EC_ERROR_WEIGHTS = 4,  /* the weights file is damaged, truncated or of another model */
    EC_ERROR_MEMORY = 5,   /* not enough memory */
    EC_ERROR_THREADS = 6,  /* a worker thread cannot be started or pinned */
    EC_ERROR_STEP = 7,     /* a kernel failed; the error text names its step */
    EC_ERROR_BUSY = 8,     /* the model is running on another thread */
    EC_ERROR_DEVICE = 9    /* the GPU: no driver, no device, too little memory, or a failing call */
} ec_status;

typedef struct ec_options {
    uint32_t threads;   /* threads of a run, the caller's included; 0 means 1; at most 256 */
    uint32_t pin_cores; /* not 0: pin the workers, and the thread that calls ec_open, to one core
                           each, the cores with the highest clock first */
} ec_options;

/* An input or output. Tensors are row-major and little-endian. */
typedef struct ec_tensor_info {
    const char *name;
    const char *dtype; /* NumPy's name, such as "float32" */
    const int64_t *shape;
    uint32_t rank;
    uint32_t element_bytes;
    uint64_t bytes;
    double tolerance; /* outputs: largest expected |got - want| relative to max |want|; else 0 */
} ec_tensor_info;

typedef struct ec_model_info {
    const char *model;
    const char *target;
    uint32_t input_count;
    uint32_t output_count;
    uint32_t step_count;
    uint32_t threads;
    uint64_t arena_bytes;   /* intermediate tensors */
    uint64_t scratch_bytes; /* workspace of the kernels, of all threads together */
    uint64_t weights_bytes; /* mapped from the weights file */
} ec_model_info;

typedef struct ec_step_info {
    const char *name;
    const char *family; /* such as "conv2d" */
    uint64_t macs;      /* multiply-accumulates of one call */
    uint64_t last_ns;   /* duration in the last run; 0 before the first */
} ec_step_info;

/* The version that the library implements; compare it with EDGECONV_API_VERSION. */
EC_API int32_t ec_api_version(void);

/* What a status means, in a few words. */
EC_API const char *ec_status_text(ec_status status);

/*
 * The program of a shared library. A static library defines edgeconv_program_MODEL instead
 * (characters of the model's name that C does not take become '_'), so that an app can link
 * several; declare that one yourself.
 */
EC_API const ec_program *edgeconv_program(void);

/*
 * Opens a program with its weights.
 * path: the artifact's folder, or its weights file.
 * options: NULL for one thread that is not pinned.
 * On success *model is the model, to be given to ec_close; otherwise it is NULL and
 * ec_last_error(NULL) says what went wrong.
 */
EC_API ec_status ec_open(const ec_program *program, const char *path, const ec_options *options,
                         ec_model **model);

/* Stops the threads and frees everything; NULL is allowed. */
EC_API void ec_close(ec_model *model);

/*
 * The text of the model's last failure, "" when there was none. NULL gives the last failed ec_open
 * of the calling thread. EC_ERROR_BUSY leaves no text.
 */
EC_API const char *ec_last_error(const ec_model *model);

EC_API void ec_describe(const ec_model *model, ec_model_info *info);

/* The name and driver of the GPU that the model runs on; "" for a model of the CPU. */
EC_API const char *ec_device(const ec_model *model);

/* NULL when the index is out of range. */
EC_API const ec_tensor_info *ec_input_info(const ec_model *model, uint32_t index);
EC_API const ec_tensor_info *ec_output_info(const ec_model *model, uint32_t index);

/*
 * Makes runs read an input, or write an output, in the caller's memory, without a copy, until the
 * next bind. `bytes` must be the tensor's size and `data` aligned to its elements. The memory must
 * live until the next bind or ec_close; inputs and outputs must not overlap. NULL for `data` goes
 * back to the model's own memory. A model on a GPU copies what is bound to the device and back; its
 * own memory, which it does not copy where host and GPU share it, is then overwritten.
 */
EC_API ec_status ec_bind_input(ec_model *model, uint32_t index, const void *data, uint64_t bytes);
EC_API ec_status ec_bind_output(ec_model *model, uint32_t index, void *data, uint64_t bytes);

/*
 * Where an input or output is at the moment: what was bound, or else the model's own memory, which
 * is 64-byte aligned and zero at first. NULL when the index is out of range.
 */
EC_API void *ec_input_data(ec_model *model, uint32_t index);
EC_API void *ec_output_data(ec_model *model, uint32_t index);

/* Runs the network once, from the inputs to the outputs. */
EC_API ec_status ec_run(ec_model *model);

/* Describes a step, with its duration in the last run. EC_ERROR_ARGUMENT: no such step. */
EC_API ec_status ec_profile(const ec_model *model, uint32_t step, ec_step_info *info);

/*
 * Called in a run after each step, once for each of its outputs. `output` is the position among the
 * step's outputs, `data` the tensor in the layout in which it lies in memory; it is overwritten by
 * later steps. Runs are slower while an observer is set, step durations are not.
 */
typedef void (*ec_observer)(void *user, uint32_t step, uint32_t output, const void *data,
                            uint64_t bytes);

/* Sets the observer; NULL removes it. */
EC_API void ec_observe(ec_model *model, ec_observer observer, void *user);

#ifdef __cplusplus
}
#endif

#endif
