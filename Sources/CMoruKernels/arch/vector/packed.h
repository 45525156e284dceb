// Products with packed quantised weights (layout: packed.h). The levels of a few panels are unpacked to bytes, as many
// of k as the first-level cache holds, and meet all rows of activations in tiles; each lane of a tile is one result, so
// nothing is added across lanes. Every result is one chain over the blocks of k, the same for any number of rows.
//
// The including file defines PACKED_NAME(f), PACKED_PANELS and PACKED_ROWS (a tile), PACKED_SIGNED (whether 8-bit
// levels are multiplied as signed bytes), packed_dots, and PACKED_NIBBLES: whether packed_nibble_dots takes 4-bit levels
// as they are packed; or PACKED_PANELS and PACKED_UNPACKS_ONLY.

#define PACKED_DEPTH ((size_t)768)
#define PACKED_VECTORS (PACKED_PANELS * 16 / MORU_LANES)

typedef uint8_t u8x64 __attribute__((ext_vector_type(64)));
typedef uint8_t u8v __attribute__((ext_vector_type(MORU_LANES)));

typedef struct {
    uint8_t levels[PACKED_PANELS][PACKED_DEPTH * 16];
    float scale[PACKED_PANELS][PACKED_DEPTH];    // 16 for each sub-block
    float minimum[PACKED_PANELS][PACKED_DEPTH];
    float level_sum[PACKED_PANELS][PACKED_DEPTH];  // scaled; for rows that are rounded closely
} packed_chunk;

typedef struct {
    size_t blocks;          // of 32
    const uint8_t *levels;  // of the first panel; the others follow level_step bytes apart
    size_t level_step;
    const float *scale, *minimum, *level_sum;
    size_t scale_step;  // in elements
    const uint8_t *packed_scales;  // those of the first panel as they are packed, where tiles read them so
    size_t packed_scales_step;
    int offset;
    const void *x;  // the first row
    size_t k, first, x_row_bytes;
    float *y;
    size_t y_row_stride, columns;
    bool accumulate;
    const uint8_t *ahead;  // what to ask for early, with each sub-block `ahead_step` bytes
    size_t ahead_step;
} packed_tile_arguments;

#ifndef PACKED_IN_ORDER
#define PACKED_IN_ORDER()
#endif

