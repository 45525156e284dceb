// The operands of attention's products, in 32-bit units along the dimension that is added up: one f32, or with
// ATTENTION_BF16 a pair of bf16. The including file defines ATTENTION_VECTORS, the vectors across a product's tile of 6
// rows; half of them make tiles of 12.

#if ATTENTION_BF16
#define UNITS(n) (((n) + 1) / 2)
INLINE vf product_step(vf a, vf b, vf sum) { return pair_step(a, b, sum); }
#else
#define UNITS(n) (n)
INLINE vf product_step(vf a, vf b, vf sum) { return vfma(a, b, sum); }
#endif

// C[rows, columns] = (accumulate ? C : 0) + A B, with A unit (r, i) at a[r * a_row + i * a_column].
typedef struct {
    size_t columns, depth;  // depth in units
    const float *a;
    size_t a_row, a_column;
    const float *b;
    size_t b_row;
    float *c;
    size_t c_row;
    bool accumulate;
} product;

INLINE void product_tile(const int rows, const int vectors, const product *args, size_t r0, size_t j, size_t part) {
    vf sum[12][ATTENTION_VECTORS];
    float *c = args->c + r0 * args->c_row + j;
    const float *a = args->a + r0 * args->a_row, *b = args->b + j;
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) {
            const float *from = c + (size_t)r * args->c_row + v * MORU_LANES;
            sum[r][v] = !args->accumulate ? vset(0) : part ? vload_n(from, part) : vload(from);
        }
    }
    for (size_t i = 0; i < args->depth; i++) {
        vf right[ATTENTION_VECTORS];
        _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) {
            right[v] = part ? vload_n(b, part) : vload(b + v * MORU_LANES);
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            vf left = vset(a[(size_t)r * args->a_row]);
            _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) {
                sum[r][v] = product_step(left, right[v], sum[r][v]);
            }
        }
        a += args->a_column;
        b += args->b_row;
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) {
            float *to = c + (size_t)r * args->c_row + v * MORU_LANES;
            if (part) vstore_n(to, sum[r][v], part);
            else vstore(to, sum[r][v]);
        }
    }
}

// Rows [r0, r0 + rows) of the columns [begin, end), in tiles of so many vectors.
INLINE void product_band(const int rows, const int vectors, const product *args, size_t r0, size_t begin, size_t end) {
    for (size_t j = begin; j < end; j += (size_t)vectors * LANES) product_tile(rows, vectors, args, r0, j, 0);
}

// The last fewer than 6 rows of such columns.
INLINE void product_rest(const int vectors, size_t rows, const product *args, size_t r0, size_t begin, size_t end) {
    switch (rows) {
    case 1: product_band(1, vectors, args, r0, begin, end); break;
    case 2: product_band(2, vectors, args, r0, begin, end); break;
    case 3: product_band(3, vectors, args, r0, begin, end); break;
    case 4: product_band(4, vectors, args, r0, begin, end); break;
    case 5: product_band(5, vectors, args, r0, begin, end); break;
    default: break;
    }
}

static void multiply_small(size_t rows, const product *args) {
    size_t wide = (size_t)ATTENTION_VECTORS * LANES, half = wide / 2, r = 0;
    size_t whole = args->columns / wide * wide, halves = args->columns / half * half;
    if (whole > 0) {
        for (; r + 6 <= rows; r += 6) product_band(6, ATTENTION_VECTORS, args, r, 0, whole);
        product_rest(ATTENTION_VECTORS, rows - r, args, r, 0, whole);
    }
    if (halves > whole) {
        for (r = 0; r + 12 <= rows; r += 12) product_tile(12, ATTENTION_VECTORS / 2, args, r, whole, 0);
        if (r + 6 <= rows) {
            product_tile(6, ATTENTION_VECTORS / 2, args, r, whole, 0);
            r += 6;
        }
        product_rest(ATTENTION_VECTORS / 2, rows - r, args, r, whole, halves);
    }
    for (size_t j = halves; j < args->columns; j += LANES) {
        size_t part = args->columns - j < LANES ? args->columns - j : 0;
        for (r = 0; r + 6 <= rows; r += 6) product_tile(6, 1, args, r, j, part);
        for (; r < rows; r++) product_tile(1, 1, args, r, j, part);
    }
}

