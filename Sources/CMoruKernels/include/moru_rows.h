// The arguments of operations on rows: normalisation, activations, gates, rotations. Conventions: see moru_kernels.h.
#ifndef MORU_ROWS_H
#define MORU_ROWS_H

#include "moru_types.h"

#ifdef __cplusplus
extern "C" {
#endif

// Residual addition and RMS normalisation in one: sum = x + residual, y = sum * inverse_rms * w, for rows of
// [rows, dim]. All types are MORU_F32 or MORU_BF16; what follows the sum is computed from its stored (rounded) value.
typedef struct {
    size_t dim;
    const void *x;          // x_type
    const void *residual;   // sum_type, or NULL for zeros
    void *sum;              // sum_type, may be residual itself; NULL when there is no residual
    const float *w;
    float epsilon;
    void *y;                // y_type
    float *inverse_rms;     // [rows], or NULL
    moru_dtype x_type, sum_type, y_type;
} moru_add_rms_norm;

// Its gradient: dx = (gradient of the sum through the norm) + residual gradient, which is that of x and of residual.
typedef struct {
    size_t dim;
    const void *dy;          // dy_type
    const void *sum;         // sum_type: what was normalised
    const float *w, *inverse_rms;
    const void *d_residual;  // dx_type: the gradient that reaches the sum from elsewhere, or NULL
    void *dx;                // dx_type, may be d_residual itself
    void *dx_narrow;         // the same in bf16, or NULL
    float *dw;               // [dim], added to; NULL when the weight is frozen
    moru_dtype dy_type, sum_type, dx_type;
} moru_add_rms_norm_gradient;

// Elementwise activation functions.
typedef enum { MORU_SILU, MORU_GELU, MORU_GELU_TANH, MORU_RELU, MORU_TANH, MORU_IDENTITY } moru_activation;

// What follows a product: y = f(x + bias) for rows [rows, dim], which may be parts of longer rows.
typedef struct {
    moru_activation function;
    size_t dim;
    const float *x;
    size_t x_row_stride;  // in elements
    const float *bias;    // [dim], or NULL
    void *y;              // y_type
    size_t y_row_stride;
    moru_dtype y_type;    // MORU_F32 or MORU_BF16
} moru_biased_activation;

// Layer normalisation of x + bias for rows [rows, dim], in place, and a copy of it in another type.
typedef struct {
    size_t dim;
    float *x;
    const float *bias;   // [dim], or NULL
    const float *w, *b;  // b [dim], or NULL
    float epsilon;
    void *copy;          // copy_type, or NULL
    moru_dtype copy_type;
} moru_biased_layer_norm;

// y = f(gate) * up, where f is one of the first three, for rows [rows, dim] of f32 or bf16, which may lie side by side in
// the rows of one product; and its gradient, d_gate and d_up (input_row_stride apart, may be gate and up themselves) from
// dy (like y).
typedef struct {
    moru_activation function;
    size_t dim;
    const void *gate, *up;    // input_type
    size_t input_row_stride;  // in elements
    void *y;                  // output_type; the gradient computes it again, unless it is NULL
    size_t output_row_stride;
    const void *dy;           // output_type; the gradient only
    void *d_gate, *d_up;      // input_type; the gradient only
    moru_dtype input_type, output_type;
} moru_gated;

// Rotary embedding (as `rope`) of rows [rows, heads, head_dim] of f32 or bf16 that may be parts of longer rows.
typedef struct {
    size_t heads, head_dim, rotated;
    const void *x;                // type
    void *y;                      // type, may be x
    size_t x_row_stride, y_row_stride;  // in elements
    const float *cosines, *sines;       // [rows, rotated / 2]
    bool interleaved, inverse;
    moru_dtype type;
} moru_rope;

#ifdef __cplusplus
}
#endif

#endif
