/// The body of a level, compiled once for each with other instructions allowed. Whoever includes it defines
///
/// - AK_TABLE: the name of the level's function table,
/// - AK_TILE_VECTORS: vectors of 16 columns in a register tile,
/// - AK_HAS_FMA, AK_HAS_F16C: whether the instructions may be used.
///
/// Everything is static, and inline functions are forced inline, so that no level's code is called by another.

#include <float.h>
#include <math.h>
#include <string.h>

#define AK_INLINE static inline __attribute__((always_inline))

// Wide vectors are passed to forced-inline functions only, so how a call would pass them does not matter.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpsabi"

#include "convert.inc.h"
#include "vectors.inc.h"
#include "update16.inc.h"
#include "delta.inc.h"
#include "matrix.inc.h"
#include "apply.inc.h"
#include "attend.inc.h"
#include "sparse.inc.h"
#include "finish.inc.h"
#include "planes.inc.h"
#include "train.inc.h"
#include "small.inc.h"

const struct ak_kernels AK_TABLE = {
    widen_f32, widen_f64, round_f64, nonfinite, update16,    delta_f64, finish,
    row_sumsq, col_sumsq, product_f64, dot_f64, apply_f64, axpy_f64,  rotate_f64,
    attend_f32, swiglu_exact_f32,
    sift_f64,  balance_f64, agree_f64,  share_f64,
    planes_split, planes_join, zigzag_difference, zigzag_undo, group_gather, group_scatter, joint_split, joint_join, histogram, run_symbols,
    dot_f32, axpy_f32, softmax_f32, softmax_again_f32, softmax_back_f32, swiglu_f32, swiglu_back_f32, rms_f32, rms_back_f32,
    turn_f32, adamw_f32, small_product_f32, transpose_f32,
};

#pragma clang diagnostic pop
