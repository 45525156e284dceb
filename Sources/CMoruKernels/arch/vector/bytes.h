// Products of bytes with VNNI, which adds 4 products of an unsigned and a signed byte to each 32-bit lane: BYTE_ROWS rows
// by 3 vectors of outputs in registers, a group of k at a time, whose weights stay in the first-level cache while all the
// rows pass.
//
// The including file defines BYTE_NAME(f), BYTE_ROWS, byte_dots(sum, activations, weights), byte_put_levels(out, x), which
// stores a vector's nearest whole numbers, at least 0 and at most 255, as bytes, and BYTE_KEEP(sum), a fence after a row's
// step where the compiler needs one to keep the sums in registers.

#define BYTE_VECTORS 3
#define BYTE_WIDTH (BYTE_VECTORS * LANES)  // a sliver is one or more of them

INLINE void byte_rows_of(const moru_dtype type, const void *x, size_t x_row_stride, size_t k, void *out, size_t begin,
                         size_t end) {
    size_t padded = byte_levels_of_row(k);
    for (size_t row = begin; row < end; row++) {
        uint8_t *levels = (uint8_t *)out + row * moru_byte_row_bytes(k);
        float *steps = (float *)(void *)(levels + padded), *zeros = steps + byte_groups(k);
        for (size_t g = 0; g < byte_groups(k); g++) {
            size_t start = g * BYTE_GROUP, stop = moru_min_size(k, start + BYTE_GROUP);
            // A group is read once, into registers where they are wide.
            vf v[MORU_BYTE_GROUP / MORU_LANES], low = vset(0), high = vset(0), bad = vset(0);
            _Pragma("clang loop unroll(full)") for (size_t j = 0; j < BYTE_GROUP / LANES; j++) {
                size_t at = start + j * LANES, count = at < stop ? moru_min_size(LANES, stop - at) : 0;
                v[j] = vload_type(type, x, row * x_row_stride + at, count);
                low = vmin(low, v[j]);
                high = vmax(high, v[j]);
                bad = vfma(v[j], vset(0), bad);  // NaN where anything is not finite
            }
            float least = -vlargest(-low), range = vlargest(high) - least;
            if (vsum(bad) != 0 || !(range < INFINITY)) {
                memset(levels + start, 0, moru_min_size(BYTE_GROUP, padded - start));
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
                if (at >= padded) break;
                byte_put_levels(levels + at, vfma(v[j], vset(inverse), vset(zeros[g])));
            }
            if (stop == k) memset(levels + k, 0, padded - k);
        }
    }
}

void BYTE_NAME(byte_rows)(moru_dtype type, const void *x, size_t x_row_stride, size_t k, void *out, size_t begin,
                          size_t end) {
    if (type == MORU_BF16) byte_rows_of(MORU_BF16, x, x_row_stride, k, out, begin, end);
    else byte_rows_of(MORU_F32, x, x_row_stride, k, out, begin, end);
}

