// A thin layer over clang's vectors, so that each vector kernel is written once. The including file defines
// MORU_NAME(f) (the level's prefix) and MORU_LANES (floats in a vector), and compiles under the level's target; with
// MORU_NATIVE_BF16 where that has instructions that round to bf16 (numbers below 2^-126 become 0 there).
#include <float.h>
#include <math.h>

// Vectors wider than the target's registers are passed only to functions that are inlined.
#pragma clang diagnostic ignored "-Wpsabi"

#define INLINE static inline __attribute__((always_inline))
#define LANES ((size_t)MORU_LANES)

typedef float vf __attribute__((ext_vector_type(MORU_LANES)));
typedef int32_t vi __attribute__((ext_vector_type(MORU_LANES)));
typedef uint32_t vu __attribute__((ext_vector_type(MORU_LANES)));
typedef double vd __attribute__((ext_vector_type(MORU_LANES)));
typedef _Float16 vh __attribute__((ext_vector_type(MORU_LANES)));
typedef uint16_t vs __attribute__((ext_vector_type(MORU_LANES)));

// Fixed widths, for the block formats.
typedef float f32x16 __attribute__((ext_vector_type(16)));
typedef uint8_t u8x16 __attribute__((ext_vector_type(16)));
typedef int8_t i8x16 __attribute__((ext_vector_type(16)));

// Two fences that only the compiler sees, for loops where its own order of instructions would push the sums out of the
// registers: it moves no load or store across the first, and has both vectors in registers at the second.
#define KEEP_ORDER() __asm__ volatile("" ::: "memory")
#define KEEP_IN_REGISTERS(a, b) __asm__ volatile("" : "+x"(a), "+x"(b) : : "memory")

INLINE vf vload(const float *p) {
    vf v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

INLINE void vstore(float *p, vf v) { __builtin_memcpy(p, &v, sizeof v); }

// Lane numbers 0, 1, 2, ...
INLINE vi viota(void) {
    vi v;
    for (int i = 0; i < MORU_LANES; i++) v[i] = i;
    return v;
}

// The first `count` (< LANES) elements, zeros after them; and their store.
INLINE vf vload_n(const float *p, size_t count) {
#if MORU_LANES == 16
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
#elif MORU_LANES == 8
    // By way of memory the parts would have to be stored before the whole can be loaded.
    return (vf)_mm256_maskload_ps(p, (__m256i)(viota() < (int32_t)count));
#else
    vf v = (vf)(0);
    __builtin_memcpy(&v, p, count * sizeof(float));
    return v;
#endif
}

INLINE void vstore_n(float *p, vf v, size_t count) {
#if MORU_LANES == 16
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), (__m512)v);
#else
    __builtin_memcpy(p, &v, count * sizeof(float));
#endif
}

INLINE vf vfma(vf a, vf b, vf c) { return __builtin_elementwise_fma(a, b, c); }
INLINE vf vset(float x) { return (vf)(x); }
// The second operand when either is NaN.
INLINE vf vmax(vf a, vf b) { return a > b ? a : b; }
INLINE vf vmin(vf a, vf b) { return a < b ? a : b; }
INLINE vf vbits(vi v) { return __builtin_bit_cast(vf, v); }
INLINE vi vasint(vf v) { return __builtin_bit_cast(vi, v); }

#define ADDED(a, b) ((a) + (b))
#define LARGER(a, b) ((a) > (b) ? (a) : (b))

INLINE float vsum(vf v) {
#if MORU_LANES == 16
    __typeof__(v.lo) half = ADDED(v.lo, v.hi);
    __typeof__(half.lo) quad = ADDED(half.lo, half.hi);
#elif MORU_LANES == 8
    __typeof__(v.lo) quad = ADDED(v.lo, v.hi);
#else
    vf quad = v;
#endif
    __typeof__(quad.lo) pair = ADDED(quad.lo, quad.hi);
    return ADDED(pair.x, pair.y);
}

// With NaNs among the lanes the result is any lane.
INLINE float vlargest(vf v) {
#if MORU_LANES == 16
    __typeof__(v.lo) half = LARGER(v.lo, v.hi);
    __typeof__(half.lo) quad = LARGER(half.lo, half.hi);
#elif MORU_LANES == 8
    __typeof__(v.lo) quad = LARGER(v.lo, v.hi);
#else
    vf quad = v;
#endif
    __typeof__(quad.lo) pair = LARGER(quad.lo, quad.hi);
    return LARGER(pair.x, pair.y);
}

INLINE double vsum_double(vd v) {
    double sum = 0;
    for (int i = 0; i < MORU_LANES; i++) sum += v[i];
    return sum;
}

