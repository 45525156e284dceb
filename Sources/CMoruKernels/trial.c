// Whether a level really works here. A hypervisor may report instructions that then fault, so the trial runs in a child
// process: whatever happens to it, the caller learns the outcome and lives on.
#include "moru_kernels.h"

#if defined(__linux__)
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS = 37, COLUMNS = 70, DEPTH = 96, BYTE_DEPTH = 196 };

// Values that bf16 holds exactly, so that every level gives the same sums.
static void fill(float *values, size_t count, unsigned step) {
    for (size_t i = 0; i < count; i++) values[i] = (float)((int)(i * step % 15) - 7) * 0.125f;
}

// The child ends soon, and its memory with it.
static void *memory(size_t bytes) {
    void *result = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    if (!result) _exit(1);
    return result;
}

static float *numbers(size_t count, unsigned step) {
    float *result = memory(count * sizeof(float));
    fill(result, count, step);
    return result;
}

static const float *product(const moru_kernels *kernels) {
    moru_gemm args = {.m = ROWS, .n = COLUMNS, .k = DEPTH, .a_row_stride = DEPTH, .a_column_stride = 1,
                      .b_type = MORU_F32, .b_row_bytes = DEPTH * sizeof(float), .b_transposed = true,
                      .c_row_stride = COLUMNS, .alpha = 1, .allow_bf16 = true};
    args.a = numbers(ROWS * DEPTH, 7);
    args.b = numbers(COLUMNS * DEPTH, 11);
    args.c = memory(ROWS * COLUMNS * sizeof(float));
    kernels->gemm(&args, 0, ROWS, 0, COLUMNS, memory(kernels->gemm_scratch_bytes(&args) + 64));
    return args.c;
}

static const float *packed_product(const moru_kernels *kernels) {
    moru_dtype type = MORU_Q4_1;
    size_t row_bytes = DEPTH / moru_block_elements(type) * moru_block_bytes(type);
    void *quantized = memory(COLUMNS * row_bytes), *packed = memory(moru_packed_bytes(type, COLUMNS, DEPTH));
    moru_kernels_for(MORU_CPU_SCALAR)->quantize(type, numbers(COLUMNS * DEPTH, 11), quantized, COLUMNS * DEPTH);
    moru_pack(type, quantized, row_bytes, COLUMNS, DEPTH, packed, 0, COLUMNS);
    size_t x_row_bytes = (moru_rounded_bytes(DEPTH) + 63) & ~(size_t)63;
    uint8_t *x = memory(ROWS * x_row_bytes);
    const float *rows = numbers(ROWS * DEPTH, 7);
    for (size_t row = 0; row < ROWS; row++) {
        kernels->round_row(rows + row * DEPTH, DEPTH, false, x + row * x_row_bytes, 0, DEPTH);
    }
    moru_packed_product args = {.rows = ROWS, .n = COLUMNS, .k = DEPTH, .w = packed, .w_type = type, .x = x,
                                .x_row_bytes = x_row_bytes, .y_row_stride = COLUMNS};
    args.y = memory(ROWS * COLUMNS * sizeof(float));
    kernels->packed_product(&args, 0, COLUMNS);
    return args.y;
}

static const float *byte_product(const moru_byte_kernels *kernels) {
    void *a = memory(ROWS * moru_byte_row_bytes(BYTE_DEPTH)), *b = memory(moru_byte_packed_bytes(COLUMNS, BYTE_DEPTH));
    kernels->rows(MORU_F32, numbers(ROWS * BYTE_DEPTH, 7), BYTE_DEPTH, BYTE_DEPTH, a, 0, ROWS);
    moru_byte_pack(MORU_F32, numbers(COLUMNS * BYTE_DEPTH, 11), BYTE_DEPTH * sizeof(float), COLUMNS, BYTE_DEPTH, b, 0,
                   COLUMNS, memory(BYTE_DEPTH * sizeof(float)));
    moru_byte_product args = {.n = COLUMNS, .k = BYTE_DEPTH, .a = a, .b = b, .c_row_stride = COLUMNS};
    args.c = memory(ROWS * COLUMNS * sizeof(float));
    kernels->product(&args, 0, ROWS, 0, COLUMNS);
    return args.c;
}

static bool same(const float *found, const float *expected) {
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        if (found[i] != expected[i]) return false;
    }
    return true;
}

// The products, which are what a level's own instructions compute.
static bool agrees(moru_cpu_level level) {
    const moru_kernels *trial = moru_kernels_for(level), *reference = moru_kernels_for(MORU_CPU_SCALAR);
    return same(product(trial), product(reference)) && same(packed_product(trial), packed_product(reference)) &&
           same(byte_product(moru_byte_kernels_for(level)), byte_product(moru_byte_kernels_for(MORU_CPU_SCALAR)));
}

bool moru_cpu_level_works(moru_cpu_level level) {
    if (!moru_kernels_for(level)) return false;
    pid_t child = fork();
    if (child < 0) return false;
    if (child == 0) {
        // A fault ends the child quietly, whatever handlers the process has
        signal(SIGILL, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        alarm(5);
        _exit(agrees(level) ? 0 : 1);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) return false;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
#else
bool moru_cpu_level_works(moru_cpu_level level) { return moru_kernels_for(level) != NULL; }
#endif
