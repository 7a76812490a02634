/* Raw tensor files. Failures are explained on stderr. */
#ifndef EC_FILES_H
#define EC_FILES_H

#include <stdbool.h>
#include <stdint.h>

/* Reads a file of exactly `bytes` bytes. */
bool file_read(const char *path, void *data, uint64_t bytes);

/* Writes a file as a whole: aside first, then renamed into its place. */
bool file_write(const char *path, const void *data, uint64_t bytes);

/* The folder that holds this program, in static memory. */
const char *own_folder(const char *argv0);

#endif
