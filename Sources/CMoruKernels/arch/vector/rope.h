// Rotary position embedding over vectors.

// One pair of vectors, turned.
INLINE void rope_turn(vf *a, vf *b, vf cosine, vf sine) {
    vf first = *a * cosine - *b * sine;
    *b = vfma(*b, cosine, *a * sine);
    *a = first;
}

#if MORU_LANES == 16
#define ROPE_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ROPE_ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define ROPE_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ROPE_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif MORU_LANES == 8
#define ROPE_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ROPE_ODD 1, 3, 5, 7, 9, 11, 13, 15
#define ROPE_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define ROPE_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define ROPE_EVEN 0, 2, 4, 6
#define ROPE_ODD 1, 3, 5, 7
#define ROPE_LOW 0, 4, 1, 5
#define ROPE_HIGH 2, 6, 3, 7
#endif

// One head: `half` pairs from elements `in` on of x to `out` on of y. The type and the form are constants in every call.
INLINE void rope_head(const moru_dtype type, const bool interleaved, const moru_rope *args, size_t in, size_t out,
                      const float *cosines, const float *sines) {
    size_t half = args->rotated / 2;
    float sign = args->inverse ? -1.0f : 1.0f;
    for (size_t i = 0; i < half; i += LANES) {
        size_t count = moru_min_size(LANES, half - i);
        vf cosine = vload_type(MORU_F32, cosines, i, count), sine = vload_type(MORU_F32, sines, i, count) * sign;
        if (!interleaved) {
            vf a = vload_type(type, args->x, in + i, count), b = vload_type(type, args->x, in + i + half, count);
            rope_turn(&a, &b, cosine, sine);
            vstore_type(type, args->y, out + i, a, count);
            vstore_type(type, args->y, out + i + half, b, count);
            continue;
        }
        size_t low = moru_min_size(LANES, 2 * count), high = 2 * count - low, at = 2 * i;
        vf first = vload_type(type, args->x, in + at, low);
        vf second = high ? vload_type(type, args->x, in + at + LANES, high) : vset(0);
        vf a = SHUFFLE(first, second, ROPE_EVEN), b = SHUFFLE(first, second, ROPE_ODD);
        rope_turn(&a, &b, cosine, sine);
        vstore_type(type, args->y, out + at, SHUFFLE(a, b, ROPE_LOW), low);
        if (high) vstore_type(type, args->y, out + at + LANES, SHUFFLE(a, b, ROPE_HIGH), high);
    }
    for (size_t i = 2 * half; i < args->head_dim; i += LANES) {
        size_t count = moru_min_size(LANES, args->head_dim - i);
        vstore_type(type, args->y, out + i, vload_type(type, args->x, in + i, count), count);
    }
}

void MORU_NAME(rope_rows)(const moru_rope *args, size_t begin, size_t end) {
    size_t half = args->rotated / 2;
    for (size_t row = begin; row < end; row++) {
        const float *cosines = args->cosines + row * half, *sines = args->sines + row * half;
        for (size_t head = 0; head < args->heads; head++) {
            size_t in = row * args->x_row_stride + head * args->head_dim;
            size_t out = row * args->y_row_stride + head * args->head_dim;
            if (args->type == MORU_F32) {
                if (args->interleaved) rope_head(MORU_F32, true, args, in, out, cosines, sines);
                else rope_head(MORU_F32, false, args, in, out, cosines, sines);
            } else {
                if (args->interleaved) rope_head(MORU_BF16, true, args, in, out, cosines, sines);
                else rope_head(MORU_BF16, false, args, in, out, cosines, sines);
            }
        }
    }
}

void MORU_NAME(rope)(const float *x, const float *cosines, const float *sines, float *y, size_t heads, size_t head_dim,
                     size_t rotated, bool interleaved, bool inverse, size_t begin, size_t end) {
    moru_rope args = {.heads = heads, .head_dim = head_dim, .rotated = rotated, .x = x, .y = y,
                      .x_row_stride = heads * head_dim, .y_row_stride = heads * head_dim, .cosines = cosines,
                      .sines = sines, .interleaved = interleaved, .inverse = inverse};
    MORU_NAME(rope_rows)(&args, begin, end);
}
