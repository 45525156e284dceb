// What this CPU offers, and the table for each level.
#include "blocks.h"
#include "table.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

typedef struct {
    bool avx2, avx2_vnni, avx512, vnni, bf16, amx, intel, neon;
} cpu_features;

#if defined(__x86_64__)
// XCR0: which register states the operating system saves. Read with the instruction itself, so that no function needs
// the xsave target.
static uint64_t enabled_states(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static cpu_features detect(void) {
    cpu_features found = {0};
    uint32_t a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d)) return found;
    found.intel = b == 0x756e6547u;  // "Genu"
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return found;
    bool fma = c & bit_FMA, f16c = c & bit_F16C, avx = c & bit_AVX;
    uint64_t states = enabled_states();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
    uint32_t b7 = b, c7 = c, d7 = d;
    found.avx2 = avx && fma && f16c && (b7 & bit_AVX2) && (states & 0x6) == 0x6;
    bool words = (b7 & bit_AVX512F) && (b7 & bit_AVX512BW) && (b7 & bit_AVX512DQ) && (b7 & bit_AVX512VL);
    found.avx512 = found.avx2 && words && (states & 0xe6) == 0xe6;
    found.vnni = found.avx512 && (c7 & bit_AVX512VNNI);
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        found.avx2_vnni = found.avx2 && (a & bit_AVXVNNI);
        found.bf16 = found.avx512 && (a & bit_AVX512BF16);
    }
    bool tiles = (d7 & (1u << 24)) && (d7 & (1u << 22)) && (d7 & (1u << 25));  // AMX-TILE, AMX-BF16, AMX-INT8
    found.amx = found.bf16 && found.vnni && tiles && (states & 0x60000) == 0x60000;
    return found;
}
#else
static cpu_features detect(void) {
    cpu_features found = {0};
#if defined(__aarch64__)
    found.neon = true;  // part of the architecture
#endif
    return found;
}
#endif

const char *moru_cpu_level_name(moru_cpu_level level) {
    switch (level) {
    case MORU_CPU_SCALAR: return "scalar";
    case MORU_CPU_NEON: return "neon";
    case MORU_CPU_AVX2: return "avx2";
    case MORU_CPU_AVX2_VNNI: return "avx2-vnni";
    case MORU_CPU_AVX512: return "avx512";
    case MORU_CPU_AVX512_BF16: return "avx512-bf16";
    case MORU_CPU_AMX: return "amx";
    }
    return "unknown";
}

static const moru_kernels scalar_table =
    MORU_KERNEL_TABLE(moru_scalar, moru_scalar, moru_scalar, moru_scalar, moru_scalar, MORU_CPU_SCALAR, "scalar");

#if defined(__x86_64__)
#if defined(__linux__)
// Linux gives a process the tile state only after it asks: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
static bool tiles_permitted(void) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(158L), "D"(0x1023L), "S"(18L) : "rcx", "r11", "memory");
    return result == 0;
}
#else
static bool tiles_permitted(void) { return false; }
#endif

static const moru_kernels avx2_table =
    MORU_KERNEL_TABLE(moru_avx2, moru_avx2, moru_avx2, moru_avx2, moru_avx2, MORU_CPU_AVX2, "avx2");
static const moru_kernels avx2_vnni_table =
    MORU_KERNEL_TABLE(moru_avx2, moru_avx2, moru_avx2, moru_avx2, moru_avx2_vnni, MORU_CPU_AVX2_VNNI, "avx2+vnni");
static const moru_kernels avx512_table =
    MORU_KERNEL_TABLE(moru_avx512, moru_avx512, moru_avx512, moru_avx512, moru_avx2, MORU_CPU_AVX512, "avx512");
static const moru_kernels avx512_vnni_table =
    MORU_KERNEL_TABLE(moru_avx512, moru_avx512, moru_avx512, moru_avx512, moru_avx512_vnni, MORU_CPU_AVX512,
                      "avx512+vnni");
static const moru_kernels avx512_bf16_table =
    MORU_KERNEL_TABLE(moru_avx512, moru_avx512_bf16, moru_avx512_bf16, moru_avx512_bf16, moru_avx512_vnni,
                      MORU_CPU_AVX512_BF16, "avx512+vnni+bf16");
// Intel's vdpbf16ps takes twice the time of the two f32 multiply-adds that it stands for: there f32 is faster.
static const moru_kernels avx512_slow_bf16_table =
    MORU_KERNEL_TABLE(moru_avx512, moru_avx512_bf16, moru_avx512, moru_avx512_split, moru_avx512_vnni,
                      MORU_CPU_AVX512_BF16, "avx512+vnni");

static const moru_kernels amx_table =
    MORU_KERNEL_TABLE(moru_avx512, moru_avx512_bf16, moru_amx, moru_avx512, moru_amx, MORU_CPU_AMX, "amx+avx512+vnni");

const moru_kernels *moru_kernels_for(moru_cpu_level level) {
    cpu_features found = detect();
    switch (level) {
    case MORU_CPU_SCALAR: return &scalar_table;
    case MORU_CPU_NEON: return NULL;
    case MORU_CPU_AVX2: return found.avx2 ? &avx2_table : NULL;
    case MORU_CPU_AVX2_VNNI: return found.avx2_vnni ? &avx2_vnni_table : NULL;
    case MORU_CPU_AVX512: return found.vnni ? &avx512_vnni_table : found.avx512 ? &avx512_table : NULL;
    case MORU_CPU_AVX512_BF16:
        if (!found.bf16 || !found.vnni) return NULL;
        return found.intel ? &avx512_slow_bf16_table : &avx512_bf16_table;
    case MORU_CPU_AMX: return found.amx && tiles_permitted() ? &amx_table : NULL;
    }
    return NULL;
}
#elif defined(__aarch64__)
static const moru_kernels neon_table =
    MORU_KERNEL_TABLE(moru_neon, moru_neon, moru_neon, moru_neon, moru_neon, MORU_CPU_NEON, "neon");

