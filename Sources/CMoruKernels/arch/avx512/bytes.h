// Products of bytes with VNNI: 8 rows by 48 outputs in registers, a group of k at a time, whose weights stay in the
// first-level cache while all the rows pass.

#define BYTE_ROWS ((size_t)8)
#define BYTE_VECTORS 3

// The lanes of `count` (<= 16) elements.
INLINE __mmask16 byte_mask(size_t count) { return (__mmask16)((1u << count) - 1); }

INLINE void byte_rows_of(const moru_dtype type, const void *x, size_t x_row_stride, size_t k, void *out, size_t begin,
                         size_t end) {
    for (size_t row = begin; row < end; row++) {
        uint8_t *levels = (uint8_t *)out + row * moru_byte_row_bytes(k);
        float *steps = (float *)(void *)(levels + byte_levels_of_row(k)), *zeros = steps + byte_groups(k);
        for (size_t g = 0; g < byte_groups(k); g++) {
            size_t start = g * BYTE_GROUP, stop = moru_min_size(k, start + BYTE_GROUP);
            // A group is read once, into registers.
            vf v[MORU_BYTE_GROUP / 16], low = vset(0), high = vset(0);
            __mmask16 bad = 0;
            _Pragma("clang loop unroll(full)") for (size_t j = 0; j < BYTE_GROUP / LANES; j++) {
                size_t at = start + j * LANES, count = at < stop ? moru_min_size(LANES, stop - at) : 0;
                v[j] = vload_type(type, x, row * x_row_stride + at, count);
                low = (vf)_mm512_min_ps((__m512)low, (__m512)v[j]);
                high = (vf)_mm512_max_ps((__m512)high, (__m512)v[j]);
                bad |= _mm512_cmp_ps_mask((__m512)v[j], (__m512)v[j], _CMP_UNORD_Q);
            }
            float least = _mm512_reduce_min_ps((__m512)low), range = _mm512_reduce_max_ps((__m512)high) - least;
            if (bad || !(range < INFINITY)) {
                memset(levels + start, 0, moru_min_size(BYTE_GROUP, byte_levels_of_row(k) - start));
                steps[g] = NAN;  // makes the row's products NaN
                zeros[g] = 0;
                continue;
            }
            float inverse = range > 0 ? 255 / range : 0;
            if (!(inverse < INFINITY)) inverse = 0;
            steps[g] = inverse > 0 ? range / 255 : 0;
            zeros[g] = rintf(-least * inverse);
            _Pragma("clang loop unroll(full)") for (size_t j = 0; j < BYTE_GROUP / LANES; j++) {
                size_t at = start + j * LANES;
                if (at >= byte_levels_of_row(k)) break;
                __m512i level = _mm512_cvtps_epi32((__m512)vfma(v[j], vset(inverse), vset(zeros[g])));
                level = _mm512_max_epi32(level, _mm512_setzero_si512());
                __m128i narrow = _mm512_cvtusepi32_epi8(level);
                if (at + LANES > stop) narrow = _mm_maskz_mov_epi8(byte_mask(at < stop ? stop - at : 0), narrow);
                _mm_store_si128((__m128i *)(void *)(levels + at), narrow);
            }
        }
    }
}

void moru_avx512_vnni_byte_rows(moru_dtype type, const void *x, size_t x_row_stride, size_t k, void *out, size_t begin,
                                size_t end) {
    if (type == MORU_BF16) byte_rows_of(MORU_BF16, x, x_row_stride, k, out, begin, end);
    else byte_rows_of(MORU_F32, x, x_row_stride, k, out, begin, end);
}

