// Activations prepared for quantised weights: int8 with one f32 scale for 32 elements, laid out in units so that 64
// bytes of activations meet 64 bytes of unpacked weights, and a lane of 4 products has one weight scale and one
// activation scale. What a format subtracts from its levels (8 for Q4_0, ...) enters as the integer the lane's sum
// starts from; what it adds (a minimum) as a sum over the block.
//
//   NIBBLE (Q4_0, Q4_1, Q5_0, Q5_1)  unit 128: 4 blocks' elements 0-15, then their elements 16-31
//   BYTE   (Q8_0)                    unit 128, natural order
//   SUB16  (Q2_K, Q3_K, Q6_K)        unit 256, natural order
//   SUB32  (Q4_K, Q5_K)              unit 256: sub-blocks 0, 2, 1, 3, 4, 6, 5, 7
#ifndef MORU_ACTIVATION_H
#define MORU_ACTIVATION_H

typedef enum { NIBBLE, BYTE, SUB16, SUB32 } activation_family;

typedef struct {
    int8_t q[128];
    float scale[16];
    union {
        int32_t start[16];
        float sum[16];  // block b's at lane 4b, zeros between
    };
} nibble_unit;

typedef struct {
    int8_t q[128];
    float scale[32];
    int32_t start[32];
} byte_unit;

typedef struct {
    int8_t q[256];
    float scale[64];
    int32_t start[64];
    float sum[16];  // of 16 elements each for Q2_K; of 32 each, in 8 lanes, for Q4_K and Q5_K
} sub_unit;

static inline activation_family family_of(moru_dtype type) {
    if (type <= MORU_Q5_1) return NIBBLE;
    if (type == MORU_Q8_0) return BYTE;
    return type == MORU_Q4_K || type == MORU_Q5_K ? SUB32 : SUB16;
}

static inline size_t unit_elements(activation_family family) { return family == NIBBLE || family == BYTE ? 128 : 256; }

static inline size_t unit_bytes(activation_family family) {
    return family == NIBBLE ? sizeof(nibble_unit) : family == BYTE ? sizeof(byte_unit) : sizeof(sub_unit);
}

// What the format's levels are too high by.
static inline int level_offset(moru_dtype type) {
    switch (type) {
    case MORU_Q4_0: return 8;
    case MORU_Q5_0: return 16;
    case MORU_Q8_0: return 128;
    case MORU_Q3_K: return 4;
    case MORU_Q6_K: return 32;
    default: return 0;
    }
}
#endif

#include "quantize_activation.h"

INLINE void fill(float *to, float value, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] = value;
}

// start[lane] = -offset * (sum of the lane's 4 integers), added up over `parts` runs of `lanes` lanes.
INLINE void start_sums(const int8_t *q, int offset, size_t lanes, size_t parts, int32_t *start) {
    for (size_t lane = 0; lane < lanes; lane++) {
        int sum = 0;
        for (size_t part = 0; part < parts; part++) {
            const int8_t *four = q + 4 * (part * lanes + lane);
            sum += four[0] + four[1] + four[2] + four[3];
        }
        start[lane] = -offset * sum;
    }
}

static void prepare_quantised(moru_dtype type, const float *x, size_t k, void *out) {
    activation_family family = family_of(type);
    size_t elements = unit_elements(family), bytes = unit_bytes(family);
    int offset = level_offset(type);
    for (size_t first = 0; first < k; first += elements) {
        void *unit = (uint8_t *)out + first / elements * bytes;
        size_t blocks = moru_min_size(elements, k - first) / 32;
        if (blocks < elements / 32) memset(unit, 0, bytes);
        nibble_unit *nibble = unit;
        byte_unit *byte = unit;
        sub_unit *sub = unit;
        float sum[16] = {0};
        for (size_t b = 0; b < blocks; b++) {
            int8_t q[32];
            int32_t sums[2];
            float scale = quantize_32(x + first + 32 * b, q, sums);
            if (family == NIBBLE) {
                memcpy(nibble->q + 16 * b, q, 16);
                memcpy(nibble->q + 64 + 16 * b, q + 16, 16);
                fill(nibble->scale + 4 * b, scale, 4);
                sum[4 * b] = scale * (float)(sums[0] + sums[1]);
            } else if (family == BYTE) {
                memcpy(byte->q + 32 * b, q, 32);
                fill(byte->scale + 8 * b, scale, 8);
            } else {
                size_t within = b % 4, place = family == SUB16 ? b : b / 4 * 4 + (within % 2) * 2 + within / 2;
                memcpy(sub->q + 32 * place, q, 32);
                fill(sub->scale + 8 * place, scale, 8);
                if (family == SUB16) {
                    sum[2 * b] = scale * (float)sums[0];
                    sum[2 * b + 1] = scale * (float)sums[1];
                } else {
                    sum[b] = scale * (float)(sums[0] + sums[1]);
                }
            }
        }
        if (family == NIBBLE) {
            if (offset) start_sums(nibble->q, offset, 16, 2, nibble->start);
            else memcpy(nibble->sum, sum, sizeof sum);
        } else if (family == BYTE) {
            start_sums(byte->q, offset, 32, 1, byte->start);
        } else {
            memcpy(sub->sum, sum, sizeof sum);
            if (offset) start_sums(sub->q, offset, 64, 1, sub->start);
        }
    }
}

INLINE size_t quantised_bytes(moru_dtype type, size_t k) {
    activation_family family = family_of(type);
    return (k + unit_elements(family) - 1) / unit_elements(family) * unit_bytes(family);
}
