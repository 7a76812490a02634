/* The network of c_programs in OpenCL C: 37 rows of 19 columns, in work-groups of 64. */
#define COLUMNS 19
#define COUNT (37 * COLUMNS)

__kernel void ec_k_add(__global const float *a, __global const float *b, __global float *sum)
{
    int i = get_global_id(0);
    if (i < COUNT)
        sum[i] = a[i] + b[i];
}

__kernel void ec_k_scale(__global const float *x, __global const float *scale, __global float *y)
{
    int i = get_global_id(0);
    if (i < COUNT)
        y[i] = x[i] * scale[i % COLUMNS];
}

float texel_lane(float4 texel, int lane)
{
    return lane == 0 ? texel.x : lane == 1 ? texel.y : lane == 2 ? texel.z : texel.w;
}

/* The weights are an image. */
__kernel void ec_k_scale_image(__global const float *x, __read_only image1d_buffer_t scale,
                               const int scale_base, __global float *y)
{
    int i = get_global_id(0);
    int column = i % COLUMNS;
    if (i < COUNT)
        y[i] = x[i] * texel_lane(read_imagef(scale, scale_base + column / 4), column % 4);
}

/* One work-group for all, which adds up its counts in local memory. */
#define RELU_COUNT(x_i)                                                                            \
    int id = get_local_id(0);                                                                      \
    int positive = 0;                                                                              \
    for (int i = id; i < COUNT; i += 64) {                                                         \
        float value = x_i;                                                                         \
        y[i] = value < 0 ? 0 : value;                                                              \
        positive += value > 0;                                                                     \
    }                                                                                              \
    counts[id] = positive;                                                                         \
    for (int half_size = 32; half_size > 0; half_size /= 2) {                                      \
        barrier(CLK_LOCAL_MEM_FENCE);                                                              \
        if (id < half_size)                                                                        \
            counts[id] += counts[id + half_size];                                                  \
    }                                                                                              \
    if (id == 0)                                                                                   \
        *count = counts[0];

__kernel void ec_k_relu_count(__global const float *x, __global float *y, __global int *count)
{
    __local int counts[64];
    RELU_COUNT(x[i])
}

__kernel void ec_k_relu_count_image(__read_only image1d_buffer_t x, const int x_base,
                                    __global float *y, __global int *count)
{
    __local int counts[64];
    RELU_COUNT(texel_lane(read_imagef(x, x_base + i / 4), i % 4))
}
