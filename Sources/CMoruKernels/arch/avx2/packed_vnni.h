// Products with packed quantised weights on AVX2 with AVX-VNNI (vpdpbusd: 4 products of unsigned and signed bytes added
// to each 32-bit lane).

#define PACKED_PANELS 1
#define PACKED_ROWS 4
#define PACKED_SIGNED 0
#define PACKED_NIBBLES 1
#define PACKED_IN_ORDER() KEEP_ORDER()

// One step: 16 outputs' levels in two vectors, 4 activations of each row.
INLINE void packed_step(const int rows, __m256i left, __m256i right, const int8_t *x, size_t x_row_bytes,
                        vi sum[][2]) {
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        int32_t four;
        memcpy(&four, x + (size_t)r * x_row_bytes, sizeof four);
        __m256i activations = _mm256_set1_epi32(four);
        sum[r][0] = (vi)_mm256_dpbusd_avx_epi32((__m256i)sum[r][0], left, activations);
        sum[r][1] = (vi)_mm256_dpbusd_avx_epi32((__m256i)sum[r][1], right, activations);
        KEEP_IN_REGISTERS(sum[r][0], sum[r][1]);
    }
}

INLINE __m256i packed_load(const uint8_t *levels) {
    return _mm256_loadu_si256((const __m256i *)(const void *)levels);
}

INLINE void packed_dots(const int rows, const int bits, const int steps, const uint8_t *levels, size_t level_step,
                        const int8_t *x, size_t x_row_bytes, vi sum[][2]) {
    (void)bits, (void)level_step;
    _Pragma("clang loop unroll(full)") for (int step = 0; step < steps; step++) {
        PACKED_IN_ORDER();
        const uint8_t *at = levels + 64 * step;
        packed_step(rows, packed_load(at), packed_load(at + 32), x + 4 * step, x_row_bytes, sum);
    }
}

// The same for the 8 steps of a block of 4-bit levels as they are packed: step i in the low halves of the bytes of
// vector i, step i + 4 in the high ones.
INLINE void packed_nibble_dots(const int rows, const uint8_t *levels, size_t level_step, const int8_t *x,
                               size_t x_row_bytes, vi sum[][2]) {
    (void)level_step;
    const __m256i low = _mm256_set1_epi8(15);
    _Pragma("clang loop unroll(full)") for (int i = 0; i < 4; i++) {
        PACKED_IN_ORDER();
        __m256i left = packed_load(levels + 64 * i), right = packed_load(levels + 64 * i + 32);
        packed_step(rows, _mm256_and_si256(left, low), _mm256_and_si256(right, low), x + 4 * i, x_row_bytes, sum);
        left = _mm256_and_si256(_mm256_srli_epi16(left, 4), low);
        right = _mm256_and_si256(_mm256_srli_epi16(right, 4), low);
        packed_step(rows, left, right, x + 4 * i + 16, x_row_bytes, sum);
    }
}

#include "../vector/packed.h"
