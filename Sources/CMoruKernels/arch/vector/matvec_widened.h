// Products with few rows and quantised weights without integer dot products: a run of weights is dequantised once and
// meets each activation row in f32. The activations are rounded to int8 all the same, so that every machine gives the
// answers of the reference.

#define WIDENED ((size_t)256)

size_t MATVEC_NAME(activation_bytes)(moru_dtype w_type, size_t k) {
    (void)w_type;
    return k * sizeof(float);
}

void MATVEC_NAME(prepare_activation)(moru_dtype w_type, const float *x, size_t k, void *out) {
    if (w_type <= MORU_BF16) {
        if (k) memcpy(out, x, k * sizeof(float));
        return;
    }
    for (size_t i = 0; i < k; i += 32) {
        int8_t q[32];
        int32_t sums[2];
        float scale = quantize_32(x + i, q, sums);
        for (size_t j = 0; j < 32; j++) ((float *)out)[i + j] = (float)q[j] * scale;
    }
}

void MATVEC_NAME(matvec)(const moru_matvec *args, size_t n_begin, size_t n_end) {
    if (args->w_type <= MORU_BF16) {
        matvec_dense(args, n_begin, n_end);
        return;
    }
    size_t block = moru_block_elements(args->w_type), size = moru_block_bytes(args->w_type);
    for (size_t n = n_begin; n < n_end; n++) {
        const uint8_t *w = (const uint8_t *)args->w + n * args->w_row_bytes;
        for (size_t r = 0; r < args->rows; r += 8) {
            size_t rows = moru_min_size(8, args->rows - r);
            vf sum[8][2];
            for (size_t i = 0; i < 8; i++) sum[i][0] = sum[i][1] = vset(0);
            for (size_t first = 0; first < args->k; first += WIDENED) {
                float weights[WIDENED];
                size_t count = moru_min_size(WIDENED, args->k - first);
                MORU_NAME(dequantize)(args->w_type, w + first / block * size, weights, count);
                for (size_t i = 0; i < rows; i++) {
                    const uint8_t *row = (const uint8_t *)args->x + (r + i) * args->x_row_bytes;
                    const float *x = (const float *)(const void *)row + first;
                    vf even = sum[i][0], odd = sum[i][1];
                    for (size_t j = 0; j < count; j += 2 * LANES) {
                        even = vfma(vload(weights + j), vload(x + j), even);
                        odd = vfma(vload(weights + j + LANES), vload(x + j + LANES), odd);
                    }
                    sum[i][0] = even;
                    sum[i][1] = odd;
                }
            }
            for (size_t i = 0; i < rows; i++) args->y[(r + i) * args->y_row_stride + n] = vsum(sum[i][0] + sum[i][1]);
        }
    }
}