INLINE u8x64 load_64(const uint8_t *p) {
    u8x64 v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

// Bytes of 255 where the bit of that number is set, else 0.
INLINE u8x64 spread_bits(const uint8_t bits[8]) {
#if MORU_LANES == 16
    uint64_t mask;
    __builtin_memcpy(&mask, bits, sizeof mask);
    return (u8x64)_mm512_movm_epi8(mask);
#else
    // A shuffle of bytes that is written out: a loop over them is compiled to single bytes, 300 times as slow.
    typedef uint8_t u8x8 __attribute__((ext_vector_type(8)));
    typedef uint64_t u64x8 __attribute__((ext_vector_type(8)));
    u8x8 eight;
    __builtin_memcpy(&eight, bits, sizeof eight);
    u8x64 spread = __builtin_shufflevector(
        eight, eight, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3,
        4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7);
    u8x64 masks = __builtin_bit_cast(u8x64, (u64x8)(0x8040201008040201u));  // bit i % 8 of byte i
    return __builtin_bit_cast(u8x64, (spread & masks) == masks);
#endif
}

// The levels of one block of a panel as bytes, a vector for each step.
INLINE void unpack_levels(const int low_bits, const int high_bits, const uint8_t *in, uint8_t *out) {
    u8x64 steps[8];
    if (low_bits == 4) {
        for (int i = 0; i < 4; i++) {
            u8x64 bytes = load_64(in + 64 * i);
            steps[i] = bytes & 15;
            steps[i + 4] = bytes >> 4;
        }
        in += 256;
    }
    if (low_bits == 2 || high_bits == 2) {
        for (int i = 0; i < 2; i++) {
            u8x64 bytes = load_64(in + 64 * i);
            for (int t = 0; t < 4; t++) {
                u8x64 two = (bytes >> (uint8_t)(2 * t)) & 3;
                steps[i + 2 * t] = low_bits == 4 ? steps[i + 2 * t] | two << 4 : two;
            }
        }
        in += 128;
    }
    if (high_bits == 1) {
        for (int i = 0; i < 8; i++) steps[i] |= spread_bits(in + 8 * i) & (uint8_t)(1 << low_bits);
    }
    __builtin_memcpy(out, steps, sizeof steps);
}

INLINE vi vload_bytes(const uint8_t *bytes) {
    u8v part;
    __builtin_memcpy(&part, bytes, sizeof part);
    return __builtin_convertvector(part, vi);
}

// 16 bytes, unsigned or signed, times `factor`.
INLINE void scale_bytes(const uint8_t *bytes, bool is_signed, const vf *factor, float *out) {
    for (size_t i = 0; i < 16 / LANES; i++) {
        vi wide = vload_bytes(bytes + i * LANES);
        if (is_signed) wide = wide << 24 >> 24;
        vstore(out + i * LANES, __builtin_convertvector(wide, vf) * factor[i]);
    }
}

// The scales and minima of `blocks` blocks of the format of a panel.
static void unpack_scales(moru_dtype type, const uint8_t *in, size_t blocks, float *scale, float *minimum) {
    size_t bytes = packed_scale_bytes(type);
    bool minima = packed_format_of(type).minima;
    for (size_t b = 0; b < blocks; b++, in += bytes) {
        vf d[16 / MORU_LANES], m[16 / MORU_LANES];
        for (size_t i = 0; i < 16 / LANES; i++) {
            d[i] = vload_f16((const uint16_t *)(const void *)in + i * LANES);
            if (minima) m[i] = vload_f16((const uint16_t *)(const void *)in + 16 + i * LANES);
        }
        if (type <= MORU_Q8_0) {
            for (size_t i = 0; i < 16 / LANES; i++) {
                vstore(scale + 16 * b + i * LANES, d[i]);
                if (minima) vstore(minimum + 16 * b + i * LANES, m[i]);
            }
            continue;
        }
        for (size_t i = 0; i < 16 / LANES && minima; i++) m[i] = -m[i];
        if (type == MORU_Q4_K || type == MORU_Q5_K) {
            for (size_t j = 0; j < 8; j++) {
                scale_bytes(in + 64 + 32 * j, false, d, scale + 128 * b + 16 * j);
                scale_bytes(in + 80 + 32 * j, false, m, minimum + 128 * b + 16 * j);
            }
            continue;
        }
        for (size_t j = 0; j < 16; j++) {
            if (type == MORU_Q2_K) {
                uint8_t parts[2][16];
                for (int i = 0; i < 16; i++) {
                    parts[0][i] = in[64 + 16 * j + (size_t)i] & 15;
                    parts[1][i] = in[64 + 16 * j + (size_t)i] >> 4;
                }
                scale_bytes(parts[0], false, d, scale + 256 * b + 16 * j);
                scale_bytes(parts[1], false, m, minimum + 256 * b + 16 * j);
            } else {
                scale_bytes(in + 32 + 16 * j, true, d, scale + 256 * b + 16 * j);
            }
        }
    }
}

#ifndef PACKED_UNPACKS_ONLY
// What a sub-block of a row adds apart from the products of levels: in a format with minima the sum of the activations,
// which they multiply; else the integer that the sum of products starts from.
typedef union {
    float term;
    int32_t start;
} packed_correction;

// Those of one row, where they are not in it.
INLINE void packed_corrections(const bool sixteenths, const bool minima, const packed_tile_arguments *t,
                               const rounded_row *x, packed_correction *corrections) {
    size_t first = t->first / 32;
    const int32_t *sums = sixteenths ? x->half_sums + 2 * first : x->sum + first;
    for (size_t i = 0; i < (sixteenths ? 2 * t->blocks : t->blocks); i += LANES) {
        vi sum;
        __builtin_memcpy(&sum, sums + i, sizeof sum);
        if (!minima) {
            sum *= -t->offset;
            __builtin_memcpy(corrections + i, &sum, sizeof sum);
            continue;
        }
        vf scale, shift;
        for (size_t j = 0; j < LANES; j++) {
            scale[j] = x->scale[first + (i + j) / 2];
            shift[j] = x->shift[first + (i + j) / 2];
        }
        vstore(&corrections[i].term, vfma(vset(16), shift, __builtin_convertvector(sum, vf) * scale));
    }
}

// How a tile finds scales: unpacked; as f16, one a block of 32; or as in Q4_K, as f16 for 256 elements and bytes for 32.
typedef enum { UNPACKED_SCALES, HALF_SCALES, BYTE_SCALES } packed_scale_form;

// `rows` rows of activations, at most PACKED_PANELS panels. All but `t` are constants in every call; bits are 0 where
// the levels are of 4 bits and still packed.
INLINE void packed_tile(const int rows, const int bits, const bool sixteenths, const bool minima,
                        const packed_scale_form scales, const bool closely, const packed_tile_arguments *t) {
    const int steps = sixteenths ? 4 : 8;
    const bool starts_at_zero = minima || (PACKED_SIGNED && bits == 8), in_row = minima && !sixteenths;
    packed_correction corrections[PACKED_ROWS][PACKED_DEPTH / 16 + 16];
    vf total[PACKED_ROWS][PACKED_VECTORS];
    rounded_row x = rounded_row_at(t->x, t->k);
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        rounded_row row = rounded_row_at((const uint8_t *)t->x + (size_t)r * t->x_row_bytes, t->k);
        if (!in_row && !(starts_at_zero && !minima)) packed_corrections(sixteenths, minima, t, &row, corrections[r]);
        _Pragma("clang loop unroll(full)") for (int v = 0; v < PACKED_VECTORS; v++) {
            const float *y = t->y + (size_t)r * t->y_row_stride + v * MORU_LANES;
            size_t start = (size_t)v * LANES, columns = t->columns;
            total[r][v] = vset(0);
            if (!t->accumulate || columns <= start) continue;
            total[r][v] = columns >= start + LANES ? vload(y) : vload_n(y, columns - start);
        }
    }
    const uint8_t *levels = t->levels, *ahead = t->ahead;
    const int8_t *q = x.q + t->first;
    const packed_correction *correction = corrections[0];
    if (in_row) correction = (const packed_correction *)(const void *)(x.scaled_sum + t->first / 32);
    size_t correction_step = in_row ? t->x_row_bytes : sizeof corrections[0];
    const float *scale = t->scale, *minimum = t->minimum, *level_sum = t->level_sum;
    const uint8_t *packed_scale = t->packed_scales;
    vf block_scale[PACKED_VECTORS], block_minimum[PACKED_VECTORS];
    for (size_t s = 0; s < (sixteenths ? 2 * t->blocks : t->blocks); s++) {
        vi sum[PACKED_ROWS][PACKED_VECTORS];
        for (const uint8_t *stop = ahead + t->ahead_step; ahead < stop; ahead += 64) __builtin_prefetch(ahead);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            packed_correction own = {.start = 0};
            if (!starts_at_zero) {
                __builtin_memcpy(&own, (const uint8_t *)(correction + s) + (size_t)r * correction_step, sizeof own);
            }
            _Pragma("clang loop unroll(full)") for (int v = 0; v < PACKED_VECTORS; v++) sum[r][v] = (vi)(own.start);
        }
#if PACKED_NIBBLES
        if (bits == 0) packed_nibble_dots(rows, levels, t->level_step, q, t->x_row_bytes, sum);
        else packed_dots(rows, bits, steps, levels, t->level_step, q, t->x_row_bytes, sum);
#else
        packed_dots(rows, bits, steps, levels, t->level_step, q, t->x_row_bytes, sum);
#endif
        levels += (bits == 0 ? 32 : 64) * steps;
        q += 4 * steps;
        PACKED_IN_ORDER();
        const float *x_scale = x.scale + t->first / 32 + (sixteenths ? s / 2 : s);
        const float *x_shift = x.shift + t->first / 32 + (sixteenths ? s / 2 : s);
        vf weight_scale[PACKED_VECTORS], low[PACKED_VECTORS], middle[PACKED_VECTORS];
        _Pragma("clang loop unroll(full)") for (int v = 0; v < PACKED_VECTORS; v++) {
            size_t panel = (size_t)v * LANES / 16, lane = (size_t)v * LANES % 16;
            if (scales != UNPACKED_SCALES) {
                const uint8_t *own = packed_scale + panel * t->packed_scales_step;
                const uint16_t *d = (const uint16_t *)(const void *)own + lane;
                if (scales == HALF_SCALES) {
                    weight_scale[v] = vload_f16(d);
                    if (minima) low[v] = vload_f16(d + 16);
                    continue;
                }
                if (s % 8 == 0) {
                    block_scale[v] = vload_f16(d);
                    block_minimum[v] = -vload_f16(d + 16);
                }
                vi factor = vload_bytes(own + 64 + 32 * (s % 8) + lane);
                vi minimum_factor = vload_bytes(own + 80 + 32 * (s % 8) + lane);
                weight_scale[v] = __builtin_convertvector(factor, vf) * block_scale[v];
                low[v] = __builtin_convertvector(minimum_factor, vf) * block_minimum[v];
                continue;
            }
            size_t at = panel * t->scale_step + lane;
            weight_scale[v] = vload(scale + at);
            if (minima) low[v] = vload(minimum + at);
            if (closely) middle[v] = vload(level_sum + at);
        }
        if (scales == HALF_SCALES) {
            packed_scale += minima ? 64 : 32;
        } else if (scales == BYTE_SCALES) {
            packed_scale += s % 8 == 7 ? 64 + 8 * 32 : 0;
        } else {
            scale += 16;
            minimum += 16;
            if (closely) level_sum += 16;
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            PACKED_IN_ORDER();
            size_t row = (size_t)r * t->x_row_bytes;
            float activation_scale, shift;
            packed_correction own;
            __builtin_memcpy(&activation_scale, (const uint8_t *)x_scale + row, sizeof activation_scale);
            if (closely) __builtin_memcpy(&shift, (const uint8_t *)x_shift + row, sizeof shift);
            if (minima) {
                __builtin_memcpy(&own, (const uint8_t *)(correction + s) + (size_t)r * correction_step, sizeof own);
            }
            _Pragma("clang loop unroll(full)") for (int v = 0; v < PACKED_VECTORS; v++) {
                vf factor = weight_scale[v] * vset(activation_scale);
                total[r][v] = vfma(__builtin_convertvector(sum[r][v], vf), factor, total[r][v]);
                if (minima) total[r][v] = vfma(low[v], vset(own.term), total[r][v]);
                if (closely) total[r][v] = vfma(middle[v], vset(shift), total[r][v]);
            }
        }
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < PACKED_VECTORS; v++) {
            float *y = t->y + (size_t)r * t->y_row_stride + v * MORU_LANES;
            size_t start = (size_t)v * LANES;
            if (t->columns >= start + LANES) vstore(y, total[r][v]);
            else if (t->columns > start) vstore_n(y, total[r][v], t->columns - start);
        }
    }
}

