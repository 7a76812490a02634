/* The processor's cores, for pinning. */
#ifndef EC_CORES_H
#define EC_CORES_H

#include <stdint.h>

typedef struct ec_core {
    uint32_t index;
    unsigned long speed; /* only comparable among cores of one machine; 0 where unknown */
} ec_core;

/* Fills `cores` with those this thread may run on, the fastest first; returns how many. */
uint32_t ec_cores_by_speed(ec_core *cores, uint32_t capacity);

/* Pins the calling thread; returns 0 or an errno value. */
int ec_pin_to_core(uint32_t core);

#endif
