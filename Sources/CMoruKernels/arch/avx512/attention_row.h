// Attention of one row with products of bf16, over keys and values in bf16. A score is a product along a key's row; 16 of
// them are added up across lanes together.

typedef uint16_t row_query;

#include "../vector/attention_row.h"

// Whether the row's keys are stored as the functions here want them.
static bool is_plain_row(const moru_attention *args) {
    return args->allow_bf16 && args->kv_type == MORU_BF16 && args->io_type == MORU_F32 && args->head_dim % 32 == 0 &&
           args->page_tokens % 16 == 0;
}

static void put_query(const moru_dtype type, const float *query, size_t dim, uint16_t *out) {
    (void)type;
    gemm_narrow(query, dim, out);
}

INLINE __m512 pairs_sum(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
}

INLINE __m512 fours_sum(__m512 a, __m512 b) {
    __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
    return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}

INLINE __m512 lanes_sum(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

// The products of `lines` queries, 32 `vectors` elements each and `dim` apart, with the 16 keys of a group, from byte
// `column` on.
INLINE void group_scores(const int lines, const size_t vectors, const bool whole, const token_group *group,
                         size_t column, const uint16_t *queries, size_t dim, __m512 scores[4]) {
    __m512 fours[4][4];
    const uint8_t *next = group->base + column;
    _Pragma("clang loop unroll(full)") for (size_t i = 0; i < 4; i++) {
        const uint16_t *keys[4];
        _Pragma("clang loop unroll(full)") for (size_t j = 0; j < 4; j++, next += group->stride) {
            keys[j] = (const uint16_t *)(const void *)(whole ? next : group_row(group, false, 4 * i + j) + column);
        }
        __m512 sum[4][4];
        _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
            _Pragma("clang loop unroll(full)") for (int j = 0; j < 4; j++) sum[r][j] = _mm512_setzero_ps();
        }
        for (size_t v = 0; v < vectors; v++) {
            _Pragma("clang loop unroll(full)") for (int j = 0; j < 4; j++) {
                __m512bh key = (__m512bh)_mm512_loadu_si512(keys[j] + 32 * v);
                _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
                    __m512bh query = (__m512bh)_mm512_loadu_si512(queries + (size_t)r * dim + 32 * v);
                    sum[r][j] = _mm512_dpbf16_ps(sum[r][j], key, query);
                }
            }
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
            fours[r][i] = fours_sum(pairs_sum(sum[r][0], sum[r][1]), pairs_sum(sum[r][2], sum[r][3]));
        }
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
        scores[r] = lanes_sum(lanes_sum(fours[r][0], fours[r][1]), lanes_sum(fours[r][2], fours[r][3]));
    }
}

INLINE void score_heads(const moru_dtype type, const int lines, const bool whole, const token_group *group,
                        size_t column, const uint16_t *queries, size_t dim, float *out) {
    (void)type;
    __m512 scores[4];
    if (dim == 64) group_scores(lines, 2, whole, group, column, queries, dim, scores);
    else group_scores(lines, dim / 32, whole, group, column, queries, dim, scores);
    __mmask16 visible = (__mmask16)((1u << group->high) - (1u << group->low));
    _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
        if (!whole) scores[r] = _mm512_mask_blend_ps(visible, _mm512_set1_ps(-INFINITY), scores[r]);
        _mm512_storeu_ps(out + (size_t)r * MORU_PIECE_KEYS, scores[r]);
    }
}

INLINE void put_probabilities(float *scores, size_t i, vf p) {
    __m256bh narrow = _mm512_cvtneps_pbh((__m512)p);
    memcpy((uint16_t *)(void *)scores + i, &narrow, sizeof narrow);
}

// Adds to `lines` heads' outputs, `dim` apart, 32 `halves` columns of a group's values times their probabilities. Within
// 32 columns the sums lie in the order of unpacking until `settle_sums`.
INLINE void add_values(const int lines, const int halves, const bool whole, const token_group *group, size_t column,
                       const float *scores, size_t place, float *out, size_t dim) {
    __m512 sum[4][4];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < 2 * halves; v++) {
            sum[r][v] = _mm512_loadu_ps(out + (size_t)r * dim + 16 * v);
        }
    }
    _Pragma("clang loop unroll(full)") for (size_t j = 0; j < 16; j += 2) {
        const uint8_t *even = group_row(group, whole, j) + column, *odd = group_row(group, whole, j + 1) + column;
        __m512bh pairs[4];
        _Pragma("clang loop unroll(full)") for (int h = 0; h < halves; h++) {
            __m512i a = _mm512_loadu_si512(even + 64 * h), b = _mm512_loadu_si512(odd + 64 * h);
            pairs[2 * h] = (__m512bh)_mm512_unpacklo_epi16(a, b);
            pairs[2 * h + 1] = (__m512bh)_mm512_unpackhi_epi16(a, b);
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
            const uint16_t *probabilities = (const uint16_t *)(const void *)(scores + (size_t)r * MORU_PIECE_KEYS);
            int32_t two;
            memcpy(&two, probabilities + place + j, sizeof two);
            __m512bh both = (__m512bh)_mm512_set1_epi32(two);
            _Pragma("clang loop unroll(full)") for (int v = 0; v < 2 * halves; v++) {
                sum[r][v] = _mm512_dpbf16_ps(sum[r][v], pairs[v], both);
            }
        }
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < lines; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < 2 * halves; v++) {
            _mm512_storeu_ps(out + (size_t)r * dim + 16 * v, sum[r][v]);
        }
    }
}

// The same for all columns.
INLINE void add_group(const moru_dtype type, const int lines, const bool whole, const token_group *group,
                      size_t column, const float *scores, size_t place, float *out, size_t dim) {
    (void)type;
    size_t i = 0;
    for (; i + 64 <= dim; i += 64) add_values(lines, 2, whole, group, column + 2 * i, scores, place, out + i, dim);
    if (i < dim) add_values(lines, 1, whole, group, column + 2 * i, scores, place, out + i, dim);
}

static void settle_sums(const moru_dtype type, float *out, size_t dim, float factor) {
    (void)type;
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    __m512 scale = _mm512_set1_ps(factor);
    for (size_t i = 0; i < dim; i += 32) {
        __m512 low = _mm512_loadu_ps(out + i), high = _mm512_loadu_ps(out + i + 16);
        _mm512_storeu_ps(out + i, _mm512_mul_ps(_mm512_permutex2var_ps(low, first, high), scale));
        _mm512_storeu_ps(out + i + 16, _mm512_mul_ps(_mm512_permutex2var_ps(low, second, high), scale));
    }
}

static void row_pieces(const moru_attention *args, size_t begin, size_t end, size_t head_begin, size_t head_end,
                       float *out, float *log_sums, void *scratch) {
    row_pieces_of(MORU_BF16, args, begin, end, head_begin, head_end, out, log_sums, scratch);
}
