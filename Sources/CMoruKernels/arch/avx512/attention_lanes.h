// Attention of whole sequences in bf16 with queries across the lanes: scores are computed as K Q^T, outputs as V^T P^T.
// Keys are then read as they lie, and the largest score, the sum and the correction of 16 queries are one vector each.
// Tiles of 8 rows of 32 queries leave registers for what is done with the sums before they are stored. The including
// file defines LANE_SPLITS: 1 where a pair of bf16 is multiplied as two f32, 0 where vdpbf16ps does it.

#include "../vector/attention_visible.h"
#include "../vector/bf16_pairs.h"

#define LANE_QUERIES ((size_t)32)
#define LANE_KEYS ((size_t)64)
#define LANE_BLOCKS ((size_t)3)  // of queries that share the forms of a block of keys
#define LANE_ROWS ((size_t)8)

// Whether the rows and keys lie as the functions here want them.
static bool is_in_lanes(const moru_attention *args) {
    return args->allow_bf16 && args->io_type == MORU_BF16 && args->kv_type == MORU_BF16 && args->head_dim % 32 == 0 &&
           args->rows > 1 && args->page_tokens >= args->kv_count && args->softcap == 0 && args->scale > 0;
}

// 2^x for the x <= 0 of a softmax. A NaN stays.
INLINE vf lane_exp2(vf x) { return vexp2_narrow(vmax(vset(-200.0f), x)); }

INLINE vf lane_step(vf a, vf b, vf sum) {
#if LANE_SPLITS
    sum = vfma(vbits(vasint(a) << 16), vbits(vasint(b) << 16), sum);
    return vfma(vbits(vasint(a) & (int32_t)0xffff0000), vbits(vasint(b) & (int32_t)0xffff0000), sum);
#else
    return pair_step(a, b, sum);
#endif
}

// sum += A B: 8 rows, unit (r, i) of A at a[r * a_row + i * a_column], and 32 columns.
INLINE void lane_tile(size_t depth, const float *a, size_t a_row, size_t a_column, const float *b, size_t b_row,
                      vf sum[LANE_ROWS][2]) {
    for (size_t i = 0; i < depth; i++, a += a_column, b += b_row) {
        vf first = vload(b), second = vload(b + LANES);
        _Pragma("clang loop unroll(full)") for (size_t r = 0; r < LANE_ROWS; r++) {
            vf left = vset(a[r * a_row]);
            sum[r][0] = lane_step(left, first, sum[r][0]);
            sum[r][1] = lane_step(left, second, sum[r][1]);
        }
    }
}

// C[rows, columns] += A B, in whole tiles.
INLINE void lane_add(size_t rows, size_t columns, size_t depth, const float *a, size_t a_row, size_t a_column,
                     const float *b, size_t b_row, float *c, size_t c_row) {
    for (size_t r0 = 0; r0 < rows; r0 += LANE_ROWS) {
        for (size_t j = 0; j < columns; j += 2 * LANES) {
            vf sum[LANE_ROWS][2];
            float *to = c + r0 * c_row + j;
            for (size_t r = 0; r < LANE_ROWS; r++) {
                sum[r][0] = vload(to + r * c_row);
                sum[r][1] = vload(to + r * c_row + LANES);
            }
            lane_tile(depth, a + r0 * a_row, a_row, a_column, b + j, b_row, sum);
            for (size_t r = 0; r < LANE_ROWS; r++) {
                vstore(to + r * c_row, sum[r][0]);
                vstore(to + r * c_row + LANES, sum[r][1]);
            }
        }
    }
}

// Rows of `dim` bf16, `stride` apart, one after the other, with zeros after the last up to `all` rows.
static void lane_copy(const uint16_t *from, size_t stride, size_t rows, size_t all, size_t dim, float *to) {
    for (size_t r = 0; r < rows; r++, from += stride) {
        const float *row = (const float *)(const void *)from;
        for (size_t i = 0; i < dim / 2; i += LANES, to += LANES) vstore(to, vload(row + i));
    }
    for (size_t i = 0; i < (all - rows) * dim / 2; i += LANES) vstore(to + i, vset(0));
}

