// Attention of one row over cached keys and values, in pieces of keys. Memory bounds it: keys and values are read where
// they lie, in that order, each 16 tokens by all heads, and asked for ahead of their use. Heads that share keys share
// their loads.
//
// The including file defines what this declares under "Arithmetic", for the type of its queries.

#define ROW_AHEAD 3                 // groups of 16 tokens
#define ROW_LINES ((size_t)4)       // heads at a time

typedef struct {
    row_query *queries;  // [heads, dim]
    float *scores;       // [heads, MORU_PIECE_KEYS], then in their place the probabilities
    float *factors;      // [heads]: one over the sums of a piece
} row_scratch;

static row_scratch carve_row(const moru_attention *args, void *memory) {
    row_scratch parts;
    parts.queries = (row_query *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    parts.scores = (float *)(void *)(parts.queries + args->heads * args->head_dim);
    parts.factors = parts.scores + args->heads * MORU_PIECE_KEYS;
    return parts;
}

static size_t row_scratch_bytes(const moru_attention *args) {
    row_scratch parts = carve_row(args, NULL);
    return (size_t)(uintptr_t)(parts.factors + args->heads) + 64;
}

INLINE size_t row_bytes(const moru_dtype type, size_t elements) {
    return type == MORU_BF16 ? 2 * elements : elements / 32 * sizeof(moru_q8_0);
}

// Where the keys or values of tokens [16 g, 16 g + 16) lie; those that are not visible are replaced by the nearest that
// is.
typedef struct {
    const uint8_t *base;  // token 16 g
    size_t stride;        // in bytes
    size_t low, high;     // the visible ones
} token_group;

INLINE token_group group_at(const moru_attention *args, const moru_dtype type, const void *const *pages, size_t first,
                            size_t low, size_t high) {
    size_t stride = row_bytes(type, args->kv_row_stride);
    const uint8_t *page = pages[first / args->page_tokens];
    return (token_group){page + first % args->page_tokens * stride, stride, low > first ? low - first : 0,
                         moru_min_size(16, high - first)};
}

INLINE const uint8_t *group_row(const token_group *group, const bool whole, size_t i) {
    if (!whole) i = moru_min_size(moru_max_size(i, group->low), group->high - 1);
    return group->base + i * group->stride;
}

// Arithmetic

// Keeps a head's query as the scores want it.
static void put_query(const moru_dtype type, const float *query, size_t dim, row_query *out);

// The raw scores of `lines` heads that share keys, `column` bytes into a token's row: a group's 16, MORU_PIECE_KEYS
// between heads; -inf where a key is not visible.
INLINE void score_heads(const moru_dtype type, const int lines, const bool whole, const token_group *group,
                        size_t column, const row_query *queries, size_t dim, float *out);

// Probability i of a head, and those after it up to a vector.
INLINE void put_probabilities(float *scores, size_t i, vf p);

// Adds to the outputs of `lines` heads a group's values times the probabilities from `place` on. The sums of a head may
// lie in another order until `settle_sums`, which also multiplies them by a factor.
INLINE void add_group(const moru_dtype type, const int lines, const bool whole, const token_group *group,
                      size_t column, const float *scores, size_t place, float *out, size_t dim);
static void settle_sums(const moru_dtype type, float *out, size_t dim, float factor);

// The raw scores of heads [head_begin, head_end) against a group.
INLINE void score_group(const moru_attention *args, const moru_dtype type, const bool whole, const token_group *group,
                        size_t head_begin, size_t head_end, const row_scratch *scratch, size_t place) {
    size_t dim = args->head_dim, share = args->heads / args->kv_heads;
    for (size_t head = head_begin; head < head_end;) {
        size_t kv_head = head / share, column = row_bytes(type, kv_head * dim);
        size_t lines = moru_min_size(ROW_LINES, moru_min_size(head_end, (kv_head + 1) * share) - head);
        const row_query *queries = scratch->queries + head * dim;
        float *out = scratch->scores + head * MORU_PIECE_KEYS + place;
        switch (lines) {
        case 1: score_heads(type, 1, whole, group, column, queries, dim, out); break;
        case 2: score_heads(type, 2, whole, group, column, queries, dim, out); break;
        case 3: score_heads(type, 3, whole, group, column, queries, dim, out); break;
        default: score_heads(type, 4, whole, group, column, queries, dim, out); break;
        }
        head += lines;
    }
}

// Turns `count` raw scores of a head into probabilities, not yet divided by their sum.
INLINE void row_probabilities(const moru_attention *args, float *scores, size_t count, float *largest, float *sum) {
    vf s[MORU_PIECE_KEYS / MORU_LANES], most = vset(-INFINITY);
    for (size_t i = 0; i < count / LANES; i++) {
        vf raw = vload(scores + LANES * i), x = raw * args->scale;
        if (args->softcap > 0) x = args->softcap * vtanh(x / args->softcap);
        s[i] = raw == -INFINITY ? raw : x;  // what is invisible stays so
        most = vmax(most, s[i]);
    }
    float found = vlargest(most);
    *largest = found == -INFINITY ? 0 : found;  // then all are zeros, or NaN
    vf total = vset(0);
    for (size_t i = 0; i < count / LANES; i++) {
        vf p = vexp(s[i] - *largest);
        put_probabilities(scores, LANES * i, p);
        total += p;
    }
    *sum = vsum(total);
}

INLINE void value_group(const moru_attention *args, const moru_dtype type, const bool whole, const token_group *group,
                        size_t head_begin, size_t head_end, const row_scratch *scratch, size_t place, float *out) {
    size_t dim = args->head_dim, share = args->heads / args->kv_heads;
    for (size_t head = head_begin; head < head_end;) {
        size_t kv_head = head / share, column = row_bytes(type, kv_head * dim);
        size_t lines = moru_min_size(ROW_LINES, moru_min_size(head_end, (kv_head + 1) * share) - head);
        const float *scores = scratch->scores + head * MORU_PIECE_KEYS;
        float *sums = out + head * dim;
        switch (lines) {
        case 1: add_group(type, 1, whole, group, column, scores, place, sums, dim); break;
        case 2: add_group(type, 2, whole, group, column, scores, place, sums, dim); break;
        case 3: add_group(type, 3, whole, group, column, scores, place, sums, dim); break;
        default: add_group(type, 4, whole, group, column, scores, place, sums, dim); break;
        }
        head += lines;
    }
}

// The order in which groups are read: the keys of a piece, its values, the keys of the next piece.
typedef struct {
    size_t piece, first;
    bool values;
} row_cursor;

typedef struct {
    size_t low, high;              // the visible keys
    size_t piece_end;
    size_t stride, offset, bytes;  // bytes between tokens' rows, and of the heads' columns in such a row
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
    size_t stride = plan->stride, stop = piece_stop(plan, cursor->piece);
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

// Pieces [begin, end) of a row over keys and values of a type (a constant in every call).
INLINE void row_pieces_of(const moru_dtype type, const moru_attention *args, size_t begin, size_t end,
                          size_t head_begin, size_t head_end, float *out, float *log_sums, void *memory) {
    size_t dim = args->head_dim, share = args->heads / args->kv_heads, heads = args->heads;
    row_scratch scratch = carve_row(args, memory);
    size_t kv_begin = head_begin / share, kv_end = (head_end + share - 1) / share;
    row_plan plan = {.low = first_visible(args, args->first_position), .high = end_visible(args, args->first_position),
                     .piece_end = end, .stride = row_bytes(type, args->kv_row_stride),
                     .offset = row_bytes(type, kv_begin * dim), .bytes = row_bytes(type, (kv_end - kv_begin) * dim)};
    row_cursor cursor = {.piece = begin, .first = piece_first(&plan, begin)};
    for (int i = 0; i < ROW_AHEAD; i++) prefetch_group(args, &plan, &cursor);
    for (size_t head = head_begin; head < head_end; head++) {
        put_query(type, (const float *)args->q + head * dim, dim, scratch.queries + head * dim);
    }
    for (size_t piece = begin; piece < end; piece++, out += heads * dim, log_sums += heads) {
        size_t first = piece_first(&plan, piece), stop = piece_stop(&plan, piece), place = 0;
        for (size_t i = first; i < stop; i += 16, place += 16) {
            prefetch_group(args, &plan, &cursor);
            token_group group = group_at(args, type, args->k_pages, i, plan.low, stop);
            if (group.low == 0 && group.high == 16) {
                score_group(args, type, true, &group, head_begin, head_end, &scratch, place);
            } else {
                score_group(args, type, false, &group, head_begin, head_end, &scratch, place);
            }
        }
        for (size_t head = head_begin; head < head_end; head++) {
            float largest, sum;
            row_probabilities(args, scratch.scores + head * MORU_PIECE_KEYS, place, &largest, &sum);
            log_sums[head] = largest + logf(sum);
            scratch.factors[head] = sum > 0 || sum != sum ? 1 / sum : 0;
        }
        memset(out + head_begin * dim, 0, (head_end - head_begin) * dim * sizeof *out);
        place = 0;
        for (size_t i = first; i < stop; i += 16, place += 16) {
            prefetch_group(args, &plan, &cursor);
            token_group group = group_at(args, type, args->v_pages, i, plan.low, stop);
            if (group.low == 0 && group.high == 16) {
                value_group(args, type, true, &group, head_begin, head_end, &scratch, place, out);
            } else {
                value_group(args, type, false, &group, head_begin, head_end, &scratch, place, out);
            }
        }
        for (size_t head = head_begin; head < head_end; head++) {
            settle_sums(type, out + head * dim, dim, scratch.factors[head]);
        }
    }
}
