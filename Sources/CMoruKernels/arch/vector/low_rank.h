// Low-rank updates of few rows: panels of their matrices (low_rank.c) are read once from memory for all rows. Every
// inner product is one chain of additions over whole vectors, every outer one a chain over the rank in its own lane.

#define LOW_RANK_PANEL ((size_t)MORU_LOW_RANK_PANEL)
#define LOW_RANK_VECTORS (MORU_LOW_RANK_PANEL / MORU_LANES)

// Elements [first, first + ranks) of the rank, for one row. `ranks` and `type` are constants in every call.
INLINE void low_rank_inner_tile(const int ranks, moru_dtype type, const moru_low_rank *args, size_t first,
                                const float *x, float *inner) {
    vf sum[8];
    _Pragma("clang loop unroll(full)") for (int j = 0; j < ranks; j++) sum[j] = vset(0);
    size_t at = first * LOW_RANK_PANEL;
    for (size_t i = 0; i < args->k; i += LOW_RANK_PANEL, at += args->rank * LOW_RANK_PANEL) {
        bool is_whole = args->k - i >= LOW_RANK_PANEL;
        _Pragma("clang loop unroll(full)") for (size_t v = 0; v < LOW_RANK_PANEL; v += LANES) {
            vf activation;
            if (is_whole || args->k - i >= v + LANES) activation = vload(x + i + v);
            else if (args->k - i > v) activation = vload_n(x + i + v, args->k - i - v);
            else break;
            _Pragma("clang loop unroll(full)") for (int j = 0; j < ranks; j++) {
                vf weights = dense_load(type, args->a, at + (size_t)j * LOW_RANK_PANEL + v);
                sum[j] = vfma(weights, activation, sum[j]);
            }
        }
    }
    _Pragma("clang loop unroll(full)") for (int j = 0; j < ranks; j++) inner[first + (size_t)j] = vsum(sum[j]);
}

INLINE void low_rank_inner_of(moru_dtype type, const moru_low_rank *args, size_t begin, size_t end) {
    for (size_t j = begin; j < end;) {
        size_t left = end - j, ranks = left >= 8 ? 8 : left >= 4 ? 4 : 1;
        for (size_t r = 0; r < args->rows; r++) {
            const float *x = args->x + r * args->x_row_stride;
            float *inner = args->inner + r * args->rank;
            if (ranks == 8) low_rank_inner_tile(8, type, args, j, x, inner);
            else if (ranks == 4) low_rank_inner_tile(4, type, args, j, x, inner);
            else low_rank_inner_tile(1, type, args, j, x, inner);
        }
        j += ranks;
    }
}

void MORU_NAME(low_rank_inner)(const moru_low_rank *args, size_t begin, size_t end) {
    if (args->type == MORU_BF16) low_rank_inner_of(MORU_BF16, args, begin, end);
    else low_rank_inner_of(MORU_F32, args, begin, end);
}

INLINE void low_rank_outer_of(moru_dtype type, const moru_low_rank *args, size_t n_begin, size_t n_end) {
    for (size_t n = n_begin; n < n_end; n += LOW_RANK_PANEL) {
        size_t columns = moru_min_size(LOW_RANK_PANEL, n_end - n), at = n * args->rank;
        for (size_t r = 0; r < args->rows; r++) {
            const float *inner = args->inner + r * args->rank;
            vf sum[LOW_RANK_VECTORS];
            for (int v = 0; v < LOW_RANK_VECTORS; v++) sum[v] = vset(0);
            for (size_t j = 0; j < args->rank; j++) {
                vf factor = vset(inner[j]);
                for (int v = 0; v < LOW_RANK_VECTORS; v++) {
                    vf weights = dense_load(type, args->b, at + j * LOW_RANK_PANEL + (size_t)v * LANES);
                    sum[v] = vfma(weights, factor, sum[v]);
                }
            }
            float *y = args->y + r * args->y_row_stride + n;
            for (size_t v = 0; v < LOW_RANK_VECTORS && v * LANES < columns; v++) {
                size_t left = columns - v * LANES;
                float *to = y + v * LANES;
                if (left >= LANES) vstore(to, vfma(sum[v], vset(args->scale), vload(to)));
                else vstore_n(to, vfma(sum[v], vset(args->scale), vload_n(to, left)), left);
            }
        }
    }
}

void MORU_NAME(low_rank_outer)(const moru_low_rank *args, size_t n_begin, size_t n_end) {
    if (args->type == MORU_BF16) low_rank_outer_of(MORU_BF16, args, n_begin, n_end);
    else low_rank_outer_of(MORU_F32, args, n_begin, n_end);
}
