// Elementwise functions and their gradients, scalar reference.
#include <math.h>

#include "blocks.h"
#include "table.h"

void moru_scalar_add(const float *a, const float *b, float *y, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) y[i] = a[i] + b[i];
}

void moru_scalar_subtract(const float *a, const float *b, float *y, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) y[i] = a[i] - b[i];
}

void moru_scalar_multiply(const float *a, const float *b, float *y, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) y[i] = a[i] * b[i];
}

void moru_scalar_scale(const float *x, float factor, float *y, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) y[i] = x[i] * factor;
}

void moru_scalar_add_scaled(const float *x, float factor, float *y, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) y[i] += factor * x[i];
}

// The slope of c tanh(x / c) is 1 - tanh^2(x / c).
void moru_scalar_softcap(const float *x, float cap, float *y, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) y[i] = cap * tanhf(x[i] / cap);
}

void moru_scalar_softcap_backward(const float *dy, const float *y, float cap, float *dx, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
        float t = y[i] / cap;
        dx[i] = dy[i] * (1 - t * t);
    }
}

static float sigmoid(float x) { return 1 / (1 + expf(-x)); }

// silu(x) = x sigmoid(x), and its derivative sigmoid(x) (1 + x (1 - sigmoid(x))).
static float silu_of(float x) { return x * sigmoid(x); }

static float silu_slope(float x) {
    float s = sigmoid(x);
    return s * (1 + x * (1 - s));
}

void moru_scalar_silu(const float *x, float *y, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) y[i] = silu_of(x[i]);
}

void moru_scalar_silu_backward(const float *dy, const float *x, float *dx, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) dx[i] = dy[i] * silu_slope(x[i]);
}

// GELU (Hendrycks and Gimpel, 2016): x Phi(x), or its tanh form.
static const float sqrt_half = 0.70710678118654752f, inverse_sqrt_2pi = 0.39894228040143268f;
static const float sqrt_2_over_pi = 0.79788456080286536f, cubic = 0.044715f;

static float gelu_of(float x, bool tanh_form) {
    float inner = tanh_form ? tanhf(sqrt_2_over_pi * (x + cubic * x * x * x)) : erff(x * sqrt_half);
    return 0.5f * x * (1 + inner);
}

static float gelu_slope(float x, bool tanh_form) {
    if (!tanh_form) return 0.5f * (1 + erff(x * sqrt_half)) + x * inverse_sqrt_2pi * expf(-0.5f * x * x);
    float t = tanhf(sqrt_2_over_pi * (x + cubic * x * x * x));
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * sqrt_2_over_pi * (1 + 3 * cubic * x * x);
}

void moru_scalar_gelu(const float *x, float *y, bool tanh_form, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) y[i] = gelu_of(x[i], tanh_form);
}

void moru_scalar_gelu_backward(const float *dy, const float *x, float *dx, bool tanh_form, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) dx[i] = dy[i] * gelu_slope(x[i], tanh_form);
}

void moru_scalar_relu(const float *x, float *y, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) y[i] = x[i] < 0 ? 0 : x[i];  // a NaN stays
}

void moru_scalar_relu_backward(const float *dy, const float *x, float *dx, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) dx[i] = x[i] > 0 ? dy[i] : 0;
}

void moru_scalar_tanh(const float *x, float *y, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) y[i] = tanhf(x[i]);
}

void moru_scalar_tanh_backward(const float *dy, const float *x, float *dx, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
        float t = tanhf(x[i]);
        dx[i] = dy[i] * (1 - t * t);
    }
}

static float activated(moru_activation function, float x) {
    return function == MORU_SILU ? silu_of(x) : gelu_of(x, function == MORU_GELU_TANH);
}

static float activation_slope(moru_activation function, float x) {
    return function == MORU_SILU ? silu_slope(x) : gelu_slope(x, function == MORU_GELU_TANH);
}

void moru_scalar_gated_rows(const moru_gated *args, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        size_t in = row * args->input_row_stride, out = row * args->output_row_stride;
        for (size_t i = 0; i < args->dim; i++) {
            float gate = moru_element(args->input_type, args->gate, in + i);
            float up = moru_element(args->input_type, args->up, in + i);
            moru_set_element(args->output_type, args->y, out + i, activated(args->function, gate) * up);
        }
    }
}

void moru_scalar_gated_rows_backward(const moru_gated *args, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        size_t in = row * args->input_row_stride, out = row * args->output_row_stride;
        for (size_t i = 0; i < args->dim; i++) {
            float gate = moru_element(args->input_type, args->gate, in + i);
            float up = moru_element(args->input_type, args->up, in + i);
            float dy = moru_element(args->output_type, args->dy, out + i);
            moru_set_element(args->input_type, args->d_gate, in + i, dy * up * activation_slope(args->function, gate));
            moru_set_element(args->input_type, args->d_up, in + i, dy * activated(args->function, gate));
            if (!args->y) continue;
            moru_set_element(args->output_type, args->y, out + i, activated(args->function, gate) * up);
        }
    }
}
