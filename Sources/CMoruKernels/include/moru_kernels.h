// Compute kernels: pure C functions over a range. They allocate nothing, hold no global state and start no threads;
// the caller owns threads and scratch memory. Each instruction set fills one table of function pointers, and the table
// is chosen once, at start, from what the CPU reports. The scalar table is the reference for all the others.
//
// Conventions: matrices are row-major; sizes count elements unless the name says bytes; `begin`/`end` bound the part of
// the outermost dimension that this call computes, so that a caller may split it between threads.
#ifndef MORU_KERNELS_H
#define MORU_KERNELS_H

#include "moru_attention.h"
#include "moru_rows.h"
#include "moru_types.h"

#ifdef __cplusplus
extern "C" {
#endif

// C[m, n] = alpha * A[m, k] * op(B) + (accumulate ? C : 0), added up in f32.
typedef struct {
    size_t m, n, k;
    const void *a;                         // a_type
    size_t a_row_stride, a_column_stride;  // in elements; one of them is 1
    const void *b;
    moru_dtype b_type;
    size_t b_row_bytes;  // bytes between rows of B
    bool b_transposed;   // true: B is [n, k], a row an output (a weight, forward). false: B is [k, n]
    void *c;             // c_type
    size_t c_row_stride;
    float alpha;
    bool accumulate;
    bool allow_bf16;            // inputs may be rounded to bf16 where that is faster; accumulation stays f32
    moru_dtype a_type, c_type;  // MORU_F32 or MORU_BF16
    const void *packed_b;       // what gemm_pack made of B for the same n, k, B and allow_bf16, or NULL; B is then not read
} moru_gemm;

// y[r, n] = sum over k of x[r, k] * w[n, k], for few rows r and dense w: bound by reading w once.
typedef struct {
    size_t rows, n, k;
    const void *w;
    moru_dtype w_type;
    size_t w_row_bytes;
    const void *x;       // `rows` rows of f32, x_row_bytes apart
    size_t x_row_bytes;
    float *y;
    size_t y_row_stride;
} moru_matvec;

// One time step of an LSTM (Hochreiter and Schmidhuber, 1997; gates i, f, g, o) or a GRU (Cho et al., 2014; gates r, z,
// n) for several sequences, in PyTorch's equations.
typedef struct {
    size_t rows, hidden;
    const float *input;      // [rows, 4 or 3 gates, hidden]: the inputs' part of the gates' arguments
    const float *recurrent;  // likewise, the product with the output of the step before
    const float *bias;       // [4 or 3, hidden], belongs to the recurrent part
    const float *previous;   // [rows, hidden]: the cells (LSTM) or outputs (GRU) of the step before
    float *gates;            // [rows, 4, hidden], kept for the gradient: i, f, g, o, or r, z, n and the recurrent part of n
    float *cell;             // [rows, hidden], LSTM only
    float *output;           // [rows, hidden]
} moru_recurrent;

// Its gradient: from those of the outputs to those of the gates' arguments.
typedef struct {
    size_t rows, hidden;
    const float *gates, *cell, *previous;
    const float *d_output;     // [rows, hidden]: what reaches the outputs from above
    const float *d_recurrent;  // [rows, hidden]: what reaches them from the step after, through its gates
    float *carry;              // [rows, hidden]: what reaches the cells (LSTM) or outputs (GRU) from the step after
                               // directly; becomes the same for the step before
    float *d_input;            // [rows, 4 or 3, hidden]
    float *d_hidden;           // likewise for the recurrent part, where it differs (GRU only)
} moru_recurrent_gradient;

// Quantised weights packed into panels of 16 rows (packed.h), and activations rounded to int8 in blocks of 32, which are
// the same for every format. A result depends neither on the other rows of x nor on the other rows of w.
enum { MORU_PANEL = 16 };

// Whether a format can be packed (all block formats can); the bytes of n rows of k elements packed, 0 when it cannot.
bool moru_can_pack(moru_dtype type);
size_t moru_packed_bytes(moru_dtype type, size_t n, size_t k);
// Packs rows [n_begin, n_end) of w [n, k]; both are multiples of 16, or n. k is a whole number of blocks.
void moru_pack(moru_dtype type, const void *w, size_t w_row_bytes, size_t n, size_t k, void *out, size_t n_begin,
               size_t n_end);
// Bytes of one row of k activations, rounded.
size_t moru_rounded_bytes(size_t k);

// y[r, n] = sum over k of x[r, k] * w[n, k], plus what y holds where `accumulate` says so.
typedef struct {
    size_t rows, n, k;
    const void *w;  // packed, 64-byte aligned
    moru_dtype w_type;
    const void *x;  // `rows` rounded rows, x_row_bytes (a multiple of 64) apart, 64-byte aligned
    size_t x_row_bytes;
    float *y;
    size_t y_row_stride;
    bool accumulate;
    bool closely;  // whether the rows were rounded closely
    const void *next;  // what is read after these columns, and is asked for with the last of them: some bytes, or none
    size_t next_bytes;
} moru_packed_product;

// Products of bytes: activations rounded to 8 bits between the least and the largest of each group of a row, weights to
// signed bytes, also in groups along k. A result depends neither on the other rows of a nor on the other outputs of b.
enum { MORU_BYTE_GROUP = 128, MORU_BYTE_COLUMNS = 48 };

// Bytes of a rounded row of k activations, a multiple of 64; and of n outputs of k weights, packed.
size_t moru_byte_row_bytes(size_t k);
size_t moru_byte_packed_bytes(size_t n, size_t k);
// Packs outputs [n_begin, n_end) of w [n, k]; both are multiples of MORU_BYTE_COLUMNS, or n. scratch: k floats.
void moru_byte_pack(moru_dtype type, const void *w, size_t w_row_bytes, size_t n, size_t k, void *out, size_t n_begin,
                    size_t n_end, float *scratch);

// C [m, n] = or += A B^T.
typedef struct {
    size_t n, k;
    const void *a;  // rounded rows, one after the other, 64-byte aligned
    const void *b;  // packed, 64-byte aligned
    float *c;
    size_t c_row_stride;  // in elements
    bool accumulate;
} moru_byte_product;

typedef struct {
    bool is_fast;  // whether they are more than the reference, and faster than other products
    // Rounds rows [begin, end) of x, of f32 or bf16.
    void (*rows)(moru_dtype type, const void *x, size_t x_row_stride, size_t k, void *out, size_t begin, size_t end);
    // Computes rows [m_begin, m_end) by columns [n_begin, n_end) of C; n_begin is a multiple of MORU_BYTE_COLUMNS.
    void (*product)(const moru_byte_product *args, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end);
} moru_byte_kernels;

// The kernels for a level that this CPU can run.
const moru_byte_kernels *moru_byte_kernels_for(moru_cpu_level level);

typedef struct {
    float learning_rate, beta1, beta2, epsilon, weight_decay;
    float bias_correction1, bias_correction2;  // 1 - beta^step
    float gradient_scale;                      // applied to the gradient first (clipping)
} moru_adamw;

// Moments of as many elements in 8 bits (moments.h); zero bytes are zeros.
enum { MORU_MOMENT_BLOCK = 256 };
typedef struct {
    float scale;
    uint8_t codes[MORU_MOMENT_BLOCK];
} moru_moments;

typedef struct {
    float learning_rate, beta1, beta2, weight_decay, gradient_scale;
} moru_lion;

typedef struct {
    float learning_rate, momentum, weight_decay, gradient_scale;
    bool nesterov;
} moru_sgd;

// A matrix whose second moments are known by row and by column.
typedef struct {
    size_t columns;
    const float *row_variance;     // by row, divided by the mean of all rows
    const float *column_variance;  // by column
    float epsilon;                 // the least root of an element's second moment
    float gradient_scale;
} moru_adafactor;

// A low-rank update of a few rows: inner[r, j] = sum over i of a[j, i] * x[r, i], then
// y[r, n] += scale * sum over j of b[j, n] * inner[r, j]. a [rank, k] and b [rank, n] lie in panels (low_rank.c). A result
// depends neither on the other rows nor on the range that a call computes.
enum { MORU_LOW_RANK_PANEL = 32 };

typedef struct {
    size_t rows, rank, k, n;
    const void *a, *b;
    moru_dtype type;  // of a and b: MORU_F32 or MORU_BF16
    float scale;
    const float *x;
    size_t x_row_stride;
    float *inner;     // [rows, rank]
    float *y;
    size_t y_row_stride;
} moru_low_rank;

// Bytes of a matrix [rank, n] in panels of a type.
size_t moru_low_rank_bytes(moru_dtype type, size_t rank, size_t n);
// Puts a matrix into panels: its element (j, i) is w[j * rank_stride + i * stride].
void moru_low_rank_pack(moru_dtype type, const float *w, size_t rank, size_t n, size_t rank_stride, size_t stride,
                        void *out);

typedef struct {
    // Elements [begin, end) of the rank of all inner products.
    void (*inner)(const moru_low_rank *args, size_t begin, size_t end);
    // Columns [n_begin, n_end) of y; n_begin is a multiple of 32.
    void (*outer)(const moru_low_rank *args, size_t n_begin, size_t n_end);
} moru_low_rank_kernels;

// The updates at a level that this CPU can run.
const moru_low_rank_kernels *moru_low_rank_kernels_for(moru_cpu_level level);

typedef struct moru_kernels {
    moru_cpu_level level;
    const char *name;

    // Matrix products. gemm computes rows [m_begin, m_end) by columns [n_begin, n_end) of C.
    size_t (*gemm_scratch_bytes)(const moru_gemm *args);
    void (*gemm)(const moru_gemm *args, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, void *scratch);
    // B packed ahead, so that threads, or calls, share it: the bytes for all of B (0: this product takes none), and the
    // packing of columns [n_begin, n_end), with the scratch of gemm. There and in a gemm with packed_b, n_begin is a
    // multiple of 64. C does not depend on it.
    size_t (*gemm_packed_bytes)(const moru_gemm *args);
    void (*gemm_pack)(const moru_gemm *args, size_t n_begin, size_t n_end, void *packed, void *scratch);
    void (*matvec)(const moru_matvec *args, size_t n_begin, size_t n_end);

    // Products with packed weights: rounds elements [begin, end) of one row of k activations, both multiples of 32,
    // `closely` between the least and the largest of each block of 32; computes columns [n_begin, n_end) for all rows, of
    // which n_begin is a multiple of 16.
    void (*round_row)(const float *x, size_t k, bool closely, void *out, size_t begin, size_t end);
    void (*packed_product)(const moru_packed_product *args, size_t n_begin, size_t n_end);

    // Formats, f32 to and from any of them (bf16 too). `count` is a whole number of blocks.
    void (*dequantize)(moru_dtype type, const void *in, float *out, size_t count);
    void (*quantize)(moru_dtype type, const float *in, void *out, size_t count);
    // Rows of whole blocks with searched scales: slower and closer than `quantize`. `importance` says how much the error
    // of each column matters, or is NULL.
    void (*quantize_rows)(moru_dtype type, const float *in, const float *importance, void *out, size_t rows,
                          size_t columns);

    // Attention. forward: query rows [row_begin, row_end) of heads [head_begin, head_end).
    // backward: kv heads [kv_head_begin, kv_head_end) with their query heads, all rows.
    size_t (*attention_scratch_bytes)(const moru_attention *args);
    void (*attention)(const moru_attention *args, size_t row_begin, size_t row_end, size_t head_begin,
                      size_t head_end, void *scratch);
    size_t (*attention_backward_scratch_bytes)(const moru_attention *args);
    void (*attention_backward)(const moru_attention *args, const moru_attention_gradient *gradient,
                               size_t kv_head_begin, size_t kv_head_end, void *scratch);

    // Rows [begin, end) of [rows, dim]. inverse_rms, mean, inverse_deviation: [rows], kept for the backward pass or NULL.
    // Backward overwrites dx and adds to dw, db (the caller gives each thread its own), which may be NULL.
    void (*rms_norm)(const float *x, const float *w, float epsilon, float *y, float *inverse_rms, size_t dim,
                     size_t begin, size_t end);
    void (*rms_norm_backward)(const float *dy, const float *x, const float *w, const float *inverse_rms, float *dx,
                              float *dw, size_t dim, size_t begin, size_t end);
    void (*layer_norm)(const float *x, const float *w, const float *b, float epsilon, float *y, float *mean,
                       float *inverse_deviation, size_t dim, size_t begin, size_t end);
    void (*layer_norm_backward)(const float *dy, const float *x, const float *w, const float *mean,
                                const float *inverse_deviation, float *dx, float *dw, float *db, size_t dim,
                                size_t begin, size_t end);

    // Rotary embedding of rows [begin, end) of x [rows, heads, head_dim] into y (may be x). cosines, sines:
    // [rows, rotated / 2]. The first `rotated` elements of a head turn, pairs (i, i + rotated/2), or (2i, 2i+1) when
    // interleaved; the rest are copied. inverse turns the other way (the backward pass).
    void (*rope)(const float *x, const float *cosines, const float *sines, float *y, size_t heads, size_t head_dim,
                 size_t rotated, bool interleaved, bool inverse, size_t begin, size_t end);

    // The same fused, for activations in bf16 or f32: rows [begin, end).
    void (*add_rms_norm)(const moru_add_rms_norm *args, size_t begin, size_t end);
    void (*add_rms_norm_backward)(const moru_add_rms_norm_gradient *args, size_t begin, size_t end);
    void (*gated_rows)(const moru_gated *args, size_t begin, size_t end);
    void (*gated_rows_backward)(const moru_gated *args, size_t begin, size_t end);
    void (*rope_rows)(const moru_rope *args, size_t begin, size_t end);
    void (*biased_activation)(const moru_biased_activation *args, size_t begin, size_t end);
    void (*biased_layer_norm)(const moru_biased_layer_norm *args, size_t begin, size_t end);

    // Softmax family over rows [begin, end) of [rows, dim].
    void (*softmax)(const float *x, float *y, size_t dim, size_t begin, size_t end);
    void (*softmax_backward)(const float *dy, const float *y, float *dx, size_t dim, size_t begin, size_t end);
    // losses[row] = -log softmax(logits[row])[targets[row]]; d_logits (may be logits itself, or NULL) becomes
    // (softmax - onehot) * scale. A negative target gives loss 0 and gradient 0.
    void (*cross_entropy)(const float *logits, const int32_t *targets, float scale, float *losses, float *d_logits,
                          size_t dim, size_t begin, size_t end);

    // Elementwise over [begin, end).
    void (*add)(const float *a, const float *b, float *y, size_t begin, size_t end);
    void (*subtract)(const float *a, const float *b, float *y, size_t begin, size_t end);
    void (*multiply)(const float *a, const float *b, float *y, size_t begin, size_t end);
    void (*scale)(const float *x, float factor, float *y, size_t begin, size_t end);
    void (*add_scaled)(const float *x, float factor, float *y, size_t begin, size_t end);  // y += factor * x
    void (*softcap)(const float *x, float cap, float *y, size_t begin, size_t end);        // cap * tanh(x / cap)
    void (*softcap_backward)(const float *dy, const float *y, float cap, float *dx, size_t begin, size_t end);
    void (*silu)(const float *x, float *y, size_t begin, size_t end);
    void (*silu_backward)(const float *dy, const float *x, float *dx, size_t begin, size_t end);
    void (*gelu)(const float *x, float *y, bool tanh_form, size_t begin, size_t end);
    void (*gelu_backward)(const float *dy, const float *x, float *dx, bool tanh_form, size_t begin, size_t end);
    void (*relu)(const float *x, float *y, size_t begin, size_t end);
    void (*relu_backward)(const float *dy, const float *x, float *dx, size_t begin, size_t end);
    void (*tanh)(const float *x, float *y, size_t begin, size_t end);
    void (*tanh_backward)(const float *dy, const float *x, float *dx, size_t begin, size_t end);

    // One time step of a recurrent cell over hidden elements [begin, end), every row (`moru_recurrent`), and its gradient.
    void (*lstm)(const moru_recurrent *args, size_t begin, size_t end);
    void (*lstm_backward)(const moru_recurrent_gradient *args, size_t begin, size_t end);
    void (*gru)(const moru_recurrent *args, size_t begin, size_t end);
    void (*gru_backward)(const moru_recurrent_gradient *args, size_t begin, size_t end);

    // Reductions over [begin, end).
    double (*sum)(const float *x, size_t begin, size_t end);
    double (*sum_of_squares)(const float *x, size_t begin, size_t end);
    bool (*all_finite)(const float *x, size_t begin, size_t end);
    size_t (*argmax)(const float *x, size_t begin, size_t end);  // the first of equals

    // AdamW (Loshchilov and Hutter, 2019), all five arrays [.., end), updated in place.
    void (*adamw)(const moru_adamw *args, float *parameter, const float *gradient, float *moment1, float *moment2,
                  size_t begin, size_t end);
    // The same with moments in blocks, one after the other from element 0; `begin` must be the start of one.
    void (*adamw_8bit)(const moru_adamw *args, float *parameter, const float *gradient, moru_moments *moment1,
                       moru_moments *moment2, size_t begin, size_t end);
    // Lion (Chen et al., 2023), in place.
    void (*lion)(const moru_lion *args, float *parameter, const float *gradient, float *moment, size_t begin,
                 size_t end);
    // Gradient descent with momentum (moment may be NULL without one) and coupled weight decay, in place.
    void (*sgd)(const moru_sgd *args, float *parameter, const float *gradient, float *moment, size_t begin, size_t end);
    // y moves towards scale * x by a share: y += share * (scale * x - y).
    void (*lerp)(const float *x, float scale, float share, float *y, size_t begin, size_t end);

    // Adafactor (Shazeer and Stern, 2018), rows [begin, end) of a matrix. squares: row_sums[row] becomes the sum of the
    // row's squares of scale * gradient, column_sums[column] grows by those of these rows. norm: the sum of the squares
    // of the update, gradient / sqrt(second moment). step: parameter * decay - rate * update, in place.
    void (*adafactor_squares)(const float *gradient, float scale, float *row_sums, float *column_sums, size_t columns,
                              size_t begin, size_t end);
    double (*adafactor_norm)(const moru_adafactor *args, const float *gradient, size_t begin, size_t end);
    void (*adafactor_step)(const moru_adafactor *args, float *parameter, const float *gradient, float decay, float rate,
                           size_t begin, size_t end);
} moru_kernels;

// Tells the CPU that this thread is spinning.
static inline void moru_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Asks for bytes that are read soon, into the second-level cache.
static inline void moru_prefetch(const void *bytes, size_t count) {
    for (size_t i = 0; i < count; i += 64) __builtin_prefetch((const char *)bytes + i, 0, 2);
}

// The table for a level, or NULL when this build or this CPU cannot run it.
const moru_kernels *moru_kernels_for(moru_cpu_level level);

// Whether a level's products (bf16, packed weights, bytes) run and are right, tried in a child process, so that an
// instruction that faults does no harm. Takes about a millisecond; meant for levels that not every machine which reports
// them can run (AMX).
bool moru_cpu_level_works(moru_cpu_level level);

#ifdef __cplusplus
}
#endif

#endif
