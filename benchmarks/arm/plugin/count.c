// A QEMU plugin that counts what an AArch64 program executes: instructions by class, fused
// multiply-accumulates, bytes loaded and stored, and, in a model of the caches, misses.
//
//   qemu-aarch64 -cpu cortex-a72 -plugin count.so,out=FILE[,cache=regions|all,l1=B:W,l2=B:W[,l3=B:W]] PROGRAM
//
// FILE gets a line of JSON for each region that the program marks (marks.h), and one for the whole
// run. The caches (bytes:ways; L1 of each thread, the others shared) see the regions' accesses, or
// all. Counting is exact with one busy thread: threads add to the same counters without a lock.
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "decode.h"
#include "marks.h"
#include "qemu_plugin.h"

enum { THREADS = 32 };
enum figure { INSNS, MACS, LOAD_BYTES, STORE_BYTES, FIRST_CLASS, FIGURES = FIRST_CLASS + CLASSES };
enum event { L1D_MISS, L2_MISS, L2_WRITEBACK, L3_MISS, L3_WRITEBACK, EVENTS };
static const char *const event_names[EVENTS] = {"l1d_miss", "l2_miss", "l2_writeback", "l3_miss",
                                                "l3_writeback"};

// What a translated block of instructions adds each time that it runs.
struct block {
    struct block *next;
    uint64_t runs;
    uint32_t figures[FIGURES];
};

static struct block *blocks;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *out;
static enum { CACHE_OFF, CACHE_REGIONS, CACHE_ALL } cache_mode;
static volatile bool in_region;
static struct cache l1[THREADS], l2, l3;
static uint64_t events[EVENTS];
static uint64_t figures_before[FIGURES], events_before[EVENTS];

int qemu_plugin_version = 1;

static void sum_figures(uint64_t sums[FIGURES]) {
    memset(sums, 0, FIGURES * sizeof *sums);
    for (const struct block *block = blocks; block; block = block->next)
        for (int i = 0; i < FIGURES; i++) sums[i] += block->runs * block->figures[i];
}

// Writes what was counted since `before`.
static void report(const char *what, const uint64_t before[FIGURES],
                   const uint64_t earlier[EVENTS]) {
    uint64_t sums[FIGURES];
    sum_figures(sums);
    for (int i = 0; i < FIGURES; i++) sums[i] -= before[i];
    fprintf(out,
            "{\"what\": \"%s\", \"insns\": %" PRIu64 ", \"macs\": %" PRIu64
            ", \"load_bytes\": %" PRIu64 ", \"store_bytes\": %" PRIu64 ", \"classes\": {",
            what, sums[INSNS], sums[MACS], sums[LOAD_BYTES], sums[STORE_BYTES]);
    for (int i = 0; i < CLASSES; i++)
        fprintf(out, "%s\"%s\": %" PRIu64, i ? ", " : "", class_names[i], sums[FIRST_CLASS + i]);
    fprintf(out, "}, \"memory\": {");
    for (int i = 0; i < EVENTS && cache_mode != CACHE_OFF; i++)
        fprintf(out, "%s\"%s\": %" PRIu64, i ? ", " : "", event_names[i], events[i] - earlier[i]);
    fprintf(out, "}}\n");
    fflush(out);
}

static void on_begin(unsigned cpu, void *data) {
    (void)cpu, (void)data;
    pthread_mutex_lock(&lock);
    sum_figures(figures_before);
    memcpy(events_before, events, sizeof events);
    in_region = true;
    pthread_mutex_unlock(&lock);
}

static void on_end(unsigned cpu, void *data) {
    (void)cpu, (void)data;
    pthread_mutex_lock(&lock);
    if (in_region) report("region", figures_before, events_before);
    in_region = false;
    pthread_mutex_unlock(&lock);
}

static void on_exit_(qemu_plugin_id_t id, void *data) {
    (void)id, (void)data;
    static const uint64_t nothing[FIGURES], no_events[EVENTS];
    report("total", nothing, no_events);
}

// Brings a line into the third level where there is one.
static void access_l3(uint64_t line, bool store) {
    if (!l3.sets) return;
    const struct outcome found = cache_access(&l3, line, store);
    // A line that the second level writes back is not read from memory.
    events[L3_MISS] += !found.hit && !store;
    events[L3_WRITEBACK] += found.writes_back;
}

