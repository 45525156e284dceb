// Elementwise functions and their gradients over vectors. Formulas: see the scalar reference.

// Runs a body over [begin, end): whole vectors first, then what remains. The body uses LOAD(p) and STORE(p, v).
#define LOAD_FULL(p) vload((p) + i)
#define STORE_FULL(p, v) vstore((p) + i, v)
#define LOAD_PART(p) vload_n((p) + i, end - i)
#define STORE_PART(p, v) vstore_n((p) + i, v, end - i)
#define OVER_RANGE(BODY)                                                         \
    size_t i = begin;                                                            \
    for (; i + LANES <= end; i += LANES) { BODY(LOAD_FULL, STORE_FULL) }         \
    if (i < end) { BODY(LOAD_PART, STORE_PART) }

void MORU_NAME(add)(const float *a, const float *b, float *y, size_t begin, size_t end) {
#define BODY(LOAD, STORE) STORE(y, LOAD(a) + LOAD(b));
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(subtract)(const float *a, const float *b, float *y, size_t begin, size_t end) {
#define BODY(LOAD, STORE) STORE(y, LOAD(a) - LOAD(b));
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(multiply)(const float *a, const float *b, float *y, size_t begin, size_t end) {
#define BODY(LOAD, STORE) STORE(y, LOAD(a) * LOAD(b));
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(scale)(const float *x, float factor, float *y, size_t begin, size_t end) {
#define BODY(LOAD, STORE) STORE(y, LOAD(x) * factor);
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(add_scaled)(const float *x, float factor, float *y, size_t begin, size_t end) {
#define BODY(LOAD, STORE) STORE(y, vfma(vset(factor), LOAD(x), LOAD(y)));
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(softcap)(const float *x, float cap, float *y, size_t begin, size_t end) {
#define BODY(LOAD, STORE) STORE(y, cap * vtanh(LOAD(x) / cap));
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(softcap_backward)(const float *dy, const float *y, float cap, float *dx, size_t begin, size_t end) {
#define BODY(LOAD, STORE) vf t = LOAD(y) / cap; STORE(dx, LOAD(dy) * (1.0f - t * t));
    OVER_RANGE(BODY)
#undef BODY
}

INLINE vf vsilu(vf x) { return x / (1.0f + vexp(-x)); }

INLINE vf vsilu_slope(vf x) {
    vf s = vsigmoid(x);
    return s * vfma(x, 1.0f - s, vset(1));
}

void MORU_NAME(silu)(const float *x, float *y, size_t begin, size_t end) {
#define BODY(LOAD, STORE) STORE(y, vsilu(LOAD(x)));
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(silu_backward)(const float *dy, const float *x, float *dx, size_t begin, size_t end) {
#define BODY(LOAD, STORE) STORE(dx, LOAD(dy) * vsilu_slope(LOAD(x)));
    OVER_RANGE(BODY)
#undef BODY
}

INLINE vf vgelu_inner(vf v) { return 0.79788456080286536f * vfma(0.044715f * v * v, v, v); }

INLINE vf vgelu(vf v, bool tanh_form) {
    vf inner = tanh_form ? vtanh(vgelu_inner(v)) : verf(v * 0.70710678118654752f, vexp(-0.5f * v * v));
    return 0.5f * v * (1.0f + inner);
}

INLINE vf vgelu_slope(vf v, bool tanh_form) {
    if (tanh_form) {
        vf t = vtanh(vgelu_inner(v));
        vf inner_slope = 0.79788456080286536f * vfma(vset(3 * 0.044715f), v * v, vset(1));
        return 0.5f * (1.0f + t) + 0.5f * v * (1.0f - t * t) * inner_slope;
    }
    vf gaussian = vexp(-0.5f * v * v);
    return 0.5f * (1.0f + verf(v * 0.70710678118654752f, gaussian)) + v * 0.39894228040143268f * gaussian;
}

void MORU_NAME(gelu)(const float *x, float *y, bool tanh_form, size_t begin, size_t end) {
#define BODY(LOAD, STORE) STORE(y, vgelu(LOAD(x), tanh_form));
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(gelu_backward)(const float *dy, const float *x, float *dx, bool tanh_form, size_t begin, size_t end) {
#define BODY(LOAD, STORE) STORE(dx, LOAD(dy) * vgelu_slope(LOAD(x), tanh_form));
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(relu)(const float *x, float *y, size_t begin, size_t end) {
#define BODY(LOAD, STORE) \
    vf v = LOAD(x);       \
    STORE(y, v < 0.0f ? vset(0) : v);
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(relu_backward)(const float *dy, const float *x, float *dx, size_t begin, size_t end) {
#define BODY(LOAD, STORE) STORE(dx, LOAD(x) > 0.0f ? LOAD(dy) : vset(0));
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(tanh)(const float *x, float *y, size_t begin, size_t end) {
#define BODY(LOAD, STORE) STORE(y, vtanh(LOAD(x)));
    OVER_RANGE(BODY)
#undef BODY
}

void MORU_NAME(tanh_backward)(const float *dy, const float *x, float *dx, size_t begin, size_t end) {
#define BODY(LOAD, STORE)  \
    vf t = vtanh(LOAD(x)); \
    STORE(dx, LOAD(dy) * (1.0f - t * t));
    OVER_RANGE(BODY)
#undef BODY
}

// An activation function and its slope.
typedef struct {
    vf value, slope;
} activation;

INLINE activation vactivation(const moru_activation function, vf x) {
    if (function == MORU_SILU) {
        vf s = vsigmoid(x);
        return (activation){x * s, s * vfma(x, 1.0f - s, vset(1))};
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
            vf value = function == MORU_SILU ? vsilu(gate) : vgelu(gate, function == MORU_GELU_TANH);
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
            activation f = vactivation(function, g);
            vstore_type(in, args->d_gate, from + i, d * u * f.slope, count);
            vstore_type(in, args->d_up, from + i, d * f.value, count);
            if (!args->y) continue;
            vf value = function == MORU_SILU ? vsilu(g) : f.value;
            vstore_type(out, args->y, to + i, value * u, count);
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
