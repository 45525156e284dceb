// Products with packed quantised weights, with VNNI (vpdpbusd: 4 products of unsigned and signed bytes added to each
// 32-bit lane): a step of 32 rows of weights meets 4 activations of each row, repeated in every lane.

#define PACKED_PANELS 2
#define PACKED_ROWS 6
#define PACKED_SIGNED 0

INLINE void packed_dots(const int rows, const int bits, const int steps, const uint8_t *levels, size_t level_step,
                        const int8_t *x, size_t x_row_bytes, vi sum[][2]) {
    (void)bits;
    _Pragma("clang loop unroll(full)") for (int step = 0; step < steps; step++) {
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

#include "../vector/packed.h"
