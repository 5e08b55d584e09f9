import Files
import Problems
import Synchronization

/// What of each sequence never changes, computed once: rows of `Llama.frozen`, in memory or in a file.
///
/// The rows of a sequence are computed from it alone, so that they are the same bits whenever that happens.
final class FrozenCache: Sendable {
    /// Where rows are kept.
    enum Place: Sendable { case memory, file, nowhere }

    let place: Place
    /// Bytes of all rows.
    let byteCount: Int
    private let width: Int
    /// The first row of each sequence, and behind them how many there are.
    private let starts: [Int]
    private let rows: Matrix<Float>?
    private let file: OutputFile?
    private let known: Mutex<[Bool]>

    /// Room for sequences of these lengths.
    ///
    /// - Parameters:
    ///   - limit: bytes up to which they stay in memory; beyond, they go to a temporary file.
    ///   - isUsed: whether anything is kept at all.
    init(counts: [Int], width: Int, limit: Int, isUsed: Bool) throws(Problem) {
        var sums = [0]
        for count in counts { sums.append(sums[sums.count - 1] + count) }
        starts = sums
        self.width = width
        let total = sums[sums.count - 1]
        byteCount = total * width * MemoryLayout<Float>.stride
        known = Mutex([Bool](repeating: false, count: counts.count))
        place = !isUsed ? .nowhere : byteCount <= limit ? .memory : .file
        // Untouched pages cost nothing until their rows are there.
        rows =
            place == .memory ? Matrix(Memory(count: total * width, zeroed: false), 0, rows: total, columns: width) : nil
        file = place == .file ? try OutputFile(temporaryFor: "the hidden states of the frozen layers") : nil
        if let file { file.grew(to: byteCount) }
    }

    /// Writes the rows of a sequence to `target`, computing them with `compute` if they are not known yet.
    func read(_ sequence: Int, into target: Matrix<Float>, compute: () -> Matrix<Float>) throws(Problem) {
        let range = starts[sequence]..<starts[sequence + 1]
        precondition(target.rows == range.count && target.columns == width, "rows of another shape")
        if place != .nowhere, known.withLock({ $0[sequence] }) {
            if let rows { return target.copy(rows.rows(range)) }
            if let file {
                return try unsafe target.withBytes { bytes throws(Problem) in
                    try unsafe file.read(into: bytes, at: offset(range))
                }
            }
        }
        target.copy(compute())
        guard place != .nowhere else { return }
        if let rows { rows.rows(range).copy(target) }
        if let file {
            try unsafe target.withBytes { bytes throws(Problem) in
                try unsafe file.write(UnsafeRawBufferPointer(bytes), at: offset(range))
            }
        }
        known.withLock { $0[sequence] = true }
    }

    private func offset(_ range: Range<Int>) -> Int { range.lowerBound * width * MemoryLayout<Float>.stride }
}
