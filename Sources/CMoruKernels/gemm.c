// Matrix product, scalar reference.
#include "blocks.h"
#include "table.h"

// One row of B as f32; the scratch holds the longest.
size_t moru_scalar_gemm_scratch_bytes(const moru_gemm *args) {
    size_t length = args->b_transposed ? args->k : args->n;
    return moru_round_up(length, 256) * sizeof(float);
}

// B is read where it is.
size_t moru_scalar_gemm_packed_bytes(const moru_gemm *args) {
    (void)args;
    return 0;
}

void moru_scalar_gemm_pack(const moru_gemm *args, size_t n_begin, size_t n_end, void *packed, void *scratch) {
    (void)args, (void)n_begin, (void)n_end, (void)packed, (void)scratch;
}

static const float *row_of_b(const moru_gemm *args, size_t row, size_t length, float *scratch) {
    const void *bytes = (const uint8_t *)args->b + row * args->b_row_bytes;
    if (args->b_type == MORU_F32) return bytes;
    moru_scalar_dequantize(args->b_type, bytes, scratch, length);
    return scratch;
}

static float element_of_a(const moru_gemm *args, size_t row, size_t column) {
    size_t at = row * args->a_row_stride + column * args->a_column_stride;
    return moru_element(args->a_type, args->a, at);
}

void moru_gemm_put(const moru_gemm *args, size_t row, size_t column, float sum) {
    size_t at = row * args->c_row_stride + column;
    float before = args->accumulate ? moru_element(args->c_type, args->c, at) : 0;
    moru_set_element(args->c_type, args->c, at, args->alpha * sum + before);
}

void moru_gemm_clear(const moru_gemm *args, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end) {
    size_t size = moru_block_bytes(args->c_type);
    for (size_t m = m_begin; m < m_end && !args->accumulate; m++) {
        memset((uint8_t *)args->c + (m * args->c_row_stride + n_begin) * size, 0, (n_end - n_begin) * size);
    }
}

void moru_scalar_gemm(const moru_gemm *args, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end,
                      void *scratch) {
    size_t k = args->k;
    if (args->b_transposed) {
        for (size_t n = n_begin; n < n_end; n++) {
            const float *b = row_of_b(args, n, k, scratch);
            for (size_t m = m_begin; m < m_end; m++) {
                float sum = 0;
                for (size_t i = 0; i < k; i++) sum += element_of_a(args, m, i) * b[i];
                moru_gemm_put(args, m, n, sum);
            }
        }
        return;
    }
    // A C of f32 is what the rows of B are added to; for one of bf16 they are read again for each row of A.
    if (args->c_type == MORU_F32) {
        moru_gemm_clear(args, m_begin, m_end, n_begin, n_end);
        for (size_t i = 0; i < k; i++) {
            const float *b = row_of_b(args, i, args->n, scratch);
            for (size_t m = m_begin; m < m_end; m++) {
                float factor = args->alpha * element_of_a(args, m, i);
                float *c = (float *)args->c + m * args->c_row_stride;
                for (size_t n = n_begin; n < n_end; n++) c[n] += factor * b[n];
            }
        }
        return;
    }
    for (size_t m = m_begin; m < m_end; m++) {
        for (size_t n = n_begin; n < n_end; n++) {
            float sum = 0;
            for (size_t i = 0; i < k; i++) sum += element_of_a(args, m, i) * row_of_b(args, i, args->n, scratch)[n];
            moru_gemm_put(args, m, n, sum);
        }
    }
}
