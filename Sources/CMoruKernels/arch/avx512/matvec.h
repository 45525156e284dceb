// Products with few rows and quantised weights, with VNNI (vpdpbusd: 4 products of unsigned and signed bytes added to
// each 32-bit lane). Weights are unpacked once into registers and meet each activation row in turn. Layouts: blocks.h,
// vector/activation.h.

// 128 or 256 unpacked weights: levels as unsigned bytes, one scale for each lane of 4, and the minima.
typedef struct {
    __m512i levels[4];
    __m512 scale[4];
    __m512 minimum;
} unpacked;

INLINE __m512 words_to_ps(__m256i words) { return _mm512_cvtph_ps(words); }

// Index vectors for NIBBLE blocks of `stride` 16-bit words: lane l of `levels` takes word `levels_at` + l % 8 of block
// l / 8; word l of `fields` takes d (l < 16) or m (l >= 16) of block l % 16 / 4. Words 32 and up come from the second
// register.
INLINE __m512i nibble_index(int stride, int levels_at) {
    int16_t index[32];
    for (int l = 0; l < 32; l++) index[l] = (int16_t)(l / 8 * stride + levels_at + l % 8);
    return _mm512_loadu_si512(index);
}

INLINE __m512i field_index(int stride) {
    int16_t index[32];
    for (int l = 0; l < 32; l++) index[l] = (int16_t)(l % 16 / 4 * stride + l / 16);
    return _mm512_loadu_si512(index);
}

// `blocks` (1 ... 4) blocks of Q4_0, Q4_1, Q5_0 or Q5_1; what lies beyond them is not read and counts as zero.
INLINE void unpack_nibble(moru_dtype type, const uint8_t *w, size_t blocks, unpacked *out) {
    const bool five = type == MORU_Q5_0 || type == MORU_Q5_1, minima = type == MORU_Q4_1 || type == MORU_Q5_1;
    const int head = 1 + (minima ? 1 : 0), stride = 8 + head + (five ? 2 : 0);
    __m512i first, second;
    if (blocks == 4) {
        first = _mm512_loadu_si512(w);
        second = _mm512_maskz_loadu_epi16((1u << (4 * stride - 32)) - 1, w + 64);
    } else {
        size_t words = blocks * (size_t)stride;
        first = _mm512_maskz_loadu_epi16(words >= 32 ? ~0u : (1u << words) - 1, w);
        second = _mm512_maskz_loadu_epi16(words > 32 ? (1u << (words - 32)) - 1 : 0, w + 64);
    }
    __m512i levels = _mm512_permutex2var_epi16(first, nibble_index(stride, stride - 8), second);
    __m512i fields = _mm512_permutex2var_epi16(first, field_index(stride), second);
    const __m512i low_bits = _mm512_set1_epi8(15);
    out->levels[0] = _mm512_and_si512(levels, low_bits);
    out->levels[1] = _mm512_and_si512(_mm512_srli_epi16(levels, 4), low_bits);
    if (five) {
        uint64_t low = 0, high = 0;
        for (size_t b = 0; b < blocks; b++) {
            uint32_t bits;
            memcpy(&bits, w + 2 * (b * (size_t)stride + (size_t)head), sizeof bits);
            low |= (uint64_t)(bits & 0xffff) << (16 * b);
            high |= (uint64_t)(bits >> 16) << (16 * b);
        }
        const __m512i fifth = _mm512_set1_epi8(16);
        out->levels[0] = _mm512_or_si512(out->levels[0], _mm512_maskz_mov_epi8(low, fifth));
        out->levels[1] = _mm512_or_si512(out->levels[1], _mm512_maskz_mov_epi8(high, fifth));
    }
    out->scale[0] = words_to_ps(_mm512_castsi512_si256(fields));
    if (minima) out->minimum = words_to_ps(_mm512_extracti64x4_epi64(fields, 1));
}

INLINE void unpack_byte(const uint8_t *w, size_t blocks, unpacked *out) {
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    for (size_t pair = 0; pair < 2; pair++) {
        __m256i half[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        __m128i d[2] = {_mm_setzero_si128(), _mm_setzero_si128()};
        for (size_t i = 0; i < 2; i++) {
            if (2 * pair + i >= blocks) continue;
            const moru_q8_0 *block = (const moru_q8_0 *)(const void *)w + 2 * pair + i;
            half[i] = _mm256_loadu_si256((const __m256i *)(const void *)block->qs);
            d[i] = _mm_set1_epi16((int16_t)block->d);
        }
        __m512i bytes = _mm512_inserti64x4(_mm512_castsi256_si512(half[0]), half[1], 1);
        out->levels[pair] = _mm512_xor_si512(bytes, flip);
        out->scale[pair] = words_to_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(d[0]), d[1], 1));
    }
}

// The k-th 64 elements' lanes take scale 4k + l / 4 of 16.
INLINE void spread_16(__m512 scales, unpacked *out) {
    const __m512i quads = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    for (int i = 0; i < 4; i++) {
        out->scale[i] = _mm512_permutexvar_ps(_mm512_add_epi32(quads, _mm512_set1_epi32(4 * i)), scales);
    }
}

