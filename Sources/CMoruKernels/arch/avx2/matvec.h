// Products with few rows and quantised weights on AVX2: the same units as on AVX-512, 32 bytes at a time. The products
// of two bytes are added in 16 bits (vpmaddubsw), which no format but Q8_0 can overflow; Q8_0 takes the sign over to
// the activation instead of an offset.

typedef struct {
    __m256i levels[8];
    __m256 scale[8];
    __m256 minimum[2];
} unpacked;

INLINE __m256i load_256(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
INLINE __m256 two_quads(float low, float high) { return _mm256_set_m128(_mm_set1_ps(high), _mm_set1_ps(low)); }

// Bytes of 16 where the bit of that number is set, for 32 bits.
INLINE __m256i fifth_of_32(uint32_t bits) {
    const __m256i bytes = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3,
                                           3, 3, 3, 3, 3, 3);
    const __m256i masks = _mm256_set1_epi64x((int64_t)0x8040201008040201ull);
    __m256i spread = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), bytes), masks);
    return _mm256_and_si256(_mm256_cmpeq_epi8(spread, masks), _mm256_set1_epi8(16));
}

// `blocks` (1 ... 4) blocks of Q4_0, Q4_1, Q5_0 or Q5_1; the rest counts as zero.
INLINE void unpack_nibble(moru_dtype type, const uint8_t *w, size_t blocks, unpacked *out) {
    const bool five = type == MORU_Q5_0 || type == MORU_Q5_1, minima = type == MORU_Q4_1 || type == MORU_Q5_1;
    const size_t head = minima ? 4 : 2, size = head + 16 + (five ? 4 : 0);
    const __m256i low_bits = _mm256_set1_epi8(15);
    for (size_t pair = 0; pair < 2; pair++) {
        __m128i q[2] = {_mm_setzero_si128(), _mm_setzero_si128()};
        float d[2] = {0, 0}, m[2] = {0, 0};
        uint32_t fifth[2] = {0, 0};
        for (size_t i = 0; i < 2; i++) {
            if (2 * pair + i >= blocks) continue;
            const uint8_t *block = w + (2 * pair + i) * size;
            uint16_t half;
            memcpy(&half, block, 2);
            d[i] = _cvtsh_ss(half);
            if (minima) {
                memcpy(&half, block + 2, 2);
                m[i] = _cvtsh_ss(half);
            }
            if (five) memcpy(&fifth[i], block + head, 4);
            q[i] = _mm_loadu_si128((const __m128i *)(const void *)(block + size - 16));
        }
        __m256i both = _mm256_set_m128i(q[1], q[0]);
        __m256i low = _mm256_and_si256(both, low_bits), high = _mm256_and_si256(_mm256_srli_epi16(both, 4), low_bits);
        if (five) {
            low = _mm256_or_si256(low, fifth_of_32((fifth[0] & 0xffff) | fifth[1] << 16));
            high = _mm256_or_si256(high, fifth_of_32(fifth[0] >> 16 | (fifth[1] & 0xffff0000)));
        }
        out->levels[pair] = low;
        out->levels[2 + pair] = high;
        out->scale[pair] = two_quads(d[0], d[1]);
        if (minima) out->minimum[pair] = two_quads(m[0], m[1]);
    }
}

INLINE void unpack_byte(const uint8_t *w, size_t blocks, unpacked *out) {
    for (size_t b = 0; b < 4; b++) {
        out->levels[b] = _mm256_setzero_si256();
        out->scale[b] = _mm256_setzero_ps();
        if (b >= blocks) continue;
        const moru_q8_0 *block = (const moru_q8_0 *)(const void *)w + b;
        out->levels[b] = load_256(block->qs);
        out->scale[b] = _mm256_set1_ps(_cvtsh_ss(block->d));
    }
}

INLINE __m256 eight_to_ps(const int8_t *bytes) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)bytes)));
}

// 16 scales, each for 16 elements.
INLINE void spread_16(const int8_t bytes[16], float d, unpacked *out) {
    for (int i = 0; i < 8; i++) out->scale[i] = two_quads(d * (float)bytes[2 * i], d * (float)bytes[2 * i + 1]);
}

