// Products with packed quantised weights on AVX2 with AVX-VNNI.
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "../../packed.h"
#include "../../table.h"

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)

#define MORU_NAME(f) moru_avx2_##f
#define MORU_LANES 8
#include "../vector/vector.h"

#define PACKED_NAME(f) moru_avx2_vnni_##f
#include "packed_vnni.h"

#pragma clang attribute pop

#endif
