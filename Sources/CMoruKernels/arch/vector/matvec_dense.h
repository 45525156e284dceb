// Products with few rows and dense weights (f32, f16, bf16): a tile of weight rows meets a tile of activation rows, so
// that each weight is read once for up to 8 rows and each activation once for several weight rows. Every result is one
// chain of additions over whole vectors, the same whatever the tile.

INLINE vf dense_load(moru_dtype type, const void *w, size_t i) {
    if (type == MORU_F32) return vload((const float *)w + i);
    return type == MORU_F16 ? vload_f16((const uint16_t *)w + i) : vload_bf16((const uint16_t *)w + i);
}

// The last `count` (< LANES) weights, zeros after them.
INLINE vf dense_load_n(moru_dtype type, const void *w, size_t i, size_t count) {
    if (type == MORU_F32) return vload_n((const float *)w + i, count);
    uint16_t padded[MORU_LANES] = {0};
    __builtin_memcpy(padded, (const uint16_t *)w + i, count * sizeof(uint16_t));
    return dense_load(type, padded, 0);
}

// `columns` weight rows from `w` against `rows` activation rows from `x`. Both are constants in every call.
INLINE void dense_tile(const int rows, const int columns, moru_dtype type, const moru_matvec *args, const uint8_t *w,
                       const uint8_t *x, float *y) {
    vf sum[8][4];
    size_t k = args->k, whole = k / LANES * LANES;
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        _Pragma("clang loop unroll(full)") for (int c = 0; c < columns; c++) sum[r][c] = vset(0);
    }
    for (size_t i = 0; i < whole; i += LANES) {
        vf weights[4];
        _Pragma("clang loop unroll(full)") for (int c = 0; c < columns; c++) {
            weights[c] = dense_load(type, w + (size_t)c * args->w_row_bytes, i);
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            vf activation = vload((const float *)(const void *)(x + (size_t)r * args->x_row_bytes) + i);
            _Pragma("clang loop unroll(full)") for (int c = 0; c < columns; c++) {
                sum[r][c] = vfma(weights[c], activation, sum[r][c]);
            }
        }
    }
    if (whole < k) {
        _Pragma("clang loop unroll(full)") for (int c = 0; c < columns; c++) {
            vf weights = dense_load_n(type, w + (size_t)c * args->w_row_bytes, whole, k - whole);
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                const float *row = (const float *)(const void *)(x + (size_t)r * args->x_row_bytes);
                sum[r][c] = vfma(weights, vload_n(row + whole, k - whole), sum[r][c]);
            }
        }
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        _Pragma("clang loop unroll(full)") for (int c = 0; c < columns; c++) {
            y[(size_t)r * args->y_row_stride + (size_t)c] = vsum(sum[r][c]);
        }
    }
}

