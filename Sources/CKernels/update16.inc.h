/// The update of 16-bit weights: sums in float32, and the definition's float64 only where it could matter.
///
/// Why the bits are the definition's. Let u = 2^-24 and l the exact scaled L. The products are summed in groups of
/// ak_group(r) steps, each from zero, and the groups' sums are added one after the other: roundings touch fewer and
/// smaller sums that way than in one long chain. Rounding l to float32 errs by at most u (|l_k| + 2^-126) |r_k|, and
/// each rounding of a sum by at most u |S|, apart from terms of second order and of underflow, where S is a sum over
/// some of the k: those of the group so far, or of all groups so far. |S| is at most the product of the 2-norms of l
/// and r over these k. Added up over all roundings, by Cauchy-Schwarz, the error is at most u ML MR with
///
///     ML^2 = sum_k w_k (|l_k| + 2^-126)^2,  MR^2 = sum_k w_k r_k^2,
///
/// where w_k counts the roundings that step k takes part in: ak_step_weight(k, r). MR is `colnorm`, ML goes into
/// `bound`. A factor of 1.002 takes in the second order (r u < 0.0005, as MAX_RANK sees to), the float64 sum's own
/// error and the rounding of the bound; `tiny` takes in underflow. The sum W + D and the ends of the interval round by
/// u each, hence 2.5 u |x|. So the definition's x lies strictly between `low` and `high`, and if no midpoint of two
/// 16-bit numbers lies there, both round to the result.

enum { MAX_RANK = 8192, PANEL_BYTES = 24 * 1024 };

/// What the functions here pass to each other.
struct update {
    bool half;            // F16, not BF16
    size_t cols, r;
    const uint16_t *weights;
    uint16_t *out;
    uint16_t *back;       // gets round(out - D), unless NULL
    uint64_t *differs;    // then: a bit for each element that is not its weight, rows of whole words
    const float *packed, *colnorm;
    const double *left;
    const float *bound, *tiny, *tiles;  // one of each row, and L as [tile][k][4]
    int32_t limit;        // float32 bits; magnitudes from here on go to `repair`
    double (*sums)[AK_LANES];  // of D^2, W^2 and the squared error
    struct ak_stats *stats;    // NULL if nobody asks
};

/// Statistics of four rows and a panel of columns, in float32 while that is accurate.
struct tally {
    vf16 delta2, weight2, error2;
    vi16 nonzero, swallowed;
};

/// Sixteen columns of a row between `finish_vector` and `repair`.
struct lanes {
    size_t row, col, count;
    vf16 w, d, y;         // weight, sum, result
    vi16 uncertain;
    vh16 out;
};

AK_INLINE vf16 widen_half(bool half, vh16 bits) {
    if (!half) return (vf16)(__builtin_convertvector(bits, vu16) << 16);
#if AK_HAS_F16C
    typedef _Float16 v16 __attribute__((vector_size(32)));
    return __builtin_convertvector((v16)bits, vf16);
#else
    vf16 wide;
    for (int lane = 0; lane < AK_LANES; lane++) ((vu16 *)&wide)[0][lane] = widen32(bits[lane], format_f16);
    return wide;
#endif
}

/// Rounds magnitudes below 65504 to F16; whatever else comes is looked at again by `repair`.
AK_INLINE vh16 round_f16(vf16 x) {
#if AK_HAS_F16C
    typedef _Float16 v16 __attribute__((vector_size(32)));
    return (vh16)__builtin_convertvector(x, v16);
#else
    vu16 magnitude = (vu16)x & 0x7fffffff;
    vu16 normal = (magnitude + 0xfff + (magnitude >> 13 & 1) - (112u << 23)) >> 13;
    // Half of the unit of 0.5 is F16's smallest subnormal: the addition rounds.
    vu16 subnormal = (vu16)((vf16)magnitude + 0.5f) - 0x3f000000;
    vu16 small = (vu16)(magnitude < 0x38800000);
    vu16 rounded = (subnormal & small) | (normal & ~small) | ((vu16)x >> 16 & 0x8000);
    return __builtin_convertvector(rounded, vh16);
#endif
}

