/* Keeping a folder of built programs small. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"

static const char suffix[] = ".clbin"; /* of binaries; the folder may hold other files */

/* What a binary's name begins with; files being written have more after it. */
static bool is_ours(const char *name)
{
    enum { KEY_DIGITS = 16 };
    return strspn(name, "0123456789abcdef") == KEY_DIGITS
           && strncmp(name + KEY_DIGITS, suffix, sizeof suffix - 1) == 0;
}

/* Adds up the binaries in a folder, and finds the one that was used longest ago. */
static uint64_t measure(DIR *folder, const char *kept, char *oldest, size_t bytes)
{
    uint64_t total = 0;
    struct timespec first = {0};
    oldest[0] = '\0';
    rewinddir(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct stat status;
        if (!is_ours(entry->d_name)
            || fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0
            || !S_ISREG(status.st_mode))
            continue;
        total += (uint64_t)status.st_size;
        struct timespec used = status.st_mtim;
        bool older = used.tv_sec < first.tv_sec
                     || (used.tv_sec == first.tv_sec && used.tv_nsec < first.tv_nsec);
        if (strcmp(entry->d_name, kept) != 0 && strlen(entry->d_name) < bytes
            && (!oldest[0] || older)) {
            first = used;
            strcpy(oldest, entry->d_name);
        }
    }
    return total;
}

void ec_cl_cache_trim(const ec_cl_cache *cache)
{
    char path[PATH_MAX], oldest[256];
    snprintf(path, sizeof path, "%s", cache->path);
    char *slash = strrchr(path, '/');
    if (!slash)
        return;
    *slash = '\0';
    DIR *folder = opendir(slash == path ? "/" : path);
    if (!folder)
        return;
    /* Another process may delete files too, or read one that is deleted: it has it open. */
    while (measure(folder, slash + 1, oldest, sizeof oldest) > EC_CL_CACHE_BYTES && oldest[0]
           && unlinkat(dirfd(folder), oldest, 0) == 0)
        ;
    closedir(folder);
}
