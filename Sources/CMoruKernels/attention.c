// Scaled dot-product attention, scalar reference: two passes over the keys of each query row, one head at a time.
#include <math.h>

#include "blocks.h"
#include "table.h"

static const float *token_row(const moru_attention *args, const float *const *pages, size_t token, size_t kv_head) {
    return pages[token / args->page_tokens] + token % args->page_tokens * args->kv_row_stride +
           kv_head * args->head_dim;
}

static bool is_visible(const moru_attention *args, size_t position, size_t key) {
    if (args->causal && key > position) return false;
    return args->window == 0 || key > position || position - key < args->window;
}

static float dot(const float *a, const float *b, size_t count) {
    float sum = 0;
    for (size_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

// The scores of one query row: kv_count floats.
size_t moru_scalar_attention_scratch_bytes(const moru_attention *args) { return args->kv_count * sizeof(float); }

void moru_scalar_attention(const moru_attention *args, size_t row_begin, size_t row_end, size_t head_begin,
                           size_t head_end, void *scratch) {
    float *scores = scratch;
    size_t group = args->heads / args->kv_heads, dim = args->head_dim;
    for (size_t row = row_begin; row < row_end; row++) {
        size_t position = args->first_position + row;
        for (size_t head = head_begin; head < head_end; head++) {
            const float *q = args->q + row * args->q_row_stride + head * dim;
            float *out = args->out + row * args->out_row_stride + head * dim;
            float largest = -INFINITY, sum = 0;
            for (size_t j = 0; j < args->kv_count; j++) {
                scores[j] = -INFINITY;
                if (!is_visible(args, position, j)) continue;
                float score = args->scale * dot(q, token_row(args, args->k_pages, j, head / group), dim);
                if (args->softcap > 0) score = args->softcap * tanhf(score / args->softcap);
                scores[j] = score;
                largest = fmaxf(largest, score);
            }
            for (size_t i = 0; i < dim; i++) out[i] = 0;
            for (size_t j = 0; j < args->kv_count; j++) {
                if (!is_visible(args, position, j)) continue;
                float p = largest == -INFINITY ? 0 : expf(scores[j] - largest);
                const float *v = token_row(args, args->v_pages, j, head / group);
                sum += p;
                for (size_t i = 0; i < dim; i++) out[i] += p * v[i];
            }
            // A row that sees no key attends to nothing: zeros.
            for (size_t i = 0; i < dim; i++) out[i] = sum > 0 || sum != sum ? out[i] / sum : 0;
            if (args->log_sum_exp) args->log_sum_exp[row * args->heads + head] = largest + logf(sum);
        }
    }
}

size_t moru_scalar_attention_backward_scratch_bytes(const moru_attention *args) {
    (void)args;
    return 0;
}

// With P = softmax(S), S = scale * Q K^T and O = P V:
// dV = P^T dO, dS = P * (dO V^T - rowsum(dO * O)), dQ = scale * dS K, dK = scale * dS^T Q.
void moru_scalar_attention_backward(const moru_attention *args, const moru_attention_gradient *gradient,
                                    size_t kv_head_begin, size_t kv_head_end, void *scratch) {
    (void)scratch;
    size_t group = args->heads / args->kv_heads, dim = args->head_dim;
    for (size_t kv_head = kv_head_begin; kv_head < kv_head_end; kv_head++) {
        for (size_t j = 0; j < args->kv_count; j++) {
            size_t offset = j * args->kv_row_stride + kv_head * dim;
            for (size_t i = 0; i < dim; i++) gradient->d_k[offset + i] = gradient->d_v[offset + i] = 0;
        }
        for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
            for (size_t row = 0; row < args->rows; row++) {
                size_t q_offset = row * args->q_row_stride + head * dim;
                size_t out_offset = row * args->out_row_stride + head * dim;
                const float *q = args->q + q_offset, *d_out = gradient->d_out + out_offset;
                float *d_q = gradient->d_q + q_offset;
                float log_sum = args->log_sum_exp[row * args->heads + head];
                float projection = dot(d_out, args->out + out_offset, dim);
                for (size_t i = 0; i < dim; i++) d_q[i] = 0;
                for (size_t j = 0; j < args->kv_count; j++) {
                    if (!is_visible(args, args->first_position + row, j)) continue;
                    size_t offset = j * args->kv_row_stride + kv_head * dim;
                    const float *k = args->k_pages[0] + offset, *v = args->v_pages[0] + offset;
                    float p = expf(args->scale * dot(q, k, dim) - log_sum);
                    float ds = args->scale * p * (dot(d_out, v, dim) - projection);
                    for (size_t i = 0; i < dim; i++) {
                        d_q[i] += ds * k[i];
                        gradient->d_k[offset + i] += ds * q[i];
                        gradient->d_v[offset + i] += p * d_out[i];
                    }
                }
            }
        }
    }
}
