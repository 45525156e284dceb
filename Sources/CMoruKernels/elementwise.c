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

void moru_scalar_gelu(const float *x, float *y, bool tanh_form, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
        float v = x[i];
        float inner = tanh_form ? tanhf(sqrt_2_over_pi * (v + cubic * v * v * v)) : erff(v * sqrt_half);
        y[i] = 0.5f * v * (1 + inner);
    }
}

void moru_scalar_gelu_backward(const float *dy, const float *x, float *dx, bool tanh_form, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
        float v = x[i], slope;
        if (tanh_form) {
            float t = tanhf(sqrt_2_over_pi * (v + cubic * v * v * v));
            slope = 0.5f * (1 + t) + 0.5f * v * (1 - t * t) * sqrt_2_over_pi * (1 + 3 * cubic * v * v);
        } else {
            slope = 0.5f * (1 + erff(v * sqrt_half)) + v * inverse_sqrt_2pi * expf(-0.5f * v * v);
        }
        dx[i] = dy[i] * slope;
    }
}

void moru_scalar_swiglu(const float *gate, const float *up, float *y, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) y[i] = silu_of(gate[i]) * up[i];
}

void moru_scalar_swiglu_backward(const float *dy, const float *gate, const float *up, float *d_gate, float *d_up,
                                 size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
        float g = gate[i], u = up[i], d = dy[i];
        d_gate[i] = d * u * silu_slope(g);
        d_up[i] = d * silu_of(g);
    }
}

void moru_scalar_swiglu_rows(const moru_swiglu *args, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        size_t in = row * args->input_row_stride, out = row * args->output_row_stride;
        for (size_t i = 0; i < args->dim; i++) {
            float gate = moru_element(args->input_type, args->gate, in + i);
            float up = moru_element(args->input_type, args->up, in + i);
            moru_set_element(args->output_type, args->y, out + i, silu_of(gate) * up);
        }
    }
}

void moru_scalar_swiglu_rows_backward(const moru_swiglu *args, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        size_t in = row * args->input_row_stride, out = row * args->output_row_stride;
        for (size_t i = 0; i < args->dim; i++) {
            float gate = moru_element(args->input_type, args->gate, in + i);
            float up = moru_element(args->input_type, args->up, in + i);
            float dy = moru_element(args->output_type, args->dy, out + i);
            moru_set_element(args->input_type, args->d_gate, in + i, dy * up * silu_slope(gate));
            moru_set_element(args->input_type, args->d_up, in + i, dy * silu_of(gate));
        }
    }
}
