// Rotary position embedding over vectors; the interleaved form is left to the reference unless it pays.

void MORU_NAME(rope)(const float *x, const float *cosines, const float *sines, float *y, size_t heads, size_t head_dim,
                     size_t rotated, bool interleaved, bool inverse, size_t begin, size_t end) {
    if (interleaved) {
        moru_scalar_rope(x, cosines, sines, y, heads, head_dim, rotated, interleaved, inverse, begin, end);
        return;
    }
    size_t half = rotated / 2;
    float sign = inverse ? -1.0f : 1.0f;
    for (size_t row = begin; row < end; row++) {
        const float *c = cosines + row * half, *s = sines + row * half;
        for (size_t head = 0; head < heads; head++) {
            const float *in = x + (row * heads + head) * head_dim;
            float *out = y + (row * heads + head) * head_dim;
            size_t i = 0;
            for (; i + LANES <= half; i += LANES) {
                vf a = vload(in + i), b = vload(in + i + half), cosine = vload(c + i), sine = vload(s + i) * sign;
                vstore(out + i, a * cosine - b * sine);
                vstore(out + i + half, vfma(b, cosine, a * sine));
            }
            if (i < half) {
                size_t rest = half - i;
                vf a = vload_n(in + i, rest), b = vload_n(in + i + half, rest);
                vf cosine = vload_n(c + i, rest), sine = vload_n(s + i, rest) * sign;
                vstore_n(out + i, a * cosine - b * sine, rest);
                vstore_n(out + i + half, vfma(b, cosine, a * sine), rest);
            }
            for (size_t j = 2 * half; j < head_dim; j++) out[j] = in[j];
        }
    }
}
