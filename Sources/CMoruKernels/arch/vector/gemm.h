// Matrix product in packed panels (after Goto and van de Geijn, 2008). The unit of a panel is 32 bits along k: one f32,
// or with GEMM_BF16 a pair of bf16. A block of B [KC units, up to NC columns] is packed into slivers of GEMM_COLUMNS
// columns, a block of A [up to MC rows, KC units] into slivers of at most GEMM_ROWS rows; then each pair of slivers goes
// through a tile of accumulators in registers. Every element of C is summed in an order that depends on k alone.
//
// The including file defines GEMM_NAME(f), GEMM_ROWS, GEMM_VECTORS and GEMM_BF16.

#define GEMM_COLUMNS ((size_t)GEMM_VECTORS * LANES)
#define GEMM_KC ((size_t)256)  // units
#define GEMM_MC ((size_t)16 * GEMM_ROWS)
#define GEMM_NC ((size_t)512)
#define GEMM_UNIT ((size_t)(GEMM_BF16 ? 2 : 1))  // elements of k in a unit

typedef struct {
    float *a, *b;
    float *wide;       // rows of B as f32: GEMM_PACK_ROWS of KC units, or two of NC columns and a block either side
    uint16_t *narrow;  // the same as bf16
} gemm_scratch;

#define GEMM_WIDE (LANES * GEMM_KC * 2 + 2048)

size_t GEMM_NAME(gemm_scratch_bytes)(const moru_gemm *args) {
    (void)args;
    return (GEMM_MC * GEMM_KC + 64 + GEMM_NC * GEMM_KC + GEMM_WIDE + GEMM_WIDE / 2) * sizeof(float) + 64;
}

INLINE gemm_scratch carve(void *memory) {
    gemm_scratch parts;
    parts.b = (float *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    parts.a = parts.b + GEMM_NC * GEMM_KC;
    parts.wide = parts.a + GEMM_MC * GEMM_KC + 64;
    parts.narrow = (uint16_t *)(parts.wide + GEMM_WIDE);
    return parts;
}

#if GEMM_BF16
INLINE vf gemm_step(vf a, vf b, vf sum) {
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
// Two rows of f32 as one row of bf16 pairs.
INLINE vf gemm_pair(vf even, vf odd) {
    int16_t index[32];
    for (int i = 0; i < 32; i++) index[i] = (int16_t)(i / 2 + i % 2 * 16);
    __m512i halves = (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);
    return (vf)_mm512_permutexvar_epi16(_mm512_loadu_si512(index), halves);
}
#else
INLINE vf gemm_step(vf a, vf b, vf sum) { return vfma(a, b, sum); }
#endif

// C tile (rows by columns, columns <= vectors * LANES) = or += alpha * A sliver * B, whose rows are b_step apart. `rows` and `vectors` are
// constants in every call, so that the sums stay in registers.
INLINE void gemm_tile(const int rows, const int vectors, size_t depth, const float *a, const float *b, size_t b_step,
                      float *c, size_t c_row_stride, size_t columns, float alpha, bool accumulate) {
    vf sum[GEMM_ROWS][GEMM_VECTORS];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) sum[r][v] = vset(0);
    }
    for (size_t i = 0; i < depth; i++) {
        vf right[GEMM_VECTORS];
        _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) right[v] = vload(b + v * MORU_LANES);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            vf left = vset(a[r]);
            _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) {
                sum[r][v] = gemm_step(left, right[v], sum[r][v]);
            }
        }
        a += rows;
        b += b_step;
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) {
            float *to = c + (size_t)r * c_row_stride + v * MORU_LANES;
            size_t start = (size_t)v * LANES;
            if (columns >= start + LANES) {
                vstore(to, accumulate ? vfma(vset(alpha), sum[r][v], vload(to)) : alpha * sum[r][v]);
            } else if (columns > start) {
                size_t rest = columns - start;
                vf before = accumulate ? vload_n(to, rest) : vset(0);
                vstore_n(to, vfma(vset(alpha), sum[r][v], before), rest);
            }
        }
    }
}

typedef void gemm_tile_function(size_t, const float *, const float *, size_t, float *, size_t, size_t, float, bool);

