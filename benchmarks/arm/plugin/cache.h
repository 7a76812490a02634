// A model of data caches: least recently used, write back, write allocate, lines of 64 bytes.
#ifndef CACHE_H
#define CACHE_H

#include <stdbool.h>
#include <stdint.h>

enum { LINE_BITS = 6 };

struct line {
    uint64_t number;
    uint64_t used;  // when; 0 where the line is empty
    bool dirty;
};

struct cache {
    unsigned sets;  // 0 where there is no such cache
    unsigned ways;
    uint64_t clock;
    struct line *lines;
};

struct outcome {
    bool hit;
    bool writes_back;
    uint64_t written_line;  // where it writes back
};

// Makes a cache of `bytes` and `ways`; false where the sizes do not fit or memory lacks.
bool cache_init(struct cache *cache, unsigned long bytes, unsigned long ways);

// Looks a line up, and brings it in where it is missing.
struct outcome cache_access(struct cache *cache, uint64_t line, bool store);

#endif
