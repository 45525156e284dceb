// Attention in blocks of keys with a running softmax (Milakov and Gimelshein, 2018; Dao et al., 2022). A block of keys
// is transposed once and serves all the query rows, and all the heads, that share it. Blocks start at multiples of
// KEYS, so the answer for a row does not depend on which other rows are computed with it.
//
// The including file defines ATTENTION_VECTORS, the vectors across a product's tile of 6 rows.

#define KEYS ((size_t)64)
#define QUERIES ((size_t)32)

// C[rows, columns] = (accumulate ? C : 0) + A B, with A element (r, i) at a[r * a_row + i * a_column].
typedef struct {
    size_t columns, depth;
    const float *a;
    size_t a_row, a_column;
    const float *b;
    size_t b_row;
    float *c;
    size_t c_row;
    bool accumulate;
} product;

INLINE void product_tile(const int rows, const int vectors, const product *args, size_t r0, size_t j, size_t part) {
    vf sum[6][ATTENTION_VECTORS];
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
                sum[r][v] = vfma(left, right[v], sum[r][v]);
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

INLINE void product_rows(const int rows, const product *args, size_t r0) {
    size_t j = 0, wide = ATTENTION_VECTORS * LANES;
    for (; j + wide <= args->columns; j += wide) product_tile(rows, ATTENTION_VECTORS, args, r0, j, 0);
    for (; j + LANES <= args->columns; j += LANES) product_tile(rows, 1, args, r0, j, 0);
    if (j < args->columns) product_tile(rows, 1, args, r0, j, args->columns - j);
}

static void multiply_small(size_t rows, const product *args) {
    size_t r = 0;
    for (; r + 6 <= rows; r += 6) product_rows(6, args, r);
    switch (rows - r) {
    case 1: product_rows(1, args, r); break;
    case 2: product_rows(2, args, r); break;
    case 3: product_rows(3, args, r); break;
    case 4: product_rows(4, args, r); break;
    case 5: product_rows(5, args, r); break;
    default: break;
    }
}

// Writes `count` (<= KEYS) rows of `dim` elements, `stride` apart, as the columns of out[dim][KEYS], with zeros after the
// last up to a whole vector.
static void transpose_rows(const float *rows, size_t stride, size_t count, size_t dim, float *out) {
    for (size_t r = 0; r < count; r += LANES) {
        size_t d = 0, real = moru_min_size(LANES, count - r);
        for (; d < dim; d += LANES) {
            vf v[MORU_LANES];
            size_t part = moru_min_size(LANES, dim - d);
            for (size_t i = 0; i < LANES; i++) {
                const float *from = rows + (r + i) * stride + d;
                v[i] = i >= real ? vset(0) : part == LANES ? vload(from) : vload_n(from, part);
            }
            transpose(v);
            for (size_t i = 0; i < part; i++) vstore(out + (d + i) * KEYS + r, v[i]);
        }
    }
}

// `rows` rows of `dim` elements, `stride` elements apart from element `first` on, as f32: where they are, or in `wide`
// [rows, dim].
static const float *widened(moru_dtype type, const void *array, size_t first, size_t rows, size_t dim, size_t *stride,
                            float *wide) {
    if (type == MORU_F32) return (const float *)array + first;
    size_t unit = moru_block_elements(type), size = moru_block_bytes(type);
    for (size_t r = 0; r < rows; r++) {
        const uint8_t *row = (const uint8_t *)array + (first + r * *stride) / unit * size;
        MORU_NAME(dequantize)(type, row, wide + r * dim, dim);
    }
    *stride = dim;
    return wide;
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

// Keys (or values) [first, first + count) of one head as f32, in place where a page holds them so, or in `gathered`.
static const float *key_rows(const moru_attention *args, const void *const *pages, size_t first, size_t count,
                             size_t kv_head, float *gathered, size_t *stride) {
    size_t tokens = args->page_tokens, dim = args->head_dim, row = args->kv_row_stride;
    *stride = row;
    if (first % tokens + count <= tokens) {
        size_t offset = first % tokens * row + kv_head * dim;
        return widened(args->kv_type, pages[first / tokens], offset, count, dim, stride, gathered);
    }
    for (size_t i = 0; i < count; i++) {
        size_t token = first + i, one = row, offset = token % tokens * row + kv_head * dim;
        float *to = gathered + i * dim;
        const float *from = widened(args->kv_type, pages[token / tokens], offset, 1, dim, &one, to);
        if (from != to) memcpy(to, from, dim * sizeof(float));
    }
    *stride = dim;
    return gathered;
}

// The visible keys of position p are [first_visible, p] (or to the end when not causal).
INLINE size_t first_visible(const moru_attention *args, size_t position) {
    return args->window > 0 && position + 1 > args->window ? position + 1 - args->window : 0;
}

INLINE size_t end_visible(const moru_attention *args, size_t position) {
    return args->causal ? moru_min_size(args->kv_count, position + 1) : args->kv_count;
}

typedef struct {
    float *transposed;  // [dim, KEYS]
    float *scores;      // [QUERIES or the heads of a group, KEYS]
    float *gathered;    // [KEYS, dim] twice: keys, values
    float *queries;     // [QUERIES, heads of a group, dim]: those that are not f32
    float *sums;        // likewise, the output before its division
    float *largest, *sum;
} attention_scratch;

INLINE size_t attention_lines(const moru_attention *args) {
    return moru_max_size(QUERIES, args->heads / args->kv_heads);
}

size_t MORU_NAME(attention_scratch_bytes)(const moru_attention *args) {
    size_t group = args->heads / args->kv_heads, lines = attention_lines(args);
    size_t rows = (3 * KEYS + 2 * QUERIES * group) * args->head_dim;
    return (rows + lines * KEYS + 2 * QUERIES * group) * sizeof(float) + 64;
}

// Turns one row of raw scores into e^(score - largest), and returns what the sums before must be multiplied by.
INLINE float softmax_step(const moru_attention *args, float *scores, size_t first, size_t count, size_t position,
                          float *largest, float *sum) {
    size_t low = first_visible(args, position), high = end_visible(args, position);
    bool whole = low <= first && high >= first + KEYS && count == KEYS;
    vf s[64 / MORU_LANES], most = vset(-INFINITY);
    for (size_t v = 0; v < KEYS / LANES; v++) {
        vf x = vload(scores + v * LANES) * args->scale;
        if (args->softcap > 0) x = args->softcap * vtanh(x / args->softcap);
        if (!whole) {
            // Keys relative to the block; `high` and `low` are brought into int range first.
            vi key = viota() + (int32_t)(v * LANES);
            int32_t above = (int32_t)(high > first ? moru_min_size(high - first, KEYS) : 0);
            int32_t below = (int32_t)(low > first ? moru_min_size(low - first, KEYS) : 0);
            vi visible = (key < above) & (key >= below);
            x = visible ? x : vset(-INFINITY);
        }
        s[v] = x;
        most = vmax(most, x);
    }
    float before = *largest, now = vlargest(most);
    if (now <= before) now = before;  // a NaN stays, and makes the row NaN
    if (now == -INFINITY) {
        for (size_t v = 0; v < KEYS / LANES; v++) vstore(scores + v * LANES, vset(0));
        return 1;
    }
    vf total = vset(0);
    for (size_t v = 0; v < KEYS / LANES; v++) {
        vf p = vexp(s[v] - now);
        vstore(scores + v * LANES, p);
        total += p;
    }
    float correction = before == now ? 1 : expf(before - now);
    *sum = *sum * correction + vsum(total);
    *largest = now;
    return correction;
}

// `lines` rows of queries against one block of keys: either rows of one head (positions count up), or heads of one row.
static void attend(const moru_attention *args, const attention_scratch *scratch, size_t lines, const float *q,
                   size_t q_stride, float *out, size_t out_stride, size_t position, size_t position_step,
                   size_t first, size_t count, const float *values, size_t value_stride, float *largest, float *sum) {
    size_t dim = args->head_dim;
    product scores = {.columns = moru_round_up(count, LANES), .depth = dim, .a = q, .a_row = q_stride, .a_column = 1,
                      .b = scratch->transposed, .b_row = KEYS, .c = scratch->scores, .c_row = KEYS};
    multiply_small(lines, &scores);
    for (size_t r = 0; r < lines; r++) {
        float correction = softmax_step(args, scratch->scores + r * KEYS, first, count, position + r * position_step,
                                        largest + r, sum + r);
        if (correction != 1) MORU_NAME(scale)(out + r * out_stride, correction, out + r * out_stride, 0, dim);
    }
    product outputs = {.columns = dim, .depth = count, .a = scratch->scores, .a_row = KEYS, .a_column = 1,
                       .b = values, .b_row = value_stride, .c = out, .c_row = out_stride, .accumulate = true};
    multiply_small(lines, &outputs);
}

void MORU_NAME(attention)(const moru_attention *args, size_t row_begin, size_t row_end, size_t head_begin,
                          size_t head_end, void *memory) {
    size_t group = args->heads / args->kv_heads, dim = args->head_dim;
    attention_scratch scratch;
    scratch.transposed = (float *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    scratch.gathered = scratch.transposed + KEYS * dim;
    scratch.queries = scratch.gathered + 2 * KEYS * dim;
    scratch.sums = scratch.queries + QUERIES * group * dim;
    scratch.scores = scratch.sums + QUERIES * group * dim;
    scratch.largest = scratch.scores + attention_lines(args) * KEYS;
    scratch.sum = scratch.largest + QUERIES * group;
    for (size_t head = head_begin; head < head_end;) {
        size_t kv_head = head / group, heads = moru_min_size(head_end, (kv_head + 1) * group) - head;
        size_t width = heads * dim;
        for (size_t row = row_begin; row < row_end; row += QUERIES) {
            size_t rows = moru_min_size(QUERIES, row_end - row), position = args->first_position + row;
            for (size_t i = 0; i < rows * heads; i++) {
                scratch.largest[i] = -INFINITY;
                scratch.sum[i] = 0;
            }
            size_t q_stride = args->q_row_stride;
            const float *q = widened(args->io_type, args->q, row * q_stride + head * dim, rows, width, &q_stride,
                                     scratch.queries);
            memset(scratch.sums, 0, rows * width * sizeof(float));
            size_t stop = end_visible(args, position + rows - 1);
            for (size_t first = first_visible(args, position) / KEYS * KEYS; first < stop; first += KEYS) {
                size_t count = moru_min_size(KEYS, args->kv_count - first), k_stride, v_stride;
                const float *keys = key_rows(args, args->k_pages, first, count, kv_head, scratch.gathered, &k_stride);
                const float *values = key_rows(args, args->v_pages, first, count, kv_head,
                                               scratch.gathered + KEYS * dim, &v_stride);
                transpose_rows(keys, k_stride, count, dim, scratch.transposed);
                if (rows == 1) {
                    attend(args, &scratch, heads, q, dim, scratch.sums, dim, position, 0, first, count, values,
                           v_stride, scratch.largest, scratch.sum);
                    continue;
                }
                for (size_t h = 0; h < heads; h++) {
                    attend(args, &scratch, rows, q + h * dim, q_stride, scratch.sums + h * dim, width, position, 1,
                           first, count, values, v_stride, scratch.largest + h * rows, scratch.sum + h * rows);
                }
            }
            for (size_t h = 0; h < heads; h++) {
                float *sum = scratch.sum + h * rows;
                for (size_t r = 0; r < rows; r++) {
                    if (args->log_sum_exp) {
                        float *to = args->log_sum_exp + (row + r) * args->heads + head + h;
                        *to = scratch.largest[h * rows + r] + logf(sum[r]);
                    }
                    // A row that sees no key attends to nothing: zeros.
                    sum[r] = sum[r] > 0 || sum[r] != sum[r] ? 1 / sum[r] : 0;
                }
                store_rows(args->io_type, args->out, row * args->out_row_stride + (head + h) * dim,
                           args->out_row_stride, rows, dim, scratch.sums + h * dim, width, sum);
            }
        }
        head += heads;
    }
}

size_t MORU_NAME(attention_backward_scratch_bytes)(const moru_attention *args) {
    size_t lines = args->rows * (args->heads / args->kv_heads);
    size_t rows = 6 * KEYS + 2 * QUERIES + (args->io_type == MORU_F32 ? 0 : lines);
    return (rows * args->head_dim + 2 * QUERIES * KEYS + lines) * sizeof(float) + 64;
}

// From raw scores and raw dP: P = e^(scale * S - log_sum), dS = scale * P * (dP - projection), both masked.
INLINE void gradient_step(const moru_attention *args, float *scores, float *d_scores, size_t first, size_t count,
                          size_t position, float log_sum, float projection) {
    size_t low = first_visible(args, position), high = end_visible(args, position);
    int32_t above = (int32_t)(high > first ? moru_min_size(high - first, count) : 0);
    int32_t below = (int32_t)(low > first ? moru_min_size(low - first, KEYS) : 0);
    for (size_t v = 0; v < KEYS; v += LANES) {
        vi key = viota() + (int32_t)v;
        vf p = vexp(vload(scores + v) * args->scale - log_sum);
        vf ds = args->scale * p * (vload(d_scores + v) - projection);
        vi visible = (key < above) & (key >= below);
        vstore(scores + v, visible ? p : vset(0));
        vstore(d_scores + v, visible ? ds : vset(0));
    }
}

// rowsum(dO * O) of the query rows of one head.
static void attention_projections(const moru_attention *args, const void *d_out, size_t head, float *projections) {
    size_t dim = args->head_dim;
    for (size_t row = 0; row < args->rows; row++) {
        size_t at = row * args->out_row_stride + head * dim;
        vf sums = vset(0);
        for (size_t i = 0; i < dim; i += LANES) {
            size_t count = moru_min_size(LANES, dim - i);
            sums = vfma(vload_type(args->io_type, d_out, at + i, count),
                        vload_type(args->io_type, args->out, at + i, count), sums);
        }
        projections[row] = vsum(sums);
    }
}

void MORU_NAME(attention_backward)(const moru_attention *args, const moru_attention_gradient *gradient,
                                   size_t kv_head_begin, size_t kv_head_end, void *memory) {
    size_t group = args->heads / args->kv_heads, dim = args->head_dim, kv_stride = args->kv_row_stride;
    bool narrow = args->io_type != MORU_F32;
    float *keys_t = (float *)(((uintptr_t)memory + 63) & ~(uintptr_t)63), *values_t = keys_t + KEYS * dim;
    float *gathered_keys = values_t + KEYS * dim, *gathered_values = gathered_keys + KEYS * dim;
    float *d_keys = gathered_values + KEYS * dim, *d_values = d_keys + KEYS * dim;
    float *queries = d_values + KEYS * dim, *d_outs = queries + QUERIES * dim;
    float *scores = d_outs + QUERIES * dim, *d_scores = scores + QUERIES * KEYS;
    float *projections = d_scores + QUERIES * KEYS, *d_queries = projections + args->rows * group;
    for (size_t kv_head = kv_head_begin; kv_head < kv_head_end; kv_head++) {
        size_t d_q_stride = narrow ? group * dim : args->q_row_stride, width = group * dim * sizeof(float);
        float *d_q = narrow ? d_queries : (float *)gradient->d_q + kv_head * group * dim;
        for (size_t row = 0; row < args->rows; row++) memset(d_q + row * d_q_stride, 0, width);
        for (size_t h = 0; h < group; h++) {
            attention_projections(args, gradient->d_out, kv_head * group + h, projections + h * args->rows);
        }
        for (size_t first = 0; first < args->kv_count; first += KEYS) {
            size_t count = moru_min_size(KEYS, args->kv_count - first), block = first * kv_stride + kv_head * dim;
            size_t k_stride = kv_stride, v_stride = kv_stride;
            const float *keys = widened(args->kv_type, args->k_pages[0], block, count, dim, &k_stride, gathered_keys);
            const float *values = widened(args->kv_type, args->v_pages[0], block, count, dim, &v_stride,
                                          gathered_values);
            transpose_rows(keys, k_stride, count, dim, keys_t);
            transpose_rows(values, v_stride, count, dim, values_t);
            memset(d_keys, 0, 2 * KEYS * dim * sizeof(float));
            // Rows that see some key of the block.
            size_t row_begin = 0, row_end = args->rows;
            if (args->causal && first > args->first_position) row_begin = first - args->first_position;
            if (args->window > 0) {
                size_t beyond = first + count - 1 + args->window;  // the first position that sees none
                size_t seen = beyond > args->first_position ? beyond - args->first_position : 0;
                row_end = moru_min_size(row_end, seen);
            }
            for (size_t h = 0; h < group; h++) {
                size_t head = kv_head * group + h;
                for (size_t row = row_begin; row < row_end; row += QUERIES) {
                    size_t rows = moru_min_size(QUERIES, row_end - row), q_stride = args->q_row_stride;
                    size_t out_stride = args->out_row_stride;
                    const float *q = widened(args->io_type, args->q, row * q_stride + head * dim, rows, dim, &q_stride,
                                             queries);
                    const float *d_out = widened(args->io_type, gradient->d_out, row * out_stride + head * dim, rows,
                                                 dim, &out_stride, d_outs);
                    product forward = {.columns = moru_round_up(count, LANES), .depth = dim, .a = q,
                                       .a_row = q_stride, .a_column = 1, .b = keys_t, .b_row = KEYS, .c = scores,
                                       .c_row = KEYS};
                    multiply_small(rows, &forward);
                    forward.a = d_out, forward.a_row = out_stride, forward.b = values_t, forward.c = d_scores;
                    multiply_small(rows, &forward);
                    for (size_t r = 0; r < rows; r++) {
                        gradient_step(args, scores + r * KEYS, d_scores + r * KEYS, first, count,
                                      args->first_position + row + r, args->log_sum_exp[(row + r) * args->heads + head],
                                      projections[h * args->rows + row + r]);
                    }
                    product d_q_product = {.columns = dim, .depth = count, .a = d_scores, .a_row = KEYS, .a_column = 1,
                                           .b = keys, .b_row = k_stride, .c = d_q + row * d_q_stride + h * dim,
                                           .c_row = d_q_stride, .accumulate = true};
                    multiply_small(rows, &d_q_product);
                    product d_k_product = {.columns = dim, .depth = rows, .a = d_scores, .a_row = 1, .a_column = KEYS,
                                           .b = q, .b_row = q_stride, .c = d_keys, .c_row = dim, .accumulate = true};
                    multiply_small(count, &d_k_product);
                    d_k_product.a = scores, d_k_product.b = d_out, d_k_product.b_row = out_stride;
                    d_k_product.c = d_values;
                    multiply_small(count, &d_k_product);
                }
            }
            store_rows(args->io_type, gradient->d_k, block, kv_stride, count, dim, d_keys, dim, NULL);
            store_rows(args->io_type, gradient->d_v, block, kv_stride, count, dim, d_values, dim, NULL);
        }
        if (!narrow) continue;
        store_rows(args->io_type, gradient->d_q, kv_head * group * dim, args->q_row_stride, args->rows, group * dim, d_q,
                   d_q_stride, NULL);
    }
}