// Rows of units.
typedef struct {
    const float *units;
    size_t stride;
} operand;

#if ATTENTION_BF16
// Blocks of Q8_0 as bf16.
INLINE void narrow_blocks(const moru_q8_0 *blocks, size_t count, uint16_t *out) {
    for (size_t b = 0; b < count; b++) {
        vf scale = vset(moru_f32_from_f16(blocks[b].d));
        i8x16 low, high;
        __builtin_memcpy(&low, blocks[b].qs, sizeof low);
        __builtin_memcpy(&high, blocks[b].qs + 16, sizeof high);
        vf even = __builtin_convertvector(low, vf) * scale, odd = __builtin_convertvector(high, vf) * scale;
        __m512bh pairs = _mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);
        __builtin_memcpy(out + 32 * b, &pairs, sizeof pairs);
    }
}

// Rows of `dim` elements, `stride` elements apart from element `first` on, as pairs along the row: where they are, or in
// `memory` [rows, UNITS(dim)].
static operand row_operand(moru_dtype type, const void *array, size_t first, size_t stride, size_t rows, size_t dim,
                           float *memory) {
    if (type == MORU_BF16 && dim % 2 == 0 && stride % 2 == 0) {
        return (operand){(const float *)(const void *)((const uint16_t *)array + first), stride / 2};
    }
    size_t unit = moru_block_elements(type), size = moru_block_bytes(type);
    for (size_t r = 0; r < rows; r++) {
        const void *row = (const uint8_t *)array + (first + r * stride) / unit * size;
        uint16_t *to = (uint16_t *)(void *)(memory + r * UNITS(dim));
        if (type == MORU_BF16) {
            memcpy(to, row, dim * sizeof *to);
            if (dim % 2) to[dim] = 0;
            continue;
        }
        if (type == MORU_Q8_0) narrow_blocks(row, dim / 32, to);
        else gemm_narrow(row, dim, to);
    }
    return (operand){memory, UNITS(dim)};
}

// Such rows as pairs of rows: unit (j, i) of out[UNITS(rows)][dim] holds element i of rows 2j and 2j + 1.
static operand paired_rows(operand rows, size_t count, size_t dim, float *out) {
    for (size_t j = 0; j < UNITS(count); j++) {
        const uint16_t *even = (const uint16_t *)(const void *)(rows.units + 2 * j * rows.stride);
        const uint16_t *odd = 2 * j + 1 < count ? even + 2 * rows.stride : NULL;
        for (size_t i = 0; i < dim; i += LANES) {
            size_t part = moru_min_size(LANES, dim - i);
            vstore_type(MORU_F32, out, j * dim + i, gemm_pair_narrow(even + i, odd ? odd + i : NULL, part), part);
        }
    }
    return (operand){out, dim};
}

// Rows of KEYS scores as pairs along the row, in their place.
static void narrow_scores(float *scores, size_t rows) {
    for (size_t r = 0; r < rows; r++) {
        gemm_narrow(scores + r * KEYS, KEYS, (uint16_t *)(void *)(scores + r * KEYS));
    }
}

// Rows of KEYS scores as pairs of rows, out[UNITS(rows)][KEYS].
static operand paired_scores(const float *scores, size_t rows, float *out) {
    for (size_t j = 0; j < UNITS(rows); j++) {
        const float *even = scores + 2 * j * KEYS;
        for (size_t i = 0; i < KEYS; i += LANES) {
            vf odd = 2 * j + 1 < rows ? vload(even + KEYS + i) : vset(0);
            vstore(out + j * KEYS + i, gemm_pair(vload(even + i), odd));
        }
    }
    return (operand){out, KEYS};
}
#else
// Rows of `dim` elements, `stride` elements apart from element `first` on, as f32: where they are, or in `memory` [rows,
// dim].
static operand row_operand(moru_dtype type, const void *array, size_t first, size_t stride, size_t rows, size_t dim,
                           float *memory) {
    if (type == MORU_F32) return (operand){(const float *)array + first, stride};
    size_t unit = moru_block_elements(type), size = moru_block_bytes(type);
    for (size_t r = 0; r < rows; r++) {
        const void *row = (const uint8_t *)array + (first + r * stride) / unit * size;
        if (type == MORU_BF16) {
            for (size_t i = 0; i < dim; i += LANES) {
                size_t part = moru_min_size(LANES, dim - i);
                vstore_type(MORU_F32, memory, r * dim + i, vload_type(MORU_BF16, row, i, part), part);
            }
        } else {
            MORU_NAME(dequantize)(type, row, memory + r * dim, dim);
        }
    }
    return (operand){memory, dim};
}

