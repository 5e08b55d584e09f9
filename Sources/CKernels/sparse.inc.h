/// Element by element: what sparse methods of combining adapters do. Loops that the compiler makes vectors of.

static void sift_f64(double *values, size_t n, uint32_t bits) {
    for (size_t at = 0; at < n; at++) {
        float narrow = (float)values[at];
        uint32_t own;
        memcpy(&own, &narrow, sizeof own);
        values[at] = (own & 0x7fffffff) >= bits ? values[at] : 0;
    }
}

static void balance_f64(const double *values, double *balance, size_t n, bool signs) {
    if (signs)
        for (size_t at = 0; at < n; at++) balance[at] += (double)(values[at] > 0) - (double)(values[at] < 0);
    else
        for (size_t at = 0; at < n; at++) balance[at] += values[at];
}

static void agree_f64(const double *values, const double *balance, double weight, double *sum, double *count,
                      size_t n) {
    for (size_t at = 0; at < n; at++) {
        double elected = balance[at] >= 0 ? values[at] : -values[at];
        sum[at] += elected > 0 ? weight * values[at] : 0;
        count[at] += elected > 0 ? 1 : 0;
    }
}

static void share_f64(double *sum, const double *count, size_t n) {
    for (size_t at = 0; at < n; at++) sum[at] /= count[at] > 1 ? count[at] : 1;
}
