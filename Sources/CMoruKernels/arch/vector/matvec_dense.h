// Products with few rows and dense weights (f32, f16, bf16): each weight is read once for up to 8 activation rows.
// Every row is summed in the same order whatever the number of rows beside it.

INLINE vf dense_load(moru_dtype type, const void *w, size_t i) {
    if (type == MORU_F32) return vload((const float *)w + i);
    return type == MORU_F16 ? vload_f16((const uint16_t *)w + i) : vload_bf16((const uint16_t *)w + i);
}

INLINE void dense_dot(const int rows, moru_dtype type, const moru_matvec *args, const void *w, const uint8_t *x,
                      float *y) {
    vf even[8], odd[8];
    size_t k = args->k, stride = args->x_row_bytes, i = 0;
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) even[r] = odd[r] = vset(0);
    for (; i + 2 * LANES <= k; i += 2 * LANES) {
        vf w0 = dense_load(type, w, i), w1 = dense_load(type, w, i + LANES);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            const float *row = (const float *)(const void *)(x + (size_t)r * stride) + i;
            even[r] = vfma(w0, vload(row), even[r]);
            odd[r] = vfma(w1, vload(row + LANES), odd[r]);
        }
    }
    while (i < k) {
        float weights[MORU_LANES] = {0};
        size_t count = moru_min_size(LANES, k - i), size = type == MORU_F32 ? 4 : 2;
        moru_scalar_dequantize(type, (const uint8_t *)w + i * size, weights, count);
        vf w0 = vload(weights);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            const float *row = (const float *)(const void *)(x + (size_t)r * stride) + i;
            even[r] = vfma(w0, count == LANES ? vload(row) : vload_n(row, count), even[r]);
        }
        i += count;
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        y[(size_t)r * args->y_row_stride] = vsum(even[r] + odd[r]);
    }
}

#define DENSE(TYPE, R)                                                                                           \
    static void dense_dot_##TYPE##_##R(const moru_matvec *args, const void *w, const uint8_t *x, float *y) {     \
        dense_dot(R, TYPE, args, w, x, y);                                                                       \
    }
#define DENSE_TYPE(TYPE) \
    DENSE(TYPE, 1) DENSE(TYPE, 2) DENSE(TYPE, 3) DENSE(TYPE, 4) DENSE(TYPE, 5) DENSE(TYPE, 6) DENSE(TYPE, 7) DENSE(TYPE, 8)
DENSE_TYPE(MORU_F32)
DENSE_TYPE(MORU_F16)
DENSE_TYPE(MORU_BF16)
#undef DENSE
#undef DENSE_TYPE

typedef void dense_function(const moru_matvec *, const void *, const uint8_t *, float *);
#define DENSE(TYPE)                                                                                              \
    {0, dense_dot_##TYPE##_1, dense_dot_##TYPE##_2, dense_dot_##TYPE##_3, dense_dot_##TYPE##_4,                  \
     dense_dot_##TYPE##_5, dense_dot_##TYPE##_6, dense_dot_##TYPE##_7, dense_dot_##TYPE##_8}
static dense_function *const dense_functions[3][9] = {DENSE(MORU_F32), DENSE(MORU_F16), DENSE(MORU_BF16)};
#undef DENSE

static void matvec_dense(const moru_matvec *args, size_t n_begin, size_t n_end) {
    for (size_t n = n_begin; n < n_end; n++) {
        const uint8_t *w = (const uint8_t *)args->w + n * args->w_row_bytes;
        for (size_t r = 0; r < args->rows; r += 8) {
            size_t rows = moru_min_size(8, args->rows - r);
            dense_functions[args->w_type][rows](args, w, (const uint8_t *)args->x + r * args->x_row_bytes,
                                                args->y + r * args->y_row_stride + n);
        }
    }
}
