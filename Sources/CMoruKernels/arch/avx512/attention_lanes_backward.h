// The gradient of attention with queries across the lanes, one head at a time; formulas: see the scalar reference.

// What is kept of keys and queries grows with a sequence: longer ones take the other way.
#define LANE_GRADIENT_ELEMENTS ((size_t)1 << 18)

static bool has_gradient_in_lanes(const moru_attention *args) {
    return is_in_lanes(args) && moru_max_size(args->rows, args->kv_count) * args->head_dim <= LANE_GRADIENT_ELEMENTS;
}

typedef struct {
    float *rows;                         // [32, units of dim]
    float *keys, *values;                // [keys, units of dim]
    float *paired_keys;                  // [units of keys, dim]
    float *d_keys, *d_values;            // [keys, dim], sums
    float *queries, *d_out;              // blocks of [units of dim, 32]
    float *paired_queries, *paired_d_out;  // [units of rows, dim]
    float *d_queries;                    // [rows, dim], sums
    float *log_sums, *projections;       // [rows]: logarithms of sums to base 2; rowsum(dO * O)
    float *scores;                       // [KEYS, 32]: probabilities
    float *narrow_scores, *narrow_d_scores;  // [KEYS, 16]: as pairs of queries
    float *paired_d_scores;              // [units of KEYS, 32]: as pairs of keys
} lane_gradient;

static lane_gradient carve_lane_gradient(const moru_attention *args, void *memory, void **end) {
    size_t dim = args->head_dim, units = dim / 2;
    size_t keys = moru_round_up(args->kv_count, LANE_ROWS), rows = moru_round_up(args->rows, LANE_QUERIES);
    lane_gradient parts;
    float *next = (float *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    parts.rows = next, next += LANE_QUERIES * units;
    parts.keys = next, next += keys * units;
    parts.values = next, next += keys * units;
    parts.paired_keys = next, next += keys * units;
    parts.d_keys = next, next += keys * dim;
    parts.d_values = next, next += keys * dim;
    parts.queries = next, next += rows * units;
    parts.d_out = next, next += rows * units;
    parts.paired_queries = next, next += rows * units;
    parts.paired_d_out = next, next += rows * units;
    parts.d_queries = next, next += rows * dim;
    parts.log_sums = next, next += rows;
    parts.projections = next, next += rows;
    parts.scores = next, next += LANE_KEYS * LANE_QUERIES;
    parts.narrow_scores = next, next += LANE_KEYS * LANE_QUERIES / 2;
    parts.narrow_d_scores = next, next += LANE_KEYS * LANE_QUERIES / 2;
    parts.paired_d_scores = next, next += LANE_KEYS * LANE_QUERIES / 2;
    *end = next;
    return parts;
}

static size_t lane_gradient_scratch_bytes(const moru_attention *args) {
    void *end;
    carve_lane_gradient(args, NULL, &end);
    return (size_t)(uintptr_t)end + 64;
}

// 32 elements of two vectors as bf16, in order.
INLINE void store_narrow(float *to, vf low, vf high) {
    __m512bh row = _mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
    memcpy(to, &row, sizeof row);
}

// The forms of one head's queries and of the gradient of its output.
static void prepare_queries(const moru_attention *args, const void *d_out, const lane_gradient *parts, size_t head) {
    size_t dim = args->head_dim, units = dim / 2;
    for (size_t row = 0; row < args->rows; row += LANE_QUERIES) {
        size_t some = moru_min_size(LANE_QUERIES, args->rows - row), stride = args->out_row_stride;
        const uint16_t *q = (const uint16_t *)args->q + row * args->q_row_stride + head * dim;
        const uint16_t *d = (const uint16_t *)d_out + row * stride + head * dim;
        const uint16_t *out = (const uint16_t *)args->out + row * stride + head * dim;
        lane_copy(q, args->q_row_stride, some, LANE_QUERIES, dim, parts->rows);
        lane_columns(parts->rows, dim, parts->queries + row * units);
        lane_pairs(parts->rows, LANE_QUERIES, dim, parts->paired_queries + row * units);
        lane_copy(d, stride, some, LANE_QUERIES, dim, parts->rows);
        lane_columns(parts->rows, dim, parts->d_out + row * units);
        lane_pairs(parts->rows, LANE_QUERIES, dim, parts->paired_d_out + row * units);
        for (size_t half = 0; half < LANE_QUERIES; half += LANES) {
            vf sums[MORU_LANES];
            for (size_t r = 0; r < LANES; r++) {
                sums[r] = vset(0);
                for (size_t i = 0; half + r < some && i < dim; i += 2 * LANES) {
                    vf left, right;
                    memcpy(&left, d + (half + r) * stride + i, sizeof left);
                    memcpy(&right, out + (half + r) * stride + i, sizeof right);
                    sums[r] = lane_step(left, right, sums[r]);
                }
            }
            transpose(sums);
            for (size_t i = 1; i < LANES; i++) sums[0] += sums[i];
            vstore(parts->projections + row + half, sums[0]);
        }
        for (size_t r = 0; r < LANE_QUERIES; r++) {
            // A row that is none has no probabilities
            float sum = r < some ? args->log_sum_exp[(row + r) * args->heads + head] : INFINITY;
            parts->log_sums[row + r] = sum * 1.44269504088896341f;
        }
    }
}

// 32 queries from `row` on against the first `count` keys from `first` on.
static void gradient_of_lanes(const moru_attention *args, const lane_gradient *parts, size_t row, size_t first,
                              size_t count) {
    size_t dim = args->head_dim, units = dim / 2, keys = moru_round_up(count, LANE_ROWS);
    lane_mask mask = mask_lanes(args, args->first_position + row, first, count);
    float factor = args->scale * 1.44269504088896341f;
    vf log_sums[2] = {vload(parts->log_sums + row), vload(parts->log_sums + row + LANES)};
    vf projections[2] = {vload(parts->projections + row), vload(parts->projections + row + LANES)};
    for (size_t key = 0; key < keys; key += LANE_ROWS) {
        vf s[LANE_ROWS][2] = {0};
        lane_tile(units, parts->keys + (first + key) * units, units, 1, parts->queries + row * units, LANE_QUERIES, s);
        bool whole = key >= mask.all_from && key + LANE_ROWS <= mask.all_to;
        for (size_t r = 0; r < LANE_ROWS; r++) {
            float *to = parts->scores + (key + r) * LANE_QUERIES;
            for (size_t h = 0; h < 2; h++) {
                s[r][h] = lane_exp2(vfma(s[r][h], vset(factor), -log_sums[h]));
                if (!whole) s[r][h] = masked(&mask, key + r, h, s[r][h], 0);
                vstore(to + h * LANES, s[r][h]);
            }
            store_narrow(parts->narrow_scores + (key + r) * LANES, s[r][0], s[r][1]);
        }
    }
    for (size_t key = 0; key < keys; key += LANE_ROWS) {
        vf s[LANE_ROWS][2] = {0};
        lane_tile(units, parts->values + (first + key) * units, units, 1, parts->d_out + row * units, LANE_QUERIES, s);
        for (size_t r = 0; r < LANE_ROWS; r++) {
            const float *p = parts->scores + (key + r) * LANE_QUERIES;
            for (size_t h = 0; h < 2; h++) s[r][h] = args->scale * vload(p + h * LANES) * (s[r][h] - projections[h]);
            store_narrow(parts->narrow_d_scores + (key + r) * LANES, s[r][0], s[r][1]);
        }
        for (size_t r = 0; r < LANE_ROWS; r += 2) {
            float *to = parts->paired_d_scores + (key + r) / 2 * LANE_QUERIES;
            for (size_t h = 0; h < 2; h++) vstore(to + h * LANES, gemm_pair(s[r][h], s[r + 1][h]));
        }
    }
    lane_add(keys, dim, LANES, parts->narrow_scores, LANES, 1, parts->paired_d_out + row * units, dim,
             parts->d_values + first * dim, dim);
    lane_add(keys, dim, LANES, parts->narrow_d_scores, LANES, 1, parts->paired_queries + row * units, dim,
             parts->d_keys + first * dim, dim);
    lane_add(LANE_QUERIES, dim, keys / 2, parts->paired_d_scores, 1, LANE_QUERIES, parts->paired_keys + first * units,
             dim, parts->d_queries + row * dim, dim);
}

static void store_sums(const float *sums, size_t rows, size_t dim, void *array, size_t first, size_t stride) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < dim; i += 2 * LANES) {
            const float *from = sums + r * dim + i;
            __m512bh row = _mm512_cvtne2ps_pbh((__m512)vload(from + LANES), (__m512)vload(from));
            memcpy((uint16_t *)array + first + r * stride + i, &row, sizeof row);
        }
    }
}

