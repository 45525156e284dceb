// Products with few rows on AVX-512 with VNNI.
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "../../blocks.h"
#include "../../table.h"

#pragma clang attribute push(                                                                            \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), apply_to = function)

#define MORU_NAME(f) moru_avx512_##f
#define MATVEC_NAME(f) moru_avx512_vnni_##f
#define MORU_LANES 16
#include "../vector/vector.h"
#include "../vector/activation.h"
#include "../vector/matvec_dense.h"
#include "matvec.h"
#include "../vector/matvec_quantised.h"

#pragma clang attribute pop

#endif
