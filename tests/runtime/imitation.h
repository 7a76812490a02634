/* What a test sets and reads in the imitation of an OpenCL library; a global called `imitation`. */
#ifndef IMITATION_H
#define IMITATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct imitation_state {
    /* The machine. */
    uint32_t platforms;
    uint32_t devices; /* of each platform; the last of the last platform is the GPU */
    bool unified;     /* host and device share memory */
    bool wanders;     /* a buffer is mapped to another address each time */
    uint64_t memory;
    uint64_t largest_block;
    uint32_t alignment_bits;
    size_t work_group;
    size_t image_texels;    /* of an image of a buffer, at most; 0 without images */
    bool only_whole_images; /* of buffers, not of sub-buffers */
    bool refuses_binaries;
    const char *extensions;
    const char *build_log; /* what the compiler says when it refuses the sources, or NULL */

    /* Faults. */
    int fail_at;         /* the number of the call that fails, from 1; 0 for none */
    int fail_launch;     /* the number of the kernel that fails while it runs; likewise */
    char failed[64];     /* the function that failed */

    /* What was called for. */
    int calls;     /* that can fail */
    int live;      /* objects that are not released */
    int sources;   /* programs built from sources */
    int binaries;  /* from binaries */
    int buffers;   /* created, sub-buffers too */
    int images;
    int launches, writes, reads, maps;
    char misuse[128]; /* the first call that OpenCL does not allow, or "" */
} imitation_state;

/* Two platforms with two devices each, one of which is a GPU that shares the host's memory. */
#define IMITATION_DEFAULT                                                                          \
    {                                                                                              \
        .platforms = 2, .devices = 2, .unified = true, .memory = 1 << 20,                          \
        .largest_block = 1 << 16, .alignment_bits = 4096, .work_group = 64,                        \
        .image_texels = 1024,                                                                      \
        .extensions = "cl_khr_fp64 cl_khr_fp16"                                                    \
    }

#endif
