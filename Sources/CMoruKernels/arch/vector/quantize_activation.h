// Rounding of activations to int8 in blocks of 32.

typedef int8_t i8v __attribute__((ext_vector_type(MORU_LANES)));

// Rounds 32 elements to int8 and returns the scale; sums[0], sums[1]: of the two halves' integers.
INLINE float quantize_32(const float *x, int8_t q[32], int32_t sums[2]) {
    vf most = vset(0);
    for (size_t i = 0; i < 32; i += LANES) most = vmax(vbits(vasint(vload(x + i)) & 0x7fffffff), most);
    float largest = vlargest(most), inverse = largest > 0 ? 127 / largest : 0;
    vi half[2] = {(vi)(0), (vi)(0)};
    for (size_t i = 0; i < 32; i += LANES) {
        vi rounded = __builtin_convertvector(__builtin_elementwise_rint(vload(x + i) * inverse), vi);
        i8v bytes = __builtin_convertvector(rounded, i8v);
        __builtin_memcpy(q + i, &bytes, sizeof bytes);
        half[i / 16] += rounded;
    }
    sums[0] = __builtin_reduce_add(half[0]);
    sums[1] = __builtin_reduce_add(half[1]);
    return largest / 127;
}
