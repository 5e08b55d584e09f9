/// The low-rank product in float64.

enum {
    DELTA_ROWS = AK_TILE_VECTORS > 1 ? 4 : 2,
    DELTA_VECTORS = AK_TILE_VECTORS > 1 ? 2 : 1,
    DELTA_COLS = AK_LANES * DELTA_VECTORS,
    DELTA_DEPTH = 3072 / DELTA_COLS,  // steps of which a panel of the right factor takes 24 KB
};

/// Adds `depth` steps to a tile of sums; `right` is [depth][DELTA_COLS], `left` has rows of r.
AK_INLINE void delta_tile(const double *right, const double *left, size_t r, size_t depth, int rows, double *tile,
                          size_t stride) {
    vd16 sum[DELTA_ROWS][DELTA_VECTORS];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < DELTA_VECTORS; v++) sum[i][v] = load_d(tile + (size_t)i * stride + v * AK_LANES);
    for (size_t k = 0; k < depth; k++)
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < DELTA_VECTORS; v++)
                sum[i][v] = fma_d(splat_d(left[(size_t)i * r + k]), load_d(right + k * DELTA_COLS + v * AK_LANES),
                                  sum[i][v]);
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < DELTA_VECTORS; v++)
            memcpy(tile + (size_t)i * stride + v * AK_LANES, &sum[i][v], sizeof(vd16));
}

/// The same for `rows` rows, of `width` columns only.
static void delta_rows(const double *right, const double *left, size_t r, size_t depth, size_t rows, size_t width,
                       double *delta, size_t stride) {
    if (width == DELTA_COLS && rows == DELTA_ROWS) {
        delta_tile(right, left, r, depth, DELTA_ROWS, delta, stride);
        return;
    }
    double tile[DELTA_COLS] = {0};
    for (size_t i = 0; i < rows; i++) {
        memcpy(tile, delta + i * stride, width * sizeof *tile);
        delta_tile(right, left + i * r, r, depth, 1, tile, DELTA_COLS);
        memcpy(delta + i * stride, tile, width * sizeof *tile);
    }
}

static void delta_f64(const double *right, const double *left, size_t rows, size_t r, size_t cols, double *delta) {
    double panel[DELTA_DEPTH * DELTA_COLS] __attribute__((aligned(64)));
    memset(delta, 0, rows * cols * sizeof *delta);
    for (size_t col = 0; col < cols; col += DELTA_COLS) {
        size_t width = cols - col < DELTA_COLS ? cols - col : DELTA_COLS;
        memset(panel, 0, sizeof panel);
        // The sums pause in `delta` between two depths; float64 in memory is float64 in registers.
        for (size_t k = 0; k < r; k += DELTA_DEPTH) {
            size_t depth = r - k < DELTA_DEPTH ? r - k : DELTA_DEPTH;
            for (size_t step = 0; step < depth; step++)
                memcpy(panel + step * DELTA_COLS, right + (k + step) * cols + col, width * sizeof *panel);
            for (size_t row = 0; row < rows; row += DELTA_ROWS)
                delta_rows(panel, left + row * r + k, r, depth, rows - row < DELTA_ROWS ? rows - row : DELTA_ROWS,
                           width, delta + row * cols + col, cols);
        }
    }
}
