// Attention of one row in f32, over keys and values in bf16 or Q8_0. What is bf16 is widened 2 LANES elements at a
// time, to the even ones and the odd ones: queries and sums lie in that order.

typedef float row_query;

#include "attention_row.h"

#if MORU_LANES == 16
#define EVENS(a, b) SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODDS(a, b) SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#define WOVEN_LOW(a, b) SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define WOVEN_HIGH(a, b) SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
// Within 128 bits, and of the halves of two vectors.
#define PAIRS(a, b) \
    (SHUFFLE(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29) + \
     SHUFFLE(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31))
#define FOURS(a, b) \
    (SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) + \
     SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
#define HALVES(a, b) \
    (SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) + \
     SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31))
#define SCORE_VECTOR(f) HALVES(HALVES(f[0], f[1]), HALVES(f[2], f[3]))
#elif MORU_LANES == 8
#define EVENS(a, b) SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define ODDS(a, b) SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#define WOVEN_LOW(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define WOVEN_HIGH(a, b) SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define PAIRS(a, b) (SHUFFLE(a, b, 0, 8, 1, 9, 4, 12, 5, 13) + SHUFFLE(a, b, 2, 10, 3, 11, 6, 14, 7, 15))
#define FOURS(a, b) (SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13) + SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15))
#define HALVES(a, b) (SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15))
#define SCORE_VECTOR(f) HALVES(f[0], f[1])
#else
#define EVENS(a, b) SHUFFLE(a, b, 0, 2, 4, 6)
#define ODDS(a, b) SHUFFLE(a, b, 1, 3, 5, 7)
#define WOVEN_LOW(a, b) SHUFFLE(a, b, 0, 4, 1, 5)
#define WOVEN_HIGH(a, b) SHUFFLE(a, b, 2, 6, 3, 7)
#define PAIRS(a, b) (SHUFFLE(a, b, 0, 4, 1, 5) + SHUFFLE(a, b, 2, 6, 3, 7))
#define FOURS(a, b) (SHUFFLE(a, b, 0, 1, 4, 5) + SHUFFLE(a, b, 2, 3, 6, 7))
#define SCORE_VECTOR(f) f[0]
#endif

// Keys, and vectors of values, at a time: as many sums as hide the multiplications' latency, and no more than registers.
#define ROW_KEYS(lines) (MORU_LANES == 8 && (lines) > 2 ? 2 : 4)
#define ROW_VECTORS(lines) ((lines) == 1 ? 8 : MORU_LANES == 8 && (lines) > 2 ? 2 : 4)

// Whether rows can be computed here. Those over keys in f32 go the way of whole sequences: with such a cache, a model
// token by token gives the very bits of one pass over all tokens.
static bool has_plain_row(const moru_attention *args) {
    size_t width = args->kv_type == MORU_Q8_0 ? 32 : 2 * LANES;
    bool is_known = args->kv_type == MORU_BF16 || args->kv_type == MORU_Q8_0;
    return is_known && args->io_type == MORU_F32 && args->head_dim % width == 0 && args->page_tokens % 16 == 0;
}

// Elements [i, i + 2 LANES) of one head's key or value.
INLINE void load_pair(const moru_dtype type, const uint8_t *row, size_t i, vf out[2]) {
    if (type == MORU_BF16) {
        vu both;
        __builtin_memcpy(&both, row + 2 * i, sizeof both);
        out[0] = __builtin_bit_cast(vf, both << 16);
        out[1] = __builtin_bit_cast(vf, both & 0xffff0000u);
    } else {
        typedef int8_t levels __attribute__((ext_vector_type(MORU_LANES)));
        const moru_q8_0 *block = (const moru_q8_0 *)(const void *)row + i / 32;
        float scale = moru_f32_from_f16(block->d);
        _Pragma("clang loop unroll(full)") for (size_t v = 0; v < 2; v++) {
            levels q;
            __builtin_memcpy(&q, block->qs + i % 32 + v * LANES, sizeof q);
            out[v] = __builtin_convertvector(q, vf) * scale;
        }
    }
}

static void put_query(const moru_dtype type, const float *query, size_t dim, float *out) {
    for (size_t i = 0; i < dim; i += 2 * LANES) {
        vf low = vload(query + i), high = vload(query + i + LANES);
        vstore(out + i, type == MORU_BF16 ? EVENS(low, high) : low);
        vstore(out + i + LANES, type == MORU_BF16 ? ODDS(low, high) : high);
    }
}

// The products of `lines` queries with the keys [first, first + count) of a group, added up across lanes in pairs of keys:
// out[key / 2][line].
INLINE void key_pairs(const moru_dtype type, const int lines, const int count, const bool whole,
                      const token_group *group, size_t first, size_t column, const float *queries, size_t dim,
                      vf out[][4]) {
    const uint8_t *keys[4];
    vf sum[4][4];
    _Pragma("clang loop unroll(full)") for (int j = 0; j < count; j++) {
        keys[j] = group_row(group, whole, first + (size_t)j) + column;
        _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) sum[r][j] = vset(0);
    }
    for (size_t i = 0; i < dim; i += 2 * LANES) {
        _Pragma("clang loop unroll(full)") for (int j = 0; j < count; j++) {
            vf key[2];
            load_pair(type, keys[j], i, key);
            _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
                const float *query = queries + (size_t)r * dim + i;
                sum[r][j] = vfma(key[0], vload(query), sum[r][j]);
                sum[r][j] = vfma(key[1], vload(query + LANES), sum[r][j]);
            }
        }
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
        _Pragma("clang loop unroll(full)") for (int j = 0; j < count; j += 2) {
            out[j / 2][r] = PAIRS(sum[r][j], sum[r][j + 1]);
        }
    }
}

