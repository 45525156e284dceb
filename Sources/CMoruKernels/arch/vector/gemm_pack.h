// Packing for gemm.h: A and B of any type become panels of 32-bit units along k, one f32 or with GEMM_BF16 a pair of
// bf16. A sliver of B holds GEMM_COLUMNS columns, unit by unit; a sliver of A at most GEMM_ROWS rows.

#if GEMM_BF16
#include "bf16_pairs.h"
#endif

#define GEMM_COLUMNS ((size_t)GEMM_VECTORS * LANES)
#define GEMM_KC ((size_t)256)   // units of k that a tile adds up at most: its slivers stay in the first-level cache
#define GEMM_KD ((size_t)1024)  // units of k that a panel holds
#define GEMM_MC ((size_t)8 * GEMM_ROWS)
#define GEMM_NC ((size_t)512)
#define GEMM_C_ROWS ((size_t)1024)
#define GEMM_UNIT ((size_t)(GEMM_BF16 ? 2 : 1))  // elements of k in a unit
#define GEMM_WIDE (LANES * GEMM_KC * 2 + 2048)

typedef struct {
    float *a;          // a block of rows of a panel's units
    float *wide;       // rows of B as f32: a vector of rows of KC units, or two of NC columns and a block either side
    uint16_t *narrow;  // the same as bf16
    float *block;      // sums of a block of rows and a sliver of columns, between the steps of a panel
    float *b;          // NC columns of a panel's units, unless B is packed ahead
    float *c;          // a C of bf16 that several panels of k add up to: GEMM_C_ROWS rows of NC columns
} gemm_scratch;

INLINE size_t gemm_units(size_t depth) { return (depth + GEMM_UNIT - 1) / GEMM_UNIT; }

// Splits `total` into equal parts of at most `most`, each a multiple of `unit`; `unit` divides `most`.
INLINE size_t even_part(size_t total, size_t most, size_t unit) {
    size_t parts = (total + most - 1) / most;
    return parts == 0 ? unit : moru_round_up((total + parts - 1) / parts, unit);
}

// The elements of k that one step takes: B's blocks stay whole, and pairs together. Wide slivers of f32 share the cache
// better when they are half as deep.
INLINE size_t gemm_depth_step(const moru_gemm *args) {
    size_t unit = args->b_transposed && args->b_type > MORU_BF16 ? moru_block_elements(args->b_type) : 32;
    size_t most = GEMM_BF16 || MORU_LANES < 16 || unit > GEMM_KC / 2 ? GEMM_KC * GEMM_UNIT : GEMM_KC / 2;
    return even_part(args->k, most, unit);
}

// How many times as many rows as usual a block of A has, and as many times fewer units: whole columns of A are read in
// pieces of a block's rows, which should not be short. Neither should panels, for each of which C is read and written.
INLINE size_t gemm_block_shape(const moru_gemm *args) {
    return GEMM_BF16 && MORU_LANES == 16 && args->a_column_stride != 1 ? 2 : 1;
}

// The elements of k that a panel holds, in whole steps.
INLINE size_t gemm_panel_step(const moru_gemm *args) {
    size_t step = gemm_depth_step(args), most = GEMM_KD / gemm_block_shape(args) * GEMM_UNIT;
    return even_part(args->k, moru_max_size(most / step * step, step), step);
}

// Whether a C of bf16 is added up over several panels.
INLINE bool gemm_gathers(const moru_gemm *args) {
    return args->c_type == MORU_BF16 && gemm_panel_step(args) < args->k;
}

// Memory for a product, from the next multiple of 64 bytes on.
INLINE gemm_scratch carve(const moru_gemm *args, void *memory) {
    size_t units = gemm_units(moru_min_size(args->k, gemm_panel_step(args)));
    uintptr_t next = ((uintptr_t)memory + 63) & ~(uintptr_t)63;
    gemm_scratch parts;
    parts.a = (float *)next;
    next += moru_round_up(GEMM_MC * gemm_block_shape(args) * units + 64, 16) * sizeof(float);
    parts.wide = (float *)next;
    next += GEMM_WIDE * sizeof(float);
    parts.narrow = (uint16_t *)next;
    next += GEMM_WIDE * sizeof(uint16_t);
    parts.block = (float *)next;
    next += GEMM_MC * gemm_block_shape(args) * GEMM_COLUMNS * sizeof(float);
    parts.b = (float *)next;
    if (!args->packed_b) next += GEMM_NC * units * sizeof(float);
    parts.c = (float *)next;
    return parts;
}

