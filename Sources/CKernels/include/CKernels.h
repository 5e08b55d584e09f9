/// Number formats and the arithmetic of a merge, for the CPU at hand.
///
/// Every result is defined without reference to how it is computed, so every instruction set gives the same bits:
///
///     D = sum of L[i,k] * R[k,j] for k ascending, each step one fused multiply-add in float64, from zero
///     x = W[i,j] + D in float64
///     out = x rounded once, to nearest, ties to even
///
/// Where a faster way to the same bits exists it comes with a proof (see `update16.inc.h`) and a fallback.
///
/// Matrices are row-major. Sizes count elements unless they say bytes. No function here allocates, blocks or keeps
/// state apart from the chosen level; all may be called from any thread.
#ifndef CKERNELS_H
#define CKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// The floating-point formats of tensors. E4M3 is the "FN" kind: no infinities, one NaN of each sign.
enum ak_dtype { AK_F64, AK_F32, AK_F16, AK_BF16, AK_F8_E4M3, AK_F8_E5M2 };

/// Bytes of one element.
size_t ak_dtype_size(enum ak_dtype dtype);

// MARK: Instruction levels

/// What the CPU offers, from least to most. On other CPUs than x86-64 only the first exists.
enum ak_level { AK_LEVEL_BASELINE, AK_LEVEL_V3, AK_LEVEL_V4 };

/// The highest level that this CPU has.
int ak_level_best(void);

/// The level in use: the best, unless the environment's `ADAPTERKIT_CPU` (`baseline`, `v3` or `v4`) lowers it.
int ak_level(void);

/// Uses `level` from now on, in all threads, or with a negative number what `ak_level` would choose. A level that
/// this CPU lacks changes nothing. Returns the level in use.
int ak_level_force(int level);

/// `baseline`, `v3` or `v4`; NULL for any other number.
const char *ak_level_name(int level);

/// Whether `ADAPTERKIT_CPU` is unset, empty, or names a level that this CPU has; otherwise it is ignored.
bool ak_level_variable_ok(void);

// MARK: Conversion
//
// Conversions work on bits and are exact for subnormals whatever the processor's flush-to-zero mode. A NaN that is
// rounded becomes the format's canonical quiet NaN, positive. A finite value too large becomes an infinity in F32,
// F16 and BF16, and the largest finite number in the F8 formats. An infinity stays one, or becomes NaN in E4M3.

/// Widens `n` elements to float32: exactly, but for F64, which is rounded once.
void ak_widen_f32(enum ak_dtype dtype, const void *src, float *dst, size_t n);

/// Widens `n` elements to float64, exactly.
void ak_widen_f64(enum ak_dtype dtype, const void *src, double *dst, size_t n);

/// Rounds `n` numbers once. Returns how many were finite and too large.
size_t ak_round_f64(enum ak_dtype dtype, const double *src, void *dst, size_t n);

/// How many of `n` elements are NaN or infinite.
size_t ak_nonfinite(enum ak_dtype dtype, const void *src, size_t n);

// MARK: Statistics

/// What an update did; each function adds to what is there.
///
/// The sums have a fixed order (16 lanes by column modulo 16, joined in pairs at the end of the call), so equal calls
/// give equal bits on any CPU. Calls over differently cut row blocks may differ in the last bits: who wants the same
/// bits for any number of threads cuts blocks the same way and adds their results in order.
///
/// Elements whose W or D is not finite count in `elements` and `nonfinite` only. Elements that became infinite are
/// left out of `error2`.
struct ak_stats {
    double delta2;       ///< sum of D^2
    double weight2;      ///< sum of W^2
    double error2;       ///< sum of ((out - W) - D)^2: what rounding lost
    uint64_t elements;   ///< elements seen
    uint64_t nonzero;    ///< D is not zero
    uint64_t swallowed;  ///< D is not zero, yet out has W's very bits
    uint64_t overflow;   ///< finite, but too large for the output's format
    uint64_t nonfinite;  ///< not finite because W or D was not
};

// MARK: Low-rank update of 16-bit weights

/// Elements of the packed right factor: strips of 64 columns, each [k][64], padded with zeros.
size_t ak_packed_count(size_t r, size_t cols);

/// Elements of the column norms: `cols` rounded up to a multiple of 64.
size_t ak_colnorm_count(size_t cols);

