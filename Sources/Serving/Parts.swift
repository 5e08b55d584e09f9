import Synchronization

/// Parts of the columns of one matrix, from several threads.
final class Parts: Sendable {
    private let parts: Mutex<[[Double]]>

    init(count: Int) { parts = Mutex(Array(repeating: [], count: count)) }

    func set(_ part: Int, _ values: [Double]) { parts.withLock { $0[part] = values } }

    /// The parts side by side (count × width); part p (count × its width) has the columns from `bounds[p]` on.
    func joined(width: Int, count: Int, bounds: [Int]) -> [Double] {
        let parts = parts.withLock { $0 }
        var result: [Double] = []
        result.reserveCapacity(count * width)
        for row in 0..<count {
            for (at, part) in parts.enumerated() {
                let own = bounds[at + 1] - bounds[at]
                result += part[row * own..<(row + 1) * own]
            }
        }
        return result
    }
}
