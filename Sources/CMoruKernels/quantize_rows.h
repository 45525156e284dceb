// Quantisation with searched scales: for each block the scale (and offset) with the least weighted squared error, by
// candidates around the plain one, each solved by least squares. Included once by every level, last, so that the
// compiler makes the most of its vectors; nothing is fused or reordered, and every level gives the same bytes.
//
// The error of element i weighs importance[i] * sqrt(mean square of the row + x_i^2): larger weights matter more, and
// those whose inputs are larger.

#include <math.h>

#include "blocks.h"
#include "table.h"

#pragma STDC FP_CONTRACT OFF
#pragma clang diagnostic push
// Every function that takes a vector is inlined, so that there is no calling convention to change
#pragma clang diagnostic ignored "-Wpsabi"

#define SEARCH static inline __attribute__((always_inline))

typedef float s16 __attribute__((ext_vector_type(16)));

// At most 32 elements: their values and weights, and the weighted sums that no choice of levels changes.
typedef struct {
    s16 x[2], w[2];
    int vectors;
    double w_sum, x_sum, xx_sum;
    float low, high, extreme;  // the least, the greatest, and the one of largest magnitude
} search_block;

SEARCH float tree_sum(s16 v) {
    typedef float s8 __attribute__((ext_vector_type(8)));
    typedef float s4 __attribute__((ext_vector_type(4)));
    s8 a = v.lo + v.hi;
    s4 b = a.lo + a.hi;
    return (b.x + b.z) + (b.y + b.w);
}

SEARCH search_block search_load(const float *x, const float *importance, float mean_square, int count) {
    search_block block = {.vectors = count / 16, .low = x[0], .high = x[0], .extreme = 0};
    s16 sums[3] = {0, 0, 0};
    for (int v = 0; v < count / 16; v++) {
        float w[16];
        for (int i = 0; i < 16; i++) {
            float value = x[16 * v + i];
            w[i] = sqrtf(mean_square + value * value) * (importance ? importance[16 * v + i] : 1.0f);
            if (value < block.low) block.low = value;
            if (value > block.high) block.high = value;
            if (fabsf(value) > fabsf(block.extreme)) block.extreme = value;
        }
        memcpy(&block.x[v], x + 16 * v, sizeof(s16));
        memcpy(&block.w[v], w, sizeof(s16));
        sums[0] += block.w[v];
        sums[1] += block.w[v] * block.x[v];
        sums[2] += block.w[v] * block.x[v] * block.x[v];
    }
    block.w_sum = tree_sum(sums[0]);
    block.x_sum = tree_sum(sums[1]);
    block.xx_sum = tree_sum(sums[2]);
    return block;
}

// The nearest whole numbers, ties to even, for magnitudes below 2^22; and between two bounds.
SEARCH s16 nearest(s16 v, float low, float high) {
    s16 q = __builtin_elementwise_min(__builtin_elementwise_max(v, (s16)(low)), (s16)(high));
    return (q + 12582912.0f) - 12582912.0f;
}

// Weighted sums over a block with the levels that x * inverse + shift rounds to.
typedef struct {
    double q, qq, xq;
} level_sums;

SEARCH level_sums levels_of(const search_block *block, float inverse, float shift, float low, float high) {
    s16 q_sum = 0, qq_sum = 0, xq_sum = 0;
    for (int v = 0; v < block->vectors; v++) {
        s16 q = nearest(block->x[v] * inverse + shift, low, high), wq = block->w[v] * q;
        q_sum += wq;
        qq_sum += wq * q;
        xq_sum += wq * block->x[v];
    }
    return (level_sums){tree_sum(q_sum), tree_sum(qq_sum), tree_sum(xq_sum)};
}

// The error of x ~ scale * q + offset with the levels of `sums`.
SEARCH double error_of(const search_block *block, level_sums sums, double scale, double offset) {
    return scale * scale * sums.qq + 2 * scale * offset * sums.q + offset * offset * block->w_sum
           - 2 * scale * sums.xq - 2 * offset * block->x_sum + block->xx_sum;
}

