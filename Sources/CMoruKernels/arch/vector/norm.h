// RMS and layer normalisation over vectors. Formulas: see the scalar reference.

// Runs a body over one row of `dim` elements with LOAD(p) and STORE(p, v).
#define ROW_FULL(p) vload((p) + i)
#define ROW_PART(p) vload_n((p) + i, dim - i)
#define ROW_STORE_FULL(p, v) vstore((p) + i, v)
#define ROW_STORE_PART(p, v) vstore_n((p) + i, v, dim - i)
#define OVER_ROW(BODY)                                                                       \
    {                                                                                        \
        size_t i = 0;                                                                        \
        for (; i + LANES <= dim; i += LANES) { BODY(ROW_FULL, ROW_STORE_FULL, 0) }           \
        if (i < dim) { BODY(ROW_PART, ROW_STORE_PART, 1) }                                   \
    }

INLINE float row_sum_of_squares(const float *x, size_t dim) {
    vf s0 = vset(0), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 4 * LANES <= dim; i += 4 * LANES) {
        vf a = vload(x + i), b = vload(x + i + LANES), c = vload(x + i + 2 * LANES), d = vload(x + i + 3 * LANES);
        s0 = vfma(a, a, s0);
        s1 = vfma(b, b, s1);
        s2 = vfma(c, c, s2);
        s3 = vfma(d, d, s3);
    }
    for (; i + LANES <= dim; i += LANES) {
        vf a = vload(x + i);
        s0 = vfma(a, a, s0);
    }
    if (i < dim) {
        vf a = vload_n(x + i, dim - i);
        s1 = vfma(a, a, s1);
    }
    return vsum((s0 + s1) + (s2 + s3));
}

void MORU_NAME(rms_norm)(const float *x, const float *w, float epsilon, float *y, float *inverse_rms, size_t dim,
                         size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *in = x + row * dim;
        float *out = y + row * dim;
        float inverse = 1 / sqrtf(row_sum_of_squares(in, dim) / (float)dim + epsilon);
#define BODY(LOAD, STORE, PART) STORE(out, LOAD(in) * inverse * LOAD(w));
        OVER_ROW(BODY)
#undef BODY
        if (inverse_rms) inverse_rms[row] = inverse;
    }
}

void MORU_NAME(rms_norm_backward)(const float *dy, const float *x, const float *w, const float *inverse_rms,
                                  float *dx, float *dw, size_t dim, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *g = dy + row * dim, *in = x + row * dim;
        float *out = dx + row * dim, inverse = inverse_rms[row];
        vf sums = vset(0);
#define BODY(LOAD, STORE, PART) sums = vfma(LOAD(g) * LOAD(w), LOAD(in), sums);
        OVER_ROW(BODY)
#undef BODY
        float pull = inverse * inverse * vsum(sums) / (float)dim;
        if (dw) {
#define BODY(LOAD, STORE, PART)                                    \
    vf gradient = LOAD(g), value = LOAD(in);                       \
    STORE(dw, vfma(gradient * inverse, value, LOAD(dw)));          \
    STORE(out, inverse *(gradient * LOAD(w) - value * pull));
            OVER_ROW(BODY)
#undef BODY
        } else {
#define BODY(LOAD, STORE, PART) STORE(out, inverse *(LOAD(g) * LOAD(w) - LOAD(in) * pull));
            OVER_ROW(BODY)
#undef BODY
        }
    }
}

void MORU_NAME(layer_norm)(const float *x, const float *w, const float *b, float epsilon, float *y, float *mean,
                           float *inverse_deviation, size_t dim, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *in = x + row * dim;
        float *out = y + row * dim;
        vf sums = vset(0), squares = vset(0);
#define BODY(LOAD, STORE, PART) sums += LOAD(in);
        OVER_ROW(BODY)
#undef BODY
        float middle = vsum(sums) / (float)dim;
        // The lanes past the end hold 0, not `middle`; they are taken out of the sum again.
#define BODY(LOAD, STORE, PART)                                                       \
    vf centred = LOAD(in) - middle;                                                   \
    if (PART) centred = viota() < (int32_t)(dim - i) ? centred : vset(0);             \
    squares = vfma(centred, centred, squares);
        OVER_ROW(BODY)
#undef BODY
        float inverse = 1 / sqrtf(vsum(squares) / (float)dim + epsilon);
        if (b) {
#define BODY(LOAD, STORE, PART) STORE(out, vfma((LOAD(in) - middle) * inverse, LOAD(w), LOAD(b)));
            OVER_ROW(BODY)
#undef BODY
        } else {
#define BODY(LOAD, STORE, PART) STORE(out, (LOAD(in) - middle) * inverse * LOAD(w));
            OVER_ROW(BODY)
#undef BODY
        }
        if (mean) mean[row] = middle;
        if (inverse_deviation) inverse_deviation[row] = inverse;
    }
}

void MORU_NAME(layer_norm_backward)(const float *dy, const float *x, const float *w, const float *mean,
                                    const float *inverse_deviation, float *dx, float *dw, float *db, size_t dim,
                                    size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *in = x + row * dim, *g = dy + row * dim;
        float *out = dx + row * dim, middle = mean[row], inverse = inverse_deviation[row];
        vf sums = vset(0), projections = vset(0);
        // Lanes past the end add nothing: the gradient there is 0.
#define BODY(LOAD, STORE, PART)                                                \
    vf weighted = LOAD(g) * LOAD(w);                                           \
    sums += weighted;                                                          \
    projections = vfma(weighted, (LOAD(in) - middle) * inverse, projections);
        OVER_ROW(BODY)
#undef BODY
        float sum = vsum(sums) / (float)dim, projection = vsum(projections) / (float)dim;
#define BODY(LOAD, STORE, PART)                                                \
    vf gradient = LOAD(g), normal = (LOAD(in) - middle) * inverse;             \
    if (dw) STORE(dw, vfma(gradient, normal, LOAD(dw)));                       \
    if (db) STORE(db, LOAD(db) + gradient);                                    \
    STORE(out, inverse *(gradient * LOAD(w) - sum - normal * projection));
        OVER_ROW(BODY)
#undef BODY
    }
}
