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

// Keys (or values) [first, first + count) of one head. A block within one page is read in place; one that crosses
// pages is gathered into `gathered` [KEYS, dim] first.
static const float *key_rows(const moru_attention *args, const float *const *pages, size_t first, size_t count,
                             size_t kv_head, float *gathered, size_t *stride) {
    size_t page = first / args->page_tokens, offset = first % args->page_tokens, dim = args->head_dim;
    if (offset + count <= args->page_tokens) {
        *stride = args->kv_row_stride;
        return pages[page] + offset * args->kv_row_stride + kv_head * dim;
    }
    for (size_t i = 0; i < count; i++) {
        size_t token = first + i;
        const float *from = pages[token / args->page_tokens] + token % args->page_tokens * args->kv_row_stride;
        memcpy(gathered + i * dim, from + kv_head * dim, dim * sizeof(float));
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
    float *largest, *sum;
} attention_scratch;

INLINE size_t attention_lines(const moru_attention *args) {
    return moru_max_size(QUERIES, args->heads / args->kv_heads);
}

size_t MORU_NAME(attention_scratch_bytes)(const moru_attention *args) {
    size_t group = args->heads / args->kv_heads, lines = attention_lines(args);
    return (3 * KEYS * args->head_dim + lines * KEYS + 2 * QUERIES * group) * sizeof(float) + 64;
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
    scratch.scores = scratch.gathered + 2 * KEYS * dim;
    scratch.largest = scratch.scores + attention_lines(args) * KEYS;
    scratch.sum = scratch.largest + QUERIES * group;
    for (size_t head = head_begin; head < head_end;) {
        size_t kv_head = head / group, heads = moru_min_size(head_end, (kv_head + 1) * group) - head;
        for (size_t row = row_begin; row < row_end; row += QUERIES) {
            size_t rows = moru_min_size(QUERIES, row_end - row), position = args->first_position + row;
            for (size_t i = 0; i < rows * heads; i++) {
                scratch.largest[i] = -INFINITY;
                scratch.sum[i] = 0;
            }
            float *out = args->out + row * args->out_row_stride + head * dim;
            const float *q = args->q + row * args->q_row_stride + head * dim;
            for (size_t r = 0; r < rows; r++) memset(out + r * args->out_row_stride, 0, heads * dim * sizeof(float));
            size_t stop = end_visible(args, position + rows - 1);
            for (size_t first = first_visible(args, position) / KEYS * KEYS; first < stop; first += KEYS) {
                size_t count = moru_min_size(KEYS, args->kv_count - first), k_stride, v_stride;
                const float *keys = key_rows(args, args->k_pages, first, count, kv_head, scratch.gathered, &k_stride);
                const float *values = key_rows(args, args->v_pages, first, count, kv_head,
                                               scratch.gathered + KEYS * dim, &v_stride);
                transpose_rows(keys, k_stride, count, dim, scratch.transposed);
                if (rows == 1) {
                    attend(args, &scratch, heads, q, dim, out, dim, position, 0, first, count, values, v_stride,
                           scratch.largest, scratch.sum);
                    continue;
                }
                for (size_t h = 0; h < heads; h++) {
                    attend(args, &scratch, rows, q + h * dim, args->q_row_stride, out + h * dim, args->out_row_stride,
                           position, 1, first, count, values, v_stride, scratch.largest + h * rows,
                           scratch.sum + h * rows);
                }
            }
            for (size_t h = 0; h < heads; h++) {
                for (size_t r = 0; r < rows; r++) {
                    float sum = scratch.sum[h * rows + r], *to = out + r * args->out_row_stride + h * dim;
                    // A row that sees no key attends to nothing: zeros.
                    MORU_NAME(scale)(to, sum > 0 || sum != sum ? 1 / sum : 0, to, 0, dim);
                    if (args->log_sum_exp) {
                        args->log_sum_exp[(row + r) * args->heads + head + h] =
                            scratch.largest[h * rows + r] + logf(sum);
                    }
                }
            }
        }
        head += heads;
    }
}

size_t MORU_NAME(attention_backward_scratch_bytes)(const moru_attention *args) {
    size_t group = args->heads / args->kv_heads;
    return (2 * KEYS * args->head_dim + 2 * QUERIES * KEYS + args->rows * group) * sizeof(float) + 64;
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

void MORU_NAME(attention_backward)(const moru_attention *args, const moru_attention_gradient *gradient,
                                   size_t kv_head_begin, size_t kv_head_end, void *memory) {
    size_t group = args->heads / args->kv_heads, dim = args->head_dim, kv_stride = args->kv_row_stride;
    size_t q_stride = args->q_row_stride, out_stride = args->out_row_stride;
    float *keys_t = (float *)(((uintptr_t)memory + 63) & ~(uintptr_t)63), *values_t = keys_t + KEYS * dim;
    float *scores = values_t + KEYS * dim, *d_scores = scores + QUERIES * KEYS;
    float *projections = d_scores + QUERIES * KEYS;
    for (size_t kv_head = kv_head_begin; kv_head < kv_head_end; kv_head++) {
        for (size_t j = 0; j < args->kv_count; j++) {
            memset(gradient->d_k + j * kv_stride + kv_head * dim, 0, dim * sizeof(float));
            memset(gradient->d_v + j * kv_stride + kv_head * dim, 0, dim * sizeof(float));
        }
        for (size_t h = 0; h < group; h++) {
            for (size_t row = 0; row < args->rows; row++) {
                size_t at = row * out_stride + (kv_head * group + h) * dim;
                vf sums = vset(0);
                size_t i = 0;
                for (; i + LANES <= dim; i += LANES) {
                    sums = vfma(vload(gradient->d_out + at + i), vload(args->out + at + i), sums);
                }
                if (i < dim) {
                    sums = vfma(vload_n(gradient->d_out + at + i, dim - i), vload_n(args->out + at + i, dim - i), sums);
                }
                projections[h * args->rows + row] = vsum(sums);
                memset(gradient->d_q + row * q_stride + (kv_head * group + h) * dim, 0, dim * sizeof(float));
            }
        }
        for (size_t first = 0; first < args->kv_count; first += KEYS) {
            size_t count = moru_min_size(KEYS, args->kv_count - first), block = first * kv_stride + kv_head * dim;
            const float *keys = args->k_pages[0] + block;
            transpose_rows(keys, kv_stride, count, dim, keys_t);
            transpose_rows(args->v_pages[0] + block, kv_stride, count, dim, values_t);
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
                    size_t rows = moru_min_size(QUERIES, row_end - row);
                    const float *q = args->q + row * q_stride + head * dim;
                    const float *d_out = gradient->d_out + row * out_stride + head * dim;
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
                    product d_q = {.columns = dim, .depth = count, .a = d_scores, .a_row = KEYS, .a_column = 1,
                                   .b = keys, .b_row = kv_stride,
                                   .c = gradient->d_q + row * q_stride + head * dim, .c_row = q_stride,
                                   .accumulate = true};
                    multiply_small(rows, &d_q);
                    product d_k = {.columns = dim, .depth = rows, .a = d_scores, .a_row = 1, .a_column = KEYS,
                                   .b = q, .b_row = q_stride, .c = gradient->d_k + block, .c_row = kv_stride,
                                   .accumulate = true};
                    multiply_small(count, &d_k);
                    product d_v = d_k;
                    d_v.a = scores, d_v.b = d_out, d_v.b_row = out_stride, d_v.c = gradient->d_v + block;
                    multiply_small(count, &d_v);
                }
            }
        }
    }
}
