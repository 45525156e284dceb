// The bf16 matrix products and attention on AVX-512 with vdpbf16ps (pairs of products added in f32).
#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "../../blocks.h"
#include "../../table.h"

#pragma clang attribute push(                                                                            \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c"))), apply_to = function)

#define MORU_NAME(f) moru_avx512_##f
#define MORU_LANES 16
#define MORU_NATIVE_BF16 1
#include "../vector/vector.h"
#include "../vector/transpose.h"

#define GEMM_NAME(f) bf16_##f
#define GEMM_ROWS 14
#define GEMM_VECTORS 2
#define GEMM_BF16 1
static size_t bf16_gemm_scratch_bytes(const moru_gemm *);
static void bf16_gemm(const moru_gemm *, size_t, size_t, size_t, size_t, void *);
static size_t bf16_gemm_packed_bytes(const moru_gemm *);
static void bf16_gemm_pack(const moru_gemm *, size_t, size_t, void *, void *);
#include "../vector/gemm.h"

// A product of few rows with a dense B that needs no packing is faster in f32 than B's conversion.
static bool prefers_bf16(const moru_gemm *args) {
    if (!args->allow_bf16 || gemm_is_thin(args)) return false;
    return args->packed_b || args->b_transposed || args->b_type != MORU_F32 || args->m > GEMM_ROWS;
}

size_t moru_avx512_bf16_gemm_scratch_bytes(const moru_gemm *args) {
    return prefers_bf16(args) ? bf16_gemm_scratch_bytes(args) : moru_avx512_gemm_scratch_bytes(args);
}

void moru_avx512_bf16_gemm(const moru_gemm *args, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end,
                           void *scratch) {
    if (prefers_bf16(args)) bf16_gemm(args, m_begin, m_end, n_begin, n_end, scratch);
    else moru_avx512_gemm(args, m_begin, m_end, n_begin, n_end, scratch);
}

#define ATTENTION_NAME(f) bf16_##f
#define ATTENTION_BF16 1
#define ATTENTION_VECTORS 4
static size_t bf16_attention_scratch_bytes(const moru_attention *);
static void bf16_attention(const moru_attention *, size_t, size_t, size_t, size_t, void *);
static size_t bf16_attention_backward_scratch_bytes(const moru_attention *);
static void bf16_attention_backward(const moru_attention *, const moru_attention_gradient *, size_t, size_t, void *);
#include "../vector/attention.h"
#include "../vector/attention_backward.h"
#include "attention_row.h"
#define LANE_SPLITS 0
#include "attention_lanes.h"
#include "attention_lanes_backward.h"

size_t moru_avx512_bf16_attention_scratch_bytes(const moru_attention *args) {
    if (is_in_lanes(args)) return lane_scratch_bytes(args);
    return args->allow_bf16 ? bf16_attention_scratch_bytes(args) : moru_avx512_attention_scratch_bytes(args);
}

void moru_avx512_bf16_attention(const moru_attention *args, size_t row_begin, size_t row_end, size_t head_begin,
                                size_t head_end, void *scratch) {
    if (is_in_lanes(args)) lane_attention(args, row_begin, row_end, head_begin, head_end, scratch);
    else if (args->allow_bf16) bf16_attention(args, row_begin, row_end, head_begin, head_end, scratch);
    else moru_avx512_attention(args, row_begin, row_end, head_begin, head_end, scratch);
}

// Blocks of Q8_0 are read where they lie in f32; what is not is narrowed once for all heads.
static bool has_narrow_row(const moru_attention *args) { return args->allow_bf16 && args->kv_type != MORU_Q8_0; }

size_t moru_avx512_bf16_attention_pieces_scratch_bytes(const moru_attention *args) {
    if (is_plain_row(args)) return row_scratch_bytes(args);
    return has_narrow_row(args) ? bf16_attention_scratch_bytes(args) : moru_avx512_attention_pieces_scratch_bytes(args);
}

void moru_avx512_bf16_attention_pieces(const moru_attention *args, size_t begin, size_t end, size_t head_begin,
                                       size_t head_end, float *out, float *log_sums, void *scratch) {
    if (is_plain_row(args)) row_pieces(args, begin, end, head_begin, head_end, out, log_sums, scratch);
    else if (has_narrow_row(args))
        moru_pieces_by(bf16_attention, args, begin, end, head_begin, head_end, out, log_sums, scratch);
    else moru_avx512_attention_pieces(args, begin, end, head_begin, head_end, out, log_sums, scratch);
}

size_t moru_avx512_bf16_attention_backward_scratch_bytes(const moru_attention *args) {
    if (has_gradient_in_lanes(args)) return lane_gradient_scratch_bytes(args);
    return args->allow_bf16 ? bf16_attention_backward_scratch_bytes(args)
                            : moru_avx512_attention_backward_scratch_bytes(args);
}

void moru_avx512_bf16_attention_backward(const moru_attention *args, const moru_attention_gradient *gradient,
                                         size_t kv_head_begin, size_t kv_head_end, void *scratch) {
    if (has_gradient_in_lanes(args)) lane_attention_backward(args, gradient, kv_head_begin, kv_head_end, scratch);
    else if (args->allow_bf16) bf16_attention_backward(args, gradient, kv_head_begin, kv_head_end, scratch);
    else moru_avx512_attention_backward(args, gradient, kv_head_begin, kv_head_end, scratch);
}

size_t moru_avx512_bf16_gemm_packed_bytes(const moru_gemm *args) {
    return args->allow_bf16 ? bf16_gemm_packed_bytes(args) : moru_avx512_gemm_packed_bytes(args);
}

void moru_avx512_bf16_gemm_pack(const moru_gemm *args, size_t n_begin, size_t n_end, void *packed, void *scratch) {
    if (args->allow_bf16) bf16_gemm_pack(args, n_begin, n_end, packed, scratch);
    else moru_avx512_gemm_pack(args, n_begin, n_end, packed, scratch);
}

#pragma clang attribute pop

#endif
