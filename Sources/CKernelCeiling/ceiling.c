#include "kernel_ceiling.h"

#include <stdint.h>

#if defined(__x86_64__)
#define WIDE(T) __attribute__((target(T)))
#else
#define WIDE(T)
#endif

#define LOOPS(NAME, LANES, TARGET)                                                                          \
    typedef float floats_##NAME __attribute__((ext_vector_type(LANES)));                                    \
    typedef uint32_t words_##NAME __attribute__((ext_vector_type(LANES)));                                  \
    WIDE(TARGET) static double multiply_add_##NAME(size_t steps, float *sink) {                             \
        floats_##NAME chain[16], factor = (floats_##NAME)(0.999f), term = (floats_##NAME)(1e-9f);           \
        for (int i = 0; i < 16; i++) chain[i] = (floats_##NAME)((float)i);                                  \
        for (size_t step = 0; step < steps; step++) {                                                       \
            _Pragma("clang loop unroll(full)") for (int i = 0; i < 16; i++) {                               \
                chain[i] = __builtin_elementwise_fma(chain[i], factor, term);                               \
            }                                                                                               \
        }                                                                                                   \
        for (int i = 0; i < 16; i++) *sink += chain[i].x;                                                   \
        return 2.0 * 16 * LANES * (double)steps;                                                            \
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

LOOPS(narrow, 4, "sse2")
LOOPS(middle, 8, "avx2,fma")
LOOPS(wide, 16, "avx512f,avx512vl,avx512bw,avx512dq")

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

WIDE("avx512f,avx512vnni") double kernel_ceiling_int8(size_t steps, float *sink) {
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
#else
double kernel_ceiling_bf16(size_t steps, float *sink) {
    (void)steps, (void)sink;
    return 0;
}

double kernel_ceiling_int8(size_t steps, float *sink) {
    (void)steps, (void)sink;
    return 0;
}
#endif
