// The tile instructions that the kernels use, under the names of their intrinsics, in plain C: after the operation that
// Intel's manual gives for each (Software Developer's Manual, volume 2). What would be a fault ends the process.
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t rows, row_bytes;
    uint8_t row[16][64];
} emulated_tile;

static _Thread_local struct {
    bool is_configured;
    emulated_tile tiles[8];
} emulated;

static _Thread_local size_t emulated_products_done;

static bool emulated_is_released(void) { return !emulated.is_configured; }
static size_t emulated_products(void) { return emulated_products_done; }

static void require_of_tiles(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "emulated tiles: %s\n", what);
    abort();
}

static emulated_tile *emulated_at(int index) {
    require_of_tiles(emulated.is_configured, "used without a configuration");
    require_of_tiles(index >= 0 && index < 8 && emulated.tiles[index].rows > 0, "this one is not configured");
    return &emulated.tiles[index];
}

// Palette, row to start from, 14 reserved bytes, the bytes of a row of 8 tiles (16 bits each), 16 reserved bytes, the
// rows of 8 tiles, 8 reserved bytes. All tiles become zero.
static void emulated_configure(const void *memory) {
    uint8_t bytes[64];
    memcpy(bytes, memory, sizeof bytes);
    memset(&emulated, 0, sizeof emulated);
    if (bytes[0] == 0) return;
    require_of_tiles(bytes[0] == 1 && bytes[1] == 0, "palette 1 from row 0 on is all there is");
    for (int i = 0; i < 64; i++) {
        bool is_reserved = (i >= 2 && i < 16) || (i >= 32 && i < 48) || i >= 56;
        require_of_tiles(!is_reserved || bytes[i] == 0, "a reserved byte is not zero");
    }
    for (int i = 0; i < 8; i++) {
        int row_bytes = bytes[16 + 2 * i] | bytes[17 + 2 * i] << 8, rows = bytes[48 + i];
        require_of_tiles(rows <= 16 && row_bytes <= 64 && (rows == 0) == (row_bytes == 0), "no such shape");
        emulated.tiles[i].rows = (uint8_t)rows;
        emulated.tiles[i].row_bytes = (uint8_t)row_bytes;
    }
    emulated.is_configured = true;
}

static void emulated_zero(int index) {
    emulated_tile *tile = emulated_at(index);
    memset(tile->row, 0, sizeof tile->row);
}

static void emulated_load(int index, const void *base, size_t stride) {
    emulated_tile *tile = emulated_at(index);
    memset(tile->row, 0, sizeof tile->row);
    for (size_t r = 0; r < tile->rows; r++) memcpy(tile->row[r], (const uint8_t *)base + r * stride, tile->row_bytes);
}

static void emulated_store(int index, void *base, size_t stride) {
    const emulated_tile *tile = emulated_at(index);
    for (size_t r = 0; r < tile->rows; r++) memcpy((uint8_t *)base + r * stride, tile->row[r], tile->row_bytes);
}

// c [rows, columns] += a [rows, steps] b [steps, columns], in units of 4 bytes.
static void emulated_begin(int sum, int left, int right) {
    const emulated_tile *c = emulated_at(sum), *a = emulated_at(left), *b = emulated_at(right);
    require_of_tiles(sum != left && sum != right && left != right, "a product of a tile with itself");
    require_of_tiles(a->row_bytes % 4 == 0 && b->row_bytes % 4 == 0, "a row of no whole units");
    require_of_tiles(c->rows == a->rows && c->row_bytes == b->row_bytes && a->row_bytes / 4 == b->rows,
                     "shapes that do not fit");
    emulated_products_done++;
}

static inline float flushed(float x) { return fabsf(x) < FLT_MIN ? copysignf(0, x) : x; }

static inline float from_bf16(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &wide, sizeof x);
    return flushed(x);
}

// The even and the odd elements are added up apart, each with one rounding a step, then together, then to c. Denormal
// numbers are zero, going in and coming out.
static void emulated_dpbf16ps(int sum, int left, int right) {
    emulated_begin(sum, left, right);
    emulated_tile *c = emulated_at(sum);
    const emulated_tile *a = emulated_at(left), *b = emulated_at(right);
    for (size_t m = 0; m < c->rows; m++) {
        float even[16] = {0}, odd[16] = {0};
        for (size_t k = 0; k < b->rows; k++) {
            uint16_t one[2], other[32];
            memcpy(one, a->row[m] + 4 * k, sizeof one);
            memcpy(other, b->row[k], sizeof other);
            for (size_t n = 0; n < 16; n++) {
                even[n] = flushed(fmaf(from_bf16(one[0]), from_bf16(other[2 * n]), even[n]));
                odd[n] = flushed(fmaf(from_bf16(one[1]), from_bf16(other[2 * n + 1]), odd[n]));
            }
        }
        for (size_t n = 0; n < c->row_bytes / 4u; n++) {
            float before;
            memcpy(&before, c->row[m] + 4 * n, sizeof before);
            float after = flushed(flushed(before) + flushed(even[n] + odd[n]));
            memcpy(c->row[m] + 4 * n, &after, sizeof after);
        }
    }
}

static inline int32_t extended(uint8_t byte, bool is_signed) { return is_signed ? (int8_t)byte : byte; }

// Groups of 4 products added to 32 bits, which wrap.
static inline void emulated_bytes(int sum, int left, int right, bool left_signed, bool right_signed) {
    emulated_begin(sum, left, right);
    emulated_tile *c = emulated_at(sum);
    const emulated_tile *a = emulated_at(left), *b = emulated_at(right);
    for (size_t m = 0; m < c->rows; m++) {
        for (size_t k = 0; k < b->rows; k++) {
            for (size_t n = 0; n < c->row_bytes / 4u; n++) {
                uint32_t total;
                memcpy(&total, c->row[m] + 4 * n, sizeof total);
                for (size_t i = 0; i < 4; i++) {
                    int32_t x = extended(a->row[m][4 * k + i], left_signed);
                    total += (uint32_t)(x * extended(b->row[k][4 * n + i], right_signed));
                }
                memcpy(c->row[m] + 4 * n, &total, sizeof total);
            }
        }
    }
}

static void emulated_dpbusd(int sum, int left, int right) { emulated_bytes(sum, left, right, false, true); }
static void emulated_dpbsud(int sum, int left, int right) { emulated_bytes(sum, left, right, true, false); }

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#undef _tile_dpbusd
#undef _tile_dpbsud
#define _tile_loadconfig emulated_configure
#define _tile_release() memset(&emulated, 0, sizeof emulated)
#define _tile_zero emulated_zero
#define _tile_loadd emulated_load
#define _tile_stored emulated_store
#define _tile_dpbf16ps emulated_dpbf16ps
#define _tile_dpbusd emulated_dpbusd
#define _tile_dpbsud emulated_dpbsud
