/// Vectors through a matrix that is stored in any format, row by row.

enum {
    APPLY_ROWS = AK_TILE_VECTORS > 1 ? 4 : 2,     // rows and vectors of a tile of sums, which stays in registers
    APPLY_VECTORS = AK_TILE_VECTORS > 1 ? 2 : 1,
    APPLY_DEPTH = 512,                            // steps for which rows are widened; a multiple of AK_LANES
    APPLY_GROUP = 16,                             // vectors that share what was widened
};

/// Sums of one tile of rows and all vectors of a group, lane by lane.
typedef double apply_sums[APPLY_ROWS][APPLY_GROUP][AK_LANES];

/// Adds `n` steps to the sums of `rows` x `vectors` from row `row` and vector `vector` on.
AK_INLINE void apply_tile(const double (*w)[APPLY_DEPTH], const double *x, size_t ldx, size_t n, size_t row,
                          size_t vector, int rows, int vectors, apply_sums sums) {
    vd16 sum[APPLY_ROWS][APPLY_VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) sum[r][v] = load_d(sums[row + r][vector + v]);
    size_t at = 0;
    for (; at + AK_LANES <= n; at += AK_LANES)
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < vectors; v++)
                sum[r][v] = fma_d(load_d(w[row + r] + at), load_d(x + (vector + v) * ldx + at), sum[r][v]);
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++) {
            double *lanes = sums[row + r][vector + v];
            memcpy(lanes, &sum[r][v], sizeof(vd16));
            for (size_t lane = 0; at + lane < n; lane++)
                lanes[lane] = fma(w[row + r][at + lane], x[(vector + v) * ldx + at + lane], lanes[lane]);
        }
}

/// The same for all of up to APPLY_ROWS rows and APPLY_GROUP vectors.
static void apply_chunk(const double (*w)[APPLY_DEPTH], const double *x, size_t ldx, size_t n, size_t rows,
                        size_t vectors, apply_sums sums) {
    size_t vector = 0;
    if (rows == APPLY_ROWS) {
        for (; vector + APPLY_VECTORS <= vectors; vector += APPLY_VECTORS)
            apply_tile(w, x, ldx, n, 0, vector, APPLY_ROWS, APPLY_VECTORS, sums);
        for (; vector < vectors; vector++) apply_tile(w, x, ldx, n, 0, vector, APPLY_ROWS, 1, sums);
        return;
    }
    for (size_t row = 0; row < rows; row++)
        for (vector = 0; vector < vectors; vector++) apply_tile(w, x, ldx, n, row, vector, 1, 1, sums);
}

static void apply_f64(enum ak_dtype dtype, const void *weights, size_t ldw, size_t rows, size_t depth, const double *x,
                      size_t ldx, size_t count, double *out, size_t ldo) {
    double w[APPLY_ROWS][APPLY_DEPTH];
    apply_sums sums;
    size_t size = ak_dtype_size(dtype);
    for (size_t first = 0; first < count; first += APPLY_GROUP) {
        size_t vectors = count - first < APPLY_GROUP ? count - first : APPLY_GROUP;
        for (size_t row = 0; row < rows; row += APPLY_ROWS) {
            size_t height = rows - row < APPLY_ROWS ? rows - row : APPLY_ROWS;
            memset(sums, 0, sizeof sums);
            for (size_t k = 0; k < depth; k += APPLY_DEPTH) {
                size_t n = depth - k < APPLY_DEPTH ? depth - k : APPLY_DEPTH;
                for (size_t r = 0; r < height; r++)
                    widen_f64(dtype, (const char *)weights + ((row + r) * ldw + k) * size, w[r], n);
                apply_chunk((const double (*)[APPLY_DEPTH])w, x + first * ldx + k, ldx, n, height, vectors, sums);
            }
            for (size_t r = 0; r < height; r++)
                for (size_t v = 0; v < vectors; v++) out[(first + v) * ldo + row + r] = lane_sum(sums[r][v]);
        }
    }
}
