#include "metrics.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

typedef double (*reader)(const void *data, uint64_t index);

#define READER(name, type)                                                                         \
    static double read_##name(const void *data, uint64_t index)                                    \
    {                                                                                              \
        return (double)((const type *)data)[index];                                                \
    }

READER(float32, float)
READER(float64, double)
READER(int8, int8_t)
READER(int16, int16_t)
READER(int32, int32_t)
READER(int64, int64_t)
READER(uint8, uint8_t)
READER(uint16, uint16_t)
READER(uint32, uint32_t)
READER(uint64, uint64_t)

static double read_float16(const void *data, uint64_t index)
{
    uint16_t bits = ((const uint16_t *)data)[index];
    int exponent = bits >> 10 & 31;
    double fraction = bits & 1023;
    double size = exponent == 31  ? (fraction != 0 ? NAN : INFINITY)
                  : exponent == 0 ? ldexp(fraction, -24)
                                  : ldexp(fraction + 1024, exponent - 25);
    return bits & 0x8000 ? -size : size;
}

static reader find_reader(const char *dtype)
{
    static const struct {
        const char *dtype;
        reader read;
    } readers[] = {
        {"float32", read_float32}, {"float64", read_float64}, {"float16", read_float16},
        {"int8", read_int8},       {"int16", read_int16},     {"int32", read_int32},
        {"int64", read_int64},     {"uint8", read_uint8},     {"uint16", read_uint16},
        {"uint32", read_uint32},   {"uint64", read_uint64},   {"bool", read_uint8},
    };
    for (size_t i = 0; i < sizeof readers / sizeof *readers; ++i)
        if (strcmp(dtype, readers[i].dtype) == 0)
            return readers[i].read;
    return NULL;
}

bool metrics_supports(const char *dtype)
{
    return find_reader(dtype) != NULL;
}

/* Like fmax, but not-a-number wins. */
static double worst(double a, double b)
{
    return isnan(a) || a > b ? a : b;
}

static double ratio(double numerator, double denominator)
{
    if (denominator != 0 || isnan(numerator))
        return numerator / denominator;
    return numerator == 0 ? 0 : INFINITY;
}

metrics metrics_compare(const void *got, const void *want, uint64_t count, const char *dtype)
{
    reader read = find_reader(dtype);
    double max_abs = 0, max_want = 0, noise = 0, got_energy = 0, want_energy = 0, product = 0;
    for (uint64_t i = 0; i < count; ++i) {
        double a = read(got, i);
        double b = read(want, i);
        if ((isnan(a) && isnan(b)) || (isinf(a) && a == b))
            continue;
        double error = fabs(a - b);
        max_abs = worst(error, max_abs);
        if (isfinite(b))
            max_want = fmax(max_want, fabs(b));
        noise += error * error;
        got_energy += a * a;
        want_energy += b * b;
        product += a * b;
    }
    double norm = sqrt(got_energy) * sqrt(want_energy);
    metrics result = {.max_abs = max_abs, .max_rel = ratio(max_abs, max_want)};
    result.sqnr_db = noise == 0 ? INFINITY : 10 * log10(want_energy / noise);
    result.cosine = noise == 0 ? 1 : norm == 0 ? 0 : product / norm;
    return result;
}
