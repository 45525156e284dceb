// Attention in blocks of keys with a running softmax (Milakov and Gimelshein, 2018; Dao et al., 2022). A block of keys
// is transposed once and serves all the query rows, and all the heads, that share it. Blocks start at multiples of
// KEYS, so the answer for a row does not depend on which other rows are computed with it.
//
// The including file defines ATTENTION_NAME(f) and what attention_operands.h needs.

#define KEYS ((size_t)64)
#define QUERIES ((size_t)(ATTENTION_BF16 ? 48 : 32))

#include "attention_operands.h"
#include "attention_visible.h"

typedef struct {
    float *transposed;  // [units of dim, KEYS]
    float *keys;        // [KEYS, dim]: those that are not where they can be read
    float *values;      // likewise
    float *paired;      // [units of KEYS, dim]: the values
    float *queries;     // [QUERIES, heads of a group, dim]: those that are not where they can be read
    float *sums;        // likewise, the output before its division
    float *scores;      // [QUERIES or the heads of a group, KEYS]
    float *largest, *sum;
} attention_scratch;

INLINE attention_scratch carve_attention(const moru_attention *args, void *memory) {
    size_t group = args->heads / args->kv_heads, dim = moru_round_up(args->head_dim, 16);
    attention_scratch parts;
    parts.transposed = (float *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    parts.keys = parts.transposed + KEYS * dim;
    parts.values = parts.keys + KEYS * dim;
    parts.paired = parts.values + KEYS * dim;
    parts.queries = parts.paired + KEYS * dim;
    parts.sums = parts.queries + QUERIES * group * dim;
    parts.scores = parts.sums + QUERIES * group * dim;
    parts.largest = parts.scores + moru_max_size(QUERIES, group) * KEYS;
    parts.sum = parts.largest + QUERIES * group;
    return parts;
}

size_t ATTENTION_NAME(attention_scratch_bytes)(const moru_attention *args) {
    attention_scratch parts = carve_attention(args, NULL);
    return (size_t)(uintptr_t)(parts.sum + QUERIES * (args->heads / args->kv_heads)) + 64;
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

// A block of keys and values in the forms that the products want.
typedef struct {
    size_t first, count;
    const float *keys_t;
    operand values;
} key_block;

// `lines` rows of queries against one block of keys: either rows of one head (positions count up), or heads of one row.
static void attend(const moru_attention *args, const key_block *block, size_t lines, operand q, float *scores,
                   float *out, size_t out_stride, size_t position, size_t position_step, float *largest, float *sum) {
    size_t dim = args->head_dim;
    product scored = {.columns = moru_round_up(block->count, LANES), .depth = UNITS(dim), .a = q.units,
                      .a_row = q.stride, .a_column = 1, .b = block->keys_t, .b_row = KEYS, .c = scores, .c_row = KEYS};
    multiply_small(lines, &scored);
    for (size_t r = 0; r < lines; r++) {
        float correction = softmax_step(args, scores + r * KEYS, block->first, block->count,
                                        position + r * position_step, largest + r, sum + r);
        if (correction != 1) MORU_NAME(scale)(out + r * out_stride, correction, out + r * out_stride, 0, dim);
    }
    narrow_scores(scores, lines);
    product outputs = {.columns = dim, .depth = UNITS(block->count), .a = scores, .a_row = KEYS, .a_column = 1,
                       .b = block->values.units, .b_row = block->values.stride, .c = out, .c_row = out_stride,
                       .accumulate = true};
    multiply_small(lines, &outputs);
}

void ATTENTION_NAME(attention)(const moru_attention *args, size_t row_begin, size_t row_end, size_t head_begin,
                               size_t head_end, void *memory) {
    size_t group = args->heads / args->kv_heads, dim = args->head_dim, q_stride = args->q_row_stride;
    attention_scratch scratch = carve_attention(args, memory);
    for (size_t head = head_begin; head < head_end;) {
        size_t kv_head = head / group, heads = moru_min_size(head_end, (kv_head + 1) * group) - head;
        size_t width = heads * dim;
        for (size_t row = row_begin; row < row_end; row += QUERIES) {
            size_t rows = moru_min_size(QUERIES, row_end - row), position = args->first_position + row;
            for (size_t i = 0; i < rows * heads; i++) {
                scratch.largest[i] = -INFINITY;
                scratch.sum[i] = 0;
            }
            // One row is taken as a row of each head.
            size_t lines = rows == 1 ? heads : rows, calls = rows == 1 ? 1 : heads;
            memset(scratch.sums, 0, rows * width * sizeof(float));
            size_t stop = end_visible(args, position + rows - 1);
            for (size_t first = first_visible(args, position) / KEYS * KEYS; first < stop; first += KEYS) {
                key_block block = {.first = first, .count = moru_min_size(KEYS, stop - first),
                                   .keys_t = scratch.transposed};
                // Many rows take long enough for the next keys to come by themselves
                size_t next = rows == 1 && first + KEYS < stop ? moru_min_size(KEYS, stop - first - KEYS) : 0;
                if (next > 0) prefetch_keys(args, args->k_pages, first + KEYS, next, kv_head);
                operand keys = key_operand(args, args->k_pages, first, block.count, kv_head, scratch.keys);
                operand values = key_operand(args, args->v_pages, first, block.count, kv_head, scratch.values);
                transpose_rows(keys, block.count, UNITS(dim), scratch.transposed);
                if (next > 0) prefetch_keys(args, args->v_pages, first + KEYS, next, kv_head);
                block.values = paired_rows(values, block.count, dim, scratch.paired);
                for (size_t h = 0; h < calls; h++) {
                    operand q = row_operand(args->io_type, args->q, row * q_stride + (head + h) * dim,
                                            rows == 1 ? dim : q_stride, lines, dim,
                                            scratch.queries + h * QUERIES * dim);
                    attend(args, &block, lines, q, scratch.scores, scratch.sums + h * dim, rows == 1 ? dim : width,
                           position, rows == 1 ? 0 : 1, scratch.largest + h * rows, scratch.sum + h * rows);
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