// e^x to about one unit in the last place over the whole range: 0 for -inf, inf above 88.7, NaN for NaN.
// x = n ln 2 + r with |r| <= ln 2 / 2, and a polynomial for e^r.
INLINE vf vexp(vf x) {
    x = vmax(vset(-105.0f), vmin(vset(89.0f), x));  // in this order of operands a NaN stays
    const float magic = 0x1.8p23f;                  // adding it rounds to an integer in the low bits
    vf shifted = vfma(x, vset(1.44269504088896341f), vset(magic));
    vf n = shifted - magic;
    vf r = vfma(n, vset(-0.693359375f), x);
    r = vfma(n, vset(2.12194440e-4f), r);
    vf p = vset(1.9875691500e-4f);
    p = vfma(p, r, vset(1.3981999507e-3f));
    p = vfma(p, r, vset(8.3334519073e-3f));
    p = vfma(p, r, vset(4.1665795894e-2f));
    p = vfma(p, r, vset(1.6666665459e-1f));
    p = vfma(p, r, vset(5.0000001201e-1f));
    p = vfma(p * r, r, r) + 1.0f;
#if MORU_LANES == 16
    return (vf)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    // 2^n in two factors, so that neither leaves the range of the exponent.
    vi whole = vasint(shifted) - vasint(vset(magic));
    vi first = whole >> 1, second = whole - first;
    return p * vbits((first + 127) << 23) * vbits((second + 127) << 23);
#endif
}

#ifdef MORU_NATIVE_BF16
// 2^x to 3e-6 of itself, for what is rounded to bf16 and lies in -200 ... 126; below -126 it fades to 0. A NaN stays.
INLINE vf vexp2_narrow(vf x) {
    const float magic = 0x1.8p23f;  // adding it rounds to an integer
    vf n = (x + magic) - magic, r = x - n;
    vf p = vfma(vset(0.00958285294f), r, vset(0.0559064262f));
    p = vfma(p, r, vset(0.240240991f));
    p = vfma(p, r, vset(0.693124175f));
    return (vf)_mm512_scalef_ps((__m512)vfma(p, r, vset(1)), (__m512)n);
}
#endif

INLINE vf vsigmoid(vf x) { return 1.0f / (1.0f + vexp(-x)); }

// tanh x = 1 - 2 / (e^2x + 1); absolute error of a few 1e-8 of 1.
INLINE vf vtanh(vf x) { return 1.0f - 2.0f / (vexp(2.0f * x) + 1.0f); }

// Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7. `gaussian` is e^(-x^2).
INLINE vf verf(vf x, vf gaussian) {
    vf magnitude = vbits(vasint(x) & 0x7fffffff);
    vf t = 1.0f / vfma(magnitude, vset(0.3275911f), vset(1));
    vf p = vset(1.061405429f);
    p = vfma(p, t, vset(-1.453152027f));
    p = vfma(p, t, vset(1.421413741f));
    p = vfma(p, t, vset(-0.284496736f));
    p = vfma(p, t, vset(0.254829592f));
    vf positive = 1.0f - p * t * gaussian;
    return vbits(vasint(positive) | (vasint(x) & (int32_t)0x80000000));
}

// 16-bit floats, widened.
INLINE vf vload_f16(const uint16_t *p) {
    vh v;
    __builtin_memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, vf);
}

INLINE vf vload_bf16(const uint16_t *p) {
    vs v;
    __builtin_memcpy(&v, p, sizeof v);
    return __builtin_bit_cast(vf, __builtin_convertvector(v, vu) << 16);
}

// The first `count` (<= LANES) elements, zeros after them.
INLINE vf vload_bf16_n(const uint16_t *p, size_t count) {
    vs v = (vs)(0);
    __builtin_memcpy(&v, p, count * sizeof *p);
    return __builtin_bit_cast(vf, __builtin_convertvector(v, vu) << 16);
}

// Rounded to bf16 (to nearest even, NaN kept), in the low half of each lane.
INLINE vu vbf16_bits(vf v) {
    vu bits = __builtin_bit_cast(vu, v);
    vu rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    vu quiet = (bits >> 16) | 64;
    return v != v ? quiet : rounded;
}

INLINE vs vnarrow(vf v) {
#ifdef MORU_NATIVE_BF16
    return __builtin_bit_cast(vs, _mm512_cvtneps_pbh((__m512)v));
#else
    return __builtin_convertvector(vbf16_bits(v), vs);
#endif
}

INLINE void vstore_bf16(uint16_t *p, vf v) {
    vs bits = vnarrow(v);
    __builtin_memcpy(p, &bits, sizeof bits);
}

// The first `count` (<= LANES) elements.
INLINE void vstore_bf16_n(uint16_t *p, vf v, size_t count) {
    vs bits = vnarrow(v);
#ifdef MORU_NATIVE_BF16
    _mm256_mask_storeu_epi16(p, (__mmask16)((1u << count) - 1), __builtin_bit_cast(__m256i, bits));
#else
    __builtin_memcpy(p, &bits, count * sizeof *p);
#endif
}

// `count` (<= LANES) elements from element i on of an array of f32 or bf16, zeros after them; and their store.
INLINE vf vload_type(moru_dtype type, const void *p, size_t i, size_t count) {
    if (type == MORU_F32) return count == LANES ? vload((const float *)p + i) : vload_n((const float *)p + i, count);
    return count == LANES ? vload_bf16((const uint16_t *)p + i) : vload_bf16_n((const uint16_t *)p + i, count);
}

INLINE void vstore_type(moru_dtype type, void *p, size_t i, vf v, size_t count) {
    if (type == MORU_BF16) {
        if (count == LANES) vstore_bf16((uint16_t *)p + i, v);
        else vstore_bf16_n((uint16_t *)p + i, v, count);
    } else {
        if (count == LANES) vstore((float *)p + i, v);
        else vstore_n((float *)p + i, v, count);
    }
}
