// One time step of LSTM and GRU cells and its gradient, scalar reference.
#include <math.h>

#include "table.h"

static float sigmoid(float x) { return 1 / (1 + expf(-x)); }

// i, f, g, o = sigma, sigma, tanh, sigma of input + recurrent + bias; c' = f c + i g; h = o tanh c'.
void moru_scalar_lstm(const moru_recurrent *args, size_t begin, size_t end) {
    size_t dim = args->hidden;
    for (size_t r = 0; r < args->rows; r++) {
        const float *x = args->input + r * 4 * dim, *h = args->recurrent + r * 4 * dim, *b = args->bias;
        float *gates = args->gates + r * 4 * dim;
        for (size_t j = begin; j < end; j++) {
            float i = sigmoid(x[j] + h[j] + b[j]), f = sigmoid(x[dim + j] + h[dim + j] + b[dim + j]);
            float g = tanhf(x[2 * dim + j] + h[2 * dim + j] + b[2 * dim + j]);
            float o = sigmoid(x[3 * dim + j] + h[3 * dim + j] + b[3 * dim + j]);
            float c = f * args->previous[r * dim + j] + i * g;
            gates[j] = i, gates[dim + j] = f, gates[2 * dim + j] = g, gates[3 * dim + j] = o;
            args->cell[r * dim + j] = c;
            args->output[r * dim + j] = o * tanhf(c);
        }
    }
}

void moru_scalar_lstm_backward(const moru_recurrent_gradient *args, size_t begin, size_t end) {
    size_t dim = args->hidden;
    for (size_t r = 0; r < args->rows; r++) {
        const float *gates = args->gates + r * 4 * dim;
        float *d = args->d_input + r * 4 * dim;
        for (size_t j = begin; j < end; j++) {
            float i = gates[j], f = gates[dim + j], g = gates[2 * dim + j], o = gates[3 * dim + j];
            float dh = args->d_output[r * dim + j] + args->d_recurrent[r * dim + j];
            float t = tanhf(args->cell[r * dim + j]);
            float dc = args->carry[r * dim + j] + dh * o * (1 - t * t);
            d[j] = dc * g * i * (1 - i);
            d[dim + j] = dc * args->previous[r * dim + j] * f * (1 - f);
            d[2 * dim + j] = dc * i * (1 - g * g);
            d[3 * dim + j] = dh * t * o * (1 - o);
            args->carry[r * dim + j] = dc * f;
        }
    }
}

// r, z = sigma of input + recurrent + bias; n = tanh(input + r (recurrent + bias)); h' = (1 - z) n + z h.
void moru_scalar_gru(const moru_recurrent *args, size_t begin, size_t end) {
    size_t dim = args->hidden;
    for (size_t row = 0; row < args->rows; row++) {
        const float *x = args->input + row * 3 * dim, *h = args->recurrent + row * 3 * dim, *b = args->bias;
        float *gates = args->gates + row * 4 * dim;
        for (size_t j = begin; j < end; j++) {
            float r = sigmoid(x[j] + h[j] + b[j]), z = sigmoid(x[dim + j] + h[dim + j] + b[dim + j]);
            float m = h[2 * dim + j] + b[2 * dim + j];
            float n = tanhf(x[2 * dim + j] + r * m);
            gates[j] = r, gates[dim + j] = z, gates[2 * dim + j] = n, gates[3 * dim + j] = m;
            args->output[row * dim + j] = n + z * (args->previous[row * dim + j] - n);
        }
    }
}

void moru_scalar_gru_backward(const moru_recurrent_gradient *args, size_t begin, size_t end) {
    size_t dim = args->hidden;
    for (size_t row = 0; row < args->rows; row++) {
        const float *gates = args->gates + row * 4 * dim;
        float *dx = args->d_input + row * 3 * dim, *dm = args->d_hidden + row * 3 * dim;
        for (size_t j = begin; j < end; j++) {
            float r = gates[j], z = gates[dim + j], n = gates[2 * dim + j], m = gates[3 * dim + j];
            float dh = args->d_output[row * dim + j] + args->d_recurrent[row * dim + j] + args->carry[row * dim + j];
            float dn = dh * (1 - z) * (1 - n * n);
            dx[j] = dm[j] = dn * m * r * (1 - r);
            dx[dim + j] = dm[dim + j] = dh * (args->previous[row * dim + j] - n) * z * (1 - z);
            dx[2 * dim + j] = dn;
            dm[2 * dim + j] = dn * r;
            args->carry[row * dim + j] = dh * z;
        }
    }
}
