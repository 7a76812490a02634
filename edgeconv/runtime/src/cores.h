/* The processor's cores, for pinning. */
#ifndef EC_CORES_H
#define EC_CORES_H

#include <stdint.h>

/* Fills `cores` with those this thread may run on, highest clock first; returns how many. */
uint32_t ec_cores_by_speed(uint32_t *cores, uint32_t capacity);

/* Pins the calling thread; returns 0 or an errno value. */
int ec_pin_to_core(uint32_t core);

/* Number of cores that this process may use, at least 1. */
uint32_t ec_core_count(void);

#endif