// Short pieces of far rows, which the hardware does not foresee, are fetched this many units ahead.
#define GEMM_AHEAD ((size_t)6)

INLINE void gemm_prefetch(const void *begin, const void *end) {
    for (const char *line = begin; line < (const char *)end; line += 64) __builtin_prefetch(line);
}

// Element (row, column) of A.
INLINE const void *gemm_a(const moru_gemm *args, size_t row, size_t column) {
    size_t size = args->a_type == MORU_BF16 ? sizeof(uint16_t) : sizeof(float);
    return (const uint8_t *)args->a + (row * args->a_row_stride + column * args->a_column_stride) * size;
}

// `count` elements of a row of B from column `first`, as f32. Quantised rows are read from a block boundary on.
INLINE const float *gemm_row(const moru_gemm *args, size_t row, size_t first, size_t count, float *wide) {
    const uint8_t *bytes = (const uint8_t *)args->b + row * args->b_row_bytes;
    size_t unit = moru_block_elements(args->b_type), size = moru_block_bytes(args->b_type);
    if (args->b_type == MORU_F32) return (const float *)(const void *)bytes + first;
    size_t start = first / unit * unit, stop = moru_round_up(first + count, unit);
    MORU_NAME(dequantize)(args->b_type, bytes + start / unit * size, wide, stop - start);
    return wide + (first - start);
}

// Whether the rows of A are read where they are: with a wide C each is read so often that packing it pays. Rows whose
// distance is a multiple of a page are not, since they would drive each other out of the first-level cache.
INLINE bool gemm_reads_a(const moru_gemm *args) {
    return GEMM_BF16 && args->a_type == MORU_BF16 && args->a_column_stride == 1 && args->a_row_stride % 2 == 0 &&
           args->k % 2 == 0 && args->a_row_stride % 2048 != 0 && args->n <= 1024;
}

#if GEMM_BF16
// `count` elements as bf16, zeros up to a whole unit; `narrow` has room for the longest.
INLINE void gemm_narrow(const float *x, size_t count, uint16_t *narrow) {
    size_t i = 0;
#if MORU_LANES == 16
    for (; i + 32 <= count; i += 32) {
        __m512bh pairs = _mm512_cvtne2ps_pbh((__m512)vload(x + i + 16), (__m512)vload(x + i));
        __builtin_memcpy(narrow + i, &pairs, sizeof pairs);
    }
#endif
    if (i < count) MORU_NAME(quantize)(MORU_BF16, x + i, narrow + i, count - i);
    if (count % 2) narrow[count] = 0;
}

// A row of f32 or bf16 as bf16 in whole units: where it is, or converted or copied into `narrow`.
INLINE const float *gemm_narrow_row(moru_dtype type, const void *row, size_t count, uint16_t *narrow) {
    if (type == MORU_BF16 && count % 2 == 0) return row;
    if (type == MORU_F32) {
        gemm_narrow(row, count, narrow);
    } else {
        memcpy(narrow, row, count * sizeof *narrow);
        narrow[count] = 0;
    }
    return (const float *)(const void *)narrow;
}
#endif

// Packs LANES rows (`rows` of them real, the others zero) of `units` 32-bit units each, transposed: unit i of row r goes
// to out[i * step + r]. Rows of MORU_BF16 become units of f32, a constant in every call. Unless `exact`, each store
// writes LANES elements, of which the next store overwrites those beyond `step`.
INLINE void gemm_pack_transposed(moru_dtype type, const void *const source[LANES], size_t rows, size_t units,
                                 float *out, size_t step, bool exact) {
    size_t i = 0;
    for (; i + LANES <= units; i += LANES) {
        vf v[MORU_LANES];
        for (size_t r = 0; r < LANES; r++) v[r] = r < rows ? vload_type(type, source[r], i, LANES) : vset(0);
        transpose(v);
        for (size_t r = 0; r < LANES; r++) {
            if (exact) vstore_n(out + (i + r) * step, v[r], rows);
            else vstore(out + (i + r) * step, v[r]);
        }
    }
    if (i < units) {
        vf v[MORU_LANES];
        for (size_t r = 0; r < LANES; r++) v[r] = r < rows ? vload_type(type, source[r], i, units - i) : vset(0);
        transpose(v);
        for (size_t r = 0; r < units - i; r++) {
            if (exact) vstore_n(out + (i + r) * step, v[r], rows);
            else vstore(out + (i + r) * step, v[r]);
        }
    }
}

