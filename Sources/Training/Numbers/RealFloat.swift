import CKernels
import COpenBLAS

/// Float32: products by OpenBLAS, everything else by our own kernels.
extension Float: Real {
    package static func product(
        _ m: Int, _ n: Int, _ k: Int, _ alpha: Float, _ a: UnsafePointer<Float>, _ aStride: Int, _ aTransposed: Bool,
        _ b: UnsafePointer<Float>, _ bStride: Int, _ bTransposed: Bool, _ beta: Float, _ c: UnsafeMutablePointer<Float>,
        _ cStride: Int
    ) {
        unsafe cblas_sgemm(
            CblasRowMajor, aTransposed ? CblasTrans : CblasNoTrans, bTransposed ? CblasTrans : CblasNoTrans,
            blasint(m), blasint(n), blasint(k), alpha, a, blasint(aStride), b, blasint(bStride), beta, c,
            blasint(cStride))
    }

    package static func smallProduct(
        _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, _ aRow: Int, _ aStep: Int, _ b: UnsafePointer<Float>,
        _ bStride: Int, _ adding: Bool, _ c: UnsafeMutablePointer<Float>, _ cStride: Int
    ) {
        unsafe ak_small_product_f32(m, n, k, a, aRow, aStep, b, bStride, adding, c, cStride)
    }

    package static func transpose(
        _ m: Int, _ n: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ b: UnsafeMutablePointer<Float>, _ bStride: Int
    ) {
        unsafe ak_transpose_f32(m, n, a, aStride, b, bStride)
    }

    package static func dot(_ x: UnsafePointer<Float>, _ y: UnsafePointer<Float>, _ n: Int) -> Float {
        unsafe ak_dot_f32(x, y, n)
    }

    package static func add(_ factor: Float, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, _ n: Int) {
        unsafe ak_axpy_f32(factor, x, y, n)
    }

    package static func softmax(_ row: UnsafeMutablePointer<Float>, _ n: Int, _ scale: Float) -> Float {
        unsafe ak_softmax_f32(row, n, scale)
    }

    package static func softmaxAgain(_ row: UnsafeMutablePointer<Float>, _ n: Int, _ scale: Float, _ logSum: Float) {
        unsafe ak_softmax_again_f32(row, n, scale, logSum)
    }

    package static func softmaxBack(
        _ p: UnsafePointer<Float>, _ dp: UnsafeMutablePointer<Float>, _ n: Int, _ scale: Float
    ) {
        unsafe ak_softmax_back_f32(p, dp, n, scale)
    }

    package static func swiglu(
        _ gate: UnsafePointer<Float>, _ up: UnsafePointer<Float>, _ out: UnsafeMutablePointer<Float>, _ n: Int
    ) {
        unsafe ak_swiglu_f32(gate, up, out, n)
    }

    package static func swigluBack(
        _ gate: UnsafePointer<Float>, _ up: UnsafePointer<Float>, _ dout: UnsafePointer<Float>,
        _ dgate: UnsafeMutablePointer<Float>, _ dup: UnsafeMutablePointer<Float>, _ n: Int
    ) {
        unsafe ak_swiglu_back_f32(gate, up, dout, dgate, dup, n)
    }

    package static func rms(
        _ x: UnsafePointer<Float>, _ weight: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, _ n: Int,
        _ epsilon: Float
    ) -> Float {
        unsafe ak_rms_f32(x, weight, y, n, epsilon)
    }

    package static func rmsBack(
        _ x: UnsafePointer<Float>, _ weight: UnsafePointer<Float>, _ inverse: Float, _ dy: UnsafePointer<Float>,
        _ dx: UnsafeMutablePointer<Float>?, _ dweight: UnsafeMutablePointer<Float>?, _ n: Int
    ) {
        unsafe ak_rms_back_f32(x, weight, inverse, dy, dx, dweight, n)
    }

    package static func turn(
        _ head: UnsafeMutablePointer<Float>, _ cosines: UnsafePointer<Float>, _ sines: UnsafePointer<Float>, _ half: Int
    ) {
        unsafe ak_turn_f32(head, cosines, sines, half)
    }

    package static func adamW(
        _ weight: UnsafeMutablePointer<Float>, _ gradient: UnsafePointer<Float>, _ first: UnsafeMutablePointer<Float>,
        _ second: UnsafeMutablePointer<Float>, _ n: Int, _ step: AdamWStep
    ) {
        let (one, two) = step.corrections
        let numbers = ak_adamw(
            rate: Float(step.rate), beta1: Float(step.beta1), beta2: Float(step.beta2), epsilon: Float(step.epsilon),
            decay: Float(step.decay), first_correction: Float(one), second_correction: Float(two),
            gradient_scale: Float(step.gradientScale))
        unsafe ak_adamw_f32(weight, gradient, first, second, n, numbers)
    }
}

/// How many threads OpenBLAS takes for one product.
enum ProductThreads {
    /// Sets it for the whole process.
    static func set(_ count: Int) { openblas_set_num_threads(Int32(count)) }
}
