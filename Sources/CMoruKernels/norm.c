// RMS normalisation (Zhang and Sennrich, 2019) and layer normalisation (Ba et al., 2016), scalar reference.
#include <math.h>

#include "blocks.h"
#include "table.h"

void moru_scalar_rms_norm(const float *x, const float *w, float epsilon, float *y, float *inverse_rms, size_t dim,
                          size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *in = x + row * dim;
        float *out = y + row * dim, sum = 0;
        for (size_t i = 0; i < dim; i++) sum += in[i] * in[i];
        float inverse = 1 / sqrtf(sum / (float)dim + epsilon);
        for (size_t i = 0; i < dim; i++) out[i] = in[i] * inverse * w[i];
        if (inverse_rms) inverse_rms[row] = inverse;
    }
}

// With r = inverse_rms and g = dy * w: dx = r * (g - x * r^2 * mean(g * x)), dw += dy * x * r.
void moru_scalar_rms_norm_backward(const float *dy, const float *x, const float *w, const float *inverse_rms,
                                   float *dx, float *dw, size_t dim, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *g = dy + row * dim, *in = x + row * dim;
        float inverse = inverse_rms[row], sum = 0;
        for (size_t i = 0; i < dim; i++) sum += g[i] * w[i] * in[i];
        float pull = inverse * inverse * sum / (float)dim;
        for (size_t i = 0; i < dim; i++) {
            float gradient = g[i], value = in[i];
            dx[row * dim + i] = inverse * (gradient * w[i] - value * pull);
            if (dw) dw[i] += gradient * value * inverse;
        }
    }
}

void moru_scalar_add_rms_norm(const moru_add_rms_norm *args, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        size_t first = row * args->dim;
        const void *in = args->residual ? args->sum : args->x;
        moru_dtype type = args->residual ? args->sum_type : args->x_type;
        float squares = 0;
        for (size_t i = first; i < first + args->dim; i++) {
            if (args->residual) {
                float x = moru_element(args->x_type, args->x, i);
                moru_set_element(type, args->sum, i, x + moru_element(type, args->residual, i));
            }
            float sum = moru_element(type, in, i);
            squares += sum * sum;
        }
        float inverse = 1 / sqrtf(squares / (float)args->dim + args->epsilon);
        for (size_t i = 0; i < args->dim; i++) {
            moru_set_element(args->y_type, args->y, first + i, moru_element(type, in, first + i) * inverse * args->w[i]);
        }
        if (args->inverse_rms) args->inverse_rms[row] = inverse;
    }
}

// As rms_norm_backward.
void moru_scalar_add_rms_norm_backward(const moru_add_rms_norm_gradient *args, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        size_t first = row * args->dim;
        float inverse = args->inverse_rms[row], sum = 0;
        for (size_t i = 0; i < args->dim; i++) {
            float gradient = moru_element(args->dy_type, args->dy, first + i);
            sum += gradient * args->w[i] * moru_element(args->sum_type, args->sum, first + i);
        }
        float pull = inverse * inverse * sum / (float)args->dim;
        for (size_t i = 0; i < args->dim; i++) {
            float gradient = moru_element(args->dy_type, args->dy, first + i);
            float value = moru_element(args->sum_type, args->sum, first + i);
            float dx = inverse * (gradient * args->w[i] - value * pull);
            if (args->d_residual) dx += moru_element(args->dx_type, args->d_residual, first + i);
            moru_set_element(args->dx_type, args->dx, first + i, dx);
            if (args->dx_narrow) moru_set_element(MORU_BF16, args->dx_narrow, first + i, dx);
            if (args->dw) args->dw[i] += gradient * value * inverse;
        }
    }
}

void moru_scalar_layer_norm(const float *x, const float *w, const float *b, float epsilon, float *y, float *mean,
                            float *inverse_deviation, size_t dim, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *in = x + row * dim;
        float *out = y + row * dim, sum = 0, squares = 0;
        for (size_t i = 0; i < dim; i++) sum += in[i];
        float middle = sum / (float)dim;
        for (size_t i = 0; i < dim; i++) squares += (in[i] - middle) * (in[i] - middle);
        float inverse = 1 / sqrtf(squares / (float)dim + epsilon);
        for (size_t i = 0; i < dim; i++) out[i] = (in[i] - middle) * inverse * w[i] + (b ? b[i] : 0);
        if (mean) mean[row] = middle;
        if (inverse_deviation) inverse_deviation[row] = inverse;
    }
}

// With h = (x - mean) * r and g = dy * w: dx = r * (g - mean(g) - h * mean(g * h)), dw += dy * h, db += dy.
void moru_scalar_layer_norm_backward(const float *dy, const float *x, const float *w, const float *mean,
                                     const float *inverse_deviation, float *dx, float *dw, float *db, size_t dim,
                                     size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *in = x + row * dim, *g = dy + row * dim;
        float middle = mean[row], inverse = inverse_deviation[row], sum = 0, projection = 0;
        for (size_t i = 0; i < dim; i++) {
            sum += g[i] * w[i];
            projection += g[i] * w[i] * (in[i] - middle) * inverse;
        }
        sum /= (float)dim;
        projection /= (float)dim;
        for (size_t i = 0; i < dim; i++) {
            float gradient = g[i], normal = (in[i] - middle) * inverse;
            dx[row * dim + i] = inverse * (gradient * w[i] - sum - normal * projection);
            if (dw) dw[i] += gradient * normal;
            if (db) db[i] += gradient;
        }
    }
}
