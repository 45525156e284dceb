// Attention of one row over keys and values in bf16, in pieces of keys. Memory bounds it: keys and values are read in
// the order in which they lie, each 16 tokens by all heads, and asked for ahead of their use. A score is a product along
// a key's row; 16 of them are added up across lanes together.

#define ROW_AHEAD 3  // groups of 16 tokens

// Whether the row's keys are stored as the functions here want them.
static bool is_plain_row(const moru_attention *args) {
    return args->allow_bf16 && args->kv_type == MORU_BF16 && args->io_type == MORU_F32 && args->head_dim % 32 == 0 &&
           args->page_tokens % 16 == 0;
}

typedef struct {
    uint16_t *queries;  // [heads, dim]
    float *scores;      // [heads, MORU_PIECE_KEYS], then in their place the probabilities in bf16
} row_scratch;

static row_scratch carve_row(const moru_attention *args, void *memory) {
    row_scratch parts;
    parts.queries = (uint16_t *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    parts.scores = (float *)(void *)(parts.queries + args->heads * args->head_dim);
    return parts;
}

static size_t row_scratch_bytes(const moru_attention *args) {
    row_scratch parts = carve_row(args, NULL);
    return (size_t)(uintptr_t)(parts.scores + args->heads * MORU_PIECE_KEYS) + 64;
}

// Where the keys or values of tokens [16 g, 16 g + 16) lie; those that are not visible are replaced by the nearest that
// is.
typedef struct {
    const uint16_t *base;  // token 16 g
    size_t stride;
    size_t low, high;      // the visible ones
} token_group;

INLINE token_group group_at(const moru_attention *args, const void *const *pages, size_t first, size_t low, size_t high) {
    const uint16_t *page = pages[first / args->page_tokens];
    return (token_group){page + first % args->page_tokens * args->kv_row_stride, args->kv_row_stride,
                         low > first ? low - first : 0, moru_min_size(16, high - first)};
}

INLINE const uint16_t *group_row(const token_group *group, const bool whole, size_t i) {
    if (!whole) i = moru_min_size(moru_max_size(i, group->low), group->high - 1);
    return group->base + i * group->stride;
}

INLINE __m512 pairs_sum(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
}

INLINE __m512 fours_sum(__m512 a, __m512 b) {
    __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}

INLINE __m512 lanes_sum(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

// The products of `lines` queries, 32 `vectors` elements each and `dim` apart, with the 16 keys of a group, from `column`
// on.
INLINE void group_scores(const int lines, const size_t vectors, const bool whole, const token_group *group,
                         size_t column, const uint16_t *queries, size_t dim, __m512 scores[4]) {
    __m512 fours[4][4];
    const uint16_t *next = group->base + column;
    _Pragma("clang loop unroll(full)") for (size_t i = 0; i < 4; i++) {
        const uint16_t *keys[4];
        _Pragma("clang loop unroll(full)") for (size_t j = 0; j < 4; j++, next += group->stride) {
            keys[j] = whole ? next : group_row(group, false, 4 * i + j) + column;
        }
        __m512 sum[4][4];
        _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
            _Pragma("clang loop unroll(full)") for (int j = 0; j < 4; j++) sum[r][j] = _mm512_setzero_ps();
        }
        for (size_t v = 0; v < vectors; v++) {
            _Pragma("clang loop unroll(full)") for (int j = 0; j < 4; j++) {
                __m512bh key = (__m512bh)_mm512_loadu_si512(keys[j] + 32 * v);
                _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
                    __m512bh query = (__m512bh)_mm512_loadu_si512(queries + (size_t)r * dim + 32 * v);
                    sum[r][j] = _mm512_dpbf16_ps(sum[r][j], key, query);
                }
            }
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
            fours[r][i] = fours_sum(pairs_sum(sum[r][0], sum[r][1]), pairs_sum(sum[r][2], sum[r][3]));
        }
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
        scores[r] = lanes_sum(lanes_sum(fours[r][0], fours[r][1]), lanes_sum(fours[r][2], fours[r][3]));
    }
}

