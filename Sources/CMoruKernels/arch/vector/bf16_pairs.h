// Pairs of bf16, the units of products that add up two elements at a time.
#ifndef MORU_BF16_PAIRS_H
#define MORU_BF16_PAIRS_H

// Two rows of f32 as one row of bf16 pairs.
INLINE vf gemm_pair(vf even, vf odd) {
#if MORU_LANES == 16
    int16_t index[32];
    for (int i = 0; i < 32; i++) index[i] = (int16_t)(i / 2 + i % 2 * 16);
    __m512i halves = (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even);
    return (vf)_mm512_permutexvar_epi16(_mm512_loadu_si512(index), halves);
#else
    return __builtin_bit_cast(vf, vbf16_bits(even) | vbf16_bits(odd) << 16);
#endif
}

// The same of rows of bf16, `count` (<= LANES) elements of each; `odd` may be NULL, for a row of zeros.
INLINE vf gemm_pair_narrow(const uint16_t *even, const uint16_t *odd, size_t count) {
#if MORU_LANES == 16
    __mmask16 mask = (__mmask16)((1u << count) - 1);
    __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, even));
    if (!odd) return (vf)low;
    __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, odd));
    return (vf)_mm512_or_si512(low, _mm512_slli_epi32(high, 16));
#else
    vi low = vasint(vload_bf16_n(even, count)), high = odd ? vasint(vload_bf16_n(odd, count)) : (vi)(0);
    return vbits(high | (vi)((vu)low >> 16));
#endif
}

#if MORU_LANES == 16
// Elements `first` to `first` + 15 of two rows of 32 bf16 as one row of pairs.
INLINE vf gemm_pair_halves(__m512i even, __m512i odd, int first) {
    int16_t index[32];
    for (int i = 0; i < 32; i++) index[i] = (int16_t)(first + i / 2 + i % 2 * 32);
    return (vf)_mm512_permutex2var_epi16(even, _mm512_loadu_si512(index), odd);
}

// sum += the products of two rows of pairs.
INLINE vf pair_step(vf a, vf b, vf sum) {
    return (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
#endif

#endif
