// Measures the multiply-accumulate peak: peak THREADS, prints fp32 GFLOP/s of all threads together.
//
// Each thread keeps enough independent accumulators in registers to hide the latency of an FMA
// (at most 5 cycles times 2 units on the processors at hand); nothing is loaded or stored.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifndef VECTOR_BYTES
#define VECTOR_BYTES 16
#endif
enum { ACCUMULATORS = 12, STEPS = 1000, MAX_THREADS = 64, SAMPLES = 15 };
static const double SAMPLE_S = 0.02;

typedef float vector __attribute__((vector_size(VECTOR_BYTES)));

struct worker {
    pthread_barrier_t *start;
    double gflops[SAMPLES];
    float sink;
};

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void multiply_accumulate(vector sums[ACCUMULATORS], vector factor, vector term) {
    vector local[ACCUMULATORS];
    for (int i = 0; i < ACCUMULATORS; i++) local[i] = sums[i];
    for (int step = 0; step < STEPS; step++) {
#pragma GCC unroll 12
        for (int i = 0; i < ACCUMULATORS; i++) local[i] = local[i] * factor + term;
    }
    for (int i = 0; i < ACCUMULATORS; i++) sums[i] = local[i];
}

static void *measure(void *data) {
    struct worker *worker = data;
    vector sums[ACCUMULATORS], factor, term;
    for (int lane = 0; lane < VECTOR_BYTES / 4; lane++) {
        factor[lane] = 0.999f;
        term[lane] = 0.001f;
    }
    for (int i = 0; i < ACCUMULATORS; i++) sums[i] = term * (float)i;
    const double flops = 2.0 * ACCUMULATORS * STEPS * (VECTOR_BYTES / 4);
    for (int sample = 0; sample < SAMPLES; sample++) {
        pthread_barrier_wait(worker->start);
        const double start = seconds();
        double now = start;
        double done = 0;
        while (now - start < SAMPLE_S) {
            for (int i = 0; i < 100; i++) multiply_accumulate(sums, factor, term);
            done += 100 * flops;
            now = seconds();
        }
        worker->gflops[sample] = done / (now - start) * 1e-9;
    }
    for (int i = 0; i < ACCUMULATORS; i++) worker->sink += sums[i][0];
    return NULL;
}

int main(int argc, char **argv) {
    const int count = argc > 1 ? atoi(argv[1]) : 1;
    if (count < 1 || count > MAX_THREADS) {
        fprintf(stderr, "peak: expected 1 to %d threads\n", MAX_THREADS);
        return 2;
    }
    static struct worker workers[MAX_THREADS];
    pthread_t threads[MAX_THREADS];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, (unsigned)count);
    for (int i = 0; i < count; i++) {
        workers[i].start = &start;
        if (pthread_create(&threads[i], NULL, measure, &workers[i]) != 0) {
            fprintf(stderr, "peak: no thread\n");
            return 1;
        }
    }
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    double best = 0;
    float sink = 0;
    for (int sample = 0; sample < SAMPLES; sample++) {
        double sum = 0;
        for (int i = 0; i < count; i++) sum += workers[i].gflops[sample];
        if (sum > best) best = sum;
    }
    for (int i = 0; i < count; i++) sink += workers[i].sink;
    printf("%.2f %g\n", best, (double)sink);
    return 0;
}
