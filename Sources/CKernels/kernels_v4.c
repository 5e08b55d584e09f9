/// x86-64 with AVX-512: a 4 x 64 tile takes half of the thirty-two 512-bit registers.
#include "kernels.h"

#if AK_X86_LEVELS
#define AK_TABLE ak_kernels_v4
#define AK_TILE_VECTORS 4
#define AK_HAS_FMA 1
#define AK_HAS_F16C 1
#pragma clang attribute push( \
    __attribute__((target("avx2,fma,f16c,bmi,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#include "level.inc.h"
#pragma clang attribute pop
#endif
