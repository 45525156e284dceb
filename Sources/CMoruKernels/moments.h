// Moments of an optimizer in 8 bits, as "dynamic" quantisation (Dettmers et al., 2021): within a block of elements that
// share a scale, each power of ten has half as many levels as the one above, evenly spread. So large moments are exact to
// a fraction of a percent of the largest, and small ones are still told apart 6 or 7 orders of magnitude below.
//
// A code k of 2^d to 2^(d + 1) - 1 is the middle of the k - 2^d'th of 2^d equal parts of 10^(d - D - 1) ... 10^(d - D),
// where D is the largest d; 0 is 0. D is 7 without a sign; with a sign, which is the highest bit, it is 6. The scale is
// such that the largest magnitude of a block is the highest level, exactly.
#ifndef MORU_MOMENTS_H
#define MORU_MOMENTS_H

#include "moru_kernels.h"

// For each d: a level is slope * k + offset, and a magnitude x is in the part of the integer below x * rate + shift.
// Sixteen entries, so that a vector can be loaded.
typedef struct {
    int top;  // D
    float highest;
    float least;  // magnitudes below it are 0; none above 0 are where it is 0
    float bounds[16], slopes[16], offsets[16], rates[16], shifts[16];
} moru_levels;

// P: 10^(d - D), N: 2^d.
#define MORU_SLOPE(P, N) (float)(0.9 * (P) / (N))
#define MORU_OFFSET(P, N) (float)((P) * (0.45 / (N) - 0.8))
#define MORU_RATE(P, N) (float)((N) / (0.9 * (P)))
#define MORU_SHIFT(P, N) (float)((N) * 8 / 9.0)
#define MORU_EIGHT(F) F(1e-7, 1), F(1e-6, 2), F(1e-5, 4), F(1e-4, 8), F(1e-3, 16), F(1e-2, 32), F(1e-1, 64), F(1e0, 128)
#define MORU_SEVEN(F) F(1e-6, 1), F(1e-5, 2), F(1e-4, 4), F(1e-3, 8), F(1e-2, 16), F(1e-1, 32), F(1e0, 64)

static const moru_levels moru_unsigned_levels = {
    .top = 7, .highest = (float)(1 - 0.45 / 128), .least = 0,
    .bounds = {1e-7f, 1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f},
    .slopes = {MORU_EIGHT(MORU_SLOPE)}, .offsets = {MORU_EIGHT(MORU_OFFSET)},
    .rates = {MORU_EIGHT(MORU_RATE)}, .shifts = {MORU_EIGHT(MORU_SHIFT)},
};
static const moru_levels moru_signed_levels = {
    .top = 6, .highest = (float)(1 - 0.45 / 64), .least = 0.275e-6f,
    .bounds = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f},
    .slopes = {MORU_SEVEN(MORU_SLOPE)}, .offsets = {MORU_SEVEN(MORU_OFFSET)},
    .rates = {MORU_SEVEN(MORU_RATE)}, .shifts = {MORU_SEVEN(MORU_SHIFT)},
};

// The scale of a block whose largest magnitude is given, and what its elements are multiplied by before they are encoded.
// Magnitudes so small that they have no such factor count as 0.
typedef struct {
    float scale, inverse;
} moru_moment_scale;

static inline moru_moment_scale moru_scale_of(const moru_levels *levels, float largest) {
    if (!(largest > 1e-36f)) return (moru_moment_scale){0, 0};
    return (moru_moment_scale){largest / levels->highest, levels->highest / largest};
}

#endif