// By what the instructions tell apart: the bits of a level, 16 or 32 elements a scale, minima or an offset, scales as
// they are packed or unpacked.
#if PACKED_NIBBLES
#define PACKED_STILL(X) X(0, false, true, HALF_SCALES) X(0, false, false, HALF_SCALES) X(0, false, true, BYTE_SCALES)
#else
#define PACKED_STILL(X)
#endif
#define PACKED_KINDS(X)                       \
    X(4, false, true, UNPACKED_SCALES)        \
    X(5, false, true, UNPACKED_SCALES)        \
    X(4, false, false, UNPACKED_SCALES)       \
    X(5, false, false, UNPACKED_SCALES)       \
    X(8, false, false, UNPACKED_SCALES)       \
    X(2, true, true, UNPACKED_SCALES)         \
    X(3, true, false, UNPACKED_SCALES)        \
    X(6, true, false, UNPACKED_SCALES)        \
    X(8, false, false, HALF_SCALES)           \
    PACKED_STILL(X)

typedef void packed_tile_function(const packed_tile_arguments *);

// Scales of rows that are rounded closely are unpacked, to be summed with the levels.
#define TILE(BITS, SIXTEENTHS, MINIMA, SCALES, R)                                                                \
    static void packed_tile_##BITS##_##SIXTEENTHS##_##MINIMA##_##SCALES##_##R(const packed_tile_arguments *t) {  \
        const bool sums_levels = SCALES == UNPACKED_SCALES && t->level_sum;                                      \
        if (sums_levels) packed_tile(R, BITS, SIXTEENTHS, MINIMA, SCALES, true, t);                              \
        else packed_tile(R, BITS, SIXTEENTHS, MINIMA, SCALES, false, t);                                         \
    }
