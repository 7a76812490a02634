#include "weights.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error.h"

enum { WEIGHTS_VERSION = 1 };

/* The 64 bytes before the data; the file is little-endian, as are all targets. */
typedef struct weights_header {
    char magic[8];
    uint32_t version;
    uint32_t zero;
    uint64_t data_bytes;
    uint8_t sha256[32];
    uint8_t padding[8];
} weights_header;

_Static_assert(sizeof(weights_header) == 64, "the data must stay 64-byte aligned");

static bool is_folder(const char *path)
{
    int file = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0)
        return false;
    close(file);
    return true;
}

static ec_status check_header(const weights_header *header, uint64_t file_bytes,
                              const ec_program *program, const char *path, char *error)
{
    if (memcmp(header->magic, "ECWEIGHT", sizeof header->magic) != 0)
        return ec_fail(error, EC_ERROR_WEIGHTS, "%s is not a weights file of edgeconv", path);
    if (header->version != WEIGHTS_VERSION)
        return ec_fail(error, EC_ERROR_WEIGHTS,
                       "%s has format version %" PRIu32 ", this runtime reads version %d; compile "
                       "the model again", path, header->version, WEIGHTS_VERSION);
    if (file_bytes - sizeof *header != header->data_bytes)
        return ec_fail(error, EC_ERROR_WEIGHTS,
                       "%s is damaged: it holds %" PRIu64 " bytes of weights, its header says "
                       "%" PRIu64 "; copy it again", path, file_bytes - sizeof *header,
                       header->data_bytes);
    if (header->data_bytes != program->weights_bytes
        || memcmp(header->sha256, program->weights_sha256, sizeof header->sha256) != 0)
        return ec_fail(error, EC_ERROR_WEIGHTS,
                       "%s holds the weights of another model than \"%s\"; use the files of one "
                       "artifact together", path, program->model);
    return EC_OK;
}

static ec_status map_file(ec_weights *weights, int file, const ec_program *program,
                          const char *path, char *error)
{
    off_t end = lseek(file, 0, SEEK_END);
    if (end < 0)
        return ec_fail(error, EC_ERROR_FILE, "cannot read %s: %s", path, strerror(errno));
    if (end < (off_t)sizeof(weights_header))
        return ec_fail(error, EC_ERROR_WEIGHTS,
                       "%s is damaged: its %lld bytes are less than a header; copy it again", path,
                       (long long)end);
    if ((uint64_t)end > SIZE_MAX)
        return ec_fail(error, EC_ERROR_MEMORY, "%s is too large to be mapped", path);
    void *mapping = mmap(NULL, (size_t)end, PROT_READ, MAP_PRIVATE, file, 0);
    if (mapping == MAP_FAILED)
        return ec_fail(error, EC_ERROR_FILE, "cannot map %s: %s", path, strerror(errno));
    *weights = (ec_weights){mapping, (size_t)end,
                            (unsigned char *)mapping + sizeof(weights_header)};
    ec_status status = check_header(mapping, (uint64_t)end, program, path, error);
    if (status != EC_OK)
        ec_weights_unmap(weights);
    return status;
}

ec_status ec_weights_map(ec_weights *weights, const ec_program *program, const char *path,
                         char *error)
{
    char inside[PATH_MAX];
    if (is_folder(path)) {
        int length = snprintf(inside, sizeof inside, "%s/weights.bin", path);
        if (length >= (int)sizeof inside)
            return ec_fail(error, EC_ERROR_ARGUMENT, "the path of the weights is too long");
        path = inside;
    }
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* at a pipe it would wait */
    if (file < 0)
        return ec_fail(error, EC_ERROR_FILE, "cannot open %s: %s", path, strerror(errno));
    ec_status status = map_file(weights, file, program, path, error);
    close(file);
    return status;
}

void ec_weights_unmap(ec_weights *weights)
{
    if (weights->mapping)
        munmap(weights->mapping, weights->mapping_bytes);
    *weights = (ec_weights){0};
}
