import Foundation
import Models
import Testing

@testable import Training

/// AdamW, schedules, dropout and what is kept between steps.
struct OptimizerTests {
    /// By hand, in float64: two steps of one weight.
    @Test func adamW() {
        let parameter = Parameter<Double>("w", [1], Matrix([0.5], rows: 1, columns: 1), slot: 0, layer: nil)
        let optimizer = AdamW([parameter])
        for (number, gradient) in [(1, 0.2), (2, -0.4)] {
            optimizer.update(
                0, gradient: Matrix([gradient], rows: 1, columns: 1),
                AdamWStep(
                    rate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, decay: 0.01, number: number, gradientScale: 1))
        }
        // m: 0.02, then -0.022; v: 0.0004, then 0.001996.
        let first = 0.5 * (1 - 0.001) - 0.1 * (0.02 / 0.1) / ((0.0004 / 0.01).squareRoot() + 1e-8)
        let second =
            first * (1 - 0.001) - 0.1 * (-0.022 / (1 - 0.81)) / ((0.001996 / (1 - 0.9801)).squareRoot() + 1e-8)
        #expect(abs(parameter.value[0, 0] - second) < 1e-12)
    }

    /// The kernel for float32 gives what the plain loop gives.
    @Test func floatAndDoubleAgree() {
        var random = SeededNumbers(4, "adam")
        let n = 37
        let start = (0..<n).map { _ in random.normal() }
        let one = Parameter<Float>("w", [n], Matrix(start.map(Float.init), rows: 1, columns: n), slot: 0, layer: nil)
        let two = Parameter<Double>("w", [n], Matrix(start, rows: 1, columns: n), slot: 0, layer: nil)
        let (a, b) = (AdamW([one]), AdamW([two]))
        for number in 1...20 {
            let gradient = (0..<n).map { _ in random.normal() }
            let step = AdamWStep(
                rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.1, number: number, gradientScale: 0.7)
            a.update(0, gradient: Matrix(gradient.map(Float.init), rows: 1, columns: n), step)
            b.update(0, gradient: Matrix(gradient, rows: 1, columns: n), step)
        }
        for at in 0..<n { #expect(abs(Double(one.value[0, at]) - two.value[0, at]) < 1e-5) }
    }

    @Test func schedules() {
        let cosine = Schedule(rate: 2, warmup: 4, steps: 12, decay: .cosine)
        #expect((0..<4).map { cosine.rate(at: $0) } == [0, 0.5, 1, 1.5])
        #expect(cosine.rate(at: 4) == 2 && abs(cosine.rate(at: 8) - 1) < 1e-12 && abs(cosine.rate(at: 12)) < 1e-12)
        let linear = Schedule(rate: 2, warmup: 0, steps: 8, decay: .linear)
        #expect((0...8).map { linear.rate(at: $0) } == [2, 1.75, 1.5, 1.25, 1, 0.75, 0.5, 0.25, 0])
        #expect(Schedule(rate: 2, warmup: 1, steps: 5, decay: .constant).rate(at: 4) == 2)
    }

    @Test func dropoutDropsAsOftenAsItSays() {
        let x = Matrix<Float>(Array(repeating: 1, count: 64 * 200), rows: 200, columns: 64)
        let out = Matrix<Float>(rows: 200, columns: 64)
        let segments = Segment.list([120, 80], keys: [0, 1])
        Dropout(seed: 7, step: 2).apply(x, into: out, probability: 0.25, module: 3, segments: segments)
        let values = out.values
        #expect(values.allSatisfy { $0 == 0 || abs($0 - 4.0 / 3) < 1e-6 })
        let share = Double(values.count { $0 == 0 }) / Double(values.count)
        // Four deviations of 12,800 draws.
        #expect(abs(share - 0.25) < 0.0154)
        let again = Matrix<Float>(rows: 80, columns: 64)
        let alone = [Segment(start: 0, count: 80, key: 1)]
        Dropout(seed: 7, step: 2).apply(x.rows(0..<80), into: again, probability: 0.25, module: 3, segments: alone)
        #expect(again.values == out.rows(120..<200).values)
        Dropout(seed: 7, step: 3).apply(x.rows(0..<80), into: again, probability: 0.25, module: 3, segments: alone)
        #expect(again.values != out.rows(120..<200).values)
    }

    /// Kernels in float32 against the plain loops in float64, at lengths around whole vectors.
    @Test(arguments: [1, 15, 16, 17, 100])
    func kernels(n: Int) {
        var random = SeededNumbers(UInt64(n), "kernels")
        let draw = { (random: inout SeededNumbers) in (0..<n).map { _ in 4 * random.normal() } }
        let (x, y, z) = (draw(&random), draw(&random), draw(&random))
        func pair(_ values: [Double]) -> (Matrix<Float>, Matrix<Double>) {
            (Matrix(values.map(Float.init), rows: 1, columns: n), Matrix(values, rows: 1, columns: n))
        }
        func check(_ a: Matrix<Float>, _ b: Matrix<Double>, _ name: String) {
            for at in 0..<n {
                #expect(abs(Double(a[0, at]) - b[0, at]) <= 2e-6 * (1 + abs(b[0, at])) * 8, "\(name) \(at) of \(n)")
            }
        }
        let ((x1, x2), (y1, y2), (z1, z2)) = (pair(x), pair(y), pair(z))
        let ((a1, a2), (b1, b2)) = (pair(x), pair(x))
        unsafe Float.swiglu(x1.base, y1.base, a1.base, n)
        unsafe Double.swiglu(x2.base, y2.base, a2.base, n)
        check(a1, a2, "swiglu")
        unsafe Float.swigluBack(x1.base, y1.base, z1.base, a1.base, b1.base, n)
        unsafe Double.swigluBack(x2.base, y2.base, z2.base, a2.base, b2.base, n)
        check(a1, a2, "gate")
        check(b1, b2, "up")
        a1.copy(x1)
        a2.copy(x2)
        let (s1, s2) = unsafe (Float.softmax(a1.base, n, 0.5), Double.softmax(a2.base, n, 0.5))
        #expect(abs(Double(s1) - s2) < 1e-5)
        check(a1, a2, "softmax")
        b1.copy(y1)
        b2.copy(y2)
        unsafe Float.softmaxBack(a1.base, b1.base, n, 0.5)
        unsafe Double.softmaxBack(a2.base, b2.base, n, 0.5)
        check(b1, b2, "softmax back")
        let (i1, i2) = unsafe (
            Float.rms(x1.base, y1.base, a1.base, n, 1e-5), Double.rms(x2.base, y2.base, a2.base, n, 1e-5)
        )
        check(a1, a2, "rms")
        b1.fill(0)
        b2.fill(0)
        a1.fill(0)
        a2.fill(0)
        unsafe Float.rmsBack(x1.base, y1.base, i1, z1.base, a1.base, b1.base, n)
        unsafe Double.rmsBack(x2.base, y2.base, i2, z2.base, a2.base, b2.base, n)
        check(a1, a2, "rms back")
        check(b1, b2, "rms weight")
    }

    @Test func whatIsNoNumberStaysNone() {
        for bad in [Float.nan, .infinity] {
            let row = Matrix<Float>([1, bad, 2], rows: 1, columns: 3)
            let sum = unsafe Float.softmax(row.base, 3, 1)
            #expect(!sum.isFinite)
            let out = Matrix<Float>(rows: 1, columns: 3)
            let gate = Matrix<Float>([1, .nan, 2], rows: 1, columns: 3)
            unsafe Float.swiglu(gate.base, gate.base, out.base, 3)
            #expect(out[0, 1].isNaN && out[0, 0].isFinite)
        }
    }
}