// The raw scores of `lines` heads that share keys.
INLINE void score_heads(const int lines, const bool whole, const token_group *group, size_t column,
                        const uint16_t *queries, size_t dim, float *out) {
    __m512 scores[4];
    if (dim == 64) group_scores(lines, 2, whole, group, column, queries, dim, scores);
    else group_scores(lines, dim / 32, whole, group, column, queries, dim, scores);
    __mmask16 visible = (__mmask16)((1u << group->high) - (1u << group->low));
    _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
        if (!whole) scores[r] = _mm512_mask_blend_ps(visible, _mm512_set1_ps(-INFINITY), scores[r]);
        _mm512_storeu_ps(out + (size_t)r * MORU_PIECE_KEYS, scores[r]);
    }
}

// The raw scores of heads [head_begin, head_end) against a group.
INLINE void score_group(const moru_attention *args, const bool whole, const token_group *group, size_t head_begin,
                        size_t head_end, const row_scratch *scratch, size_t place) {
    size_t dim = args->head_dim, share = args->heads / args->kv_heads;
    for (size_t head = head_begin; head < head_end;) {
        size_t kv_head = head / share, column = kv_head * dim;
        size_t lines = moru_min_size(4, moru_min_size(head_end, (kv_head + 1) * share) - head);
        const uint16_t *queries = scratch->queries + head * dim;
        float *out = scratch->scores + head * MORU_PIECE_KEYS + place;
        switch (lines) {
        case 1: score_heads(1, whole, group, column, queries, dim, out); break;
        case 2: score_heads(2, whole, group, column, queries, dim, out); break;
        case 3: score_heads(3, whole, group, column, queries, dim, out); break;
        default: score_heads(4, whole, group, column, queries, dim, out); break;
        }
        head += lines;
    }
}

// Turns `count` raw scores of a head into probabilities in bf16, not yet divided by their sum.
INLINE void row_probabilities(const moru_attention *args, float *scores, size_t count, float *largest, float *sum) {
    vf s[MORU_PIECE_KEYS / 16], most = vset(-INFINITY);
    for (size_t i = 0; i < count / 16; i++) {
        vf raw = vload(scores + 16 * i), x = raw * args->scale;
        if (args->softcap > 0) x = args->softcap * vtanh(x / args->softcap);
        s[i] = raw == -INFINITY ? raw : x;  // what is invisible stays so
        most = vmax(most, s[i]);
    }
    float found = vlargest(most);
    *largest = found == -INFINITY ? 0 : found;  // then all are zeros, or NaN
    vf total = vset(0);
    for (size_t i = 0; i < count / 16; i++) {
        vf p = vexp(s[i] - *largest);
        __m256bh narrow = _mm512_cvtneps_pbh((__m512)p);
        memcpy((uint16_t *)(void *)scores + 16 * i, &narrow, sizeof narrow);
        total += p;
    }
    *sum = vsum(total);
}

