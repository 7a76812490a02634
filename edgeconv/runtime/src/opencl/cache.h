/* Programs as the device's driver has built them, kept in files. */
#ifndef EC_OPENCL_CACHE_H
#define EC_OPENCL_CACHE_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "backend.h"

/* How much binaries in a folder may take together: those used longest ago are deleted. */
#define EC_CL_CACHE_BYTES ((uint64_t)256 << 20)

/* A file, and what its beginning must be. */
typedef struct ec_cl_cache {
    char path[PATH_MAX]; /* "" where there is no place for a cache */
    uint8_t source_sha256[32];
    char identity[EC_CL_IDENTITY_BYTES];
} ec_cl_cache;

/*
 * Finds the place of a program's binary for a device: in $EDGECONV_OPENCL_CACHE (none where that
 * is empty), else on Android beside the artifact at `path`, elsewhere in the user's cache folder.
 * PoCL, which has a cache of its own and builds each kernel once more when it is asked for the
 * binary, has a place in the first only.
 */
void ec_cl_cache_find(ec_cl_cache *cache, const ec_program *program, const ec_cl_device *device,
                      const char *path);

/* The binary, to be freed; NULL without a file, or where that is torn or another program's. */
unsigned char *ec_cl_cache_read(const ec_cl_cache *cache, size_t *bytes);

/*
 * Keeps a binary, and deletes others that are too much. Where it fails to, the program is built
 * again the next time.
 */
void ec_cl_cache_write(const ec_cl_cache *cache, const unsigned char *binary, size_t bytes);

/* Deletes binaries beside the cache's own until EC_CL_CACHE_BYTES are left (trim.c). */
void ec_cl_cache_trim(const ec_cl_cache *cache);

#endif