INLINE __m512 bytes_to_ps(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)); }

// 32 bytes twice, the low copy shifted right by `low` bits and the high one by `high`, within 16-bit words.
INLINE __m512i shifted_twice(const uint8_t *bytes, int low, int high) {
    __m512i both = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(const void *)bytes));
    __m512i counts = _mm512_inserti64x4(_mm512_set1_epi16((int16_t)low), _mm256_set1_epi16((int16_t)high), 1);
    return _mm512_srlv_epi16(both, counts);
}

INLINE void unpack_q2_k(const moru_q2_k *block, unpacked *out) {
    const __m512i mask = _mm512_set1_epi8(3);
    for (int i = 0; i < 4; i++) {
        out->levels[i] = _mm512_and_si512(shifted_twice(block->qs + 32 * (i / 2), 4 * (i % 2), 4 * (i % 2) + 2), mask);
    }
    __m128i packed = _mm_loadu_si128((const __m128i *)(const void *)block->scales), low = _mm_set1_epi8(15);
    __m512 scales = bytes_to_ps(_mm_and_si128(packed, low));
    __m512 minima = bytes_to_ps(_mm_and_si128(_mm_srli_epi16(packed, 4), low));
    spread_16(_mm512_mul_ps(scales, _mm512_set1_ps(_cvtsh_ss(block->d))), out);
    out->minimum = _mm512_mul_ps(minima, _mm512_set1_ps(-_cvtsh_ss(block->dmin)));
}

INLINE void unpack_q3_k(const moru_q3_k *block, unpacked *out) {
    const __m512i two = _mm512_set1_epi8(3), one = _mm512_set1_epi8(1);
    for (int i = 0; i < 4; i++) {
        __m512i low = _mm512_and_si512(shifted_twice(block->qs + 32 * (i / 2), 4 * (i % 2), 4 * (i % 2) + 2), two);
        __m512i high = _mm512_and_si512(shifted_twice(block->hmask, 2 * i, 2 * i + 1), one);
        out->levels[i] = _mm512_or_si512(low, _mm512_slli_epi16(high, 2));
    }
    // Words a, b hold the low 4 bits of scales 0-7 and (in their high halves) 8-15, word c the top 2 bits of all.
    __m128i words = _mm_maskz_loadu_epi32(7, block->scales);
    __m128i low = _mm_srlv_epi32(_mm_shuffle_epi32(words, _MM_SHUFFLE(1, 0, 1, 0)), _mm_setr_epi32(0, 0, 4, 4));
    __m128i high = _mm_srlv_epi32(_mm_shuffle_epi32(words, _MM_SHUFFLE(2, 2, 2, 2)), _mm_setr_epi32(0, 2, 4, 6));
    low = _mm_and_si128(low, _mm_set1_epi8(15));
    high = _mm_slli_epi32(_mm_and_si128(high, _mm_set1_epi8(3)), 4);
    __m128i scales = _mm_or_si128(low, high);
    __m512 values = bytes_to_ps(_mm_sub_epi8(scales, _mm_set1_epi8(32)));
    spread_16(_mm512_mul_ps(values, _mm512_set1_ps(_cvtsh_ss(block->d))), out);
}

INLINE void unpack_q6_k(const moru_q6_k *block, unpacked *out) {
    const __m512i low_bits = _mm512_set1_epi8(15), two = _mm512_set1_epi8(3);
    for (int half = 0; half < 2; half++) {
        __m512i ql = _mm512_loadu_si512(block->ql + 64 * half);
        __m512i high0 = _mm512_and_si512(shifted_twice(block->qh + 32 * half, 0, 2), two);
        __m512i high1 = _mm512_and_si512(shifted_twice(block->qh + 32 * half, 4, 6), two);
        out->levels[2 * half] = _mm512_or_si512(_mm512_and_si512(ql, low_bits), _mm512_slli_epi16(high0, 4));
        out->levels[2 * half + 1] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(ql, 4), low_bits),
                                                    _mm512_slli_epi16(high1, 4));
    }
    __m512 scales = bytes_to_ps(_mm_loadu_si128((const __m128i *)(const void *)block->scales));
    spread_16(_mm512_mul_ps(scales, _mm512_set1_ps(_cvtsh_ss(block->d))), out);
}

