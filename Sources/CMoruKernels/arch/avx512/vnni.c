// Products with packed quantised weights, and products of bytes, on AVX-512 with VNNI.
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "../../bytes.h"
#include "../../packed.h"
#include "../../table.h"

#pragma clang attribute push(                                                                            \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), apply_to = function)

#define MORU_NAME(f) moru_avx512_##f
#define MORU_LANES 16
#include "../vector/vector.h"

#define PACKED_NAME(f) moru_avx512_vnni_##f
#include "packed.h"

#include "bytes.h"

#pragma clang attribute pop

#endif
