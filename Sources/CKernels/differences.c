#include "include/CKernels.h"
#include <string.h>

/// Where two runs of elements differ, for records in which few do (formats/undo-record.md).

/// How many bytes from `a` and `b` on are equal, in steps of 32; at most `n`.
static size_t equal_steps(const uint8_t *a, const uint8_t *b, size_t n) {
    size_t at = 0;
    for (; at + 32 <= n; at += 32) {
        uint64_t x[4], y[4];
        memcpy(x, a + at, 32);
        memcpy(y, b + at, 32);
        if (((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3])) != 0) break;
    }
    return at;
}

#define AK_SPARSE(W, T, S)                                                                                            \
    static bool gather_##W(const T *a, const T *b, size_t n, struct ak_sparse *out, size_t most) {                    \
        size_t gap = 0, at = 0;                                                                                       \
        while (at < n) {                                                                                              \
            size_t same = equal_steps((const uint8_t *)(a + at), (const uint8_t *)(b + at), (n - at) * sizeof(T));    \
            gap += same / sizeof(T);                                                                                  \
            at += same / sizeof(T);                                                                                   \
            size_t end = at + 32 / sizeof(T) < n ? at + 32 / sizeof(T) : n;                                           \
            for (; at < end; at++) {                                                                                  \
                if (a[at] == b[at]) {                                                                                 \
                    gap++;                                                                                            \
                    continue;                                                                                         \
                }                                                                                                     \
                if (out->value_count == most) return false;                                                           \
                for (; gap >= 255; gap -= 255) out->gaps[out->gap_count++] = 255;                                     \
                out->gaps[out->gap_count++] = (uint8_t)gap;                                                           \
                gap = 0;                                                                                              \
                T d = (T)(a[at] - b[at]);                                                                             \
                T z = (T)((T)(d << 1) ^ (T)((S)d >> (8 * sizeof(T) - 1)));                                            \
                out->values[out->value_count++] = (uint8_t)(z < 255 ? z : 255);                                       \
                if (z >= 255) {                                                                                       \
                    memcpy(out->rests + out->rest_count, &z, sizeof(T));                                              \
                    out->rest_count += sizeof(T);                                                                     \
                }                                                                                                     \
            }                                                                                                         \
        }                                                                                                             \
        return true;                                                                                                  \
    }                                                                                                                 \
    static bool scatter_##W(const struct ak_sparse *in, T *inout, size_t n) {                                         \
        size_t at = 0, value = 0, rest = 0;                                                                           \
        for (size_t k = 0; k < in->gap_count; k++) {                                                                  \
            at += in->gaps[k];                                                                                        \
            if (in->gaps[k] == 255) continue;                                                                         \
            if (at >= n || value == in->value_count) return false;                                                    \
            T z = in->values[value++];                                                                                \
            if (z == 255) {                                                                                           \
                if (in->rest_count - rest < sizeof(T)) return false;                                                  \
                memcpy(&z, in->rests + rest, sizeof(T));                                                              \
                rest += sizeof(T);                                                                                    \
            }                                                                                                         \
            inout[at] = (T)(inout[at] + (T)((T)(z >> 1) ^ (T)(0 - (T)(z & 1))));                                      \
            at++;                                                                                                     \
        }                                                                                                             \
        return value == in->value_count && rest == in->rest_count;                                                    \
    }

AK_SPARSE(1, uint8_t, int8_t)
AK_SPARSE(2, uint16_t, int16_t)
AK_SPARSE(4, uint32_t, int32_t)
AK_SPARSE(8, uint64_t, int64_t)

bool ak_sparse_gather(size_t width, const void *a, const void *b, size_t n, struct ak_sparse *out, size_t most) {
    out->gap_count = out->value_count = out->rest_count = 0;
    switch (width) {
    case 1: return gather_1(a, b, n, out, most);
    case 2: return gather_2(a, b, n, out, most);
    case 4: return gather_4(a, b, n, out, most);
    default: return gather_8(a, b, n, out, most);
    }
}

bool ak_sparse_scatter(size_t width, const struct ak_sparse *in, void *inout, size_t n) {
    switch (width) {
    case 1: return scatter_1(in, inout, n);
    case 2: return scatter_2(in, inout, n);
    case 4: return scatter_4(in, inout, n);
    default: return scatter_8(in, inout, n);
    }
}
