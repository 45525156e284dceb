// Products with packed quantised weights, with VNNI (vpdpbusd: 4 products of unsigned and signed bytes added to each
// 32-bit lane): a step of 32 rows of weights meets 4 activations of each row, repeated in every lane.

#define PACKED_PANELS 2
#define PACKED_ROWS 6
#define PACKED_SIGNED 0
#define PACKED_NIBBLES 1
#define PACKED_IN_ORDER() KEEP_ORDER()

INLINE void packed_dots(const int rows, const int bits, const int steps, const uint8_t *levels, size_t level_step,
                        const int8_t *x, size_t x_row_bytes, vi sum[][2]) {
    (void)bits;
    _Pragma("clang loop unroll(full)") for (int step = 0; step < steps; step++) {
        PACKED_IN_ORDER();
        __m512i left = _mm512_loadu_si512(levels + 64 * step);
        __m512i right = _mm512_loadu_si512(levels + level_step + 64 * step);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, x + (size_t)r * x_row_bytes + 4 * step, sizeof four);
            __m512i activations = _mm512_set1_epi32(four);
            sum[r][0] = (vi)_mm512_dpbusd_epi32((__m512i)sum[r][0], left, activations);
            sum[r][1] = (vi)_mm512_dpbusd_epi32((__m512i)sum[r][1], right, activations);
        }
    }
}

// The same for the 8 steps of a block of 4-bit levels as they are packed: step i in the low halves of the bytes of vector
// i, step i + 4 in the high ones, whose sums are taken 16 times as large.
INLINE void packed_nibble_dots(const int rows, const uint8_t *levels, size_t level_step, const int8_t *x,
                               size_t x_row_bytes, vi sum[][2]) {
    const __m512i low = _mm512_set1_epi8(15), high = _mm512_set1_epi8((char)0xf0);
    __m512i larger[PACKED_ROWS][2];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        larger[r][0] = larger[r][1] = _mm512_setzero_si512();
    }
    _Pragma("clang loop unroll(full)") for (int i = 0; i < 4; i++) {
        __m512i left = _mm512_loadu_si512(levels + 64 * i), right = _mm512_loadu_si512(levels + level_step + 64 * i);
        __m512i left_low = _mm512_and_si512(left, low), left_high = _mm512_and_si512(left, high);
        __m512i right_low = _mm512_and_si512(right, low), right_high = _mm512_and_si512(right, high);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            int32_t first, second;
            memcpy(&first, x + (size_t)r * x_row_bytes + 4 * i, sizeof first);
            memcpy(&second, x + (size_t)r * x_row_bytes + 4 * i + 16, sizeof second);
            __m512i one = _mm512_set1_epi32(first), other = _mm512_set1_epi32(second);
            sum[r][0] = (vi)_mm512_dpbusd_epi32((__m512i)sum[r][0], left_low, one);
            sum[r][1] = (vi)_mm512_dpbusd_epi32((__m512i)sum[r][1], right_low, one);
            larger[r][0] = _mm512_dpbusd_epi32(larger[r][0], left_high, other);
            larger[r][1] = _mm512_dpbusd_epi32(larger[r][1], right_high, other);
        }
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        sum[r][0] += (vi)_mm512_srai_epi32(larger[r][0], 4);
        sum[r][1] += (vi)_mm512_srai_epi32(larger[r][1], 4);
    }
}

#include "../vector/packed.h"
