// Products of bytes: activations as levels of 8 bits, weights as signed bytes, sums in 32 bits, and scales for each
// group of MORU_BYTE_GROUP elements along k.
//
// A rounded row is its levels, with zeros up to a multiple of 64, then for each group a step (f32), then for each group
// the level of zero (f32, a whole number): x = step * (level - zero).
//
// Packed weights are slivers of BYTE_COLUMNS outputs. A sliver is its groups, one after the other: levels by steps of 4
// elements along k ([steps][BYTE_COLUMNS][4], with zeros up to a whole step), then for each output the scale, then the
// scale times the sum of the group's levels (f32). Outputs beyond n are zero.
#ifndef MORU_BYTES_H
#define MORU_BYTES_H

#include "blocks.h"

#define BYTE_COLUMNS ((size_t)MORU_BYTE_COLUMNS)
#define BYTE_GROUP ((size_t)MORU_BYTE_GROUP)

static inline size_t byte_groups(size_t k) { return (k + BYTE_GROUP - 1) / BYTE_GROUP; }

// Elements of k, in whole steps.
static inline size_t byte_depth(size_t k) { return moru_round_up(k, 4); }

static inline size_t byte_levels_of_row(size_t k) { return moru_round_up(k, 64); }

// Bytes of one group of `depth` elements of a sliver.
static inline size_t byte_group_bytes(size_t depth) { return BYTE_COLUMNS * (depth + 2 * sizeof(float)); }

static inline size_t byte_sliver_bytes(size_t k) {
    return BYTE_COLUMNS * (byte_depth(k) + byte_groups(k) * 2 * sizeof(float));
}

static inline size_t byte_group_depth(size_t k, size_t group) {
    return moru_min_size(BYTE_GROUP, byte_depth(k) - group * BYTE_GROUP);
}

#endif
