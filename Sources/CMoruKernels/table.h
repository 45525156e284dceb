// Every level implements the same list of functions under its own prefix; these macros declare that list and build its
// table, so that a missing function is a link error and not a null pointer.
#ifndef MORU_TABLE_H
#define MORU_TABLE_H

#include "moru_kernels.h"

#define MORU_DECLARE_ROW_KERNELS(P)                                                                                    \
    void P##_rope(const float *, const float *, const float *, float *, size_t, size_t, size_t, bool, bool, size_t,    \
                  size_t);                                                                                             \
    void P##_add_rms_norm(const moru_add_rms_norm *, size_t, size_t);                                                  \
    void P##_add_rms_norm_backward(const moru_add_rms_norm_gradient *, size_t, size_t);                                \
    void P##_gated_rows(const moru_gated *, size_t, size_t);                                                           \
    void P##_gated_rows_backward(const moru_gated *, size_t, size_t);                                                  \
    void P##_rope_rows(const moru_rope *, size_t, size_t);

#define MORU_DECLARE_KERNELS(P)                                                                                        \
    size_t P##_gemm_scratch_bytes(const moru_gemm *);                                                                  \
    void P##_gemm(const moru_gemm *, size_t, size_t, size_t, size_t, void *);                                          \
    size_t P##_gemm_packed_bytes(const moru_gemm *);                                                                   \
    void P##_gemm_pack(const moru_gemm *, size_t, size_t, void *, void *);                                             \
    void P##_matvec(const moru_matvec *, size_t, size_t);                                                              \
    void P##_round_row(const float *, size_t, bool, void *, size_t, size_t);                                           \
    void P##_packed_product(const moru_packed_product *, size_t, size_t);                                              \
    void P##_dequantize(moru_dtype, const void *, float *, size_t);                                                    \
    void P##_quantize(moru_dtype, const float *, void *, size_t);                                                      \
    void P##_quantize_rows(moru_dtype, const float *, const float *, void *, size_t, size_t);                          \
    size_t P##_attention_scratch_bytes(const moru_attention *);                                                        \
    void P##_attention(const moru_attention *, size_t, size_t, size_t, size_t, void *);                                \
    size_t P##_attention_backward_scratch_bytes(const moru_attention *);                                               \
    size_t P##_attention_pieces_scratch_bytes(const moru_attention *);                                                 \
    void P##_attention_pieces(const moru_attention *, size_t, size_t, size_t, size_t, float *, float *, void *);       \
    void P##_attention_backward(const moru_attention *, const moru_attention_gradient *, size_t, size_t, void *);      \
    void P##_rms_norm(const float *, const float *, float, float *, float *, size_t, size_t, size_t);                  \
    void P##_rms_norm_backward(const float *, const float *, const float *, const float *, float *, float *, size_t,   \
                               size_t, size_t);                                                                        \
    void P##_layer_norm(const float *, const float *, const float *, float, float *, float *, float *, size_t, size_t, \
                        size_t);                                                                                       \
    void P##_layer_norm_backward(const float *, const float *, const float *, const float *, const float *, float *,   \
                                 float *, float *, size_t, size_t, size_t);                                            \
    MORU_DECLARE_ROW_KERNELS(P)                                                                                        \
    void P##_biased_activation(const moru_biased_activation *, size_t, size_t);                                        \
    void P##_biased_layer_norm(const moru_biased_layer_norm *, size_t, size_t);                                        \
    void P##_softmax(const float *, float *, size_t, size_t, size_t);                                                  \
    void P##_softmax_backward(const float *, const float *, float *, size_t, size_t, size_t);                          \
    void P##_cross_entropy(const float *, const int32_t *, float, float *, float *, size_t, size_t, size_t);           \
    void P##_add(const float *, const float *, float *, size_t, size_t);                                               \
    void P##_subtract(const float *, const float *, float *, size_t, size_t);                                          \
    void P##_multiply(const float *, const float *, float *, size_t, size_t);                                          \
    void P##_scale(const float *, float, float *, size_t, size_t);                                                     \
    void P##_add_scaled(const float *, float, float *, size_t, size_t);                                                \
    void P##_softcap(const float *, float, float *, size_t, size_t);                                                   \
    void P##_softcap_backward(const float *, const float *, float, float *, size_t, size_t);                           \
    void P##_silu(const float *, float *, size_t, size_t);                                                             \
    void P##_silu_backward(const float *, const float *, float *, size_t, size_t);                                     \
    void P##_gelu(const float *, float *, bool, size_t, size_t);                                                       \
    void P##_gelu_backward(const float *, const float *, float *, bool, size_t, size_t);                               \
    void P##_relu(const float *, float *, size_t, size_t);                                                             \
    void P##_relu_backward(const float *, const float *, float *, size_t, size_t);                                     \
    void P##_tanh(const float *, float *, size_t, size_t);                                                             \
    void P##_tanh_backward(const float *, const float *, float *, size_t, size_t);                                     \
    void P##_lstm(const moru_recurrent *, size_t, size_t);                                                             \
    void P##_lstm_backward(const moru_recurrent_gradient *, size_t, size_t);                                           \
    void P##_gru(const moru_recurrent *, size_t, size_t);                                                              \
    void P##_gru_backward(const moru_recurrent_gradient *, size_t, size_t);                                            \
    double P##_sum(const float *, size_t, size_t);                                                                     \
    double P##_sum_of_squares(const float *, size_t, size_t);                                                          \
    bool P##_all_finite(const float *, size_t, size_t);                                                                \
    size_t P##_argmax(const float *, size_t, size_t);                                                                  \
    void P##_adamw(const moru_adamw *, float *, const float *, float *, float *, size_t, size_t);                       \
    void P##_adamw_8bit(const moru_adamw *, float *, const float *, moru_moments *, moru_moments *, size_t, size_t);   \
    void P##_lion(const moru_lion *, float *, const float *, float *, size_t, size_t);                                 \
    void P##_sgd(const moru_sgd *, float *, const float *, float *, size_t, size_t);                                   \
    void P##_lerp(const float *, float, float, float *, size_t, size_t);                                               \
    void P##_adafactor_squares(const float *, float, float *, float *, size_t, size_t, size_t);                        \
    double P##_adafactor_norm(const moru_adafactor *, const float *, size_t, size_t);                                  \
    void P##_adafactor_step(const moru_adafactor *, float *, const float *, float, float, size_t, size_t);