// Such rows, an even number, as pairs of rows: [rows / 2, dim].
static void lane_pairs(const float *from, size_t rows, size_t dim, float *to) {
    for (size_t j = 0; j < rows; j += 2, to += dim, from += dim) {
        for (size_t i = 0; i < dim / 2; i += LANES) {
            __m512i even = (__m512i)vload(from + i), odd = (__m512i)vload(from + dim / 2 + i);
            vstore(to + 2 * i, gemm_pair_halves(even, odd, 0));
            vstore(to + 2 * i + LANES, gemm_pair_halves(even, odd, 16));
        }
    }
}

// 32 such rows as columns: [dim / 2, 32].
static void lane_columns(const float *from, size_t dim, float *to) {
    for (size_t half = 0; half < LANE_QUERIES; half += LANES) {
        for (size_t d = 0; d < dim / 2; d += LANES) {
            vf v[MORU_LANES];
            for (size_t r = 0; r < LANES; r++) v[r] = vload(from + (half + r) * (dim / 2) + d);
            transpose(v);
            for (size_t r = 0; r < LANES; r++) vstore(to + (d + r) * LANE_QUERIES + half, v[r]);
        }
    }
}

// Which keys of a block 32 queries see: those from `low` to below `high`, both relative to the block. Rows of keys from
// `all_from` to below `all_to` are seen by every one.
typedef struct {
    vi low[2], high[2];
    size_t all_from, all_to;
} lane_mask;

INLINE lane_mask mask_lanes(const moru_attention *args, size_t position, size_t first, size_t count) {
    const int32_t far = 1 << 30, keys = (int32_t)count, last = (int32_t)LANE_QUERIES - 1;
    int32_t from = (int32_t)position - (int32_t)first, begin = (int32_t)args->key_begin - (int32_t)first;
    int32_t window = args->window > 0 && args->window < (size_t)far ? (int32_t)args->window : far;
    int32_t all_from = begin > from + last + 1 - window ? begin : from + last + 1 - window;
    int32_t all_to = !args->causal || keys < from + 1 ? keys : from + 1;
    lane_mask mask = {.all_from = all_from > 0 ? (size_t)all_from : 0, .all_to = all_to > 0 ? (size_t)all_to : 0};
    for (int h = 0; h < 2; h++) {
        vi next = viota() + (from + 1 + h * MORU_LANES);  // the key after the query itself
        vi low = next - window;
        mask.low[h] = low > begin ? low : (vi)begin;
        mask.high[h] = !args->causal ? (vi)keys : next < keys ? next : (vi)keys;
    }
    return mask;
}

INLINE vf masked(const lane_mask *mask, size_t key, size_t half, vf x, float otherwise) {
    vi visible = ((int32_t)key < mask->high[half]) & ((int32_t)key >= mask->low[half]);
    return visible ? x : vset(otherwise);
}

typedef struct {
    float *keys, *values;      // [KEYS, units of dim]
    float *paired_values;      // [units of KEYS, dim]
    float *queries;            // blocks of [units of dim, 32]
    float *rows;               // [32, units of dim]
    float *sums;               // blocks of [dim, 32]: the output before its division
    float *scores;             // [KEYS, 32]
    float *paired;             // [units of KEYS, 32]: probabilities
    float *largest, *sum;      // blocks of [32]
} lane_scratch;

