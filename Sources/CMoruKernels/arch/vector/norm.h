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

// Rows of one combination of types, which are constants in every call.
INLINE void add_rms_norm_rows(const moru_dtype x_type, const moru_dtype sum_type, const moru_dtype y_type,
                              const moru_add_rms_norm *args, size_t begin, size_t end) {
    size_t dim = args->dim;
    for (size_t row = begin; row < end; row++) {
        size_t first = row * dim;
        vf squares[2] = {vset(0), vset(0)};
        for (size_t i = 0; i < dim; i += LANES) {
            size_t count = moru_min_size(LANES, dim - i);
            vf x = vload_type(x_type, args->x, first + i, count);
            if (args->residual) {
                x += vload_type(sum_type, args->residual, first + i, count);
                vstore_type(sum_type, args->sum, first + i, x, count);
                if (sum_type == MORU_BF16) x = __builtin_bit_cast(vf, vbf16_bits(x) << 16);
            }
            squares[i / LANES % 2] = vfma(x, x, squares[i / LANES % 2]);
        }
        float inverse = 1 / sqrtf(vsum(squares[0] + squares[1]) / (float)dim + args->epsilon);
        const void *in = args->residual ? args->sum : args->x;
        for (size_t i = 0; i < dim; i += LANES) {
            size_t count = moru_min_size(LANES, dim - i);
            vf x = args->residual ? vload_type(sum_type, in, first + i, count) : vload_type(x_type, in, first + i, count);
            vstore_type(y_type, args->y, first + i, x * inverse * vload_type(MORU_F32, args->w, i, count), count);
        }
        if (args->inverse_rms) args->inverse_rms[row] = inverse;
    }
}

INLINE void add_rms_norm_gradient_rows(const moru_dtype dx_type, const moru_dtype sum_type, const moru_dtype dy_type,
                                       const moru_add_rms_norm_gradient *args, size_t begin, size_t end) {
    size_t dim = args->dim;
    for (size_t row = begin; row < end; row++) {
        size_t first = row * dim;
        float inverse = args->inverse_rms[row];
        vf sums[2] = {vset(0), vset(0)};
        for (size_t i = 0; i < dim; i += LANES) {
            size_t count = moru_min_size(LANES, dim - i);
            vf weighted = vload_type(dy_type, args->dy, first + i, count) * vload_type(MORU_F32, args->w, i, count);
            vf value = vload_type(sum_type, args->sum, first + i, count);
            sums[i / LANES % 2] = vfma(weighted, value, sums[i / LANES % 2]);
        }
        float pull = inverse * inverse * vsum(sums[0] + sums[1]) / (float)dim;
        for (size_t i = 0; i < dim; i += LANES) {
            size_t count = moru_min_size(LANES, dim - i);
            vf gradient = vload_type(dy_type, args->dy, first + i, count);
            vf value = vload_type(sum_type, args->sum, first + i, count);
            vf dx = inverse * (gradient * vload_type(MORU_F32, args->w, i, count) - value * pull);
            if (args->d_residual) dx += vload_type(dx_type, args->d_residual, first + i, count);
            vstore_type(dx_type, args->dx, first + i, dx, count);
            if (!args->dw) continue;
            vf dw = vfma(gradient * inverse, value, vload_type(MORU_F32, args->dw, i, count));
            vstore_type(MORU_F32, args->dw, i, dw, count);
        }
    }
}

#define NORM_TYPES(F, a_type, c_type)                                                           \
    switch ((args->a_type == MORU_BF16) * 4 + (args->sum_type == MORU_BF16) * 2 + (args->c_type == MORU_BF16)) { \
    case 0: F(MORU_F32, MORU_F32, MORU_F32, args, begin, end); break;                           \
    case 1: F(MORU_F32, MORU_F32, MORU_BF16, args, begin, end); break;                          \
    case 2: F(MORU_F32, MORU_BF16, MORU_F32, args, begin, end); break;                          \
    case 3: F(MORU_F32, MORU_BF16, MORU_BF16, args, begin, end); break;                         \
    case 4: F(MORU_BF16, MORU_F32, MORU_F32, args, begin, end); break;                          \
    case 5: F(MORU_BF16, MORU_F32, MORU_BF16, args, begin, end); break;                         \
    case 6: F(MORU_BF16, MORU_BF16, MORU_F32, args, begin, end); break;                         \
    default: F(MORU_BF16, MORU_BF16, MORU_BF16, args, begin, end); break;                       \
    }

void MORU_NAME(add_rms_norm)(const moru_add_rms_norm *args, size_t begin, size_t end) {
    NORM_TYPES(add_rms_norm_rows, x_type, y_type)
}

void MORU_NAME(add_rms_norm_backward)(const moru_add_rms_norm_gradient *args, size_t begin, size_t end) {
    NORM_TYPES(add_rms_norm_gradient_rows, dx_type, dy_type)
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
