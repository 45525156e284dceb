// What acts on rows of activations, on AVX-512 with instructions that round to bf16.
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "../../blocks.h"
#include "../../table.h"

#pragma clang attribute push(                                                                            \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c"))), apply_to = function)

#define MORU_NAME(f) moru_avx512_bf16_##f
#define MORU_LANES 16
#define MORU_NATIVE_BF16 1
#include "../vector/vector.h"
#include "../vector/transpose.h"
#include "../vector/activation.h"
#include "../vector/gated.h"
#include "../vector/residual_norm.h"
#include "../vector/rope.h"

#pragma clang attribute pop

#endif
