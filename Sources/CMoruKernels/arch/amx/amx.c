// The products on AMX tiles: of bf16, of bytes, and with packed quantised weights. What is not done on tiles is done as at the AVX-512 level.
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "../../blocks.h"
#include "../../packed.h"
#include "../../table.h"

#pragma clang attribute push(                                                                                     \
    __attribute__((target("amx-tile,amx-bf16,amx-int8,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx512vnni,"  \
                          "avx2,fma,f16c"))),                                                                     \
    apply_to = function)

#define MORU_NAME(f) moru_avx512_##f
#define MORU_LANES 16
#define VNNI_NAME(f) moru_avx512_vnni_##f
#define AMX_NAME(f) moru_amx_##f
#include "kernels.h"

#pragma clang attribute pop

#endif
