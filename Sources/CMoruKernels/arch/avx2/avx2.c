// The AVX2 level (with FMA and F16C): every kernel, 8 floats at a time.
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "../../packed.h"
#include "../../table.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

#define MORU_NAME(f) moru_avx2_##f
#define MORU_LANES 8
#define ATTENTION_VECTORS 2
#include "../vector/kernels.h"
#include "../vector/matvec_dense.h"
#include "../vector/low_rank.h"

#define GEMM_NAME(f) moru_avx2_##f
#define GEMM_ROWS 6
#define GEMM_VECTORS 2
#define GEMM_BF16 0
#include "../vector/gemm.h"

#define PACKED_NAME(f) moru_avx2_##f
#include "packed.h"

#define QUANTIZE_NAME(f) moru_avx2_##f
#include "../../quantize_rows.h"

#pragma clang attribute pop

#endif
