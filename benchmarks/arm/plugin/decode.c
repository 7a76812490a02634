#include "decode.h"

#include <stdbool.h>

const char *const class_names[CLASSES] = {
    "fma_vector", "fma_scalar", "simd",     "fp_scalar", "load_vector", "store_vector", "load",
    "store",      "prefetch",   "branch",   "integer",   "other",       "sve",
};

static unsigned bits(uint32_t word, unsigned high, unsigned low) {
    return (word >> low) & ((1u << (high - low + 1)) - 1);
}

static bool matches(uint32_t word, uint32_t mask, uint32_t value) {
    return (word & mask) == value;
}

static struct decoded simple(enum insn_class kind) {
    return (struct decoded){kind, 0, 0, 0};
}

static struct decoded access(bool vector, bool load, bool store, unsigned bytes) {
    enum insn_class kind = load ? (vector ? LOAD_VECTOR : LOAD) : (vector ? STORE_VECTOR : STORE);
    return (struct decoded){kind, 0, load ? bytes : 0, store ? bytes : 0};
}

static struct decoded multiply_add(unsigned lanes) {
    return (struct decoded){FMA_VECTOR, lanes, 0, 0};
}

// ld1 to ld4, st1 to st4: whole registers or single lanes.
static struct decoded decode_structures(uint32_t word) {
    const bool load = bits(word, 22, 22);
    if (!bits(word, 24, 24)) {
        static const unsigned char registers[16] = {4, 0, 4, 0, 3, 0, 3, 1, 2, 0, 2};
        const unsigned width = bits(word, 30, 30) ? 16 : 8;
        return access(true, load, !load, registers[bits(word, 15, 12)] * width);
    }
    const unsigned opcode = bits(word, 15, 13), size = bits(word, 11, 10);
    const unsigned registers = ((opcode & 1) << 1 | bits(word, 21, 21)) + 1;
    unsigned element = 1u << (opcode >> 1);
    if (opcode >> 1 == 2) element = size & 1 ? 8 : 4;
    if (opcode >> 1 == 3) element = 1u << size;  // load one and replicate
    return access(true, load, !load, registers * element);
}

// Exclusive, acquire and release, compare and swap.
static struct decoded decode_exclusive(uint32_t word) {
    const unsigned size = bits(word, 31, 30);
    const bool load = bits(word, 22, 22), pair = bits(word, 21, 21);
    if (pair && bits(word, 23, 23)) return access(false, true, true, 1u << size);
    if (pair && size < 2) return access(false, true, true, 8u << size);
    return access(false, load, !load, (1u << size) * (pair ? 2 : 1));
}

static struct decoded decode_register(uint32_t word) {
    const unsigned size = bits(word, 31, 30), opcode = bits(word, 23, 22);
    if (bits(word, 26, 26)) {
        const bool load = opcode & 1;
        return access(true, load, !load, opcode & 2 ? 16 : 1u << size);
    }
    const bool atomic = !bits(word, 24, 24) && bits(word, 21, 21) && bits(word, 11, 10) == 0;
    if (atomic) return access(false, true, bits(word, 15, 12) != 12, 1u << size);
    if (opcode == 2 && size == 3) return simple(PREFETCH);
    return access(false, opcode != 0, opcode == 0, 1u << size);
}

static struct decoded decode_memory(uint32_t word) {
    const unsigned size = bits(word, 31, 30);
    const bool vector = bits(word, 26, 26), load = bits(word, 22, 22);
    if (matches(word, 0xbe000000u, 0x0c000000u)) return decode_structures(word);
    if (matches(word, 0x3f000000u, 0x08000000u)) return decode_exclusive(word);
    if (matches(word, 0x3b000000u, 0x18000000u)) {  // relative to the program counter
        if (!vector && size == 3) return simple(PREFETCH);
        return access(vector, true, false, vector ? 4u << size : size == 1 ? 8 : 4);
    }
    if (matches(word, 0x3f000000u, 0x19000000u)) {  // ldapur, stlur
        const unsigned opcode = bits(word, 23, 22);
        return access(false, opcode != 0, opcode == 0, 1u << size);
    }
    if (matches(word, 0x3a000000u, 0x28000000u)) {  // pairs
        const unsigned bytes = vector ? 4u << size : size == 2 ? 8 : 4;
        return access(vector, load, !load, 2 * bytes);
    }
    if (matches(word, 0x3a000000u, 0x38000000u)) return decode_register(word);
    return simple(OTHER);
}

static struct decoded decode_simd(uint32_t word) {
    const bool full = bits(word, 30, 30), unsigned_ = bits(word, 29, 29);
    const unsigned single = full ? 4 : 2;  // fp32 lanes
    if (matches(word, 0xff000000u, 0x1f000000u)) return (struct decoded){FMA_SCALAR, 1, 0, 0};
    if (matches(word, 0x9f200400u, 0x0e200400u) && !unsigned_ && bits(word, 15, 11) == 0x19)
        return multiply_add(bits(word, 22, 22) ? 2 : single);
    if (matches(word, 0x9f60c400u, 0x0e400400u) && !unsigned_ && bits(word, 13, 11) == 1)
        return multiply_add(2 * single);  // fp16
    if (matches(word, 0x9f000400u, 0x0f000000u) && !unsigned_) {  // by element
        const unsigned opcode = bits(word, 15, 12), size = bits(word, 23, 22);
        if (opcode == 1 || opcode == 5)
            return multiply_add(size == 0 ? 2 * single : size == 3 ? 2 : single);
    }
    if (matches(word, 0xdf000400u, 0x5f000000u) && !unsigned_) {  // scalar by element
        const unsigned opcode = bits(word, 15, 12);
        if (opcode == 1 || opcode == 5) return (struct decoded){FMA_SCALAR, 1, 0, 0};
    }
    return simple(bits(word, 28, 28) ? FP_SCALAR : SIMD);
}

struct decoded decode_a64(uint32_t word) {
    const unsigned group = bits(word, 28, 25);
    if (group == 2) return simple(SVE);
    if ((group & 14) == 8 || (group & 7) == 5) return simple(INTEGER);
    if ((group & 5) == 4) return decode_memory(word);
    if ((group & 7) == 7) return decode_simd(word);
    if ((group & 14) != 10) return simple(OTHER);
    if (matches(word, 0xffffffe0u, 0xd50b7420u)) return access(false, false, true, 64);  // dc zva
    const bool system = matches(word, 0xffc00000u, 0xd5000000u);
    return simple(system || matches(word, 0xff000000u, 0xd4000000u) ? OTHER : BRANCH);
}
