// Gated activations and their gradients, over vectors. Formulas: see the scalar reference.

// An activation function and its slope.
typedef struct {
    vf value, slope;
} activation;

// `narrow`: between numbers of bf16.
INLINE activation vactivation(const moru_activation function, const bool narrow, vf x) {
    if (function == MORU_SILU) {
        vf s = narrow ? vsigmoid_narrow(x) : vsigmoid(x);
        return (activation){narrow ? x * s : vsilu(x), s * vfma(x, 1.0f - s, vset(1))};
    }
    return (activation){vgelu(x, function == MORU_GELU_TANH), vgelu_slope(x, function == MORU_GELU_TANH)};
}

// Rows of one combination of types and function, which are constants in every call.
INLINE void gated_forward(const moru_activation function, const moru_dtype in, const moru_dtype out,
                          const moru_gated *args, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        size_t from = row * args->input_row_stride, to = row * args->output_row_stride;
        for (size_t i = 0; i < args->dim; i += LANES) {
            size_t count = moru_min_size(LANES, args->dim - i);
            vf gate = vload_type(in, args->gate, from + i, count), up = vload_type(in, args->up, from + i, count);
            vf value = vactivation(function, in == MORU_BF16 && out == MORU_BF16, gate).value;
            vstore_type(out, args->y, to + i, value * up, count);
        }
    }
}

INLINE void gated_gradient(const moru_activation function, const moru_dtype in, const moru_dtype out,
                           const moru_gated *args, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) {
        size_t from = row * args->input_row_stride, to = row * args->output_row_stride;
        for (size_t i = 0; i < args->dim; i += LANES) {
            size_t count = moru_min_size(LANES, args->dim - i);
            vf g = vload_type(in, args->gate, from + i, count), u = vload_type(in, args->up, from + i, count);
            vf d = vload_type(out, args->dy, to + i, count);
            activation f = vactivation(function, in == MORU_BF16 && out == MORU_BF16, g);
            vstore_type(in, args->d_gate, from + i, d * u * f.slope, count);
            vstore_type(in, args->d_up, from + i, d * f.value, count);
            if (args->y) vstore_type(out, args->y, to + i, f.value * u, count);
        }
    }
}

#define GATED_TYPES(F, FUNCTION)                                         \
    if (args->output_type == MORU_BF16) {                                \
        if (narrow) F(FUNCTION, MORU_BF16, MORU_BF16, args, begin, end); \
        else F(FUNCTION, MORU_F32, MORU_BF16, args, begin, end);         \
    } else {                                                             \
        if (narrow) F(FUNCTION, MORU_BF16, MORU_F32, args, begin, end);  \
        else F(FUNCTION, MORU_F32, MORU_F32, args, begin, end);          \
    }

#define GATED_FUNCTIONS(F)                                   \
    bool narrow = args->input_type == MORU_BF16;             \
    switch (args->function) {                                \
    case MORU_SILU: GATED_TYPES(F, MORU_SILU) break;         \
    case MORU_GELU: GATED_TYPES(F, MORU_GELU) break;         \
    case MORU_GELU_TANH: GATED_TYPES(F, MORU_GELU_TANH) break; \
    default: break;                                          \
    }

void MORU_NAME(gated_rows)(const moru_gated *args, size_t begin, size_t end) { GATED_FUNCTIONS(gated_forward) }
void MORU_NAME(gated_rows_backward)(const moru_gated *args, size_t begin, size_t end) {
    GATED_FUNCTIONS(gated_gradient)
}
