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