// Adds to `lines` heads' outputs, `dim` apart, 32 `halves` columns of a group's values times their probabilities. Within
// 32 columns the sums lie in the order of unpacking until `settle_sums`.
INLINE void add_values(const int lines, const int halves, const bool whole, const token_group *group, size_t column,
                       const float *scores, size_t place, float *out, size_t dim) {
    __m512 sum[4][4];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < 2 * halves; v++) {
            sum[r][v] = _mm512_loadu_ps(out + (size_t)r * dim + 16 * v);
        }
    }
    _Pragma("clang loop unroll(full)") for (size_t j = 0; j < 16; j += 2) {
        const uint16_t *even = group_row(group, whole, j) + column, *odd = group_row(group, whole, j + 1) + column;
        __m512bh pairs[4];
        _Pragma("clang loop unroll(full)") for (int h = 0; h < halves; h++) {
            __m512i a = _mm512_loadu_si512(even + 32 * h), b = _mm512_loadu_si512(odd + 32 * h);
            pairs[2 * h] = (__m512bh)_mm512_unpacklo_epi16(a, b);
            pairs[2 * h + 1] = (__m512bh)_mm512_unpackhi_epi16(a, b);
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
            const uint16_t *probabilities = (const uint16_t *)(const void *)(scores + (size_t)r * MORU_PIECE_KEYS);
            int32_t two;
            memcpy(&two, probabilities + place + j, sizeof two);
            __m512bh both = (__m512bh)_mm512_set1_epi32(two);
            _Pragma("clang loop unroll(full)") for (int v = 0; v < 2 * halves; v++) {
                sum[r][v] = _mm512_dpbf16_ps(sum[r][v], pairs[v], both);
            }
        }
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < 2 * halves; v++) {
            _mm512_storeu_ps(out + (size_t)r * dim + 16 * v, sum[r][v]);
        }
    }
}

// The same for up to four heads that share keys, and all their columns.
INLINE void add_group(const int lines, const bool whole, const token_group *group, size_t column, const float *scores,
                      size_t place, float *out, size_t dim) {
    size_t i = 0;
    for (; i + 64 <= dim; i += 64) add_values(lines, 2, whole, group, column + i, scores, place, out + i, dim);
    if (i < dim) add_values(lines, 1, whole, group, column + i, scores, place, out + i, dim);
}

INLINE void value_group(const moru_attention *args, const bool whole, const token_group *group, size_t head_begin,
                        size_t head_end, const row_scratch *scratch, size_t place, float *out) {
    size_t dim = args->head_dim, share = args->heads / args->kv_heads;
    for (size_t head = head_begin; head < head_end;) {
        size_t kv_head = head / share, column = kv_head * dim;
        size_t lines = moru_min_size(4, moru_min_size(head_end, (kv_head + 1) * share) - head);
        const float *scores = scratch->scores + head * MORU_PIECE_KEYS;
        float *sums = out + head * dim;
        switch (lines) {
        case 1: add_group(1, whole, group, column, scores, place, sums, dim); break;
        case 2: add_group(2, whole, group, column, scores, place, sums, dim); break;
        case 3: add_group(3, whole, group, column, scores, place, sums, dim); break;
        default: add_group(4, whole, group, column, scores, place, sums, dim); break;
        }
        head += lines;
    }
}

// A head's sums in their order, times a factor.
static void settle_sums(float *out, size_t dim, float factor) {
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    __m512 scale = _mm512_set1_ps(factor);
    for (size_t i = 0; i < dim; i += 32) {
        __m512 low = _mm512_loadu_ps(out + i), high = _mm512_loadu_ps(out + i + 16);
        _mm512_storeu_ps(out + i, _mm512_mul_ps(_mm512_permutex2var_ps(low, first, high), scale));
        _mm512_storeu_ps(out + i + 16, _mm512_mul_ps(_mm512_permutex2var_ps(low, second, high), scale));
    }
}

// The order in which groups are read: the keys of a piece, its values, the keys of the next piece.
typedef struct {
    size_t piece, first;
    bool values;
} row_cursor;

typedef struct {
    size_t low, high;     // the visible keys
    size_t piece_end;
    size_t offset, bytes; // of the heads' columns in a token's row
} row_plan;

INLINE size_t piece_first(const row_plan *plan, size_t piece) {
    return moru_max_size(piece * MORU_PIECE_KEYS, plan->low) / 16 * 16;
}

INLINE size_t piece_stop(const row_plan *plan, size_t piece) {
    return moru_min_size((piece + 1) * MORU_PIECE_KEYS, plan->high);
}

