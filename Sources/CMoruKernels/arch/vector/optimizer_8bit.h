// AdamW with moments in 8 bits, over vectors. Formulas: see the scalar reference.
#include "../../moments.h"

typedef uint8_t vb __attribute__((ext_vector_type(MORU_LANES)));

// table[index] for indices below 8; any entry for others.
INLINE vf vlookup(const float table[16], vi index) {
#if MORU_LANES == 16
    return (vf)_mm512_permutexvar_ps((__m512i)index, _mm512_loadu_ps(table));
#elif MORU_LANES == 8
    return (vf)_mm256_permutevar8x32_ps(_mm256_loadu_ps(table), (__m256i)index);
#else
    vf v;
    for (int i = 0; i < MORU_LANES; i++) v[i] = table[index[i] & 7];
    return v;
#endif
}

INLINE vi vload_codes(const uint8_t *p) {
    vb codes;
    __builtin_memcpy(&codes, p, sizeof codes);
    return __builtin_convertvector(codes, vi);
}

INLINE void vstore_codes(uint8_t *p, vi k) {
    vb codes = __builtin_convertvector(k, vb);
    __builtin_memcpy(p, &codes, sizeof codes);
}

INLINE vf moment_level(const moru_levels *levels, vi k) {
    vf x = __builtin_convertvector(k, vf);
    vi d = (vasint(x) >> 23) - 127;
    vf level = vfma(vlookup(levels->slopes, d), x, vlookup(levels->offsets, d));
    return k == 0 ? vset(0) : level;
}

INLINE vi moment_code(const moru_levels *levels, int top, vf x) {
    vi d = (vi)(0);
    for (int i = 0; i < top; i++) d -= x >= levels->bounds[i];
    vi k = __builtin_convertvector(vfma(x, vlookup(levels->rates, d), vlookup(levels->shifts, d)), vi);
    vi first = (vi)(1) << d, last = 2 * first - 1;
    k = k < first ? first : k;
    k = k > last ? last : k;
    return x <= levels->least ? (vi)(0) : k;
}

void MORU_NAME(adamw_8bit)(const moru_adamw *args, float *parameter, const float *gradient, moru_moments *moment1,
                           moru_moments *moment2, size_t begin, size_t end) {
    const moru_levels *sign = &moru_signed_levels, *plain = &moru_unsigned_levels;
    float decay = 1 - args->learning_rate * args->weight_decay;
    float step = args->learning_rate / args->bias_correction1;
    float root = 1 / sqrtf(args->bias_correction2);
    float beta1 = args->beta1, beta2 = args->beta2, epsilon = args->epsilon, factor = args->gradient_scale;
    for (size_t first = begin; first < end; first += MORU_MOMENT_BLOCK) {
        moru_moments *old1 = moment1 + first / MORU_MOMENT_BLOCK, *old2 = moment2 + first / MORU_MOMENT_BLOCK;
        size_t count = end - first < MORU_MOMENT_BLOCK ? end - first : MORU_MOMENT_BLOCK;
        float *p = parameter + first;
        const float *dp = gradient + first;
        float scale1 = old1->scale, scale2 = old2->scale;
        float kept1[MORU_MOMENT_BLOCK], kept2[MORU_MOMENT_BLOCK];
        vf largest1 = vset(0), largest2 = vset(0);
        // Behind the end all is 0, and stays so
        for (size_t i = 0; i < count; i += LANES) {
            bool whole = i + LANES <= count;
            vf g = (whole ? vload(dp + i) : vload_n(dp + i, count - i)) * factor;
            vi code1 = vload_codes(old1->codes + i);
            vf magnitude = moment_level(sign, code1 & 127) * scale1;
            vf m = vfma(vset(beta1), code1 > 127 ? -magnitude : magnitude, (1 - beta1) * g);
            vf v = moment_level(plain, vload_codes(old2->codes + i)) * scale2;
            v = vfma(vset(beta2), v, (1 - beta2) * g * g);
            vf denominator = vfma(__builtin_elementwise_sqrt(v), vset(root), vset(epsilon));
            vf updated = (whole ? vload(p + i) : vload_n(p + i, count - i)) * decay - step * m / denominator;
            if (whole) {
                vstore(p + i, updated);
            } else {
                vstore_n(p + i, updated, count - i);
            }
            largest1 = vmax(largest1, __builtin_elementwise_abs(m));
            largest2 = vmax(largest2, v);
            vstore(kept1 + i, m);
            vstore(kept2 + i, v);
        }
        moru_moment_scale new1 = moru_scale_of(sign, vlargest(largest1));
        moru_moment_scale new2 = moru_scale_of(plain, vlargest(largest2));
        for (size_t i = 0; i < count; i += LANES) {
            vf m = vload(kept1 + i), v = vload(kept2 + i);
            vi k = moment_code(sign, 6, __builtin_elementwise_abs(m) * new1.inverse);
            vstore_codes(old1->codes + i, m < 0.0f ? k | 128 : k);
            vstore_codes(old2->codes + i, moment_code(plain, 7, v * new2.inverse));
        }
        old1->scale = new1.scale;
        old2->scale = new2.scale;
    }
}
