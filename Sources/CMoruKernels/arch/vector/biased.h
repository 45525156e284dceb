// What follows a product in an encoder, over vectors.

// GELU to the accuracy of bf16, for the results that are rounded to it: x for x > 0, less a (1 - Phi(a)) for a = |x|, where
// Phi(a) - 1/2 is a times a polynomial in a^2, fitted over [0, 4.5] to 5e-5. Beyond, the difference is below that.
INLINE vf vgelu_narrow(vf x) {
    vf a = vmin(vset(4.5f), vbits(vasint(x) & 0x7fffffff));  // in this order of operands a NaN stays
    vf u = a * a;
    vf p = vset(-8.719219465e-13f);
    p = vfma(p, u, vset(1.1799468347e-10f));
    p = vfma(p, u, vset(-7.0494494686e-9f));
    p = vfma(p, u, vset(2.4695850698e-7f));
    p = vfma(p, u, vset(-5.6953399508e-6f));
    p = vfma(p, u, vset(9.2249756523e-5f));
    p = vfma(p, u, vset(-1.0943609523e-3f));
    p = vfma(p, u, vset(9.7530912608e-3f));
    p = vfma(p, u, vset(-6.6227018833e-2f));
    p = vfma(p, u, vset(3.9883235097e-1f));
    return vmax(vset(0), x) - a * vfma(-a, p, vset(0.5f));
}

// Rows of one function and type, which are constants in every call.
INLINE void biased_rows(const moru_activation function, const moru_dtype type, const moru_biased_activation *args,
                        size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        const float *from = args->x + row * args->x_row_stride;
        for (size_t i = 0; i < args->dim; i += LANES) {
            size_t count = moru_min_size(LANES, args->dim - i);
            vf x = vload_type(MORU_F32, from, i, count);
            if (args->bias) x += vload_type(MORU_F32, args->bias, i, count);
            switch (function) {
            case MORU_SILU: x = vsilu(x); break;
            case MORU_GELU: x = type == MORU_BF16 ? vgelu_narrow(x) : vgelu(x, false); break;
            case MORU_GELU_TANH: x = vgelu(x, true); break;
            case MORU_RELU: x = x < 0.0f ? vset(0) : x; break;
            case MORU_TANH: x = vtanh(x); break;
            case MORU_IDENTITY: break;
            }
            vstore_type(type, args->y, row * args->y_row_stride + i, x, count);
        }
    }
}

#define BIASED(FUNCTION)                                                                    \
    case FUNCTION:                                                                          \
        if (args->y_type == MORU_BF16) biased_rows(FUNCTION, MORU_BF16, args, begin, end);  \
        else biased_rows(FUNCTION, MORU_F32, args, begin, end);                             \
        break;

void MORU_NAME(biased_activation)(const moru_biased_activation *args, size_t begin, size_t end) {
    switch (args->function) {
        BIASED(MORU_SILU)
        BIASED(MORU_GELU)
        BIASED(MORU_GELU_TANH)
        BIASED(MORU_RELU)
        BIASED(MORU_TANH)
        BIASED(MORU_IDENTITY)
    }
}
#undef BIASED

void MORU_NAME(biased_layer_norm)(const moru_biased_layer_norm *args, size_t begin, size_t end) {
    size_t dim = args->dim;
    for (size_t row = begin; row < end; row++) {
        float *x = args->x + row * dim;
        vf sums = vset(0), squares = vset(0);
        for (size_t i = 0; i < dim; i += LANES) {
            size_t count = moru_min_size(LANES, dim - i);
            vf v = vload_type(MORU_F32, x, i, count);
            if (args->bias) {
                v += vload_type(MORU_F32, args->bias, i, count);
                vstore_type(MORU_F32, x, i, v, count);
            }
            sums += v;
        }
        float middle = vsum(sums) / (float)dim;
        for (size_t i = 0; i < dim; i += LANES) {
            size_t count = moru_min_size(LANES, dim - i);
            vf centred = vload_type(MORU_F32, x, i, count) - middle;
            // The lanes past the end hold 0, not `middle`
            if (count < LANES) centred = viota() < (int32_t)count ? centred : vset(0);
            squares = vfma(centred, centred, squares);
        }
        float inverse = 1 / sqrtf(vsum(squares) / (float)dim + args->epsilon);
        for (size_t i = 0; i < dim; i += LANES) {
            size_t count = moru_min_size(LANES, dim - i);
            vf v = (vload_type(MORU_F32, x, i, count) - middle) * inverse * vload_type(MORU_F32, args->w, i, count);
            if (args->b) v += vload_type(MORU_F32, args->b, i, count);
            vstore_type(MORU_F32, x, i, v, count);
            if (!args->copy) continue;
            if (args->copy_type == MORU_BF16) vstore_type(MORU_BF16, args->copy, row * dim + i, v, count);
            else vstore_type(MORU_F32, args->copy, row * dim + i, v, count);
        }
    }
}
