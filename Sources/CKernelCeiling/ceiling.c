#include "kernel_ceiling.h"

#include <stdint.h>

#if defined(__x86_64__)
#define WIDE(T) __attribute__((target(T)))
#else
#define WIDE(T)
#endif

#define LOOPS(NAME, LANES, CHAINS, TARGET)                                                                  \
    typedef float floats_##NAME __attribute__((ext_vector_type(LANES)));                                    \
    typedef uint32_t words_##NAME __attribute__((ext_vector_type(LANES)));                                  \
    WIDE(TARGET) static double multiply_add_##NAME(size_t steps, float *sink) {                             \
        floats_##NAME chain[CHAINS], factor = (floats_##NAME)(0.999f), term = (floats_##NAME)(1e-9f);       \
        for (int i = 0; i < CHAINS; i++) chain[i] = (floats_##NAME)((float)i);                              \
        for (size_t step = 0; step < steps; step++) {                                                       \
            _Pragma("clang loop unroll(full)") for (int i = 0; i < CHAINS; i++) {                           \
                chain[i] = chain[i] * factor + term;                                                        \
            }                                                                                               \
        }                                                                                                   \
        for (int i = 0; i < CHAINS; i++) *sink += chain[i].x;                                               \
        return 2.0 * CHAINS * LANES * (double)steps;                                                        \
    }                                                                                                       \
    WIDE(TARGET) static void read_##NAME(const void *memory, size_t bytes, float *sink) {                   \
        const words_##NAME *words = memory;                                                                 \
        words_##NAME sum[4] = {(words_##NAME)(0), (words_##NAME)(0), (words_##NAME)(0), (words_##NAME)(0)}; \
        size_t count = bytes / sizeof(words_##NAME) / 4 * 4;                                                \
        for (size_t i = 0; i < count; i += 4) {                                                             \
            __builtin_prefetch((const char *)(words + i) + 4096);                                           \
            for (int j = 0; j < 4; j++) sum[j] ^= words[i + (size_t)j];                                     \
        }                                                                                                   \
        *sink += (float)(sum[0].x ^ sum[1].x ^ sum[2].x ^ sum[3].x);                                        \
    }

// As many chains as there are registers for, beside two operands. The compiler contracts a step to one instruction
// where the target has it, which SSE2 has not: asked for by name, it would be a call of fmaf for each lane there.
LOOPS(narrow, 4, 12, "sse2")
LOOPS(middle, 8, 12, "avx2,fma")
LOOPS(wide, 16, 16, "avx512f,avx512vl,avx512bw,avx512dq")

double kernel_ceiling_multiply_add(int bits, size_t steps, float *sink) {
    if (bits >= 512) return multiply_add_wide(steps, sink);
    return bits >= 256 ? multiply_add_middle(steps, sink) : multiply_add_narrow(steps, sink);
}

void kernel_ceiling_read(int bits, const void *memory, size_t bytes, float *sink) {
    if (bits >= 512) read_wide(memory, bytes, sink);
    else if (bits >= 256) read_middle(memory, bytes, sink);
    else read_narrow(memory, bytes, sink);
}

#if defined(__x86_64__)
#include <immintrin.h>

WIDE("avx512f,avx512bf16") double kernel_ceiling_bf16(size_t steps, float *sink) {
    __m512 chain[16];
    __m512bh a = (__m512bh)_mm512_set1_epi16(0x3f80), b = (__m512bh)_mm512_set1_epi16(0x3000);
    for (int i = 0; i < 16; i++) chain[i] = _mm512_set1_ps((float)i);
    for (size_t step = 0; step < steps; step++) {
        _Pragma("clang loop unroll(full)") for (int i = 0; i < 16; i++) chain[i] = _mm512_dpbf16_ps(chain[i], a, b);
    }
    for (int i = 0; i < 16; i++) *sink += _mm512_cvtss_f32(chain[i]);
    return 2.0 * 16 * 32 * (double)steps;
}

WIDE("avx512f,avx512vnni") static double int8_wide(size_t steps, float *sink) {
    __m512i chain[16], a = _mm512_set1_epi8(1), b = _mm512_set1_epi8(2);
    for (int i = 0; i < 16; i++) chain[i] = _mm512_set1_epi32(i);
    for (size_t step = 0; step < steps; step++) {
        _Pragma("clang loop unroll(full)") for (int i = 0; i < 16; i++) {
            chain[i] = _mm512_dpbusd_epi32(chain[i], a, b);
        }
    }
    for (int i = 0; i < 16; i++) *sink += (float)_mm_cvtsi128_si32(_mm512_castsi512_si128(chain[i]));
    return 2.0 * 16 * 64 * (double)steps;
}