static void access_l2(uint64_t line, bool store) {
    const struct outcome found = cache_access(&l2, line, store);
    if (found.hit) return;
    events[L2_MISS]++;
    if (found.writes_back) {
        events[L2_WRITEBACK]++;
        access_l3(found.written_line, true);
    }
    access_l3(line, false);
}

static void on_access(unsigned cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data) {
    (void)data;
    if (!in_region && cache_mode != CACHE_ALL) return;
    const unsigned bytes = 1u << qemu_plugin_mem_size_shift(info);
    const bool store = qemu_plugin_mem_is_store(info);
    struct cache *own = &l1[cpu < THREADS ? cpu : THREADS - 1];
    const uint64_t last = (address + bytes - 1) >> LINE_BITS;
    for (uint64_t line = address >> LINE_BITS; line <= last; line++) {
        const struct outcome found = cache_access(own, line, store);
        if (found.hit) continue;
        pthread_mutex_lock(&lock);
        events[L1D_MISS]++;
        if (found.writes_back) access_l2(found.written_line, true);
        access_l2(line, false);
        pthread_mutex_unlock(&lock);
    }
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *translated) {
    (void)id;
    struct block *block = calloc(1, sizeof *block);
    if (!block) abort();
    const size_t count = qemu_plugin_tb_n_insns(translated);
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(translated, i);
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(insn), sizeof word);
        const struct decoded decoded = decode_a64(word);
        block->figures[INSNS]++;
        block->figures[MACS] += decoded.macs;
        block->figures[LOAD_BYTES] += decoded.load_bytes;
        block->figures[STORE_BYTES] += decoded.store_bytes;
        block->figures[FIRST_CLASS + (int)decoded.kind]++;
        if (word == MARK_BEGIN_WORD || word == MARK_END_WORD)
            qemu_plugin_register_vcpu_insn_exec_cb(
                insn, word == MARK_BEGIN_WORD ? on_begin : on_end, QEMU_PLUGIN_CB_NO_REGS, NULL);
        if (cache_mode != CACHE_OFF)
            qemu_plugin_register_vcpu_mem_cb(insn, on_access, QEMU_PLUGIN_CB_NO_REGS,
                                             QEMU_PLUGIN_MEM_RW, NULL);
    }
    qemu_plugin_register_vcpu_tb_exec_inline(translated, QEMU_PLUGIN_INLINE_ADD_U64, &block->runs,
                                             1);
    pthread_mutex_lock(&lock);
    block->next = blocks;
    blocks = block;
    pthread_mutex_unlock(&lock);
}

static bool make_cache(struct cache *cache, const char *geometry) {
    unsigned long bytes, ways;
    return sscanf(geometry, "%lu:%lu", &bytes, &ways) == 2 && cache_init(cache, bytes, ways);
}

// Takes one argument NAME=VALUE.
static bool take(const char *argument) {
    const char *value = strchr(argument, '=');
    if (!value) return false;
    const size_t length = (size_t)(value++ - argument);
    const char *const names[] = {"out", "cache", "l1", "l2", "l3"};
    size_t which = 0;
    while (which < 5 && (strlen(names[which]) != length || strncmp(names[which], argument, length)))
        which++;
    switch (which) {
    case 0:
        return (out = fopen(value, "w")) != NULL;
    case 1:
        cache_mode = strcmp(value, "all") ? CACHE_REGIONS : CACHE_ALL;
        return cache_mode == CACHE_ALL || !strcmp(value, "regions");
    case 2:
        for (int i = 0; i < THREADS; i++)
            if (!make_cache(&l1[i], value)) return false;
        return true;
    case 3:
        return make_cache(&l2, value);
    case 4:
        return make_cache(&l3, value);
    default:
        return false;
    }
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    if (strcmp(info->target_name, "aarch64")) {
        fprintf(stderr, "count: %s programs are not supported, only aarch64\n", info->target_name);
        return -1;
    }
    for (int i = 0; i < argc; i++) {
        if (!take(argv[i])) {
            fprintf(stderr, "count: unknown argument, or one that cannot be used: %s\n", argv[i]);
            return -1;
        }
    }
    if (!out || (cache_mode != CACHE_OFF && (!l1[0].sets || !l2.sets))) {
        fprintf(stderr, "count: expected out=FILE, and with a cache l1=BYTES:WAYS and l2\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
    qemu_plugin_register_atexit_cb(id, on_exit_, NULL);
    return 0;
}