const moru_kernels *moru_kernels_for(moru_cpu_level level) {
    if (level == MORU_CPU_NEON) return &neon_table;
    return level == MORU_CPU_SCALAR ? &scalar_table : NULL;
}
#else
const moru_kernels *moru_kernels_for(moru_cpu_level level) { return level == MORU_CPU_SCALAR ? &scalar_table : NULL; }
#endif

static const moru_byte_kernels scalar_bytes = {
    .rows = moru_scalar_byte_rows, .product = moru_scalar_byte_product};
#if defined(__x86_64__)
static const moru_byte_kernels avx2_vnni_bytes = {
    .is_fast = true, .rows = moru_avx2_vnni_byte_rows, .product = moru_avx2_vnni_byte_product};
static const moru_byte_kernels vnni_bytes = {
    .is_fast = true, .rows = moru_avx512_vnni_byte_rows, .product = moru_avx512_vnni_byte_product};
static const moru_byte_kernels amx_bytes = {
    .is_fast = true, .rows = moru_avx512_vnni_byte_rows, .product = moru_amx_byte_product};
#endif

const moru_byte_kernels *moru_byte_kernels_for(moru_cpu_level level) {
#if defined(__x86_64__)
    if (level == MORU_CPU_AMX && moru_kernels_for(level)) return &amx_bytes;
    if (level >= MORU_CPU_AVX512 && detect().vnni) return &vnni_bytes;
    if (level == MORU_CPU_AVX2_VNNI && moru_kernels_for(level)) return &avx2_vnni_bytes;
#endif
    (void)level;
    return &scalar_bytes;
}

#define LOW_RANK_KERNELS(P) {.inner = P##_low_rank_inner, .outer = P##_low_rank_outer}
static const moru_low_rank_kernels scalar_low_rank = LOW_RANK_KERNELS(moru_scalar);
#if defined(__x86_64__)
static const moru_low_rank_kernels avx2_low_rank = LOW_RANK_KERNELS(moru_avx2);
static const moru_low_rank_kernels avx512_low_rank = LOW_RANK_KERNELS(moru_avx512);
#elif defined(__aarch64__)
static const moru_low_rank_kernels neon_low_rank = LOW_RANK_KERNELS(moru_neon);
#endif

const moru_low_rank_kernels *moru_low_rank_kernels_for(moru_cpu_level level) {
#if defined(__x86_64__)
    if (level >= MORU_CPU_AVX512) return &avx512_low_rank;
    if (level >= MORU_CPU_AVX2) return &avx2_low_rank;
#elif defined(__aarch64__)
    if (level == MORU_CPU_NEON) return &neon_low_rank;
#endif
    (void)level;
    return &scalar_low_rank;
}

#define ROW_ATTENTION(P) {.scratch_bytes = P##_attention_pieces_scratch_bytes, .pieces = P##_attention_pieces}
static const moru_row_attention scalar_rows = ROW_ATTENTION(moru_scalar);
#if defined(__x86_64__)
static const moru_row_attention avx2_rows = ROW_ATTENTION(moru_avx2);
static const moru_row_attention avx512_rows = ROW_ATTENTION(moru_avx512);
static const moru_row_attention bf16_rows = ROW_ATTENTION(moru_avx512_bf16);
#elif defined(__aarch64__)
static const moru_row_attention neon_rows = ROW_ATTENTION(moru_neon);
#endif

const moru_row_attention *moru_row_attention_for(moru_cpu_level level) {
#if defined(__x86_64__)
    if (level == MORU_CPU_AVX512_BF16 && !detect().intel) return &bf16_rows;
    if (level >= MORU_CPU_AVX512) return &avx512_rows;
    if (level >= MORU_CPU_AVX2) return &avx2_rows;
#elif defined(__aarch64__)
    if (level == MORU_CPU_NEON) return &neon_rows;
#endif
    (void)level;
    return &scalar_rows;
}

moru_cpu_level moru_cpu_best_level(void) {
    for (int level = MORU_CPU_AMX; level > MORU_CPU_SCALAR; level--) {
        if (moru_kernels_for((moru_cpu_level)level)) return (moru_cpu_level)level;
    }
    return MORU_CPU_SCALAR;
}

const char *moru_cpu_feature(size_t index) {
    cpu_features found = detect();
    const struct {
        bool is_found;
        const char *name;
    } features[] = {
        {found.avx2, "avx2"},       {found.avx2, "fma"},         {found.avx2, "f16c"},
        {found.avx2_vnni, "avx_vnni"},
        {found.avx512, "avx512f"},  {found.avx512, "avx512bw"},  {found.avx512, "avx512dq"},
        {found.avx512, "avx512vl"}, {found.vnni, "avx512_vnni"}, {found.bf16, "avx512_bf16"},
        {found.amx, "amx_bf16"},    {found.amx, "amx_int8"},     {found.neon, "neon"},
    };
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        if (features[i].is_found && index-- == 0) return features[i].name;
    }
    return NULL;
}
