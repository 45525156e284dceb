// Products with few rows and dense weights, scalar reference.
#include "blocks.h"
#include "table.h"

void moru_scalar_matvec(const moru_matvec *args, size_t n_begin, size_t n_end) {
    for (size_t r = 0; r < args->rows; r++) {
        const float *x = (const float *)(const void *)((const uint8_t *)args->x + r * args->x_row_bytes);
        for (size_t n = n_begin; n < n_end; n++) {
            const uint8_t *w = (const uint8_t *)args->w + n * args->w_row_bytes;
            float total = 0;
            for (size_t i = 0; i < args->k; i += 256) {
                float weights[256];
                size_t count = moru_min_size(256, args->k - i);
                moru_scalar_dequantize(args->w_type, w + i * moru_block_bytes(args->w_type), weights, count);
                for (size_t j = 0; j < count; j++) total += weights[j] * x[i + j];
            }
            args->y[r * args->y_row_stride + n] = total;
        }
    }
}
