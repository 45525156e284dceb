// Products with packed quantised weights on AVX2: products of an unsigned and a signed byte are added in pairs to 16
// bits (vpmaddubsw), where as many steps are summed as fit before they are widened to 32. 8-bit levels would overflow:
// they are taken as signed, and their sign goes over to the activation.

#define PACKED_PANELS 1
#define PACKED_ROWS 2
#define PACKED_SIGNED 1
#define PACKED_NIBBLES 1

// Levels of 6 and 8 bits, whose sums are widened at once, need no help from fences.
#define PACKED_IN_ORDER() \
    if (bits < 6) KEEP_ORDER()

INLINE __m256i packed_activations(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

// Adds 16-bit sums in pairs.
INLINE void packed_widen(const int rows, const __m256i pairs[][2], vi sum[][2]) {
    const __m256i ones = _mm256_set1_epi16(1);
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        sum[r][0] += (vi)_mm256_madd_epi16(pairs[r][0], ones);
        sum[r][1] += (vi)_mm256_madd_epi16(pairs[r][1], ones);
    }
}

INLINE void packed_dots(const int rows, const int bits, const int steps, const uint8_t *levels, size_t level_step,
                        const int8_t *x, size_t x_row_bytes, vi sum[][2]) {
    (void)level_step;
    // 2 * 127 * (2^bits - 1) a step, at most 32767.
    const int most = bits <= 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1, together = most < steps ? most : steps;
    _Pragma("clang loop unroll(full)") for (int first = 0; first < steps; first += together) {
        __m256i pairs[PACKED_ROWS][2];
        _Pragma("clang loop unroll(full)") for (int step = first; step < first + together; step++) {
            PACKED_IN_ORDER();
            __m256i left = _mm256_loadu_si256((const __m256i *)(const void *)(levels + 64 * step));
            __m256i right = _mm256_loadu_si256((const __m256i *)(const void *)(levels + 64 * step + 32));
            __m256i signs[2] = {left, right};
            if (bits == 8) {
                const __m256i flip = _mm256_set1_epi8((char)0x80);
                signs[0] = _mm256_xor_si256(left, flip);
                signs[1] = _mm256_xor_si256(right, flip);
                left = _mm256_abs_epi8(signs[0]);
                right = _mm256_abs_epi8(signs[1]);
            }
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                __m256i activations = packed_activations(x + (size_t)r * x_row_bytes + 4 * step), other = activations;
                if (bits == 8) {
                    other = _mm256_sign_epi8(activations, signs[1]);
                    activations = _mm256_sign_epi8(activations, signs[0]);
                }
                __m256i low = _mm256_maddubs_epi16(left, activations), high = _mm256_maddubs_epi16(right, other);
                pairs[r][0] = step == first ? low : _mm256_add_epi16(pairs[r][0], low);
                pairs[r][1] = step == first ? high : _mm256_add_epi16(pairs[r][1], high);
                if (bits < 6) KEEP_IN_REGISTERS(pairs[r][0], pairs[r][1]);
            }
        }
        packed_widen(rows, pairs, sum);
    }
}

// The same for the 8 steps of a block of 4-bit levels as they are packed: step i in the low halves of the bytes of
// vector i, step i + 4 in the high ones.
INLINE void packed_nibble_dots(const int rows, const uint8_t *levels, size_t level_step, const int8_t *x,
                               size_t x_row_bytes, vi sum[][2]) {
    (void)level_step;
    const int bits = 4;
    const __m256i low = _mm256_set1_epi8(15);
    __m256i pairs[PACKED_ROWS][2];
    _Pragma("clang loop unroll(full)") for (int i = 0; i < 4; i++) {
        PACKED_IN_ORDER();
        __m256i left = _mm256_loadu_si256((const __m256i *)(const void *)(levels + 64 * i));
        __m256i right = _mm256_loadu_si256((const __m256i *)(const void *)(levels + 64 * i + 32));
        __m256i left_high = _mm256_and_si256(_mm256_srli_epi16(left, 4), low);
        __m256i right_high = _mm256_and_si256(_mm256_srli_epi16(right, 4), low);
        left = _mm256_and_si256(left, low);
        right = _mm256_and_si256(right, low);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            const int8_t *row = x + (size_t)r * x_row_bytes + 4 * i;
            __m256i one = packed_activations(row), other = packed_activations(row + 16);
            __m256i a = _mm256_add_epi16(_mm256_maddubs_epi16(left, one), _mm256_maddubs_epi16(left_high, other));
            __m256i b = _mm256_add_epi16(_mm256_maddubs_epi16(right, one), _mm256_maddubs_epi16(right_high, other));
            pairs[r][0] = i == 0 ? a : _mm256_add_epi16(pairs[r][0], a);
            pairs[r][1] = i == 0 ? b : _mm256_add_epi16(pairs[r][1], b);
            KEEP_IN_REGISTERS(pairs[r][0], pairs[r][1]);
        }
    }
    packed_widen(rows, pairs, sum);
}

#include "../vector/packed.h"
