// Products of bytes on tiles (layout: bytes.h of the target): 32 rows by the 48 outputs of a sliver in six tiles, a group
// of k at a time, whose weights stay in the first-level cache while all the rows pass. A tile of rows is 16 rounded rows
// where they are, a tile of weights 16 steps of a sliver. Sums are whole numbers, and meet their scales in the same order
// as with VNNI: the results are the same bits.
#include "../../bytes.h"

#define AMX_BYTE_DEPTH ((size_t)64)

typedef struct {
    int32_t sums[2][16][MORU_BYTE_COLUMNS];
    uint8_t rest[16][4 * MORU_BYTE_COLUMNS];  // the last steps of a group that is no multiple of AMX_BYTE_DEPTH
} amx_byte_scratch;

// The sums of 16 rows, or of 16 more that begin at `lower`, over one group.
static void amx_byte_sums(const uint8_t *upper, const uint8_t *lower, size_t row_bytes, const uint8_t *group,
                          size_t depth, amx_byte_scratch *own) {
    const size_t step = 4 * BYTE_COLUMNS, stride = sizeof own->sums[0][0];
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    for (size_t i = 0; i < depth; i += AMX_BYTE_DEPTH) {
        const uint8_t *weights = i + AMX_BYTE_DEPTH <= depth ? group + i * BYTE_COLUMNS : own->rest[0];
        _tile_loadd(6, upper + i, row_bytes);
        _tile_loadd(7, weights, step);
        _tile_dpbusd(0, 6, 7);
        _tile_loadd(7, weights + 64, step);
        _tile_dpbusd(1, 6, 7);
        _tile_loadd(7, weights + 128, step);
        _tile_dpbusd(2, 6, 7);
        if (!lower) continue;
        _tile_loadd(6, lower + i, row_bytes);
        _tile_dpbusd(5, 6, 7);
        _tile_loadd(7, weights, step);
        _tile_dpbusd(3, 6, 7);
        _tile_loadd(7, weights + 64, step);
        _tile_dpbusd(4, 6, 7);
    }
    _tile_stored(0, own->sums[0][0], stride);
    _tile_stored(1, own->sums[0][0] + 16, stride);
    _tile_stored(2, own->sums[0][0] + 32, stride);
    if (!lower) return;
    _tile_stored(3, own->sums[1][0], stride);
    _tile_stored(4, own->sums[1][0] + 16, stride);
    _tile_stored(5, own->sums[1][0] + 32, stride);
}

// `rows` rows of sums times their scales, to C. `whole`: all columns of the sliver.
INLINE void amx_byte_put(const int32_t (*sums)[MORU_BYTE_COLUMNS], size_t rows, const uint8_t *steps, size_t row_bytes,
                         size_t groups, const float *scales, float *c, size_t c_row_stride, size_t columns,
                         bool accumulate, const bool whole) {
    vf scale[MORU_BYTE_COLUMNS / MORU_LANES], total[MORU_BYTE_COLUMNS / MORU_LANES];
    for (size_t v = 0; v < BYTE_COLUMNS / LANES; v++) {
        scale[v] = vload(scales + v * LANES);
        total[v] = vload(scales + BYTE_COLUMNS + v * LANES);
    }
    for (size_t r = 0; r < rows; r++) {
        const float *step = (const float *)(const void *)(steps + r * row_bytes);
        vf factor = vset(step[0]), zero = vset(-step[0] * step[groups]);
        _Pragma("clang loop unroll(full)") for (size_t v = 0; v < BYTE_COLUMNS / LANES; v++) {
            float *to = c + r * c_row_stride + v * LANES;
            if (columns <= v * LANES) break;
            size_t count = moru_min_size(LANES, columns - v * LANES);
            vi sum;
            __builtin_memcpy(&sum, sums[r] + v * LANES, sizeof sum);
            vf y = !accumulate ? vset(0) : whole ? vload(to) : vload_type(MORU_F32, to, 0, count);
            y = vfma(__builtin_convertvector(sum, vf), factor * scale[v], y);
            y = vfma(zero, total[v], y);
            if (whole) vstore(to, y);
            else vstore_type(MORU_F32, to, 0, y, count);
        }
    }
}

void AMX_NAME(byte_product)(const moru_byte_product *args, size_t m_begin, size_t m_end, size_t n_begin,
                            size_t n_end) {
    if (m_begin + 16 > m_end) {
        VNNI_NAME(byte_product)(args, m_begin, m_end, n_begin, n_end);
        return;
    }
    amx_byte_scratch own __attribute__((aligned(64)));
    size_t k = args->k, row_bytes = moru_byte_row_bytes(k), groups = byte_groups(k);
    amx_configure(64);
    for (size_t n = n_begin; n < n_end; n += BYTE_COLUMNS) {
        const uint8_t *group = (const uint8_t *)args->b + n / BYTE_COLUMNS * byte_sliver_bytes(k);
        size_t columns = moru_min_size(BYTE_COLUMNS, n_end - n);
        for (size_t g = 0; g < groups; g++) {
            size_t depth = byte_group_depth(k, g), rest = depth % AMX_BYTE_DEPTH;
            if (rest > 0) {
                memset(own.rest, 0, sizeof own.rest);
                memcpy(own.rest, group + (depth - rest) * BYTE_COLUMNS, rest * BYTE_COLUMNS);
            }
            const float *scales = (const float *)(const void *)(group + depth * BYTE_COLUMNS);
            for (size_t m = m_begin; m < m_end; m += 32) {
                // Where fewer than 16 rows are left, the tile begins before them.
                size_t first[2] = {moru_min_size(m, m_end - 16), moru_min_size(m + 16, m_end - 16)};
                const uint8_t *a = (const uint8_t *)args->a, *levels = a + g * BYTE_GROUP;
                amx_byte_sums(levels + first[0] * row_bytes, m + 16 < m_end ? levels + first[1] * row_bytes : NULL,
                              row_bytes, group, depth, &own);
                for (size_t tile = 0; tile < 2 && m + 16 * tile < m_end; tile++) {
                    size_t row = m + 16 * tile;
                    const uint8_t *steps = a + row * row_bytes + byte_levels_of_row(k) + g * sizeof(float);
                    float *c = args->c + row * args->c_row_stride + n;
                    const int32_t(*sums)[MORU_BYTE_COLUMNS] = (const void *)own.sums[tile][row - first[tile]];
                    size_t rows = moru_min_size(16, m_end - row);
                    bool accumulate = args->accumulate || g > 0;
                    if (columns < BYTE_COLUMNS) {
                        amx_byte_put(sums, rows, steps, row_bytes, groups, scales, c, args->c_row_stride, columns,
                                     accumulate, false);
                    } else {
                        amx_byte_put(sums, rows, steps, row_bytes, groups, scales, c, args->c_row_stride,
                                     BYTE_COLUMNS, accumulate, true);
                    }
                }
            }
            group += byte_group_bytes(depth);
        }
    }
    _tile_release();
}
