// Matrix product, scalar reference.
#include "blocks.h"
#include "table.h"

// One row of B as f32; the scratch holds the longest.
size_t moru_scalar_gemm_scratch_bytes(const moru_gemm *args) {
    size_t length = args->b_transposed ? args->k : args->n;
    return moru_round_up(length, 256) * sizeof(float);
}

static const float *row_of_b(const moru_gemm *args, size_t row, size_t length, float *scratch) {
    const void *bytes = (const uint8_t *)args->b + row * args->b_row_bytes;
    if (args->b_type == MORU_F32) return bytes;
    moru_scalar_dequantize(args->b_type, bytes, scratch, length);
    return scratch;
}

void moru_scalar_gemm(const moru_gemm *args, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end,
                      void *scratch) {
    size_t k = args->k, row_stride = args->a_row_stride, column_stride = args->a_column_stride;
    if (!args->accumulate) {
        for (size_t m = m_begin; m < m_end; m++) {
            for (size_t n = n_begin; n < n_end; n++) args->c[m * args->c_row_stride + n] = 0;
        }
    }
    if (args->b_transposed) {
        for (size_t n = n_begin; n < n_end; n++) {
            const float *b = row_of_b(args, n, k, scratch);
            for (size_t m = m_begin; m < m_end; m++) {
                const float *a = args->a + m * row_stride;
                float sum = 0;
                for (size_t i = 0; i < k; i++) sum += a[i * column_stride] * b[i];
                args->c[m * args->c_row_stride + n] += args->alpha * sum;
            }
        }
    } else {
        for (size_t i = 0; i < k; i++) {
            const float *b = row_of_b(args, i, args->n, scratch);
            for (size_t m = m_begin; m < m_end; m++) {
                float factor = args->alpha * args->a[m * row_stride + i * column_stride];
                float *c = args->c + m * args->c_row_stride;
                for (size_t n = n_begin; n < n_end; n++) c[n] += factor * b[n];
            }
        }
    }
}