INLINE void unpack_q2_k(const moru_q2_k *block, unpacked *out) {
    for (int i = 0; i < 8; i++) {
        __m256i q = _mm256_srl_epi16(load_256(block->qs + 32 * (i / 4)), _mm_cvtsi32_si128(2 * (i % 4)));
        out->levels[i] = _mm256_and_si256(q, _mm256_set1_epi8(3));
    }
    int8_t scales[16], minima[16];
    for (int j = 0; j < 16; j++) {
        scales[j] = (int8_t)(block->scales[j] & 15);
        minima[j] = (int8_t)(block->scales[j] >> 4);
    }
    spread_16(scales, _cvtsh_ss(block->d), out);
    __m256 dmin = _mm256_set1_ps(-_cvtsh_ss(block->dmin));
    out->minimum[0] = _mm256_mul_ps(eight_to_ps(minima), dmin);
    out->minimum[1] = _mm256_mul_ps(eight_to_ps(minima + 8), dmin);
}

INLINE void unpack_q3_k(const moru_q3_k *block, unpacked *out) {
    for (int i = 0; i < 8; i++) {
        __m256i q = _mm256_srl_epi16(load_256(block->qs + 32 * (i / 4)), _mm_cvtsi32_si128(2 * (i % 4)));
        __m256i high = _mm256_srl_epi16(load_256(block->hmask), _mm_cvtsi32_si128(i));
        high = _mm256_slli_epi16(_mm256_and_si256(high, _mm256_set1_epi8(1)), 2);
        out->levels[i] = _mm256_or_si256(_mm256_and_si256(q, _mm256_set1_epi8(3)), high);
    }
    int8_t scales[16];
    for (int j = 0; j < 16; j++) scales[j] = (int8_t)(moru_q3_k_scale(block->scales, j) - 32);
    spread_16(scales, _cvtsh_ss(block->d), out);
}

INLINE void unpack_q6_k(const moru_q6_k *block, unpacked *out) {
    const __m256i low_bits = _mm256_set1_epi8(15);
    for (int i = 0; i < 8; i++) {
        int half = i / 4, quarter = i % 4;
        __m256i low = load_256(block->ql + 64 * half + 32 * (quarter % 2));
        __m256i high = _mm256_srl_epi16(load_256(block->qh + 32 * half), _mm_cvtsi32_si128(2 * quarter));
        low = _mm256_and_si256(quarter / 2 ? _mm256_srli_epi16(low, 4) : low, low_bits);
        high = _mm256_slli_epi16(_mm256_and_si256(high, _mm256_set1_epi8(3)), 4);
        out->levels[i] = _mm256_or_si256(low, high);
    }
    spread_16(block->scales, _cvtsh_ss(block->d), out);
}

// Q4_K, and with `qh` Q5_K, in the order of sub-blocks that the activations have.
INLINE void unpack_q45_k(uint16_t d, uint16_t dmin, const uint8_t packed[12], const uint8_t *qh, const uint8_t *qs,
                         unpacked *out) {
    const __m256i low_bits = _mm256_set1_epi8(15);
    float scale = _cvtsh_ss(d);
    int8_t minima[8];
    for (int i = 0; i < 8; i++) {
        int sub = i / 4 * 4 + (i % 2) * 2 + i % 4 / 2;
        uint8_t sub_scale, sub_min;
        moru_k4_scale_min(packed, i, &sub_scale, &sub_min);
        minima[i] = (int8_t)sub_min;
        moru_k4_scale_min(packed, sub, &sub_scale, &sub_min);
        __m256i q = load_256(qs + 32 * (sub / 2));
        q = _mm256_and_si256(sub % 2 ? _mm256_srli_epi16(q, 4) : q, low_bits);
        if (qh) {
            __m256i high = _mm256_srl_epi16(load_256(qh), _mm_cvtsi32_si128(sub));
            q = _mm256_or_si256(q, _mm256_slli_epi16(_mm256_and_si256(high, _mm256_set1_epi8(1)), 4));
        }
        out->levels[i] = q;
        out->scale[i] = _mm256_set1_ps(scale * (float)sub_scale);
    }
    out->minimum[0] = _mm256_mul_ps(eight_to_ps(minima), _mm256_set1_ps(-_cvtsh_ss(dmin)));
    out->minimum[1] = _mm256_setzero_ps();
}

