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
} packed_chunk;

typedef struct {
    size_t blocks;          // of 32
    const uint8_t *levels;  // of the first panel; the others follow level_step bytes apart
    size_t level_step;
    const float *scale, *minimum;
    size_t scale_step;  // in elements
    int offset;
    const void *x;  // the first row
    size_t k, first, x_row_bytes;
    float *y;
    size_t y_row_stride, columns;
    bool accumulate;
    const uint8_t *ahead;  // what to ask for early, with each sub-block `ahead_step` bytes
    size_t ahead_step;
} packed_tile_arguments;

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
    u8x64 spread, masks;
    for (int i = 0; i < 64; i++) {
        spread[i] = bits[i / 8];
        masks[i] = (uint8_t)(1 << i % 8);
    }
    return __builtin_bit_cast(u8x64, (spread & masks) != (u8x64)(0));
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

// 16 bytes, unsigned or signed, times `factor`.
INLINE void scale_bytes(const uint8_t *bytes, bool is_signed, const vf *factor, float *out) {
    for (size_t i = 0; i < 16 / LANES; i++) {
        u8v part;
        __builtin_memcpy(&part, bytes + i * LANES, sizeof part);
        vi wide = __builtin_convertvector(part, vi);
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
// What each sub-block adds apart from the products of levels: in a format with minima the activations' sum, which they
// multiply; else the integer that the sum of products starts from.
INLINE void packed_corrections(const bool sixteenths, const bool minima, const packed_tile_arguments *t,
                               const rounded_row *x, float *terms, int32_t *starts) {
    size_t first = t->first / 32;
    const int32_t *sums = sixteenths ? x->half_sums + 2 * first : x->sum + first;
    for (size_t i = 0; i < (sixteenths ? 2 * t->blocks : t->blocks); i += LANES) {
        vi sum;
        __builtin_memcpy(&sum, sums + i, sizeof sum);
        if (!minima) {
            sum *= -t->offset;
            __builtin_memcpy(starts + i, &sum, sizeof sum);
            continue;
        }
        vf scale;
        for (size_t j = 0; j < LANES; j++) scale[j] = x->scale[first + (sixteenths ? (i + j) / 2 : i + j)];
        vstore(terms + i, __builtin_convertvector(sum, vf) * scale);
    }
}

// `rows` rows of activations, at most PACKED_PANELS panels. All but `t` are constants in every call; bits are 0 where
// the levels are of 4 bits and still packed.
INLINE void packed_tile(const int rows, const int bits, const bool sixteenths, const bool minima,
                        const packed_tile_arguments *t) {
    const int steps = sixteenths ? 4 : 8;
    const bool starts_at_zero = minima || (PACKED_SIGNED && bits == 8);
    union {
        float terms[PACKED_DEPTH / 16 + 16];
        int32_t starts[PACKED_DEPTH / 16 + 16];
    } corrections[PACKED_ROWS];
    vf total[PACKED_ROWS][PACKED_VECTORS];
    rounded_row x = rounded_row_at(t->x, t->k);
    const float *activation_scale = x.scale + t->first / 32;
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        rounded_row row = rounded_row_at((const uint8_t *)t->x + (size_t)r * t->x_row_bytes, t->k);
        if (minima || !starts_at_zero) {
            packed_corrections(sixteenths, minima, t, &row, corrections[r].terms, corrections[r].starts);
        }
        _Pragma("clang loop unroll(full)") for (int v = 0; v < PACKED_VECTORS; v++) {
            const float *y = t->y + (size_t)r * t->y_row_stride + v * MORU_LANES;
            size_t start = (size_t)v * LANES, columns = t->columns;
            total[r][v] = vset(0);
            if (!t->accumulate || columns <= start) continue;
            total[r][v] = columns >= start + LANES ? vload(y) : vload_n(y, columns - start);
        }
    }
    const uint8_t *levels = t->levels;
    const int8_t *q = x.q + t->first;
    const float *scale = t->scale, *minimum = t->minimum;
    const uint8_t *ahead = t->ahead;
    for (size_t s = 0; s < (sixteenths ? 2 * t->blocks : t->blocks); s++) {
        vi sum[PACKED_ROWS][PACKED_VECTORS];
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            _Pragma("clang loop unroll(full)") for (int v = 0; v < PACKED_VECTORS; v++) {
                sum[r][v] = starts_at_zero ? (vi)(0) : (vi)(corrections[r].starts[s]);
            }
        }
        for (const uint8_t *stop = ahead + t->ahead_step; ahead < stop; ahead += 64) __builtin_prefetch(ahead);
#if PACKED_NIBBLES
        if (bits == 0) packed_nibble_dots(rows, levels, t->level_step, q, t->x_row_bytes, sum);
        else packed_dots(rows, bits, steps, levels, t->level_step, q, t->x_row_bytes, sum);
#else
        packed_dots(rows, bits, steps, levels, t->level_step, q, t->x_row_bytes, sum);
#endif
        levels += (bits == 0 ? 32 : 64) * steps;
        q += 4 * steps;
        size_t b = sixteenths ? s / 2 : s;
        _Pragma("clang loop unroll(full)") for (int v = 0; v < PACKED_VECTORS; v++) {
            const int panel = v * MORU_LANES / 16, lane = v * MORU_LANES % 16;
            vf weight_scale = vload(scale + (size_t)panel * t->scale_step + lane);
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                const uint8_t *row = (const uint8_t *)(activation_scale + b) + (size_t)r * t->x_row_bytes;
                vf factor = weight_scale * vset(*(const float *)(const void *)row);
                total[r][v] = vfma(__builtin_convertvector(sum[r][v], vf), factor, total[r][v]);
            }
            if (!minima) continue;
            vf low = vload(minimum + (size_t)panel * t->scale_step + lane);
            _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
                total[r][v] = vfma(low, vset(corrections[r].terms[s]), total[r][v]);
            }
        }
        scale += 16;
        minimum += 16;
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

