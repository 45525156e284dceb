// Storage formats, scalar reference: sizes, dequantisation and quantisation of every format.
#include <math.h>

#include "blocks.h"
#include "table.h"

size_t moru_block_bytes(moru_dtype type) {
    switch (type) {
    case MORU_F32: return 4;
    case MORU_F16:
    case MORU_BF16: return 2;
    case MORU_Q4_0: return sizeof(moru_q4_0);
    case MORU_Q4_1: return sizeof(moru_q4_1);
    case MORU_Q5_0: return sizeof(moru_q5_0);
    case MORU_Q5_1: return sizeof(moru_q5_1);
    case MORU_Q8_0: return sizeof(moru_q8_0);
    case MORU_Q2_K: return sizeof(moru_q2_k);
    case MORU_Q3_K: return sizeof(moru_q3_k);
    case MORU_Q4_K: return sizeof(moru_q4_k);
    case MORU_Q5_K: return sizeof(moru_q5_k);
    case MORU_Q6_K: return sizeof(moru_q6_k);
    case MORU_DTYPE_COUNT: break;
    }
    return 0;
}

static void dequantize_4bit(const uint8_t qs[16], float d, float m, float *out) {
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)(qs[i] & 15) + m;
        out[i + 16] = d * (float)(qs[i] >> 4) + m;
    }
}

static void dequantize_5bit(const uint8_t qs[16], const uint8_t qh[4], float d, float m, float *out) {
    for (int i = 0; i < 16; i++) {
        int low = (qs[i] & 15) | ((qh[i / 8] >> (i % 8)) & 1) << 4;
        int high = (qs[i] >> 4) | ((qh[2 + i / 8] >> (i % 8)) & 1) << 4;
        out[i] = d * (float)low + m;
        out[i + 16] = d * (float)high + m;
    }
}

static void dequantize_q2_k(const moru_q2_k *block, float *out) {
    float d = moru_f32_from_f16(block->d), dmin = moru_f32_from_f16(block->dmin);
    for (int e = 0; e < 256; e++) {
        int half = e / 128, quarter = e / 32 % 4, q = (block->qs[32 * half + e % 32] >> (2 * quarter)) & 3;
        uint8_t scale = block->scales[e / 16];
        out[e] = d * (float)(scale & 15) * (float)q - dmin * (float)(scale >> 4);
    }
}

static void dequantize_q3_k(const moru_q3_k *block, float *out) {
    float d = moru_f32_from_f16(block->d);
    for (int e = 0; e < 256; e++) {
        int half = e / 128, quarter = e / 32 % 4, q = (block->qs[32 * half + e % 32] >> (2 * quarter)) & 3;
        if (!((block->hmask[e % 32] >> (e / 32)) & 1)) q -= 4;
        out[e] = d * (float)(moru_q3_k_scale(block->scales, e / 16) - 32) * (float)q;
    }
}

static void dequantize_q4_k(const moru_q4_k *block, float *out) {
    float d = moru_f32_from_f16(block->d), dmin = moru_f32_from_f16(block->dmin);
    for (int j = 0; j < 8; j++) {
        uint8_t scale, min;
        moru_k4_scale_min(block->scales, j, &scale, &min);
        float sub_d = d * (float)scale, sub_m = dmin * (float)min;
        for (int i = 0; i < 32; i++) {
            int q = (block->qs[32 * (j / 2) + i] >> (4 * (j % 2))) & 15;
            out[32 * j + i] = sub_d * (float)q - sub_m;
        }
    }
}

static void dequantize_q5_k(const moru_q5_k *block, float *out) {
    float d = moru_f32_from_f16(block->d), dmin = moru_f32_from_f16(block->dmin);
    for (int j = 0; j < 8; j++) {
        uint8_t scale, min;
        moru_k4_scale_min(block->scales, j, &scale, &min);
        float sub_d = d * (float)scale, sub_m = dmin * (float)min;
        for (int i = 0; i < 32; i++) {
            int q = ((block->qs[32 * (j / 2) + i] >> (4 * (j % 2))) & 15) | ((block->qh[i] >> j) & 1) << 4;
            out[32 * j + i] = sub_d * (float)q - sub_m;
        }
    }
}

