// The NEON level: every kernel, 4 floats at a time. NEON is part of the architecture, so no target is named; clang's
// vectors become NEON instructions.
#if defined(__aarch64__)

#include <arm_neon.h>
#include <math.h>

#include "../../packed.h"
#include "../../table.h"

#define MORU_NAME(f) moru_neon_##f
#define MORU_LANES 4
#define ATTENTION_VECTORS 4
#include "../vector/kernels.h"
#include "../vector/matvec_dense.h"
#include "../vector/low_rank.h"

#define GEMM_NAME(f) moru_neon_##f
#define GEMM_ROWS 6
#define GEMM_VECTORS 4
#define GEMM_BF16 0
#include "../vector/gemm.h"

#define PACKED_NAME(f) moru_neon_##f
#include "packed.h"

#define QUANTIZE_NAME(f) moru_neon_##f
#include "../../quantize_rows.h"

#endif
