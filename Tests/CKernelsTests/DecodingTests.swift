import CKernels
import Foundation
import Testing

extension KernelTests {
    /// Attention of one head is its definition to a float32 step, and the same bits at every level.
    @Test func attendIsTheDefinition() {
        defer { ak_level_force(-1) }
        var random = Random("attendIsTheDefinition")
        for (width, count, stride, size) in [
            (16, 1, 16, 1.0), (32, 7, 40, 1), (20, 33, 20, 3), (6, 16, 9, 20), (64, 200, 64, 0.1),
        ] {
            let query = (0..<width).map { _ in Float(random.normal() * size) }
            let keys = (0..<count * stride).map { _ in Float(random.normal()) }
            let values = (0..<count * stride).map { _ in Float(random.normal()) }
            var scores = (0..<count).map { j -> Double in
                0.25 * (0..<width).reduce(0.0) { $0 + Double(query[$1]) * Double(keys[j * stride + $1]) }
            }
            let largest = scores.max() ?? 0
            scores = scores.map { exp($0 - largest) }
            let total = scores.reduce(0, +)
            var results: [[UInt32]] = []
            for level in levels {
                ak_level_force(level)
                var scratch = [Double](repeating: .nan, count: ak_attend_scratch(count, width))
                var out = [Float](repeating: 7, count: width + 1)
                ak_attend_f32(query, keys, values, stride, count, width, 0.25, &scratch, &out)
                for i in 0..<width {
                    let wanted = (0..<count).reduce(0.0) { $0 + scores[$1] / total * Double(values[$1 * stride + i]) }
                    #expect(abs(Double(out[i]) - wanted) < 1e-6 * max(1, abs(wanted)), "\(width) \(count) \(level)")
                }
                #expect(out[width] == 7)
                results.append(out.map(\.bitPattern))
            }
            #expect(Set(results).count == 1, "\(width) wide, \(count) positions")
        }
    }

    /// SwiGLU is its definition to a float32 step, at the ends too.
    @Test func swigluIsTheDefinition() {
        defer { ak_level_force(-1) }
        var random = Random("swigluIsTheDefinition")
        var gate = (0..<100).map { _ in Float(random.normal() * 9) }
        gate += [0, -0.0, 1e-30, -1e-30, 80, -80, 1000, -1000, .nan, .infinity, -.leastNonzeroMagnitude]
        let up = gate.map { _ in Float(random.normal()) }
        var results: [[UInt32]] = []
        for level in levels {
            ak_level_force(level)
            var out = gate
            ak_swiglu_exact_f32(out, up, &out, gate.count)
            for at in gate.indices {
                let x = Double(gate[at])
                let wanted = x / (1 + exp(-x)) * Double(up[at])
                if wanted.isNaN || wanted.isInfinite {
                    #expect(out[at].isNaN == wanted.isNaN && out[at].isFinite == false, "\(x)")
                } else {
                    #expect(abs(Double(out[at]) - wanted) <= 1e-7 * abs(wanted) + 1e-40, "\(x)")
                }
            }
            results.append(out.map { $0.isNaN ? 1 : $0.bitPattern })
        }
        #expect(Set(results).count == 1)
    }
}
