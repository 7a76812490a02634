#include "cores.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>

/* Where Linux describes the processors. */
#ifndef EC_CPU_FOLDER
#define EC_CPU_FOLDER "/sys/devices/system/cpu"
#endif

/* The number in a file of a core's folder; 0 where there is none. */
static unsigned long read_number(uint32_t core, const char *file)
{
    char path[256];
    snprintf(path, sizeof path, "%s/cpu%u/%s", EC_CPU_FOLDER, (unsigned)core, file);
    FILE *stream = fopen(path, "re");
    if (!stream)
        return 0;
    unsigned long number = 0;
    if (fscanf(stream, "%lu", &number) != 1)
        number = 0;
    fclose(stream);
    return number;
}

/* What a core does in a second: on ARM the kernel knows; elsewhere its highest clock says it. */
static unsigned long core_speed(uint32_t core)
{
    unsigned long capacity = read_number(core, "cpu_capacity");
    return capacity ? capacity : read_number(core, "cpufreq/cpuinfo_max_freq");
}

uint32_t ec_cores_by_speed(ec_core *cores, uint32_t capacity)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return 0;
    uint32_t count = 0;
    for (uint32_t index = 0; index < CPU_SETSIZE && count < capacity; ++index) {
        if (!CPU_ISSET(index, &allowed))
            continue;
        /* Insertion keeps cores of equal speed in their order. */
        ec_core core = {index, core_speed(index)};
        uint32_t at = count++;
        for (; at > 0 && cores[at - 1].speed < core.speed; --at)
            cores[at] = cores[at - 1];
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
