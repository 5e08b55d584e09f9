/// Picks the instruction level at run time and sends every call there.
#include "kernels.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic int chosen = -1;

static const char *const names[] = {"baseline", "v3", "v4"};
enum { LEVELS = sizeof names / sizeof *names };

const char *ak_level_name(int level) { return level >= 0 && level < LEVELS ? names[level] : NULL; }

int ak_level_best(void) {
#if AK_X86_LEVELS
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")))
        return AK_LEVEL_BASELINE;
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")))
        return AK_LEVEL_V3;
    return AK_LEVEL_V4;
#else
    return AK_LEVEL_BASELINE;
#endif
}

/// The level that the environment names, -1 for none; -2 if it names none that can be used.
static int variable_level(void) {
    const char *value = getenv("ADAPTERKIT_CPU");
    if (value == NULL || *value == 0) return -1;
    for (int level = 0; level <= ak_level_best(); level++)
        if (strcmp(value, names[level]) == 0) return level;
    return -2;
}

bool ak_level_variable_ok(void) { return variable_level() != -2; }

static int default_level(void) {
    int level = variable_level();
    return level >= 0 ? level : ak_level_best();
}

int ak_level(void) {
    int level = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (level >= 0) return level;
    // Threads that come here together may all store, but the same value; what was forced meanwhile stands.
    int unset = -1;
    level = default_level();
    return atomic_compare_exchange_strong(&chosen, &unset, level) ? level : unset;
}

int ak_level_force(int level) {
    if (level < 0) level = default_level();
    if (level <= ak_level_best()) atomic_store(&chosen, level);
    return ak_level();
}

static const struct ak_kernels *kernels(void) {
#if AK_X86_LEVELS
    switch (ak_level()) {
    case AK_LEVEL_V4: return &ak_kernels_v4;
    case AK_LEVEL_V3: return &ak_kernels_v3;
    default: break;
    }
#endif
    return &ak_kernels_baseline;
}

size_t ak_dtype_size(enum ak_dtype dtype) {
    switch (dtype) {
    case AK_F64: return 8;
    case AK_F32: return 4;
    case AK_F16:
    case AK_BF16: return 2;
    case AK_F8_E4M3:
    case AK_F8_E5M2: return 1;
    }
    return 0;
}

void ak_widen_f32(enum ak_dtype dtype, const void *src, float *dst, size_t n) {
    kernels()->widen_f32(dtype, src, dst, n);
}

void ak_widen_f64(enum ak_dtype dtype, const void *src, double *dst, size_t n) {
    kernels()->widen_f64(dtype, src, dst, n);
}

size_t ak_round_f64(enum ak_dtype dtype, const double *src, void *dst, size_t n) {
    return kernels()->round_f64(dtype, src, dst, n);
}

size_t ak_nonfinite(enum ak_dtype dtype, const void *src, size_t n) { return kernels()->nonfinite(dtype, src, n); }

size_t ak_update16_scratch(size_t rows, size_t r) {
    // Two floats of each row, rounded up to whole cache lines, and L in tiles of four rows.
    size_t padded = (rows + AK_LANES - 1) / AK_LANES * AK_LANES;
    return (2 * padded + padded * r) * sizeof(float);
}

void ak_update16(enum ak_dtype dtype, const void *weights, void *out, size_t rows, size_t cols, const float *packed,
                 const float *colnorm, const double *left, size_t r, void *scratch, struct ak_stats *stats) {
    kernels()->update16(dtype, weights, out, NULL, NULL, rows, cols, packed, colnorm, left, r, scratch, stats);
}

void ak_update16_back(enum ak_dtype dtype, const void *weights, void *out, void *back, uint64_t *differs, size_t rows,
                      size_t cols, const float *packed, const float *colnorm, const double *left, size_t r, void *scratch,
                      struct ak_stats *stats) {
    kernels()->update16(dtype, weights, out, back, differs, rows, cols, packed, colnorm, left, r, scratch, stats);
}

void ak_delta_f64(const double *right, const double *left, size_t rows, size_t r, size_t cols, double *delta) {
    kernels()->delta_f64(right, left, rows, r, cols, delta);
}

void ak_finish(enum ak_dtype in, const void *weights, size_t ldw, enum ak_dtype outd, void *out, size_t ldo,
               size_t rows, size_t cols, const double *delta, size_t ldd, const double *row_factor,
               const double *col_factor, double in_scale, double out_scale, struct ak_stats *stats) {
    kernels()->finish(in, weights, ldw, outd, out, ldo, rows, cols, delta, ldd, row_factor, col_factor, in_scale,
                      out_scale, stats);
}

void ak_row_sumsq(enum ak_dtype in, const void *weights, size_t ldw, size_t rows, size_t cols, const double *delta,
                  size_t ldd, double in_scale, double *sums) {
    kernels()->row_sumsq(in, weights, ldw, rows, cols, delta, ldd, in_scale, sums);
}

void ak_col_sumsq(enum ak_dtype in, const void *weights, size_t ldw, size_t rows, size_t cols, const double *delta,
                  size_t ldd, double in_scale, double *sums) {
    kernels()->col_sumsq(in, weights, ldw, rows, cols, delta, ldd, in_scale, sums);
}

void ak_product_f64(size_t rows, size_t cols, size_t depth, const double *a, ptrdiff_t a_row, ptrdiff_t a_step,
                    const double *b, ptrdiff_t b_row, ptrdiff_t b_step, double *c, ptrdiff_t ldc) {
    kernels()->product_f64(rows, cols, depth, a, a_row, a_step, b, b_row, b_step, c, ldc);
}

double ak_dot_f64(const double *x, const double *y, size_t n) { return kernels()->dot_f64(x, y, n); }