static void lane_attention_backward(const moru_attention *args, const moru_attention_gradient *gradient,
                                    size_t kv_head_begin, size_t kv_head_end, void *memory) {
    size_t group = args->heads / args->kv_heads, dim = args->head_dim, stride = args->kv_row_stride;
    size_t count = args->kv_count, keys = moru_round_up(count, LANE_ROWS), position = args->first_position;
    void *end;
    lane_gradient parts = carve_lane_gradient(args, memory, &end);
    for (size_t kv_head = kv_head_begin; kv_head < kv_head_end; kv_head++) {
        lane_copy((const uint16_t *)args->k_pages[0] + kv_head * dim, stride, count, keys, dim, parts.keys);
        lane_copy((const uint16_t *)args->v_pages[0] + kv_head * dim, stride, count, keys, dim, parts.values);
        lane_pairs(parts.keys, keys, dim, parts.paired_keys);
        memset(parts.d_keys, 0, keys * dim * sizeof(float));
        memset(parts.d_values, 0, keys * dim * sizeof(float));
        for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
            prepare_queries(args, gradient->d_out, &parts, head);
            memset(parts.d_queries, 0, moru_round_up(args->rows, LANE_QUERIES) * dim * sizeof(float));
            for (size_t first = 0; first < count; first += LANE_KEYS) {
                // Blocks of rows that see some key of the block
                size_t begin = args->causal && first > position ? first - position : 0;
                for (size_t row = begin / LANE_QUERIES * LANE_QUERIES; row < args->rows; row += LANE_QUERIES) {
                    size_t last = moru_min_size(row + LANE_QUERIES, args->rows) - 1;
                    if (first + LANE_KEYS <= first_visible(args, position + row)) break;
                    size_t seen = end_visible(args, position + last);
                    if (seen <= first) continue;
                    gradient_of_lanes(args, &parts, row, first,
                                      moru_min_size(moru_min_size(LANE_KEYS, count - first), seen - first));
                }
            }
            store_sums(parts.d_queries, args->rows, dim, gradient->d_q, head * dim, args->q_row_stride);
        }
        store_sums(parts.d_keys, count, dim, gradient->d_k, kv_head * dim, stride);
        store_sums(parts.d_values, count, dim, gradient->d_v, kv_head * dim, stride);
    }
}
