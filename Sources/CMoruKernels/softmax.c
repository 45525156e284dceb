// Softmax and the cross-entropy loss on logits, scalar reference.
#include <math.h>

#include "table.h"

static float largest_of(const float *x, size_t count) {
    float largest = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        if (!(x[i] <= largest)) largest = x[i];  // keeps a NaN
    }
    return largest;
}

// A row that is -inf throughout has no distribution and becomes zeros.
void moru_scalar_softmax(const float *x, float *y, size_t dim, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *in = x + row * dim;
        float *out = y + row * dim, largest = largest_of(in, dim);
        double sum = 0;
        if (largest == -INFINITY) {
            for (size_t i = 0; i < dim; i++) out[i] = 0;
            continue;
        }
        for (size_t i = 0; i < dim; i++) {
            out[i] = expf(in[i] - largest);
            sum += (double)out[i];
        }
        for (size_t i = 0; i < dim; i++) out[i] = (float)((double)out[i] / sum);
    }
}

// dx = y * (dy - sum(dy * y))
void moru_scalar_softmax_backward(const float *dy, const float *y, float *dx, size_t dim, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *g = dy + row * dim, *p = y + row * dim;
        float sum = 0;
        for (size_t i = 0; i < dim; i++) sum += g[i] * p[i];
        for (size_t i = 0; i < dim; i++) dx[row * dim + i] = p[i] * (g[i] - sum);
    }
}

void moru_scalar_cross_entropy(const float *logits, const int32_t *targets, float scale, float *losses,
                               float *d_logits, size_t dim, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *in = logits + row * dim;
        float *out = d_logits ? d_logits + row * dim : NULL;
        int32_t target = targets[row];
        if (target < 0) {
            losses[row] = 0;
            for (size_t i = 0; out && i < dim; i++) out[i] = 0;
            continue;
        }
        float largest = largest_of(in, dim), at_target = in[target];
        double sum = 0;
        for (size_t i = 0; i < dim; i++) sum += (double)expf(in[i] - largest);
        losses[row] = largest + logf((float)sum) - at_target;
        for (size_t i = 0; out && i < dim; i++) {
            float p = expf(in[i] - largest) / (float)sum;
            out[i] = (p - (i == (size_t)target ? 1.0f : 0.0f)) * scale;
        }
    }
}
