// Products with packed quantised weights on NEON: signed bytes, with the dot product instructions where the compiler
// may use them, else through 16-bit pairs.

#define PACKED_PANELS 1
#define PACKED_ROWS 2
#define PACKED_SIGNED 1
#define PACKED_NIBBLES 0

INLINE int32x4_t packed_dot(int32x4_t sum, int8x16_t levels, int8x16_t activations) {
#if defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(sum, levels, activations);
#else
    int16x8_t low = vmull_s8(vget_low_s8(levels), vget_low_s8(activations));
    int16x8_t high = vmull_s8(vget_high_s8(levels), vget_high_s8(activations));
    return vpadalq_s16(sum, vpaddq_s16(low, high));
#endif
}

INLINE void packed_dots(const int rows, const int bits, const int steps, const uint8_t *levels, size_t level_step,
                        const int8_t *x, size_t x_row_bytes, vi sum[][4]) {
    (void)level_step;
    _Pragma("clang loop unroll(full)") for (int step = 0; step < steps; step++) {
        int8x16_t part[4];
        _Pragma("clang loop unroll(full)") for (int v = 0; v < 4; v++) {
            uint8x16_t bytes = vld1q_u8(levels + 64 * step + 16 * v);
            if (bits == 8) bytes = veorq_u8(bytes, vdupq_n_u8(0x80));
            part[v] = vreinterpretq_s8_u8(bytes);
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, x + (size_t)r * x_row_bytes + 4 * step, sizeof four);
            int8x16_t activations = vreinterpretq_s8_s32(vdupq_n_s32(four));
            _Pragma("clang loop unroll(full)") for (int v = 0; v < 4; v++) {
                sum[r][v] = (vi)packed_dot((int32x4_t)sum[r][v], part[v], activations);
            }
        }
    }
}

#include "../vector/packed.h"
