// Quantisation, scalar: the simple round-to-nearest formats of 32 elements, and 16-bit floats.
#include <math.h>

#include "blocks.h"
#include "table.h"

// The formats' reference quantisers do not fuse multiply and add; the same bytes are wanted here.
#pragma STDC FP_CONTRACT OFF

bool moru_can_quantize(moru_dtype type) { return type <= MORU_Q8_0; }

bool moru_can_quantize_rows(moru_dtype type) {
    return (type >= MORU_Q4_0 && type <= MORU_Q8_0) || (type >= MORU_Q4_K && type <= MORU_Q6_K);
}

// The element of largest magnitude, with its sign (the first of equals).
static float signed_extreme(const float *x, int count) {
    float extreme = 0, magnitude = 0;
    for (int i = 0; i < count; i++) {
        if (fabsf(x[i]) > magnitude) {
            magnitude = fabsf(x[i]);
            extreme = x[i];
        }
    }
    return extreme;
}

static void range_of(const float *x, int count, float *low, float *high) {
    *low = *high = x[0];
    for (int i = 1; i < count; i++) {
        if (x[i] < *low) *low = x[i];
        if (x[i] > *high) *high = x[i];
    }
}

// Written so that a NaN becomes 0.
static uint8_t clamped(float value, int highest) {
    if (!(value > 0)) return 0;
    return value >= (float)highest ? (uint8_t)highest : (uint8_t)value;
}

// Quantises 32 elements to levels 0 ... highest and splits them into nibbles and (for 5 bits) high bits.
static void pack_levels(const float *x, float offset, float inverse, float rounding, int highest, uint8_t *qs,
                        uint8_t *qh) {
    if (qh) memset(qh, 0, 4);
    for (int i = 0; i < 16; i++) {
        uint8_t low = clamped((x[i] - offset) * inverse + rounding, highest);
        uint8_t high = clamped((x[i + 16] - offset) * inverse + rounding, highest);
        qs[i] = (uint8_t)((low & 15) | (high & 15) << 4);
        if (qh) {
            qh[i / 8] |= (uint8_t)((low >> 4) << (i % 8));
            qh[2 + i / 8] |= (uint8_t)((high >> 4) << (i % 8));
        }
    }
}

void moru_scalar_quantize(moru_dtype type, const float *in, void *out, size_t count) {
    size_t blocks = count / moru_block_elements(type);
    switch (type) {
    case MORU_F32:
        if (count) memcpy(out, in, count * sizeof(float));
        return;
    case MORU_F16:
        for (size_t i = 0; i < count; i++) ((uint16_t *)out)[i] = moru_f16_from_f32(in[i]);
        return;
    case MORU_BF16:
        for (size_t i = 0; i < count; i++) ((uint16_t *)out)[i] = moru_bf16_from_f32(in[i]);
        return;
    default: break;
    }
    for (size_t b = 0; b < blocks; b++) {
        const float *x = in + 32 * b;
        float low, high;
        range_of(x, 32, &low, &high);
        switch (type) {
        case MORU_Q4_0: {
            moru_q4_0 *block = (moru_q4_0 *)out + b;
            float d = signed_extreme(x, 32) / -8;
            block->d = moru_f16_from_f32(d);
            pack_levels(x, 0, d != 0 ? 1 / d : 0, 8.5f, 15, block->qs, NULL);
            break;
        }
        case MORU_Q4_1: {
            moru_q4_1 *block = (moru_q4_1 *)out + b;
            float d = (high - low) / 15;
            block->d = moru_f16_from_f32(d);
            block->m = moru_f16_from_f32(low);
            pack_levels(x, low, d != 0 ? 1 / d : 0, 0.5f, 15, block->qs, NULL);
            break;
        }
        case MORU_Q5_0: {
            moru_q5_0 *block = (moru_q5_0 *)out + b;
            float d = signed_extreme(x, 32) / -16;
            block->d = moru_f16_from_f32(d);
            pack_levels(x, 0, d != 0 ? 1 / d : 0, 16.5f, 31, block->qs, block->qh);
            break;
        }
        case MORU_Q5_1: {
            moru_q5_1 *block = (moru_q5_1 *)out + b;
            float d = (high - low) / 31;
            block->d = moru_f16_from_f32(d);
            block->m = moru_f16_from_f32(low);
            pack_levels(x, low, d != 0 ? 1 / d : 0, 0.5f, 31, block->qs, block->qh);
            break;
        }
        case MORU_Q8_0: {
            moru_q8_0 *block = (moru_q8_0 *)out + b;
            float d = fabsf(signed_extreme(x, 32)) / 127, inverse = d != 0 ? 1 / d : 0;
            block->d = moru_f16_from_f32(d);
            for (int i = 0; i < 32; i++) block->qs[i] = (int8_t)roundf(x[i] * inverse);
            break;
        }
        default: break;
        }
    }
}

#define QUANTIZE_NAME(f) moru_scalar_##f
#include "quantize_rows.h"