SEARCH double error_at(const search_block *block, float scale, float offset, float low, float high) {
    float inverse = scale != 0 ? 1 / scale : 0;
    level_sums sums = levels_of(block, inverse, -offset * inverse, low, high);
    return error_of(block, sums, scale, offset);
}

typedef struct {
    float scale, offset;
} search_fit;

// x ~ scale * q + offset with q from 0 to `top`; the offset at most 0 where the format has no other.
SEARCH search_fit fit_affine(const search_block *block, float top, bool any_offset) {
    float low = any_offset || block->low < 0 ? block->low : 0, span = block->high - low;
    if (!(span > 0)) return (search_fit){0, low};
    search_fit best = {span / top, low};
    double least = error_at(block, best.scale, best.offset, 0, top);
    for (int step = -18; step <= 20; step++) {
        // The last steps go on from the best so far
        bool refines = step > 18;
        float inverse = refines ? (best.scale != 0 ? 1 / best.scale : 0) : (top + 0.05f * (float)step) / span;
        level_sums sums = levels_of(block, inverse, -(refines ? best.offset : low) * inverse, 0, top);
        double determinant = block->w_sum * sums.qq - sums.q * sums.q;
        if (!(determinant > 0)) continue;
        double scale = (block->w_sum * sums.xq - block->x_sum * sums.q) / determinant;
        double offset = (sums.qq * block->x_sum - sums.q * sums.xq) / determinant;
        if (offset > 0 && !any_offset) {
            offset = 0;
            scale = sums.qq > 0 ? sums.xq / sums.qq : 0;
        }
        double error = error_of(block, sums, scale, offset);
        if (scale > 0 && error < least) {
            least = error;
            best = (search_fit){(float)scale, (float)offset};
        }
    }
    return best;
}

// x ~ scale * q with q from -n to n - 1.
SEARCH float fit_symmetric(const search_block *block, float n) {
    if (block->extreme == 0) return 0;
    float best = block->extreme / -n;
    double least = error_at(block, best, 0, -n, n - 1);
    for (int step = -18; step <= 20; step++) {
        bool refines = step > 18;
        float inverse = refines ? 1 / best : -(n + 0.05f * (float)step) / block->extreme;
        level_sums sums = levels_of(block, inverse, 0, -n, n - 1);
        if (!(sums.qq > 0)) continue;
        double scale = sums.xq / sums.qq, error = error_of(block, sums, scale, 0);
        if (scale != 0 && error < least) {
            least = error;
            best = (float)scale;
        }
    }
    return best;
}

// The levels themselves.
SEARCH void write_levels(const search_block *block, float scale, float offset, float low, float high, int8_t *levels) {
    float inverse = scale != 0 ? 1 / scale : 0;
    for (int v = 0; v < block->vectors; v++) {
        s16 q = nearest(block->x[v] * inverse + -offset * inverse, low, high);
        float whole[16];
        memcpy(whole, &q, sizeof whole);
        for (int i = 0; i < 16; i++) levels[16 * v + i] = (int8_t)whole[i];
    }
}

SEARCH float half(float value) { return moru_f32_from_f16(moru_f16_from_f32(value)); }

// Blocks of 32: levels as 4 or 5 bits.
SEARCH void pack_block(const int8_t *levels, uint8_t *qs, uint8_t *qh) {
    if (qh) memset(qh, 0, 4);
    for (int i = 0; i < 16; i++) {
        qs[i] = (uint8_t)((levels[i] & 15) | (levels[i + 16] & 15) << 4);
        if (qh) {
            qh[i / 8] |= (uint8_t)((levels[i] >> 4 & 1) << (i % 8));
            qh[2 + i / 8] |= (uint8_t)((levels[i + 16] >> 4 & 1) << (i % 8));
        }
    }
}

