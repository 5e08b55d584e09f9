/// The general way from weights and a float64 delta to any format, a few hundred columns at a time.

enum { CHUNK = 256 };  // columns; a multiple of AK_LANES

/// What the functions here pass to each other: the call's arguments and its sums.
struct finish {
    enum ak_dtype in, outd;
    double in_scale, out_scale;
    double sums[3][AK_LANES];  // of D^2, W^2 and the squared error
    struct ak_stats *stats;
};

AK_INLINE void scale(double *values, double factor, size_t n) {
    if (factor == 1) return;
    for (size_t i = 0; i < n; i++) values[i] *= factor;
}

AK_INLINE bool is_finite(double x) { return fabs(x) <= DBL_MAX; }

/// Adds `n` squares to the lanes.
AK_INLINE void add_squares(double *lanes, const double *values, size_t n) {
    vd16 sum = load_d(lanes);
    size_t i = 0;
    for (; i + AK_LANES <= n; i += AK_LANES) {
        vd16 v = load_d(values + i);
        sum += v * v;
    }
    memcpy(lanes, &sum, sizeof sum);
    for (size_t lane = 0; i < n; i++, lane++) lanes[lane] += values[i] * values[i];
}

/// Counts and adds up a chunk: `w` the weights, `d` the change, `q` what was rounded, `raw` what was stored and `kept`
/// what W alone would have been stored as, both widened. Overwrites them.
static void count_chunk(struct finish *f, double *w, double *d, const double *q, double *raw, const double *kept,
                        size_t n) {
    uint64_t finite = 0, nonzero = 0, swallowed = 0;
    for (size_t i = 0; i < n; i++) {
        bool ok = is_finite(q[i]);
        bool changes = ok & (d[i] != 0);
        finite += ok;
        nonzero += changes;
        swallowed += changes & (bits_of_double(raw[i]) == bits_of_double(kept[i]));
    }
    for (size_t i = 0; i < n; i++) {
        bool ok = is_finite(q[i]);
        double error = (raw[i] * f->out_scale - w[i]) - d[i];
        raw[i] = (ok & is_finite(raw[i])) ? error : 0;
        w[i] = ok ? w[i] : 0;
        d[i] = ok ? d[i] : 0;
    }
    add_squares(f->sums[0], d, n);
    add_squares(f->sums[1], w, n);
    add_squares(f->sums[2], raw, n);
    f->stats->elements += n;
    f->stats->nonzero += nonzero;
    f->stats->swallowed += swallowed;
    f->stats->nonfinite += n - finite;
}

/// One row's `n` columns.
static void finish_chunk(struct finish *f, const void *weights, void *out, const double *delta,
                         const double *row_factor, const double *col_factor, size_t n) {
    double w[CHUNK], x[CHUNK], d[CHUNK], kept[CHUNK];
    widen_f64(f->in, weights, w, n);
    bool same_grid = f->in == f->outd && f->in_scale == f->out_scale;
    if (f->stats && same_grid) memcpy(kept, w, n * sizeof *kept);
    scale(w, f->in_scale, n);
    if (delta)
        for (size_t i = 0; i < n; i++) x[i] = w[i] + delta[i];
    else
        memcpy(x, w, n * sizeof *x);
    if (row_factor) scale(x, *row_factor, n);
    if (col_factor)
        for (size_t i = 0; i < n; i++) x[i] *= col_factor[i];
    if (delta && !row_factor && !col_factor)
        memcpy(d, delta, n * sizeof *d);
    else
        for (size_t i = 0; i < n; i++) d[i] = x[i] - w[i];
    if (f->out_scale != 1)
        for (size_t i = 0; i < n; i++) x[i] /= f->out_scale;
    size_t overflow = round_f64(f->outd, x, out, n);
    if (!f->stats) return;
    f->stats->overflow += overflow;
    if (!same_grid) {
        double unchanged[CHUNK], stored[CHUNK];
        for (size_t i = 0; i < n; i++) unchanged[i] = w[i] / f->out_scale;
        round_f64(f->outd, unchanged, stored, n);
        widen_f64(f->outd, stored, kept, n);
    }
    double raw[CHUNK];
    widen_f64(f->outd, out, raw, n);
    count_chunk(f, w, d, x, raw, kept, n);
}

static void finish(enum ak_dtype in, const void *weights, size_t ldw, enum ak_dtype outd, void *out, size_t ldo,
                   size_t rows, size_t cols, const double *delta, size_t ldd, const double *row_factor,
                   const double *col_factor, double in_scale, double out_scale, struct ak_stats *stats) {
    struct finish f = {in, outd, in_scale, out_scale, {{0}}, stats};
    size_t in_size = ak_dtype_size(in), out_size = ak_dtype_size(outd);
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j += CHUNK)
            finish_chunk(&f, (const char *)weights + (i * ldw + j) * in_size, (char *)out + (i * ldo + j) * out_size,
                         delta ? delta + i * ldd + j : NULL, row_factor ? row_factor + i : NULL,
                         col_factor ? col_factor + j : NULL, cols - j < CHUNK ? cols - j : CHUNK);
    }
    if (!stats) return;
    stats->delta2 += lane_sum(f.sums[0]);
    stats->weight2 += lane_sum(f.sums[1]);
    stats->error2 += lane_sum(f.sums[2]);
}

/// W * in_scale + delta of one row's `n` columns.
static void sum_chunk(enum ak_dtype in, const void *weights, const double *delta, double in_scale, double *x,
                      size_t n) {
    widen_f64(in, weights, x, n);
    scale(x, in_scale, n);
    if (delta)
        for (size_t i = 0; i < n; i++) x[i] += delta[i];
}

static void row_sumsq(enum ak_dtype in, const void *weights, size_t ldw, size_t rows, size_t cols, const double *delta,
                      size_t ldd, double in_scale, double *sums) {
    double x[CHUNK];
    for (size_t i = 0; i < rows; i++) {
        double lanes[AK_LANES] = {0};
        for (size_t j = 0; j < cols; j += CHUNK) {
            size_t n = cols - j < CHUNK ? cols - j : CHUNK;
            const char *row = (const char *)weights + (i * ldw + j) * ak_dtype_size(in);
            sum_chunk(in, row, delta ? delta + i * ldd + j : NULL, in_scale, x, n);
            add_squares(lanes, x, n);
        }
        sums[i] = lane_sum(lanes);
    }
}

static void col_sumsq(enum ak_dtype in, const void *weights, size_t ldw, size_t rows, size_t cols, const double *delta,
                      size_t ldd, double in_scale, double *sums) {
    double x[CHUNK];
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j += CHUNK) {
            size_t n = cols - j < CHUNK ? cols - j : CHUNK;
            const char *row = (const char *)weights + (i * ldw + j) * ak_dtype_size(in);
            sum_chunk(in, row, delta ? delta + i * ldd + j : NULL, in_scale, x, n);
            for (size_t c = 0; c < n; c++) sums[j + c] += x[c] * x[c];
        }
}