// `rows` rows (a constant in every call) of `columns` elements of C, from element `first` of a sliver on, over one group.
INLINE void byte_tile(const int rows, const uint8_t *levels, const float *steps, size_t row_bytes, size_t groups,
                      const uint8_t *group, size_t depth, size_t first, float *c, size_t c_row_stride, size_t columns,
                      bool accumulate, const bool whole) {
    vi sum[BYTE_ROWS][BYTE_VECTORS];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        _Pragma("clang loop unroll(full)") for (int v = 0; v < BYTE_VECTORS; v++) sum[r][v] = (vi)(0);
    }
    for (size_t i = 0; i < depth; i += 4) {
        vi weights[BYTE_VECTORS];
        _Pragma("clang loop unroll(full)") for (int v = 0; v < BYTE_VECTORS; v++) {
            __builtin_memcpy(&weights[v], group + i * BYTE_COLUMNS + 4 * (first + (size_t)v * LANES), sizeof weights[v]);
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, levels + (size_t)r * row_bytes + i, sizeof four);
            _Pragma("clang loop unroll(full)") for (int v = 0; v < BYTE_VECTORS; v++) {
                sum[r][v] = byte_dots(sum[r][v], (vi)(four), weights[v]);
            }
            BYTE_KEEP(sum[r]);
        }
    }
    const float *scales = (const float *)(const void *)(group + depth * BYTE_COLUMNS) + first;
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        const float *step = (const float *)(const void *)((const uint8_t *)steps + (size_t)r * row_bytes);
        vf factor = vset(step[0]), zero = vset(-step[0] * step[groups]);
        _Pragma("clang loop unroll(full)") for (int v = 0; v < BYTE_VECTORS; v++) {
            size_t start = (size_t)v * LANES;
            float *to = c + (size_t)r * c_row_stride + start;
            if (columns <= start) break;
            size_t count = moru_min_size(LANES, columns - start);
            vf y = !accumulate ? vset(0) : whole ? vload(to) : vload_type(MORU_F32, to, 0, count);
            y = vfma(__builtin_convertvector(sum[r][v], vf), factor * vload(scales + start), y);
            y = vfma(zero, vload(scales + BYTE_COLUMNS + start), y);
            if (whole) vstore(to, y);
            else vstore_type(MORU_F32, to, 0, y, count);
        }
    }
}

typedef void byte_tile_function(const uint8_t *, const float *, size_t, size_t, const uint8_t *, size_t, size_t, float *,
                                size_t, size_t, bool);

#define TILE(R)                                                                                                       \
    static void byte_tile_##R(const uint8_t *levels, const float *steps, size_t row_bytes, size_t groups,             \
                              const uint8_t *group, size_t depth, size_t first, float *c, size_t c_row_stride,        \
                              size_t columns, bool accumulate) {                                                      \
        if (columns < BYTE_WIDTH)                                                                                     \
            byte_tile(R, levels, steps, row_bytes, groups, group, depth, first, c, c_row_stride, columns, accumulate, \
                      false);                                                                                         \
        else                                                                                                          \
            byte_tile(R, levels, steps, row_bytes, groups, group, depth, first, c, c_row_stride, BYTE_WIDTH,          \
                      accumulate, true);                                                                              \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
#if BYTE_ROWS == 8
TILE(5)
TILE(6)
TILE(7)
TILE(8)
#endif
#undef TILE

static byte_tile_function *const byte_tiles[] = {0,           byte_tile_1, byte_tile_2, byte_tile_3, byte_tile_4,
#if BYTE_ROWS == 8
                                                 byte_tile_5, byte_tile_6, byte_tile_7, byte_tile_8
#endif
};

void BYTE_NAME(byte_product)(const moru_byte_product *args, size_t m_begin, size_t m_end, size_t n_begin,
                             size_t n_end) {
    size_t k = args->k, row_bytes = moru_byte_row_bytes(k), groups = byte_groups(k);
    for (size_t n = n_begin; n < n_end; n += BYTE_COLUMNS) {
        const uint8_t *group = (const uint8_t *)args->b + n / BYTE_COLUMNS * byte_sliver_bytes(k);
        size_t columns = moru_min_size(BYTE_COLUMNS, n_end - n);
        for (size_t g = 0; g < groups; g++) {
            size_t depth = byte_group_depth(k, g);
            for (size_t first = 0; first < columns; first += BYTE_WIDTH) {
                for (size_t m = m_begin; m < m_end; m += BYTE_ROWS) {
                    const uint8_t *row = (const uint8_t *)args->a + m * row_bytes;
                    const float *steps = (const float *)(const void *)(row + byte_levels_of_row(k)) + g;
                    byte_tiles[moru_min_size(BYTE_ROWS, m_end - m)](
                        row + g * BYTE_GROUP, steps, row_bytes, groups, group, depth, first,
                        args->c + m * args->c_row_stride + n + first, args->c_row_stride, columns - first,
                        args->accumulate || g > 0);
                }
            }
            group += byte_group_bytes(depth);
        }
    }
}
