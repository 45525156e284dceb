// Rotary position embedding (Su et al., 2021), scalar reference.
#include "blocks.h"
#include "table.h"

void moru_scalar_rope(const float *x, const float *cosines, const float *sines, float *y, size_t heads,
                      size_t head_dim, size_t rotated, bool interleaved, bool inverse, size_t begin, size_t end) {
    size_t half = rotated / 2;
    for (size_t row = begin; row < end; row++) {
        for (size_t head = 0; head < heads; head++) {
            const float *in = x + (row * heads + head) * head_dim;
            float *out = y + (row * heads + head) * head_dim;
            for (size_t i = 0; i < half; i++) {
                size_t first = interleaved ? 2 * i : i, second = interleaved ? 2 * i + 1 : i + half;
                float cosine = cosines[row * half + i], sine = sines[row * half + i];
                if (inverse) sine = -sine;
                float a = in[first], b = in[second];
                out[first] = a * cosine - b * sine;
                out[second] = b * cosine + a * sine;
            }
            for (size_t i = 2 * half; i < head_dim; i++) out[i] = in[i];
        }
    }
}

void moru_scalar_rope_rows(const moru_rope *args, size_t begin, size_t end) {
    size_t half = args->rotated / 2;
    for (size_t row = begin; row < end; row++) {
        for (size_t head = 0; head < args->heads; head++) {
            size_t in = row * args->x_row_stride + head * args->head_dim;
            size_t out = row * args->y_row_stride + head * args->head_dim;
            for (size_t i = 0; i < half; i++) {
                size_t first = args->interleaved ? 2 * i : i, second = args->interleaved ? 2 * i + 1 : i + half;
                float cosine = args->cosines[row * half + i], sine = args->sines[row * half + i];
                if (args->inverse) sine = -sine;
                float a = moru_element(args->type, args->x, in + first);
                float b = moru_element(args->type, args->x, in + second);
                moru_set_element(args->type, args->y, out + first, a * cosine - b * sine);
                moru_set_element(args->type, args->y, out + second, b * cosine + a * sine);
            }
            for (size_t i = 2 * half; i < args->head_dim; i++) {
                moru_set_element(args->type, args->y, out + i, moru_element(args->type, args->x, in + i));
            }
        }
    }
}
