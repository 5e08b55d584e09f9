/// Dense products and rotations in float64.

/// Adds `depth` steps to a tile of sums; a(i, k) is at `a[i * a_row + k * a_step]`, `b` is [depth][DELTA_COLS].
AK_INLINE void product_tile(const double *a, ptrdiff_t a_row, ptrdiff_t a_step, const double *b, size_t depth,
                            int rows, double *tile, ptrdiff_t stride) {
    vd16 sum[DELTA_ROWS][DELTA_VECTORS];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < DELTA_VECTORS; v++) sum[i][v] = load_d(tile + i * stride + v * AK_LANES);
    for (size_t k = 0; k < depth; k++)
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < DELTA_VECTORS; v++)
                sum[i][v] = fma_d(splat_d(a[i * a_row + (ptrdiff_t)k * a_step]),
                                  load_d(b + k * DELTA_COLS + v * AK_LANES), sum[i][v]);
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < DELTA_VECTORS; v++) memcpy(tile + i * stride + v * AK_LANES, &sum[i][v], sizeof(vd16));
}

/// The same for what is left over: fewer rows, or fewer than DELTA_COLS columns.
static void product_rest(const double *a, ptrdiff_t a_row, ptrdiff_t a_step, const double *b, size_t depth,
                         size_t rows, size_t width, double *c, ptrdiff_t ldc) {
    double tile[DELTA_COLS] = {0};
    for (size_t i = 0; i < rows; i++) {
        double *row = c + (ptrdiff_t)i * ldc;
        memcpy(tile, row, width * sizeof *tile);
        product_tile(a + (ptrdiff_t)i * a_row, a_row, a_step, b, depth, 1, tile, DELTA_COLS);
        memcpy(row, tile, width * sizeof *tile);
    }
}

/// A panel of b, padded with zeros: [depth][DELTA_COLS].
static void product_pack(const double *b, ptrdiff_t b_row, ptrdiff_t b_step, size_t depth, size_t width,
                         double *panel) {
    for (size_t k = 0; k < depth; k++) {
        double *row = panel + k * DELTA_COLS;
        const double *from = b + (ptrdiff_t)k * b_row;
        if (b_step == 1)
            memcpy(row, from, width * sizeof *row);
        else
            for (size_t j = 0; j < width; j++) row[j] = from[(ptrdiff_t)j * b_step];
        for (size_t j = width; j < DELTA_COLS; j++) row[j] = 0;
    }
}

static void product_f64(size_t rows, size_t cols, size_t depth, const double *a, ptrdiff_t a_row, ptrdiff_t a_step,
                        const double *b, ptrdiff_t b_row, ptrdiff_t b_step, double *c, ptrdiff_t ldc) {
    double panel[DELTA_DEPTH * DELTA_COLS] __attribute__((aligned(64)));
    for (size_t col = 0; col < cols; col += DELTA_COLS) {
        size_t width = cols - col < DELTA_COLS ? cols - col : DELTA_COLS;
        for (size_t k = 0; k < depth; k += DELTA_DEPTH) {
            size_t steps = depth - k < DELTA_DEPTH ? depth - k : DELTA_DEPTH;
            product_pack(b + (ptrdiff_t)k * b_row + (ptrdiff_t)col * b_step, b_row, b_step, steps, width, panel);
            const double *from = a + (ptrdiff_t)k * a_step;
            size_t row = 0;
            if (width == DELTA_COLS)
                for (; row + DELTA_ROWS <= rows; row += DELTA_ROWS)
                    product_tile(from + (ptrdiff_t)row * a_row, a_row, a_step, panel, steps, DELTA_ROWS,
                                 c + (ptrdiff_t)row * ldc + col, ldc);
            product_rest(from + (ptrdiff_t)row * a_row, a_row, a_step, panel, steps, rows - row, width,
                         c + (ptrdiff_t)row * ldc + col, ldc);
        }
    }
}

static double dot_f64(const double *x, const double *y, size_t n) {
    vd16 sums = splat_d(0);
    size_t at = 0;
    for (; at + AK_LANES <= n; at += AK_LANES) sums = fma_d(load_d(x + at), load_d(y + at), sums);
    double lanes[AK_LANES];
    memcpy(lanes, &sums, sizeof lanes);
    for (size_t lane = 0; at + lane < n; lane++) lanes[lane] = fma(x[at + lane], y[at + lane], lanes[lane]);
    return lane_sum(lanes);
}

static void axpy_f64(double factor, const double *x, double *y, size_t n) {
    vd16 f = splat_d(factor);
    size_t at = 0;
    for (; at + AK_LANES <= n; at += AK_LANES) {
        vd16 sum = fma_d(f, load_d(x + at), load_d(y + at));
        memcpy(y + at, &sum, sizeof sum);
    }
    for (; at < n; at++) y[at] = fma(factor, x[at], y[at]);
}

static void rotate_f64(double cosine, double sine, double *x, double *y, size_t n) {
    vd16 c = splat_d(cosine), s = splat_d(sine), minus = splat_d(-sine);
    size_t at = 0;
    for (; at + AK_LANES <= n; at += AK_LANES) {
        vd16 a = load_d(x + at), b = load_d(y + at);
        vd16 first = fma_d(c, a, minus * b), second = fma_d(c, b, s * a);
        memcpy(x + at, &first, sizeof first);
        memcpy(y + at, &second, sizeof second);
    }
    for (; at < n; at++) {
        double a = x[at], b = y[at];
        x[at] = fma(cosine, a, -sine * b);
        y[at] = fma(cosine, b, sine * a);
    }
}
