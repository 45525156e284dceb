// Optimizer steps, scalar reference. AdamW (Loshchilov and Hutter, 2019), Lion (Chen et al., 2023) and Adafactor (Shazeer
// and Stern, 2018) decay the parameter; gradient descent decays through the gradient, as is usual for it.
#include <math.h>

#include "table.h"

void moru_scalar_adamw(const moru_adamw *args, float *parameter, const float *gradient, float *moment1,
                       float *moment2, size_t begin, size_t end) {
    float decay = 1 - args->learning_rate * args->weight_decay;
    float step = args->learning_rate / args->bias_correction1;
    float root = 1 / sqrtf(args->bias_correction2);
    for (size_t i = begin; i < end; i++) {
        float g = gradient[i] * args->gradient_scale;
        float m = args->beta1 * moment1[i] + (1 - args->beta1) * g;
        float v = args->beta2 * moment2[i] + (1 - args->beta2) * g * g;
        moment1[i] = m;
        moment2[i] = v;
        parameter[i] = parameter[i] * decay - step * m / (sqrtf(v) * root + args->epsilon);
    }
}

void moru_scalar_lion(const moru_lion *args, float *parameter, const float *gradient, float *moment, size_t begin,
                      size_t end) {
    float decay = 1 - args->learning_rate * args->weight_decay;
    float beta1 = args->beta1, beta2 = args->beta2;
    for (size_t i = begin; i < end; i++) {
        float g = gradient[i] * args->gradient_scale;
        float direction = beta1 * moment[i] + (1 - beta1) * g;
        float sign = direction > 0 ? 1.0f : direction < 0 ? -1.0f : 0.0f;
        parameter[i] = parameter[i] * decay - args->learning_rate * sign;
        moment[i] = beta2 * moment[i] + (1 - beta2) * g;
    }
}

void moru_scalar_sgd(const moru_sgd *args, float *parameter, const float *gradient, float *moment, size_t begin,
                     size_t end) {
    for (size_t i = begin; i < end; i++) {
        float g = gradient[i] * args->gradient_scale + args->weight_decay * parameter[i];
        if (moment) {
            float m = args->momentum * moment[i] + g;
            moment[i] = m;
            g = args->nesterov ? g + args->momentum * m : m;
        }
        parameter[i] -= args->learning_rate * g;
    }
}

void moru_scalar_lerp(const float *x, float scale, float share, float *y, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) y[i] += share * (scale * x[i] - y[i]);
}

void moru_scalar_adafactor_squares(const float *gradient, float scale, float *row_sums, float *column_sums,
                                   size_t columns, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        double sum = 0;
        for (size_t i = 0; i < columns; i++) {
            float g = gradient[row * columns + i] * scale;
            sum += (double)(g * g);
            column_sums[i] += g * g;
        }
        row_sums[row] = (float)sum;
    }
}

static float adafactor_update(const moru_adafactor *args, const float *gradient, size_t row, size_t column) {
    float variance = args->row_variance[row] * args->column_variance[column];
    float least = args->epsilon * args->epsilon;
    return gradient[row * args->columns + column] * args->gradient_scale / sqrtf(variance > least ? variance : least);
}

double moru_scalar_adafactor_norm(const moru_adafactor *args, const float *gradient, size_t begin, size_t end) {
    double sum = 0;
    for (size_t row = begin; row < end; row++) {
        for (size_t i = 0; i < args->columns; i++) {
            double update = (double)adafactor_update(args, gradient, row, i);
            sum += update * update;
        }
    }
    return sum;
}

void moru_scalar_adafactor_step(const moru_adafactor *args, float *parameter, const float *gradient, float decay,
                                float rate, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        for (size_t i = 0; i < args->columns; i++) {
            float *element = parameter + row * args->columns + i;
            *element = *element * decay - rate * adafactor_update(args, gradient, row, i);
        }
    }
}
