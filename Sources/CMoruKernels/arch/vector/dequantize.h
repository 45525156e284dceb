// Dequantisation, 16 elements at a time. Layouts: blocks.h.

INLINE f32x16 widen(u8x16 q) { return __builtin_convertvector(q, f32x16); }
INLINE f32x16 widen_signed(i8x16 q) { return __builtin_convertvector(q, f32x16); }

INLINE u8x16 load_bytes(const uint8_t *p) {
    u8x16 v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store_16(float *p, f32x16 v) { __builtin_memcpy(p, &v, sizeof v); }
INLINE f32x16 affine(u8x16 q, float d, float m) { return __builtin_elementwise_fma(widen(q), (f32x16)(d), (f32x16)(m)); }

// One half of the fifth bits as bytes of 0 or 16: lane i has bit i of `bits`.
INLINE u8x16 fifth_bits(uint16_t bits) {
    const u8x16 masks = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8_t low = (uint8_t)bits, high = (uint8_t)(bits >> 8);
    u8x16 spread = {low, low, low, low, low, low, low, low, high, high, high, high, high, high, high, high};
    return __builtin_bit_cast(u8x16, (spread & masks) != (u8x16)(0)) & 16;
}

INLINE void dequantize_nibbles(const uint8_t qs[16], float d, float m, float *out) {
    u8x16 q = load_bytes(qs);
    store_16(out, affine(q & 15, d, m));
    store_16(out + 16, affine(q >> 4, d, m));
}

INLINE void dequantize_five(const uint8_t qs[16], const uint8_t qh[4], float d, float m, float *out) {
    u8x16 q = load_bytes(qs);
    uint16_t high[2];
    __builtin_memcpy(high, qh, sizeof high);
    store_16(out, affine((q & 15) | fifth_bits(high[0]), d, m));
    store_16(out + 16, affine((q >> 4) | fifth_bits(high[1]), d, m));
}

INLINE void dequantize_2(const moru_q2_k *block, float *out) {
    float d = moru_f32_from_f16(block->d), dmin = moru_f32_from_f16(block->dmin);
    for (int j = 0; j < 16; j++) {
        u8x16 q = load_bytes(block->qs + 32 * (j / 8) + 16 * (j % 2));
        uint8_t scale = block->scales[j];
        q = (q >> (uint8_t)(2 * (j / 2 % 4))) & 3;
        store_16(out + 16 * j, affine(q, d * (float)(scale & 15), -dmin * (float)(scale >> 4)));
    }
}

INLINE void dequantize_3(const moru_q3_k *block, float *out) {
    float d = moru_f32_from_f16(block->d);
    for (int j = 0; j < 16; j++) {
        u8x16 q = load_bytes(block->qs + 32 * (j / 8) + 16 * (j % 2)), high = load_bytes(block->hmask + 16 * (j % 2));
        float sub_d = d * (float)(moru_q3_k_scale(block->scales, j) - 32);
        q = ((q >> (uint8_t)(2 * (j / 2 % 4))) & 3) | ((high >> (uint8_t)(j / 2)) & 1) << 2;
        store_16(out + 16 * j, affine(q, sub_d, -4 * sub_d));
    }
}

INLINE void dequantize_4(const moru_q4_k *block, float *out) {
    float d = moru_f32_from_f16(block->d), dmin = moru_f32_from_f16(block->dmin);
    for (int j = 0; j < 16; j++) {
        uint8_t scale, min;
        moru_k4_scale_min(block->scales, j / 2, &scale, &min);
        u8x16 q = load_bytes(block->qs + 32 * (j / 4) + 16 * (j % 2));
        q = j / 2 % 2 ? q >> 4 : q & 15;
        store_16(out + 16 * j, affine(q, d * (float)scale, -dmin * (float)min));
    }
}

INLINE void dequantize_5(const moru_q5_k *block, float *out) {
    float d = moru_f32_from_f16(block->d), dmin = moru_f32_from_f16(block->dmin);
    for (int j = 0; j < 16; j++) {
        uint8_t scale, min;
        moru_k4_scale_min(block->scales, j / 2, &scale, &min);
        u8x16 q = load_bytes(block->qs + 32 * (j / 4) + 16 * (j % 2)), high = load_bytes(block->qh + 16 * (j % 2));
        q = (j / 2 % 2 ? q >> 4 : q & 15) | ((high >> (uint8_t)(j / 2)) & 1) << 4;
        store_16(out + 16 * j, affine(q, d * (float)scale, -dmin * (float)min));
    }
}

INLINE void dequantize_6(const moru_q6_k *block, float *out) {
    float d = moru_f32_from_f16(block->d);
    for (int j = 0; j < 16; j++) {
        int half = j / 8, quarter = j / 2 % 4;
        u8x16 low = load_bytes(block->ql + 64 * half + 32 * (quarter % 2) + 16 * (j % 2));
        u8x16 high = load_bytes(block->qh + 32 * half + 16 * (j % 2));
        low = quarter / 2 ? low >> 4 : low & 15;
        u8x16 q = low | ((high >> (uint8_t)(2 * quarter)) & 3) << 4;
        store_16(out + 16 * j, widen_signed(__builtin_bit_cast(i8x16, q) - 32) * (d * (float)block->scales[j]));
    }
}

void MORU_NAME(dequantize)(moru_dtype type, const void *in, float *out, size_t count) {
    size_t blocks = count / moru_block_elements(type), i = 0;
    switch (type) {
    case MORU_F32:
        if (count) memcpy(out, in, count * sizeof(float));
        break;
    case MORU_F16:
        for (; i + LANES <= count; i += LANES) vstore(out + i, vload_f16((const uint16_t *)in + i));
        moru_scalar_dequantize(type, (const uint16_t *)in + i, out + i, count - i);
        break;
    case MORU_BF16:
        for (; i + LANES <= count; i += LANES) vstore(out + i, vload_bf16((const uint16_t *)in + i));
        moru_scalar_dequantize(type, (const uint16_t *)in + i, out + i, count - i);
        break;
#define EACH_BLOCK(BLOCK, SIZE, CALL)                     \
    for (size_t b = 0; b < blocks; b++) {                 \
        const BLOCK *block = (const BLOCK *)in + b;       \
        float *to = out + SIZE * b;                       \
        CALL;                                             \
    }                                                     \
    break;
#define D moru_f32_from_f16(block->d)
#define M moru_f32_from_f16(block->m)
    case MORU_Q4_0: EACH_BLOCK(moru_q4_0, 32, float d = D; dequantize_nibbles(block->qs, d, -8 * d, to))
    case MORU_Q4_1: EACH_BLOCK(moru_q4_1, 32, dequantize_nibbles(block->qs, D, M, to))
    case MORU_Q5_0: EACH_BLOCK(moru_q5_0, 32, float d = D; dequantize_five(block->qs, block->qh, d, -16 * d, to))
    case MORU_Q5_1: EACH_BLOCK(moru_q5_1, 32, dequantize_five(block->qs, block->qh, D, M, to))
    case MORU_Q8_0:
        EACH_BLOCK(moru_q8_0, 32, float d = D; for (int j = 0; j < 32; j += 16) {
            i8x16 q;
            __builtin_memcpy(&q, block->qs + j, sizeof q);
            store_16(to + j, widen_signed(q) * d);
        })
    case MORU_Q2_K: EACH_BLOCK(moru_q2_k, 256, dequantize_2(block, to))
    case MORU_Q3_K: EACH_BLOCK(moru_q3_k, 256, dequantize_3(block, to))
    case MORU_Q4_K: EACH_BLOCK(moru_q4_k, 256, dequantize_4(block, to))
    case MORU_Q5_K: EACH_BLOCK(moru_q5_k, 256, dequantize_5(block, to))
    case MORU_Q6_K: EACH_BLOCK(moru_q6_k, 256, dequantize_6(block, to))
#undef EACH_BLOCK
#undef D
#undef M
    case MORU_DTYPE_COUNT: break;
    }
}

// The two 16-bit floats are vector work; block formats are written once per model and keep the reference.
void MORU_NAME(quantize)(moru_dtype type, const float *in, void *out, size_t count) {
    uint16_t *half = out;
    size_t i = 0;
    if (type == MORU_BF16) {
        for (; i + LANES <= count; i += LANES) {
            vs v = __builtin_convertvector(vbf16_bits(vload(in + i)), vs);
            __builtin_memcpy(half + i, &v, sizeof v);
        }
    } else if (type == MORU_F16) {
        for (; i + LANES <= count; i += LANES) {
            vh v = __builtin_convertvector(vload(in + i), vh);
            __builtin_memcpy(half + i, &v, sizeof v);
        }
    } else {
        moru_scalar_quantize(type, in, out, count);
        return;
    }
    moru_scalar_quantize(type, in + i, half + i, count - i);
}
