// The AMX kernels as they are compiled for AMX, but for the tiles.
#include "emulated_kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "../../Sources/CMoruKernels/blocks.h"
#include "../../Sources/CMoruKernels/packed.h"
#include "../../Sources/CMoruKernels/table.h"

#pragma clang attribute push(                                                                                        \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,avx2,fma,f16c"))),               \
    apply_to = function)

#include "tiles.h"

#define MORU_NAME(f) moru_avx512_##f
#define MORU_LANES 16
#define VNNI_NAME(f) moru_avx512_vnni_##f
#define AMX_NAME(f) emulated_##f
#include "../../Sources/CMoruKernels/arch/amx/kernels.h"

#pragma clang attribute pop

const emulated_level *emulated_amx(void) {
    static const moru_kernels kernels = MORU_KERNEL_TABLE(moru_avx512, moru_avx512, emulated, moru_avx512, emulated,
                                                          MORU_CPU_AMX, "amx+avx512+vnni, emulated");
    static const moru_byte_kernels bytes = {
        .is_fast = true, .rows = moru_avx512_vnni_byte_rows, .product = emulated_byte_product};
    static const emulated_level level = {&kernels, &bytes, emulated_is_released, emulated_products};
    return moru_kernels_for(MORU_CPU_AVX512_BF16) ? &level : NULL;
}

#else
const emulated_level *emulated_amx(void) { return NULL; }
#endif
