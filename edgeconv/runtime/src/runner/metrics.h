/* How far a tensor is from the one that was wanted. */
#ifndef EC_METRICS_H
#define EC_METRICS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Computed in double. Elements where both are not-a-number, or the same infinity, count as equal
 * and are left out of the sums. Where only one is, max_abs and max_rel are nan or inf, and so is
 * everything else that has no value.
 */
typedef struct metrics {
    double max_abs; /* max |got - want| */
    double max_rel; /* max |got - want| / max |want| */
    double sqnr_db; /* 10 log10(sum want^2 / sum (got - want)^2) */
    double cosine;
} metrics;

/* True when elements of this NumPy dtype can be compared. */
bool metrics_supports(const char *dtype);

/* Compares `count` elements. */
metrics metrics_compare(const void *got, const void *want, uint64_t count, const char *dtype);

#endif
