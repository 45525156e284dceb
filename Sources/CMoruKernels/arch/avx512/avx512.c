// The AVX-512 level (F, BW, DQ, VL): every kernel, 16 floats at a time. Without VNNI the products with quantised weights
// are no faster than on AVX2, and are taken from there.
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "../../blocks.h"
#include "../../table.h"

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)

#define MORU_NAME(f) moru_avx512_##f
#define MORU_LANES 16
#define ATTENTION_VECTORS 4
#include "../vector/kernels.h"
#include "../vector/matvec_dense.h"

#define GEMM_NAME(f) moru_avx512_##f
#define GEMM_ROWS 14
#define GEMM_VECTORS 2
#define GEMM_BF16 0
#include "../vector/gemm.h"

// Dense weights profit from the width; the quantised part of the AVX2 level reads its own prepared activations.
size_t moru_avx512_activation_bytes(moru_dtype w_type, size_t k) { return moru_avx2_activation_bytes(w_type, k); }

void moru_avx512_prepare_activation(moru_dtype w_type, const float *x, size_t k, void *out) {
    moru_avx2_prepare_activation(w_type, x, k, out);
}

void moru_avx512_matvec(const moru_matvec *args, size_t n_begin, size_t n_end) {
    if (args->w_type <= MORU_BF16) matvec_dense(args, n_begin, n_end);
    else moru_avx2_matvec(args, n_begin, n_end);
}

#pragma clang attribute pop

#endif
