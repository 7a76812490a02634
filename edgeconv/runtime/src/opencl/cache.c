#include "cache.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CACHE_VERSION = 1 }; /* also that of the options of ec_cl_build */

typedef struct cache_header {
    char magic[8];
    uint64_t version;
    uint8_t source_sha256[32];
    char identity[EC_CL_IDENTITY_BYTES];
    uint64_t binary_bytes;
    uint64_t binary_hash;
} cache_header;

/* FNV-1a, which tells a torn file from a whole one. */
static uint64_t hash(uint64_t start, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; ++i)
        start = (start ^ at[i]) * 0x100000001b3u;
    return start;
}

static const uint64_t hash_start = 0xcbf29ce484222325u;

static cache_header make_header(const ec_cl_cache *cache, uint64_t bytes, uint64_t binary_hash)
{
    cache_header header = {.magic = "ECKERNEL", .version = CACHE_VERSION,
                           .binary_bytes = bytes, .binary_hash = binary_hash};
    memcpy(header.source_sha256, cache->source_sha256, sizeof header.source_sha256);
    memcpy(header.identity, cache->identity, sizeof header.identity);
    return header;
}

#if defined(__ANDROID__)
/* An app has no folder that every part of it could write to, but for where it put the artifact. */
static int default_folder(char *folder, const char *path)
{
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return snprintf(folder, PATH_MAX, "%s", path);
    const char *slash = strrchr(path, '/');
    return slash ? snprintf(folder, PATH_MAX, "%.*s", (int)(slash - path), path)
                 : snprintf(folder, PATH_MAX, ".");
}
#else
static int default_folder(char *folder, const char *path)
{
    (void)path;
    const char *base = getenv("XDG_CACHE_HOME");
    if (base && *base)
        return snprintf(folder, PATH_MAX, "%s/edgeconv/opencl", base);
    const char *home = getenv("HOME");
    return home && *home ? snprintf(folder, PATH_MAX, "%s/.cache/edgeconv/opencl", home) : 0;
}
#endif

static bool is_pocl(const ec_cl_device *device)
{
    static const char platform[] = "Portable Computing Language\n";
    return strncmp(device->identity, platform, sizeof platform - 1) == 0;
}

void ec_cl_cache_find(ec_cl_cache *cache, const ec_program *program, const ec_cl_device *device,
                      const char *path)
{
    memcpy(cache->source_sha256, program->opencl_sha256, sizeof cache->source_sha256);
    memcpy(cache->identity, device->identity, sizeof cache->identity);
    uint64_t key = hash(hash_start, cache->source_sha256, sizeof cache->source_sha256);
    key = hash(key, cache->identity, sizeof cache->identity);
    char folder[PATH_MAX];
    const char *wanted = getenv("EDGECONV_OPENCL_CACHE");
    int length = 0;
    if (wanted)
        length = snprintf(folder, sizeof folder, "%s", wanted);
    else if (!is_pocl(device))
        length = default_folder(folder, path);
    bool possible = cache->identity[0] && length > 0 && length < PATH_MAX;
    if (possible)
        length = snprintf(cache->path, sizeof cache->path, "%s/%016" PRIx64 ".clbin", folder, key);
    if (!possible || length >= PATH_MAX)
        cache->path[0] = '\0';
}

/* Opens a regular file; at a pipe it would wait. */
static FILE *open_file(const char *path)
{
    int descriptor = *path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    struct stat status;
    FILE *file = NULL;
    if (descriptor >= 0 && fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode))
        file = fdopen(descriptor, "rb");
    if (!file && descriptor >= 0)
        close(descriptor);
    return file;
}

/* What follows the header, to be freed; NULL where that is not as long as the header says. */
static unsigned char *read_binary(FILE *file, cache_header *header)
{
    struct stat status;
    if (fread(header, sizeof *header, 1, file) != 1 || fstat(fileno(file), &status) != 0
        || (uint64_t)status.st_size != sizeof *header + header->binary_bytes)
        return NULL;
    unsigned char *binary = malloc((size_t)header->binary_bytes);
    if (binary && fread(binary, (size_t)header->binary_bytes, 1, file) == 1)
        return binary;
    free(binary);
    return NULL;
}

unsigned char *ec_cl_cache_read(const ec_cl_cache *cache, size_t *bytes)
{
    FILE *file = open_file(cache->path);
    if (!file)
        return NULL;
    cache_header header;
    unsigned char *binary = read_binary(file, &header);
    futimens(fileno(file), NULL); /* used last; whether a read counts is up to the file system */
    fclose(file);
    if (!binary)
        return NULL;
    *bytes = (size_t)header.binary_bytes;
    cache_header want = make_header(cache, *bytes, hash(hash_start, binary, *bytes));
    if (memcmp(&header, &want, sizeof header) == 0)
        return binary;
    free(binary);
    return NULL;
}

static void make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
}

/* Writes and closes a file; whether all of it got there. */
static bool fill_file(int descriptor, const cache_header *header, const unsigned char *binary)
{
    FILE *file = fdopen(descriptor, "wb");
    if (!file) {
        close(descriptor);
        return false;
    }
    bool whole = fwrite(header, sizeof *header, 1, file) == 1
                 && fwrite(binary, (size_t)header->binary_bytes, 1, file) == 1;
    return fclose(file) == 0 && whole;
}

void ec_cl_cache_write(const ec_cl_cache *cache, const unsigned char *binary, size_t bytes)
{
    char aside[PATH_MAX];
    int length = snprintf(aside, sizeof aside, "%s.XXXXXX", cache->path);
    if (!cache->path[0] || length >= (int)sizeof aside)
        return;
    make_folders(aside);
    int descriptor = mkstemp(aside);
    if (descriptor < 0)
        return;
    cache_header header = make_header(cache, bytes, hash(hash_start, binary, bytes));
    if (!fill_file(descriptor, &header, binary) || rename(aside, cache->path) != 0)
        remove(aside);
    ec_cl_cache_trim(cache);
}
