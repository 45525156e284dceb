// What numbers are stored as, and the instruction sets that kernels are compiled for.
#ifndef MORU_TYPES_H
#define MORU_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Storage formats. The block formats follow GGUF: 32 elements a block for the `_0`/`_1` family, 256 for the `_K` family.
typedef enum {
    MORU_F32 = 0,
    MORU_F16 = 1,
    MORU_BF16 = 2,
    MORU_Q4_0 = 3,
    MORU_Q4_1 = 4,
    MORU_Q5_0 = 5,
    MORU_Q5_1 = 6,
    MORU_Q8_0 = 7,
    MORU_Q2_K = 8,
    MORU_Q3_K = 9,
    MORU_Q4_K = 10,
    MORU_Q5_K = 11,
    MORU_Q6_K = 12,
    MORU_DTYPE_COUNT = 13
} moru_dtype;

static inline size_t moru_block_elements(moru_dtype type) {
    if (type <= MORU_BF16) return 1;
    return type <= MORU_Q8_0 ? 32 : 256;
}

size_t moru_block_bytes(moru_dtype type);
// Whether `quantize` can write this format (all can be read). Quantising to a format that cannot be written is an error
// of the caller and leaves the output as it was.
bool moru_can_quantize(moru_dtype type);
// Whether `quantize_rows` can.
bool moru_can_quantize_rows(moru_dtype type);

// Instruction-set levels, weakest first within an architecture.
typedef enum {
    MORU_CPU_SCALAR = 0,
    MORU_CPU_NEON = 1,
    MORU_CPU_AVX2 = 2,         // AVX2, FMA, F16C
    MORU_CPU_AVX2_VNNI = 3,    // the above with AVX-VNNI
    MORU_CPU_AVX512 = 4,       // AVX-512 F, BW, DQ, VL
    MORU_CPU_AVX512_BF16 = 5,  // the above with VNNI and BF16
    MORU_CPU_AMX = 6           // the above with AMX tiles for bf16 and int8
} moru_cpu_level;

const char *moru_cpu_level_name(moru_cpu_level level);
// What this CPU and operating system offer; for AMX this asks the kernel for the tile permission.
moru_cpu_level moru_cpu_best_level(void);
// The name, as in /proc/cpuinfo, of the instruction set at `index` among those found that kernels use; NULL beyond the
// last.
const char *moru_cpu_feature(size_t index);

#ifdef __cplusplus
}
#endif

#endif