// P: the level's prefix; R, G, T, Q: the prefixes of what acts on rows of activations, of its gemm, attention and products
// with packed weights, which some levels alone replace.
#define MORU_KERNEL_TABLE(P, R, G, T, Q, LEVEL, NAME)                                                      \
    {                                                                                                      \
        .level = LEVEL, .name = NAME, .gemm_scratch_bytes = G##_gemm_scratch_bytes, .gemm = G##_gemm,      \
        .gemm_packed_bytes = G##_gemm_packed_bytes, .gemm_pack = G##_gemm_pack,                            \
        .matvec = P##_matvec, .round_row = Q##_round_row, .packed_product = Q##_packed_product,            \
        .dequantize = P##_dequantize, .quantize = P##_quantize,                                            \
        .quantize_rows = P##_quantize_rows,                                                                \
        .attention_scratch_bytes = T##_attention_scratch_bytes, .attention = T##_attention,                \
        .attention_backward_scratch_bytes = T##_attention_backward_scratch_bytes,                          \
        .attention_backward = T##_attention_backward, .rms_norm = P##_rms_norm,                            \
        .rms_norm_backward = P##_rms_norm_backward, .layer_norm = P##_layer_norm,                          \
        .layer_norm_backward = P##_layer_norm_backward, .rope = R##_rope,                                  \
        .add_rms_norm = R##_add_rms_norm, .add_rms_norm_backward = R##_add_rms_norm_backward,              \
        .gated_rows = R##_gated_rows, .gated_rows_backward = R##_gated_rows_backward,                      \
        .biased_activation = P##_biased_activation, .biased_layer_norm = P##_biased_layer_norm,            \
        .rope_rows = R##_rope_rows, .softmax = P##_softmax,                                                \
        .softmax_backward = P##_softmax_backward, .cross_entropy = P##_cross_entropy, .add = P##_add,      \
        .subtract = P##_subtract, .multiply = P##_multiply, .scale = P##_scale,                            \
        .add_scaled = P##_add_scaled, .softcap = P##_softcap, .softcap_backward = P##_softcap_backward,    \
        .silu = P##_silu, .silu_backward = P##_silu_backward,                                              \
        .lion = P##_lion, .sgd = P##_sgd, .lerp = P##_lerp,                                                \
        .adafactor_squares = P##_adafactor_squares, .adafactor_norm = P##_adafactor_norm,                  \
        .adafactor_step = P##_adafactor_step,                                                              \
        .gelu = P##_gelu, .gelu_backward = P##_gelu_backward, .relu = P##_relu,                            \
        .relu_backward = P##_relu_backward, .tanh = P##_tanh, .tanh_backward = P##_tanh_backward,          \
        .lstm = P##_lstm, .lstm_backward = P##_lstm_backward,                                              \
        .gru = P##_gru, .gru_backward = P##_gru_backward, .sum = P##_sum,                                  \
        .sum_of_squares = P##_sum_of_squares, .all_finite = P##_all_finite, .argmax = P##_argmax,          \
        .adamw = P##_adamw, .adamw_8bit = P##_adamw_8bit                                                   \
    }

