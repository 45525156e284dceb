// Residual addition and RMS normalisation in one, over vectors. Formulas: see the scalar reference.

// Rows of one combination of types, which are constants in every call.
INLINE void add_rms_norm_rows(const moru_dtype x_type, const moru_dtype sum_type, const moru_dtype y_type,
                              const moru_add_rms_norm *args, size_t begin, size_t end) {
    size_t dim = args->dim;
    for (size_t row = begin; row < end; row++) {
        size_t first = row * dim;
        vf squares[2] = {vset(0), vset(0)};
        for (size_t i = 0; i < dim; i += LANES) {
            size_t count = moru_min_size(LANES, dim - i);
            vf x = vload_type(x_type, args->x, first + i, count);
            if (args->residual) {
                x += vload_type(sum_type, args->residual, first + i, count);
                vstore_type(sum_type, args->sum, first + i, x, count);
                if (sum_type == MORU_BF16) x = __builtin_bit_cast(vf, vbf16_bits(x) << 16);
            }
            squares[i / LANES % 2] = vfma(x, x, squares[i / LANES % 2]);
        }
        float inverse = 1 / sqrtf(vsum(squares[0] + squares[1]) / (float)dim + args->epsilon);
        const void *in = args->residual ? args->sum : args->x;
        for (size_t i = 0; i < dim; i += LANES) {
            size_t count = moru_min_size(LANES, dim - i);
            vf x = args->residual ? vload_type(sum_type, in, first + i, count) : vload_type(x_type, in, first + i, count);
            vstore_type(y_type, args->y, first + i, x * inverse * vload_type(MORU_F32, args->w, i, count), count);
        }
        if (args->inverse_rms) args->inverse_rms[row] = inverse;
    }
}

INLINE void add_rms_norm_gradient_rows(const moru_dtype dx_type, const moru_dtype sum_type, const moru_dtype dy_type,
                                       const moru_add_rms_norm_gradient *args, size_t begin, size_t end) {
    size_t dim = args->dim;
    for (size_t row = begin; row < end; row++) {
        size_t first = row * dim;
        float inverse = args->inverse_rms[row];
        vf sums[2] = {vset(0), vset(0)};
        for (size_t i = 0; i < dim; i += LANES) {
            size_t count = moru_min_size(LANES, dim - i);
            vf weighted = vload_type(dy_type, args->dy, first + i, count) * vload_type(MORU_F32, args->w, i, count);
            vf value = vload_type(sum_type, args->sum, first + i, count);
            sums[i / LANES % 2] = vfma(weighted, value, sums[i / LANES % 2]);
        }
        float pull = inverse * inverse * vsum(sums[0] + sums[1]) / (float)dim;
        for (size_t i = 0; i < dim; i += LANES) {
            size_t count = moru_min_size(LANES, dim - i);
            vf gradient = vload_type(dy_type, args->dy, first + i, count);
            vf value = vload_type(sum_type, args->sum, first + i, count);
            vf dx = inverse * (gradient * vload_type(MORU_F32, args->w, i, count) - value * pull);
            if (args->d_residual) dx += vload_type(dx_type, args->d_residual, first + i, count);
            vstore_type(dx_type, args->dx, first + i, dx, count);
            if (args->dx_narrow) vstore_type(MORU_BF16, args->dx_narrow, first + i, dx, count);
            if (!args->dw) continue;
            vf dw = vfma(gradient * inverse, value, vload_type(MORU_F32, args->dw, i, count));
            vstore_type(MORU_F32, args->dw, i, dw, count);
        }
    }
}

#define NORM_TYPES(F, a_type, c_type)                                                           \
    switch ((args->a_type == MORU_BF16) * 4 + (args->sum_type == MORU_BF16) * 2 + (args->c_type == MORU_BF16)) { \
    case 0: F(MORU_F32, MORU_F32, MORU_F32, args, begin, end); break;                           \
    case 1: F(MORU_F32, MORU_F32, MORU_BF16, args, begin, end); break;                          \
    case 2: F(MORU_F32, MORU_BF16, MORU_F32, args, begin, end); break;                          \
    case 3: F(MORU_F32, MORU_BF16, MORU_BF16, args, begin, end); break;                         \
    case 4: F(MORU_BF16, MORU_F32, MORU_F32, args, begin, end); break;                          \
    case 5: F(MORU_BF16, MORU_F32, MORU_BF16, args, begin, end); break;                         \
    case 6: F(MORU_BF16, MORU_BF16, MORU_F32, args, begin, end); break;                         \
    default: F(MORU_BF16, MORU_BF16, MORU_BF16, args, begin, end); break;                       \
    }

void MORU_NAME(add_rms_norm)(const moru_add_rms_norm *args, size_t begin, size_t end) {
    NORM_TYPES(add_rms_norm_rows, x_type, y_type)
}

void MORU_NAME(add_rms_norm_backward)(const moru_add_rms_norm_gradient *args, size_t begin, size_t end) {
    NORM_TYPES(add_rms_norm_gradient_rows, dx_type, dy_type)
}