void ak_apply_f64(enum ak_dtype dtype, const void *weights, size_t ldw, size_t rows, size_t depth, const double *x,
                  size_t ldx, size_t count, double *out, size_t ldo) {
    kernels()->apply_f64(dtype, weights, ldw, rows, depth, x, ldx, count, out, ldo);
}

void ak_axpy_f64(double factor, const double *x, double *y, size_t n) { kernels()->axpy_f64(factor, x, y, n); }

void ak_rotate_f64(double cosine, double sine, double *x, double *y, size_t n) {
    kernels()->rotate_f64(cosine, sine, x, y, n);
}

size_t ak_attend_scratch(size_t count, size_t width) { return width + (count + AK_LANES - 1) / AK_LANES * AK_LANES; }

void ak_attend_f32(const float *query, const float *keys, const float *values, size_t stride, size_t count, size_t width,
                   double scale, double *scratch, float *out) {
    kernels()->attend_f32(query, keys, values, stride, count, width, scale, scratch, out);
}

void ak_swiglu_exact_f32(const float *gate, const float *up, float *out, size_t n) {
    kernels()->swiglu_exact_f32(gate, up, out, n);
}

void ak_sift_f64(double *values, size_t n, uint32_t bits) { kernels()->sift_f64(values, n, bits); }

void ak_balance_f64(const double *values, double *balance, size_t n, bool signs) {
    kernels()->balance_f64(values, balance, n, signs);
}

void ak_agree_f64(const double *values, const double *balance, double weight, double *sum, double *count, size_t n) {
    kernels()->agree_f64(values, balance, weight, sum, count, n);
}

void ak_share_f64(double *sum, const double *count, size_t n) { kernels()->share_f64(sum, count, n); }

void ak_planes_split(size_t width, const void *src, uint8_t *planes, size_t n, bool rotate) {
    kernels()->planes_split(width, src, planes, n, rotate);
}

void ak_planes_join(size_t width, const uint8_t *planes, void *out, size_t n, bool rotate) {
    kernels()->planes_join(width, planes, out, n, rotate);
}

void ak_zigzag_difference(size_t width, const void *a, const void *b, void *out, size_t n) {
    kernels()->zigzag_difference(width, a, b, out, n);
}

void ak_zigzag_undo(size_t width, const void *z, const void *b, void *out, size_t n) {
    kernels()->zigzag_undo(width, z, b, out, n);
}

void ak_group_gather(size_t width, const void *values, const void *b, void *out, size_t n, int shift) {
    kernels()->group_gather(width, values, b, out, n, shift);
}

void ak_group_scatter(size_t width, const void *grouped, const void *b, void *out, size_t n, int shift) {
    kernels()->group_scatter(width, grouped, b, out, n, shift);
}

void ak_joint_split(size_t width, const void *src, uint8_t *planes, size_t n) {
    kernels()->joint_split(width, src, planes, n);
}

void ak_joint_join(size_t width, const uint8_t *planes, void *out, size_t n) {
    kernels()->joint_join(width, planes, out, n);
}

void ak_histogram(const uint8_t *src, size_t n, uint32_t counts[256]) { kernels()->histogram(src, n, counts); }

size_t ak_run_symbols(const uint8_t *src, size_t n, uint32_t counts[286]) {
    return kernels()->run_symbols(src, n, counts);
}

float ak_dot_f32(const float *x, const float *y, size_t n) { return kernels()->dot_f32(x, y, n); }

void ak_axpy_f32(float factor, const float *x, float *y, size_t n) { kernels()->axpy_f32(factor, x, y, n); }

float ak_softmax_f32(float *row, size_t n, float scale) { return kernels()->softmax_f32(row, n, scale); }

void ak_softmax_again_f32(float *row, size_t n, float scale, float lse) {
    kernels()->softmax_again_f32(row, n, scale, lse);
}

void ak_softmax_back_f32(const float *p, float *dp, size_t n, float scale) {
    kernels()->softmax_back_f32(p, dp, n, scale);
}

void ak_swiglu_f32(const float *gate, const float *up, float *out, size_t n) { kernels()->swiglu_f32(gate, up, out, n); }

void ak_swiglu_back_f32(const float *gate, const float *up, const float *dout, float *dgate, float *dup, size_t n) {
    kernels()->swiglu_back_f32(gate, up, dout, dgate, dup, n);
}

float ak_rms_f32(const float *x, const float *weight, float *y, size_t n, float epsilon) {
    return kernels()->rms_f32(x, weight, y, n, epsilon);
}

void ak_rms_back_f32(const float *x, const float *weight, float inverse, const float *dy, float *dx, float *dweight,
                     size_t n) {
    kernels()->rms_back_f32(x, weight, inverse, dy, dx, dweight, n);
}

void ak_turn_f32(float *head, const float *cosines, const float *sines, size_t half) {
    kernels()->turn_f32(head, cosines, sines, half);
}

void ak_adamw_f32(float *weight, const float *gradient, float *first, float *second, size_t n, struct ak_adamw step) {
    kernels()->adamw_f32(weight, gradient, first, second, n, step);
}

void ak_small_product_f32(size_t rows, size_t cols, size_t depth, const float *a, ptrdiff_t a_row, ptrdiff_t a_step,
                          const float *b, ptrdiff_t ldb, bool adding, float *c, ptrdiff_t ldc) {
    kernels()->small_product_f32(rows, cols, depth, a, a_row, a_step, b, ldb, adding, c, ldc);
}

void ak_transpose_f32(size_t rows, size_t cols, const float *a, ptrdiff_t lda, float *b, ptrdiff_t ldb) {
    kernels()->transpose_f32(rows, cols, a, lda, b, ldb);
}