#define TILE(R)                                                                                                      \
    static void gemm_tile_##R##_narrow(size_t depth, const float *a, const float *b, size_t b_step, float *c,        \
                                       size_t stride, size_t columns, float alpha, bool accumulate) {                \
        gemm_tile(R, 1, depth, a, b, b_step, c, stride, columns, alpha, accumulate);                                 \
    }                                                                                                                \
    static void gemm_tile_##R##_wide(size_t depth, const float *a, const float *b, size_t b_step, float *c,          \
                                     size_t stride, size_t columns, float alpha, bool accumulate) {                  \
        gemm_tile(R, GEMM_VECTORS, depth, a, b, b_step, c, stride, columns, alpha, accumulate);                      \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
#if GEMM_ROWS > 6
TILE(7)
TILE(8)
#endif
#if GEMM_ROWS > 8
TILE(9)
TILE(10)
TILE(11)
TILE(12)
TILE(13)
TILE(14)
#endif
#undef TILE

#define TILE(R) {gemm_tile_##R##_narrow, gemm_tile_##R##_wide}
static gemm_tile_function *const gemm_tiles[GEMM_ROWS + 1][2] = {
    {0, 0}, TILE(1),  TILE(2),  TILE(3),  TILE(4),  TILE(5), TILE(6),
#if GEMM_ROWS > 6
    TILE(7), TILE(8),
#endif
#if GEMM_ROWS > 8
    TILE(9), TILE(10), TILE(11), TILE(12), TILE(13), TILE(14),
#endif
};
#undef TILE

// `count` elements of a row of B from column `first`, as f32. Quantised rows are read from a block boundary on.
INLINE const float *gemm_row(const moru_gemm *args, size_t row, size_t first, size_t count, float *wide) {
    const uint8_t *bytes = (const uint8_t *)args->b + row * args->b_row_bytes;
    size_t unit = moru_block_elements(args->b_type), size = moru_block_bytes(args->b_type);
    if (args->b_type == MORU_F32) return (const float *)(const void *)bytes + first;
    size_t start = first / unit * unit, stop = moru_round_up(first + count, unit);
    MORU_NAME(dequantize)(args->b_type, bytes + start / unit * size, wide, stop - start);
    return wide + (first - start);
}

#if GEMM_BF16
// `count` elements as bf16, zeros up to a whole unit; `narrow` has room for the longest.
INLINE void gemm_narrow(const float *x, size_t count, uint16_t *narrow) {
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        __m512bh pairs = _mm512_cvtne2ps_pbh((__m512)vload(x + i + 16), (__m512)vload(x + i));
        __builtin_memcpy(narrow + i, &pairs, sizeof pairs);
    }
    MORU_NAME(quantize)(MORU_BF16, x + i, narrow + i, count - i);
    if (count % 2) narrow[count] = 0;
}
#endif

// Packs LANES rows (`rows` of them real, the others zero) of `units` 32-bit units each, transposed: unit i of row r goes
// to out[i * step + r]. Unless `exact`, each store writes LANES elements, of which the next store overwrites those
// beyond `step`.
INLINE void gemm_pack_transposed(const float *const source[LANES], size_t rows, size_t units, float *out, size_t step,
                                 bool exact) {
    size_t i = 0;
    for (; i + LANES <= units; i += LANES) {
        vf v[MORU_LANES];
        for (size_t r = 0; r < LANES; r++) v[r] = r < rows ? vload(source[r] + i) : vset(0);
        transpose(v);
        for (size_t r = 0; r < LANES; r++) {
            if (exact) vstore_n(out + (i + r) * step, v[r], rows);
            else vstore(out + (i + r) * step, v[r]);
        }
    }
    if (i < units) {
        vf v[MORU_LANES];
        for (size_t r = 0; r < LANES; r++) v[r] = r < rows ? vload_n(source[r] + i, units - i) : vset(0);
        transpose(v);
        for (size_t r = 0; r < units - i; r++) {
            if (exact) vstore_n(out + (i + r) * step, v[r], rows);
            else vstore(out + (i + r) * step, v[r]);
        }
    }
}

// The columns [column, column + columns) of rows [first, first + depth) of a B that is not transposed, into slivers.
static void gemm_pack_strip(const moru_gemm *args, size_t first, size_t depth, size_t column, size_t columns,
                            float *slivers, const gemm_scratch *scratch) {
    size_t units = (depth + GEMM_UNIT - 1) / GEMM_UNIT, sliver = units * GEMM_COLUMNS;
    for (size_t i = 0; i < units; i++) {
        const float *even = gemm_row(args, first + i * GEMM_UNIT, column, columns, scratch->wide);
#if GEMM_BF16
        bool paired = i * 2 + 1 < depth;
        const float *odd = paired ? gemm_row(args, first + i * 2 + 1, column, columns, scratch->wide + 1024) : even;
#endif
        for (size_t j = 0; j < moru_round_up(columns, GEMM_COLUMNS); j += LANES) {
            float *out = slivers + j / GEMM_COLUMNS * sliver + i * GEMM_COLUMNS + j % GEMM_COLUMNS;
            bool whole = j + LANES <= columns;
            vf v = whole ? vload(even + j) : j < columns ? vload_n(even + j, columns - j) : vset(0);
#if GEMM_BF16
            vf w = whole ? vload(odd + j) : j < columns ? vload_n(odd + j, columns - j) : vset(0);
            v = gemm_pair(v, paired ? w : vset(0));
#endif
            vstore(out, v);
        }
    }
}

