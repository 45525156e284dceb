// One time step of LSTM and GRU cells and its gradient over vectors. Formulas: see the scalar reference.

// Runs a body for each row over [begin, end) of the hidden elements; GATE(p, k) is where gate k of the row lies in p.
#define OVER_ROWS(GATES, BODY)                                                                 \
    size_t dim = args->hidden;                                                                 \
    for (size_t row = 0; row < args->rows; row++) {                                            \
        size_t at = row * dim, at_gates = row * 4 * dim, at_input = row * GATES * dim;         \
        OVER_RANGE(BODY)                                                                       \
    }

void MORU_NAME(lstm)(const moru_recurrent *args, size_t begin, size_t end) {
#define ARGUMENT(LOAD, K)                                                                           \
    (LOAD(args->input + at_input + K * dim) + LOAD(args->recurrent + at_input + K * dim) +          \
     LOAD(args->bias + K * dim))
#define BODY(LOAD, STORE)                                                                           \
    vf gi = vsigmoid(ARGUMENT(LOAD, 0)), gf = vsigmoid(ARGUMENT(LOAD, 1));                          \
    vf gg = vtanh(ARGUMENT(LOAD, 2)), go = vsigmoid(ARGUMENT(LOAD, 3));                             \
    vf cell = vfma(gf, LOAD(args->previous + at), gi * gg);                                         \
    STORE(args->gates + at_gates, gi);                                                              \
    STORE(args->gates + at_gates + dim, gf);                                                        \
    STORE(args->gates + at_gates + 2 * dim, gg);                                                    \
    STORE(args->gates + at_gates + 3 * dim, go);                                                    \
    STORE(args->cell + at, cell);                                                                   \
    STORE(args->output + at, go * vtanh(cell));
    OVER_ROWS(4, BODY)
#undef BODY
}

void MORU_NAME(lstm_backward)(const moru_recurrent_gradient *args, size_t begin, size_t end) {
#define BODY(LOAD, STORE)                                                                           \
    vf gi = LOAD(args->gates + at_gates), gf = LOAD(args->gates + at_gates + dim);                  \
    vf gg = LOAD(args->gates + at_gates + 2 * dim), go = LOAD(args->gates + at_gates + 3 * dim);    \
    vf dh = LOAD(args->d_output + at) + LOAD(args->d_recurrent + at);                               \
    vf t = vtanh(LOAD(args->cell + at));                                                            \
    vf dc = vfma(dh * go, 1.0f - t * t, LOAD(args->carry + at));                                    \
    STORE(args->d_input + at_input, dc * gg * gi * (1.0f - gi));                                    \
    STORE(args->d_input + at_input + dim, dc * LOAD(args->previous + at) * gf * (1.0f - gf));       \
    STORE(args->d_input + at_input + 2 * dim, dc * gi * (1.0f - gg * gg));                          \
    STORE(args->d_input + at_input + 3 * dim, dh * t * go * (1.0f - go));                           \
    STORE(args->carry + at, dc * gf);
    OVER_ROWS(4, BODY)
#undef BODY
}

void MORU_NAME(gru)(const moru_recurrent *args, size_t begin, size_t end) {
#define BODY(LOAD, STORE)                                                                           \
    vf reset = vsigmoid(ARGUMENT(LOAD, 0)), update = vsigmoid(ARGUMENT(LOAD, 1));                   \
    vf memory = LOAD(args->recurrent + at_input + 2 * dim) + LOAD(args->bias + 2 * dim);            \
    vf fresh = vtanh(vfma(reset, memory, LOAD(args->input + at_input + 2 * dim)));                  \
    STORE(args->gates + at_gates, reset);                                                           \
    STORE(args->gates + at_gates + dim, update);                                                    \
    STORE(args->gates + at_gates + 2 * dim, fresh);                                                 \
    STORE(args->gates + at_gates + 3 * dim, memory);                                                \
    STORE(args->output + at, vfma(update, LOAD(args->previous + at) - fresh, fresh));
    OVER_ROWS(3, BODY)
#undef BODY
#undef ARGUMENT
}

void MORU_NAME(gru_backward)(const moru_recurrent_gradient *args, size_t begin, size_t end) {
#define BODY(LOAD, STORE)                                                                           \
    vf reset = LOAD(args->gates + at_gates), update = LOAD(args->gates + at_gates + dim);           \
    vf fresh = LOAD(args->gates + at_gates + 2 * dim);                                              \
    vf memory = LOAD(args->gates + at_gates + 3 * dim);                                             \
    vf dh = LOAD(args->d_output + at) + LOAD(args->d_recurrent + at) + LOAD(args->carry + at);      \
    vf dn = dh * (1.0f - update) * (1.0f - fresh * fresh);                                          \
    vf dr = dn * memory * reset * (1.0f - reset);                                                   \
    vf dz = dh * (LOAD(args->previous + at) - fresh) * update * (1.0f - update);                    \
    STORE(args->d_input + at_input, dr);                                                            \
    STORE(args->d_hidden + at_input, dr);                                                           \
    STORE(args->d_input + at_input + dim, dz);                                                      \
    STORE(args->d_hidden + at_input + dim, dz);                                                     \
    STORE(args->d_input + at_input + 2 * dim, dn);                                                  \
    STORE(args->d_hidden + at_input + 2 * dim, dn * reset);                                         \
    STORE(args->carry + at, dh * update);
    OVER_ROWS(3, BODY)
#undef BODY
}
#undef OVER_ROWS
