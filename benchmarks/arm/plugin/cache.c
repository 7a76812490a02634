#include "cache.h"

#include <stdlib.h>

bool cache_init(struct cache *cache, unsigned long bytes, unsigned long ways) {
    if (ways == 0 || bytes % (ways << LINE_BITS) != 0) return false;
    cache->ways = (unsigned)ways;
    cache->sets = (unsigned)(bytes / (ways << LINE_BITS));
    cache->clock = 0;
    cache->lines = calloc((size_t)cache->sets * ways, sizeof *cache->lines);
    return cache->sets != 0 && cache->lines != NULL;
}

struct outcome cache_access(struct cache *cache, uint64_t number, bool store) {
    struct line *set = cache->lines + (size_t)(number % cache->sets) * cache->ways;
    struct line *oldest = set;
    cache->clock++;
    for (unsigned way = 0; way < cache->ways; way++) {
        struct line *line = set + way;
        if (line->used && line->number == number) {
            line->used = cache->clock;
            line->dirty |= store;
            return (struct outcome){.hit = true};
        }
        if (line->used < oldest->used) oldest = line;
    }
    const struct outcome miss = {
        .writes_back = oldest->used && oldest->dirty,
        .written_line = oldest->number,
    };
    *oldest = (struct line){number, cache->clock, store};
    return miss;
}
