// The AMX kernels with narrower vectors beside the tiles, for machines without AVX-512.
#include "emulated_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <math.h>

#include "../../Sources/CMoruKernels/blocks.h"
#include "../../Sources/CMoruKernels/packed.h"
#include "../../Sources/CMoruKernels/table.h"

#if defined(__x86_64__)
#define LEVEL MORU_CPU_AVX2
#define MORU_NAME(f) moru_avx2_##f
#define TABLE(NAME) MORU_KERNEL_TABLE(moru_avx2, moru_avx2, emulated_narrow, moru_avx2, emulated_narrow, MORU_CPU_AMX, NAME)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#elif defined(__aarch64__)
#define LEVEL MORU_CPU_NEON
#define MORU_NAME(f) moru_neon_##f
#define TABLE(NAME) MORU_KERNEL_TABLE(moru_neon, moru_neon, emulated_narrow, moru_neon, emulated_narrow, MORU_CPU_AMX, NAME)
#else
#define LEVEL MORU_CPU_SCALAR
#define MORU_NAME(f) moru_scalar_##f
#define TABLE(NAME) MORU_KERNEL_TABLE(moru_scalar, moru_scalar, emulated_narrow, moru_scalar, emulated_narrow, MORU_CPU_AMX, NAME)
#endif

#include "tiles.h"

#define MORU_LANES 8
#define VNNI_NAME(f) moru_scalar_##f
#define AMX_NAME(f) emulated_narrow_##f
#include "../../Sources/CMoruKernels/arch/amx/kernels.h"

#if defined(__x86_64__)
#pragma clang attribute pop
#endif

const emulated_level *emulated_amx_narrow(void) {
    static const moru_kernels kernels = TABLE("amx, emulated");
    static const moru_byte_kernels bytes = {.rows = moru_scalar_byte_rows, .product = emulated_narrow_byte_product};
    static const emulated_level level = {&kernels, &bytes, emulated_is_released, emulated_products};
    return moru_kernels_for(LEVEL) ? &level : NULL;
}
