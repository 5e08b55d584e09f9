/// What a training step does beside products: float32, in sixteen lanes. Bits may differ between levels, as those of the
/// products do; on one machine they are always the same.

/// Up to sixteen numbers, the rest filled up.
AK_INLINE vf16 part_f(const float *p, size_t n, float fill) {
    vf16 v = splat_f(fill);
    memcpy(&v, p, n * sizeof *p);
    return v;
}

AK_INLINE void store_f(float *p, vf16 v, size_t n) { memcpy(p, &v, n * sizeof *p); }

AK_INLINE float sum_f(vf16 v) {
    for (int half = AK_LANES / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++) v[lane] += v[lane + half];
    return v[0];
}

AK_INLINE float max_f(vf16 v) {
    float m = v[0];
    for (int lane = 1; lane < AK_LANES; lane++) m = v[lane] > m ? v[lane] : m;
    return m;
}

/// e^x to about one unit in the last place: 2^k e^r with |r| <= ln 2 / 2, a polynomial for e^r. NaN and infinities give NaN.
AK_INLINE vf16 exp_f(vf16 x) {
    vf16 odd = x - x;
    x = __builtin_elementwise_max(__builtin_elementwise_min(x, splat_f(88.3f)), splat_f(-87.3f));
    vf16 shifted = muladd_f(x, splat_f(1.44269504f), splat_f(12582912.0f));
    vf16 k = shifted - splat_f(12582912.0f);
    vf16 r = muladd_f(k, splat_f(-0.693359375f), x);
    r = muladd_f(k, splat_f(2.12194440e-4f), r);
    vf16 p = splat_f(1.0f / 5040);
    p = muladd_f(p, r, splat_f(1.0f / 720));
    p = muladd_f(p, r, splat_f(1.0f / 120));
    p = muladd_f(p, r, splat_f(1.0f / 24));
    p = muladd_f(p, r, splat_f(1.0f / 6));
    p = muladd_f(p, r, splat_f(0.5f));
    p = muladd_f(p, r, splat_f(1.0f));
    p = muladd_f(p, r, splat_f(1.0f));
    vi16 power = (__builtin_convertvector(k, vi16) + 127) << 23;
    return muladd_f(p, (vf16)power, odd);
}

AK_INLINE vf16 sigmoid_f(vf16 x) { return splat_f(1) / (splat_f(1) + exp_f(-x)); }

/// Runs `body` for whole vectors, then for the rest; `at` and `n` are where it is and how many count.
#define EACH_VECTOR(total, body)                                        \
    do {                                                                \
        size_t at = 0;                                                  \
        for (; at + AK_LANES <= (total); at += AK_LANES) {              \
            const size_t n = AK_LANES;                                  \
            body                                                        \
        }                                                               \
        if (at < (total)) {                                             \
            const size_t n = (total) - at;                              \
            body                                                        \
        }                                                               \
    } while (0)

static float dot_f32(const float *x, const float *y, size_t count) {
    vf16 sum = splat_f(0);
    EACH_VECTOR(count, { sum = muladd_f(part_f(x + at, n, 0), part_f(y + at, n, 0), sum); });
    return sum_f(sum);
}

static void axpy_f32(float factor, const float *x, float *y, size_t count) {
    vf16 f = splat_f(factor);
    EACH_VECTOR(count, { store_f(y + at, muladd_f(f, part_f(x + at, n, 0), part_f(y + at, n, 0)), n); });
}

static float softmax_f32(float *row, size_t count, float scale) {
    vf16 top = splat_f(-__FLT_MAX__), f = splat_f(scale), sum = splat_f(0);
    EACH_VECTOR(count, { top = __builtin_elementwise_max(top, part_f(row + at, n, -__FLT_MAX__) * f); });
    float max = max_f(top);
    EACH_VECTOR(count, {
        vf16 e = exp_f(muladd_f(part_f(row + at, n, 0), f, splat_f(-max)));
        store_f(row + at, e, n);
        sum += part_f(row + at, n, 0);
    });
    float total = sum_f(sum);
    vf16 share = splat_f(1 / total);
    EACH_VECTOR(count, { store_f(row + at, part_f(row + at, n, 0) * share, n); });
    return max + logf(total);
}

