// Packing of quantised weights, and the scalar reference of the products with them. Layout: packed.h.
#include "packed.h"

#include <math.h>

#include "table.h"

bool moru_can_pack(moru_dtype type) { return type > MORU_BF16 && type < MORU_DTYPE_COUNT; }

size_t moru_packed_bytes(moru_dtype type, size_t n, size_t k) {
    if (!moru_can_pack(type)) return 0;
    return (n + PANEL - 1) / PANEL * packed_panel_bytes(type, k);
}

size_t moru_rounded_bytes(size_t k) {
    return moru_round_up(k, 64) + rounded_padded_blocks(k) * (3 * sizeof(float) + 3 * sizeof(int32_t)) + 128;
}

// The levels of one block of the format, four of them (a byte each) in a word, and the bytes of its scales.

#define EVERY(byte) ((uint32_t)(byte) * 0x01010101u)

static inline uint32_t word(const void *bytes, int i) {
    uint32_t result;
    memcpy(&result, (const uint8_t *)bytes + 4 * i, 4);
    return result;
}

static void levels_4bit(const uint8_t qs[16], uint32_t levels[8]) {
    for (int i = 0; i < 4; i++) {
        levels[i] = word(qs, i) & EVERY(15);
        levels[i + 4] = word(qs, i) >> 4 & EVERY(15);
    }
}

static void levels_5bit(const uint8_t qs[16], const uint8_t qh[4], uint32_t levels[8]) {
    levels_4bit(qs, levels);
    uint32_t high = word(qh, 0);
    // Bit i of four to byte i
    for (int i = 0; i < 8; i++) levels[i] |= ((high >> (4 * i) & 15) * 0x00204081u & EVERY(1)) << 4;
}

// The 2 bits of 128 elements from 32 bytes, which hold one of each 32 elements in turn.
static void levels_2bit(const uint8_t qs[32], uint32_t levels[32]) {
    for (int quarter = 0; quarter < 4; quarter++) {
        for (int i = 0; i < 8; i++) levels[8 * quarter + i] = word(qs, i) >> (2 * quarter) & EVERY(3);
    }
}

static void levels_of(moru_dtype type, const void *block, uint32_t levels[64]) {
    switch (type) {
    case MORU_Q4_0: levels_4bit(((const moru_q4_0 *)block)->qs, levels); break;
    case MORU_Q4_1: levels_4bit(((const moru_q4_1 *)block)->qs, levels); break;
    case MORU_Q5_0: levels_5bit(((const moru_q5_0 *)block)->qs, ((const moru_q5_0 *)block)->qh, levels); break;
    case MORU_Q5_1: levels_5bit(((const moru_q5_1 *)block)->qs, ((const moru_q5_1 *)block)->qh, levels); break;
    case MORU_Q8_0:
        for (int i = 0; i < 8; i++) levels[i] = word(((const moru_q8_0 *)block)->qs, i) ^ EVERY(128);
        break;
    case MORU_Q2_K:
        for (int half = 0; half < 2; half++) {
            levels_2bit(((const moru_q2_k *)block)->qs + 32 * half, levels + 32 * half);
        }
        break;
    case MORU_Q3_K: {
        const moru_q3_k *b = block;
        for (int half = 0; half < 2; half++) levels_2bit(b->qs + 32 * half, levels + 32 * half);
        for (int part = 0; part < 8; part++) {
            for (int i = 0; i < 8; i++) levels[8 * part + i] |= (word(b->hmask, i) >> part & EVERY(1)) << 2;
        }
        break;
    }
    case MORU_Q4_K:
    case MORU_Q5_K: {
        const uint8_t *qs = type == MORU_Q4_K ? ((const moru_q4_k *)block)->qs : ((const moru_q5_k *)block)->qs;
        for (int pair = 0; pair < 4; pair++) {
            for (int i = 0; i < 8; i++) {
                levels[16 * pair + i] = word(qs, 8 * pair + i) & EVERY(15);
                levels[16 * pair + 8 + i] = word(qs, 8 * pair + i) >> 4 & EVERY(15);
            }
        }
        if (type == MORU_Q4_K) break;
        const uint8_t *qh = ((const moru_q5_k *)block)->qh;
        for (int part = 0; part < 8; part++) {
            for (int i = 0; i < 8; i++) levels[8 * part + i] |= (word(qh, i) >> part & EVERY(1)) << 4;
        }
        break;
    }
    case MORU_Q6_K: {
        const moru_q6_k *b = block;
        for (int half = 0; half < 2; half++) {
            uint32_t *to = levels + 32 * half;
            levels_2bit(b->qh + 32 * half, to);
            for (int i = 0; i < 16; i++) {
                to[i] = to[i] << 4 | (word(b->ql, 16 * half + i) & EVERY(15));
                to[i + 16] = to[i + 16] << 4 | (word(b->ql, 16 * half + i) >> 4 & EVERY(15));
            }
        }
        break;
    }
    default: break;
    }
}

