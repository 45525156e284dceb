// Every kernel on tiles. The including file defines MORU_NAME(f) and MORU_LANES, the level that does what is not done on
// tiles; VNNI_NAME(f), whose products of bytes give the same bits and are taken for few rows; AMX_NAME(f), the prefix of
// what is defined here; and the tile instructions by their usual names, which tests replace by an emulation.
#include "../vector/vector.h"
#include "../vector/transpose.h"

// The 64-byte operand of ldtilecfg: palette 1, and for each of 8 tiles its bytes in a row and its rows.
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_configuration;

_Static_assert(sizeof(amx_configuration) == 64, "ldtilecfg operand");

// Configures the thread's tiles: 0 to 3 for sums [16, 16], 4 and 5 for 16 rows of `depth` bytes, 6 and 7 for as many of
// 16 columns; all alike where the depth is 64. A kernel releases them before it returns, so that threads that wait carry
// no tile state.
INLINE void amx_configure(uint8_t depth) {
    amx_configuration configuration __attribute__((aligned(64)));
    memset(&configuration, 0, sizeof configuration);
    configuration.palette = 1;
    for (int i = 0; i < 8; i++) {
        configuration.row_bytes[i] = i == 4 || i == 5 ? depth : 64;
        configuration.rows[i] = i >= 6 ? depth / 4 : 16;
    }
    _tile_loadconfig(&configuration);
}

#define GEMM_NAME(f) bf16_##f
#define GEMM_ROWS 14
#define GEMM_VECTORS (32 / MORU_LANES)
#define GEMM_BF16 1
static size_t bf16_gemm_scratch_bytes(const moru_gemm *);
static void bf16_gemm(const moru_gemm *, size_t, size_t, size_t, size_t, void *);
static size_t bf16_gemm_packed_bytes(const moru_gemm *);
static void bf16_gemm_pack(const moru_gemm *, size_t, size_t, void *, void *);
#include "../vector/gemm.h"

#include "gemm.h"
#include "bytes.h"
#include "packed.h"