// By what the instructions tell apart: the bits of a level, 16 or 32 elements a scale, minima or an offset.
#if PACKED_NIBBLES
#define PACKED_STILL(X) X(0, false, true) X(0, false, false)
#else
#define PACKED_STILL(X)
#endif
#define PACKED_KINDS(X) \
    X(4, false, true)   \
    X(5, false, true)   \
    X(4, false, false)  \
    X(5, false, false)  \
    X(8, false, false)  \
    X(2, true, true)    \
    X(3, true, false)   \
    X(6, true, false)   \
    PACKED_STILL(X)

typedef void packed_tile_function(const packed_tile_arguments *);

#define TILE(BITS, SIXTEENTHS, MINIMA, R)                                                                       \
    static void packed_tile_##BITS##_##SIXTEENTHS##_##MINIMA##_##R(const packed_tile_arguments *t) {            \
        packed_tile(R, BITS, SIXTEENTHS, MINIMA, t);                                                            \
    }
#if PACKED_ROWS == 6
#define TILES(B, S, M) \
    TILE(B, S, M, 1) TILE(B, S, M, 2) TILE(B, S, M, 3) TILE(B, S, M, 4) TILE(B, S, M, 5) TILE(B, S, M, 6)
#else
#define TILES(B, S, M) TILE(B, S, M, 1) TILE(B, S, M, 2)
#endif
PACKED_KINDS(TILES)
#undef TILE
#undef TILES

#define TILE(B, S, M, R) packed_tile_##B##_##S##_##M##_##R
#if PACKED_ROWS == 6
#define TILES(B, S, M)                                                                            \
    {0,                TILE(B, S, M, 1), TILE(B, S, M, 2), TILE(B, S, M, 3), TILE(B, S, M, 4),    \
     TILE(B, S, M, 5), TILE(B, S, M, 6)},
#else
#define TILES(B, S, M) {0, TILE(B, S, M, 1), TILE(B, S, M, 2)},
#endif
static packed_tile_function *const packed_tiles[][PACKED_ROWS + 1] = {PACKED_KINDS(TILES)};
#undef TILE
#undef TILES