WIDE("avx2,avxvnni") static double int8_middle(size_t steps, float *sink) {
    __m256i chain[12], a = _mm256_set1_epi8(1), b = _mm256_set1_epi8(2);
    for (int i = 0; i < 12; i++) chain[i] = _mm256_set1_epi32(i);
    for (size_t step = 0; step < steps; step++) {
        _Pragma("clang loop unroll(full)") for (int i = 0; i < 12; i++) {
            chain[i] = _mm256_dpbusd_avx_epi32(chain[i], a, b);
        }
    }
    for (int i = 0; i < 12; i++) *sink += (float)_mm_cvtsi128_si32(_mm256_castsi256_si128(chain[i]));
    return 2.0 * 12 * 32 * (double)steps;
}

WIDE("avx2") static double int8_pairs(size_t steps, float *sink) {
    __m256i chain[12], b = _mm256_set1_epi8(2);
    for (int i = 0; i < 12; i++) chain[i] = _mm256_set1_epi16((int16_t)i);
    for (size_t step = 0; step < steps; step++) {
        _Pragma("clang loop unroll(full)") for (int i = 0; i < 12; i++) {
            chain[i] = _mm256_add_epi16(chain[i], _mm256_maddubs_epi16(chain[i], b));
        }
    }
    for (int i = 0; i < 12; i++) *sink += (float)_mm_cvtsi128_si32(_mm256_castsi256_si128(chain[i]));
    return 2.0 * 12 * 32 * (double)steps;
}

double kernel_ceiling_int8(int bits, bool vnni, size_t steps, float *sink) {
    if (vnni) return bits >= 512 ? int8_wide(steps, sink) : int8_middle(steps, sink);
    return bits >= 256 ? int8_pairs(steps, sink) : 0;
}

WIDE("amx-tile,amx-bf16,amx-int8") double kernel_ceiling_tiles(bool bytes, size_t steps, float *sink) {
    // The operand of ldtilecfg: palette 1, 8 tiles of 64 bytes in a row and 16 rows.
    struct {
        uint8_t palette[16];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } configuration = {.palette = {1}};
    for (int i = 0; i < 8; i++) {
        configuration.row_bytes[i] = 64;
        configuration.rows[i] = 16;
    }
    uint16_t values[512];
    for (int i = 0; i < 512; i++) values[i] = 0x3f80;
    _tile_loadconfig(&configuration);
    _tile_loadd(0, values, 64);
    _tile_loadd(1, values, 64);
    _tile_loadd(2, values, 64);
    _tile_loadd(3, values, 64);
    _tile_loadd(4, values, 64);
    _tile_loadd(5, values, 64);
    _tile_loadd(6, values, 64);
    _tile_loadd(7, values, 64);
    for (size_t step = 0; step < steps && bytes; step++) {
        _tile_dpbusd(0, 6, 7);
        _tile_dpbusd(1, 6, 7);
        _tile_dpbusd(2, 6, 7);
        _tile_dpbusd(3, 6, 7);
        _tile_dpbusd(4, 6, 7);
        _tile_dpbusd(5, 6, 7);
    }
    for (size_t step = 0; step < steps && !bytes; step++) {
        _tile_dpbf16ps(0, 6, 7);
        _tile_dpbf16ps(1, 6, 7);
        _tile_dpbf16ps(2, 6, 7);
        _tile_dpbf16ps(3, 6, 7);
        _tile_dpbf16ps(4, 6, 7);
        _tile_dpbf16ps(5, 6, 7);
    }
    _tile_stored(0, values, 64);
    _tile_release();
    *sink += values[1];
    return 2.0 * 6 * 16 * 16 * (bytes ? 64 : 32) * (double)steps;
}
#else
double kernel_ceiling_bf16(size_t steps, float *sink) {
    (void)steps, (void)sink;
    return 0;
}

double kernel_ceiling_int8(int bits, bool vnni, size_t steps, float *sink) {
    (void)bits, (void)vnni, (void)steps, (void)sink;
    return 0;
}

double kernel_ceiling_tiles(bool bytes, size_t steps, float *sink) {
    (void)bytes, (void)steps, (void)sink;
    return 0;
}
#endif