// The sums of LANES vectors, one in each lane, added up in the order of vsum.
#if MORU_LANES == 16
// Of eight vectors, each with the two halves of what is left after the first additions: sums i and i + 8 of v[i].
INLINE vf vsums_of_halves(vf v[8]) {
    vf quads[4], pairs[2];
    for (int i = 0; i < 4; i++) {
        quads[i] = SHUFFLE(v[i], v[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +
                   SHUFFLE(v[i], v[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    }
    for (int i = 0; i < 2; i++) {
        pairs[i] = SHUFFLE(quads[i], quads[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
                   SHUFFLE(quads[i], quads[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
    return SHUFFLE(pairs[0], pairs[1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
           SHUFFLE(pairs[0], pairs[1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
}

INLINE vf vsums(vf v[16]) {
    vf halves[8];
    for (int i = 0; i < 8; i++) {
        halves[i] = SHUFFLE(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                    SHUFFLE(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    }
    return vsums_of_halves(halves);
}
#else
INLINE vf vsums(vf v[MORU_LANES]) {
    transpose(v);
#if MORU_LANES == 8
    for (int i = 0; i < 4; i++) v[i] += v[i + 4];
#endif
    return (v[0] + v[2]) + (v[1] + v[3]);
}
#endif

// LANES weight rows from `w` against one activation row: where rows are short, the sums across lanes cost the most, and
// are made of all weight rows at once.
INLINE void dense_short(moru_dtype type, const moru_matvec *args, const uint8_t *w, const float *x, float *y) {
    size_t k = args->k, whole = k / LANES * LANES;
    vf sum[MORU_LANES];
    for (int c = 0; c < MORU_LANES; c++) sum[c] = vset(0);
    for (size_t i = 0; i < whole; i += LANES) {
        vf activation = vload(x + i);
        _Pragma("clang loop unroll(full)") for (int c = 0; c < MORU_LANES; c++) {
            sum[c] = vfma(dense_load(type, w + (size_t)c * args->w_row_bytes, i), activation, sum[c]);
        }
    }
    if (whole < k) {
        vf activation = vload_n(x + whole, k - whole);
        _Pragma("clang loop unroll(full)") for (int c = 0; c < MORU_LANES; c++) {
            vf weights = dense_load_n(type, w + (size_t)c * args->w_row_bytes, whole, k - whole);
            sum[c] = vfma(weights, activation, sum[c]);
        }
    }
    vstore(y, vsums(sum));
}

#if MORU_LANES == 16
// The same for weight rows of 8 elements without gaps: two of them in a vector.
INLINE void dense_eights(moru_dtype type, const uint8_t *w, const float *x, float *y) {
    vf activation = vload_n(x, 8), halves[8];
    activation = SHUFFLE(activation, activation, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
    for (int i = 0; i < 8; i++) {
        halves[i] = vfma(dense_load(type, w, (size_t)i * 16), activation, vset(0)) + vset(0);
    }
    vf sums = vsums_of_halves(halves);
    vstore(y, SHUFFLE(sums, sums, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
}
#endif

// Elements up to which a weight row is short.
#define DENSE_SHORT 64

typedef void dense_short_function(const moru_matvec *, const uint8_t *, const float *, float *);

#if MORU_LANES == 16
#define DENSE_EIGHTS(TYPE, SIZE) \
    if (args->k == 8 && args->w_row_bytes == 8 * (SIZE)) return dense_eights(TYPE, w, x, y);
#else
#define DENSE_EIGHTS(TYPE, SIZE)
#endif
#define DENSE(TYPE, SIZE)                                                                                          \
    static void dense_short_##TYPE(const moru_matvec *args, const uint8_t *w, const float *x, float *y) {           \
        DENSE_EIGHTS(TYPE, SIZE)                                                                                    \
        dense_short(TYPE, args, w, x, y);                                                                           \
    }
DENSE(MORU_F32, 4)
DENSE(MORU_F16, 2)
DENSE(MORU_BF16, 2)
#undef DENSE
#undef DENSE_EIGHTS
static dense_short_function *const dense_short_functions[3] = {dense_short_MORU_F32, dense_short_MORU_F16,
                                                               dense_short_MORU_BF16};

// Weight rows in a tile: with 16 registers (AVX2) the sums of 8 rows leave room for one, with 32 for three.
#define DENSE_COLUMNS(R) ((R) <= (MORU_LANES == 8 ? 2 : 4) ? 4 : MORU_LANES == 8 ? 1 : 3)

typedef void dense_function(const moru_matvec *, const uint8_t *, const uint8_t *, float *);

#define DENSE(TYPE, R)                                                                                              \
    static void dense_##TYPE##_##R##_one(const moru_matvec *args, const uint8_t *w, const uint8_t *x, float *y) {   \
        dense_tile(R, 1, TYPE, args, w, x, y);                                                                      \
    }                                                                                                               \
    static void dense_##TYPE##_##R##_some(const moru_matvec *args, const uint8_t *w, const uint8_t *x, float *y) {  \
        dense_tile(R, DENSE_COLUMNS(R), TYPE, args, w, x, y);                                                       \
    }
#define DENSE_TYPE(TYPE)                                                                                            \
    DENSE(TYPE, 1)                                                                                                  \
    DENSE(TYPE, 2)                                                                                                  \
    DENSE(TYPE, 3)                                                                                                  \
    DENSE(TYPE, 4)                                                                                                  \
    DENSE(TYPE, 5)                                                                                                  \
    DENSE(TYPE, 6)                                                                                                  \
    DENSE(TYPE, 7)                                                                                                  \
    DENSE(TYPE, 8)
DENSE_TYPE(MORU_F32)
DENSE_TYPE(MORU_F16)
DENSE_TYPE(MORU_BF16)
#undef DENSE
#undef DENSE_TYPE

#define DENSE(TYPE, R) {dense_##TYPE##_##R##_one, dense_##TYPE##_##R##_some}
#define DENSE_TYPE(TYPE)                                                                                            \
    {{0, 0},         DENSE(TYPE, 1), DENSE(TYPE, 2), DENSE(TYPE, 3), DENSE(TYPE, 4),                                \
     DENSE(TYPE, 5), DENSE(TYPE, 6), DENSE(TYPE, 7), DENSE(TYPE, 8)}
static dense_function *const dense_functions[3][9][2] = {DENSE_TYPE(MORU_F32), DENSE_TYPE(MORU_F16),
                                                         DENSE_TYPE(MORU_BF16)};
#undef DENSE
#undef DENSE_TYPE

void MORU_NAME(matvec)(const moru_matvec *args, size_t n_begin, size_t n_end) {
    if (args->k <= DENSE_SHORT) {
        for (; n_begin + LANES <= n_end; n_begin += LANES) {
            for (size_t r = 0; r < args->rows; r++) {
                const void *x = (const uint8_t *)args->x + r * args->x_row_bytes;
                dense_short_functions[args->w_type](args, (const uint8_t *)args->w + n_begin * args->w_row_bytes, x,
                                                    args->y + r * args->y_row_stride + n_begin);
            }
        }
    }
    // A few weight rows at a time for all the activations, so that the weights come from memory once.
    for (size_t start = n_begin; start < n_end; start += 12) {
        size_t stop = moru_min_size(n_end, start + 12);
        for (size_t r = 0; r < args->rows; r += 8) {
            size_t rows = moru_min_size(8, args->rows - r), columns = (size_t)DENSE_COLUMNS(rows);
            const uint8_t *x = (const uint8_t *)args->x + r * args->x_row_bytes;
            for (size_t n = start; n < stop;) {
                bool some = n + columns <= stop;
                dense_functions[args->w_type][rows][some](args, (const uint8_t *)args->w + n * args->w_row_bytes, x,
                                                          args->y + r * args->y_row_stride + n);
                n += some ? columns : 1;
            }
        }
    }
}
