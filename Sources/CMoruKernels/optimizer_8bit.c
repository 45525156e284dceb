// AdamW with moments in 8 bits, scalar reference; see moments.h.
#include <math.h>

#include "moments.h"
#include "table.h"

static float level(const moru_levels *levels, int k) {
    if (k == 0) return 0;
    int d = 31 - __builtin_clz((unsigned)k);
    return levels->slopes[d] * (float)k + levels->offsets[d];
}

// The code of a magnitude of at most the highest level.
static int code(const moru_levels *levels, float x) {
    if (x <= levels->least) return 0;
    int d = 0;
    while (d < levels->top && x >= levels->bounds[d]) d++;
    int k = (int)(x * levels->rates[d] + levels->shifts[d]);
    int first = 1 << d;
    return k < first ? first : k > 2 * first - 1 ? 2 * first - 1 : k;
}

void moru_scalar_adamw_8bit(const moru_adamw *args, float *parameter, const float *gradient, moru_moments *moment1,
                            moru_moments *moment2, size_t begin, size_t end) {
    const moru_levels *sign = &moru_signed_levels, *plain = &moru_unsigned_levels;
    float decay = 1 - args->learning_rate * args->weight_decay;
    float step = args->learning_rate / args->bias_correction1;
    float root = 1 / sqrtf(args->bias_correction2);
    for (size_t first = begin; first < end; first += MORU_MOMENT_BLOCK) {
        moru_moments *old1 = moment1 + first / MORU_MOMENT_BLOCK, *old2 = moment2 + first / MORU_MOMENT_BLOCK;
        size_t count = end - first < MORU_MOMENT_BLOCK ? end - first : MORU_MOMENT_BLOCK;
        float m[MORU_MOMENT_BLOCK], v[MORU_MOMENT_BLOCK], largest1 = 0, largest2 = 0;
        for (size_t i = 0; i < count; i++) {
            float g = gradient[first + i] * args->gradient_scale;
            float magnitude = level(sign, old1->codes[i] & 127) * old1->scale;
            m[i] = args->beta1 * (old1->codes[i] & 128 ? -magnitude : magnitude) + (1 - args->beta1) * g;
            v[i] = args->beta2 * (level(plain, old2->codes[i]) * old2->scale) + (1 - args->beta2) * g * g;
            float *p = parameter + first + i;
            *p = *p * decay - step * m[i] / (sqrtf(v[i]) * root + args->epsilon);
            largest1 = fmaxf(largest1, fabsf(m[i]));
            largest2 = fmaxf(largest2, v[i]);
        }
        moru_moment_scale scale1 = moru_scale_of(sign, largest1), scale2 = moru_scale_of(plain, largest2);
        for (size_t i = 0; i < count; i++) {
            int k = code(sign, fabsf(m[i]) * scale1.inverse);
            old1->codes[i] = (uint8_t)(k | (m[i] < 0 ? 128 : 0));
            old2->codes[i] = (uint8_t)code(plain, v[i] * scale2.inverse);
        }
        old1->scale = scale1.scale;
        old2->scale = scale2.scale;
    }
}
