#include "cores.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>

/* The core's highest clock in kHz; 0 where the kernel does not tell. */
static unsigned long core_clock(uint32_t core)
{
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/cpufreq/cpuinfo_max_freq",
             (unsigned)core);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    unsigned long clock = 0;
    if (fscanf(file, "%lu", &clock) != 1)
        clock = 0;
    fclose(file);
    return clock;
}

uint32_t ec_cores_by_speed(uint32_t *cores, uint32_t capacity)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return 0;
    unsigned long clocks[CPU_SETSIZE];
    uint32_t count = 0;
    for (uint32_t core = 0; core < CPU_SETSIZE && count < capacity; ++core) {
        if (!CPU_ISSET(core, &allowed))
            continue;
        /* Insertion keeps cores of equal clock in their order. */
        unsigned long clock = core_clock(core);
        uint32_t at = count++;
        for (; at > 0 && clocks[at - 1] < clock; --at) {
            clocks[at] = clocks[at - 1];
            cores[at] = cores[at - 1];
        }
        clocks[at] = clock;
        cores[at] = core;
    }
    return count;
}

int ec_pin_to_core(uint32_t core)
{
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(core, &only);
    return sched_setaffinity(0, sizeof only, &only) == 0 ? 0 : errno;
}

uint32_t ec_core_count(void)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return 1;
    return (uint32_t)CPU_COUNT(&allowed);
}
