// The AVX-512 level (F, BW, DQ, VL): every kernel, 16 floats at a time, but the products with packed weights: without
// VNNI they are no faster than on AVX2, and are taken from there.
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
#include "../vector/low_rank.h"

#define GEMM_NAME(f) moru_avx512_##f
#define GEMM_ROWS 14
#define GEMM_VECTORS 2
#define GEMM_BF16 0
#include "../vector/gemm.h"

#define QUANTIZE_NAME(f) moru_avx512_##f
#include "../../quantize_rows.h"

#pragma clang attribute pop

#endif
