// Products with few rows, scalar reference. Dense weights meet f32 activations; quantised weights meet activations
// rounded to int8 in blocks of 32 with one f32 scale each.
#include <math.h>

#include "blocks.h"
#include "table.h"

typedef struct {
    float scale;
    int8_t q[32];
} activation_block;

size_t moru_scalar_activation_bytes(moru_dtype w_type, size_t k) {
    if (w_type <= MORU_BF16) return k * sizeof(float);
    return moru_round_up(k, 32) / 32 * sizeof(activation_block);
}

void moru_scalar_prepare_activation(moru_dtype w_type, const float *x, size_t k, void *out) {
    if (w_type <= MORU_BF16) {
        if (k) memcpy(out, x, k * sizeof(float));
        return;
    }
    activation_block *blocks = out;
    for (size_t b = 0; b < k / 32; b++) {
        float largest = 0;
        for (int i = 0; i < 32; i++) largest = fmaxf(largest, fabsf(x[32 * b + i]));
        float inverse = largest > 0 ? 127 / largest : 0;
        blocks[b].scale = largest / 127;
        for (int i = 0; i < 32; i++) blocks[b].q[i] = (int8_t)rintf(x[32 * b + i] * inverse);
    }
}

void moru_scalar_matvec(const moru_matvec *args, size_t n_begin, size_t n_end) {
    size_t unit = args->w_type <= MORU_BF16 ? 256 : moru_block_elements(args->w_type);
    for (size_t r = 0; r < args->rows; r++) {
        const uint8_t *x = (const uint8_t *)args->x + r * args->x_row_bytes;
        for (size_t n = n_begin; n < n_end; n++) {
            const uint8_t *w = (const uint8_t *)args->w + n * args->w_row_bytes;
            float total = 0;
            for (size_t i = 0; i < args->k; i += unit) {
                float weights[256];
                size_t count = moru_min_size(unit, args->k - i);
                size_t offset = i / moru_block_elements(args->w_type) * moru_block_bytes(args->w_type);
                moru_scalar_dequantize(args->w_type, w + offset, weights, count);
                if (args->w_type <= MORU_BF16) {
                    for (size_t j = 0; j < count; j++) total += weights[j] * ((const float *)(const void *)x)[i + j];
                } else {
                    const activation_block *blocks = (const activation_block *)(const void *)x + i / 32;
                    for (size_t j = 0; j < count; j++) {
                        total += weights[j] * (blocks[j / 32].scale * (float)blocks[j / 32].q[j % 32]);
                    }
                }
            }
            args->y[r * args->y_row_stride + n] = total;
        }
    }
}
