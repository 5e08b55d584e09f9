/// What the packed archive does to elements before they are deflated: rotated, as differences, in groups, cut into planes.
/// Elements are little-endian and aligned. Also the counts from which the size of a deflated plane is estimated.

#define AK_PLANE_KERNELS(W, T, S)                                                                                     \
    static void split_##W(const T *src, uint8_t *planes, size_t n, int rotate) {                                      \
        for (size_t p = 0; p < sizeof(T); p++) {                                                                      \
            uint8_t *plane = planes + p * n;                                                                          \
            int shift = (int)(8 * (sizeof(T) - 1 - p));                                                               \
            if (rotate)                                                                                               \
                for (size_t at = 0; at < n; at++)                                                                     \
                    plane[at] = (uint8_t)((T)((T)(src[at] << 1) | (T)(src[at] >> (8 * sizeof(T) - 1))) >> shift);     \
            else                                                                                                      \
                for (size_t at = 0; at < n; at++) plane[at] = (uint8_t)(src[at] >> shift);                            \
        }                                                                                                             \
    }                                                                                                                 \
    static void difference_##W(const T *a, const T *b, T *out, size_t n) {                                            \
        for (size_t at = 0; at < n; at++) {                                                                           \
            T d = (T)(a[at] - b[at]);                                                                                 \
            out[at] = (T)((T)(d << 1) ^ (T)((S)d >> (8 * sizeof(T) - 1)));                                            \
        }                                                                                                             \
    }                                                                                                                 \
    static void undifference_##W(const T *z, const T *b, T *out, size_t n) {                                          \
        for (size_t at = 0; at < n; at++)                                                                             \
            out[at] = (T)(b[at] + (T)((T)(z[at] >> 1) ^ (T)(0 - (T)(z[at] & 1))));                                    \
    }                                                                                                                 \
    static void places_##W(const T *b, size_t n, int shift, size_t start[256]) {                                      \
        size_t count[256] = {0};                                                                                      \
        for (size_t at = 0; at < n; at++) count[(b[at] >> shift) & 255]++;                                            \
        size_t sum = 0;                                                                                               \
        for (int group = 0; group < 256; group++) {                                                                   \
            start[group] = sum;                                                                                       \
            sum += count[group];                                                                                      \
        }                                                                                                             \
    }                                                                                                                 \
    static void gather_##W(const T *values, const T *b, T *out, size_t n, int shift) {                                \
        size_t next[256];                                                                                             \
        places_##W(b, n, shift, next);                                                                                \
        for (size_t at = 0; at < n; at++) out[next[(b[at] >> shift) & 255]++] = values[at];                           \
    }                                                                                                                 \
    static void scatter_##W(const T *grouped, const T *b, T *out, size_t n, int shift) {                              \
        size_t next[256];                                                                                             \
        places_##W(b, n, shift, next);                                                                                \
        for (size_t at = 0; at < n; at++) out[at] = grouped[next[(b[at] >> shift) & 255]++];                          \
    }

AK_PLANE_KERNELS(1, uint8_t, int8_t)
AK_PLANE_KERNELS(2, uint16_t, int16_t)
AK_PLANE_KERNELS(4, uint32_t, int32_t)
AK_PLANE_KERNELS(8, uint64_t, int64_t)

static void join_1(const uint8_t *planes, uint8_t *out, size_t n, int rotate) {
    for (size_t at = 0; at < n; at++) {
        uint8_t v = planes[at];
        out[at] = rotate ? (uint8_t)(v >> 1 | v << 7) : v;
    }
}

static void join_2(const uint8_t *planes, uint16_t *out, size_t n, int rotate) {
    const uint8_t *high = planes, *low = planes + n;
    if (rotate)
        for (size_t at = 0; at < n; at++) {
            uint16_t v = (uint16_t)(high[at] << 8 | low[at]);
            out[at] = (uint16_t)(v >> 1 | v << 15);
        }
    else
        for (size_t at = 0; at < n; at++) out[at] = (uint16_t)(high[at] << 8 | low[at]);
}

static void join_4(const uint8_t *planes, uint32_t *out, size_t n, int rotate) {
    const uint8_t *a = planes, *b = a + n, *c = b + n, *d = c + n;
    int right = rotate ? 1 : 0, left = rotate ? 31 : 0;
    for (size_t at = 0; at < n; at++) {
        uint32_t v = (uint32_t)a[at] << 24 | (uint32_t)b[at] << 16 | (uint32_t)c[at] << 8 | d[at];
        out[at] = v >> right | (rotate ? v << left : 0);
    }
}

