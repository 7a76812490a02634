/*
 * Conversions and divisions of 64-bit integers for 32-bit ARM. Kernels call them by GCC's names,
 * while the compiler's own library for the ARM EABI has them only by the EABI's.
 */
#if defined(__arm__)

#include <stdint.h>

float __floatdisf(int64_t value);
double __floatdidf(int64_t value);
float __floatundisf(uint64_t value);
double __floatundidf(uint64_t value);
int64_t __fixsfdi(float value);
int64_t __fixdfdi(double value);
uint64_t __fixunssfdi(float value);
uint64_t __fixunsdfdi(double value);
int64_t __divdi3(int64_t dividend, int64_t divisor);
int64_t __moddi3(int64_t dividend, int64_t divisor);
uint64_t __udivdi3(uint64_t dividend, uint64_t divisor);
uint64_t __umoddi3(uint64_t dividend, uint64_t divisor);

float __floatdisf(int64_t value)
{
    return (float)value;
}

double __floatdidf(int64_t value)
{
    return (double)value;
}

float __floatundisf(uint64_t value)
{
    return (float)value;
}

double __floatundidf(uint64_t value)
{
    return (double)value;
}

int64_t __fixsfdi(float value)
{
    return (int64_t)value;
}

int64_t __fixdfdi(double value)
{
    return (int64_t)value;
}

uint64_t __fixunssfdi(float value)
{
    return (uint64_t)value;
}

uint64_t __fixunsdfdi(double value)
{
    return (uint64_t)value;
}

int64_t __divdi3(int64_t dividend, int64_t divisor)
{
    return dividend / divisor;
}

int64_t __moddi3(int64_t dividend, int64_t divisor)
{
    return dividend % divisor;
}

uint64_t __udivdi3(uint64_t dividend, uint64_t divisor)
{
    return dividend / divisor;
}

uint64_t __umoddi3(uint64_t dividend, uint64_t divisor)
{
    return dividend % divisor;
}

#else
typedef int ec_not_for_this_processor; /* a translation unit may not be empty */
#endif
