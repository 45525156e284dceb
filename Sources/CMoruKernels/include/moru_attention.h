// The arguments of attention. Conventions: see moru_kernels.h.
#ifndef MORU_ATTENTION_H
#define MORU_ATTENTION_H

#include "moru_types.h"

#ifdef __cplusplus
extern "C" {
#endif

// Scaled dot-product attention for the rows of one sequence, its keys and values in pages.
typedef struct {
    size_t rows;             // query rows
    size_t first_position;   // absolute position of query row 0
    size_t kv_count;         // keys present: positions 0 ..< kv_count
    size_t key_begin;        // those before this one are not seen
    size_t heads, kv_heads, head_dim;
    const void *q;           // [rows, heads, head_dim], io_type
    size_t q_row_stride;
    const void *const *k_pages;  // each page [page_tokens, kv_heads, head_dim], kv_type, kv_row_stride between tokens
    const void *const *v_pages;
    size_t page_tokens;
    size_t kv_row_stride;    // in elements
    bool causal;             // key j is visible to position p when j <= p
    size_t window;           // 0, or: only when p - j < window
    float scale;
    float softcap;           // 0, or: scores become softcap * tanh(score / softcap)
    void *out;               // [rows, heads, head_dim], io_type
    size_t out_row_stride;
    float *log_sum_exp;      // [rows, heads] for the backward pass, or NULL
    bool allow_bf16;         // factors may be rounded to bf16 where that is faster; accumulation and softmax stay f32
    moru_dtype io_type;      // MORU_F32 or MORU_BF16
    moru_dtype kv_type;      // MORU_F32, MORU_BF16, or (forward only) MORU_Q8_0, whose blocks hold 32 elements of one head:
                             // head_dim and kv_row_stride are then multiples of 32
} moru_attention;

// Attention of a single row, all of f32, in pieces of keys, so that threads share one head's: each piece is a softmax of
// its own, and they are joined by their sums. Piece i has the keys from MORU_PIECE_KEYS * i on.
enum { MORU_PIECE_KEYS = 128 };

// The pieces that the row sees.
void moru_attention_pieces(const moru_attention *args, size_t *begin, size_t *end);
// Joins `count` pieces of heads [head_begin, head_end): out [count, heads, head_dim] and log_sums [count, heads] to
// args->out.
void moru_attention_join(const moru_attention *args, size_t count, const float *out, const float *log_sums,
                         size_t head_begin, size_t head_end);

typedef struct {
    size_t (*scratch_bytes)(const moru_attention *args);
    // Pieces [begin, end) of whole groups of heads that share keys, to out[end - begin, heads, head_dim] and their
    // logarithms of sums to log_sums[end - begin, heads].
    void (*pieces)(const moru_attention *args, size_t begin, size_t end, size_t head_begin, size_t head_end, float *out,
                   float *log_sums, void *scratch);
} moru_row_attention;

// The kernels for a level that this CPU can run.
const moru_row_attention *moru_row_attention_for(moru_cpu_level level);

// What attention_backward adds to moru_attention (which must have one page, and out/log_sum_exp filled).
typedef struct {
    const void *d_out;  // like out
    void *d_q;          // like q, overwritten
    void *d_k;          // like a k page, but io_type; overwritten for keys 0 ..< kv_count
    void *d_v;
} moru_attention_gradient;

#ifdef __cplusplus
}
#endif

#endif