/// Packs R (r x cols, element (k, j) at `right[k * row_stride + j * col_stride]`) for `ak_update16`, once per module.
/// `colnorm` gets an upper bound of a weighted 2-norm of each column, from which rounding errors are bounded.
void ak_pack_right(const float *right, ptrdiff_t row_stride, ptrdiff_t col_stride, size_t r, size_t cols,
                   float *packed, float *colnorm);

/// Bytes of scratch memory for `ak_update16`; a multiple of 64.
size_t ak_update16_scratch(size_t rows, size_t r);

/// out = round(W + L R) for `rows` x `cols` weights of BF16 or F16, contiguous; `out` may be `weights` itself.
///
/// `left` is rows x r and already scaled; `scratch` is aligned to 64 bytes. `stats` may be NULL. Its D is the float32
/// sum here, good to 24 bits; squares below 2^-149 count as zero.
void ak_update16(enum ak_dtype dtype, const void *weights, void *out, size_t rows, size_t cols, const float *packed,
                 const float *colnorm, const double *left, size_t r, void *scratch, struct ak_stats *stats);

/// The same, and back = round(out - L R), rounded once: what the weights would be if the update were taken out again.
///
/// `back` has the bits that `ak_update16` gives for `out` and -L; it, `weights` and `out` are apart. `differs` gets a bit for
/// each element of which `back` is not the weight: rows of (cols + 63) / 64 words, the first column in the lowest bit.
void ak_update16_back(enum ak_dtype dtype, const void *weights, void *out, void *back, uint64_t *differs, size_t rows,
                      size_t cols, const float *packed, const float *colnorm, const double *left, size_t r,
                      void *scratch, struct ak_stats *stats);

// MARK: The general path

/// delta = L R in float64; `right` is r x cols, `left` rows x r, `delta` rows x cols, all contiguous.
void ak_delta_f64(const double *right, const double *left, size_t rows, size_t r, size_t cols, double *delta);

/// out = round((W * in_scale + delta) * row_factor[i] * col_factor[j] / out_scale), from left to right in float64.
///
/// `delta`, `row_factor` and `col_factor` may be NULL, and then take no part: without a delta, -0 stays -0. `ld*` are
/// the elements from one row to the next. `out` may be `weights` if both have the same element size and row length.
/// In `stats` (may be NULL) W is W * in_scale, out is out * out_scale, and D the whole intended change: delta if there
/// are no factors, else what precedes the division minus W. An element is swallowed if W alone would have been stored
/// as the same bits.
void ak_finish(enum ak_dtype in, const void *weights, size_t ldw, enum ak_dtype outd, void *out, size_t ldo,
               size_t rows, size_t cols, const double *delta, size_t ldd, const double *row_factor,
               const double *col_factor, double in_scale, double out_scale, struct ak_stats *stats);

/// sums[i] = sum over j of (W * in_scale + delta)^2; `delta` may be NULL. Overwrites `sums`.
void ak_row_sumsq(enum ak_dtype in, const void *weights, size_t ldw, size_t rows, size_t cols, const double *delta,
                  size_t ldd, double in_scale, double *sums);

/// sums[j] += (W * in_scale + delta)^2 for each row in order; `delta` may be NULL.
void ak_col_sumsq(enum ak_dtype in, const void *weights, size_t ldw, size_t rows, size_t cols, const double *delta,
                  size_t ldd, double in_scale, double *sums);

// MARK: Linear algebra in float64

/// c(i, j) += sum of a(i, k) * b(k, j) for k ascending from 0 to depth, each step one fused multiply-add.
///
/// a(i, k) is at `a[i * a_row + k * a_step]`, b(k, j) at `b[k * b_row + j * b_step]`, so that either may lie transposed;
/// c is row-major, `ldc` elements from one row to the next, and overlaps neither.
void ak_product_f64(size_t rows, size_t cols, size_t depth, const double *a, ptrdiff_t a_row, ptrdiff_t a_step,
                    const double *b, ptrdiff_t b_row, ptrdiff_t b_step, double *c, ptrdiff_t ldc);

/// The sum of x[i] * y[i], in 16 lanes by i modulo 16, each in order by fused multiply-adds, joined in pairs.
double ak_dot_f64(const double *x, const double *y, size_t n);