#if PACKED_ROWS == 6
#define TILES(B, S, M, F)                                           \
    TILE(B, S, M, F, 1) TILE(B, S, M, F, 2) TILE(B, S, M, F, 3)     \
    TILE(B, S, M, F, 4) TILE(B, S, M, F, 5) TILE(B, S, M, F, 6)
#elif PACKED_ROWS == 4
#define TILES(B, S, M, F) TILE(B, S, M, F, 1) TILE(B, S, M, F, 2) TILE(B, S, M, F, 3) TILE(B, S, M, F, 4)
#else
#define TILES(B, S, M, F) TILE(B, S, M, F, 1) TILE(B, S, M, F, 2)
#endif
PACKED_KINDS(TILES)
#undef TILE
#undef TILES

#define TILE(B, S, M, F, R) packed_tile_##B##_##S##_##M##_##F##_##R
#if PACKED_ROWS == 6
#define TILES(B, S, M, F)                                                   \
    {0, TILE(B, S, M, F, 1), TILE(B, S, M, F, 2), TILE(B, S, M, F, 3),      \
     TILE(B, S, M, F, 4), TILE(B, S, M, F, 5), TILE(B, S, M, F, 6)},
#elif PACKED_ROWS == 4
#define TILES(B, S, M, F) \
    {0, TILE(B, S, M, F, 1), TILE(B, S, M, F, 2), TILE(B, S, M, F, 3), TILE(B, S, M, F, 4)},