// `rows` rows (a constant in every call) of `columns` elements of C, over one group.
INLINE void byte_tile(const int rows, const uint8_t *levels, const float *steps, size_t row_bytes, size_t groups,
                      const uint8_t *group, size_t depth, float *c, size_t c_row_stride, size_t columns,
                      bool accumulate, const bool whole) {
    __m512i sum[8][BYTE_VECTORS];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < BYTE_VECTORS; v++) sum[r][v] = _mm512_setzero_si512();
    }
    for (size_t i = 0; i < depth; i += 4) {
        __m512i weights[BYTE_VECTORS];
        _Pragma("clang loop unroll(full)") for (int v = 0; v < BYTE_VECTORS; v++) {
            weights[v] = _mm512_loadu_si512(group + i * BYTE_COLUMNS + (size_t)v * 64);
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, levels + (size_t)r * row_bytes + i, sizeof four);
            __m512i activations = _mm512_set1_epi32(four);
            _Pragma("clang loop unroll(full)") for (int v = 0; v < BYTE_VECTORS; v++) {
                sum[r][v] = _mm512_dpbusd_epi32(sum[r][v], activations, weights[v]);
            }
        }
    }
    const float *scales = (const float *)(const void *)(group + depth * BYTE_COLUMNS);
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        const float *step = (const float *)(const void *)((const uint8_t *)steps + (size_t)r * row_bytes);
        vf factor = vset(step[0]), zero = vset(-step[0] * step[groups]);
        _Pragma("clang loop unroll(full)") for (int v = 0; v < BYTE_VECTORS; v++) {
            size_t start = (size_t)v * LANES;
            float *to = c + (size_t)r * c_row_stride + start;
            if (columns <= start) break;
            size_t count = moru_min_size(LANES, columns - start);
            vf y = !accumulate ? vset(0) : whole ? vload(to) : vload_type(MORU_F32, to, 0, count);
            y = vfma((vf)_mm512_cvtepi32_ps(sum[r][v]), factor * vload(scales + start), y);
            y = vfma(zero, vload(scales + BYTE_COLUMNS + start), y);
            if (whole) vstore(to, y);
            else vstore_type(MORU_F32, to, 0, y, count);
        }
    }
}

typedef void byte_tile_function(const uint8_t *, const float *, size_t, size_t, const uint8_t *, size_t, float *,
                                size_t, size_t, bool);

#define TILE(R)                                                                                                        \
    static void byte_tile_##R(const uint8_t *levels, const float *steps, size_t row_bytes, size_t groups,              \
                              const uint8_t *group, size_t depth, float *c, size_t c_row_stride, size_t columns,       \
                              bool accumulate) {                                                                       \
        if (columns < BYTE_COLUMNS)                                                                                    \
            byte_tile(R, levels, steps, row_bytes, groups, group, depth, c, c_row_stride, columns, accumulate, false); \
        else                                                                                                           \
            byte_tile(R, levels, steps, row_bytes, groups, group, depth, c, c_row_stride, BYTE_COLUMNS, accumulate,    \
                      true);                                                                                           \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)
#undef TILE

static byte_tile_function *const byte_tiles[] = {0,           byte_tile_1, byte_tile_2, byte_tile_3, byte_tile_4,
                                                 byte_tile_5, byte_tile_6, byte_tile_7, byte_tile_8};

void moru_avx512_vnni_byte_product(const moru_byte_product *args, size_t m_begin, size_t m_end, size_t n_begin,
                                   size_t n_end) {
    size_t k = args->k, row_bytes = moru_byte_row_bytes(k), groups = byte_groups(k);
    for (size_t n = n_begin; n < n_end; n += BYTE_COLUMNS) {
        const uint8_t *group = (const uint8_t *)args->b + n / BYTE_COLUMNS * byte_sliver_bytes(k);
        size_t columns = moru_min_size(BYTE_COLUMNS, n_end - n);
        for (size_t g = 0; g < groups; g++) {
            size_t depth = byte_group_depth(k, g);
            for (size_t m = m_begin; m < m_end; m += BYTE_ROWS) {
                const uint8_t *row = (const uint8_t *)args->a + m * row_bytes;
                const float *steps = (const float *)(const void *)(row + byte_levels_of_row(k)) + g;
                byte_tiles[moru_min_size(BYTE_ROWS, m_end - m)](
                    row + g * BYTE_GROUP, steps, row_bytes, groups, group, depth, args->c + m * args->c_row_stride + n,
                    args->c_row_stride, columns, args->accumulate || g > 0);
            }
            group += byte_group_bytes(depth);
        }
    }
}
