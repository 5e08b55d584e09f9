#include "include/CKernels.h"
#include <string.h>

#define AK_INLINE static inline __attribute__((always_inline))

/// Where two runs of elements differ, for records in which few do: gaps in Rice codes, differences in Elias' gamma code
/// (formats/undo-record.md). Bits go from the lowest of a byte to the highest.

/// Bits on their way into memory.
struct writer {
    uint8_t *to;
    uint64_t bits;
    unsigned count;  // below 8 between calls
};

/// Appends up to 56 bits.
AK_INLINE void put(struct writer *w, uint64_t bits, unsigned count) {
    w->bits |= bits << w->count;
    w->count += count;
    memcpy(w->to, &w->bits, sizeof w->bits);
    w->to += w->count / 8;
    w->bits >>= w->count & ~7u;
    w->count %= 8;
}

static void put_zeros(struct writer *w, size_t count) {
    for (; count > 56; count -= 56) put(w, 0, 56);
    put(w, 0, (unsigned)count);
}

/// Any difference. The writer comes and goes by value, so that callers may keep theirs in registers.
static __attribute__((noinline)) struct writer put_long(struct writer w, size_t gap, uint64_t size, bool down,
                                                        unsigned parameter) {
    unsigned digits = 63 - (unsigned)__builtin_clzll(size);
    put_zeros(&w, gap >> parameter);
    put(&w, 1 | (gap & ((UINT64_C(1) << parameter) - 1)) << 1, parameter + 1);
    put_zeros(&w, digits);
    put(&w, 1, 1);
    // All but the highest bit, which the zeros tell.
    uint64_t rest = size ^ UINT64_C(1) << digits;
    put(&w, rest & 0xffffffff, digits < 32 ? digits : 32);
    if (digits > 32) put(&w, rest >> 32, digits - 32);
    put(&w, down, 1);
    return w;
}

/// `gap` equal elements, then one that differs by `size`, which is not zero, up or down.
AK_INLINE void put_difference(struct writer *w, size_t gap, uint64_t size, bool down, unsigned parameter) {
    size_t quotient = gap >> parameter;
    unsigned digits = 63 - (unsigned)__builtin_clzll(size);
    if (__builtin_expect(quotient + parameter + 2 * digits + 3 > 56, 0)) {
        *w = put_long(*w, gap, size, down, parameter);
        return;
    }
    // The remainder with a one before it, the size without its highest bit with a one before it, the sign.
    uint64_t first = 1 | (gap - (quotient << parameter)) << 1;
    uint64_t second = 1 | (size ^ UINT64_C(1) << digits) << 1 | (uint64_t)down << (digits + 1);
    put(w, (first | second << (parameter + 1 + digits)) << quotient, (unsigned)quotient + parameter + 2 * digits + 3);
}

/// Bits that were written so, and how many are left.
struct reader {
    const uint8_t *from, *end;
    uint64_t bits;
    unsigned count;  // of `bits`; all above are zero
};

AK_INLINE void refill(struct reader *r) {
    if (__builtin_expect(r->end - r->from >= 8, 1)) {
        uint64_t next;
        memcpy(&next, r->from, sizeof next);
        unsigned bytes = (63 - r->count) / 8;
        r->bits |= bytes == 0 ? 0 : (next & (~UINT64_C(0) >> (64 - 8 * bytes))) << r->count;
        r->from += bytes;
        r->count += 8 * bytes;
        return;
    }
    while (r->count <= 56 && r->from < r->end) {
        r->bits |= (uint64_t)*r->from++ << r->count;
        r->count += 8;
    }
}

/// The next `count` bits, up to 32; false if there are not so many.
AK_INLINE bool get(struct reader *r, unsigned count, uint64_t *bits) {
    if (r->count < count) refill(r);
    if (r->count < count) return false;
    *bits = r->bits & ((UINT64_C(1) << count) - 1);
    r->bits >>= count;
    r->count -= count;
    return true;
}

/// How many zeros come before the next one, up to `most`; takes that, too.
AK_INLINE bool get_zeros(struct reader *r, size_t most, size_t *zeros) {
    *zeros = 0;
    while (r->bits == 0) {
        *zeros += r->count;
        r->count = 0;
        refill(r);
        if (r->count == 0 || *zeros > most) return false;
    }
    unsigned here = (unsigned)__builtin_ctzll(r->bits);
    *zeros += here;
    r->bits = r->bits >> here >> 1;
    r->count -= here + 1;
    return *zeros <= most;
}

