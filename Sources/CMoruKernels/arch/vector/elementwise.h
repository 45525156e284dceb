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
