// Reductions over vectors.

double MORU_NAME(sum)(const float *x, size_t begin, size_t end) {
    vd sum0 = (vd)(0), sum1 = (vd)(0);
    size_t i = begin;
    for (; i + 2 * LANES <= end; i += 2 * LANES) {
        sum0 += __builtin_convertvector(vload(x + i), vd);
        sum1 += __builtin_convertvector(vload(x + i + LANES), vd);
    }
    double rest = 0;
    for (; i < end; i++) rest += (double)x[i];
    return vsum_double(sum0 + sum1) + rest;
}

double MORU_NAME(sum_of_squares)(const float *x, size_t begin, size_t end) {
    vd sum0 = (vd)(0), sum1 = (vd)(0);
    size_t i = begin;
    for (; i + 2 * LANES <= end; i += 2 * LANES) {
        vd a = __builtin_convertvector(vload(x + i), vd), b = __builtin_convertvector(vload(x + i + LANES), vd);
        sum0 += a * a;
        sum1 += b * b;
    }
    double rest = 0;
    for (; i < end; i++) rest += (double)x[i] * (double)x[i];
    return vsum_double(sum0 + sum1) + rest;
}

// A value is finite when its exponent is not all ones; the largest exponent field of a chunk decides.
bool MORU_NAME(all_finite)(const float *x, size_t begin, size_t end) {
    size_t i = begin;
    while (i + LANES <= end) {
        size_t stop = moru_min_size(end, i + 256 * LANES);
        vi largest = (vi)(0);
        for (; i + LANES <= stop; i += LANES) {
            largest = __builtin_elementwise_max(largest, vasint(vload(x + i)) & 0x7f800000);
        }
        if (__builtin_reduce_max(largest) == 0x7f800000) return false;
    }
    return moru_scalar_all_finite(x, i, end);
}

// Each lane keeps its largest value and the index of its first occurrence.
size_t MORU_NAME(argmax)(const float *x, size_t begin, size_t end) {
    if (end - begin < 2 * LANES || end - begin > INT32_MAX / 2) return moru_scalar_argmax(x, begin, end);
    vf best = vset(-INFINITY);
    vi where = (vi)(-1), index = viota();
    size_t i = begin;
    for (; i + LANES <= end; i += LANES) {
        vf v = vload(x + i);
        vi better = v > best;
        best = better ? v : best;
        where = better ? index : where;
        index += MORU_LANES;
    }
    size_t found = end;
    float largest = -INFINITY;
    for (int lane = 0; lane < MORU_LANES; lane++) {
        if (where[lane] < 0) continue;
        size_t at = begin + (size_t)where[lane];
        if (best[lane] > largest || (best[lane] == largest && at < found)) {
            largest = best[lane];
            found = at;
        }
    }
    for (; i < end; i++) {
        if (x[i] > largest) {
            largest = x[i];
            found = i;
        }
    }
    // Nothing above -inf: let the reference decide between -inf and NaN.
    return found == end ? moru_scalar_argmax(x, begin, end) : found;
}