// Columns [column, column + columns) and elements [first, first + depth) of k, into slivers.
static void gemm_pack_b(const moru_gemm *args, size_t first, size_t depth, size_t column, size_t columns,
                        const gemm_scratch *scratch) {
    size_t units = (depth + GEMM_UNIT - 1) / GEMM_UNIT, sliver = units * GEMM_COLUMNS;
    if (args->b_transposed) {
        for (size_t j = 0; j < moru_round_up(columns, GEMM_COLUMNS); j += LANES) {
            float *out = scratch->b + j / GEMM_COLUMNS * sliver + j % GEMM_COLUMNS;
            const float *source[MORU_LANES];
            size_t rows = j < columns ? moru_min_size(LANES, columns - j) : 0;
            for (size_t r = 0; r < LANES; r++) {
                source[r] = scratch->wide;
                if (r >= rows) continue;
#if GEMM_BF16
                uint16_t *narrow = scratch->narrow + r * 2 * GEMM_KC;
                source[r] = (const float *)(const void *)narrow;
                if (args->b_type == MORU_BF16 && depth % 2 == 0) {
                    source[r] = (const float *)((const uint8_t *)args->b + (column + j + r) * args->b_row_bytes) + first / 2;
                } else {
                    gemm_narrow(gemm_row(args, column + j + r, first, depth, scratch->wide), depth, narrow);
                }
#else
                source[r] = gemm_row(args, column + j + r, first, depth, scratch->wide + r * GEMM_KC);
#endif
            }
            gemm_pack_transposed(source, rows, units, out, GEMM_COLUMNS, false);
        }
        return;
    }
    // Dense rows are taken in strips, whose slivers stay in the first-level cache; quantised ones are read once, whole.
    size_t strip = args->b_type <= MORU_BF16 ? 4 * GEMM_COLUMNS : GEMM_NC;
    for (size_t start = 0; start < columns; start += strip) {
        gemm_pack_strip(args, first, depth, column + start, moru_min_size(strip, columns - start),
                        scratch->b + start / GEMM_COLUMNS * sliver, scratch);
    }
}

// Rows [row, row + rows) with rows <= GEMM_ROWS, elements [first, first + depth) of k, into one sliver of `rows`.
static void gemm_pack_a(const moru_gemm *args, size_t first, size_t depth, size_t row, size_t rows, float *out,
                        const gemm_scratch *scratch) {
    const float *a = args->a + row * args->a_row_stride + first * args->a_column_stride;
    size_t units = (depth + GEMM_UNIT - 1) / GEMM_UNIT;
    if (args->a_column_stride == 1) {
        for (size_t part = 0; part < rows; part += LANES) {
            const float *source[MORU_LANES];
            size_t count = moru_min_size(LANES, rows - part);
            for (size_t r = 0; r < LANES; r++) {
                source[r] = a;
                if (r >= count) continue;
                source[r] = a + (part + r) * args->a_row_stride;
#if GEMM_BF16
                uint16_t *narrow = scratch->narrow + r * 2 * GEMM_KC;
                gemm_narrow(source[r], depth, narrow);
                source[r] = (const float *)(const void *)narrow;
#endif
            }
            gemm_pack_transposed(source, count, units, out + part, rows, part > 0 && count < LANES);
        }
        return;
    }
    (void)scratch;
    for (size_t i = 0; i < units; i++) {
        const float *even = a + i * GEMM_UNIT * args->a_column_stride;
        for (size_t part = 0; part < rows; part += LANES) {
            size_t count = moru_min_size(LANES, rows - part);
            bool whole = count == LANES;
            vf v = whole ? vload(even + part) : vload_n(even + part, count);
#if GEMM_BF16
            const float *odd = even + args->a_column_stride;
            bool paired = i * 2 + 1 < depth;
            v = gemm_pair(v, !paired ? vset(0) : whole ? vload(odd + part) : vload_n(odd + part, count));
#endif
            if (whole) vstore(out + i * rows + part, v);
            else vstore_n(out + i * rows + part, v, count);
        }
    }
}

// Splits `total` into equal parts of at most `most`, each a multiple of `unit`; `unit` divides `most`.
INLINE size_t even_part(size_t total, size_t most, size_t unit) {
    size_t parts = (total + most - 1) / most;
    return parts == 0 ? unit : moru_round_up((total + parts - 1) / parts, unit);
}

// A B of at most 16 rows (the thin matrices of low-rank adapters): dot products along k need no packing.
INLINE bool gemm_is_thin(const moru_gemm *args) {
    return args->b_transposed && args->n <= 16 && args->b_type == MORU_F32 && args->a_column_stride == 1;
}

