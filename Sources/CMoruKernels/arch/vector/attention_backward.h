// The gradient of attention in the same blocks; formulas: see the scalar reference.

typedef struct {
    float *keys_t, *values_t;          // [units of dim, KEYS]
    float *keys, *values;              // [KEYS, dim]: those that are not where they can be read
    float *paired_keys;                // [units of KEYS, dim]
    float *d_keys, *d_values;          // [KEYS, dim], sums
    float *q, *d_out;                  // [QUERIES, dim]: those that are not where they can be read
    float *paired_q, *paired_d_out;    // [units of QUERIES, dim]
    float *scores, *d_scores;          // [QUERIES, KEYS]
    float *paired_scores, *paired_d_scores;
    float *projections;                // [heads of a group, rows]
    float *d_q;                        // [rows, heads of a group, dim], sums of a bf16 gradient
} gradient_scratch;

INLINE gradient_scratch carve_gradient(const moru_attention *args, void *memory) {
    size_t dim = moru_round_up(args->head_dim, 16);
    gradient_scratch parts;
    float *next = (float *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    float **of_keys[] = {&parts.keys_t, &parts.values_t, &parts.keys, &parts.values, &parts.paired_keys,
                         &parts.d_keys, &parts.d_values};
    for (size_t i = 0; i < sizeof of_keys / sizeof *of_keys; i++, next += KEYS * dim) *of_keys[i] = next;
    float **of_queries[] = {&parts.q, &parts.d_out, &parts.paired_q, &parts.paired_d_out};
    for (size_t i = 0; i < sizeof of_queries / sizeof *of_queries; i++, next += QUERIES * dim) *of_queries[i] = next;
    float **of_scores[] = {&parts.scores, &parts.d_scores, &parts.paired_scores, &parts.paired_d_scores};
    for (size_t i = 0; i < sizeof of_scores / sizeof *of_scores; i++, next += QUERIES * KEYS) *of_scores[i] = next;
    parts.projections = next;
    parts.d_q = parts.projections + args->rows * (args->heads / args->kv_heads);
    return parts;
}

size_t ATTENTION_NAME(attention_backward_scratch_bytes)(const moru_attention *args) {
    size_t width = args->io_type == MORU_F32 ? 0 : args->heads / args->kv_heads * args->head_dim;
    return (size_t)(uintptr_t)(carve_gradient(args, NULL).d_q + args->rows * width) + 64;
}

// From raw scores and raw dP: P = e^(scale * S - log_sum), dS = scale * P * (dP - projection), both masked; with the cap
// of scores and its slope where there is one.
INLINE void gradient_step(const moru_attention *args, float *scores, float *d_scores, size_t first, size_t count,
                          size_t position, float log_sum, float projection) {
    size_t low = first_visible(args, position), high = end_visible(args, position);
    int32_t above = (int32_t)(high > first ? moru_min_size(high - first, count) : 0);
    int32_t below = (int32_t)(low > first ? moru_min_size(low - first, KEYS) : 0);
    for (size_t v = 0; v < KEYS; v += LANES) {
        vi key = viota() + (int32_t)v;
        vf score = vload(scores + v) * args->scale, slope = vset(args->scale);
        if (args->softcap > 0) {
            vf t = vtanh(score / args->softcap);
            score = args->softcap * t;
            slope *= 1.0f - t * t;
        }
        vf p = vexp(score - log_sum);
        vf ds = slope * p * (vload(d_scores + v) - projection);
        vi visible = (key < above) & (key >= below);
        vstore(scores + v, visible ? p : vset(0));
        vstore(d_scores + v, visible ? ds : vset(0));
    }
}

// rowsum(dO * O) of the query rows of one head.
static void attention_projections(const moru_attention *args, const void *d_out, size_t head, float *projections) {
    size_t dim = args->head_dim;
    for (size_t row = 0; row < args->rows; row++) {
        size_t at = row * args->out_row_stride + head * dim;
        vf sums = vset(0);
        for (size_t i = 0; i < dim; i += LANES) {
            size_t count = moru_min_size(LANES, dim - i);
            sums = vfma(vload_type(args->io_type, d_out, at + i, count),
                        vload_type(args->io_type, args->out, at + i, count), sums);
        }
        projections[row] = vsum(sums);
    }
}

// Rows [row, row + rows) of one head against one block of keys, whose forms are in scratch.
static void attend_backward(const moru_attention *args, const moru_attention_gradient *gradient,
                            const gradient_scratch *scratch, size_t head, size_t row, size_t rows, size_t first,
                            size_t count, operand paired_keys, const float *projections, float *d_q,
                            size_t d_q_stride) {
    size_t dim = args->head_dim;
    operand q = row_operand(args->io_type, args->q, row * args->q_row_stride + head * dim, args->q_row_stride, rows, dim,
                            scratch->q);
    operand d_out = row_operand(args->io_type, gradient->d_out, row * args->out_row_stride + head * dim,
                                args->out_row_stride, rows, dim, scratch->d_out);
    operand paired_q = paired_rows(q, rows, dim, scratch->paired_q);
    operand paired_d_out = paired_rows(d_out, rows, dim, scratch->paired_d_out);
    product forward = {.columns = moru_round_up(count, LANES), .depth = UNITS(dim), .a = q.units, .a_row = q.stride,
                       .a_column = 1, .b = scratch->keys_t, .b_row = KEYS, .c = scratch->scores, .c_row = KEYS};
    multiply_small(rows, &forward);
    forward.a = d_out.units, forward.a_row = d_out.stride, forward.b = scratch->values_t, forward.c = scratch->d_scores;
    multiply_small(rows, &forward);
    for (size_t r = 0; r < rows; r++) {
        gradient_step(args, scratch->scores + r * KEYS, scratch->d_scores + r * KEYS, first, count,
                      args->first_position + row + r, args->log_sum_exp[(row + r) * args->heads + head],
                      projections[row + r]);
    }
    operand p = paired_scores(scratch->scores, rows, scratch->paired_scores);
    operand ds = paired_scores(scratch->d_scores, rows, scratch->paired_d_scores);
    product d_k = {.columns = dim, .depth = UNITS(rows), .a = ds.units, .a_row = 1, .a_column = ds.stride,
                   .b = paired_q.units, .b_row = paired_q.stride, .c = scratch->d_keys, .c_row = dim,
                   .accumulate = true};
    multiply_small(count, &d_k);
    d_k.a = p.units, d_k.b = paired_d_out.units, d_k.b_row = paired_d_out.stride, d_k.c = scratch->d_values;
    multiply_small(count, &d_k);
    narrow_scores(scratch->d_scores, rows);
    product d_q_product = {.columns = dim, .depth = UNITS(count), .a = scratch->d_scores, .a_row = KEYS, .a_column = 1,
                           .b = paired_keys.units, .b_row = paired_keys.stride, .c = d_q, .c_row = d_q_stride,
                           .accumulate = true};
    multiply_small(rows, &d_q_product);
}

void ATTENTION_NAME(attention_backward)(const moru_attention *args, const moru_attention_gradient *gradient,
                                        size_t kv_head_begin, size_t kv_head_end, void *memory) {
    size_t group = args->heads / args->kv_heads, dim = args->head_dim, kv_stride = args->kv_row_stride;
    bool narrow = args->io_type != MORU_F32;
    gradient_scratch scratch = carve_gradient(args, memory);
    for (size_t kv_head = kv_head_begin; kv_head < kv_head_end; kv_head++) {
        size_t d_q_stride = narrow ? group * dim : args->q_row_stride, width = group * dim * sizeof(float);
        float *d_q = narrow ? scratch.d_q : (float *)gradient->d_q + kv_head * group * dim;
        for (size_t row = 0; row < args->rows; row++) memset(d_q + row * d_q_stride, 0, width);
        for (size_t h = 0; h < group; h++) {
            attention_projections(args, gradient->d_out, kv_head * group + h, scratch.projections + h * args->rows);
        }
        for (size_t first = 0; first < args->kv_count; first += KEYS) {
            size_t count = moru_min_size(KEYS, args->kv_count - first), block = first * kv_stride + kv_head * dim;
            operand keys = row_operand(args->kv_type, args->k_pages[0], block, kv_stride, count, dim, scratch.keys);
            operand values = row_operand(args->kv_type, args->v_pages[0], block, kv_stride, count, dim, scratch.values);
            transpose_rows(keys, count, UNITS(dim), scratch.keys_t);
            transpose_rows(values, count, UNITS(dim), scratch.values_t);
            operand paired_keys = paired_rows(keys, count, dim, scratch.paired_keys);
            memset(scratch.d_keys, 0, KEYS * dim * sizeof(float));
            memset(scratch.d_values, 0, KEYS * dim * sizeof(float));
            // Rows that see some key of the block.
            size_t row_begin = 0, row_end = args->rows;
            if (args->causal && first > args->first_position) row_begin = first - args->first_position;
            if (args->window > 0) {
                size_t beyond = first + count - 1 + args->window;  // the first position that sees none
                size_t seen = beyond > args->first_position ? beyond - args->first_position : 0;
                row_end = moru_min_size(row_end, seen);
            }
            for (size_t h = 0; h < group; h++) {
                for (size_t row = row_begin; row < row_end; row += QUERIES) {
                    attend_backward(args, gradient, &scratch, kv_head * group + h, row,
                                    moru_min_size(QUERIES, row_end - row), first, count, paired_keys,
                                    scratch.projections + h * args->rows, d_q + row * d_q_stride + h * dim, d_q_stride);
                }
            }
            store_rows(args->io_type, gradient->d_k, block, kv_stride, count, dim, scratch.d_keys, dim, NULL);
            store_rows(args->io_type, gradient->d_v, block, kv_stride, count, dim, scratch.d_values, dim, NULL);
        }
        if (!narrow) continue;
        store_rows(args->io_type, gradient->d_q, kv_head * group * dim, args->q_row_stride, args->rows, group * dim, d_q,
                   d_q_stride, NULL);
    }
}
