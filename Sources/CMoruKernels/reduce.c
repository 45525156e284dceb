// Reductions, scalar reference.
#include "blocks.h"
#include "table.h"

double moru_scalar_sum(const float *x, size_t begin, size_t end) {
    double sum = 0;
    for (size_t i = begin; i < end; i++) sum += (double)x[i];
    return sum;
}

double moru_scalar_sum_of_squares(const float *x, size_t begin, size_t end) {
    double sum = 0;
    for (size_t i = begin; i < end; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

bool moru_scalar_all_finite(const float *x, size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
        if ((moru_bits_from_float(x[i]) & 0x7f800000u) == 0x7f800000u) return false;
    }
    return true;
}

// NaNs are passed over; an empty range, or one of NaNs alone, gives `begin`.
size_t moru_scalar_argmax(const float *x, size_t begin, size_t end) {
    size_t best = begin;
    for (size_t i = begin; i < end; i++) {
        if (x[i] > x[best] || (x[best] != x[best] && x[i] == x[i])) best = i;
    }
    return best;
}