// Row r (of 16) of the levels of 32 elements.
static void pack_levels(packed_format format, const uint32_t levels[8], size_t r, uint8_t *out) {
    uint8_t *to = out + 4 * r;
    if (format.low_bits == 8) {
        for (size_t step = 0; step < 8; step++) memcpy(to + 64 * step, levels + step, 4);
        return;
    }
    if (format.low_bits == 4) {
        for (size_t i = 0; i < 4; i++) {
            uint32_t both = (levels[i] & EVERY(15)) | (levels[i + 4] & EVERY(15)) << 4;
            memcpy(to + 64 * i, &both, 4);
        }
        to += 256;
        out += 256;
    }
    if (format.low_bits == 2 || format.high_bits == 2) {
        int shift = format.low_bits == 4 ? 4 : 0;
        for (size_t i = 0; i < 2; i++) {
            uint32_t four = 0;
            for (int part = 0; part < 4; part++) {
                four |= (levels[i + 2 * (size_t)part] >> shift & EVERY(3)) << (2 * part);
            }
            memcpy(to + 64 * i, &four, 4);
        }
        out += 128;
    }
    if (format.high_bits == 1) {
        for (size_t step = 0; step < 8; step++) {
            // Bit 0 of byte i to bit i
            uint8_t bits = (uint8_t)((levels[step] >> format.low_bits & EVERY(1)) * 0x10204080u >> 28);
            uint8_t *pair = out + 8 * step + r / 2;
            *pair = r % 2 ? (uint8_t)(*pair | bits << 4) : bits;
        }
    }
}

// Row r (of 16) of the scales of one block of the format.
static void pack_scales(moru_dtype type, const void *block, size_t r, uint8_t *out) {
    uint16_t d = 0, m = 0;
    uint8_t *bytes = out + 32;
    switch (type) {
    case MORU_Q4_0: d = ((const moru_q4_0 *)block)->d; break;
    case MORU_Q5_0: d = ((const moru_q5_0 *)block)->d; break;
    case MORU_Q8_0: d = ((const moru_q8_0 *)block)->d; break;
    case MORU_Q4_1: d = ((const moru_q4_1 *)block)->d, m = ((const moru_q4_1 *)block)->m; break;
    case MORU_Q5_1: d = ((const moru_q5_1 *)block)->d, m = ((const moru_q5_1 *)block)->m; break;
    case MORU_Q2_K:
        d = ((const moru_q2_k *)block)->d, m = ((const moru_q2_k *)block)->dmin;
        for (size_t j = 0; j < 16; j++) bytes[32 + 16 * j + r] = ((const moru_q2_k *)block)->scales[j];
        break;
    case MORU_Q3_K:
        d = ((const moru_q3_k *)block)->d;
        for (size_t j = 0; j < 16; j++) {
            bytes[16 * j + r] = (uint8_t)(moru_q3_k_scale(((const moru_q3_k *)block)->scales, (int)j) - 32);
        }
        break;
    case MORU_Q4_K:
    case MORU_Q5_K: {
        const moru_q4_k *b = block;  // Q5_K begins the same
        d = b->d, m = b->dmin;
        for (size_t j = 0; j < 8; j++) {
            moru_k4_scale_min(b->scales, (int)j, bytes + 32 + 32 * j + r, bytes + 32 + 32 * j + 16 + r);
        }
        break;
    }
    case MORU_Q6_K:
        d = ((const moru_q6_k *)block)->d;
        for (size_t j = 0; j < 16; j++) bytes[16 * j + r] = (uint8_t)((const moru_q6_k *)block)->scales[j];
        break;
    default: break;
    }
    memcpy(out + 2 * r, &d, 2);
    if (packed_format_of(type).minima) memcpy(out + 32 + 2 * r, &m, 2);
}