// The columns [column, column + columns) of rows [first, first + depth) of a B that is not transposed, into slivers that
// are `sliver` units apart.
static void gemm_pack_strip(const moru_gemm *args, size_t first, size_t depth, size_t column, size_t columns,
                            float *slivers, size_t sliver, const gemm_scratch *scratch) {
    size_t unit = moru_block_elements(args->b_type), size = moru_block_bytes(args->b_type);
    for (size_t i = 0; i < gemm_units(depth); i++) {
        for (size_t ahead = 0; ahead < GEMM_UNIT; ahead++) {
            size_t far = (i + GEMM_AHEAD) * GEMM_UNIT + ahead;
            if (far >= depth) break;
            const uint8_t *row = (const uint8_t *)args->b + (first + far) * args->b_row_bytes;
            gemm_prefetch(row + column / unit * size, row + (column + columns) / unit * size);
        }
#if GEMM_BF16
        bool paired = i * 2 + 1 < depth;
        if (args->b_type == MORU_BF16) {
            const uint8_t *row = (const uint8_t *)args->b + (first + i * 2) * args->b_row_bytes;
            const uint16_t *even = (const uint16_t *)(const void *)row + column;
            const uint16_t *odd = paired ? (const uint16_t *)(const void *)(row + args->b_row_bytes) + column : NULL;
            size_t whole = 0;
#if MORU_LANES == 16
            if (odd) whole = columns / GEMM_COLUMNS * GEMM_COLUMNS;
            for (size_t j = 0; j < whole; j += GEMM_COLUMNS) {
                float *out = slivers + j / GEMM_COLUMNS * sliver + i * GEMM_COLUMNS;
                __m512i upper = _mm512_loadu_si512(even + j), lower = _mm512_loadu_si512(odd + j);
                vstore(out, gemm_pair_halves(upper, lower, 0));
                vstore(out + LANES, gemm_pair_halves(upper, lower, 16));
            }
#endif
            for (size_t j = whole; j < moru_round_up(columns, GEMM_COLUMNS); j += LANES) {
                float *out = slivers + j / GEMM_COLUMNS * sliver + i * GEMM_COLUMNS + j % GEMM_COLUMNS;
                size_t count = j < columns ? moru_min_size(LANES, columns - j) : 0;
                vstore(out, count ? gemm_pair_narrow(even + j, odd ? odd + j : NULL, count) : vset(0));
            }
            continue;
        }
        const float *odd = NULL;
        if (paired) odd = gemm_row(args, first + i * 2 + 1, column, columns, scratch->wide + 1024);
#endif
        const float *even = gemm_row(args, first + i * GEMM_UNIT, column, columns, scratch->wide);
        for (size_t j = 0; j < moru_round_up(columns, GEMM_COLUMNS); j += LANES) {
            float *out = slivers + j / GEMM_COLUMNS * sliver + i * GEMM_COLUMNS + j % GEMM_COLUMNS;
            bool whole = j + LANES <= columns;
            vf v = whole ? vload(even + j) : j < columns ? vload_n(even + j, columns - j) : vset(0);
#if GEMM_BF16
            vf w = !paired || j >= columns ? vset(0) : whole ? vload(odd + j) : vload_n(odd + j, columns - j);
            v = gemm_pair(v, w);
#endif
            vstore(out, v);
        }
    }
}

