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

#define BYTE_NAME(f) moru_avx512_vnni_##f
#define BYTE_ROWS 8
#define BYTE_KEEP(sum)

INLINE vi byte_dots(vi sum, vi activations, vi weights) {
    return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)activations, (__m512i)weights);
}

INLINE void byte_put_levels(uint8_t *out, vf x) {
    __m512i level = _mm512_max_epi32(_mm512_cvtps_epi32((__m512)x), _mm512_setzero_si512());
    _mm_storeu_si128((__m128i *)(void *)out, _mm512_cvtusepi32_epi8(level));
}

#include "../vector/bytes.h"

#pragma clang attribute pop

#endif
