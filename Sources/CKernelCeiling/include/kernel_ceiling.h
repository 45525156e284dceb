// Loops that do nothing but the work whose rate is to be measured.
#ifndef KERNEL_CEILING_H
#define KERNEL_CEILING_H

#include <stdbool.h>
#include <stddef.h>

// Independent chains of `steps` multiply-adds (fused, but for x86 below AVX2) over the widest vectors of `bits` (512, 256, else 128). Returns the
// number of floating-point operations done; `sink` keeps the result alive.
double kernel_ceiling_multiply_add(int bits, size_t steps, float *sink);

// The same with products of bf16 pairs over 512 bits (AVX-512 BF16); and of bytes, summed in 32 bits with VNNI over 512
// bits or 256 (AVX-VNNI), or without it in 16 bits over 256 (AVX2); 0 for fewer bits and on machines of another kind.
// Only for a CPU that has the instructions.
double kernel_ceiling_bf16(size_t steps, float *sink);
double kernel_ceiling_int8(int bits, bool vnni, size_t steps, float *sink);

// The same with tiles of bf16 pairs, or of bytes, into six tiles of sums. Only where tiles may be used.
double kernel_ceiling_tiles(bool bytes, size_t steps, float *sink);

// Reads `bytes` (a multiple of 256) and folds them into `sink`.
void kernel_ceiling_read(int bits, const void *memory, size_t bytes, float *sink);

#endif