// Q4_K, and with `qh` Q5_K.
INLINE void unpack_q45_k(uint16_t d, uint16_t dmin, const uint8_t packed[12], const uint8_t *qh, const uint8_t *qs,
                         unpacked *out) {
    const __m512i low_bits = _mm512_set1_epi8(15), one = _mm512_set1_epi8(1);
    for (int pair = 0; pair < 2; pair++) {
        __m512i q = _mm512_loadu_si512(qs + 64 * pair);
        out->levels[2 * pair] = _mm512_and_si512(q, low_bits);
        out->levels[2 * pair + 1] = _mm512_and_si512(_mm512_srli_epi16(q, 4), low_bits);
    }
    if (qh) {
        for (int i = 0; i < 4; i++) {
            int first = 4 * (i / 2) + i % 2;  // sub-blocks `first` and `first + 2`
            __m512i high = _mm512_and_si512(shifted_twice(qh, first, first + 2), one);
            out->levels[i] = _mm512_or_si512(out->levels[i], _mm512_slli_epi16(high, 4));
        }
    }
    // Words a, b, c of `packed`: a and b hold the first four scales and minima in 6 bits each, c the low 4 bits of the
    // other four, whose high bits are the top 2 of a and b.
    __m128i words = _mm_maskz_loadu_epi32(7, packed);
    __m128i low = _mm_srlv_epi32(_mm_shuffle_epi32(words, _MM_SHUFFLE(2, 1, 2, 0)), _mm_setr_epi32(0, 0, 0, 4));
    __m128i high = _mm_srli_epi32(_mm_shuffle_epi32(words, _MM_SHUFFLE(1, 1, 0, 0)), 2);
    low = _mm_and_si128(low, _mm_setr_epi32(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f));
    high = _mm_and_si128(high, _mm_setr_epi32(0, 0x30303030, 0, 0x30303030));
    __m128i fields = _mm_or_si128(low, high);
    __m512 values = bytes_to_ps(fields);  // 8 scales, 8 minima
    __m512 scales = _mm512_mul_ps(values, _mm512_set1_ps(_cvtsh_ss(d)));
    const __m512i halves = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2);
    for (int i = 0; i < 4; i++) {
        __m512i index = _mm512_add_epi32(halves, _mm512_set1_epi32(4 * (i / 2) + i % 2));
        out->scale[i] = _mm512_permutexvar_ps(index, scales);
    }
    __m512 minima = _mm512_mul_ps(values, _mm512_set1_ps(-_cvtsh_ss(dmin)));
    out->minimum = _mm512_maskz_compress_ps(0xff00, minima);  // lanes 8-15 to 0-7
}

INLINE __m512 load_ps(const float *p) { return _mm512_loadu_ps(p); }
INLINE __m512i load_bits(const void *p) { return _mm512_loadu_si512(p); }

// One weight row against `rows` activation rows.
INLINE void quantised_dot(const int rows, const moru_dtype type, const moru_matvec *args, const uint8_t *w,
                          const uint8_t *x, float *y) {
    const activation_family family = family_of(type);
    const size_t elements = unit_elements(family), bytes = unit_bytes(family), stride = args->x_row_bytes;
    const size_t block = moru_block_bytes(type), step = elements / moru_block_elements(type) * block;
    const bool offset = level_offset(type) != 0;
    // Two sums for each row: the chain of additions would otherwise bound the speed of a single row.
    __m512 total[8], other[8];
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) total[r] = other[r] = _mm512_setzero_ps();
    for (size_t i = 0; i < args->k; i += elements) {
        unpacked weights;
        _mm_prefetch((const char *)w + 4096, _MM_HINT_T0);
        _mm_prefetch((const char *)w + 4160, _MM_HINT_T0);
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
            if (family == NIBBLE) {
                const nibble_unit *unit = (const nibble_unit *)(const void *)row;
                __m512i sum = offset ? load_bits(unit->start) : _mm512_setzero_si512();
                sum = _mm512_dpbusd_epi32(sum, weights.levels[0], load_bits(unit->q));
                sum = _mm512_dpbusd_epi32(sum, weights.levels[1], load_bits(unit->q + 64));
                __m512 scale = _mm512_mul_ps(weights.scale[0], load_ps(unit->scale));
                total[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, total[r]);
                if (!offset) other[r] = _mm512_fmadd_ps(weights.minimum, load_ps(unit->sum), other[r]);
                continue;
            }
            const int8_t *q = (const int8_t *)row;
            const byte_unit *byte = (const byte_unit *)(const void *)row;
            const sub_unit *sub = (const sub_unit *)(const void *)row;
            const float *scales = family == BYTE ? byte->scale : sub->scale;
            const int32_t *start = family == BYTE ? byte->start : sub->start;
            _Pragma("clang loop unroll(full)") for (size_t v = 0; v < elements / 64; v++) {
                __m512i sum = offset ? load_bits(start + 16 * v) : _mm512_setzero_si512();
                sum = _mm512_dpbusd_epi32(sum, weights.levels[v], load_bits(q + 64 * v));
                __m512 scale = _mm512_mul_ps(weights.scale[v], load_ps(scales + 16 * v));
                __m512 *to = v % 2 ? other : total;
                to[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, to[r]);
            }
            if (!offset) other[r] = _mm512_fmadd_ps(weights.minimum, load_ps(sub->sum), other[r]);
        }
        w += step;
        x += bytes;
    }
    _Pragma("clang loop unroll(full)") for (int r = 0; r < rows; r++) {
        y[(size_t)r * args->y_row_stride] = vsum((vf)_mm512_add_ps(total[r], other[r]));
    }
}
