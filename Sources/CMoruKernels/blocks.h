// Byte layouts of the GGUF block formats, and the two 16-bit floats. All fields are little-endian.
#ifndef MORU_BLOCKS_H
#define MORU_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "moru_kernels.h"

// 32 elements: x = d * (q - 8). Byte i holds element i in its low half and element i + 16 in its high half.
typedef struct {
    uint16_t d;
    uint8_t qs[16];
} moru_q4_0;

// x = d * q + m
typedef struct {
    uint16_t d, m;
    uint8_t qs[16];
} moru_q4_1;

// x = d * (q - 16); bit i of qh is the fifth bit of element i.
typedef struct {
    uint16_t d;
    uint8_t qh[4];
    uint8_t qs[16];
} moru_q5_0;

// x = d * q + m
typedef struct {
    uint16_t d, m;
    uint8_t qh[4];
    uint8_t qs[16];
} moru_q5_1;

// x = d * q
typedef struct {
    uint16_t d;
    int8_t qs[32];
} moru_q8_0;

// 256 elements in 16 sub-blocks: x = d * (scale & 15) * q - dmin * (scale >> 4). Each 32 bytes of qs hold 128 elements,
// element j of quarter i in bits 2i of byte j.
typedef struct {
    uint8_t scales[16];
    uint8_t qs[64];
    uint16_t d, dmin;
} moru_q2_k;

// x = d * (scale - 32) * (q - 4), the third bit of q in hmask (bit i of byte j: element j of the i-th 32).
typedef struct {
    uint8_t hmask[32];
    uint8_t qs[64];
    uint8_t scales[12];
    uint16_t d;
} moru_q3_k;

// 8 sub-blocks of 32: x = d * scale * q - dmin * min. Each 32 bytes of qs hold two sub-blocks, low halves first.
typedef struct {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
} moru_q4_k;

// The same with a fifth bit: bit i of qh[j] belongs to element j of sub-block i.
typedef struct {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
} moru_q5_k;

// 16 sub-blocks of 16: x = d * scale * (q - 32). Each half of 128 elements uses 64 bytes of ql and 32 of qh.
typedef struct {
    uint8_t ql[128];
    uint8_t qh[64];
    int8_t scales[16];
    uint16_t d;
} moru_q6_k;

_Static_assert(sizeof(moru_q4_0) == 18 && sizeof(moru_q4_1) == 20 && sizeof(moru_q5_0) == 22, "block layout");
_Static_assert(sizeof(moru_q5_1) == 24 && sizeof(moru_q8_0) == 34 && sizeof(moru_q2_k) == 84, "block layout");
_Static_assert(sizeof(moru_q3_k) == 110 && sizeof(moru_q4_k) == 144, "block layout");
_Static_assert(sizeof(moru_q5_k) == 176 && sizeof(moru_q6_k) == 210, "block layout");

static inline float moru_float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t moru_bits_from_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float moru_f32_from_bf16(uint16_t half) { return moru_float_from_bits((uint32_t)half << 16); }

// Rounds to nearest even; a NaN stays a (quiet) NaN.
static inline uint16_t moru_bf16_from_f32(float value) {
    uint32_t bits = moru_bits_from_float(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((bits >> 16) | 64);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline float moru_f32_from_f16(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t magnitude = half & 0x7fff;
    if (magnitude >= 0x7c00) return moru_float_from_bits(sign | 0x7f800000u | ((magnitude & 0x3ff) << 13));
    // The exponent bias moves from 15 to 127; the product is exact, and makes subnormals right as well.
    float scaled = moru_float_from_bits(magnitude << 13) * 0x1p112f;
    return moru_float_from_bits(sign | moru_bits_from_float(scaled));
}

// Rounds to nearest even, overflows to infinity.
static inline uint16_t moru_f16_from_f32(float value) {
    uint32_t bits = moru_bits_from_float(value);
    uint16_t sign = (uint16_t)((bits >> 16) & 0x8000);
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u) return (uint16_t)(sign | 0x7e00 | ((bits >> 13) & 0x3ff));
    if (bits >= 0x477ff000u) return (uint16_t)(sign | 0x7c00);  // 65520 and more
    if (bits < 0x38800000u) {                                   // below 2^-14: subnormal, in units of 2^-24
        // Adding 0.5 puts the unit 2^-24 at the last bit of the float's fraction, and the addition rounds.
        float shifted = moru_float_from_bits(bits) + 0.5f;
        return (uint16_t)(sign | (moru_bits_from_float(shifted) - 0x3f000000u));
    }
    uint32_t rounded = bits + 0xfff + ((bits >> 13) & 1);
    return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

// Element i of an array of activations: f32, bf16, or (keys and values) Q8_0; and its store, not as Q8_0.
static inline float moru_element(moru_dtype type, const void *array, size_t i) {
    if (type == MORU_F32) return ((const float *)array)[i];
    if (type == MORU_BF16) return moru_f32_from_bf16(((const uint16_t *)array)[i]);
    const moru_q8_0 *block = (const moru_q8_0 *)array + i / 32;
    return moru_f32_from_f16(block->d) * (float)block->qs[i % 32];
}

static inline void moru_set_element(moru_dtype type, void *array, size_t i, float value) {
    if (type == MORU_F32) ((float *)array)[i] = value;
    else ((uint16_t *)array)[i] = moru_bf16_from_f32(value);
}

// The 6-bit scale and min of sub-block j (0 ..< 8) of Q4_K and Q5_K.
static inline void moru_k4_scale_min(const uint8_t packed[12], int j, uint8_t *scale, uint8_t *min) {
    if (j < 4) {
        *scale = packed[j] & 63;
        *min = packed[j + 4] & 63;
    } else {
        *scale = (uint8_t)((packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4));
        *min = (uint8_t)((packed[j + 4] >> 4) | ((packed[j] >> 6) << 4));
    }
}

// The 6-bit scale (0 ..< 64, to be taken minus 32) of sub-block j (0 ..< 16) of Q3_K.
static inline int moru_q3_k_scale(const uint8_t packed[12], int j) {
    int low = j < 8 ? packed[j] & 15 : packed[j - 8] >> 4;
    int high = (packed[8 + j % 4] >> (2 * (j / 4))) & 3;
    return low | (high << 4);
}

static inline size_t moru_min_size(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t moru_max_size(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t moru_round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

#endif
