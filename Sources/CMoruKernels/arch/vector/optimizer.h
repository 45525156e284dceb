// Optimizer steps over vectors. Formulas: see the scalar reference. Uses OVER_RANGE of elementwise.h.

// AdamW; `root` as in the scalar reference.
void MORU_NAME(adamw)(const moru_adamw *args, float *parameter, const float *gradient, float *moment1, float *moment2,
                      size_t begin, size_t end) {
    float decay = 1 - args->learning_rate * args->weight_decay;
    float step = args->learning_rate / args->bias_correction1;
    float root = 1 / sqrtf(args->bias_correction2);
    float beta1 = args->beta1, beta2 = args->beta2, epsilon = args->epsilon, scale = args->gradient_scale;
#define BODY(LOAD, STORE)                                                                    \
    vf g = LOAD(gradient) * scale;                                                           \
    vf m = vfma(vset(beta1), LOAD(moment1), (1 - beta1) * g);                                \
    vf v = vfma(vset(beta2), LOAD(moment2), (1 - beta2) * g * g);                            \
    vf denominator = vfma(__builtin_elementwise_sqrt(v), vset(root), vset(epsilon));         \
    vf updated = LOAD(parameter) * decay - step * m / denominator;                           \
    STORE(moment1, m);                                                                       \
    STORE(moment2, v);                                                                       \
    STORE(parameter, updated);
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(lion)(const moru_lion *args, float *parameter, const float *gradient, float *moment, size_t begin,
                     size_t end) {
    float rate = args->learning_rate, decay = 1 - rate * args->weight_decay;
    float beta1 = args->beta1, beta2 = args->beta2, scale = args->gradient_scale;
#define BODY(LOAD, STORE)                                                  \
    vf g = LOAD(gradient) * scale, m = LOAD(moment);                       \
    vf direction = vfma(vset(beta1), m, (1 - beta1) * g);                  \
    vf sign = direction > 0.0f ? vset(1) : vset(0);                        \
    sign = direction < 0.0f ? vset(-1) : sign;                             \
    STORE(parameter, LOAD(parameter) * decay - rate * sign);               \
    STORE(moment, vfma(vset(beta2), m, (1 - beta2) * g));
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(sgd)(const moru_sgd *args, float *parameter, const float *gradient, float *moment, size_t begin,
                    size_t end) {
    float rate = args->learning_rate, momentum = args->momentum, weight = args->weight_decay;
    float scale = args->gradient_scale;
    bool nesterov = args->nesterov;
    if (!moment) {
#define BODY(LOAD, STORE)                                                  \
    vf p = LOAD(parameter), g = vfma(vset(weight), p, LOAD(gradient) * scale); \
    STORE(parameter, p - rate * g);
        OVER_RANGE(BODY)
#undef BODY
        return;
    }
#define BODY(LOAD, STORE)                                                  \
    vf p = LOAD(parameter), g = vfma(vset(weight), p, LOAD(gradient) * scale); \
    vf m = vfma(vset(momentum), LOAD(moment), g);                          \
    STORE(moment, m);                                                      \
    STORE(parameter, p - rate * (nesterov ? vfma(vset(momentum), m, g) : m));
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(lerp)(const float *x, float scale, float share, float *y, size_t begin, size_t end) {
#define BODY(LOAD, STORE)                                                  \
    vf old = LOAD(y);                                                      \
    STORE(y, vfma(vset(share), scale * LOAD(x) - old, old));
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(adafactor_squares)(const float *gradient, float scale, float *row_sums, float *column_sums,
                                  size_t columns, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *g = gradient + row * columns;
        vd sum = (vd)(0);
        size_t i = 0;
        for (; i + LANES <= columns; i += LANES) {
            vf scaled = vload(g + i) * scale, square = scaled * scaled;
            sum += __builtin_convertvector(square, vd);
            vstore(column_sums + i, vload(column_sums + i) + square);
        }
        if (i < columns) {
            vf scaled = vload_n(g + i, columns - i) * scale, square = scaled * scaled;
            sum += __builtin_convertvector(square, vd);
            vstore_n(column_sums + i, vload_n(column_sums + i, columns - i) + square, columns - i);
        }
        row_sums[row] = (float)vsum_double(sum);
    }
}

INLINE vf adafactor_update(vf gradient, vf column_variance, float row_variance, float least, float scale) {
    vf variance = vmax(column_variance * row_variance, vset(least));
    return gradient * scale / __builtin_elementwise_sqrt(variance);
}

double MORU_NAME(adafactor_norm)(const moru_adafactor *args, const float *gradient, size_t begin, size_t end) {
    size_t columns = args->columns;
    float least = args->epsilon * args->epsilon, scale = args->gradient_scale;
    const float *variances = args->column_variance;
    vd sum = (vd)(0);
    for (size_t row = begin; row < end; row++) {
        const float *g = gradient + row * columns;
        float variance = args->row_variance[row];
        size_t i = 0;
        for (; i + LANES <= columns; i += LANES) {
            vf update = adafactor_update(vload(g + i), vload(variances + i), variance, least, scale);
            vd wide = __builtin_convertvector(update, vd);
            sum += wide * wide;
        }
        if (i < columns) {
            size_t rest = columns - i;
            vf update = adafactor_update(vload_n(g + i, rest), vload_n(variances + i, rest), variance, least, scale);
            vd wide = __builtin_convertvector(update, vd);
            sum += wide * wide;
        }
    }
    return vsum_double(sum);
}

void MORU_NAME(adafactor_step)(const moru_adafactor *args, float *parameter, const float *gradient, float decay,
                               float rate, size_t begin, size_t end) {
    size_t columns = args->columns;
    float least = args->epsilon * args->epsilon, scale = args->gradient_scale;
    const float *variances = args->column_variance;
    for (size_t row = begin; row < end; row++) {
        const float *g = gradient + row * columns;
        float *p = parameter + row * columns;
        float variance = args->row_variance[row];
        size_t i = 0;
        for (; i + LANES <= columns; i += LANES) {
            vf update = adafactor_update(vload(g + i), vload(variances + i), variance, least, scale);
            vstore(p + i, vload(p + i) * decay - rate * update);
        }
        if (i < columns) {
            size_t rest = columns - i;
            vf update = adafactor_update(vload_n(g + i, rest), vload_n(variances + i, rest), variance, least, scale);
            vstore_n(p + i, vload_n(p + i, rest) * decay - rate * update, rest);
        }
    }
}
