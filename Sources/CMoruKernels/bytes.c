// Packing of weights for products of bytes, and the scalar reference of those products. Layout: bytes.h.
#include "bytes.h"

#include <math.h>

#include "table.h"

size_t moru_byte_row_bytes(size_t k) {
    return byte_levels_of_row(k) + moru_round_up(byte_groups(k) * 2 * sizeof(float), 64);
}

size_t moru_byte_packed_bytes(size_t n, size_t k) {
    return (n + BYTE_COLUMNS - 1) / BYTE_COLUMNS * byte_sliver_bytes(k);
}

// One output's group of `count` elements into column r of a sliver's group.
static void pack_group(const float *w, size_t count, size_t depth, size_t r, uint8_t *out) {
    float largest = 0;
    for (size_t i = 0; i < count; i++) largest = fabsf(w[i]) > largest || w[i] != w[i] ? fabsf(w[i]) : largest;
    float inverse = largest > 0 && largest < INFINITY ? 127 / largest : 0;
    int32_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        float scaled = rintf(w[i] * inverse);
        int8_t level = fabsf(scaled) <= 127 ? (int8_t)scaled : 0;
        ((int8_t *)out)[i / 4 * 4 * BYTE_COLUMNS + 4 * r + i % 4] = level;
        sum += level;
    }
    float scales[2] = {largest < INFINITY ? largest / 127 : NAN, 0};
    scales[1] = scales[0] * (float)sum;
    float *to = (float *)(void *)(out + depth * BYTE_COLUMNS);
    memcpy(to + r, &scales[0], sizeof(float));
    memcpy(to + BYTE_COLUMNS + r, &scales[1], sizeof(float));
}

void moru_byte_pack(moru_dtype type, const void *w, size_t w_row_bytes, size_t n, size_t k, void *out, size_t n_begin,
                    size_t n_end, float *scratch) {
    for (size_t first = n_begin; first < n_end; first += BYTE_COLUMNS) {
        uint8_t *sliver = (uint8_t *)out + first / BYTE_COLUMNS * byte_sliver_bytes(k);
        memset(sliver, 0, byte_sliver_bytes(k));
        for (size_t r = 0; r < moru_min_size(BYTE_COLUMNS, n - first); r++) {
            moru_scalar_dequantize(type, (const uint8_t *)w + (first + r) * w_row_bytes, scratch, k);
            uint8_t *group = sliver;
            for (size_t g = 0; g < byte_groups(k); g++) {
                size_t start = g * BYTE_GROUP, depth = byte_group_depth(k, g);
                pack_group(scratch + start, moru_min_size(BYTE_GROUP, k - start), depth, r, group);
                group += byte_group_bytes(depth);
            }
        }
    }
}

void moru_scalar_byte_rows(moru_dtype type, const void *x, size_t x_row_stride, size_t k, void *out, size_t begin,
                           size_t end) {
    for (size_t row = begin; row < end; row++) {
        uint8_t *levels = (uint8_t *)out + row * moru_byte_row_bytes(k);
        float *steps = (float *)(void *)(levels + byte_levels_of_row(k)), *zeros = steps + byte_groups(k);
        memset(levels, 0, moru_byte_row_bytes(k));
        for (size_t g = 0; g < byte_groups(k); g++) {
            size_t start = g * BYTE_GROUP, stop = moru_min_size(k, start + BYTE_GROUP);
            float low = 0, high = 0;
            bool finite = true;
            for (size_t i = start; i < stop; i++) {
                float v = moru_element(type, x, row * x_row_stride + i);
                low = v < low ? v : low;
                high = v > high ? v : high;
                if (!isfinite(v)) finite = false;
            }
            float range = high - low;
            if (!finite || !isfinite(range)) {
                steps[g] = NAN;  // makes the row's products NaN
                continue;
            }
            float inverse = range > 0 ? 255 / range : 0;
            if (isinf(inverse)) inverse = 0;  // a range too small to divide by
            steps[g] = inverse > 0 ? range / 255 : 0;
            zeros[g] = rintf(-low * inverse);
            for (size_t i = start; i < stop; i++) {
                float level = rintf(fmaf(moru_element(type, x, row * x_row_stride + i), inverse, zeros[g]));
                levels[i] = (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
            }
        }
    }
}

void moru_scalar_byte_product(const moru_byte_product *args, size_t m_begin, size_t m_end, size_t n_begin,
                              size_t n_end) {
    size_t k = args->k;
    for (size_t m = m_begin; m < m_end; m++) {
        const uint8_t *levels = (const uint8_t *)args->a + m * moru_byte_row_bytes(k);
        const float *steps = (const float *)(const void *)(levels + byte_levels_of_row(k));
        const float *zeros = steps + byte_groups(k);
        for (size_t n = n_begin; n < n_end; n++) {
            const uint8_t *group = (const uint8_t *)args->b + n / BYTE_COLUMNS * byte_sliver_bytes(k);
            size_t r = n % BYTE_COLUMNS;
            float *c = args->c + m * args->c_row_stride + n, y = args->accumulate ? *c : 0;
            for (size_t g = 0; g < byte_groups(k); g++) {
                size_t depth = byte_group_depth(k, g);
                const int8_t *weights = (const int8_t *)group + 4 * r;
                int32_t sum = 0;
                for (size_t i = 0; i < depth; i++) {
                    sum += levels[g * BYTE_GROUP + i] * weights[i / 4 * 4 * BYTE_COLUMNS + i % 4];
                }
                const float *scales = (const float *)(const void *)(group + depth * BYTE_COLUMNS);
                y = fmaf((float)sum, steps[g] * scales[r], y);
                y = fmaf(-steps[g] * zeros[g], scales[BYTE_COLUMNS + r], y);
                group += byte_group_bytes(depth);
            }
            *c = y;
        }
    }
}
