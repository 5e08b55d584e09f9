/// Vectors through a matrix that is stored in any format, row by row.

enum {
    APPLY_ROWS = AK_TILE_VECTORS > 1 ? 4 : 2,     // rows and vectors of a tile of sums, which stays in registers
    APPLY_VECTORS = AK_TILE_VECTORS > 1 ? 2 : 1,
    APPLY_DEPTH = 512,                            // steps for which rows are widened; a multiple of AK_LANES
    APPLY_GROUP = 16,                             // vectors that share what was widened
    APPLY_FEW = 4,                                // vectors up to which widening by the way costs less
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

/// Sixteen elements from `at` on, exactly.
AK_INLINE vd16 apply_widened(enum ak_dtype dtype, const void *row, size_t at) {
    if (dtype == AK_F32) return __builtin_convertvector(load_f((const float *)row + at), vd16);
    vu16 bits = __builtin_convertvector(load_h((const uint16_t *)row + at), vu16) << 16;
    return __builtin_convertvector((vf16)bits, vd16);
}

/// The products of some rows with one vector: the sums of `apply_tile`, without a place for what is widened.
AK_INLINE void apply_rows(enum ak_dtype dtype, const char *weights, size_t row_bytes, int rows, size_t depth,
                          const double *x, double *out) {
    vd16 sum[APPLY_ROWS];
    for (int r = 0; r < rows; r++) sum[r] = splat_d(0);
    // The processor's own prefetching begins anew with each row; weights wait in memory, and nothing else takes long.
    size_t ahead = (size_t)rows * row_bytes <= 16384 ? (size_t)rows * row_bytes : 4096;
    size_t at = 0;
    for (; at + AK_LANES <= depth; at += AK_LANES)
        for (int r = 0; r < rows; r++) {
            const char *row = weights + (size_t)r * row_bytes;
            __builtin_prefetch(row + at * (dtype == AK_F32 ? 4 : 2) + ahead);
            sum[r] = fma_d(apply_widened(dtype, row, at), load_d(x + at), sum[r]);
        }
    for (int r = 0; r < rows; r++) {
        double lanes[AK_LANES], rest[AK_LANES];
        memcpy(lanes, &sum[r], sizeof lanes);
        const char *row = weights + (size_t)r * row_bytes;
        if (at < depth) widen_f64(dtype, row + at * ak_dtype_size(dtype), rest, depth - at);
        for (size_t lane = 0; at + lane < depth; lane++) lanes[lane] = fma(rest[lane], x[at + lane], lanes[lane]);
        out[r] = lane_sum(lanes);
    }
}

/// The same results for few vectors: one token costs little more than reading the weights.
AK_INLINE void apply_few(enum ak_dtype dtype, const char *weights, size_t ldw, size_t rows, size_t depth,
                         const double *x, size_t ldx, size_t count, double *out, size_t ldo) {
    size_t bytes = ldw * ak_dtype_size(dtype), row = 0;
    for (; row + APPLY_ROWS <= rows; row += APPLY_ROWS)
        for (size_t v = 0; v < count; v++)
            apply_rows(dtype, weights + row * bytes, bytes, APPLY_ROWS, depth, x + v * ldx, out + v * ldo + row);
    for (; row < rows; row++)
        for (size_t v = 0; v < count; v++)
            apply_rows(dtype, weights + row * bytes, bytes, 1, depth, x + v * ldx, out + v * ldo + row);
}

static void apply_f64(enum ak_dtype dtype, const void *weights, size_t ldw, size_t rows, size_t depth, const double *x,
                      size_t ldx, size_t count, double *out, size_t ldo) {
    // Named one by one, so that each loop is compiled for its dtype.
    if (count <= APPLY_FEW && dtype == AK_F32)
        return apply_few(AK_F32, weights, ldw, rows, depth, x, ldx, count, out, ldo);
    if (count <= APPLY_FEW && dtype == AK_BF16)
        return apply_few(AK_BF16, weights, ldw, rows, depth, x, ldx, count, out, ldo);
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