SEARCH void search_symmetric_32(const search_block *block, float n, uint16_t *d, uint8_t *qs, uint8_t *qh) {
    int8_t levels[32];
    *d = moru_f16_from_f32(fit_symmetric(block, n));
    write_levels(block, moru_f32_from_f16(*d), 0, -n, n - 1, levels);
    for (int i = 0; i < 32; i++) levels[i] = (int8_t)(levels[i] + (int8_t)n);
    pack_block(levels, qs, qh);
}

SEARCH void search_affine_32(const search_block *block, float top, uint16_t *d, uint16_t *m, uint8_t *qs, uint8_t *qh) {
    int8_t levels[32];
    search_fit fit = fit_affine(block, top, true);
    *d = moru_f16_from_f32(fit.scale);
    *m = moru_f16_from_f32(fit.offset);
    write_levels(block, moru_f32_from_f16(*d), moru_f32_from_f16(*m), 0, top, levels);
    pack_block(levels, qs, qh);
}

// Super-blocks of 256: sub-blocks of 32 with scales d * k and offsets -dmin * m, or of 16 with scales d * k alone.
enum { SEARCH_SUBS = 16 };

typedef struct {
    search_block blocks[SEARCH_SUBS];
    int subs;
    float low, high;      // levels
    int k_low, k_high;    // scales
    bool has_offsets;     // whose m go from 0 to 63
    float d, dmin;
    int k[SEARCH_SUBS], m[SEARCH_SUBS];
} search_super;

SEARCH int clamped_int(int value, int low, int high) { return value < low ? low : value > high ? high : value; }
SEARCH int whole(float value) { return (int)((value + 12582912.0f) - 12582912.0f); }

// For each sub-block the best of the neighbouring scales and offsets.
SEARCH void search_subs(search_super *super) {
    for (int j = 0; j < super->subs; j++) {
        const search_block *block = &super->blocks[j];
        int k_best = super->k[j], m_best = super->m[j];
        double least = error_at(block, super->d * (float)k_best, -super->dmin * (float)m_best, super->low, super->high);
        for (int dk = -1; dk <= 1; dk++) {
            for (int dm = super->has_offsets ? -1 : 0; dm <= (super->has_offsets ? 1 : 0); dm++) {
                int k = clamped_int(super->k[j] + dk, super->k_low, super->k_high);
                int m = clamped_int(super->m[j] + dm, 0, 63);
                double error = error_at(block, super->d * (float)k, -super->dmin * (float)m, super->low, super->high);
                if (error < least) {
                    least = error;
                    k_best = k;
                    m_best = m;
                }
            }
        }
        super->k[j] = k_best;
        super->m[j] = m_best;
    }
}

SEARCH double super_error(const search_super *super, float d, float dmin) {
    double error = 0;
    for (int j = 0; j < super->subs; j++)
        error += error_at(&super->blocks[j], d * (float)super->k[j], -dmin * (float)super->m[j], super->low, super->high);
    return error;
}

// The scales of the whole, by least squares over every level; kept where that is better once rounded.
SEARCH void solve_super(search_super *super) {
    double kk = 0, km = 0, mm = 0, kx = 0, mx = 0;
    for (int j = 0; j < super->subs; j++) {
        const search_block *block = &super->blocks[j];
        float scale = super->d * (float)super->k[j], inverse = scale != 0 ? 1 / scale : 0;
        level_sums sums =
            levels_of(block, inverse, super->dmin * (float)super->m[j] * inverse, super->low, super->high);
        double k = super->k[j], m = -super->m[j];
        kk += k * k * sums.qq;
        km += k * m * sums.q;
        mm += m * m * block->w_sum;
        kx += k * sums.xq;
        mx += m * block->x_sum;
    }
    double determinant = kk * mm - km * km, d = super->d, dmin = super->dmin;
    if (mm > 0 && determinant > 0) {
        d = (kx * mm - mx * km) / determinant;
        dmin = (kk * mx - km * kx) / determinant;
    } else if (kk > 0) {
        d = kx / kk;
    }
    if (super->has_offsets && (!(d > 0) || !(dmin >= 0))) return;
    float new_d = half((float)d), new_dmin = half((float)dmin);
    if (super_error(super, new_d, new_dmin) < super_error(super, super->d, super->dmin)) {
        super->d = new_d;
        super->dmin = new_dmin;
    }
}

