/// What a decoder needs besides products: exp, attention of one query, SwiGLU.

/// e^x to 1e-11 of itself for |x| < 700, which is what it is taken for beyond; NaN stays NaN.
///
/// x = k ln 2 + r, e^r by its Taylor polynomial. The same bits at every level, which the C library's exp does not promise.
AK_INLINE vd16 exp_d(vd16 x) {
    const vd16 limit = splat_d(700), magic = splat_d(0x1.8p52);
    vl16 high = x > limit, low = x < -limit;
    x = (vd16)(((vl16)limit & high) | ((vl16)(-limit) & low) | ((vl16)x & ~(high | low)));
    // The sum's last bits are k; they are shifted into the exponent below.
    vd16 shifted = x * splat_d(0x1.71547652b82fep+0) + magic;
    vd16 k = shifted - magic;
    vd16 r = fma_d(k, splat_d(-0x1.62e42fefa3800p-1), x);
    r = fma_d(k, splat_d(-0x1.ef35793c76730p-45), r);
    vd16 sum = splat_d(1.0 / 3628800);
    const double factors[] = {1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1, 1};
    for (int i = 0; i < 10; i++) sum = fma_d(sum, r, splat_d(factors[i]));
    return (vd16)((vl16)sum + ((vl16)shifted << 52));
}

/// The product of a head's query with one key, both of `width` numbers.
AK_INLINE double attend_score(const double *query, const float *key, size_t width) {
    vd16 sum = splat_d(0);
    size_t at = 0;
    for (; at + AK_LANES <= width; at += AK_LANES)
        sum = fma_d(load_d(query + at), __builtin_convertvector(load_f(key + at), vd16), sum);
    double lanes[AK_LANES];
    memcpy(lanes, &sum, sizeof lanes);
    for (size_t lane = 0; at + lane < width; lane++)
        lanes[lane] = fma(query[at + lane], (double)key[at + lane], lanes[lane]);
    return lane_sum(lanes);
}

/// Scores become e^(score - largest), behind them zeros up to a multiple of the lanes; their sum.
AK_INLINE double attend_shares(double *scores, size_t count) {
    double largest = scores[0];
    for (size_t j = 1; j < count; j++) largest = scores[j] > largest ? scores[j] : largest;
    size_t padded = (count + AK_LANES - 1) / AK_LANES * AK_LANES;
    for (size_t j = count; j < padded; j++) scores[j] = largest;
    vd16 top = splat_d(largest), sum = splat_d(0);
    for (size_t j = 0; j < padded; j += AK_LANES) {
        vd16 share = exp_d(load_d(scores + j) - top);
        memcpy(scores + j, &share, sizeof share);
    }
    for (size_t j = count; j < padded; j++) scores[j] = 0;
    for (size_t j = 0; j < padded; j += AK_LANES) sum += load_d(scores + j);
    double lanes[AK_LANES];
    memcpy(lanes, &sum, sizeof lanes);
    return lane_sum(lanes);
}

static void attend_f32(const float *query, const float *keys, const float *values, size_t stride, size_t count,
                       size_t width, double scale, double *scratch, float *out) {
    double *scaled = scratch, *scores = scratch + width;
    for (size_t i = 0; i < width; i++) scaled[i] = (double)query[i] * scale;
    for (size_t j = 0; j < count; j++) scores[j] = attend_score(scaled, keys + j * stride, width);
    double factor = 1 / attend_shares(scores, count);
    size_t at = 0;
    for (; at + AK_LANES <= width; at += AK_LANES) {
        vd16 sum = splat_d(0);
        for (size_t j = 0; j < count; j++)
            sum = fma_d(splat_d(scores[j]), __builtin_convertvector(load_f(values + j * stride + at), vd16), sum);
        vf16 rounded = __builtin_convertvector(sum * splat_d(factor), vf16);
        memcpy(out + at, &rounded, sizeof rounded);
    }
    for (; at < width; at++) {
        double sum = 0;
        for (size_t j = 0; j < count; j++) sum = fma(scores[j], (double)values[j * stride + at], sum);
        out[at] = (float)(sum * factor);
    }
}

static void swiglu_exact_f32(const float *gate, const float *up, float *out, size_t n) {
    for (size_t at = 0; at < n; at += AK_LANES) {
        size_t count = n - at < AK_LANES ? n - at : AK_LANES;
        float g[AK_LANES] = {0}, u[AK_LANES] = {0};
        memcpy(g, gate + at, count * sizeof *g);
        memcpy(u, up + at, count * sizeof *u);
        vd16 x = __builtin_convertvector(load_f(g), vd16);
        vd16 y = x / (splat_d(1) + exp_d(-x)) * __builtin_convertvector(load_f(u), vd16);
        vf16 rounded = __builtin_convertvector(y, vf16);
        memcpy(g, &rounded, sizeof rounded);
        memcpy(out + at, g, count * sizeof *g);
    }
}