static void join_8(const uint8_t *planes, uint64_t *out, size_t n, int rotate) {
    for (size_t at = 0; at < n; at++) {
        uint64_t v = 0;
        for (size_t p = 0; p < 8; p++) v = v << 8 | planes[p * n + at];
        out[at] = rotate ? v >> 1 | v << 63 : v;
    }
}

#define AK_BY_WIDTH(NAME, ...)                                                                                        \
    switch (width) {                                                                                                  \
    case 1: NAME##_1(__VA_ARGS__); break;                                                                             \
    case 2: NAME##_2(__VA_ARGS__); break;                                                                             \
    case 4: NAME##_4(__VA_ARGS__); break;                                                                             \
    default: NAME##_8(__VA_ARGS__); break;                                                                            \
    }

static void planes_split(size_t width, const void *src, uint8_t *planes, size_t n, bool rotate) {
    AK_BY_WIDTH(split, src, planes, n, rotate)
}

static void planes_join(size_t width, const uint8_t *planes, void *out, size_t n, bool rotate) {
    AK_BY_WIDTH(join, planes, out, n, rotate)
}

static void zigzag_difference(size_t width, const void *a, const void *b, void *out, size_t n) {
    AK_BY_WIDTH(difference, a, b, out, n)
}

static void zigzag_undo(size_t width, const void *z, const void *b, void *out, size_t n) {
    AK_BY_WIDTH(undifference, z, b, out, n)
}

static void group_gather(size_t width, const void *values, const void *b, void *out, size_t n, int shift) {
    AK_BY_WIDTH(gather, values, b, out, n, shift)
}

static void group_scatter(size_t width, const void *grouped, const void *b, void *out, size_t n, int shift) {
    AK_BY_WIDTH(scatter, grouped, b, out, n, shift)
}

