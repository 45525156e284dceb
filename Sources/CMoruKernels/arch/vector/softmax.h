// Softmax and cross-entropy over vectors. Formulas and edge cases: see the scalar reference.

// The largest element; NaN when there is one.
INLINE float row_largest(const float *x, size_t dim) {
    vf m0 = vset(-INFINITY), m1 = m0;
    size_t i = 0;
    // max(a, b) gives b for a NaN; the running value comes first, so a NaN enters it, and is then kept by `unordered`.
    vi unordered = (vi)(0);
    for (; i + 2 * LANES <= dim; i += 2 * LANES) {
        vf a = vload(x + i), b = vload(x + i + LANES);
        unordered |= (a != a) | (b != b);
        m0 = vmax(m0, a);
        m1 = vmax(m1, b);
    }
    float largest = vlargest(vmax(m0, m1));
    if (__builtin_reduce_or(unordered)) return NAN;
    for (; i < dim; i++) {
        if (!(x[i] <= largest)) largest = x[i];
    }
    return largest;
}

void MORU_NAME(softmax)(const float *x, float *y, size_t dim, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *in = x + row * dim;
        float *out = y + row * dim, largest = row_largest(in, dim);
        if (largest == -INFINITY) {
            for (size_t i = 0; i < dim; i++) out[i] = 0;
            continue;
        }
        vf sums = vset(0);
#define BODY(LOAD, STORE, PART)                                                   \
    vf p = vexp(LOAD(in) - largest);                                              \
    if (PART) p = viota() < (int32_t)(dim - i) ? p : vset(0);                     \
    sums += p;                                                                    \
    STORE(out, p);
        OVER_ROW(BODY)
#undef BODY
        float inverse = 1 / vsum(sums);
#define BODY(LOAD, STORE, PART) STORE(out, LOAD(out) * inverse);
        OVER_ROW(BODY)
#undef BODY
    }
}

void MORU_NAME(softmax_backward)(const float *dy, const float *y, float *dx, size_t dim, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *g = dy + row * dim, *p = y + row * dim;
        float *out = dx + row * dim;
        vf sums = vset(0);
#define BODY(LOAD, STORE, PART) sums = vfma(LOAD(g), LOAD(p), sums);
        OVER_ROW(BODY)
#undef BODY
        float sum = vsum(sums);
#define BODY(LOAD, STORE, PART) STORE(out, LOAD(p) * (LOAD(g) - sum));
        OVER_ROW(BODY)
#undef BODY
    }
}

void MORU_NAME(cross_entropy)(const float *logits, const int32_t *targets, float scale, float *losses,
                              float *d_logits, size_t dim, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *in = logits + row * dim;
        float *out = d_logits ? d_logits + row * dim : NULL;
        int32_t target = targets[row];
        if (target < 0) {
            losses[row] = 0;
            for (size_t i = 0; out && i < dim; i++) out[i] = 0;
            continue;
        }
        float largest = row_largest(in, dim), at_target = in[target];
        // Tens of thousands of terms: partial sums of bounded length keep the rounding error small.
        double sum = 0;
        for (size_t chunk = 0; chunk < dim; chunk += 256 * LANES) {
            size_t stop = moru_min_size(dim, chunk + 256 * LANES), i = chunk;
            vf sums = vset(0);
            for (; i + LANES <= stop; i += LANES) {
                vf p = vexp(vload(in + i) - largest);
                if (out) vstore(out + i, p);
                sums += p;
            }
            if (i < stop) {
                vf p = vexp(vload_n(in + i, stop - i) - largest);
                p = viota() < (int32_t)(stop - i) ? p : vset(0);
                if (out) vstore_n(out + i, p, stop - i);
                sums += p;
            }
            sum += (double)vsum(sums);
        }
        losses[row] = largest + logf((float)sum) - at_target;
        if (!out) continue;
        float factor = scale / (float)sum;
#define BODY(LOAD, STORE, PART) STORE(out, LOAD(out) * factor);
        OVER_ROW(BODY)
#undef BODY
        out[target] -= scale;
    }
}