#define AK_SPARSE(W, T)                                                                                                \
    static size_t count_##W(const T *a, const T *b, size_t n) {                                                        \
        size_t count = 0;                                                                                              \
        for (size_t at = 0; at < n; at++) count += a[at] != b[at];                                                     \
        return count;                                                                                                  \
    }                                                                                                                  \
    AK_INLINE void note_##W(struct writer *w, size_t gap, T d, unsigned parameter) {                                   \
        bool down = d >> (8 * W - 1) != 0;                                                                             \
        put_difference(w, gap, down ? (T)-d : d, down, parameter);                                                     \
    }                                                                                                                  \
    static void gather_##W(struct writer *w, const T *a, const T *b, size_t n, unsigned parameter) {                   \
        size_t start = 0;                                                                                              \
        for (size_t at = 0; at < n; at++) {                                                                            \
            if (a[at] == b[at]) continue;                                                                              \
            note_##W(w, at - start, (T)(a[at] - b[at]), parameter);                                                    \
            start = at + 1;                                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    static bool scatter_##W(struct reader *r, size_t count, unsigned parameter, T *inout, size_t n) {                  \
        size_t at = 0;                                                                                                 \
        while (count-- > 0) {                                                                                          \
            size_t quotient, digits;                                                                                   \
            uint64_t low, high = 0, down, size;                                                                        \
            if (r->count < 48) refill(r);                                                                              \
            if (!get_zeros(r, n >> parameter, &quotient) || !get(r, parameter, &low)) return false;                    \
            size_t gap = (quotient << parameter) + (size_t)low;                                                        \
            if (gap >= n - at || !get_zeros(r, 8 * W - 1, &digits)) return false;                                      \
            if (!get(r, digits < 32 ? (unsigned)digits : 32, &size)) return false;                                     \
            if (digits > 32 && !get(r, (unsigned)digits - 32, &high)) return false;                                    \
            if (!get(r, 1, &down)) return false;                                                                       \
            size |= high << 32 | UINT64_C(1) << digits;                                                                \
            at += gap;                                                                                                 \
            inout[at] = (T)(inout[at] + (T)(down ? 0 - size : size));                                                  \
            at++;                                                                                                      \
        }                                                                                                              \
        /* Nothing but the zeros of the last byte may be left. */                                                      \
        return r->from == r->end && r->count < 8 && r->bits == 0;                                                      \
    }

AK_SPARSE(1, uint8_t)
AK_SPARSE(2, uint16_t)
AK_SPARSE(4, uint32_t)
AK_SPARSE(8, uint64_t)

/// The best Rice parameter for gaps between so many differences that are evenly scattered (Kiely 2004): with a share q of
/// equal elements 1 + floor(log2(ln(0.618) / ln(q))), where -1 / ln(q) is about n / count - 1/2.
static unsigned choose_parameter(size_t count, size_t n) {
    uint64_t size = 77 * (2 * (uint64_t)n - count) / (160 * (uint64_t)count);
    return size == 0 ? 0 : 63 - (unsigned)__builtin_clzll(size);
}

enum { HEAD = 5 };

static struct writer begin(uint8_t *to, unsigned parameter, size_t count) {
    uint32_t number = (uint32_t)count;
    to[0] = (uint8_t)parameter;
    for (int byte = 0; byte < 4; byte++) to[1 + byte] = (uint8_t)(number >> (8 * byte));
    return (struct writer){.to = to + HEAD};
}

static size_t end(const struct writer *w, const uint8_t *to) { return (size_t)(w->to - to) + (w->count > 0); }

size_t ak_sparse_room(size_t width, size_t n, size_t count) {
    if (count == 0) return 0;
    unsigned parameter = choose_parameter(count, n);
    return HEAD + (n >> parameter) / 8 + count * ((parameter + 16 * width + 9) / 8) + 16;
}

size_t ak_sparse_count(size_t width, const void *a, const void *b, size_t n) {
    switch (width) {
    case 1: return count_1(a, b, n);
    case 2: return count_2(a, b, n);
    case 4: return count_4(a, b, n);
    default: return count_8(a, b, n);
    }
}

size_t ak_sparse_gather(size_t width, const void *a, const void *b, size_t n, size_t count, uint8_t *out) {
    unsigned parameter = choose_parameter(count, n);
    struct writer w = begin(out, parameter, count);
    switch (width) {
    case 1: gather_1(&w, a, b, n, parameter); break;
    case 2: gather_2(&w, a, b, n, parameter); break;
    case 4: gather_4(&w, a, b, n, parameter); break;
    default: gather_8(&w, a, b, n, parameter); break;
    }
    return end(&w, out);
}

size_t ak_sparse_gather_marked(const uint16_t *a, const uint16_t *b, const uint64_t *differs, size_t rows, size_t cols,
                               size_t count, uint8_t *out) {
    unsigned parameter = choose_parameter(count, rows * cols);
    struct writer w = begin(out, parameter, count);
    // Where the gap before the next difference begins.
    size_t start = 0;
    for (size_t row = 0; row < rows; row++)
        for (size_t begin = 0; begin < cols; begin += 64)
            for (uint64_t word = *differs++; word != 0; word &= word - 1) {
                size_t at = row * cols + begin + (size_t)__builtin_ctzll(word);
                note_2(&w, at - start, (uint16_t)(a[at] - b[at]), parameter);
                start = at + 1;
            }
    return end(&w, out);
}

size_t ak_marked_count(const uint64_t *differs, size_t rows, size_t cols) {
    size_t count = 0;
    for (size_t at = 0; at < rows * ((cols + 63) / 64); at++) count += (size_t)__builtin_popcountll(differs[at]);
    return count;
}

bool ak_sparse_scatter(size_t width, const uint8_t *stream, size_t length, void *inout, size_t n) {
    if (length < HEAD || stream[0] > 31) return false;
    uint32_t count = 0;
    for (int byte = 0; byte < 4; byte++) count |= (uint32_t)stream[1 + byte] << (8 * byte);
    if (count == 0 || count > n) return false;
    struct reader r = {.from = stream + HEAD, .end = stream + length};
    switch (width) {
    case 1: return scatter_1(&r, count, stream[0], inout, n);
    case 2: return scatter_2(&r, count, stream[0], inout, n);
    case 4: return scatter_4(&r, count, stream[0], inout, n);
    default: return scatter_8(&r, count, stream[0], inout, n);
    }
}
