// Rotary position embedding (Su et al., 2021), scalar reference.
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
