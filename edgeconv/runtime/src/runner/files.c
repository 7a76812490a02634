#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool failed(const char *verb, const char *path)
{
    fprintf(stderr, "runner: cannot %s %s: %s\n", verb, path, strerror(errno));
    return false;
}

bool file_read(const char *path, void *data, uint64_t bytes)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* at a pipe it would wait */
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "rb");
    if (!file)
        return failed("open", path);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    bool fits = size >= 0 && (uint64_t)size == bytes;
    bool complete = fits && fread(data, 1, (size_t)bytes, file) == bytes;
    fclose(file);
    if (!fits)
        fprintf(stderr, "runner: %s has %ld bytes, the tensor has %" PRIu64 "\n", path, size, bytes);
    else if (!complete)
        failed("read", path);
    return complete;
}

bool file_write(const char *path, const void *data, uint64_t bytes)
{
    char aside[PATH_MAX];
    if (snprintf(aside, sizeof aside, "%s.part", path) >= (int)sizeof aside) {
        errno = ENAMETOOLONG;
        return failed("write", path);
    }
    FILE *file = fopen(aside, "wbe");
    if (!file)
        return failed("write", path);
    bool complete = fwrite(data, 1, (size_t)bytes, file) == bytes;
    complete &= fclose(file) == 0;
    if (complete && rename(aside, path) == 0)
        return true;
    failed("write", path);
    remove(aside);
    return false;
}

const char *own_folder(const char *argv0)
{
    static char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0) {
        length = snprintf(path, sizeof path, "%s", argv0);
        if (length >= (ssize_t)sizeof path)
            return ".";
    }
    path[length] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash)
        return ".";
    slash[slash == path] = '\0';
    return path;
}
