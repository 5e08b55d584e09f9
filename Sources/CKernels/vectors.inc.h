/// Sixteen-lane arithmetic.

AK_INLINE vf16 load_f(const float *p) {
    vf16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

AK_INLINE vd16 load_d(const double *p) {
    vd16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

AK_INLINE vh16 load_h(const uint16_t *p) {
    vh16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

AK_INLINE vf16 splat_f(float s) { return (vf16){s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s}; }

AK_INLINE vd16 splat_d(double s) { return (vd16){s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s}; }

/// One rounding of a * b + c in float32.
///
/// Without the instruction: the product is exact in float64, and the sum is rounded to odd there, which leaves the
/// rounding to float32 what it would have made of the exact sum.
AK_INLINE vf16 fma_f(vf16 a, vf16 b, vf16 c) {
#if AK_HAS_FMA
    return __builtin_elementwise_fma(a, b, c);
#else
    vd16 product = __builtin_convertvector(a, vd16) * __builtin_convertvector(b, vd16);
    vd16 addend = __builtin_convertvector(c, vd16);
    vd16 sum = product + addend;
    vd16 added = sum - product;
    vd16 lost = (product - (sum - added)) + (addend - added);
    vl16 inexact = (lost > 0) | (lost < 0);  // not so if anything is infinite or NaN
    vl16 past = ((lost > 0) ^ (sum > 0)) & inexact;
    vl16 odd = ((vl16)sum + past) | (inexact & 1);  // back towards zero where the sum went past, then sticky
    return __builtin_convertvector((vd16)odd, vf16);
#endif
}

/// a * b + c in float32 with any rounding: for bounds, not for results.
AK_INLINE vf16 muladd_f(vf16 a, vf16 b, vf16 c) {
#if AK_HAS_FMA
    return __builtin_elementwise_fma(a, b, c);
#else
    return a * b + c;
#endif
}

/// One rounding of a * b + c in float64; without the instruction the C library's, slow but right.
AK_INLINE vd16 fma_d(vd16 a, vd16 b, vd16 c) {
#if AK_HAS_FMA
    return __builtin_elementwise_fma(a, b, c);
#else
    for (int lane = 0; lane < AK_LANES; lane++) c[lane] = fma(a[lane], b[lane], c[lane]);
    return c;
#endif
}

/// The sum of the lanes, joined in pairs in a fixed order.
AK_INLINE double lane_sum(const double *lanes) {
    double sums[AK_LANES];
    memcpy(sums, lanes, sizeof sums);
    for (int half = AK_LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
    return sums[0];
}