/// tile[row][col] = the sums of four rows and one strip, or what is there and a group of them.
AK_INLINE void multiply_group(const float *restrict right, const float *restrict left, size_t count, bool first,
                              float *restrict tile) {
    for (int col = 0; col < AK_STRIP; col += AK_LANES * AK_TILE_VECTORS) {
        vf16 sum[AK_TILE_ROWS][AK_TILE_VECTORS] = {0};
        for (size_t k = 0; k < count; k++) {
            vf16 b[AK_TILE_VECTORS];
            for (int v = 0; v < AK_TILE_VECTORS; v++) b[v] = load_f(right + k * AK_STRIP + col + v * AK_LANES);
            for (int row = 0; row < AK_TILE_ROWS; row++)
                for (int v = 0; v < AK_TILE_VECTORS; v++)
                    sum[row][v] = fma_f(splat_f(left[k * AK_TILE_ROWS + row]), b[v], sum[row][v]);
        }
        for (int row = 0; row < AK_TILE_ROWS; row++) {
            float *to = tile + row * AK_STRIP + col;
            if (!first)
                for (int v = 0; v < AK_TILE_VECTORS; v++) sum[row][v] += load_f(to + v * AK_LANES);
            memcpy(to, sum[row], sizeof sum[row]);
        }
    }
}

/// tile[row][col] = the sums of four rows and one strip.
static void multiply_strip(const float *restrict right, const float *restrict left, size_t r, float *restrict tile) {
    size_t group = ak_group(r);
    multiply_group(right, left, r < group ? r : group, true, tile);
    for (size_t k = group; k < r; k += group)
        multiply_group(right + k * AK_STRIP, left + k * AK_TILE_ROWS, r - k < group ? r - k : group, false, tile);
}

/// The definition's sums of sixteen columns.
AK_INLINE vd16 exact_sums(const struct update *u, const struct lanes *l) {
    const float *right = u->packed + l->col / AK_STRIP * AK_STRIP * u->r + l->col % AK_STRIP;
    const double *left = u->left + l->row * u->r;
    vd16 sum = {0};
    for (size_t k = 0; k < u->r; k++)
        sum = fma_d(splat_d(left[k]), __builtin_convertvector(load_f(right + k * AK_STRIP), vd16), sum);
    return sum;
}

/// Counts and adds one lane that float32 statistics cannot hold.
AK_INLINE void count_lane(const struct update *u, int lane, double w, double d, double y, bool unchanged) {
    if (u->stats == NULL) return;
    if (!isfinite(w) || !isfinite(d)) {
        u->stats->nonfinite++;
        return;
    }
    u->stats->nonzero += d != 0;
    u->stats->swallowed += d != 0 && unchanged;
    u->sums[0][lane] += d * d;
    u->sums[1][lane] += w * w;
    double error = (y - w) - d;
    if (isfinite(y)) u->sums[2][lane] += error * error;
}

/// Computes the uncertain lanes by the definition. Those that are large or not finite enter the statistics here, in
/// float64, and leave zeros for the caller.
static __attribute__((noinline)) void repair(const struct update *u, struct lanes *l) {
    const struct format f = u->half ? format_f16 : format_bf16;
    vd16 delta = exact_sums(u, l);
    vi16 magnitude = (vi16)(l->w + l->d) & 0x7fffffff;
    vh16 before = load_h((uint16_t[AK_LANES]){0});
    memcpy(&before, u->weights + l->row * u->cols + l->col, l->count * sizeof(uint16_t));
    for (int lane = 0; lane < AK_LANES; lane++) {
        bool padding = (size_t)lane >= l->count;
        if (padding || l->uncertain[lane] == 0) {
            if (padding) l->d[lane] = l->y[lane] = 0;
            continue;
        }
        double w = double_of_bits(widen64(before[lane], f));
        size_t overflow = 0;
        uint16_t bits = (uint16_t)round_bits(bits_of_double(w + delta[lane]), f, &overflow);
        l->out[lane] = bits;
        double y = double_of_bits(widen64(bits, f));
        if (magnitude[lane] < u->limit && isfinite(y)) {
            l->y[lane] = (float)y;
            continue;
        }
        if (u->stats != NULL) u->stats->overflow += overflow;
        count_lane(u, lane, w, delta[lane], y, bits == before[lane]);
        l->w[lane] = l->d[lane] = l->y[lane] = 0;
    }
}

/// round(out - D) of the uncertain lanes by the definition.
static __attribute__((noinline)) vh16 repair_back(const struct update *u, const struct lanes *l, vh16 back) {
    const struct format f = u->half ? format_f16 : format_bf16;
    vd16 delta = exact_sums(u, l);
    for (int lane = 0; lane < AK_LANES; lane++) {
        if ((size_t)lane >= l->count || l->uncertain[lane] == 0) continue;
        size_t overflow = 0;
        double merged = double_of_bits(widen64(l->out[lane], f));
        back[lane] = (uint16_t)round_bits(bits_of_double(merged - delta[lane]), f, &overflow);
    }
    return back;
}

