// Whether a level really works here. A hypervisor may report instructions that then fault, so the trial runs in a child
// process: whatever happens to it, the caller learns the outcome and lives on.
#include "moru_kernels.h"

#if defined(__linux__)
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROWS = 37, COLUMNS = 70, DEPTH = 96 };

// Values that bf16 holds exactly, so that every level gives the same sums.
static void fill(float *values, size_t count, unsigned step) {
    for (size_t i = 0; i < count; i++) values[i] = (float)((int)(i * step % 15) - 7) * 0.125f;
}

static bool agrees(const moru_kernels *trial, const moru_kernels *reference) {
    moru_gemm args = {.m = ROWS, .n = COLUMNS, .k = DEPTH, .a_row_stride = DEPTH, .a_column_stride = 1,
                      .b_type = MORU_F32, .b_row_bytes = DEPTH * sizeof(float), .b_transposed = true,
                      .c_row_stride = COLUMNS, .alpha = 1, .allow_bf16 = true};
    size_t trial_bytes = trial->gemm_scratch_bytes(&args), reference_bytes = reference->gemm_scratch_bytes(&args);
    size_t scratch_bytes = (trial_bytes > reference_bytes ? trial_bytes : reference_bytes) + 64;
    float *a = malloc(sizeof(float) * ROWS * DEPTH), *b = malloc(sizeof(float) * COLUMNS * DEPTH);
    float *found = malloc(sizeof(float) * ROWS * COLUMNS), *expected = malloc(sizeof(float) * ROWS * COLUMNS);
    void *memory = aligned_alloc(64, (scratch_bytes + 63) & ~(size_t)63);
    if (!a || !b || !found || !expected || !memory) return false;
    fill(a, ROWS * DEPTH, 7);
    fill(b, COLUMNS * DEPTH, 11);
    args.a = a;
    args.b = b;
    args.c = found;
    trial->gemm(&args, 0, ROWS, 0, COLUMNS, memory);
    args.c = expected;
    reference->gemm(&args, 0, ROWS, 0, COLUMNS, memory);
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        if (found[i] != expected[i]) return false;
    }
    return true;  // the child ends now, and its memory with it
}

bool moru_cpu_level_works(moru_cpu_level level) {
    const moru_kernels *trial = moru_kernels_for(level), *reference = moru_kernels_for(MORU_CPU_SCALAR);
    if (!trial) return false;
    pid_t child = fork();
    if (child < 0) return false;
    if (child == 0) {
        // A fault ends the child quietly, whatever handlers the process has
        signal(SIGILL, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        alarm(5);
        _exit(agrees(trial, reference) ? 0 : 1);
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