// Row r of the blocks of a format whose words are packed as they are, or nearly so; false for another format.
static bool pack_words(moru_dtype type, const uint8_t *row, size_t blocks, size_t r, uint8_t *levels, uint8_t *scales) {
    size_t size = moru_block_bytes(type);
    for (size_t b = 0; b < blocks; b++, row += size) {
        switch (type) {
        case MORU_Q4_1:
            memcpy(scales + 64 * b + 2 * r, row, 2);
            memcpy(scales + 64 * b + 32 + 2 * r, row + 2, 2);
            for (size_t i = 0; i < 4; i++) memcpy(levels + 256 * b + 64 * i + 4 * r, row + 4 + 4 * i, 4);
            break;
        case MORU_Q4_0:
            memcpy(scales + 32 * b + 2 * r, row, 2);
            for (size_t i = 0; i < 4; i++) memcpy(levels + 256 * b + 64 * i + 4 * r, row + 2 + 4 * i, 4);
            break;
        case MORU_Q8_0:
            memcpy(scales + 32 * b + 2 * r, row, 2);
            for (size_t i = 0; i < 8; i++) {
                uint32_t four = word(row + 2, (int)i) ^ EVERY(128);
                memcpy(levels + 512 * b + 64 * i + 4 * r, &four, 4);
            }
            break;
        default: return false;
        }
    }
    return true;
}

void moru_pack(moru_dtype type, const void *w, size_t w_row_bytes, size_t n, size_t k, void *out, size_t n_begin,
               size_t n_end) {
    if (!moru_can_pack(type)) return;
    packed_format format = packed_format_of(type);
    size_t elements = moru_block_elements(type), size = moru_block_bytes(type);
    size_t panel_bytes = packed_panel_bytes(type, k);
    size_t level_bytes = packed_level_bytes(type), scale_bytes = packed_scale_bytes(type);
    for (size_t first = n_begin; first < n_end; first += PANEL) {
        uint8_t *panel = (uint8_t *)out + first / PANEL * panel_bytes;
        uint8_t *scales = panel + packed_levels_of_panel(type, k);
        if (n - first < PANEL) memset(panel, 0, panel_bytes);
        for (size_t r = 0; r < moru_min_size(PANEL, n - first); r++) {
            const uint8_t *row = (const uint8_t *)w + (first + r) * w_row_bytes;
            if (pack_words(type, row, k / elements, r, panel, scales)) continue;
            for (size_t b = 0; b < k / elements; b++) {
                uint32_t levels[64];
                levels_of(type, row + b * size, levels);
                for (size_t i = 0; i < elements; i += 32) {
                    pack_levels(format, levels + i / 4, r, panel + (b * elements + i) / 32 * level_bytes);
                }
                pack_scales(type, row + b * size, r, scales + b * scale_bytes);
            }
        }
    }
}

void moru_scalar_round_row(const float *row_x, size_t k, bool closely, void *out, size_t begin, size_t end) {
    rounded_row row = rounded_row_at(out, k);
    for (size_t b = begin / 32; b < end / 32; b++) {
        const float *x = row_x + 32 * b;
        float low = 0, high = 0;  // the least but for its sign, and the largest
        bool is_number = true;
        for (size_t i = 0; i < 32; i++) {
            if (-x[i] > low) low = -x[i];
            if (x[i] > high) high = x[i];
            if (x[i] != x[i]) is_number = false;
        }
        float range = !is_number ? NAN : closely ? low + high : low > high ? low : high, steps = closely ? 254 : 127;
        float inverse = range > 0 ? steps / range : 0, scale = range / steps;
        if (inverse == INFINITY) inverse = scale = 0;  // too small to divide by
        float zero = closely && is_number ? rintf(low * inverse) - 127 : 0;
        int32_t sums[2] = {0, 0};
        for (size_t i = 0; i < 32; i++) {
            float level = rintf(fmaf(x[i], inverse, zero));
            int8_t q = level > 127 ? 127 : level < -127 ? -127 : level == level ? (int8_t)level : 0;
            ((int8_t *)out)[32 * b + i] = q;
            sums[i / 16] += q;
        }
        float shift = -zero * scale, sum = fmaf(32, shift, (float)(sums[0] + sums[1]) * scale);
        memcpy((float *)(uintptr_t)row.scale + b, &scale, sizeof scale);
        memcpy((float *)(uintptr_t)row.shift + b, &shift, sizeof shift);
        memcpy((float *)(uintptr_t)row.scaled_sum + b, &sum, sizeof sum);
        ((int32_t *)(uintptr_t)row.sum)[b] = sums[0] + sums[1];
        memcpy((int32_t *)(uintptr_t)row.half_sums + 2 * b, sums, sizeof sums);
    }
}

