// Matrix product in packed panels (after Goto and van de Geijn, 2008). The unit of a panel is 32 bits along k: one f32,
// or with GEMM_BF16 a pair of bf16. A block of A (up to MC rows, a panel's units) is packed once and stays in the
// second-level cache; slivers of GEMM_COLUMNS columns of B, packed here or ahead, pass by it. Each pair of slivers goes
// through a tile of accumulators in registers. Rows of A that are bf16 already are read where they are: a pair along k is
// a unit as it lies. Every element of C is summed in an order that depends on k alone.
//
// The including file defines GEMM_NAME(f), GEMM_ROWS, GEMM_VECTORS and GEMM_BF16.

#include "gemm_pack.h"

#if GEMM_BF16 && MORU_LANES == 16
INLINE vf gemm_step(vf a, vf b, vf sum) { return pair_step(a, b, sum); }

// The steps of one row whose pair lies in memory. Left to themselves, compilers load pairs ahead of their use, into more
// registers than the sums of a whole tile leave.
INLINE void gemm_row_in_place(const int vectors, const float *pair, const vf *right, vf *sum) {
    vf left;
    if (vectors == 2) {
        __asm__("vbroadcastss %3, %2\n\tvdpbf16ps %4, %2, %0\n\tvdpbf16ps %5, %2, %1"
                : "+v"(sum[0]), "+v"(sum[1]), "=&v"(left)
                : "m"(*pair), "v"(right[0]), "v"(right[1]));
    } else {
        sum[0] = gemm_step(vset(*pair), right[0], sum[0]);
    }
}
#elif GEMM_BF16
INLINE vf gemm_step(vf a, vf b, vf sum) {
    sum = vfma(vbits(vasint(a) & (int32_t)0xffff0000), vbits(vasint(b) & (int32_t)0xffff0000), sum);
    return vfma(vbits(vasint(a) << 16), vbits(vasint(b) << 16), sum);
}

INLINE void gemm_row_in_place(const int vectors, const float *pair, const vf *right, vf *sum) {
    for (int v = 0; v < vectors; v++) sum[v] = gemm_step(vset(*pair), right[v], sum[v]);
}
#else
INLINE vf gemm_step(vf a, vf b, vf sum) { return vfma(a, b, sum); }
#endif

// `count` (<= LANES) elements of C = or += alpha * sum.
INLINE void gemm_put(moru_dtype type, void *c, vf sum, size_t count, float alpha, bool accumulate) {
    vf y = accumulate ? vfma(vset(alpha), sum, vload_type(type, c, 0, count)) : alpha * sum;
    vstore_type(type, c, 0, y, count);
}

// Where a tile's sums go: rows of f32, or of bf16 when `narrow`; what is added to them, rows of f32, or NULL; and the part
// of the next sliver of B that the tile asks for, since slivers come from far away: `next_step` floats with each unit.
typedef struct {
    void *c;
    const float *addend;
    size_t c_row_stride, addend_row_stride;
    size_t columns;  // at most those of the tile
    float alpha;
    bool narrow;
    const float *next;
    size_t next_step;
} gemm_target;

// `vectors` whole vectors of a row, as bf16.
INLINE void gemm_put_narrow(const int vectors, const vf *sums, uint16_t *to) {
#if GEMM_BF16 && MORU_LANES == 16
    if (vectors == 2) {
        __m512bh both = _mm512_cvtne2ps_pbh((__m512)sums[1], (__m512)sums[0]);
        __builtin_memcpy(to, &both, sizeof both);
        return;
    }
#endif
    _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) {
        vstore_type(MORU_BF16, to, (size_t)v * LANES, sums[v], LANES);
    }
}