INLINE void score_heads(const moru_dtype type, const int lines, const bool whole, const token_group *group,
                        size_t column, const float *queries, size_t dim, float *out) {
    const int count = ROW_KEYS(lines);
    vf pairs[8][4];
    _Pragma("clang loop unroll(full)") for (size_t j = 0; j < 16; j += (size_t)count) {
        key_pairs(type, lines, count, whole, group, j, column, queries, dim, pairs + j / 2);
        __asm__ volatile("" : : "r"(pairs) : "memory");  // to memory: the next keys need the registers
    }
    _Pragma("clang loop unroll(full)") for (size_t first = 0; first < 16; first += LANES) {
        vi key = viota() + (int32_t)first, visible = (key < (int32_t)group->high) & (key >= (int32_t)group->low);
        _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
            vf fours[MORU_LANES / 4];
            _Pragma("clang loop unroll(full)") for (size_t f = 0; f < LANES / 4; f++) {
                size_t pair = first / 2 + 2 * f;
                fours[f] = FOURS(pairs[pair][r], pairs[pair + 1][r]);
            }
            vf scores = SCORE_VECTOR(fours);
            if (!whole) scores = visible ? scores : vset(-INFINITY);
            vstore(out + (size_t)r * MORU_PIECE_KEYS + first, scores);
        }
    }
}

INLINE void put_probabilities(float *scores, size_t i, vf p) { vstore(scores + i, p); }

// Adds to `lines` heads' outputs, `dim` apart, `vectors` vectors of columns from element i of a head on.
INLINE void add_values(const moru_dtype type, const int lines, const int vectors, const bool whole,
                       const token_group *group, size_t column, size_t i, const float *scores, size_t place, float *out,
                       size_t dim) {
    vf sum[4][8];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) {
            sum[r][v] = vload(out + (size_t)r * dim + i + (size_t)v * LANES);
        }
    }
    for (size_t j = 0; j < 16; j++) {
        const uint8_t *row = group_row(group, whole, j) + column;
        _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v += 2) {
            vf value[2];
            load_pair(type, row, i + (size_t)v * LANES, value);
            _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
                vf p = vset(scores[(size_t)r * MORU_PIECE_KEYS + place + j]);
                sum[r][v] = vfma(value[0], p, sum[r][v]);
                sum[r][v + 1] = vfma(value[1], p, sum[r][v + 1]);
            }
        }
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < vectors; v++) {
            vstore(out + (size_t)r * dim + i + (size_t)v * LANES, sum[r][v]);
        }
    }
}

INLINE void add_group(const moru_dtype type, const int lines, const bool whole, const token_group *group,
                      size_t column, const float *scores, size_t place, float *out, size_t dim) {
    const int wide = ROW_VECTORS(lines);
    size_t i = 0, step = (size_t)wide * LANES;
    for (; i + step <= dim; i += step) {
        add_values(type, lines, wide, whole, group, column, i, scores, place, out, dim);
    }
    for (; i < dim; i += 2 * LANES) add_values(type, lines, 2, whole, group, column, i, scores, place, out, dim);
}

static void settle_sums(const moru_dtype type, float *out, size_t dim, float factor) {
    for (size_t i = 0; i < dim; i += 2 * LANES) {
        vf a = vload(out + i) * factor, b = vload(out + i + LANES) * factor;
        vstore(out + i, type == MORU_BF16 ? WOVEN_LOW(a, b) : a);
        vstore(out + i + LANES, type == MORU_BF16 ? WOVEN_HIGH(a, b) : b);
    }
}

#undef EVENS
#undef ODDS
#undef WOVEN_LOW
#undef WOVEN_HIGH
#undef PAIRS
#undef FOURS
#undef HALVES
#undef SCORE_VECTOR

static void bf16_row_pieces(const moru_attention *args, size_t begin, size_t end, size_t head_begin, size_t head_end,
                            float *out, float *log_sums, void *scratch) {
    row_pieces_of(MORU_BF16, args, begin, end, head_begin, head_end, out, log_sums, scratch);
}

static void q8_row_pieces(const moru_attention *args, size_t begin, size_t end, size_t head_begin, size_t head_end,
                          float *out, float *log_sums, void *scratch) {
    row_pieces_of(MORU_Q8_0, args, begin, end, head_begin, head_end, out, log_sums, scratch);
}

size_t MORU_NAME(attention_pieces_scratch_bytes)(const moru_attention *args) {
    return has_plain_row(args) ? row_scratch_bytes(args) : MORU_NAME(attention_scratch_bytes)(args);
}

void MORU_NAME(attention_pieces)(const moru_attention *args, size_t begin, size_t end, size_t head_begin,
                                 size_t head_end, float *out, float *log_sums, void *scratch) {
    if (!has_plain_row(args)) {
        moru_pieces_by(MORU_NAME(attention), args, begin, end, head_begin, head_end, out, log_sums, scratch);
        return;
    }
    bool is_bf16 = args->kv_type == MORU_BF16;
    (is_bf16 ? bf16_row_pieces : q8_row_pieces)(args, begin, end, head_begin, head_end, out, log_sums, scratch);
}
