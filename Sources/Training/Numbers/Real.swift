/// The numbers that a model computes with: float32 in training; float64 where gradients are checked against differences.
///
/// All functions take rows in memory of the caller's and check nothing: `Matrix` does.
package protocol Real: BinaryFloatingPoint, BitwiseCopyable, Sendable {
    /// C (m × n) = α · op(A) · op(B) + β · C, row-major, where op transposes if told.
    static func product(
        _ m: Int, _ n: Int, _ k: Int, _ alpha: Self, _ a: UnsafePointer<Self>, _ aStride: Int, _ aTransposed: Bool,
        _ b: UnsafePointer<Self>, _ bStride: Int, _ bTransposed: Bool, _ beta: Self, _ c: UnsafeMutablePointer<Self>,
        _ cStride: Int)
    /// C (m × n) = A · B or, if `adding`, C + A · B, for matrices that the caches hold; A's element (i, k) is at
    /// i · aRow + k · aStep, and B (k × n) lies row by row.
    static func smallProduct(
        _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Self>, _ aRow: Int, _ aStep: Int, _ b: UnsafePointer<Self>,
        _ bStride: Int, _ adding: Bool, _ c: UnsafeMutablePointer<Self>, _ cStride: Int)
    /// B (n × m) = Aᵀ.
    static func transpose(
        _ m: Int, _ n: Int, _ a: UnsafePointer<Self>, _ aStride: Int, _ b: UnsafeMutablePointer<Self>, _ bStride: Int)
    /// Σ x·y.
    static func dot(_ x: UnsafePointer<Self>, _ y: UnsafePointer<Self>, _ n: Int) -> Self
    /// y += factor · x.
    static func add(_ factor: Self, _ x: UnsafePointer<Self>, _ y: UnsafeMutablePointer<Self>, _ n: Int)
    /// Makes a row softmax(scale · row); returns log Σ e^(scale · row).
    static func softmax(_ row: UnsafeMutablePointer<Self>, _ n: Int, _ scale: Self) -> Self
    /// The same where that logarithm is known.
    static func softmaxAgain(_ row: UnsafeMutablePointer<Self>, _ n: Int, _ scale: Self, _ logSum: Self)
    /// From dL/dp makes dL/drow, in place: scale · p · (dp − Σ p·dp).
    static func softmaxBack(_ p: UnsafePointer<Self>, _ dp: UnsafeMutablePointer<Self>, _ n: Int, _ scale: Self)
    /// out = g · sigmoid(g) · u.
    static func swiglu(
        _ gate: UnsafePointer<Self>, _ up: UnsafePointer<Self>, _ out: UnsafeMutablePointer<Self>, _ n: Int)
    /// From dL/dout makes dL/dg and dL/du.
    static func swigluBack(
        _ gate: UnsafePointer<Self>, _ up: UnsafePointer<Self>, _ dout: UnsafePointer<Self>,
        _ dgate: UnsafeMutablePointer<Self>, _ dup: UnsafeMutablePointer<Self>, _ n: Int)
    /// y = w · x / √(mean x² + ε); returns one over that root.
    static func rms(
        _ x: UnsafePointer<Self>, _ weight: UnsafePointer<Self>, _ y: UnsafeMutablePointer<Self>, _ n: Int,
        _ epsilon: Self
    ) -> Self
    /// Adds dL/dx and dL/dw, each where there is room for it.
    static func rmsBack(
        _ x: UnsafePointer<Self>, _ weight: UnsafePointer<Self>, _ inverse: Self, _ dy: UnsafePointer<Self>,
        _ dx: UnsafeMutablePointer<Self>?, _ dweight: UnsafeMutablePointer<Self>?, _ n: Int)
    /// Turns the pairs (i, i + half) of a head.
    static func turn(
        _ head: UnsafeMutablePointer<Self>, _ cosines: UnsafePointer<Self>, _ sines: UnsafePointer<Self>, _ half: Int)
    /// One step of AdamW; see `AdamW`.
    static func adamW(
        _ weight: UnsafeMutablePointer<Self>, _ gradient: UnsafePointer<Self>, _ first: UnsafeMutablePointer<Self>,
        _ second: UnsafeMutablePointer<Self>, _ n: Int, _ step: AdamWStep)
}

/// The numbers of one step of AdamW.
package struct AdamWStep: Sendable {
    /// The learning rate.
    package var rate: Double
    /// How much of the mean gradient stays.
    package var beta1: Double
    /// How much of the mean square stays.
    package var beta2: Double
    /// What is added to the root.
    package var epsilon: Double
    /// What part of a weight is taken off, times the rate.
    package var decay: Double
    /// The step, from 1.
    package var number: Int
    /// What gradients are multiplied with first: clipping.
    package var gradientScale: Double
}