/// out(i, j) = sum over k of W(j, k) * x(i, k): `count` vectors through a matrix of `rows` x `depth`, stored in any format.
///
/// Each sum is that of `ak_dot_f64`: 16 lanes by k modulo 16, each in order by fused multiply-adds, joined in pairs. It
/// depends on its row and its vector alone, not on how many there are. `ld*` are the elements from one row to the next.
void ak_apply_f64(enum ak_dtype dtype, const void *weights, size_t ldw, size_t rows, size_t depth, const double *x,
                  size_t ldx, size_t count, double *out, size_t ldo);

/// y[i] = fma(factor, x[i], y[i]).
void ak_axpy_f64(double factor, const double *x, double *y, size_t n);

/// (x, y) = (c x - s y, c y + s x), each as fma(c, first, rounded product).
void ak_rotate_f64(double cosine, double sine, double *x, double *y, size_t n);

// MARK: Decoding

/// Doubles of scratch memory for `ak_attend_f32`.
size_t ak_attend_scratch(size_t count, size_t width);

/// out = sum over j of softmax(scale * query . key j) * value j, for one head of `width` numbers and `count` > 0 positions.
///
/// Keys and values of successive positions are `stride` elements apart. Everything is computed in float64, in an order
/// that depends on the sizes alone, with an exp of its own that is good to 1e-11, and rounded once.
void ak_attend_f32(const float *query, const float *keys, const float *values, size_t stride, size_t count, size_t width,
                   double scale, double *scratch, float *out);

/// out = gate / (1 + exp(-gate)) * up, in float64 with the same exp, rounded once; `out` may be either.
void ak_swiglu_exact_f32(const float *gate, const float *up, float *out, size_t n);

/// Tells the processor that this thread waits for another.
static inline void ak_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}


// MARK: Sparse methods, element by element

/// Zeroes values whose magnitude, as the bits of a float32, is below `bits`.
void ak_sift_f64(double *values, size_t n, uint32_t bits);

/// balance[i] += values[i], or its sign.
void ak_balance_f64(const double *values, double *balance, size_t n, bool signs);

/// Where values[i] has the sign of balance[i] (of which 0 counts as positive): sum[i] += weight * values[i], count[i] += 1.
void ak_agree_f64(const double *values, const double *balance, double weight, double *sum, double *count, size_t n);

/// sum[i] /= max(count[i], 1).
void ak_share_f64(double *sum, const double *count, size_t n);

// MARK: Planes of the packed archive (formats/adapter-archive.md); elements have a width of 1, 2, 4 or 8 bytes

/// Cuts n elements into planes, most significant bytes first: byte p of element i goes to `planes[p * n + i]`. With
/// `rotate`, each element is rotated left by one bit before.
void ak_planes_split(size_t width, const void *src, uint8_t *planes, size_t n, bool rotate);

/// The inverse of `ak_planes_split`.
void ak_planes_join(size_t width, const uint8_t *planes, void *out, size_t n, bool rotate);

/// out[i] = a[i] - b[i] as a signed number in zigzag form: 2d if d >= 0, else -2d - 1.
void ak_zigzag_difference(size_t width, const void *a, const void *b, void *out, size_t n);

/// The inverse: out[i] = b[i] + d.
void ak_zigzag_undo(size_t width, const void *z, const void *b, void *out, size_t n);

/// Orders values by the groups (b[i] >> shift) & 255, stably.
void ak_group_gather(size_t width, const void *values, const void *b, void *out, size_t n, int shift);

/// The inverse of `ak_group_gather`.
void ak_group_scatter(size_t width, const void *grouped, const void *b, void *out, size_t n, int shift);

/// Cuts n elements of 2, 4 or 8 bytes into width + 1 planes. Each is rotated left by one bit; of the result, the bits from the
/// third on make width - 1 planes of whole bytes, the last six bits are packed four to three bytes, and the top two bits four
/// to a byte, always one element from each quarter of the chunk. Needs (width - 1) * n + 4 * ceil(n / 4) bytes.
void ak_joint_split(size_t width, const void *src, uint8_t *planes, size_t n);

/// The inverse of `ak_joint_split`.
void ak_joint_join(size_t width, const uint8_t *planes, void *out, size_t n);