// Units of one element are the same along rows and along columns.
static operand paired_rows(operand rows, size_t count, size_t dim, float *out) {
    (void)count, (void)dim, (void)out;
    return rows;
}

static void narrow_scores(float *scores, size_t rows) { (void)scores, (void)rows; }

static operand paired_scores(const float *scores, size_t rows, float *out) {
    (void)rows, (void)out;
    return (operand){scores, KEYS};
}
#endif

// Writes `count` (<= KEYS) rows of `units` units as the columns of out[units][KEYS], with zeros after the last up to a
// whole vector.
static void transpose_rows(operand rows, size_t count, size_t units, float *out) {
    for (size_t r = 0; r < count; r += LANES) {
        size_t d = 0, real = moru_min_size(LANES, count - r);
        for (; d < units; d += LANES) {
            vf v[MORU_LANES];
            size_t part = moru_min_size(LANES, units - d);
            for (size_t i = 0; i < LANES; i++) {
                const float *from = rows.units + (r + i) * rows.stride + d;
                v[i] = i >= real ? vset(0) : part == LANES ? vload(from) : vload_n(from, part);
            }
            transpose(v);
            for (size_t i = 0; i < part; i++) vstore(out + (d + i) * KEYS + r, v[i]);
        }
    }
}

// Keys (or values) [first, first + count) of one head, in place where a page holds them so, or in `memory`.
static operand key_operand(const moru_attention *args, const void *const *pages, size_t first, size_t count,
                           size_t kv_head, float *memory) {
    size_t tokens = args->page_tokens, dim = args->head_dim, row = args->kv_row_stride;
    if (first % tokens + count <= tokens) {
        size_t offset = first % tokens * row + kv_head * dim;
        return row_operand(args->kv_type, pages[first / tokens], offset, row, count, dim, memory);
    }
    for (size_t i = 0; i < count; i++) {
        size_t token = first + i, offset = token % tokens * row + kv_head * dim;
        float *to = memory + i * UNITS(dim);
        operand one = row_operand(args->kv_type, pages[token / tokens], offset, row, 1, dim, to);
        if (one.units != to) memcpy(to, one.units, UNITS(dim) * sizeof(float));
    }
    return (operand){memory, UNITS(dim)};
}

// Asks for such keys (or values), as far as they lie in one page, ahead of their use: rows lie too far apart for the
// processor to see a pattern.
static void prefetch_keys(const moru_attention *args, const void *const *pages, size_t first, size_t count,
                          size_t kv_head) {
    size_t unit = moru_block_elements(args->kv_type), size = moru_block_bytes(args->kv_type);
    size_t place = first % args->page_tokens, stride = args->kv_row_stride / unit * size;
    size_t bytes = args->head_dim / unit * size;
    const char *row = (const char *)pages[first / args->page_tokens] + place * stride + kv_head * bytes;
    for (const char *end = row + moru_min_size(count, args->page_tokens - place) * stride; row < end; row += stride) {
        for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(row + i);
    }
}

// Stores `rows` rows of `dim` sums, times a factor each (NULL: 1), as one of the types of activations.
static void store_rows(moru_dtype type, void *array, size_t first, size_t stride, size_t rows, size_t dim,
                       const float *sums, size_t sums_stride, const float *factors) {
    for (size_t r = 0; r < rows; r++) {
        float factor = factors ? factors[r] : 1;
        for (size_t i = 0; i < dim; i += LANES) {
            size_t count = moru_min_size(LANES, dim - i);
            vf v = vload_type(MORU_F32, sums, r * sums_stride + i, count) * factor;
            vstore_type(type, array, first + r * stride + i, v, count);
        }
    }
}
