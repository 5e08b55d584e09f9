/// Conversion between formats on their bits, written so that the compiler can vectorize the loops.

AK_INLINE double double_of_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

AK_INLINE uint64_t bits_of_double(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

AK_INLINE uint32_t bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/// The float64 bits of an element. Subnormals go by way of an integer, which no processor mode flushes to zero.
AK_INLINE uint64_t widen64(uint32_t bits, const struct format f) {
    uint64_t sign = (uint64_t)(bits >> (f.width - 1)) << 63;
    uint64_t magnitude = bits & ((UINT64_C(1) << (f.width - 1)) - 1);
    uint64_t shifted = magnitude << (52 - f.mantissa);
    uint64_t normal = shifted + ((uint64_t)(1023 - f.bias) << 52);
    uint64_t subnormal = bits_of_double((double)(int32_t)magnitude * f.unit);
    uint64_t finite = magnitude >> f.mantissa ? normal : subnormal;
    return sign | (magnitude > f.largest ? shifted | UINT64_C(0x7ff) << 52 : finite);
}

/// The float32 bits of an element of F16 or F8, whose subnormals are normal in float32.
AK_INLINE uint32_t widen32(uint32_t bits, const struct format f) {
    uint32_t sign = bits >> (f.width - 1) << 31;
    uint32_t magnitude = bits & ((1u << (f.width - 1)) - 1);
    uint32_t shifted = magnitude << (23 - f.mantissa);
    uint32_t normal = shifted + ((uint32_t)(127 - f.bias) << 23);
    uint32_t subnormal = bits_of_float((float)(int32_t)magnitude * (float)f.unit);
    uint32_t finite = magnitude >> f.mantissa ? normal : subnormal;
    return sign | (magnitude > (uint32_t)f.largest ? shifted | 0x7f800000u : finite);
}

/// Rounds a float64, given as bits, to nearest even; `*overflow` grows if it was finite and too large.
AK_INLINE uint32_t round_bits(uint64_t bits, const struct format f, size_t *overflow) {
    const uint64_t infinity = UINT64_C(0x7ff) << 52;
    const int64_t lowest = 1024 - f.bias;  // the float64 exponent of the smallest normal number
    uint64_t sign = bits >> 63 << (f.width - 1);
    uint64_t magnitude = bits & ~(UINT64_C(1) << 63);
    int64_t exponent = (int64_t)(magnitude >> 52);
    int64_t ceiling = exponent > lowest ? exponent : lowest;
    // Below the smallest normal number, more bits fall off; from 54 on nothing is left, not even of float64's
    // subnormals, which have no hidden bit.
    int64_t shift = 52 - f.mantissa + (ceiling - exponent);
    shift = shift < 54 ? shift : 54;
    uint64_t significand = (magnitude & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
    uint64_t odd = significand >> shift & 1;
    uint64_t rounded = (significand + (UINT64_C(1) << (shift - 1)) - 1 + odd) >> shift;
    // The hidden bit of a normal number, or the carry out of a subnormal one, adds one to the exponent.
    rounded += (uint64_t)(ceiling - lowest) << f.mantissa;
    bool too_large = (rounded > f.largest) & (magnitude < infinity);
    *overflow += too_large;
    rounded = too_large ? f.too_large : rounded;
    rounded = magnitude == infinity ? f.infinity : rounded;
    bool is_nan = magnitude > infinity || (magnitude == infinity && f.infinity == f.nan);
    return (uint32_t)(is_nan ? f.nan : rounded | sign);
}

#define AK_WIDEN_LOOP(TYPE, BITS, WIDEN, FORMAT)                    \
    for (size_t i = 0; i < n; i++) {                                \
        BITS bits = WIDEN(((const TYPE *)src)[i], FORMAT);          \
        memcpy(dst + i, &bits, sizeof bits);                        \
    }                                                               \
    return

static void widen_f64(enum ak_dtype dtype, const void *restrict src, double *restrict dst, size_t n) {
    switch (dtype) {
    case AK_F64: memcpy(dst, src, n * sizeof *dst); return;
    case AK_F32: AK_WIDEN_LOOP(uint32_t, uint64_t, widen64, format_f32);
    case AK_F16: AK_WIDEN_LOOP(uint16_t, uint64_t, widen64, format_f16);
    case AK_BF16: AK_WIDEN_LOOP(uint16_t, uint64_t, widen64, format_bf16);
    case AK_F8_E4M3: AK_WIDEN_LOOP(uint8_t, uint64_t, widen64, format_e4m3);
    case AK_F8_E5M2: AK_WIDEN_LOOP(uint8_t, uint64_t, widen64, format_e5m2);
    }
}

#define AK_ROUND_LOOP(TYPE, FORMAT)                                                   \
    for (size_t i = 0; i < n; i++)                                                    \
        ((TYPE *)dst)[i] = (TYPE)round_bits(bits_of_double(src[i]), FORMAT, &overflow); \
    return overflow

static size_t round_f64(enum ak_dtype dtype, const double *restrict src, void *restrict dst, size_t n) {
    size_t overflow = 0;
    switch (dtype) {
    case AK_F64:
        for (size_t i = 0; i < n; i++) {
            uint64_t bits = bits_of_double(src[i]);
            uint64_t magnitude = bits & ~(UINT64_C(1) << 63);
            ((uint64_t *)dst)[i] = magnitude > UINT64_C(0x7ff) << 52 ? UINT64_C(0x7ff8) << 48 : bits;
        }
        return 0;
    case AK_F32: AK_ROUND_LOOP(uint32_t, format_f32);
    case AK_F16: AK_ROUND_LOOP(uint16_t, format_f16);
    case AK_BF16: AK_ROUND_LOOP(uint16_t, format_bf16);
    case AK_F8_E4M3: AK_ROUND_LOOP(uint8_t, format_e4m3);
    case AK_F8_E5M2: AK_ROUND_LOOP(uint8_t, format_e5m2);
    }
    return 0;
}

AK_INLINE uint32_t shift_bf16(uint32_t bits, const struct format f) { return bits << (32 - f.width); }

static void widen_f32(enum ak_dtype dtype, const void *restrict src, float *restrict dst, size_t n) {
    switch (dtype) {
    case AK_F64: round_f64(AK_F32, src, dst, n); return;
    case AK_F32: memcpy(dst, src, n * sizeof *dst); return;
    case AK_F16: AK_WIDEN_LOOP(uint16_t, uint32_t, widen32, format_f16);
    case AK_BF16: AK_WIDEN_LOOP(uint16_t, uint32_t, shift_bf16, format_bf16);
    case AK_F8_E4M3: AK_WIDEN_LOOP(uint8_t, uint32_t, widen32, format_e4m3);
    case AK_F8_E5M2: AK_WIDEN_LOOP(uint8_t, uint32_t, widen32, format_e5m2);
    }
}

#define AK_NONFINITE_LOOP(TYPE, LARGEST)                                               \
    for (size_t i = 0; i < n; i++)                                                     \
        count += (((const TYPE *)src)[i] & (TYPE)((TYPE)~(TYPE)0 >> 1)) > (TYPE)(LARGEST); \
    return count

static size_t nonfinite(enum ak_dtype dtype, const void *src, size_t n) {
    size_t count = 0;
    switch (dtype) {
    case AK_F64: AK_NONFINITE_LOOP(uint64_t, UINT64_C(0x7fefffffffffffff));
    case AK_F32: AK_NONFINITE_LOOP(uint32_t, format_f32.largest);
    case AK_F16: AK_NONFINITE_LOOP(uint16_t, format_f16.largest);
    case AK_BF16: AK_NONFINITE_LOOP(uint16_t, format_bf16.largest);
    case AK_F8_E4M3: AK_NONFINITE_LOOP(uint8_t, format_e4m3.largest);
    case AK_F8_E5M2: AK_NONFINITE_LOOP(uint8_t, format_e5m2.largest);
    }
    return 0;
}