// One element of C = or += alpha * sum; and zeros in a part of C, unless it is added to.
void moru_gemm_put(const moru_gemm *, size_t row, size_t column, float sum);
void moru_gemm_clear(const moru_gemm *, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end);

// Pieces of a row's keys, each by a kernel for all keys.
typedef void moru_attention_function(const moru_attention *, size_t, size_t, size_t, size_t, void *);
void moru_pieces_by(moru_attention_function *, const moru_attention *, size_t begin, size_t end, size_t head_begin,
                    size_t head_end, float *out, float *log_sums, void *scratch);

#define MORU_DECLARE_BYTE_KERNELS(P)                                                               \
    void P##_byte_rows(moru_dtype, const void *, size_t, size_t, void *, size_t, size_t);          \
    void P##_byte_product(const moru_byte_product *, size_t, size_t, size_t, size_t);

#define MORU_DECLARE_LOW_RANK_KERNELS(P)                                                           \
    void P##_low_rank_inner(const moru_low_rank *, size_t, size_t);                                \
    void P##_low_rank_outer(const moru_low_rank *, size_t, size_t);

MORU_DECLARE_KERNELS(moru_scalar)
MORU_DECLARE_LOW_RANK_KERNELS(moru_scalar)
MORU_DECLARE_BYTE_KERNELS(moru_scalar)
#if defined(__x86_64__)
MORU_DECLARE_KERNELS(moru_avx2)
MORU_DECLARE_LOW_RANK_KERNELS(moru_avx2)
MORU_DECLARE_BYTE_KERNELS(moru_avx2_vnni)
void moru_avx2_vnni_round_row(const float *, size_t, bool, void *, size_t, size_t);
void moru_avx2_vnni_packed_product(const moru_packed_product *, size_t, size_t);
MORU_DECLARE_KERNELS(moru_avx512)
MORU_DECLARE_LOW_RANK_KERNELS(moru_avx512)
MORU_DECLARE_ROW_KERNELS(moru_avx512_bf16)
size_t moru_avx512_bf16_gemm_scratch_bytes(const moru_gemm *);
void moru_avx512_bf16_gemm(const moru_gemm *, size_t, size_t, size_t, size_t, void *);
size_t moru_avx512_bf16_gemm_packed_bytes(const moru_gemm *);
void moru_avx512_bf16_gemm_pack(const moru_gemm *, size_t, size_t, void *, void *);
size_t moru_avx512_bf16_attention_scratch_bytes(const moru_attention *);
void moru_avx512_bf16_attention(const moru_attention *, size_t, size_t, size_t, size_t, void *);
size_t moru_avx512_bf16_attention_backward_scratch_bytes(const moru_attention *);
void moru_avx512_bf16_attention_backward(const moru_attention *, const moru_attention_gradient *, size_t, size_t, void *);
size_t moru_avx512_split_attention_scratch_bytes(const moru_attention *);
void moru_avx512_split_attention(const moru_attention *, size_t, size_t, size_t, size_t, void *);
size_t moru_avx512_split_attention_backward_scratch_bytes(const moru_attention *);
void moru_avx512_split_attention_backward(const moru_attention *, const moru_attention_gradient *, size_t, size_t, void *);
size_t moru_avx512_bf16_attention_pieces_scratch_bytes(const moru_attention *);
void moru_avx512_bf16_attention_pieces(const moru_attention *, size_t, size_t, size_t, size_t, float *, float *, void *);
MORU_DECLARE_BYTE_KERNELS(moru_avx512_vnni)
void moru_avx512_vnni_round_row(const float *, size_t, bool, void *, size_t, size_t);
void moru_avx512_vnni_packed_product(const moru_packed_product *, size_t, size_t);
size_t moru_amx_gemm_scratch_bytes(const moru_gemm *);
void moru_amx_gemm(const moru_gemm *, size_t, size_t, size_t, size_t, void *);
size_t moru_amx_gemm_packed_bytes(const moru_gemm *);
void moru_amx_gemm_pack(const moru_gemm *, size_t, size_t, void *, void *);
void moru_amx_byte_product(const moru_byte_product *, size_t, size_t, size_t, size_t);
void moru_amx_round_row(const float *, size_t, bool, void *, size_t, size_t);
void moru_amx_packed_product(const moru_packed_product *, size_t, size_t);
#elif defined(__aarch64__)
MORU_DECLARE_KERNELS(moru_neon)
MORU_DECLARE_LOW_RANK_KERNELS(moru_neon)
#endif

#endif
