/// The right factor's layout: strips that are read front to back, and what bounds the rounding error of their sums.
#include "kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

static size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

size_t ak_packed_count(size_t r, size_t cols) { return r * round_up(cols, AK_STRIP); }

size_t ak_colnorm_count(size_t cols) { return round_up(cols, AK_STRIP); }

/// One strip of `width` columns, the rest zeros, and its columns' weighted norms.
static void pack_strip(const float *right, ptrdiff_t row_stride, ptrdiff_t col_stride, size_t r, size_t width,
                       float *packed, float *colnorm) {
    double squares[AK_STRIP] = {0};
    for (size_t k = 0; k < r; k++) {
        float *row = packed + k * AK_STRIP;
        for (size_t j = 0; j < width; j++) {
            row[j] = right[(ptrdiff_t)k * row_stride + (ptrdiff_t)j * col_stride];
            squares[j] += ak_step_weight(k, r) * row[j] * row[j];
        }
        memset(row + width, 0, (AK_STRIP - width) * sizeof *row);
    }
    // The factor covers every rounding on the way here, and the least normal number what a subnormal would lose.
    for (size_t j = 0; j < AK_STRIP; j++) {
        float norm = (float)(sqrt(squares[j]) * 1.0001);
        colnorm[j] = squares[j] != 0 && norm < FLT_MIN ? FLT_MIN : norm;
    }
}

void ak_pack_right(const float *right, ptrdiff_t row_stride, ptrdiff_t col_stride, size_t r, size_t cols,
                   float *packed, float *colnorm) {
    for (size_t j = 0; j < cols; j += AK_STRIP) {
        size_t width = cols - j < AK_STRIP ? cols - j : AK_STRIP;
        pack_strip(right + (ptrdiff_t)j * col_stride, row_stride, col_stride, r, width, packed + j * r, colnorm + j);
    }
}
