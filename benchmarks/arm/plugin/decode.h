// What an AArch64 instruction does, as far as it is counted.
#ifndef DECODE_H
#define DECODE_H

#include <stdint.h>

enum insn_class {
    FMA_VECTOR,    // fused multiply-add of vectors, fp32 or fp16
    FMA_SCALAR,    // of scalars
    SIMD,          // any other vector instruction
    FP_SCALAR,     // any other scalar floating-point instruction
    LOAD_VECTOR,   // into a vector or floating-point register
    STORE_VECTOR,  // from one
    LOAD,          // into a general register
    STORE,         // from one
    PREFETCH,
    BRANCH,
    INTEGER,  // arithmetic in general registers
    OTHER,    // system instructions and whatever is not known
    SVE,      // scalable vectors, whose multiply-adds are not counted
    CLASSES,
};

extern const char *const class_names[CLASSES];

struct decoded {
    enum insn_class kind;
    unsigned macs;         // multiply-accumulates
    unsigned load_bytes;   // read from memory
    unsigned store_bytes;  // written to memory
};

// Decodes one instruction word (Arm Architecture Reference Manual, section C4.1).
struct decoded decode_a64(uint32_t word);

#endif