// Asks for the group that the cursor stands at, and moves it on.
static void prefetch_group(const moru_attention *args, const row_plan *plan, row_cursor *cursor) {
    if (cursor->piece >= plan->piece_end) return;
    const void *const *pages = cursor->values ? args->v_pages : args->k_pages;
    size_t stride = args->kv_row_stride * sizeof(uint16_t), stop = piece_stop(plan, cursor->piece);
    const char *row = (const char *)pages[cursor->first / args->page_tokens] +
                      cursor->first % args->page_tokens * stride + plan->offset;
    size_t count = moru_min_size(16, stop - cursor->first);
    if (plan->bytes == stride) {
        const char *end = row + count * stride;
        for (; row + 256 <= end; row += 256) {
            for (int i = 0; i < 256; i += 64) __builtin_prefetch(row + i);
        }
        for (; row < end; row += 64) __builtin_prefetch(row);
    } else {
        for (size_t i = 0; i < count; i++, row += stride) {
            for (size_t b = 0; b < plan->bytes; b += 64) __builtin_prefetch(row + b);
        }
    }
    cursor->first += 16;
    if (cursor->first < stop) return;
    cursor->piece += cursor->values;
    cursor->values = !cursor->values;
    cursor->first = piece_first(plan, cursor->piece);
}

static void row_pieces(const moru_attention *args, size_t begin, size_t end, size_t head_begin, size_t head_end,
                       float *out, float *log_sums, void *memory) {
    size_t dim = args->head_dim, share = args->heads / args->kv_heads, heads = args->heads;
    row_scratch scratch = carve_row(args, memory);
    size_t kv_begin = head_begin / share, kv_end = (head_end + share - 1) / share;
    row_plan plan = {.low = first_visible(args, args->first_position), .high = end_visible(args, args->first_position),
                     .piece_end = end, .offset = kv_begin * dim * 2, .bytes = (kv_end - kv_begin) * dim * 2};
    row_cursor cursor = {.piece = begin, .first = piece_first(&plan, begin)};
    for (int i = 0; i < ROW_AHEAD; i++) prefetch_group(args, &plan, &cursor);
    for (size_t head = head_begin; head < head_end; head++) {
        gemm_narrow((const float *)args->q + head * dim, dim, scratch.queries + head * dim);
    }
    for (size_t piece = begin; piece < end; piece++, out += heads * dim, log_sums += heads) {
        size_t first = piece_first(&plan, piece), stop = piece_stop(&plan, piece), place = 0;
        for (size_t i = first; i < stop; i += 16, place += 16) {
            prefetch_group(args, &plan, &cursor);
            token_group group = group_at(args, args->k_pages, i, plan.low, stop);
            if (group.low == 0 && group.high == 16) {
                score_group(args, true, &group, head_begin, head_end, &scratch, place);
            } else {
                score_group(args, false, &group, head_begin, head_end, &scratch, place);
            }
        }
        for (size_t head = head_begin; head < head_end; head++) {
            float largest, sum;
            row_probabilities(args, scratch.scores + head * MORU_PIECE_KEYS, place, &largest, &sum);
            log_sums[head] = largest + logf(sum);
            // The probabilities take half of the scores' place: its end keeps the factor
            scratch.scores[head * MORU_PIECE_KEYS + MORU_PIECE_KEYS - 1] = sum > 0 || sum != sum ? 1 / sum : 0;
        }
        memset(out + head_begin * dim, 0, (head_end - head_begin) * dim * sizeof *out);
        place = 0;
        for (size_t i = first; i < stop; i += 16, place += 16) {
            prefetch_group(args, &plan, &cursor);
            token_group group = group_at(args, args->v_pages, i, plan.low, stop);
            if (group.low == 0 && group.high == 16) {
                value_group(args, true, &group, head_begin, head_end, &scratch, place, out);
            } else {
                value_group(args, false, &group, head_begin, head_end, &scratch, place, out);
            }
        }
        for (size_t head = head_begin; head < head_end; head++) {
            settle_sums(out + head * dim, dim, scratch.scores[head * MORU_PIECE_KEYS + MORU_PIECE_KEYS - 1]);
        }
    }
}
