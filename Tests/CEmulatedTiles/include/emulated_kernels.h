// The AMX level with its tile instructions emulated in plain C: its kernels' logic, on machines without tiles. No dispatch
// knows of it; a test names it.
#ifndef EMULATED_KERNELS_H
#define EMULATED_KERNELS_H

#include "moru_kernels.h"

typedef struct {
    const moru_kernels *kernels;
    const moru_byte_kernels *bytes;
    // This thread's tiles: whether they are in their initial state, and how many products they have computed.
    bool (*is_released)(void);
    size_t (*products)(void);
} emulated_level;

// The AMX level as it is but for the tiles; NULL where the CPU lacks AVX-512 with VNNI and BF16.
const emulated_level *emulated_amx(void);
// The same over AVX2 instead of AVX-512, or over what else this CPU is sure to have; NULL on an x86 without AVX2.
const emulated_level *emulated_amx_narrow(void);

#endif