static lane_scratch carve_lanes(const moru_attention *args, void *memory, void **end) {
    size_t units = args->head_dim / 2, dim = args->head_dim, rows = LANE_BLOCKS * LANE_QUERIES;
    lane_scratch parts;
    float *next = (float *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    parts.keys = next, next += LANE_KEYS * units;
    parts.values = next, next += LANE_KEYS * units;
    parts.paired_values = next, next += LANE_KEYS / 2 * dim;
    parts.queries = next, next += rows * units;
    parts.rows = next, next += LANE_QUERIES * units;
    parts.sums = next, next += rows * dim;
    parts.scores = next, next += LANE_KEYS * LANE_QUERIES;
    parts.paired = next, next += LANE_KEYS / 2 * LANE_QUERIES;
    parts.largest = next, next += rows;
    parts.sum = next, next += rows;
    *end = next;
    return parts;
}

static size_t lane_scratch_bytes(const moru_attention *args) {
    void *end;
    carve_lanes(args, NULL, &end);
    return (size_t)(uintptr_t)end + 64;
}

// 32 queries, the first at `position`, against the first `count` keys of a block that begins at `first`.
static void attend_lanes(const moru_attention *args, const lane_scratch *scratch, size_t block, size_t position,
                         size_t first, size_t count) {
    size_t dim = args->head_dim, units = dim / 2, rows = moru_round_up(count, LANE_ROWS);
    lane_mask mask = mask_lanes(args, position, first, count);
    float factor = args->scale * 1.44269504088896341f, *scores = scratch->scores, *paired = scratch->paired;
    float *sums = scratch->sums + block * dim * LANE_QUERIES;
    vf most[2] = {vset(-INFINITY), vset(-INFINITY)};
    for (size_t key = 0; key < rows; key += LANE_ROWS) {
        vf s[LANE_ROWS][2] = {0};
        lane_tile(units, scratch->keys + key * units, units, 1, scratch->queries + block * units * LANE_QUERIES,
                  LANE_QUERIES, s);
        bool whole = key >= mask.all_from && key + LANE_ROWS <= mask.all_to;
        for (size_t r = 0; r < LANE_ROWS; r++) {
            for (size_t h = 0; h < 2; h++) {
                if (!whole) s[r][h] = masked(&mask, key + r, h, s[r][h], -INFINITY);
                most[h] = vmax(most[h], s[r][h]);
                vstore(scores + (key + r) * LANE_QUERIES + h * LANES, s[r][h]);
            }
        }
    }
    vf correction[2], offset[2], total[2] = {vset(0), vset(0)};
    for (size_t h = 0; h < 2; h++) {
        float *largest = scratch->largest + block * LANE_QUERIES + h * LANES;
        vf before = vload(largest), now = vmax(most[h], before);
        vstore(largest, now);
        offset[h] = (now == -INFINITY ? vset(0) : now) * factor;
        correction[h] = lane_exp2(vfma(before, vset(factor), -offset[h]));
    }
    for (size_t key = 0; key < rows; key += 2) {
        for (size_t h = 0; h < 2; h++) {
            const float *at = scores + key * LANE_QUERIES + h * LANES;
            vf even = lane_exp2(vfma(vload(at), vset(factor), -offset[h]));
            vf odd = lane_exp2(vfma(vload(at + LANE_QUERIES), vset(factor), -offset[h]));
            total[h] += even + odd;
            vstore(paired + key / 2 * LANE_QUERIES + h * LANES, gemm_pair(even, odd));
        }
    }
    for (size_t h = 0; h < 2; h++) {
        float *sum = scratch->sum + block * LANE_QUERIES + h * LANES;
        vstore(sum, vfma(vload(sum), correction[h], total[h]));
    }
    for (size_t d = 0; d < dim; d += LANE_ROWS) {
        vf out[LANE_ROWS][2];
        float *to = sums + d * LANE_QUERIES;
        for (size_t r = 0; r < LANE_ROWS; r++) {
            for (size_t h = 0; h < 2; h++) out[r][h] = vload(to + r * LANE_QUERIES + h * LANES) * correction[h];
        }
        lane_tile(rows / 2, scratch->paired_values + d, 1, dim, paired, LANE_QUERIES, out);
        for (size_t r = 0; r < LANE_ROWS; r++) {
            for (size_t h = 0; h < 2; h++) vstore(to + r * LANE_QUERIES + h * LANES, out[r][h]);
        }
    }
}

// Columns [dim, 32] times a factor each as `rows` rows of bf16, `stride` apart.
static void store_lanes(const float *columns, const float *factors, size_t rows, size_t dim, uint16_t *to,
                        size_t stride) {
    for (size_t half = 0; half < rows; half += LANES) {
        vf factor = vload(factors + half);
        for (size_t d = 0; d < dim; d += 2 * LANES) {
            vf low[MORU_LANES], high[MORU_LANES];
            for (size_t i = 0; i < LANES; i++) {
                low[i] = vload(columns + (d + i) * LANE_QUERIES + half) * factor;
                high[i] = vload(columns + (d + LANES + i) * LANE_QUERIES + half) * factor;
            }
            transpose(low);
            transpose(high);
            for (size_t r = 0; r < moru_min_size(LANES, rows - half); r++) {
                __m512bh row = _mm512_cvtne2ps_pbh((__m512)high[r], (__m512)low[r]);
                memcpy(to + (half + r) * stride + d, &row, sizeof row);
            }
        }
    }
}

// Rows [row, row + rows) of one head, at most LANE_BLOCKS blocks.
static void attend_rows(const moru_attention *args, const lane_scratch *scratch, size_t head, size_t row, size_t rows) {
    size_t dim = args->head_dim, kv_head = head / (args->heads / args->kv_heads), stride = args->kv_row_stride;
    size_t blocks = (rows + LANE_QUERIES - 1) / LANE_QUERIES, position = args->first_position + row;
    const uint16_t *k = (const uint16_t *)args->k_pages[0] + kv_head * dim;
    const uint16_t *v = (const uint16_t *)args->v_pages[0] + kv_head * dim;
    for (size_t b = 0; b < blocks; b++) {
        size_t at = row + b * LANE_QUERIES, some = moru_min_size(LANE_QUERIES, rows - b * LANE_QUERIES);
        lane_copy((const uint16_t *)args->q + at * args->q_row_stride + head * dim, args->q_row_stride, some,
                  LANE_QUERIES, dim, scratch->rows);
        lane_columns(scratch->rows, dim, scratch->queries + b * dim / 2 * LANE_QUERIES);
    }
    for (size_t i = 0; i < blocks * LANE_QUERIES; i++) scratch->largest[i] = -INFINITY;
    memset(scratch->sum, 0, blocks * LANE_QUERIES * sizeof(float));
    memset(scratch->sums, 0, blocks * LANE_QUERIES * dim * sizeof(float));
    size_t stop = end_visible(args, position + rows - 1);
    for (size_t first = first_visible(args, position) / LANE_KEYS * LANE_KEYS; first < stop; first += LANE_KEYS) {
        size_t count = moru_min_size(LANE_KEYS, stop - first), all = moru_round_up(count, LANE_ROWS);
        lane_copy(k + first * stride, stride, count, all, dim, scratch->keys);
        lane_copy(v + first * stride, stride, count, all, dim, scratch->values);
        lane_pairs(scratch->values, all, dim, scratch->paired_values);
        for (size_t b = 0; b < blocks; b++) {
            size_t from = position + b * LANE_QUERIES;
            size_t last = from + moru_min_size(LANE_QUERIES, rows - b * LANE_QUERIES) - 1;
            size_t end = end_visible(args, last);
            if (end <= first) continue;
            attend_lanes(args, scratch, b, from, first, moru_min_size(count, end - first));
        }
    }
    float *sum = scratch->sum;
    for (size_t r = 0; r < rows; r++) {
        if (args->log_sum_exp) {
            args->log_sum_exp[(row + r) * args->heads + head] = scratch->largest[r] * args->scale + logf(sum[r]);
        }
        // A row that sees no key attends to nothing: zeros.
        sum[r] = sum[r] > 0 || sum[r] != sum[r] ? 1 / sum[r] : 0;
    }
    for (size_t b = 0; b < blocks; b++) {
        size_t at = row + b * LANE_QUERIES, some = moru_min_size(LANE_QUERIES, rows - b * LANE_QUERIES);
        store_lanes(scratch->sums + b * dim * LANE_QUERIES, sum + b * LANE_QUERIES, some, dim,
                    (uint16_t *)args->out + at * args->out_row_stride + head * dim, args->out_row_stride);
    }
}

static void lane_attention(const moru_attention *args, size_t row_begin, size_t row_end, size_t head_begin,
                           size_t head_end, void *memory) {
    void *end;
    lane_scratch scratch = carve_lanes(args, memory, &end);
    size_t step = LANE_BLOCKS * LANE_QUERIES;
    for (size_t head = head_begin; head < head_end; head++) {
        for (size_t row = row_begin; row < row_end; row += step) {
            attend_rows(args, &scratch, head, row, moru_min_size(step, row_end - row));
        }
    }
}
