import Files
import Problems
import Tensors

/// A matrix that is too large to hold, given by blocks of rows, as often as they are asked for.
protocol RowBlocks {
    /// Rows of the matrix.
    var rows: Int { get }
    /// Its columns.
    var columns: Int { get }
    /// Writes the rows of `range` to the beginning of `target`, row-major.
    mutating func read(_ range: Range<Int>, to target: inout [Double]) throws
}

extension RowBlocks {
    /// Rows of a block: about 2 MB, and the same for every run.
    var blockRows: Int { max(16, min(rows, (1 << 18) / max(1, columns))) }

    /// Calls `body` with one block after the other.
    mutating func forEachBlock(_ body: (Range<Int>, [Double]) throws -> Void) throws {
        var block = [Double](repeating: 0, count: blockRows * columns)
        let step = blockRows
        for start in stride(from: 0, to: rows, by: step) {
            try checkInterrupted()
            let range = start..<min(rows, start + step)
            try read(range, to: &block)
            try body(range, block)
        }
    }

    /// The whole matrix, whose rows are the vectors.
    mutating func whole() throws -> Vectors {
        var result = Vectors(count: rows, length: columns)
        let columns = columns
        try forEachBlock { range, block in
            let place = range.lowerBound * columns..<range.upperBound * columns
            result.values.replaceSubrange(place, with: block[..<(range.count * columns)])
        }
        return result
    }

    /// ‖D − leftᵀ·right‖² and the largest |element| of the difference, for factors as they were stored.
    mutating func error(of stored: LowRank) throws -> (squared: Double, largest: Double) {
        var negative = stored.left
        for at in negative.values.indices { negative.values[at].negate() }
        let (left, right) = (negative.transposed, Strided(stored.right))
        let columns = columns
        var squared = 0.0
        var largest = 0.0
        try forEachBlock { range, block in
            var rest = Vectors(head: block, count: range.count, length: columns)
            Strided.addProduct(Strided(left).rows(range), right, to: &rest.values)
            squared += rest.squaredNorm
            largest = rest.values.reduce(largest) { max($0, abs($1)) }
        }
        return (squared, largest)
    }
}

/// Random numbers that depend on what they are for, not on when they are drawn: the same on every machine.
struct NumberedRandom: Sendable {
    private let key: UInt64

    /// Numbers for one purpose, by a seed and words that tell the purpose.
    init(seed: UInt64, _ words: String...) {
        var key = SplitMix64.mix(seed &+ SplitMix64.step)
        for word in words {
            for byte in word.utf8 { key = SplitMix64.mix(key ^ UInt64(byte)) }
            key = SplitMix64.mix(key ^ 0x100)
        }
        self.key = key
    }

    /// Number `index`, uniform in 0..<1, of 53 bits.
    func unit(_ index: Int) -> Double {
        SplitMix64.fraction(SplitMix64.mix(key &+ UInt64(index) &* SplitMix64.step))
    }
}