// C tile (rows by columns, columns <= vectors * LANES) = alpha * A * B + addend. The rows of B are b_step apart. A is a
// sliver, or with `in_place` rows that are a_step units apart. `rows`, `vectors` and `in_place` are constants in every
// call, so that the sums stay in registers.
INLINE void gemm_tile(const int rows, const int vectors, const bool in_place, size_t depth, const float *a,
                      size_t a_step, const float *b, size_t b_step, const gemm_target *target) {
    vf sum[GEMM_ROWS][GEMM_VECTORS];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) sum[r][v] = vset(0);
    }
#if !GEMM_BF16
    const float *next = target->next;
    size_t next_step = target->next_step;
#endif
    for (size_t i = 0; i < depth; i++) {
#if !GEMM_BF16
        __builtin_prefetch(next);
        next += next_step;
#endif
        vf right[GEMM_VECTORS];
        _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) right[v] = vload(b + v * MORU_LANES);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
#if GEMM_BF16
            if (in_place) {
                gemm_row_in_place(vectors, a + (size_t)r * a_step, right, sum[r]);
                continue;
            }
#endif
            vf left = vset(a[r]);
            _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) {
                sum[r][v] = gemm_step(left, right[v], sum[r][v]);
            }
        }
        a += in_place ? 1 : rows;
        b += b_step;
    }
    const float *addend = target->addend;
    vf alpha = vset(target->alpha);
    // Whole tiles, which nearly all are, take a short way.
    if (target->columns == (size_t)vectors * LANES) {
        if (addend) {
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) {
                    const float *before = addend + (size_t)r * target->addend_row_stride + (size_t)v * LANES;
                    sum[r][v] = vfma(alpha, sum[r][v], vload(before));
                }
            }
        } else {
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) sum[r][v] *= alpha;
            }
        }
        if (target->narrow) {
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                gemm_put_narrow(vectors, sum[r], (uint16_t *)target->c + (size_t)r * target->c_row_stride);
            }
            return;
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) {
                vstore((float *)target->c + (size_t)r * target->c_row_stride + (size_t)v * LANES, sum[r][v]);
            }
        }
        return;
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) {
            size_t start = (size_t)v * LANES;
            if (target->columns <= start) continue;
            size_t count = moru_min_size(LANES, target->columns - start);
            vf y = alpha * sum[r][v];
            if (addend) {
                const float *before = addend + (size_t)r * target->addend_row_stride + start;
                y = vfma(alpha, sum[r][v], vload_n(before, count));
            }
            vstore_type(target->narrow ? MORU_BF16 : MORU_F32, target->c,
                        (size_t)r * target->c_row_stride + start, y, count);
        }
    }
}

typedef void gemm_tile_function(size_t, const float *, size_t, const float *, size_t, const gemm_target *);

#define TILE_AS(NAME, R, VECTORS, IN_PLACE)                                                          \
    static void NAME(size_t depth, const float *a, size_t a_step, const float *b, size_t b_step,     \
                     const gemm_target *target) {                                                    \
        gemm_tile(R, VECTORS, IN_PLACE, depth, a, a_step, b, b_step, target);                        \
    }