// Columns [column, column + columns) and elements [first, first + depth) of k, with depth at most KC units, into
// slivers that are `sliver` units apart.
static void gemm_pack_b(const moru_gemm *args, size_t first, size_t depth, size_t column, size_t columns,
                        float *slivers, size_t sliver, const gemm_scratch *scratch) {
    if (args->b_transposed) {
        for (size_t j = 0; j < moru_round_up(columns, GEMM_COLUMNS); j += LANES) {
            float *out = slivers + j / GEMM_COLUMNS * sliver + j % GEMM_COLUMNS;
            const void *source[MORU_LANES];
            size_t rows = j < columns ? moru_min_size(LANES, columns - j) : 0;
            for (size_t r = 0; r < LANES; r++) {
                source[r] = scratch->wide;
                if (r >= rows) continue;
#if GEMM_BF16
                uint16_t *narrow = scratch->narrow + r * 2 * GEMM_KC;
                const void *row = (const uint8_t *)args->b + (column + j + r) * args->b_row_bytes;
                if (args->b_type == MORU_BF16) {
                    source[r] = gemm_narrow_row(MORU_BF16, (const uint16_t *)row + first, depth, narrow);
                } else {
                    row = gemm_row(args, column + j + r, first, depth, scratch->wide);
                    source[r] = gemm_narrow_row(MORU_F32, row, depth, narrow);
                }
#else
                source[r] = gemm_row(args, column + j + r, first, depth, scratch->wide + r * GEMM_KC);
#endif
            }
            gemm_pack_transposed(MORU_F32, source, rows, gemm_units(depth), out, GEMM_COLUMNS, false);
        }
        return;
    }
    // Rows of f32 are taken in strips, whose slivers stay in the first-level cache; the others are read once, whole.
    size_t strip = args->b_type == MORU_F32 ? 4 * GEMM_COLUMNS : GEMM_NC;
    for (size_t start = 0; start < columns; start += strip) {
        gemm_pack_strip(args, first, depth, column + start, moru_min_size(strip, columns - start),
                        slivers + start / GEMM_COLUMNS * sliver, sliver, scratch);
    }
}

// Rows [row, row + rows) with rows <= GEMM_ROWS, elements [first, first + depth) of k, of an A with whole rows, into one
// sliver of `rows`.
static void gemm_pack_a_rows(const moru_gemm *args, size_t first, size_t depth, size_t row, size_t rows, float *out,
                             const gemm_scratch *scratch) {
    for (size_t part = 0; part < rows; part += LANES) {
        const void *source[MORU_LANES];
        size_t count = moru_min_size(LANES, rows - part), units = gemm_units(depth);
        bool exact = part > 0 && count < LANES, narrow = !GEMM_BF16 && args->a_type == MORU_BF16;
        for (size_t r = 0; r < count; r++) {
            source[r] = gemm_a(args, row + part + r, first);
#if GEMM_BF16
            source[r] = gemm_narrow_row(args->a_type, source[r], depth, scratch->narrow + r * 2 * GEMM_KC);
#else
            (void)scratch;
#endif
        }
        if (narrow) gemm_pack_transposed(MORU_BF16, source, count, units, out + part, rows, exact);
        else gemm_pack_transposed(MORU_F32, source, count, units, out + part, rows, exact);
    }
}

// Up to LANES rows of one unit of an A with whole columns.
INLINE vf gemm_unit_of_a(const moru_gemm *args, size_t row, size_t column, size_t count, size_t end) {
    const void *even = gemm_a(args, row, column);
#if GEMM_BF16
    const void *odd = column + 1 < end ? gemm_a(args, row, column + 1) : NULL;
    if (args->a_type == MORU_BF16) return gemm_pair_narrow(even, odd, count);
    return gemm_pair(vload_type(MORU_F32, even, 0, count), odd ? vload_type(MORU_F32, odd, 0, count) : vset(0));
#else
    (void)end;
    return vload_type(args->a_type, even, 0, count);
#endif
}