#else
#define TILES(B, S, M, F) {0, TILE(B, S, M, F, 1), TILE(B, S, M, F, 2)},
#endif
static packed_tile_function *const packed_tiles[][PACKED_ROWS + 1] = {PACKED_KINDS(TILES)};
#undef TILE
#undef TILES

// The place of a format's tiles in that table.
static size_t packed_kind(moru_dtype type, bool in_place, bool closely) {
    switch (type) {
    case MORU_Q4_0: return in_place ? 10 : 2;
    case MORU_Q4_1: return in_place ? 9 : 0;
    case MORU_Q4_K: return in_place ? 11 : 0;
    case MORU_Q5_0: return 3;
    case MORU_Q5_1:
    case MORU_Q5_K: return 1;
    case MORU_Q8_0: return closely ? 4 : 8;
    case MORU_Q2_K: return 5;
    case MORU_Q3_K: return 6;
    default: return 7;
    }
}

#endif

// Elements [first, first + 32 * blocks) of k of one panel; no levels where `levels` is NULL, and none of bytes.
static void packed_unpack(moru_dtype type, const uint8_t *panel, size_t k, size_t first, size_t blocks, uint8_t *levels,
                          float *scale, float *minimum) {
    size_t bytes = packed_level_bytes(type), elements = moru_block_elements(type);
    const uint8_t *in = panel + first / 32 * bytes;
    const uint8_t *scales = panel + packed_levels_of_panel(type, k) + first / elements * packed_scale_bytes(type);
    unpack_scales(type, scales, blocks * 32 / elements, scale, minimum);
    if (!levels || type == MORU_Q8_0) return;
    packed_format format = packed_format_of(type);
    int form = format.low_bits * 10 + format.high_bits;
    for (size_t b = 0; b < blocks; b++, in += bytes, levels += 512) {
        switch (form) {
        case 40: unpack_levels(4, 0, in, levels); break;
        case 41: unpack_levels(4, 1, in, levels); break;
        case 42: unpack_levels(4, 2, in, levels); break;
        case 20: unpack_levels(2, 0, in, levels); break;
        default: unpack_levels(2, 1, in, levels); break;
        }
    }
}

// Splits `total` into equal parts of at most `most`, each a multiple of `unit`.
INLINE size_t packed_part(size_t total, size_t most, size_t unit) {
    size_t parts = (total + most - 1) / most;
    return parts == 0 ? unit : moru_round_up((total + parts - 1) / parts, unit);
}

#ifndef PACKED_UNPACKS_ONLY
// Whether the levels are multiplied as they are packed: where they are bytes already, and where they are halves of bytes
// and meet so few rows that unpacking them for all, to be stored and loaded again, takes longer, unless they
// are to be summed.
INLINE bool packed_in_place(moru_dtype type, size_t rows, bool closely) {
    packed_format format = packed_format_of(type);
    if (format.low_bits == 8) return true;
    return PACKED_NIBBLES && !closely && format.low_bits == 4 && format.high_bits == 0 && rows <= 2 * PACKED_ROWS;
}

