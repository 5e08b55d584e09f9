import CKernels
import Foundation
import Testing

extension KernelTests {
    /// Vectors through a stored matrix, to the bit: each sum is that of its own row and vector, in sixteen lanes.
    @Test(arguments: Grid.all) func applyIsTheDefinition(grid: Grid) {
        defer { ak_level_force(-1) }
        var random = Random("applyIsTheDefinition")
        for (rows, depth, count) in [
            (1, 1, 1), (4, 16, 1), (5, 530, 2), (9, 1030, 3), (3, 15, 17), (8, 100, 33), (2, 0, 2),
        ] {
            let (ldw, ldx, ldo) = (depth + 3, depth + 1, rows + 2)
            let weights = (0..<rows * ldw).map { _ in grid.round(random.normal()).bits }
            let x = (0..<count * ldx).map { _ in random.normal() }
            var wanted = [Double](repeating: 7, count: count * ldo)
            for i in 0..<count {
                for j in 0..<rows {
                    var lanes = [Double](repeating: 0, count: 16)
                    for k in 0..<depth {
                        lanes[k % 16] = fma(grid.value(weights[j * ldw + k]), x[i * ldx + k], lanes[k % 16])
                    }
                    for half in [8, 4, 2, 1] { for lane in 0..<half { lanes[lane] += lanes[lane + half] } }
                    wanted[i * ldo + j] = lanes[0]
                }
            }
            let stored = bytes(grid, weights)
            for level in levels {
                ak_level_force(level)
                var out = [Double](repeating: 7, count: count * ldo)
                ak_apply_f64(grid.dtype, stored, ldw, rows, depth, x, ldx, count, &out, ldo)
                #expect(
                    difference(out.map(\.bitPattern), wanted.map(\.bitPattern)) == nil,
                    "\(grid.dtype) \(rows)x\(depth), \(count) vectors, level \(level)")
            }
        }
    }
}