/// The two halves of an interval rounded: what both give, and where they do not agree.
AK_INLINE vh16 round_interval(bool half, vf16 low, vf16 high, vi16 *uncertain) {
    if (half) {
        vh16 out = round_f16(high);
        *uncertain = __builtin_convertvector(round_f16(low) != out, vi16);
        return out;
    }
    // Halves go up in magnitude here: a midpoint at an end of the interval does not matter.
    vu16 up = (vu16)high + 0x8000;
    *uncertain = (vi16)((((vu16)low + 0x8000) ^ up) > 0xffff);
    return __builtin_convertvector(up >> 16, vh16);
}

/// Sixteen columns of what the weights would be if D were taken out again; the lanes where they are something else.
AK_INLINE uint64_t take_back(const struct update *u, const struct update *shared, bool half, size_t row, size_t col,
                             size_t count, vf16 d) {
    size_t at = row * u->cols + col;
    vh16 merged = {0}, weights = {0};
    memcpy(&merged, u->out + at, count * sizeof(uint16_t));
    memcpy(&weights, u->weights + at, count * sizeof(uint16_t));
    vf16 x = widen_half(half, merged) - d;
    vi16 magnitude = (vi16)x & 0x7fffffff;
    vf16 error = muladd_f(splat_f(u->bound[row]), load_f(u->colnorm + col), splat_f(u->tiny[row]));
    error = muladd_f((vf16)magnitude, splat_f(2.5f * 0x1p-24f), error);
    vi16 uncertain;
    vh16 back = round_interval(half, x - error, x + error, &uncertain);
    uncertain |= magnitude >= u->limit;
    if (__builtin_expect(__builtin_reduce_or(uncertain) != 0, 0)) {
        // Only here, so that it need not be in memory elsewhere.
        struct lanes l = {row, col, count, .uncertain = uncertain, .out = merged};
        back = repair_back(shared, &l, back);
    }
    memcpy(u->back + at, &back, count * sizeof(uint16_t));
    typedef bool vb16 __attribute__((ext_vector_type(16)));
    vb16 differs = __builtin_convertvector(back != weights, vb16);
    uint16_t mask;
    memcpy(&mask, &differs, sizeof mask);
    return count == AK_LANES ? mask : mask & ((1u << count) - 1);
}

/// The same for a tile; `out` must be finished there, and not be where the weights are.
AK_INLINE void take_strip_back(const struct update *u, bool half, size_t row, size_t rows, size_t col,
                               const float *tile) {
    const struct update own = *u;
    size_t width = u->cols - col < AK_STRIP ? u->cols - col : AK_STRIP;
    for (size_t i = 0; i < rows; i++) {
        uint64_t word = 0;
        for (size_t j = 0; j < width; j += AK_LANES) {
            size_t count = width - j < AK_LANES ? width - j : AK_LANES;
            vf16 d = load_f(tile + i * AK_STRIP + j);
            uint64_t mask = __builtin_expect(count == AK_LANES, 1)
                                ? take_back(&own, u, half, row + i, col + j, AK_LANES, d)
                                : take_back(&own, u, half, row + i, col + j, count, d);
            word |= mask << j;
        }
        u->differs[(row + i) * ((u->cols + 63) / 64) + col / 64] = word;
    }
}

static __attribute__((noinline)) void take_strip_back_f16(const struct update *u, size_t row, size_t rows, size_t col,
                                                          const float *tile) {
    take_strip_back(u, true, row, rows, col, tile);
}

static __attribute__((noinline)) void take_strip_back_bf16(const struct update *u, size_t row, size_t rows,
                                                           size_t col, const float *tile) {
    take_strip_back(u, false, row, rows, col, tile);
}

/// Sixteen columns of one row: add, round, check, and count if there is a tally. `count` < 16 at the right edge only.
AK_INLINE void finish_vector(const struct update *u, const struct update *shared, struct tally *t, bool half,
                             size_t row, size_t col, size_t count, vf16 d) {
    const uint16_t *weights = u->weights + row * u->cols + col;
    struct lanes l = {row, col, count, .d = d};
    vh16 before = {0};
    memcpy(&before, weights, count * sizeof *weights);
    l.w = widen_half(half, before);
    vf16 x = l.w + d;
    vi16 magnitude = (vi16)x & 0x7fffffff;
    vf16 error = muladd_f(splat_f(u->bound[row]), load_f(u->colnorm + col), splat_f(u->tiny[row]));
    error = muladd_f((vf16)magnitude, splat_f(2.5f * 0x1p-24f), error);
    l.out = round_interval(half, x - error, x + error, &l.uncertain);
    l.y = widen_half(half, l.out);
    l.uncertain |= magnitude >= u->limit;
    if (__builtin_expect(__builtin_reduce_or(l.uncertain) != 0, 0)) {
        struct lanes spilled = l;
        repair(shared, &spilled);
        l = spilled;
    }
    memcpy(u->out + row * u->cols + col, &l.out, count * sizeof(uint16_t));
    if (t == NULL) return;
    vf16 lost = (l.y - l.w) - l.d;
    t->delta2 = fma_f(l.d, l.d, t->delta2);
    t->weight2 = fma_f(l.w, l.w, t->weight2);
    t->error2 = fma_f(lost, lost, t->error2);
    t->nonzero -= l.d != 0;
    t->swallowed -= (l.d != 0) & ((vi16)l.y == (vi16)l.w);
}