static void softmax_again_f32(float *row, size_t count, float scale, float lse) {
    EACH_VECTOR(count, {
        store_f(row + at, exp_f(muladd_f(part_f(row + at, n, 0), splat_f(scale), splat_f(-lse))), n);
    });
}

static void softmax_back_f32(const float *p, float *dp, size_t count, float scale) {
    vf16 mean = splat_f(dot_f32(p, dp, count));
    EACH_VECTOR(count, {
        store_f(dp + at, part_f(p + at, n, 0) * (part_f(dp + at, n, 0) - mean) * splat_f(scale), n);
    });
}

static void swiglu_f32(const float *gate, const float *up, float *out, size_t count) {
    EACH_VECTOR(count, {
        vf16 g = part_f(gate + at, n, 0);
        store_f(out + at, g * sigmoid_f(g) * part_f(up + at, n, 0), n);
    });
}

static void swiglu_back_f32(const float *gate, const float *up, const float *dout, float *dgate, float *dup,
                            size_t count) {
    EACH_VECTOR(count, {
        vf16 g = part_f(gate + at, n, 0);
        vf16 u = part_f(up + at, n, 0);
        vf16 d = part_f(dout + at, n, 0);
        vf16 s = sigmoid_f(g);
        store_f(dup + at, d * g * s, n);
        store_f(dgate + at, d * u * s * (splat_f(1) + g * (splat_f(1) - s)), n);
    });
}

static float rms_f32(const float *x, const float *weight, float *y, size_t count, float epsilon) {
    float inverse = 1 / sqrtf(dot_f32(x, x, count) / (float)count + epsilon);
    EACH_VECTOR(count, { store_f(y + at, part_f(x + at, n, 0) * splat_f(inverse) * part_f(weight + at, n, 0), n); });
    return inverse;
}

static void rms_back_f32(const float *x, const float *weight, float inverse, const float *dy, float *dx, float *dweight,
                         size_t count) {
    vf16 sum = splat_f(0);
    EACH_VECTOR(count, {
        vf16 along = part_f(x + at, n, 0) * part_f(dy + at, n, 0);
        if (dweight) store_f(dweight + at, muladd_f(along, splat_f(inverse), part_f(dweight + at, n, 0)), n);
        sum = muladd_f(along, part_f(weight + at, n, 0), sum);
    });
    if (!dx) return;
    vf16 back = splat_f(-sum_f(sum) * inverse * inverse * inverse / (float)count);
    EACH_VECTOR(count, {
        vf16 direct = part_f(dy + at, n, 0) * part_f(weight + at, n, 0) * splat_f(inverse);
        store_f(dx + at, part_f(dx + at, n, 0) + muladd_f(back, part_f(x + at, n, 0), direct), n);
    });
}

static void turn_f32(float *head, const float *cosines, const float *sines, size_t half) {
    EACH_VECTOR(half, {
        vf16 a = part_f(head + at, n, 0);
        vf16 b = part_f(head + half + at, n, 0);
        vf16 c = part_f(cosines + at, n, 0);
        vf16 s = part_f(sines + at, n, 0);
        store_f(head + at, a * c - b * s, n);
        store_f(head + half + at, b * c + a * s, n);
    });
}

static void adamw_f32(float *weight, const float *gradient, float *first, float *second, size_t count,
                      struct ak_adamw step) {
    float shrink = 1 - step.rate * step.decay, size = step.rate / step.first_correction;
    vf16 root = splat_f(1 / sqrtf(step.second_correction));
    EACH_VECTOR(count, {
        vf16 g = part_f(gradient + at, n, 0) * splat_f(step.gradient_scale);
        vf16 m = part_f(first + at, n, 0);
        m = muladd_f(splat_f(1 - step.beta1), g - m, m);
        vf16 v = muladd_f(splat_f(1 - step.beta2) * g, g, part_f(second + at, n, 0) * splat_f(step.beta2));
        vf16 w = part_f(weight + at, n, 0) * splat_f(shrink);
        vf16 below = muladd_f(__builtin_elementwise_sqrt(v), root, splat_f(step.epsilon));
        store_f(first + at, m, n);
        store_f(second + at, v, n);
        store_f(weight + at, w - splat_f(size) * m / below, n);
    });
}