SEARCH void search_super_block(search_super *super, const float *x, const float *importance, float mean_square) {
    int size = 256 / super->subs;
    float scales[SEARCH_SUBS], offsets[SEARCH_SUBS], scale_extreme = 0, offset_extreme = 0;
    for (int j = 0; j < super->subs; j++) {
        search_block *block = &super->blocks[j];
        *block = search_load(x + size * j, importance ? importance + size * j : NULL, mean_square, size);
        if (super->has_offsets) {
            search_fit fit = fit_affine(block, super->high, false);
            scales[j] = fit.scale;
            offsets[j] = -fit.offset;
        } else {
            scales[j] = fit_symmetric(block, -super->low);
            offsets[j] = 0;
        }
        if (fabsf(scales[j]) > fabsf(scale_extreme)) scale_extreme = scales[j];
        if (offsets[j] > offset_extreme) offset_extreme = offsets[j];
    }
    float reach = super->has_offsets ? (float)super->k_high : (float)super->k_low;
    super->d = half(scale_extreme / reach);
    super->dmin = half(offset_extreme / 63);
    for (int j = 0; j < super->subs; j++) {
        super->k[j] = super->d != 0 ? clamped_int(whole(scales[j] / super->d), super->k_low, super->k_high) : 0;
        super->m[j] = super->dmin != 0 ? clamped_int(whole(offsets[j] / super->dmin), 0, 63) : 0;
    }
    for (int round = 0; round < 2; round++) {
        search_subs(super);
        solve_super(super);
    }
    search_subs(super);
}

SEARCH void super_levels(const search_super *super, int8_t *levels) {
    for (int j = 0; j < super->subs; j++)
        write_levels(&super->blocks[j], super->d * (float)super->k[j], -super->dmin * (float)super->m[j], super->low,
                     super->high, levels + 256 / super->subs * j);
}

SEARCH void pack_k4_scales(const search_super *super, uint8_t packed[12]) {
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(super->k[j] | (super->k[j + 4] >> 4) << 6);
        packed[j + 4] = (uint8_t)(super->m[j] | (super->m[j + 4] >> 4) << 6);
        packed[j + 8] = (uint8_t)((super->k[j + 4] & 15) | (super->m[j + 4] & 15) << 4);
    }
}

// Sub-blocks of 32 with offsets: levels as 4 bits, the fifth apart.
SEARCH void search_affine_256(const float *x, const float *importance, float mean_square, float top, uint16_t *d,
                              uint16_t *dmin, uint8_t scales[12], uint8_t qs[128], uint8_t *qh) {
    search_super super = {.subs = 8, .low = 0, .high = top, .k_low = 0, .k_high = 63, .has_offsets = true};
    int8_t levels[256];
    search_super_block(&super, x, importance, mean_square);
    super_levels(&super, levels);
    *d = moru_f16_from_f32(super.d);
    *dmin = moru_f16_from_f32(super.dmin);
    pack_k4_scales(&super, scales);
    for (int i = 0; i < 128; i++) {
        int at = 64 * (i / 32) + i % 32;
        qs[i] = (uint8_t)((levels[at] & 15) | (levels[at + 32] & 15) << 4);
    }
    if (!qh) return;
    memset(qh, 0, 32);
    for (int e = 0; e < 256; e++) qh[e % 32] |= (uint8_t)((levels[e] >> 4) << (e / 32));
}

// One super-block of each format; a function each, so that the constants of the format are known.
static void QUANTIZE_NAME(search_q4_k)(const float *x, const float *importance, float mean_square, moru_q4_k *out) {
    search_affine_256(x, importance, mean_square, 15, &out->d, &out->dmin, out->scales, out->qs, NULL);
}

