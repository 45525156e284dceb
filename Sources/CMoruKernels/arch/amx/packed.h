// Products with packed quantised weights on tiles: 32 rows by two panels, a block of 32 elements of k in one step, since
// each block has scales of its own. The sums of a few blocks wait in memory, and meet their scales in the order of k, as
// with VNNI: the results are the same bits. Formats with a scale for 16 elements would leave half of a tile's work
// undone, and are taken from there, as rows are that were rounded closely.

#define PACKED_PANELS 2
#define PACKED_UNPACKS_ONLY
#include "../vector/packed.h"

#define AMX_BLOCKS ((size_t)4)
#define AMX_OUTPUTS ((size_t)PACKED_PANELS * PANEL)

typedef struct {
    packed_chunk chunk;
    int32_t sums[4][32][2 * MORU_PANEL];  // of AMX_BLOCKS blocks
} amx_packed_scratch;

// The sums of some blocks of 16 rows, or of 16 more that begin at `lower`.
static void amx_packed_sums(size_t blocks, const int8_t *upper, const int8_t *lower, size_t x_row_bytes,
                            const uint8_t *left, const uint8_t *right, amx_packed_scratch *own) {
    const size_t stride = sizeof own->sums[0][0];
    for (size_t b = 0; b < blocks; b++) {
        int32_t *sums = own->sums[b][0], *more = own->sums[b][16];
        _tile_loadd(4, upper + 32 * b, x_row_bytes);
        _tile_loadd(6, left + 512 * b, 64);
        _tile_loadd(7, right + 512 * b, 64);
        _tile_zero(0);
        _tile_zero(1);
        _tile_dpbsud(0, 4, 6);
        _tile_dpbsud(1, 4, 7);
        if (lower) {
            _tile_loadd(5, lower + 32 * b, x_row_bytes);
            _tile_zero(2);
            _tile_zero(3);
            _tile_dpbsud(2, 5, 6);
            _tile_dpbsud(3, 5, 7);
            _tile_stored(2, more, stride);
            _tile_stored(3, more + 16, stride);
        }
        _tile_stored(0, sums, stride);
        _tile_stored(1, sums + 16, stride);
    }
}

// Adds some blocks' sums, from row `r` of them on, times their scales to one row of y; `first` is the first of the
// blocks, of which chunk's scales begin at `at`.
INLINE void amx_packed_put(size_t blocks, const amx_packed_scratch *own, size_t r, rounded_row x, size_t first,
                           size_t at, packed_format format, float *y, size_t columns, bool accumulate) {
    for (size_t start = 0; start < columns; start += LANES) {
        size_t panel = start / PANEL, lane = start % PANEL, count = moru_min_size(LANES, columns - start);
        vf total = accumulate ? vload_type(MORU_F32, y, start, count) : vset(0);
        for (size_t b = 0; b < blocks; b++) {
            vi sum;
            __builtin_memcpy(&sum, own->sums[b][r] + start, sizeof sum);
            float activation = x.scale[first + b];
            vf scale = vload(own->chunk.scale[panel] + 16 * (at + b) + lane);
            if (!format.minima) sum += (vi)(-format.offset * x.sum[first + b]);
            total = vfma(__builtin_convertvector(sum, vf), scale * vset(activation), total);
            if (!format.minima) continue;
            vf low = vload(own->chunk.minimum[panel] + 16 * (at + b) + lane);
            total = vfma(low, vset((float)x.sum[first + b] * activation), total);
        }
        vstore_type(MORU_F32, y, start, total, count);
    }
}

void AMX_NAME(packed_product)(const moru_packed_product *args, size_t n_begin, size_t n_end) {
    moru_dtype type = args->w_type;
    packed_format format = packed_format_of(type);
    if (args->rows < 16 || format.sixteenths || args->closely) {
        VNNI_NAME(packed_product)(args, n_begin, n_end);
        return;
    }
    amx_packed_scratch own __attribute__((aligned(64)));
    size_t k = args->k, panel_bytes = packed_panel_bytes(type, k), x_row_bytes = args->x_row_bytes;
    size_t depth_step = packed_part(k, PACKED_DEPTH, moru_block_elements(type));
    amx_configure(32);
    for (size_t n = n_begin; n < n_end; n += AMX_OUTPUTS) {
        const uint8_t *panel = (const uint8_t *)args->w + n / PANEL * panel_bytes;
        size_t columns = moru_min_size(AMX_OUTPUTS, n_end - n), panels = (columns + PANEL - 1) / PANEL;
        for (size_t first = 0; first < k; first += depth_step) {
            size_t all = moru_min_size(depth_step, k - first) / 32;
            for (size_t p = 0; p < panels; p++) {
                packed_unpack(type, panel + p * panel_bytes, k, first, all, own.chunk.levels[p], own.chunk.scale[p],
                              own.chunk.minimum[p]);
            }
            // A panel that is missing is replaced by the first: its results are not stored.
            const uint8_t *left = type == MORU_Q8_0 ? panel + first * PANEL : own.chunk.levels[0];
            size_t level_step = panels < 2 ? 0 : type == MORU_Q8_0 ? panel_bytes : sizeof own.chunk.levels[0];
            for (size_t m = 0; m < args->rows; m += 32) {
                // Where fewer than 16 rows are left, the tile begins before them.
                size_t rows = moru_min_size(32, args->rows - m);
                size_t upper = moru_min_size(m, args->rows - 16), lower = moru_min_size(m + 16, args->rows - 16);
                for (size_t at = 0; at < all; at += AMX_BLOCKS) {
                    size_t blocks = moru_min_size(AMX_BLOCKS, all - at), begin = first + 32 * at;
                    const int8_t *q = (const int8_t *)args->x + begin;
                    amx_packed_sums(blocks, q + upper * x_row_bytes, rows > 16 ? q + lower * x_row_bytes : NULL,
                                    x_row_bytes, left + 512 * at, left + level_step + 512 * at, &own);
                    for (size_t i = 0; i < rows; i++) {
                        rounded_row x = rounded_row_at((const uint8_t *)args->x + (m + i) * x_row_bytes, k);
                        float *y = args->y + (m + i) * args->y_row_stride + n;
                        amx_packed_put(blocks, &own, i < 16 ? m + i - upper : 16 + m + i - lower, x, begin / 32, at,
                                       format, y, columns, args->accumulate || begin > 0);
                    }
                }
            }
        }
    }
    _tile_release();
}

void AMX_NAME(round_row)(const float *x, size_t k, bool closely, void *out, size_t begin, size_t end) {
    VNNI_NAME(round_row)(x, k, closely, out, begin, end);
}