/// One tile: columns outside, rows inside, so that a lane's order is the same for any width of registers.
///
/// The copies of `u` and `t` have no address that anyone else could know, so they stay in registers.
AK_INLINE void finish_strip(const struct update *u, struct tally *t, bool half, bool counts, size_t row, size_t rows,
                            size_t col, const float *tile) {
    const struct update own = *u;
    struct tally kept = *t, *tally = counts ? &kept : NULL;
    size_t width = u->cols - col < AK_STRIP ? u->cols - col : AK_STRIP;
    size_t whole = width / AK_LANES * AK_LANES;
    if (rows == AK_TILE_ROWS) {
        for (size_t j = 0; j < whole; j += AK_LANES)
#pragma clang loop unroll(full)
            for (size_t i = 0; i < AK_TILE_ROWS; i++)
                finish_vector(&own, u, tally, half, row + i, col + j, AK_LANES, load_f(tile + i * AK_STRIP + j));
    } else {
        for (size_t j = 0; j < whole; j += AK_LANES)
            for (size_t i = 0; i < rows; i++)
                finish_vector(&own, u, tally, half, row + i, col + j, AK_LANES, load_f(tile + i * AK_STRIP + j));
    }
    if (whole < width)
        for (size_t i = 0; i < rows; i++)
            finish_vector(&own, u, tally, half, row + i, col + whole, width - whole,
                          load_f(tile + i * AK_STRIP + whole));
    if (counts) *t = kept;
}

#define AK_FINISH(NAME, HALF, COUNTS)                                                                                  \
    static __attribute__((noinline)) void NAME(const struct update *u, struct tally *t, size_t row, size_t rows,       \
                                               size_t col, const float *tile) {                                        \
        finish_strip(u, t, HALF, COUNTS, row, rows, col, tile);                                                        \
    }

AK_FINISH(finish_strip_f16, true, true)
AK_FINISH(finish_strip_bf16, false, true)
AK_FINISH(finish_silently_f16, true, false)
AK_FINISH(finish_silently_bf16, false, false)

/// Asks for the weights of the tile below, which is next.
AK_INLINE void prefetch_below(const struct update *u, size_t row, size_t col) {
    for (size_t i = 0; i < AK_TILE_ROWS; i++) {
        const char *next = (const char *)(u->weights + (row + AK_TILE_ROWS + i) * u->cols + col);
        __builtin_prefetch(next);
        __builtin_prefetch(next + 64);
    }
}

static void flush_tally(const struct update *u, struct tally *t) {
    const vf16 *lanes[] = {&t->delta2, &t->weight2, &t->error2};
    for (int kind = 0; kind < 3; kind++) {
        vd16 sum = load_d(u->sums[kind]) + __builtin_convertvector(*lanes[kind], vd16);
        memcpy(u->sums[kind], &sum, sizeof sum);
    }
    u->stats->nonzero += (uint64_t)__builtin_reduce_add(t->nonzero);
    u->stats->swallowed += (uint64_t)__builtin_reduce_add(t->swallowed);
    *t = (struct tally){0};
}

/// A tile from its sums to the output. The last one of a panel that ends before `end` hands over the tally.
static void finish_tile(const struct update *u, struct tally *t, size_t row, size_t rows, size_t col, size_t end,
                        const float *tile) {
    size_t height = rows - row < AK_TILE_ROWS ? rows - row : AK_TILE_ROWS;
    if (u->stats != NULL)
        (u->half ? finish_strip_f16 : finish_strip_bf16)(u, t, row, height, col, tile);
    else
        (u->half ? finish_silently_f16 : finish_silently_bf16)(u, t, row, height, col, tile);
    if (u->back != NULL) (u->half ? take_strip_back_f16 : take_strip_back_bf16)(u, row, height, col, tile);
    if (end - col <= AK_STRIP && u->stats != NULL) flush_tally(u, t);
}

