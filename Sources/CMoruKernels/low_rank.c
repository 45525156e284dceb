// Low-rank updates of few rows, and the layout of their matrices; scalar reference.
//
// A matrix [rank, n] lies in panels of 32 columns: the 32 elements of every row of the matrix, one row after the other,
// then the next panel. So it is read from beginning to end, by whole cache lines, for sums over n as well as for sums
// over the rank. Columns beyond n are zero.
#include "blocks.h"
#include "table.h"

#define PANEL ((size_t)MORU_LOW_RANK_PANEL)

size_t moru_low_rank_bytes(moru_dtype type, size_t rank, size_t n) {
    return moru_round_up(n, PANEL) * rank * moru_block_bytes(type);
}

void moru_low_rank_pack(moru_dtype type, const float *w, size_t rank, size_t n, size_t rank_stride, size_t stride,
                        void *out) {
    size_t at = 0;
    for (size_t first = 0; first < n; first += PANEL) {
        for (size_t j = 0; j < rank; j++) {
            for (size_t i = first; i < first + PANEL; i++) {
                moru_set_element(type, out, at++, i < n ? w[j * rank_stride + i * stride] : 0);
            }
        }
    }
}

// Element (j, i) of a matrix in panels.
static float low_rank_element(const moru_low_rank *args, const void *w, size_t j, size_t i) {
    return moru_element(args->type, w, (i / PANEL * args->rank + j) * PANEL + i % PANEL);
}

void moru_scalar_low_rank_inner(const moru_low_rank *args, size_t begin, size_t end) {
    for (size_t r = 0; r < args->rows; r++) {
        const float *x = args->x + r * args->x_row_stride;
        for (size_t j = begin; j < end; j++) {
            float total = 0;
            for (size_t i = 0; i < args->k; i++) total += low_rank_element(args, args->a, j, i) * x[i];
            args->inner[r * args->rank + j] = total;
        }
    }
}

void moru_scalar_low_rank_outer(const moru_low_rank *args, size_t n_begin, size_t n_end) {
    for (size_t r = 0; r < args->rows; r++) {
        for (size_t n = n_begin; n < n_end; n++) {
            float total = 0;
            for (size_t j = 0; j < args->rank; j++) {
                total += low_rank_element(args, args->b, j, n) * args->inner[r * args->rank + j];
            }
            args->y[r * args->y_row_stride + n] += args->scale * total;
        }
    }
}
