// Quantised weights packed for products: panels of 16 rows side by side, so that one 64-byte vector holds 4 consecutive
// elements of k (a step) for each of the 16, and a sum over k needs no addition across lanes.
//
// A panel is the levels of all its k, in blocks of 32 elements, then all its scales. Levels of one block, by bits:
//
//   4  256 bytes   vector i (of 4): step i in the low halves of its bytes, step i + 4 in the high halves
//   2  128 bytes   vector i (of 2): steps i, i + 2, i + 4, i + 6 in bits 0-1, 2-3, 4-5, 6-7
//   1   64 bytes   8 bytes a step: bit b belongs to byte b of the step's vector
//   8  512 bytes   one vector a step, 128 added to the element
//
// Five-bit formats hold 4 and 1 bits, three-bit ones 2 and 1, six-bit ones 4 and 2, in this order. Scales of one block
// of the format: d of 16 rows, then (where the format has them) m or dmin of 16 rows, as f16; in the K family then for
// each sub-block the scales of 16 rows, in Q4_K and Q5_K followed by the sub-block's minima of 16 rows, a byte each.
// Rows beyond n are zero.
#ifndef MORU_PACKED_H
#define MORU_PACKED_H

#include "blocks.h"

#define PANEL ((size_t)MORU_PANEL)

// What tells the arithmetic of one format from another's: x = scale * (level - offset) - or, with minima,
// scale * level + minimum - where a scale holds for 16 or 32 elements.
typedef struct {
    int low_bits;     // 2, 4 or 8: the first part of a level
    int high_bits;    // 0, 1 or 2: the second part
    int offset;       // a power of two, or 0
    bool minima;      // instead of an offset
    bool sixteenths;  // a scale for 16 elements
} packed_format;

static inline packed_format packed_format_of(moru_dtype type) {
    switch (type) {
    case MORU_Q4_0: return (packed_format){4, 0, 8, false, false};
    case MORU_Q4_1:
    case MORU_Q4_K: return (packed_format){4, 0, 0, true, false};
    case MORU_Q5_0: return (packed_format){4, 1, 16, false, false};
    case MORU_Q5_1:
    case MORU_Q5_K: return (packed_format){4, 1, 0, true, false};
    case MORU_Q8_0: return (packed_format){8, 0, 128, false, false};
    case MORU_Q2_K: return (packed_format){2, 0, 0, true, true};
    case MORU_Q3_K: return (packed_format){2, 1, 4, false, true};
    case MORU_Q6_K: return (packed_format){4, 2, 32, false, true};
    default: return (packed_format){0};
    }
}

// Bytes of the levels of 32 elements of a panel.
static inline size_t packed_level_bytes(moru_dtype type) {
    packed_format format = packed_format_of(type);
    return (size_t)(format.low_bits + format.high_bits) * 64;
}

// Bytes of the scales of one block of the format (32 or 256 elements) of a panel.
static inline size_t packed_scale_bytes(moru_dtype type) {
    switch (type) {
    case MORU_Q4_1:
    case MORU_Q5_1: return 2 * 32;
    case MORU_Q2_K:
    case MORU_Q4_K:
    case MORU_Q5_K: return 2 * 32 + 16 * 16;
    case MORU_Q3_K:
    case MORU_Q6_K: return 32 + 16 * 16;
    default: return 32;
    }
}

static inline size_t packed_levels_of_panel(moru_dtype type, size_t k) { return k / 32 * packed_level_bytes(type); }

static inline size_t packed_panel_bytes(moru_dtype type, size_t k) {
    size_t scales = k / moru_block_elements(type) * packed_scale_bytes(type);
    return moru_round_up(packed_levels_of_panel(type, k) + scales, 64);
}

// A row of activations rounded to int8 in blocks of 32: x = scale * q, or where rows are rounded closely
// x = scale * q + shift, with which the integers reach from the least to the largest of a block. The integers come
// first, with room up to whole vectors, then for each block the scale, the shift, the sum of the block as rounded, the
// sum of its integers, and the sums of its two halves. Every part but the first is padded to whole vectors of 16 blocks,
// and vectors may be read up to two beyond the last.
typedef struct {
    const int8_t *q;
    const float *scale, *shift, *scaled_sum;
    const int32_t *sum, *half_sums;
} rounded_row;

static inline size_t rounded_padded_blocks(size_t k) { return moru_round_up(k / 32, 16); }

static inline rounded_row rounded_row_at(const void *memory, size_t k) {
    size_t blocks = rounded_padded_blocks(k);
    rounded_row row = {.q = memory};
    row.scale = (const float *)(const void *)(row.q + moru_round_up(k, 64));
    row.shift = row.scale + blocks;
    row.scaled_sum = row.shift + blocks;
    row.sum = (const int32_t *)(const void *)(row.scaled_sum + blocks);
    row.half_sums = row.sum + blocks;
    return row;
}

#endif
