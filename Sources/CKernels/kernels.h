/// What the levels share: their function table, the formats' layouts and the vector types.
#ifndef AK_KERNELS_H
#define AK_KERNELS_H

#include "CKernels.h"

#if defined(__x86_64__)
#define AK_X86_LEVELS 1
#else
#define AK_X86_LEVELS 0
#endif

enum {
    AK_LANES = 16,     ///< virtual lanes of every sum; a multiple of each CPU's own
    AK_STRIP = 64,     ///< columns of a strip of the packed right factor
    AK_TILE_ROWS = 4,  ///< rows that are computed together
};

/// One level's functions, named as in the public header.
struct ak_kernels {
    void (*widen_f32)(enum ak_dtype, const void *, float *, size_t);
    void (*widen_f64)(enum ak_dtype, const void *, double *, size_t);
    size_t (*round_f64)(enum ak_dtype, const double *, void *, size_t);
    size_t (*nonfinite)(enum ak_dtype, const void *, size_t);
    void (*update16)(enum ak_dtype, const void *, void *, void *, uint64_t *, size_t, size_t, const float *, const float *,
                     const double *, size_t, void *, struct ak_stats *);
    void (*delta_f64)(const double *, const double *, size_t, size_t, size_t, double *);
    void (*finish)(enum ak_dtype, const void *, size_t, enum ak_dtype, void *, size_t, size_t, size_t,
                   const double *, size_t, const double *, const double *, double, double, struct ak_stats *);
    void (*row_sumsq)(enum ak_dtype, const void *, size_t, size_t, size_t, const double *, size_t, double, double *);
    void (*col_sumsq)(enum ak_dtype, const void *, size_t, size_t, size_t, const double *, size_t, double, double *);
    void (*product_f64)(size_t, size_t, size_t, const double *, ptrdiff_t, ptrdiff_t, const double *, ptrdiff_t,
                        ptrdiff_t, double *, ptrdiff_t);
    double (*dot_f64)(const double *, const double *, size_t);
    void (*apply_f64)(enum ak_dtype, const void *, size_t, size_t, size_t, const double *, size_t, size_t, double *,
                      size_t);
    void (*axpy_f64)(double, const double *, double *, size_t);
    void (*rotate_f64)(double, double, double *, double *, size_t);
    void (*attend_f32)(const float *, const float *, const float *, size_t, size_t, size_t, double, double *, float *);
    void (*swiglu_exact_f32)(const float *, const float *, float *, size_t);
    void (*sift_f64)(double *, size_t, uint32_t);
    void (*balance_f64)(const double *, double *, size_t, bool);
    void (*agree_f64)(const double *, const double *, double, double *, double *, size_t);
    void (*share_f64)(double *, const double *, size_t);
    void (*planes_split)(size_t, const void *, uint8_t *, size_t, bool);
    void (*planes_join)(size_t, const uint8_t *, void *, size_t, bool);
    void (*zigzag_difference)(size_t, const void *, const void *, void *, size_t);
    void (*zigzag_undo)(size_t, const void *, const void *, void *, size_t);
    void (*group_gather)(size_t, const void *, const void *, void *, size_t, int);
    void (*group_scatter)(size_t, const void *, const void *, void *, size_t, int);
    void (*joint_split)(size_t, const void *, uint8_t *, size_t);
    void (*joint_join)(size_t, const uint8_t *, void *, size_t);
    void (*histogram)(const uint8_t *, size_t, uint32_t[256]);
    size_t (*run_symbols)(const uint8_t *, size_t, uint32_t[286]);
    float (*dot_f32)(const float *, const float *, size_t);
    void (*axpy_f32)(float, const float *, float *, size_t);
    float (*softmax_f32)(float *, size_t, float);
    void (*softmax_again_f32)(float *, size_t, float, float);
    void (*softmax_back_f32)(const float *, float *, size_t, float);
    void (*swiglu_f32)(const float *, const float *, float *, size_t);
    void (*swiglu_back_f32)(const float *, const float *, const float *, float *, float *, size_t);
    float (*rms_f32)(const float *, const float *, float *, size_t, float);
    void (*rms_back_f32)(const float *, const float *, float, const float *, float *, float *, size_t);
    void (*turn_f32)(float *, const float *, const float *, size_t);
    void (*adamw_f32)(float *, const float *, float *, float *, size_t, struct ak_adamw);
    void (*small_product_f32)(size_t, size_t, size_t, const float *, ptrdiff_t, ptrdiff_t, const float *, ptrdiff_t, bool,
                              float *, ptrdiff_t);
    void (*transpose_f32)(size_t, size_t, const float *, ptrdiff_t, float *, ptrdiff_t);
};

extern const struct ak_kernels ak_kernels_baseline;
#if AK_X86_LEVELS
extern const struct ak_kernels ak_kernels_v3;
extern const struct ak_kernels ak_kernels_v4;
#endif

/// How many of r products are summed in one go. Small ranks gain too little from groups to pay for them.
static inline size_t ak_group(size_t r) { return r <= 16 ? 16 : 8; }

/// The weight of step k of r (from zero) in the norms that bound a sum's rounding error: the roundings of its group from
/// k on, the additions of groups that its group takes part in, and the rounding of L. See `update16.inc.h`.
static inline double ak_step_weight(size_t k, size_t r) {
    size_t group = ak_group(r), own = k / group, groups = (r + group - 1) / group;
    size_t end = (own + 1) * group < r ? (own + 1) * group : r;
    size_t additions = own == 0 ? groups - 1 : groups - own;
    return (double)(end - k + additions + 1);
}

/// A format no wider than 32 bits: sign, exponent and mantissa from the top.
struct format {
    int width;           ///< bits of an element
    int mantissa;        ///< bits of the stored mantissa
    int bias;            ///< of the exponent
    uint64_t largest;    ///< the greatest finite magnitude, as bits
    uint64_t too_large;  ///< what finite values beyond it become
    uint64_t infinity;   ///< what infinities become; magnitudes above `largest` are not finite
    uint64_t nan;        ///< the canonical NaN
    double unit;         ///< the smallest subnormal number
};

static const struct format format_f32 = {
    32, 23, 127, 0x7f7fffff, 0x7f800000, 0x7f800000, 0x7fc00000, 0x1p-149};
static const struct format format_f16 = {16, 10, 15, 0x7bff, 0x7c00, 0x7c00, 0x7e00, 0x1p-24};
static const struct format format_bf16 = {16, 7, 127, 0x7f7f, 0x7f80, 0x7f80, 0x7fc0, 0x1p-133};
static const struct format format_e4m3 = {8, 3, 7, 0x7e, 0x7e, 0x7f, 0x7f, 0x1p-9};
static const struct format format_e5m2 = {8, 2, 15, 0x7b, 0x7b, 0x7c, 0x7e, 0x1p-16};

// Sixteen lanes at every level: the compiler splits them into what the registers hold.
typedef float vf16 __attribute__((vector_size(64)));
typedef int32_t vi16 __attribute__((vector_size(64)));
typedef uint32_t vu16 __attribute__((vector_size(64)));
typedef uint16_t vh16 __attribute__((vector_size(32)));
typedef double vd16 __attribute__((vector_size(128)));
typedef int64_t vl16 __attribute__((vector_size(128)));

#endif
