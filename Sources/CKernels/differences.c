#include "include/CKernels.h"
#include <string.h>

#define AK_INLINE static inline __attribute__((always_inline))

/// Where two runs of elements differ, for records in which few do (formats/undo-record.md).

/// A token below SKIP: TOKEN / 2 equal elements, then one that is 1 more (even) or less (odd). SKIP: so many equal ones and
/// none that differs. LARGE: the next token counts the equal ones, and a difference of its own comes after them.
enum { SKIP = 252, LARGE = 253, SKIPPED = SKIP / 2 };

#define AK_SPARSE(W, T, S)                                                                                            \
    AK_INLINE bool note_##W(struct ak_sparse *out, size_t *gap, T d, size_t most) {                                   \
        if (out->token_count >= most) return false;                                                                   \
        for (; *gap >= SKIPPED; *gap -= SKIPPED) out->tokens[out->token_count++] = SKIP;                              \
        T z = (T)((T)(d << 1) ^ (T)((S)d >> (8 * sizeof(T) - 1)));                                                    \
        if (z <= 2) {                                                                                                 \
            out->tokens[out->token_count++] = (uint8_t)(2 * *gap + (z & 1));                                          \
        } else {                                                                                                      \
            out->tokens[out->token_count++] = LARGE;                                                                  \
            out->tokens[out->token_count++] = (uint8_t)*gap;                                                          \
            out->values[out->value_count++] = (uint8_t)(z < 255 ? z : 255);                                           \
            if (z >= 255) {                                                                                           \
                memcpy(out->rests + out->rest_count, &z, sizeof(T));                                                  \
                out->rest_count += sizeof(T);                                                                         \
            }                                                                                                         \
        }                                                                                                             \
        *gap = 0;                                                                                                     \
        return true;                                                                                                  \
    }                                                                                                                 \
    static bool gather_##W(const T *a, const T *b, size_t n, struct ak_sparse *out, size_t most) {                    \
        const size_t step = 8 / sizeof(T);                                                                            \
        size_t gap = 0, at = 0;                                                                                       \
        for (; at + step <= n; at += step) {                                                                          \
            uint64_t x, y;                                                                                            \
            memcpy(&x, a + at, 8);                                                                                    \
            memcpy(&y, b + at, 8);                                                                                    \
            x ^= y;                                                                                                   \
            size_t done = 0;                                                                                          \
            while (x != 0) {                                                                                          \
                size_t lane = (size_t)__builtin_ctzll(x) / (8 * sizeof(T));                                           \
                gap += lane - done;                                                                                   \
                if (!note_##W(out, &gap, (T)(a[at + lane] - b[at + lane]), most)) return false;                       \
                done = lane + 1;                                                                                      \
                x &= done == step ? 0 : ~UINT64_C(0) << (8 * sizeof(T) * done % 64);                                  \
            }                                                                                                         \
            gap += step - done;                                                                                       \
        }                                                                                                             \
        for (; at < n; at++) {                                                                                        \
            if (a[at] == b[at])                                                                                       \
                gap++;                                                                                                \
            else if (!note_##W(out, &gap, (T)(a[at] - b[at]), most))                                                  \
                return false;                                                                                         \
        }                                                                                                             \
        return true;                                                                                                  \
    }                                                                                                                 \
    static bool scatter_##W(const struct ak_sparse *in, T *inout, size_t n) {                                         \
        size_t at = 0, value = 0, rest = 0;                                                                           \
        for (size_t k = 0; k < in->token_count; k++) {                                                                \
            uint8_t token = in->tokens[k];                                                                            \
            if (token == SKIP) {                                                                                      \
                at += SKIPPED;                                                                                        \
                continue;                                                                                             \
            }                                                                                                         \
            T z = token & 1 ? 1 : 2;                                                                                  \
            if (token == LARGE) {                                                                                     \
                if (++k == in->token_count || value == in->value_count) return false;                                 \
                at += in->tokens[k];                                                                                  \
                z = in->values[value++];                                                                              \
                if (z == 255) {                                                                                       \
                    if (in->rest_count - rest < sizeof(T)) return false;                                              \
                    memcpy(&z, in->rests + rest, sizeof(T));                                                          \
                    rest += sizeof(T);                                                                                \
                }                                                                                                     \
            } else if (token > LARGE) {                                                                               \
                return false;                                                                                         \
            } else {                                                                                                  \
                at += token / 2;                                                                                      \
            }                                                                                                         \
            if (at >= n) return false;                                                                                \
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
    out->token_count = out->value_count = out->rest_count = 0;
    switch (width) {
    case 1: return gather_1(a, b, n, out, most);
    case 2: return gather_2(a, b, n, out, most);
    case 4: return gather_4(a, b, n, out, most);
    default: return gather_8(a, b, n, out, most);
    }
}

bool ak_sparse_gather_marked(const uint16_t *a, const uint16_t *b, const uint64_t *differs, size_t rows, size_t cols,
                             struct ak_sparse *out, size_t most) {
    out->token_count = out->value_count = out->rest_count = 0;
    // Where the gap before the next difference begins.
    size_t start = 0;
    for (size_t row = 0; row < rows; row++)
        for (size_t begin = 0; begin < cols; begin += 64)
            for (uint64_t word = *differs++; word != 0; word &= word - 1) {
                size_t at = row * cols + begin + (size_t)__builtin_ctzll(word);
                size_t gap = at - start;
                if (!note_2(out, &gap, (uint16_t)(a[at] - b[at]), most)) return false;
                start = at + 1;
            }
    return true;
}

bool ak_sparse_scatter(size_t width, const struct ak_sparse *in, void *inout, size_t n) {
    switch (width) {
    case 1: return scatter_1(in, inout, n);
    case 2: return scatter_2(in, inout, n);
    case 4: return scatter_4(in, inout, n);
    default: return scatter_8(in, inout, n);
    }
}
