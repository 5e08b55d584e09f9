/// x86-64 with AVX2, FMA and F16C: a 4 x 16 tile fills the sixteen 256-bit registers.
#include "kernels.h"

#if AK_X86_LEVELS
#define AK_TABLE ak_kernels_v3
#define AK_TILE_VECTORS 1
#define AK_HAS_FMA 1
#define AK_HAS_F16C 1
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2,popcnt"))), apply_to = function)
#include "level.inc.h"
#pragma clang attribute pop
#endif