// The units of an A with whole columns, but the last, in groups: a sliver's part of a group is written in one run. Units
// are read and stored in whole vectors: what lies beyond a sliver's part of a unit is overwritten by the units after it.
// Returns how many were packed.
INLINE size_t gemm_pack_whole_units(const moru_gemm *args, size_t panel, size_t units, size_t row, size_t end,
                                    size_t rows, float *out) {
#if GEMM_BF16 && MORU_LANES == 16
    const size_t group = 8;
    size_t stride = args->a_column_stride, whole = units > 0 ? units - 1 : 0;
    if (stride < LANES || rows > LANES) return 0;
    size_t size = args->a_type == MORU_BF16 ? sizeof(uint16_t) : sizeof(float);
    const uint8_t *a = gemm_a(args, row, panel);
    for (size_t first = 0; first < whole; first += group) {
        size_t last = moru_min_size(first + group, whole);
        for (size_t i = 2 * (first + group); i < 2 * moru_min_size(first + 2 * group, whole); i++) {
            gemm_prefetch(a + i * stride * size, a + (i * stride + end - row) * size);
        }
        for (size_t m = 0; m < end - row; m += rows) {
            size_t count = moru_min_size(rows, end - row - m);
            float *to = out + m * units + first * count;
            if (args->a_type == MORU_BF16) {
                const uint16_t *from = (const uint16_t *)(const void *)a + 2 * first * stride + m;
                for (size_t i = first; i < last; i++, from += 2 * stride, to += count) {
                    __m512i even = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)from));
                    __m512i odd = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(from + stride)));
                    vstore(to, gemm_pair_halves(even, odd, 0));
                }
            } else {
                const float *from = (const float *)(const void *)a + 2 * first * stride + m;
                for (size_t i = first; i < last; i++, from += 2 * stride, to += count) {
                    vstore(to, gemm_pair(vload(from), vload(from + stride)));
                }
            }
        }
    }
    return whole;
#elif !GEMM_BF16
    const size_t group = 8;
    size_t stride = args->a_column_stride, whole = units > 0 ? units - 1 : 0;
    if (stride < LANES) return 0;
    for (size_t first = 0; first < whole; first += group) {
        size_t last = moru_min_size(first + group, whole);
        for (size_t i = first + group; i < moru_min_size(first + 2 * group, whole); i++) {
            gemm_prefetch(gemm_a(args, row, panel + i), gemm_a(args, end, panel + i));
        }
        for (size_t m = row; m < end; m += rows) {
            size_t count = moru_min_size(rows, end - m);
            float *to = out + (m - row) * units + first * count;
            for (size_t i = first; i < last; i++, to += count) {
                const void *from = gemm_a(args, m, panel + i);
                for (size_t part = 0; part < count; part += LANES) {
                    vstore(to + part, vload_type(args->a_type, from, part, LANES));
                }
            }
        }
    }
    return whole;
#else
    (void)args, (void)panel, (void)units, (void)row, (void)end, (void)rows, (void)out;
    return 0;
#endif
}

// Rows [row, end) in slivers of `rows`, elements [panel, panel_end) of k in steps of `step`; slivers are as long as the
// panel. Whole columns are read row after row, through all the slivers.
static void gemm_pack_a(const moru_gemm *args, size_t panel, size_t panel_end, size_t step, size_t row, size_t end,
                        size_t rows, float *out, const gemm_scratch *scratch) {
    size_t units = gemm_units(panel_end - panel);
    if (args->a_column_stride == 1) {
        for (size_t m = row; m < end; m += rows) {
            size_t count = moru_min_size(rows, end - m);
            for (size_t first = panel; first < panel_end; first += step) {
                gemm_pack_a_rows(args, first, moru_min_size(step, panel_end - first), m, count,
                                 out + (m - row) * units + (first - panel) / GEMM_UNIT * count, scratch);
            }
        }
        return;
    }
    size_t i = gemm_pack_whole_units(args, panel, units, row, end, rows, out);
    for (; i < units; i++) {
        for (size_t ahead = 0; ahead < GEMM_UNIT; ahead++) {
            size_t column = panel + (i + GEMM_AHEAD) * GEMM_UNIT + ahead;
            if (column < panel_end) gemm_prefetch(gemm_a(args, row, column), gemm_a(args, end, column));
        }
        for (size_t m = row; m < end; m += rows) {
            size_t count = moru_min_size(rows, end - m);
            float *to = out + (m - row) * units + i * count;
            for (size_t part = 0; part < count; part += LANES) {
                size_t lanes = moru_min_size(LANES, count - part);
                vf v = gemm_unit_of_a(args, m + part, panel + i * GEMM_UNIT, lanes, panel_end);
                if (lanes == LANES) vstore(to + part, v);
                else vstore_n(to + part, v, lanes);
            }
        }
    }
}
