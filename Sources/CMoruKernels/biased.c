// What follows a product in an encoder, scalar reference.
#include <math.h>

#include "blocks.h"
#include "table.h"

static void activate(moru_activation function, float *x) {
    switch (function) {
    case MORU_SILU: moru_scalar_silu(x, x, 0, 1); break;
    case MORU_GELU: moru_scalar_gelu(x, x, false, 0, 1); break;
    case MORU_GELU_TANH: moru_scalar_gelu(x, x, true, 0, 1); break;
    case MORU_RELU: moru_scalar_relu(x, x, 0, 1); break;
    case MORU_TANH: moru_scalar_tanh(x, x, 0, 1); break;
    case MORU_IDENTITY: break;
    }
}

void moru_scalar_biased_activation(const moru_biased_activation *args, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        for (size_t i = 0; i < args->dim; i++) {
            float x = args->x[row * args->x_row_stride + i] + (args->bias ? args->bias[i] : 0);
            activate(args->function, &x);
            moru_set_element(args->y_type, args->y, row * args->y_row_stride + i, x);
        }
    }
}

void moru_scalar_biased_layer_norm(const moru_biased_layer_norm *args, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        float *x = args->x + row * args->dim;
        if (args->bias) moru_scalar_add(x, args->bias, x, 0, args->dim);
        moru_scalar_layer_norm(x, args->w, args->b, args->epsilon, x, NULL, NULL, args->dim, 0, 1);
        if (!args->copy) continue;
        for (size_t i = 0; i < args->dim; i++) {
            moru_set_element(args->copy_type, args->copy, row * args->dim + i, x[i]);
        }
    }
}
