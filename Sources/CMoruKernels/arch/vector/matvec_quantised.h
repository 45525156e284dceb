// Chooses among the instances of quantised_dot, and the table entries for matrix-vector products.

#define DOT(TYPE, R)                                                                                             \
    static void quantised_dot_##TYPE##_##R(const moru_matvec *args, const uint8_t *w, const uint8_t *x, float *y) { \
        quantised_dot(R, TYPE, args, w, x, y);                                                                   \
    }
#define DOT_TYPE(TYPE) DOT(TYPE, 1) DOT(TYPE, 2) DOT(TYPE, 4) DOT(TYPE, 8)
DOT_TYPE(MORU_Q4_0)
DOT_TYPE(MORU_Q4_1)
DOT_TYPE(MORU_Q5_0)
DOT_TYPE(MORU_Q5_1)
DOT_TYPE(MORU_Q8_0)
DOT_TYPE(MORU_Q2_K)
DOT_TYPE(MORU_Q3_K)
DOT_TYPE(MORU_Q4_K)
DOT_TYPE(MORU_Q5_K)
DOT_TYPE(MORU_Q6_K)
#undef DOT
#undef DOT_TYPE

typedef void quantised_function(const moru_matvec *, const uint8_t *, const uint8_t *, float *);
#define DOTS(TYPE) \
    {quantised_dot_##TYPE##_1, quantised_dot_##TYPE##_2, quantised_dot_##TYPE##_4, quantised_dot_##TYPE##_8}
// By type from Q4_0 on, and by the logarithm of the number of rows.
static quantised_function *const quantised_functions[10][4] = {
    DOTS(MORU_Q4_0), DOTS(MORU_Q4_1), DOTS(MORU_Q5_0), DOTS(MORU_Q5_1), DOTS(MORU_Q8_0),
    DOTS(MORU_Q2_K), DOTS(MORU_Q3_K), DOTS(MORU_Q4_K), DOTS(MORU_Q5_K), DOTS(MORU_Q6_K)};
#undef DOTS

size_t MATVEC_NAME(activation_bytes)(moru_dtype w_type, size_t k) {
    return w_type <= MORU_BF16 ? k * sizeof(float) : quantised_bytes(w_type, k);
}

void MATVEC_NAME(prepare_activation)(moru_dtype w_type, const float *x, size_t k, void *out) {
    if (w_type > MORU_BF16) prepare_quantised(w_type, x, k, out);
    else if (k) memcpy(out, x, k * sizeof(float));
}

void MATVEC_NAME(matvec)(const moru_matvec *args, size_t n_begin, size_t n_end) {
    if (args->w_type <= MORU_BF16) {
        matvec_dense(args, n_begin, n_end);
        return;
    }
    quantised_function *const *functions = quantised_functions[args->w_type - MORU_Q4_0];
    for (size_t n = n_begin; n < n_end; n++) {
        const uint8_t *w = (const uint8_t *)args->w + n * args->w_row_bytes;
        for (size_t r = 0; r < args->rows;) {
            size_t left = args->rows - r, power = left >= 8 ? 3 : left >= 4 ? 2 : left >= 2 ? 1 : 0;
            functions[power](args, w, (const uint8_t *)args->x + r * args->x_row_bytes,
                             args->y + r * args->y_row_stride + n);
            r += (size_t)1 << power;
        }
    }
}