INLINE __m256i pair_products(__m256i levels, __m256i q) { return _mm256_maddubs_epi16(levels, q); }
INLINE __m256i four_products(__m256i pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }

// One weight row against `rows` activation rows.
INLINE void quantised_dot(const int rows, const moru_dtype type, const moru_matvec *args, const uint8_t *w,
                          const uint8_t *x, float *y) {
    const activation_family family = family_of(type);
    const size_t elements = unit_elements(family), bytes = unit_bytes(family), stride = args->x_row_bytes;
    const size_t step = elements / moru_block_elements(type) * moru_block_bytes(type);
    const bool offset = level_offset(type) != 0 && family != BYTE, minima = level_offset(type) == 0;
    __m256 total[8];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) total[r] = _mm256_setzero_ps();
    for (size_t i = 0; i < args->k; i += elements) {
        unpacked weights;
        _mm_prefetch((const char *)w + 1024, _MM_HINT_T0);
        if (family == NIBBLE) {
            if (i + elements <= args->k) unpack_nibble(type, w, 4, &weights);
            else unpack_nibble(type, w, (args->k - i) / 32, &weights);
        } else if (family == BYTE) {
            if (i + elements <= args->k) unpack_byte(w, 4, &weights);
            else unpack_byte(w, (args->k - i) / 32, &weights);
        } else if (type == MORU_Q2_K) {
            unpack_q2_k((const moru_q2_k *)(const void *)w, &weights);
        } else if (type == MORU_Q3_K) {
            unpack_q3_k((const moru_q3_k *)(const void *)w, &weights);
        } else if (type == MORU_Q4_K) {
            const moru_q4_k *b = (const moru_q4_k *)(const void *)w;
            unpack_q45_k(b->d, b->dmin, b->scales, NULL, b->qs, &weights);
        } else if (type == MORU_Q5_K) {
            const moru_q5_k *b = (const moru_q5_k *)(const void *)w;
            unpack_q45_k(b->d, b->dmin, b->scales, b->qh, b->qs, &weights);
        } else {
            unpack_q6_k((const moru_q6_k *)(const void *)w, &weights);
        }
        _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
            const uint8_t *row = x + (size_t)r * stride;
            const int8_t *q = (const int8_t *)row;
            const nibble_unit *nibble = (const nibble_unit *)(const void *)row;
            const byte_unit *byte = (const byte_unit *)(const void *)row;
            const sub_unit *sub = (const sub_unit *)(const void *)row;
            const float *scales = family == NIBBLE ? nibble->scale : family == BYTE ? byte->scale : sub->scale;
            const int32_t *start = family == NIBBLE ? nibble->start : sub->start;
            _Pragma("clang loop unroll(full)") for (size_t v = 0; v < (family == NIBBLE ? 2 : elements / 32); v++) {
                __m256i levels = weights.levels[v], activation = load_256(q + 32 * v);
                if (family == BYTE) {
                    activation = _mm256_sign_epi8(activation, levels);
                    levels = _mm256_abs_epi8(levels);
                }
                __m256i sum = pair_products(levels, activation);
                if (family == NIBBLE) {
                    __m256i second = pair_products(weights.levels[2 + v], load_256(q + 64 + 32 * v));
                    sum = _mm256_add_epi16(sum, second);
                }
                sum = four_products(sum);
                if (offset) sum = _mm256_add_epi32(sum, load_256(start + 8 * v));
                __m256 scale = _mm256_mul_ps(weights.scale[v], _mm256_loadu_ps(scales + 8 * v));
                total[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, total[r]);
            }
            if (minima) {
                const float *sums = family == NIBBLE ? nibble->sum : sub->sum;
                total[r] = _mm256_fmadd_ps(weights.minimum[0], _mm256_loadu_ps(sums), total[r]);
                total[r] = _mm256_fmadd_ps(weights.minimum[1], _mm256_loadu_ps(sums + 8), total[r]);
            }
        }
        w += step;
        x += bytes;
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        y[(size_t)r * args->y_row_stride] = vsum((vf)total[r]);
    }
}