#if GEMM_BF16
#define TILE_IN_PLACE(R)                                          \
    TILE_AS(gemm_tile_##R##_narrow_in_place, R, 1, true)          \
    TILE_AS(gemm_tile_##R##_wide_in_place, R, GEMM_VECTORS, true)
#else
#define TILE_IN_PLACE(R)
#endif
#define TILE(R)                                           \
    TILE_AS(gemm_tile_##R##_narrow, R, 1, false)          \
    TILE_AS(gemm_tile_##R##_wide, R, GEMM_VECTORS, false) \
    TILE_IN_PLACE(R)
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
#undef TILE_IN_PLACE
#undef TILE_AS

// By rows, whether the columns fill more than one vector, and whether A is read in place.
#if GEMM_BF16
#define TILE(R) \
    {{gemm_tile_##R##_narrow, gemm_tile_##R##_narrow_in_place}, {gemm_tile_##R##_wide, gemm_tile_##R##_wide_in_place}}
#else
#define TILE(R) {{gemm_tile_##R##_narrow, 0}, {gemm_tile_##R##_wide, 0}}
#endif
static gemm_tile_function *const gemm_tiles[GEMM_ROWS + 1][2][2] = {
    {{0, 0}, {0, 0}}, TILE(1),  TILE(2),  TILE(3),  TILE(4),  TILE(5), TILE(6),
#if GEMM_ROWS > 6
    TILE(7), TILE(8),
#endif
#if GEMM_ROWS > 8
    TILE(9), TILE(10), TILE(11), TILE(12), TILE(13), TILE(14),
#endif
};
#undef TILE

size_t GEMM_NAME(gemm_scratch_bytes)(const moru_gemm *args) {
    gemm_scratch parts = carve(args, NULL);
    size_t sums = gemm_gathers(args) ? GEMM_C_ROWS * GEMM_NC * sizeof(float) : 0;
    return (size_t)(uintptr_t)parts.c + sums + 64;
}

// A B of at most 16 rows (the thin matrices of low-rank adapters): dot products along k need no packing.
INLINE bool gemm_is_thin(const moru_gemm *args) {
    return args->b_transposed && args->n <= 16 && args->b_type == MORU_F32 && args->a_column_stride == 1;
}

#if !GEMM_BF16
// The rows of A take the weights' part in the tiles of matvec_dense.h, those of B the activations'.
static void gemm_thin(const moru_gemm *args, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end) {
    size_t size = moru_block_bytes(args->a_type);
    moru_matvec tile = {.k = args->k, .w_row_bytes = args->a_row_stride * size, .x_row_bytes = args->b_row_bytes,
                        .y_row_stride = 4};
    for (size_t n = n_begin; n < n_end; n += 8) {
        size_t outputs = moru_min_size(8, n_end - n), step = (size_t)DENSE_COLUMNS(outputs);
        const uint8_t *b = (const uint8_t *)args->b + n * args->b_row_bytes;
        for (size_t m = m_begin; m < m_end;) {
            float results[8][4];
            bool some = m + step <= m_end;
            dense_functions[args->a_type][outputs][some](&tile, gemm_a(args, m, 0), b, results[0]);
            size_t rows = some ? step : 1;
            for (size_t i = 0; i < rows; i++) {
                for (size_t j = 0; j < outputs; j++) moru_gemm_put(args, m + i, n + j, results[j][i]);
            }
            m += rows;
        }
    }
}
#endif

// Columns [column, column + columns) of elements [begin, end) of k, into slivers of that depth.
static void gemm_pack_panel(const moru_gemm *args, size_t begin, size_t end, size_t column, size_t columns,
                            float *slivers, size_t sliver, const gemm_scratch *scratch) {
    size_t step = gemm_depth_step(args);
    for (size_t first = begin; first < end; first += step) {
        gemm_pack_b(args, first, moru_min_size(step, end - first), column, columns,
                    slivers + (first - begin) / GEMM_UNIT * GEMM_COLUMNS, sliver, scratch);
    }
}

// Bytes of B packed for every column, or 0 where that does not pay.
size_t GEMM_NAME(gemm_packed_bytes)(const moru_gemm *args) {
    if (gemm_is_thin(args)) return 0;
    return moru_round_up(args->n, GEMM_COLUMNS) * gemm_units(args->k) * sizeof(float);
}

// Slivers of all of k, one after the other.
void GEMM_NAME(gemm_pack)(const moru_gemm *args, size_t n_begin, size_t n_end, void *packed, void *memory) {
    gemm_scratch scratch = carve(args, memory);
    size_t sliver = gemm_units(args->k) * GEMM_COLUMNS;
    for (size_t column = n_begin; column < n_end; column += GEMM_NC) {
        gemm_pack_panel(args, 0, args->k, column, moru_min_size(GEMM_NC, n_end - column),
                        (float *)packed + column / GEMM_COLUMNS * sliver, sliver, &scratch);
    }
}

// Rows of `columns` sums, sums_stride apart, to C at (row, column).
static void gemm_scatter(const moru_gemm *args, size_t row, size_t rows, size_t column, size_t columns,
                         const float *sums, size_t sums_stride) {
    for (size_t r = 0; r < rows; r++) {
        uint16_t *to = (uint16_t *)args->c + (row + r) * args->c_row_stride + column;
        for (size_t j = 0; j < columns; j += LANES) {
            size_t count = moru_min_size(LANES, columns - j);
            vf sum = vload_type(MORU_F32, sums, r * sums_stride + j, count);
            gemm_put(MORU_BF16, to + j, sum, count, 1, args->accumulate);
        }
    }
}

// Asks for the part of C that a tile adds to, which is read and written when the tile's sums are made.
INLINE void gemm_ask_for(const float *c, size_t rows, size_t stride, size_t columns) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < columns; j += 64 / sizeof(float)) __builtin_prefetch(c + r * stride + j, 1);
    }
}

// Rows [m_begin, m_end) by columns [column, column + columns) of C; columns <= GEMM_NC unless B is packed and C not
// gathered.
static void gemm_columns(const moru_gemm *args, size_t m_begin, size_t m_end, size_t column, size_t columns,
                         const gemm_scratch *scratch) {
    size_t depth_step = gemm_depth_step(args), panel_step = gemm_panel_step(args);
    size_t sliver_rows = even_part(m_end - m_begin, GEMM_ROWS, 1);
    size_t block_rows = GEMM_MC / GEMM_ROWS * gemm_block_shape(args) * sliver_rows;
    bool narrow = args->c_type == MORU_BF16, gathers = gemm_gathers(args);
    // What a C of bf16 holds is added when all else is summed up.
    bool scatters = narrow && !gathers && args->accumulate;
    // With one or two slivers of rows, packing B would cost more than it saves: it is read where it is.
    bool direct = !GEMM_BF16 && !args->packed_b && !args->b_transposed && args->b_type == MORU_F32 &&
                  args->b_row_bytes % 4 == 0 && m_end - m_begin <= 2 * GEMM_ROWS;
    size_t in_place = direct ? columns / GEMM_COLUMNS * GEMM_COLUMNS : 0;
    bool a_in_place = gemm_reads_a(args);
    for (size_t panel = 0; panel < args->k; panel += panel_step) {
        size_t panel_end = moru_min_size(args->k, panel + panel_step), units = gemm_units(panel_end - panel);
        size_t sliver = units * GEMM_COLUMNS;
        const float *slivers = scratch->b;
        if (args->packed_b) {
            sliver = gemm_units(args->k) * GEMM_COLUMNS;
            slivers = (const float *)args->packed_b + column / GEMM_COLUMNS * sliver + panel / GEMM_UNIT * GEMM_COLUMNS;
        } else if (in_place < columns) {
            gemm_pack_panel(args, panel, panel_end, column + in_place, columns - in_place,
                            scratch->b + in_place / GEMM_COLUMNS * sliver, sliver, scratch);
        }
        for (size_t block = m_begin; block < m_end; block += block_rows) {
            size_t block_end = moru_min_size(m_end, block + block_rows);
            if (!a_in_place) {
                gemm_pack_a(args, panel, panel_end, depth_step, block, block_end, sliver_rows, scratch->a, scratch);
            }
            size_t tiles = (block_end - block + sliver_rows - 1) / sliver_rows;
            size_t next_step = direct ? 0 : GEMM_COLUMNS / tiles;
            for (size_t j = 0; j < columns; j += GEMM_COLUMNS) {
                size_t width = moru_min_size(GEMM_COLUMNS, columns - j);
                for (size_t first = panel; first < panel_end; first += depth_step) {
                    size_t depth = gemm_units(moru_min_size(depth_step, panel_end - first)), b_step = GEMM_COLUMNS;
                    size_t start = (first - panel) / GEMM_UNIT;
                    const float *b = slivers + j / GEMM_COLUMNS * sliver + start * GEMM_COLUMNS;
                    if (j < in_place) {
                        b_step = args->b_row_bytes / sizeof(float);
                        b = (const float *)args->b + first * b_step + column + j;
                    }
                    // Between the steps of a panel sums lie side by side; C is written after the last.
                    bool begins = first == panel, ends = first + depth_step >= panel_end && !scatters;
                    bool adds = panel > 0 || (args->accumulate && !gathers && !scatters);
                    const float *next = slivers;
                    if (first + depth_step < panel_end) next = b + depth * GEMM_COLUMNS;
                    else if (j + GEMM_COLUMNS < columns) next += (j / GEMM_COLUMNS + 1) * sliver;
                    for (size_t m = block; m < block_end; m += sliver_rows) {
                        size_t rows = moru_min_size(sliver_rows, block_end - m), stride = args->c_row_stride;
                        size_t at = m * stride + column + j;
                        void *c = narrow ? (void *)((uint16_t *)args->c + at) : (void *)((float *)args->c + at);
                        if (gathers) {
                            stride = GEMM_NC;
                            c = scratch->c + (m - m_begin) * stride + j;
                        }
                        float *between = scratch->block + (m - block) * GEMM_COLUMNS;
                        gemm_target target = {.c = ends ? c : between, .c_row_stride = ends ? stride : GEMM_COLUMNS,
                                              .addend = between, .addend_row_stride = GEMM_COLUMNS,
                                              .columns = width, .alpha = args->alpha,
                                              .narrow = ends && narrow && !gathers,
                                              .next = next + (m - block) / sliver_rows * next_step * depth,
                                              .next_step = next_step};
                        if (begins) {
                            target.addend = adds ? c : NULL;
                            target.addend_row_stride = stride;
                            if (adds) gemm_ask_for(c, rows, stride, width);
                        }
                        const float *a = a_in_place ? (const float *)gemm_a(args, m, first)
                                                    : scratch->a + (m - block) * units + start * rows;
                        gemm_tiles[rows][width > LANES][a_in_place](depth, a, args->a_row_stride / GEMM_UNIT, b,
                                                                    b_step, &target);
                    }
                }
                if (!scatters) continue;
                gemm_scatter(args, block, block_end - block, column + j, width, scratch->block, GEMM_COLUMNS);
            }
        }
    }
    if (gathers) gemm_scatter(args, m_begin, m_end - m_begin, column, columns, scratch->c, GEMM_NC);
}

// The columns of a packed B come in whole slivers: n_begin is then a multiple of GEMM_COLUMNS.
void GEMM_NAME(gemm)(const moru_gemm *args, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end,
                     void *memory) {
    if (m_begin >= m_end || n_begin >= n_end) return;
    if (args->k == 0) {
        moru_gemm_clear(args, m_begin, m_end, n_begin, n_end);
        return;
    }
#if !GEMM_BF16
    if (gemm_is_thin(args)) {
        gemm_thin(args, m_begin, m_end, n_begin, n_end);
        return;
    }
#endif
    gemm_scratch scratch = carve(args, memory);
    size_t column_step = even_part(n_end - n_begin, GEMM_NC, GEMM_COLUMNS), row_step = m_end - m_begin;
    if (gemm_gathers(args)) row_step = GEMM_C_ROWS;
    else if (args->packed_b) column_step = n_end - n_begin;
    for (size_t column = n_begin; column < n_end; column += column_step) {
        size_t columns = moru_min_size(column_step, n_end - column);
        for (size_t row = m_begin; row < m_end; row += row_step) {
            gemm_columns(args, row, moru_min_size(m_end, row + row_step), column, columns, &scratch);
        }
    }
}