/// A panel of columns: for every tile of rows strip after strip.
///
/// One tile is multiplied while the one before it is finished, so that neither waits for the other's memory.
static void update_panel(const struct update *u, size_t rows, size_t begin, size_t end) {
    float tiles[2][AK_TILE_ROWS * AK_STRIP] __attribute__((aligned(64)));
    struct tally tally = {0};
    size_t last_row = 0, last_col = 0, turn = 0;
    for (size_t row = 0; row < rows; row += AK_TILE_ROWS)
        for (size_t col = begin; col < end; col += AK_STRIP, turn++) {
            prefetch_below(u, row, col);
            multiply_strip(u->packed + col * u->r, u->tiles + row * u->r, u->r, tiles[turn % 2]);
            if (turn > 0) finish_tile(u, &tally, last_row, rows, last_col, end, tiles[(turn + 1) % 2]);
            last_row = row;
            last_col = col;
        }
    if (turn > 0) finish_tile(u, &tally, last_row, rows, last_col, end, tiles[(turn + 1) % 2]);
}

/// L as float32 in tiles of four rows, and each row's share of the bound. Returns the greatest bound, or NaN.
static float pack_left(const double *left, size_t rows, size_t r, float *bound, float *tiny, float *tiles) {
    float greatest = 0;
    memset(tiles, 0, (rows + AK_TILE_ROWS - 1) / AK_TILE_ROWS * AK_TILE_ROWS * r * sizeof *tiles);
    for (size_t row = 0; row < rows; row++) {
        float *tile = tiles + row / AK_TILE_ROWS * AK_TILE_ROWS * r + row % AK_TILE_ROWS;
        double squares = 0;
        for (size_t k = 0; k < r; k++) {
            double value = left[row * r + k];
            double size = value == 0 ? 0 : fabs(value) + 0x1p-126;
            tile[k * AK_TILE_ROWS] = (float)value;
            squares += ak_step_weight(k, r) * size * size;
        }
        float norm = (float)(sqrt(squares) * (1.002 * 0x1p-24));
        bound[row] = squares != 0 && norm < FLT_MIN ? FLT_MIN : norm;
        tiny[row] = squares == 0 ? 0 : 0x1p-120f;
        greatest = bound[row] <= greatest ? greatest : bound[row];
        if (isnan(bound[row])) return NAN;
    }
    return greatest;
}

/// The float32 bits of the magnitude from which results go to `repair`: all of them if the factors are so large, or
/// so small, that float32 could not hold the sums, their bounds or their squares.
static int32_t choose_limit(const struct update *u, float bound) {
    float norm = 0;
    for (size_t j = 0; j < u->cols; j++) {
        if (!(u->colnorm[j] < 0x1p60f)) return 0;
        norm = u->colnorm[j] > norm ? u->colnorm[j] : norm;
    }
    if (!(bound < 0x1p36f) || u->r > MAX_RANK) return 0;
    double greatest = (double)bound * 0x1p24 * norm;
    if (greatest > 0x1p50 || (greatest > 0 && greatest < 0x1p-40)) return 0;
    return (int32_t)bits_of_float(u->half ? 65504.0f : 0x1p50f);
}

static void update16(enum ak_dtype dtype, const void *weights, void *out, void *back,
                     uint64_t *differs, size_t rows, size_t cols, const float *packed, const float *colnorm, const double *left, size_t r, void *scratch,
                     struct ak_stats *stats) {
    size_t padded = (rows + AK_LANES - 1) / AK_LANES * AK_LANES;
    float *bound = scratch, *tiny = bound + padded, *tiles = tiny + padded;
    double sums[3][AK_LANES] = {0};
    struct update u = {dtype == AK_F16, cols, r,    weights, out, back, differs, packed, colnorm,
                       left,            bound, tiny, tiles,   0,   sums, stats};
    u.limit = choose_limit(&u, pack_left(left, rows, r, bound, tiny, tiles));
    // A panel of the right factor stays in the first-level cache while all rows pass by. Its width depends on r only,
    // as the statistics' order does.
    size_t strips = r == 0 ? 1 : PANEL_BYTES / (r * AK_STRIP * sizeof(float));
    size_t panel = (strips == 0 ? 1 : strips) * AK_STRIP;
    for (size_t begin = 0; begin < cols; begin += panel) {
        size_t end = cols - begin < panel ? cols : begin + panel;
        update_panel(&u, rows, begin, end);
    }
    if (stats == NULL) return;
    stats->delta2 += lane_sum(sums[0]);
    stats->weight2 += lane_sum(sums[1]);
    stats->error2 += lane_sum(sums[2]);
    stats->elements += (uint64_t)rows * cols;
}
