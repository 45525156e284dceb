// Scaled dot-product attention, scalar reference: two passes over the keys of each query row, one head at a time.
#include <math.h>

#include "blocks.h"
#include "table.h"

// `count` elements from `first` on, as f32.
static void read(moru_dtype type, const void *array, size_t first, size_t count, float *out) {
    for (size_t i = 0; i < count; i++) out[i] = moru_element(type, array, first + i);
}

static void write(moru_dtype type, void *array, size_t first, size_t count, const float *values) {
    for (size_t i = 0; i < count; i++) moru_set_element(type, array, first + i, values[i]);
}

// One token's keys or values of one head, as f32.
static void read_token(const moru_attention *args, const void *const *pages, size_t token, size_t kv_head, float *out) {
    size_t first = token % args->page_tokens * args->kv_row_stride + kv_head * args->head_dim;
    read(args->kv_type, pages[token / args->page_tokens], first, args->head_dim, out);
}

static bool is_visible(const moru_attention *args, size_t position, size_t key) {
    if (key < args->key_begin || (args->causal && key > position)) return false;
    return args->window == 0 || key > position || position - key < args->window;
}

static float dot(const float *a, const float *b, size_t count) {
    float sum = 0;
    for (size_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

static float capped(const moru_attention *args, float score) {
    return args->softcap > 0 ? args->softcap * tanhf(score / args->softcap) : score;
}

// The scores of one query row, and rows of one head: query, key or value, output.
size_t moru_scalar_attention_scratch_bytes(const moru_attention *args) {
    return (args->kv_count + 3 * args->head_dim) * sizeof(float);
}

void moru_scalar_attention(const moru_attention *args, size_t row_begin, size_t row_end, size_t head_begin,
                           size_t head_end, void *scratch) {
    size_t group = args->heads / args->kv_heads, dim = args->head_dim;
    float *scores = scratch, *q = scores + args->kv_count, *token = q + dim, *out = token + dim;
    for (size_t row = row_begin; row < row_end; row++) {
        size_t position = args->first_position + row;
        for (size_t head = head_begin; head < head_end; head++) {
            read(args->io_type, args->q, row * args->q_row_stride + head * dim, dim, q);
            float largest = -INFINITY, sum = 0;
            for (size_t j = 0; j < args->kv_count; j++) {
                scores[j] = -INFINITY;
                if (!is_visible(args, position, j)) continue;
                read_token(args, args->k_pages, j, head / group, token);
                scores[j] = capped(args, args->scale * dot(q, token, dim));
                largest = fmaxf(largest, scores[j]);
            }
            for (size_t i = 0; i < dim; i++) out[i] = 0;
            for (size_t j = 0; j < args->kv_count; j++) {
                if (!is_visible(args, position, j)) continue;
                float p = largest == -INFINITY ? 0 : expf(scores[j] - largest);
                read_token(args, args->v_pages, j, head / group, token);
                sum += p;
                for (size_t i = 0; i < dim; i++) out[i] += p * token[i];
            }
            // A row that sees no key attends to nothing: zeros.
            for (size_t i = 0; i < dim; i++) out[i] = sum > 0 || sum != sum ? out[i] / sum : 0;
            write(args->io_type, args->out, row * args->out_row_stride + head * dim, dim, out);
            if (args->log_sum_exp) args->log_sum_exp[row * args->heads + head] = largest + logf(sum);
        }
    }
}

void moru_attention_pieces(const moru_attention *args, size_t *begin, size_t *end) {
    size_t position = args->first_position;
    size_t low = args->window > 0 && position + 1 > args->window ? position + 1 - args->window : 0;
    size_t high = args->causal ? moru_min_size(args->kv_count, position + 1) : args->kv_count;
    low = moru_max_size(low, args->key_begin);
    *begin = low < high ? low / MORU_PIECE_KEYS : 0;
    *end = low < high ? (high + MORU_PIECE_KEYS - 1) / MORU_PIECE_KEYS : 0;
}

void moru_pieces_by(moru_attention_function *attention, const moru_attention *args, size_t begin, size_t end,
                    size_t head_begin, size_t head_end, float *out, float *log_sums, void *scratch) {
    for (size_t piece = begin; piece < end; piece++) {
        moru_attention one = *args;
        one.key_begin = moru_max_size(args->key_begin, piece * MORU_PIECE_KEYS);
        one.kv_count = moru_min_size(args->kv_count, (piece + 1) * MORU_PIECE_KEYS);
        one.out = out + (piece - begin) * args->heads * args->head_dim;
        one.log_sum_exp = log_sums + (piece - begin) * args->heads;
        attention(&one, 0, 1, head_begin, head_end, scratch);
    }
}

size_t moru_scalar_attention_pieces_scratch_bytes(const moru_attention *args) {
    return moru_scalar_attention_scratch_bytes(args);
}

void moru_scalar_attention_pieces(const moru_attention *args, size_t begin, size_t end, size_t head_begin,
                                  size_t head_end, float *out, float *log_sums, void *scratch) {
    moru_pieces_by(moru_scalar_attention, args, begin, end, head_begin, head_end, out, log_sums, scratch);
}

void moru_attention_join(const moru_attention *args, size_t count, const float *out, const float *log_sums,
                         size_t head_begin, size_t head_end) {
    size_t heads = args->heads, dim = args->head_dim;
    for (size_t head = head_begin; head < head_end; head++) {
        float *to = (float *)args->out + head * dim, largest = -INFINITY, total = 0;
        for (size_t p = 0; p < count; p++) largest = fmaxf(largest, log_sums[p * heads + head]);
        if (largest == -INFINITY) largest = 0;  // no piece saw a key
        for (size_t i = 0; i < dim; i++) to[i] = 0;
        for (size_t p = 0; p < count; p++) {
            const float *from = out + (p * heads + head) * dim;
            float weight = expf(log_sums[p * heads + head] - largest);
            total += weight;
            for (size_t i = 0; i < dim; i++) to[i] += weight * from[i];
        }
        float factor = total > 0 || total != total ? 1 / total : 0;
        for (size_t i = 0; i < dim; i++) to[i] *= factor;
    }
}

// Rows of one head: q, k, v, out and the gradients of out and q; and the gradients of every key, which are added up
// before they are stored.
size_t moru_scalar_attention_backward_scratch_bytes(const moru_attention *args) {
    return (6 + 2 * args->kv_count) * args->head_dim * sizeof(float);
}

// With P = softmax(S), S = scale * Q K^T and O = P V:
// dV = P^T dO, dS = P * (dO V^T - rowsum(dO * O)), dQ = scale * dS K, dK = scale * dS^T Q.
// Where S = c tanh(scale * Q K^T / c), dS is multiplied by the slope there, 1 - (S / c)^2.
void moru_scalar_attention_backward(const moru_attention *args, const moru_attention_gradient *gradient,
                                    size_t kv_head_begin, size_t kv_head_end, void *scratch) {
    size_t group = args->heads / args->kv_heads, dim = args->head_dim;
    float *q = scratch, *k = q + dim, *v = k + dim, *out = v + dim, *d_out = out + dim;
    float *d_k = d_out + dim, *d_v = d_k + args->kv_count * dim, *d_q = d_v + args->kv_count * dim;
    for (size_t kv_head = kv_head_begin; kv_head < kv_head_end; kv_head++) {
        for (size_t i = 0; i < 2 * args->kv_count * dim; i++) d_k[i] = 0;
        for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
            for (size_t row = 0; row < args->rows; row++) {
                size_t q_offset = row * args->q_row_stride + head * dim;
                size_t out_offset = row * args->out_row_stride + head * dim;
                read(args->io_type, args->q, q_offset, dim, q);
                read(args->io_type, args->out, out_offset, dim, out);
                read(args->io_type, gradient->d_out, out_offset, dim, d_out);
                float log_sum = args->log_sum_exp[row * args->heads + head];
                float projection = dot(d_out, out, dim);
                for (size_t i = 0; i < dim; i++) d_q[i] = 0;
                for (size_t j = 0; j < args->kv_count; j++) {
                    if (!is_visible(args, args->first_position + row, j)) continue;
                    read_token(args, args->k_pages, j, kv_head, k);
                    read_token(args, args->v_pages, j, kv_head, v);
                    float score = capped(args, args->scale * dot(q, k, dim));
                    float p = expf(score - log_sum);
                    float ds = args->scale * p * (dot(d_out, v, dim) - projection);
                    if (args->softcap > 0) ds *= 1 - score / args->softcap * (score / args->softcap);
                    for (size_t i = 0; i < dim; i++) {
                        d_q[i] += ds * k[i];
                        d_k[j * dim + i] += ds * q[i];
                        d_v[j * dim + i] += p * d_out[i];
                    }
                }
                write(args->io_type, gradient->d_q, q_offset, dim, d_q);
            }
        }
        for (size_t j = 0; j < args->kv_count; j++) {
            size_t offset = j * args->kv_row_stride + kv_head * dim;
            write(args->io_type, gradient->d_k, offset, dim, d_k + j * dim);
            write(args->io_type, gradient->d_v, offset, dim, d_v + j * dim);
        }
    }
}