/// How often each byte occurs.
void ak_histogram(const uint8_t *src, size_t n, uint32_t counts[256]);

/// How often deflate would use each literal or length, if it took runs of equal bytes only; returns the lengths' extra bits.
size_t ak_run_symbols(const uint8_t *src, size_t n, uint32_t counts[286]);

// MARK: Where two runs of elements differ (formats/undo-record.md); elements have a width of 1, 2, 4 or 8 bytes

/// How many elements of a are not those of b.
size_t ak_sparse_count(size_t width, const void *a, const void *b, size_t n);

/// Bytes of room that the stream of `count` differences of n elements may need.
size_t ak_sparse_room(size_t width, size_t n, size_t count);

/// Describes a - b, of which `count` > 0 elements of n < 2^32 are not zero, as a stream of bits; returns its bytes.
size_t ak_sparse_gather(size_t width, const void *a, const void *b, size_t n, size_t count, uint8_t *out);

/// The same for rows x cols elements of two bytes, of which `differs` tells where they differ, as `ak_update16_back` does.
size_t ak_sparse_gather_marked(const uint16_t *a, const uint16_t *b, const uint64_t *differs, size_t rows, size_t cols,
                               size_t count, uint8_t *out);

/// How many bits of `differs` are set.
size_t ak_marked_count(const uint64_t *differs, size_t rows, size_t cols);

/// Adds the differences to the n elements of `inout`; false if they do not describe n elements.
bool ak_sparse_scatter(size_t width, const uint8_t *stream, size_t length, void *inout, size_t n);

// MARK: What a training step does beside products, in float32; NaN and infinities come out as NaN or infinities

/// The sum of x[i] * y[i].
float ak_dot_f32(const float *x, const float *y, size_t n);

/// y += factor * x.
void ak_axpy_f32(float factor, const float *x, float *y, size_t n);

/// Makes scale * row a distribution, by its softmax; returns the logarithm of the sum of e^(scale * row).
float ak_softmax_f32(float *row, size_t n, float scale);

/// The same once more, where that logarithm is known.
void ak_softmax_again_f32(float *row, size_t n, float scale, float lse);

/// From the derivative by p = softmax(scale * row), in dp, makes that by row, in place.
void ak_softmax_back_f32(const float *p, float *dp, size_t n, float scale);

/// out = gate * sigmoid(gate) * up.
void ak_swiglu_f32(const float *gate, const float *up, float *out, size_t n);

/// Derivatives of that by gate and up, from that by out.
void ak_swiglu_back_f32(const float *gate, const float *up, const float *dout, float *dgate, float *dup, size_t n);

/// y = weight * x / sqrt(mean(x^2) + epsilon); returns one over that root.
float ak_rms_f32(const float *x, const float *weight, float *y, size_t n, float epsilon);

/// Adds the derivatives of that to dx and dweight, each unless it is NULL.
void ak_rms_back_f32(const float *x, const float *weight, float inverse, const float *dy, float *dx, float *dweight,
                     size_t n);

/// Turns the pairs (i, i + half) of one head by the angles of one position.
void ak_turn_f32(float *head, const float *cosines, const float *sines, size_t half);

/// One step of AdamW.
struct ak_adamw {
    float rate, beta1, beta2, epsilon, decay;
    float first_correction, second_correction;  ///< 1 - beta^t
    float gradient_scale;                       ///< what gradients are multiplied with first
};

/// Updates weights and both moments.
void ak_adamw_f32(float *weight, const float *gradient, float *first, float *second, size_t n, struct ak_adamw step);

/// c (rows x cols) = a * b, or that added to it, for matrices that the caches hold; a(i, k) is at a[i * a_row + k * a_step], rows
/// of b (depth x cols) and c are `ldb` and `ldc` apart. A sum's order depends on nothing but `depth`.
void ak_small_product_f32(size_t rows, size_t cols, size_t depth, const float *a, ptrdiff_t a_row, ptrdiff_t a_step,
                          const float *b, ptrdiff_t ldb, bool adding, float *c, ptrdiff_t ldc);

/// b (cols x rows) = the transpose of a (rows x cols).
void ak_transpose_f32(size_t rows, size_t cols, const float *a, ptrdiff_t lda, float *b, ptrdiff_t ldb);

#endif