// Level `i` (of 32) of row r of a panel's block.
static int packed_level(packed_format format, const uint8_t *block, size_t r, size_t i) {
    size_t step = i / 4, at = 4 * r + i % 4;
    int level = 0;
    if (format.low_bits == 8) return block[64 * step + at];
    if (format.low_bits == 4) {
        level = (block[64 * (step % 4) + at] >> (step / 4 * 4)) & 15;
        block += 256;
    }
    if (format.low_bits == 2 || format.high_bits == 2) {
        level |= ((block[64 * (step % 2) + at] >> (step / 2 * 2)) & 3) << (format.low_bits == 4 ? 4 : 0);
        block += 128;
    }
    if (format.high_bits == 1) level |= ((block[8 * step + at / 8] >> (at % 8)) & 1) << format.low_bits;
    return level;
}

// The scale and minimum of row r for the elements of k from `i` on.
static void packed_scale(moru_dtype type, const uint8_t *scales, size_t r, size_t i, float *scale, float *minimum) {
    const uint8_t *block = scales + i / moru_block_elements(type) * packed_scale_bytes(type);
    packed_format format = packed_format_of(type);
    uint16_t half;
    memcpy(&half, block + 2 * r, 2);
    *scale = moru_f32_from_f16(half);
    *minimum = 0;
    if (format.minima) {
        memcpy(&half, block + 32 + 2 * r, 2);
        *minimum = moru_f32_from_f16(half);
    }
    size_t within = i % 256, sub = within / 16;
    switch (type) {
    case MORU_Q2_K: {
        uint8_t packed = block[64 + 16 * sub + r];
        *scale *= (float)(packed & 15);
        *minimum *= -(float)(packed >> 4);
        break;
    }
    case MORU_Q3_K:
    case MORU_Q6_K: *scale *= (float)(int8_t)block[32 + 16 * sub + r]; break;
    case MORU_Q4_K:
    case MORU_Q5_K:
        *scale *= (float)block[64 + 32 * (within / 32) + r];
        *minimum *= -(float)block[64 + 32 * (within / 32) + 16 + r];
        break;
    default: break;
    }
}

void moru_scalar_packed_product(const moru_packed_product *args, size_t n_begin, size_t n_end) {
    moru_dtype type = args->w_type;
    packed_format format = packed_format_of(type);
    size_t k = args->k, level_bytes = packed_level_bytes(type), length = format.sixteenths ? 16 : 32;
    for (size_t n = n_begin; n < n_end; n++) {
        const uint8_t *panel = (const uint8_t *)args->w + n / PANEL * packed_panel_bytes(type, k);
        const uint8_t *scales = panel + packed_levels_of_panel(type, k);
        for (size_t r = 0; r < args->rows && !args->accumulate; r++) args->y[r * args->y_row_stride + n] = 0;
        for (size_t i = 0; i < k; i += length) {
            int weights[32], weight_sum = 0;
            float scale, minimum;
            for (size_t j = 0; j < length; j++) {
                weights[j] = packed_level(format, panel + i / 32 * level_bytes, n % PANEL, i % 32 + j) - format.offset;
                weight_sum += weights[j];
            }
            packed_scale(type, scales, n % PANEL, i, &scale, &minimum);
            for (size_t r = 0; r < args->rows; r++) {
                rounded_row x = rounded_row_at((const uint8_t *)args->x + r * args->x_row_bytes, k);
                float *y = args->y + r * args->y_row_stride + n, activation = x.scale[i / 32], shift = x.shift[i / 32];
                int32_t products = 0, sum = 0;
                for (size_t j = 0; j < length; j++) {
                    products += weights[j] * x.q[i + j];
                    sum += x.q[i + j];
                }
                *y = fmaf((float)products, scale * activation, *y);
                if (format.minima) *y = fmaf(minimum, fmaf((float)length, shift, (float)sum * activation), *y);
                if (args->closely) *y = fmaf((float)weight_sum * scale, shift, *y);
            }
        }
    }
}