static size_t packed_kind(moru_dtype type, bool stays_packed) {
    if (stays_packed) return packed_format_of(type).minima ? 8 : 9;
    switch (type) {
    case MORU_Q4_1:
    case MORU_Q4_K: return 0;
    case MORU_Q5_1:
    case MORU_Q5_K: return 1;
    case MORU_Q4_0: return 2;
    case MORU_Q5_0: return 3;
    case MORU_Q8_0: return 4;
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
// and meet so few rows that unpacking them for all, to be stored and loaded again, takes longer.
INLINE bool packed_in_place(moru_dtype type, size_t rows) {
    packed_format format = packed_format_of(type);
    if (format.low_bits == 8) return true;
    return PACKED_NIBBLES && format.low_bits == 4 && format.high_bits == 0 && rows <= 2 * PACKED_ROWS;
}

// How much of k is unpacked at a time: with one tile of rows little, so that memory is read while tiles are computed;
// with more, as much as the cache holds.
INLINE size_t packed_depth(moru_dtype type, size_t rows) {
    if (rows > PACKED_ROWS || packed_in_place(type, rows)) return PACKED_DEPTH;
    return rows == 1 && moru_block_elements(type) == 32 ? 128 : 256;
}

void PACKED_NAME(packed_product)(const moru_packed_product *args, size_t n_begin, size_t n_end) {
    packed_chunk chunk __attribute__((aligned(64)));
    moru_dtype type = args->w_type;
    size_t k = args->k, panel_bytes = packed_panel_bytes(type, k), wide = PACKED_PANELS * PANEL;
    size_t depth_step = packed_part(k, packed_depth(type, args->rows), moru_block_elements(type));
    size_t rows_at_once = packed_part(args->rows, PACKED_ROWS, 1);
    bool sixteenths = packed_format_of(type).sixteenths;
    size_t sub_blocks = (sixteenths ? k / 16 : k / 32) * ((args->rows + rows_at_once - 1) / rows_at_once);
    size_t step = moru_round_up((PACKED_PANELS * panel_bytes + sub_blocks - 1) / sub_blocks, 64);
    bool in_place = packed_in_place(type, args->rows);
    packed_tile_function *const *tiles = packed_tiles[packed_kind(type, in_place && type != MORU_Q8_0)];
    packed_tile_arguments t = {.offset = packed_format_of(type).offset, .k = k, .x_row_bytes = args->x_row_bytes,
                               .y_row_stride = args->y_row_stride};
    for (size_t n = n_begin; n < n_end; n += wide) {
        const uint8_t *panel = (const uint8_t *)args->w + n / PANEL * panel_bytes;
        size_t panels = moru_min_size(PACKED_PANELS, (n_end - n + PANEL - 1) / PANEL);
        t.ahead = panel + PACKED_PANELS * panel_bytes;
        t.ahead_step = step;
        t.columns = moru_min_size(wide, n_end - n);
        for (size_t first = 0; first < k; first += depth_step) {
            t.first = first;
            t.blocks = moru_min_size(depth_step, k - first) / 32;
            for (size_t p = 0; p < panels; p++) {
                packed_unpack(type, panel + p * panel_bytes, k, first, t.blocks, in_place ? NULL : chunk.levels[p],
                              chunk.scale[p], chunk.minimum[p]);
            }
            // A panel that is missing is replaced by the first: its results are not stored.
            t.levels = in_place ? panel + first / 32 * packed_level_bytes(type) : chunk.levels[0];
            t.level_step = panels < PACKED_PANELS ? 0 : in_place ? panel_bytes : sizeof chunk.levels[0];
            t.scale = chunk.scale[0];
            t.minimum = chunk.minimum[0];
            t.scale_step = panels < PACKED_PANELS ? 0 : PACKED_DEPTH;
            t.accumulate = args->accumulate || first > 0;
            for (size_t r = 0; r < args->rows; r += rows_at_once) {
                t.x = (const uint8_t *)args->x + r * args->x_row_bytes;
                t.y = args->y + r * args->y_row_stride + n;
                tiles[moru_min_size(rows_at_once, args->rows - r)](&t);
                t.ahead += step * t.blocks * (sixteenths ? 2 : 1);
            }
        }
    }
}

void PACKED_NAME(round_row)(const float *x, size_t k, void *out) {
    rounded_row row = rounded_row_at(out, k);
    for (size_t b = 0; b < k / 32; b++) {
        vi most = (vi)(0);
        for (size_t i = 0; i < 32; i += LANES) {
            vi bits = vasint(vload(x + 32 * b + i)) & 0x7fffffff;
            most = most > bits ? most : bits;  // as integers, so that a NaN is the largest
        }
        float largest = __builtin_bit_cast(float, __builtin_reduce_max(most));
        float inverse = largest > 0 ? 127 / largest : largest;
        vi half[2] = {(vi)(0), (vi)(0)};
        for (size_t i = 0; i < 32; i += LANES) {
            vi rounded = __builtin_convertvector(__builtin_elementwise_rint(vload(x + 32 * b + i) * inverse), vi);
            u8v bytes = __builtin_convertvector(rounded, u8v);
            __builtin_memcpy((int8_t *)out + 32 * b + i, &bytes, sizeof bytes);
            half[i / 16] += rounded;
        }
        int32_t sums[2] = {__builtin_reduce_add(half[0]), __builtin_reduce_add(half[1])};
        ((float *)(uintptr_t)row.scale)[b] = largest / 127;
        ((int32_t *)(uintptr_t)row.sum)[b] = sums[0] + sums[1];
        __builtin_memcpy((int32_t *)(uintptr_t)row.half_sums + 2 * b, sums, sizeof sums);
    }
}
#endif
