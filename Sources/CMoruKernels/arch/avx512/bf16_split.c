// Attention in bf16 for CPUs whose vdpbf16ps is slower than the two f32 multiply-adds that it stands for (Intel's): rows
// that lie as attention_lanes.h wants them are read as they are, and their pairs multiplied as f32. All else is computed
// in f32.
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

#define LANE_SPLITS 1
#include "attention_lanes.h"
#include "attention_lanes_backward.h"

size_t moru_avx512_split_attention_scratch_bytes(const moru_attention *args) {
    return is_in_lanes(args) ? lane_scratch_bytes(args) : moru_avx512_attention_scratch_bytes(args);
}

void moru_avx512_split_attention(const moru_attention *args, size_t row_begin, size_t row_end, size_t head_begin,
                                 size_t head_end, void *scratch) {
    if (is_in_lanes(args)) lane_attention(args, row_begin, row_end, head_begin, head_end, scratch);
    else moru_avx512_attention(args, row_begin, row_end, head_begin, head_end, scratch);
}

size_t moru_avx512_split_attention_backward_scratch_bytes(const moru_attention *args) {
    return has_gradient_in_lanes(args) ? lane_gradient_scratch_bytes(args)
                                       : moru_avx512_attention_backward_scratch_bytes(args);
}

void moru_avx512_split_attention_backward(const moru_attention *args, const moru_attention_gradient *gradient,
                                          size_t kv_head_begin, size_t kv_head_end, void *scratch) {
    if (has_gradient_in_lanes(args)) lane_attention_backward(args, gradient, kv_head_begin, kv_head_end, scratch);
    else moru_avx512_attention_backward(args, gradient, kv_head_begin, kv_head_end, scratch);
}

#pragma clang attribute pop

#endif
