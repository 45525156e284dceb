// The bf16 matrix product on AMX tiles. B is packed as for vdpbf16ps (pairs along k, slivers of 32 columns), which is the
// layout tdpbf16ps wants; A is packed row by row. A step multiplies 32 x 32 elements of k into four 16 x 16 tiles of C.
// A remainder of k below 32 is left to the f32 product.

#define AMX_ROWS ((size_t)256)
#define AMX_STEP ((size_t)16)  // units of a pair

// Memory of its own behind that of the bf16 product.
typedef struct {
    float *a;     // AMX_ROWS rows of GEMM_KC units
    float *tile;  // [32, 32]
    float *c;     // a C of bf16 that several steps of k add up to: GEMM_C_ROWS rows of GEMM_NC columns
} amx_scratch;

INLINE bool amx_gathers(const moru_gemm *args) {
    return args->c_type == MORU_BF16 && gemm_depth_step(args) < args->k;
}

size_t AMX_NAME(gemm_scratch_bytes)(const moru_gemm *args) {
    size_t own = AMX_ROWS * GEMM_KC + 32 * 32 + (amx_gathers(args) ? GEMM_C_ROWS * GEMM_NC : 0);
    size_t tiles = own * sizeof(float) + bf16_gemm_scratch_bytes(args) + 64;
    return moru_max_size(tiles, MORU_NAME(gemm_scratch_bytes)(args));
}

// Rows [row, row + rows) of A, elements [first, first + 2 * units), as bf16 pairs in out[32][units]; rows <= 32, and the
// rest up to 32 become zero.
static void amx_pack_a(const moru_gemm *args, size_t first, size_t units, size_t row, size_t rows, float *out) {
    bool narrow = args->a_type == MORU_BF16;
    if (args->a_column_stride == 1) {
        for (size_t r = 0; r < 32; r++) {
            float *to = out + r * units;
            if (r >= rows) memset(to, 0, units * sizeof(float));
            else if (narrow) memcpy(to, gemm_a(args, row + r, first), units * sizeof(float));
            else gemm_narrow(gemm_a(args, row + r, first), 2 * units, (uint16_t *)(void *)to);
        }
        return;
    }
    for (size_t r = 0; r < 32; r += LANES) {
        size_t count = r < rows ? moru_min_size(LANES, rows - r) : 0;
        for (size_t i = 0; i < units; i += LANES) {
            vf v[MORU_LANES];
            for (size_t u = 0; u < LANES; u++) {
                v[u] = vset(0);
                if (count == 0) continue;
                const void *even = gemm_a(args, row + r, first + 2 * (i + u));
                const void *odd = gemm_a(args, row + r, first + 2 * (i + u) + 1);
                if (narrow) v[u] = gemm_pair_narrow(even, odd, count);
                else v[u] = gemm_pair(vload_type(MORU_F32, even, 0, count), vload_type(MORU_F32, odd, 0, count));
            }
            transpose(v);
            for (size_t u = 0; u < LANES; u++) vstore(out + (r + u) * units + i, v[u]);
        }
    }
}

// 32 x 32 products into `tile` [32, 32].
static void amx_block(size_t units, const float *a, const float *b, float *tile, bool lower) {
    size_t a_stride = units * sizeof(float), b_stride = GEMM_COLUMNS * sizeof(float);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t i = 0; i < units; i += AMX_STEP) {
        _tile_loadd(6, b + i * GEMM_COLUMNS, b_stride);
        _tile_loadd(7, b + i * GEMM_COLUMNS + 16, b_stride);
        _tile_loadd(4, a + i, a_stride);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (!lower) continue;
        _tile_loadd(5, a + 16 * units + i, a_stride);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, tile, 32 * sizeof(float));
    _tile_stored(1, tile + 16, 32 * sizeof(float));
    if (!lower) return;
    _tile_stored(2, tile + 16 * 32, 32 * sizeof(float));
    _tile_stored(3, tile + 16 * 32 + 16, 32 * sizeof(float));
}

