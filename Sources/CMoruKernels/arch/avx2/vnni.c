// Products with packed quantised weights, and products of bytes, on AVX2 with AVX-VNNI.
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "../../bytes.h"
#include "../../packed.h"
#include "../../table.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)

#define MORU_NAME(f) moru_avx2_##f
#define MORU_LANES 8
#include "../vector/vector.h"

#define PACKED_NAME(f) moru_avx2_vnni_##f
#include "packed_vnni.h"

#define BYTE_NAME(f) moru_avx2_vnni_##f
#define BYTE_ROWS 4
// 12 sums, 3 weights and a row's activations are all the registers.
#define BYTE_KEEP(sum) __asm__ volatile("" : "+x"(sum[0]), "+x"(sum[1]), "+x"(sum[2]) : : "memory")

INLINE vi byte_dots(vi sum, vi activations, vi weights) {
    return (vi)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)activations, (__m256i)weights);
}

INLINE void byte_put_levels(uint8_t *out, vf x) {
    __m256i level = _mm256_cvtps_epi32((__m256)x);
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(level), _mm256_extracti128_si256(level, 1));
    _mm_storel_epi64((__m128i *)(void *)out, _mm_packus_epi16(words, words));
}

#include "../vector/bytes.h"

#pragma clang attribute pop

#endif