static void dequantize_q6_k(const moru_q6_k *block, float *out) {
    float d = moru_f32_from_f16(block->d);
    for (int e = 0; e < 256; e++) {
        int half = e / 128, quarter = e / 32 % 4;
        int low = (block->ql[64 * half + e % 64] >> (4 * (quarter / 2))) & 15;
        int high = (block->qh[32 * half + e % 32] >> (2 * quarter)) & 3;
        out[e] = d * (float)block->scales[e / 16] * (float)((low | high << 4) - 32);
    }
}

void moru_scalar_dequantize(moru_dtype type, const void *in, float *out, size_t count) {
    size_t blocks = count / moru_block_elements(type);
    switch (type) {
    case MORU_F32:
        if (count) memcpy(out, in, count * sizeof(float));
        break;
    case MORU_F16:
        for (size_t i = 0; i < count; i++) out[i] = moru_f32_from_f16(((const uint16_t *)in)[i]);
        break;
    case MORU_BF16:
        for (size_t i = 0; i < count; i++) out[i] = moru_f32_from_bf16(((const uint16_t *)in)[i]);
        break;
    case MORU_Q4_0:
        for (size_t b = 0; b < blocks; b++) {
            const moru_q4_0 *block = (const moru_q4_0 *)in + b;
            float d = moru_f32_from_f16(block->d);
            dequantize_4bit(block->qs, d, -8 * d, out + 32 * b);
        }
        break;
    case MORU_Q4_1:
        for (size_t b = 0; b < blocks; b++) {
            const moru_q4_1 *block = (const moru_q4_1 *)in + b;
            dequantize_4bit(block->qs, moru_f32_from_f16(block->d), moru_f32_from_f16(block->m), out + 32 * b);
        }
        break;
    case MORU_Q5_0:
        for (size_t b = 0; b < blocks; b++) {
            const moru_q5_0 *block = (const moru_q5_0 *)in + b;
            float d = moru_f32_from_f16(block->d);
            dequantize_5bit(block->qs, block->qh, d, -16 * d, out + 32 * b);
        }
        break;
    case MORU_Q5_1:
        for (size_t b = 0; b < blocks; b++) {
            const moru_q5_1 *block = (const moru_q5_1 *)in + b;
            float d = moru_f32_from_f16(block->d), m = moru_f32_from_f16(block->m);
            dequantize_5bit(block->qs, block->qh, d, m, out + 32 * b);
        }
        break;
    case MORU_Q8_0:
        for (size_t b = 0; b < blocks; b++) {
            const moru_q8_0 *block = (const moru_q8_0 *)in + b;
            float d = moru_f32_from_f16(block->d);
            for (int i = 0; i < 32; i++) out[32 * b + i] = d * (float)block->qs[i];
        }
        break;
    case MORU_Q2_K:
        for (size_t b = 0; b < blocks; b++) dequantize_q2_k((const moru_q2_k *)in + b, out + 256 * b);
        break;
    case MORU_Q3_K:
        for (size_t b = 0; b < blocks; b++) dequantize_q3_k((const moru_q3_k *)in + b, out + 256 * b);
        break;
    case MORU_Q4_K:
        for (size_t b = 0; b < blocks; b++) dequantize_q4_k((const moru_q4_k *)in + b, out + 256 * b);
        break;
    case MORU_Q5_K:
        for (size_t b = 0; b < blocks; b++) dequantize_q5_k((const moru_q5_k *)in + b, out + 256 * b);
        break;
    case MORU_Q6_K:
        for (size_t b = 0; b < blocks; b++) dequantize_q6_k((const moru_q6_k *)in + b, out + 256 * b);
        break;
    case MORU_DTYPE_COUNT: break;
    }
}