// The scaled sums of the levels of a panel's sub-blocks, less what the format takes off each.
static void sum_levels(const uint8_t *levels, size_t sub_blocks, size_t length, int offset, const float *scale,
                       float *out) {
    typedef uint32_t u32x16 __attribute__((ext_vector_type(16)));
    for (size_t s = 0; s < sub_blocks; s++, levels += 16 * length) {
        u32x16 pairs = (u32x16)(0);
        for (size_t step = 0; step < length / 4; step++) {
            u32x16 bytes = __builtin_bit_cast(u32x16, load_64(levels + 64 * step));
            pairs += (bytes & 0x00ff00ff) + (bytes >> 8 & 0x00ff00ff);
        }
        u32x16 sums = (pairs & 0xffff) + (pairs >> 16) - (uint32_t)length * (uint32_t)offset;
        int32_t whole[16];
        __builtin_memcpy(whole, &sums, sizeof whole);
        for (size_t i = 0; i < 16; i += LANES) {
            vi part;
            __builtin_memcpy(&part, whole + i, sizeof part);
            vstore(out + 16 * s + i, __builtin_convertvector(part, vf) * vload(scale + 16 * s + i));
        }
    }
}

// How much of k is unpacked at a time: with one tile of rows little, so that memory is read while tiles are computed;
// with more, as much as the cache holds.
INLINE size_t packed_depth(moru_dtype type, size_t rows, bool closely) {
    if (rows > PACKED_ROWS || packed_in_place(type, rows, closely)) return PACKED_DEPTH;
    return rows == 1 && moru_block_elements(type) == 32 ? 128 : 256;
}

static void packed_rows(const moru_packed_product *args, size_t n_begin, size_t n_end) {
    packed_chunk chunk __attribute__((aligned(64)));
    moru_dtype type = args->w_type;
    size_t k = args->k, panel_bytes = packed_panel_bytes(type, k), wide = PACKED_PANELS * PANEL;
    size_t depth_step = packed_part(k, packed_depth(type, args->rows, args->closely), moru_block_elements(type));
    size_t rows_at_once = packed_part(args->rows, PACKED_ROWS, 1);
    bool sixteenths = packed_format_of(type).sixteenths;
    size_t sub_blocks = (sixteenths ? k / 16 : k / 32) * ((args->rows + rows_at_once - 1) / rows_at_once);
    size_t step = moru_round_up((PACKED_PANELS * panel_bytes + sub_blocks - 1) / sub_blocks, 64);
    bool in_place = packed_in_place(type, args->rows, args->closely);
    bool unpacks_scales = !in_place || args->closely;
    packed_tile_function *const *tiles = packed_tiles[packed_kind(type, in_place, args->closely)];
    packed_tile_arguments t = {.offset = packed_format_of(type).offset, .k = k, .x_row_bytes = args->x_row_bytes,
                               .y_row_stride = args->y_row_stride};
    for (size_t n = n_begin; n < n_end; n += wide) {
        const uint8_t *panel = (const uint8_t *)args->w + n / PANEL * panel_bytes;
        size_t panels = moru_min_size(PACKED_PANELS, (n_end - n + PANEL - 1) / PANEL);
        bool is_last = n + wide >= n_end;
        t.ahead = is_last ? args->next : panel + PACKED_PANELS * panel_bytes;
        t.ahead_step = is_last ? moru_round_up((args->next_bytes + sub_blocks - 1) / sub_blocks, 64) : step;
        t.columns = moru_min_size(wide, n_end - n);
        for (size_t first = 0; first < k; first += depth_step) {
            t.first = first;
            t.blocks = moru_min_size(depth_step, k - first) / 32;
            for (size_t p = 0; p < panels && unpacks_scales; p++) {
                packed_unpack(type, panel + p * panel_bytes, k, first, t.blocks, in_place ? NULL : chunk.levels[p],
                              chunk.scale[p], chunk.minimum[p]);
            }
            // A panel that is missing is replaced by the first: its results are not stored.
            t.levels = in_place ? panel + first / 32 * packed_level_bytes(type) : chunk.levels[0];
            t.level_step = panels < PACKED_PANELS ? 0 : in_place ? panel_bytes : sizeof chunk.levels[0];
            t.packed_scales = panel + packed_levels_of_panel(type, k) +
                              first / moru_block_elements(type) * packed_scale_bytes(type);
            t.packed_scales_step = panels < PACKED_PANELS ? 0 : panel_bytes;
            t.scale = chunk.scale[0];
            t.minimum = chunk.minimum[0];
            t.level_sum = args->closely ? chunk.level_sum[0] : NULL;
            for (size_t p = 0; p < panels && args->closely; p++) {
                size_t length = sixteenths ? 16 : 32;
                sum_levels(t.levels + p * t.level_step, t.blocks * 32 / length, length, t.offset, chunk.scale[p],
                           chunk.level_sum[p]);
            }
            t.scale_step = panels < PACKED_PANELS ? 0 : PACKED_DEPTH;
            t.accumulate = args->accumulate || first > 0;
            for (size_t r = 0; r < args->rows; r += rows_at_once) {
                t.x = (const uint8_t *)args->x + r * args->x_row_bytes;
                t.y = args->y + r * args->y_row_stride + n;
                tiles[moru_min_size(rows_at_once, args->rows - r)](&t);
                t.ahead += t.ahead_step * t.blocks * (sixteenths ? 2 : 1);
            }
        }
    }
}

