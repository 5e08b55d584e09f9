/// The level that every CPU has; the only one apart from x86-64.
#include "kernels.h"

#define AK_TABLE ak_kernels_baseline
#define AK_TILE_VECTORS 1
#if defined(__aarch64__)
#define AK_HAS_FMA 1
#else
#define AK_HAS_FMA 0
#endif
#define AK_HAS_F16C 0
#include "level.inc.h"
