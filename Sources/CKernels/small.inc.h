/// Products of matrices that the caches hold, in float32: nothing is packed, and nothing is cleared first, which for small
/// ones takes a library longer than the product.

enum {
    SMALL_ROWS = 6,                               // of a tile of sums, which stays in registers
    SMALL_VECTORS = AK_TILE_VECTORS > 1 ? 2 : 1,  // of sixteen columns
    SMALL_DEPTH = 256,                            // steps for which the last columns are filled up
};

/// A tile of c; a(i, k) is at `a[i * a_row + k * a_step]`.
AK_INLINE void small_tile(const float *a, ptrdiff_t a_row, ptrdiff_t a_step, const float *b, ptrdiff_t ldb, size_t depth,
                          int rows, int vectors, bool adding, float *c, ptrdiff_t ldc) {
    vf16 sum[SMALL_ROWS][SMALL_VECTORS];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) sum[i][v] = adding ? load_f(c + i * ldc + v * AK_LANES) : splat_f(0);
    for (size_t k = 0; k < depth; k++)
        for (int v = 0; v < vectors; v++) {
            vf16 row = load_f(b + (ptrdiff_t)k * ldb + v * AK_LANES);
            for (int i = 0; i < rows; i++)
                sum[i][v] = muladd_f(splat_f(a[i * a_row + (ptrdiff_t)k * a_step]), row, sum[i][v]);
        }
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) memcpy(c + i * ldc + v * AK_LANES, &sum[i][v], sizeof(vf16));
}

/// All rows of some columns.
AK_INLINE void small_panel(size_t rows, size_t depth, const float *a, ptrdiff_t a_row, ptrdiff_t a_step, const float *b,
                           ptrdiff_t ldb, int vectors, bool adding, float *c, ptrdiff_t ldc) {
    size_t row = 0;
    for (; row + SMALL_ROWS <= rows; row += SMALL_ROWS)
        small_tile(a + (ptrdiff_t)row * a_row, a_row, a_step, b, ldb, depth, SMALL_ROWS, vectors, adding,
                   c + (ptrdiff_t)row * ldc, ldc);
    for (; row + 2 <= rows; row += 2)
        small_tile(a + (ptrdiff_t)row * a_row, a_row, a_step, b, ldb, depth, 2, vectors, adding,
                   c + (ptrdiff_t)row * ldc, ldc);
    if (row < rows)
        small_tile(a + (ptrdiff_t)row * a_row, a_row, a_step, b, ldb, depth, 1, vectors, adding,
                   c + (ptrdiff_t)row * ldc, ldc);
}

/// The last columns, fewer than a vector has: row by row in a copy that is filled up.
static void small_rest(size_t rows, size_t width, size_t depth, const float *a, ptrdiff_t a_row, ptrdiff_t a_step,
                       const float *b, ptrdiff_t ldb, bool adding, float *c, ptrdiff_t ldc) {
    float panel[SMALL_DEPTH * AK_LANES] __attribute__((aligned(64))), sums[SMALL_ROWS * AK_LANES];
    for (size_t first = 0; first < depth; first += SMALL_DEPTH) {
        size_t steps = depth - first < SMALL_DEPTH ? depth - first : SMALL_DEPTH;
        for (size_t k = 0; k < steps; k++)
            store_f(panel + k * AK_LANES, part_f(b + (ptrdiff_t)(first + k) * ldb, width, 0), AK_LANES);
        for (size_t row = 0; row < rows; row += SMALL_ROWS) {
            size_t height = rows - row < SMALL_ROWS ? rows - row : SMALL_ROWS;
            float *to = c + (ptrdiff_t)row * ldc;
            bool goes_on = adding || first > 0;
            for (size_t i = 0; i < height && goes_on; i++)
                store_f(sums + i * AK_LANES, part_f(to + (ptrdiff_t)i * ldc, width, 0), AK_LANES);
            small_panel(height, steps, a + (ptrdiff_t)row * a_row + (ptrdiff_t)first * a_step, a_row, a_step, panel,
                        AK_LANES, 1, goes_on, sums, AK_LANES);
            for (size_t i = 0; i < height; i++)
                memcpy(to + (ptrdiff_t)i * ldc, sums + i * AK_LANES, width * sizeof *sums);
        }
    }
}

static void small_product_f32(size_t rows, size_t cols, size_t depth, const float *a, ptrdiff_t a_row, ptrdiff_t a_step,
                              const float *b, ptrdiff_t ldb, bool adding, float *c, ptrdiff_t ldc) {
    size_t col = 0;
    for (; col + SMALL_VECTORS * AK_LANES <= cols; col += SMALL_VECTORS * AK_LANES)
        small_panel(rows, depth, a, a_row, a_step, b + col, ldb, SMALL_VECTORS, adding, c + col, ldc);
    for (; col + AK_LANES <= cols; col += AK_LANES)
        small_panel(rows, depth, a, a_row, a_step, b + col, ldb, 1, adding, c + col, ldc);
    if (col < cols) small_rest(rows, cols - col, depth, a, a_row, a_step, b + col, ldb, adding, c + col, ldc);
}

/// b (columns x rows) = a (rows x columns), transposed.
static void transpose_f32(size_t rows, size_t cols, const float *a, ptrdiff_t lda, float *b, ptrdiff_t ldb) {
    // Four rows at a time: what is written lies side by side, and what is read stays in the cache.
    size_t row = 0;
    for (; row + 4 <= rows; row += 4) {
        const float *from = a + (ptrdiff_t)row * lda;
        for (size_t col = 0; col < cols; col++) {
            float four[4] = {from[col], from[col + lda], from[col + 2 * lda], from[col + 3 * lda]};
            memcpy(b + (ptrdiff_t)col * ldb + row, four, sizeof four);
        }
    }
    for (; row < rows; row++)
        for (size_t col = 0; col < cols; col++) b[(ptrdiff_t)col * ldb + row] = a[(ptrdiff_t)row * lda + col];
}