// Rows [m_begin, m_end) by columns [column, column + columns) of C, columns <= GEMM_NC; k is a multiple of 32 and not 0.
static void amx_columns(const moru_gemm *args, size_t m_begin, size_t m_end, size_t column, size_t columns,
                        const gemm_scratch *scratch, const amx_scratch *own) {
    size_t depth_step = gemm_depth_step(args);
    bool gathers = amx_gathers(args);
    for (size_t first = 0; first < args->k; first += depth_step) {
        size_t depth = moru_min_size(depth_step, args->k - first), units = depth / 2, sliver = units * GEMM_COLUMNS;
        const float *slivers = scratch->b;
        if (args->packed_b) {
            sliver = args->k / 2 * GEMM_COLUMNS;
            slivers = (const float *)args->packed_b + column / GEMM_COLUMNS * sliver + first / 2 * GEMM_COLUMNS;
        } else {
            gemm_pack_b(args, first, depth, column, columns, scratch->b, sliver, scratch);
        }
        bool accumulate = first > 0 || (args->accumulate && !gathers);
        for (size_t block = m_begin; block < m_end; block += AMX_ROWS) {
            size_t block_rows = moru_min_size(AMX_ROWS, m_end - block);
            for (size_t r = 0; r < block_rows; r += 32) {
                amx_pack_a(args, first, units, block + r, moru_min_size(32, block_rows - r), own->a + r * units);
            }
            for (size_t j = 0; j < columns; j += GEMM_COLUMNS) {
                for (size_t r = 0; r < block_rows; r += 32) {
                    size_t rows = moru_min_size(32, block_rows - r);
                    amx_block(units, own->a + r * units, slivers + j / GEMM_COLUMNS * sliver, own->tile, rows > 16);
                    for (size_t i = 0; i < rows; i++) {
                        size_t m = block + r + i;
                        for (size_t part = j; part < moru_min_size(columns, j + GEMM_COLUMNS); part += LANES) {
                            size_t at = m * args->c_row_stride + column + part;
                            size_t count = moru_min_size(LANES, columns - part);
                            vf sum = vload(own->tile + 32 * i + part - j);
                            if (gathers) {
                                float *c = own->c + (m - m_begin) * GEMM_NC + part;
                                gemm_put(MORU_F32, c, sum, count, args->alpha, accumulate);
                            } else if (args->c_type == MORU_BF16) {
                                gemm_put(MORU_BF16, (uint16_t *)args->c + at, sum, count, args->alpha, accumulate);
                            } else {
                                gemm_put(MORU_F32, (float *)args->c + at, sum, count, args->alpha, accumulate);
                            }
                        }
                    }
                }
            }
        }
    }
    if (gathers) gemm_scatter(args, m_begin, m_end - m_begin, column, columns, own->c, GEMM_NC);
}

static void amx_multiply(const moru_gemm *args, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end,
                         void *memory) {
    gemm_scratch scratch = carve(args, memory);
    amx_scratch own;
    own.a = (float *)(((uintptr_t)memory + bf16_gemm_scratch_bytes(args) + 63) & ~(uintptr_t)63);
    own.tile = own.a + AMX_ROWS * GEMM_KC;
    own.c = own.tile + 32 * 32;
    amx_configure(64);
    size_t column_step = even_part(n_end - n_begin, GEMM_NC, GEMM_COLUMNS), row_step = m_end - m_begin;
    if (args->c_type == MORU_BF16) row_step = GEMM_C_ROWS;
    for (size_t column = n_begin; column < n_end; column += column_step) {
        for (size_t row = m_begin; row < m_end; row += row_step) {
            amx_columns(args, row, moru_min_size(m_end, row + row_step), column,
                        moru_min_size(column_step, n_end - column), &scratch, &own);
        }
    }
    _tile_release();
}

// A remainder of k can be left to the f32 product only where C is f32.
INLINE bool amx_takes(const moru_gemm *args) {
    size_t rest = args->k % 32;
    if (!args->allow_bf16 || args->k < 32 || gemm_is_thin(args)) return false;
    return rest == 0 || (args->c_type == MORU_F32 && !args->packed_b);
}

size_t AMX_NAME(gemm_packed_bytes)(const moru_gemm *args) {
    if (args->k % 32 != 0) return 0;
    return args->allow_bf16 ? bf16_gemm_packed_bytes(args) : MORU_NAME(gemm_packed_bytes)(args);
}

void AMX_NAME(gemm_pack)(const moru_gemm *args, size_t n_begin, size_t n_end, void *packed, void *scratch) {
    if (args->allow_bf16) bf16_gemm_pack(args, n_begin, n_end, packed, scratch);
    else MORU_NAME(gemm_pack)(args, n_begin, n_end, packed, scratch);
}

void AMX_NAME(gemm)(const moru_gemm *args, size_t m_begin, size_t m_end, size_t n_begin, size_t n_end, void *scratch) {
    if (!amx_takes(args) || m_begin >= m_end || n_begin >= n_end) {
        MORU_NAME(gemm)(args, m_begin, m_end, n_begin, n_end, scratch);
        return;
    }
    size_t whole = args->k / 32 * 32;
    moru_gemm main = *args, rest = *args;
    main.k = whole;
    amx_multiply(&main, m_begin, m_end, n_begin, n_end, scratch);
    if (whole == args->k) return;
    // Only dense rows of B can have a remainder: blocks hold at least 32 elements.
    rest.k = args->k - whole;
    rest.a = gemm_a(args, 0, whole);
    size_t skipped = args->b_transposed ? whole * moru_block_bytes(args->b_type) : whole * args->b_row_bytes;
    rest.b = (const uint8_t *)args->b + skipped;
    rest.accumulate = true;
    MORU_NAME(gemm)(&rest, m_begin, m_end, n_begin, n_end, scratch);
}
