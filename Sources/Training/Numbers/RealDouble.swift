import COpenBLAS
import Glibc

/// Float64, by plain loops: what gradients are checked with.
extension Double: Real {
    package static func product(
        _ m: Int, _ n: Int, _ k: Int, _ alpha: Double, _ a: UnsafePointer<Double>, _ aStride: Int,
        _ aTransposed: Bool, _ b: UnsafePointer<Double>, _ bStride: Int, _ bTransposed: Bool, _ beta: Double,
        _ c: UnsafeMutablePointer<Double>, _ cStride: Int
    ) {
        unsafe cblas_dgemm(
            CblasRowMajor, aTransposed ? CblasTrans : CblasNoTrans, bTransposed ? CblasTrans : CblasNoTrans,
            blasint(m), blasint(n), blasint(k), alpha, a, blasint(aStride), b, blasint(bStride), beta, c,
            blasint(cStride))
    }

    package static func smallProduct(
        _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Double>, _ aRow: Int, _ aStep: Int,
        _ b: UnsafePointer<Double>, _ bStride: Int, _ adding: Bool, _ c: UnsafeMutablePointer<Double>, _ cStride: Int
    ) {
        for i in 0..<m {
            for j in 0..<n {
                var sum = unsafe adding ? c[i * cStride + j] : 0
                for step in 0..<k { unsafe sum += a[i * aRow + step * aStep] * b[step * bStride + j] }
                unsafe c[i * cStride + j] = sum
            }
        }
    }

    package static func transpose(
        _ m: Int, _ n: Int, _ a: UnsafePointer<Double>, _ aStride: Int, _ b: UnsafeMutablePointer<Double>,
        _ bStride: Int
    ) {
        for i in 0..<m {
            for j in 0..<n { unsafe b[j * bStride + i] = a[i * aStride + j] }
        }
    }

    package static func dot(_ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>, _ n: Int) -> Double {
        var sum = 0.0
        for i in 0..<n { unsafe sum += x[i] * y[i] }
        return sum
    }

    package static func add(_ factor: Double, _ x: UnsafePointer<Double>, _ y: UnsafeMutablePointer<Double>, _ n: Int) {
        for i in 0..<n { unsafe y[i] += factor * x[i] }
    }

    package static func softmax(_ row: UnsafeMutablePointer<Double>, _ n: Int, _ scale: Double) -> Double {
        var top = -Double.infinity
        for i in 0..<n { unsafe top = max(top, scale * row[i]) }
        var sum = 0.0
        for i in 0..<n { unsafe sum += exp(scale * row[i] - top) }
        let logSum = top + log(sum)
        unsafe softmaxAgain(row, n, scale, logSum)
        return logSum
    }

    package static func softmaxAgain(_ row: UnsafeMutablePointer<Double>, _ n: Int, _ scale: Double, _ logSum: Double) {
        for i in 0..<n { unsafe row[i] = exp(scale * row[i] - logSum) }
    }

    package static func softmaxBack(
        _ p: UnsafePointer<Double>, _ dp: UnsafeMutablePointer<Double>, _ n: Int, _ scale: Double
    ) {
        let mean = unsafe dot(p, dp, n)
        for i in 0..<n { unsafe dp[i] = scale * p[i] * (dp[i] - mean) }
    }

    package static func swiglu(
        _ gate: UnsafePointer<Double>, _ up: UnsafePointer<Double>, _ out: UnsafeMutablePointer<Double>, _ n: Int
    ) {
        for i in 0..<n { unsafe out[i] = gate[i] / (1 + exp(-gate[i])) * up[i] }
    }

    package static func swigluBack(
        _ gate: UnsafePointer<Double>, _ up: UnsafePointer<Double>, _ dout: UnsafePointer<Double>,
        _ dgate: UnsafeMutablePointer<Double>, _ dup: UnsafeMutablePointer<Double>, _ n: Int
    ) {
        for i in 0..<n {
            let (g, u, d) = unsafe (gate[i], up[i], dout[i])
            let s = 1 / (1 + exp(-g))
            unsafe dup[i] = d * g * s
            unsafe dgate[i] = d * u * s * (1 + g * (1 - s))
        }
    }

    package static func rms(
        _ x: UnsafePointer<Double>, _ weight: UnsafePointer<Double>, _ y: UnsafeMutablePointer<Double>, _ n: Int,
        _ epsilon: Double
    ) -> Double {
        let inverse = unsafe 1 / (dot(x, x, n) / Double(n) + epsilon).squareRoot()
        for i in 0..<n { unsafe y[i] = x[i] * inverse * weight[i] }
        return inverse
    }

    package static func rmsBack(
        _ x: UnsafePointer<Double>, _ weight: UnsafePointer<Double>, _ inverse: Double, _ dy: UnsafePointer<Double>,
        _ dx: UnsafeMutablePointer<Double>?, _ dweight: UnsafeMutablePointer<Double>?, _ n: Int
    ) {
        var sum = 0.0
        for i in 0..<n {
            unsafe sum += x[i] * dy[i] * weight[i]
            if let dweight = unsafe dweight { unsafe dweight[i] += x[i] * dy[i] * inverse }
        }
        guard let dx = unsafe dx else { return }
        let back = -sum * inverse * inverse * inverse / Double(n)
        for i in 0..<n { unsafe dx[i] += dy[i] * weight[i] * inverse + back * x[i] }
    }

    package static func turn(
        _ head: UnsafeMutablePointer<Double>, _ cosines: UnsafePointer<Double>, _ sines: UnsafePointer<Double>,
        _ half: Int
    ) {
        for i in 0..<half {
            let (a, b) = unsafe (head[i], head[half + i])
            unsafe head[i] = a * cosines[i] - b * sines[i]
            unsafe head[half + i] = b * cosines[i] + a * sines[i]
        }
    }

    package static func adamW(
        _ weight: UnsafeMutablePointer<Double>, _ gradient: UnsafePointer<Double>,
        _ first: UnsafeMutablePointer<Double>, _ second: UnsafeMutablePointer<Double>, _ n: Int, _ step: AdamWStep
    ) {
        let (one, two) = step.corrections
        for i in 0..<n {
            let g = unsafe gradient[i] * step.gradientScale
            unsafe first[i] += (1 - step.beta1) * (g - first[i])
            unsafe second[i] = step.beta2 * second[i] + (1 - step.beta2) * g * g
            let below = unsafe (second[i] / two).squareRoot() + step.epsilon
            unsafe weight[i] = weight[i] * (1 - step.rate * step.decay) - step.rate / one * first[i] / below
        }
    }
}

extension AdamWStep {
    /// 1 − β₁ᵗ and 1 − β₂ᵗ.
    var corrections: (first: Double, second: Double) {
        (1 - pow(beta1, Double(number)), 1 - pow(beta2, Double(number)))
    }
}