#if !GEMM_BF16
// The rows of A take the weights' part in the tiles of matvec_dense.h, those of B the activations'.
static void gemm_thin(const moru_gemm *args, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end) {
    moru_matvec tile = {.k = args->k, .w_row_bytes = args->a_row_stride * sizeof(float),
                        .x_row_bytes = args->b_row_bytes, .y_row_stride = 4};
    for (size_t n = n_begin; n < n_end; n += 8) {
        size_t outputs = moru_min_size(8, n_end - n), step = (size_t)DENSE_COLUMNS(outputs);
        const uint8_t *b = (const uint8_t *)args->b + n * args->b_row_bytes;
        for (size_t m = m_begin; m < m_end;) {
            float results[8][4];
            bool some = m + step <= m_end;
            const uint8_t *a = (const uint8_t *)(args->a + m * args->a_row_stride);
            dense_functions[MORU_F32][outputs][some](&tile, a, b, results[0]);
            size_t rows = some ? step : 1;
            for (size_t i = 0; i < rows; i++) {
                float *c = args->c + (m + i) * args->c_row_stride + n;
                for (size_t j = 0; j < outputs; j++) {
                    c[j] = args->alpha * results[j][i] + (args->accumulate ? c[j] : 0);
                }
            }
            m += rows;
        }
    }
}
#endif

void GEMM_NAME(gemm)(const moru_gemm *args, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end,
                     void *memory) {
    gemm_scratch scratch = carve(memory);
    if (m_begin >= m_end || n_begin >= n_end) return;
    if (args->k == 0) {
        for (size_t m = m_begin; m < m_end && !args->accumulate; m++) {
            memset(args->c + m * args->c_row_stride + n_begin, 0, (n_end - n_begin) * sizeof(float));
        }
        return;
    }
#if !GEMM_BF16
    if (gemm_is_thin(args)) {
        gemm_thin(args, m_begin, m_end, n_begin, n_end);
        return;
    }
#endif
    size_t unit = args->b_transposed && args->b_type > MORU_BF16 ? moru_block_elements(args->b_type) : 32;
    size_t depth_step = even_part(args->k, GEMM_KC * GEMM_UNIT, unit);
    size_t column_step = even_part(n_end - n_begin, GEMM_NC, GEMM_COLUMNS);
    size_t rows_at_once = even_part(m_end - m_begin, GEMM_ROWS, 1);
    bool direct = !GEMM_BF16 && !args->b_transposed && args->b_type == MORU_F32 && args->b_row_bytes % 4 == 0 &&
                  m_end - m_begin <= 2 * GEMM_ROWS;
    for (size_t column = n_begin; column < n_end; column += column_step) {
        size_t columns = moru_min_size(column_step, n_end - column);
        for (size_t first = 0; first < args->k; first += depth_step) {
            size_t depth = moru_min_size(depth_step, args->k - first);
            size_t units = (depth + GEMM_UNIT - 1) / GEMM_UNIT;
            bool accumulate = args->accumulate || first > 0;
            // With one or two slivers of rows, packing B would cost more than it saves: it is read where it is.
            size_t in_place = direct ? columns / GEMM_COLUMNS * GEMM_COLUMNS : 0;
            if (in_place < columns) {
                gemm_scratch rest = scratch;
                rest.b += in_place * units;
                gemm_pack_b(args, first, depth, column + in_place, columns - in_place, &rest);
            }
            for (size_t block = m_begin; block < m_end; block += 16 * rows_at_once) {
                size_t block_end = moru_min_size(m_end, block + 16 * rows_at_once);
                for (size_t m = block; m < block_end; m += rows_at_once) {
                    gemm_pack_a(args, first, depth, m, moru_min_size(rows_at_once, block_end - m),
                                scratch.a + (m - block) * units, &scratch);
                }
                for (size_t j = 0; j < columns; j += GEMM_COLUMNS) {
                    size_t width = moru_min_size(GEMM_COLUMNS, columns - j);
                    const float *b = scratch.b + j * units;
                    size_t b_step = GEMM_COLUMNS;
                    if (j < in_place) {
                        b_step = args->b_row_bytes / sizeof(float);
                        b = (const float *)args->b + first * b_step + column + j;
                    }
                    for (size_t m = block; m < block_end; m += rows_at_once) {
                        size_t rows = moru_min_size(rows_at_once, block_end - m);
                        float *c = args->c + m * args->c_row_stride + column + j;
                        gemm_tiles[rows][width > LANES](units, scratch.a + (m - block) * units, b, b_step, c,
                                                        args->c_row_stride, width, args->alpha, accumulate);
                    }
                }
            }
        }
    }
}
