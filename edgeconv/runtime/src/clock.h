/* The monotonic clock. */
#ifndef EC_CLOCK_H
#define EC_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t ec_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