/// The joint code: of each rotated element, the two top bits go to a plane of their own, four to a byte; the next eight bits
/// and any further whole bytes are planes; the six bits that are left are packed, four to three bytes. What is packed together
/// comes from the four quarters of the chunk, so that all of it is done by vectors.
#define AK_JOINT_KERNELS(W, T)                                                                                        \
    AK_INLINE T turned_##W(T v) { return (T)((T)(v << 1) | (T)(v >> (8 * W - 1))); }                                  \
    AK_INLINE uint8_t top_##W(T v) { return (uint8_t)(turned_##W(v) >> (8 * W - 2)); }                                \
    AK_INLINE uint8_t six_##W(T v) { return (uint8_t)(turned_##W(v) & 63); }                                          \
    static void joint_split_##W(const T *restrict src, uint8_t *restrict planes, size_t n) {                          \
        for (size_t p = 0; p + 1 < W; p++) {                                                                          \
            uint8_t *restrict plane = planes + p * n;                                                                 \
            for (size_t at = 0; at < n; at++) plane[at] = (uint8_t)(turned_##W(src[at]) >> (8 * (W - 2 - p) + 6));    \
        }                                                                                                             \
        size_t q = (n + 3) / 4;                                                                                       \
        uint8_t *restrict a = planes + (W - 1) * n, *restrict b = a + q, *restrict c = b + q, *restrict t = c + q;    \
        size_t full = n > 3 * q ? n - 3 * q : 0;                                                                      \
        for (size_t at = 0; at < full; at++) {                                                                        \
            T v = src[at], w = src[at + q], x = src[at + 2 * q], y = src[at + 3 * q];                                 \
            uint8_t last = six_##W(y);                                                                                \
            a[at] = (uint8_t)(six_##W(v) | last << 6);                                                                \
            b[at] = (uint8_t)(six_##W(w) | (last >> 2) << 6);                                                         \
            c[at] = (uint8_t)(six_##W(x) | (last >> 4) << 6);                                                         \
            t[at] = (uint8_t)(top_##W(v) | top_##W(w) << 2 | top_##W(x) << 4 | top_##W(y) << 6);                      \
        }                                                                                                             \
        for (size_t at = full; at < q; at++) {                                                                        \
            T v = src[at], w = at + q < n ? src[at + q] : 0, x = at + 2 * q < n ? src[at + 2 * q] : 0;                \
            a[at] = six_##W(v);                                                                                       \
            b[at] = six_##W(w);                                                                                       \
            c[at] = six_##W(x);                                                                                       \
            t[at] = (uint8_t)(top_##W(v) | top_##W(w) << 2 | top_##W(x) << 4);                                        \
        }                                                                                                             \
    }                                                                                                                 \
    AK_INLINE void joint_quarter_##W(const uint8_t *restrict planes, size_t n, const uint8_t *restrict packed,        \
                                     size_t q, size_t k, T *restrict out) {                                           \
        const uint8_t *restrict a = packed, *restrict b = a + q, *restrict c = b + q, *restrict t = c + q;            \
        const uint8_t *restrict own = packed + (k < 3 ? k : 0) * q;                                                   \
        size_t count = k * q >= n ? 0 : n - k * q < q ? n - k * q : q;                                                \
        for (size_t at = 0; at < count; at++) {                                                                       \
            T v = (T)(t[at] >> (2 * k) & 3);                                                                          \
            for (size_t p = 0; p + 1 < W; p++) v = (T)((T)(v << 8) | planes[p * n + k * q + at]);                     \
            uint8_t six = (uint8_t)(k < 3 ? own[at] & 63 : a[at] >> 6 | (b[at] >> 6) << 2 | (c[at] >> 6) << 4);       \
            v = (T)((T)(v << 6) | six);                                                                               \
            out[k * q + at] = (T)((T)(v >> 1) | (T)(v << (8 * W - 1)));                                               \
        }                                                                                                             \
    }                                                                                                                 \
    static void joint_join_##W(const uint8_t *restrict planes, T *restrict out, size_t n) {                           \
        size_t q = (n + 3) / 4;                                                                                       \
        const uint8_t *packed = planes + (W - 1) * n;                                                                 \
        joint_quarter_##W(planes, n, packed, q, 0, out);                                                              \
        joint_quarter_##W(planes, n, packed, q, 1, out);                                                              \
        joint_quarter_##W(planes, n, packed, q, 2, out);                                                              \
        joint_quarter_##W(planes, n, packed, q, 3, out);                                                              \
    }

AK_JOINT_KERNELS(2, uint16_t)
AK_JOINT_KERNELS(4, uint32_t)
AK_JOINT_KERNELS(8, uint64_t)

static void joint_split(size_t width, const void *src, uint8_t *planes, size_t n) {
    switch (width) {
    case 2: joint_split_2(src, planes, n); break;
    case 4: joint_split_4(src, planes, n); break;
    default: joint_split_8(src, planes, n); break;
    }
}

static void joint_join(size_t width, const uint8_t *planes, void *out, size_t n) {
    switch (width) {
    case 2: joint_join_2(planes, out, n); break;
    case 4: joint_join_4(planes, out, n); break;
    default: joint_join_8(planes, out, n); break;
    }
}

/// How often each byte occurs. Four tables, so that equal neighbours do not wait for each other.
static void histogram(const uint8_t *src, size_t n, uint32_t counts[256]) {
    uint32_t own[4][256];
    memset(own, 0, sizeof own);
    size_t at = 0;
    for (; at + 4 <= n; at += 4)
        for (size_t k = 0; k < 4; k++) own[k][src[at + k]]++;
    for (; at < n; at++) own[0][src[at]]++;
    for (size_t value = 0; value < 256; value++)
        counts[value] = own[0][value] + own[1][value] + own[2][value] + own[3][value];
}

/// The symbols that run-length deflate makes: literals (0 to 255) and lengths (257 to 285, RFC 1951 section 3.2.5).
/// Returns the extra bits of the lengths; the number of matches is that of the length symbols.
static size_t run_symbols(const uint8_t *src, size_t n, uint32_t counts[286]) {
    memset(counts, 0, 286 * sizeof *counts);
    size_t extra = 0;
    for (size_t at = 0; at < n;) {
        size_t length = 0;
        if (at > 0 && src[at] == src[at - 1]) {
            size_t most = n - at < 258 ? n - at : 258;
            while (length < most && src[at + length] == src[at - 1]) length++;
        }
        if (length < 3) {
            counts[src[at++]]++;
            continue;
        }
        at += length;
        if (length == 258) {
            counts[285]++;
        } else if (length < 11) {
            counts[254 + length]++;
        } else {
            int bits = 0;
            for (size_t rest = (length - 3) >> 3; rest > 0; rest >>= 1) bits++;
            counts[257 + 4 * (size_t)bits + ((length - 3) >> bits)]++;
            extra += (size_t)bits;
        }
    }
    return extra;
}