// Rows whose activations stay in the second-level cache while the weights pass.
#define PACKED_ACTIVATIONS ((size_t)384 << 10)

void PACKED_NAME(packed_product)(const moru_packed_product *args, size_t n_begin, size_t n_end) {
    size_t most = moru_max_size(1, PACKED_ACTIVATIONS / args->x_row_bytes / PACKED_ROWS) * PACKED_ROWS;
    for (size_t r = 0, step = packed_part(args->rows, most, PACKED_ROWS); r < args->rows; r += step) {
        moru_packed_product part = *args;
        part.rows = moru_min_size(step, args->rows - r);
        part.x = (const uint8_t *)args->x + r * args->x_row_bytes;
        part.y = args->y + r * args->y_row_stride;
        packed_rows(&part, n_begin, n_end);
    }
}

// Each block by itself: around 0, or closely from the least to the largest, with 0 among the steps.
INLINE void round_blocks(const float *row_x, size_t k, const bool closely, void *out, size_t begin, size_t end) {
    rounded_row row = rounded_row_at(out, k);
    for (size_t b = begin / 32; b < end / 32; b++) {
        const float *x = row_x + 32 * b;
        // As integers, where a NaN is the largest: the largest, and the least but for its sign
        vi most = (vi)(0), least = (vi)(0);
        for (size_t i = 0; i < 32; i += LANES) {
            vi bits = vasint(vload(x + i)), flipped = closely ? bits ^ (int32_t)0x80000000 : bits & 0x7fffffff;
            if (closely) most = most > bits ? most : bits;
            least = least > flipped ? least : flipped;
        }
        float low = __builtin_bit_cast(float, __builtin_reduce_max(least)), range = low;
        if (closely) range += __builtin_bit_cast(float, __builtin_reduce_max(most));
        float steps = closely ? 254 : 127, inverse = range > 0 ? steps / range : 0, scale = range / steps;
        if (inverse == INFINITY) inverse = scale = 0;  // too small to divide by
        float zero = closely ? __builtin_rintf(low * inverse) - 127 : 0;
        vi half[2] = {(vi)(0), (vi)(0)};
        for (size_t i = 0; i < 32; i += LANES) {
            vf level = __builtin_elementwise_rint(vfma(vload(x + i), vset(inverse), vset(zero)));
            vi whole = __builtin_convertvector(closely ? vmin(vmax(level, vset(-127)), vset(127)) : level, vi);
            u8v bytes = __builtin_convertvector(whole, u8v);
            __builtin_memcpy((int8_t *)out + 32 * b + i, &bytes, sizeof bytes);
            half[i / 16] += whole;
        }
        int32_t sums[2] = {__builtin_reduce_add(half[0]), __builtin_reduce_add(half[1])};
        float shift = -zero * scale;
        ((float *)(uintptr_t)row.scale)[b] = scale;
        ((float *)(uintptr_t)row.shift)[b] = shift;
        ((float *)(uintptr_t)row.scaled_sum)[b] = fmaf(32, shift, (float)(sums[0] + sums[1]) * scale);
        ((int32_t *)(uintptr_t)row.sum)[b] = sums[0] + sums[1];
        __builtin_memcpy((int32_t *)(uintptr_t)row.half_sums + 2 * b, sums, sizeof sums);
    }
}

void PACKED_NAME(round_row)(const float *x, size_t k, bool closely, void *out, size_t begin, size_t end) {
    if (closely) round_blocks(x, k, true, out, begin, end);
    else round_blocks(x, k, false, out, begin, end);
}
#endif