static void QUANTIZE_NAME(search_q5_k)(const float *x, const float *importance, float mean_square, moru_q5_k *out) {
    search_affine_256(x, importance, mean_square, 31, &out->d, &out->dmin, out->scales, out->qs, out->qh);
}

static void QUANTIZE_NAME(search_q6_k)(const float *x, const float *importance, float mean_square, moru_q6_k *out) {
    search_super super = {.subs = 16, .low = -32, .high = 31, .k_low = -128, .k_high = 127, .has_offsets = false};
    int8_t levels[256];
    search_super_block(&super, x, importance, mean_square);
    super_levels(&super, levels);
    out->d = moru_f16_from_f32(super.d);
    memset(out->ql, 0, sizeof out->ql);
    memset(out->qh, 0, sizeof out->qh);
    for (int j = 0; j < 16; j++) out->scales[j] = (int8_t)super.k[j];
    for (int e = 0; e < 256; e++) {
        int q = levels[e] + 32, upper = e / 128, quarter = e / 32 % 4;
        out->ql[64 * upper + e % 64] |= (uint8_t)((q & 15) << (4 * (quarter / 2)));
        out->qh[32 * upper + e % 32] |= (uint8_t)((q >> 4) << (2 * quarter));
    }
}

static void QUANTIZE_NAME(search_32)(moru_dtype type, const float *x, const float *importance, float mean_square,
                                     void *out) {
    search_block block = search_load(x, importance, mean_square, 32);
    switch (type) {
    case MORU_Q4_0: {
        moru_q4_0 *to = (moru_q4_0 *)out;
        search_symmetric_32(&block, 8, &to->d, to->qs, NULL);
        break;
    }
    case MORU_Q4_1: {
        moru_q4_1 *to = (moru_q4_1 *)out;
        search_affine_32(&block, 15, &to->d, &to->m, to->qs, NULL);
        break;
    }
    case MORU_Q5_0: {
        moru_q5_0 *to = (moru_q5_0 *)out;
        search_symmetric_32(&block, 16, &to->d, to->qs, to->qh);
        break;
    }
    default: {
        moru_q5_1 *to = (moru_q5_1 *)out;
        search_affine_32(&block, 31, &to->d, &to->m, to->qs, to->qh);
        break;
    }
    }
}

void QUANTIZE_NAME(quantize_rows)(moru_dtype type, const float *x, const float *importance, void *out, size_t rows,
                                  size_t columns) {
    if (!moru_can_quantize_rows(type)) return;
    size_t unit = moru_block_elements(type), bytes = moru_block_bytes(type);
    uint8_t *to = (uint8_t *)out;
    for (size_t row = 0; row < rows; row++, x += columns) {
        if (type == MORU_Q8_0) {  // 8 bits leave a search nothing to find
            moru_scalar_quantize(type, x, to, columns);
            to += columns / unit * bytes;
            continue;
        }
        double squares = 0;
        for (size_t i = 0; i < columns; i++) squares += (double)x[i] * (double)x[i];
        float mean_square = (float)(squares / (double)columns);
        for (size_t at = 0; at < columns; at += unit, to += bytes) {
            const float *weights = importance ? importance + at : NULL;
            switch (type) {
            case MORU_Q4_K: QUANTIZE_NAME(search_q4_k)(x + at, weights, mean_square, (moru_q4_k *)to); break;
            case MORU_Q5_K: QUANTIZE_NAME(search_q5_k)(x + at, weights, mean_square, (moru_q5_k *)to); break;
            case MORU_Q6_K: QUANTIZE_NAME(search_q6_k)(x + at, weights, mean_square, (moru_q6_k *)to); break;
            default: QUANTIZE_NAME(search_32)(type, x + at, weights, mean_square, to); break;
            }
        }
    }
}

#pragma clang diagnostic pop
#undef SEARCH
