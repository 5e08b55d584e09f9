import Tensors

/// What one worker has for one way through the model and back.
///
/// The rows of all matrices of a pass are the positions of its sequences, one after the other, without padding.
struct Pass<T: Real> {
    /// The memory for what is kept from the way there to the way back.
    let arena: Arena<T>
    /// Where gradients are summed; `nil` if there is no way back.
    let gradients: Gradients<T>?
    /// What decides which inputs are dropped; `nil` if none are.
    let dropout: Dropout?
    /// The sequences.
    let segments: [Segment]

    /// Rows of all sequences.
    var rows: Int { segments.last.map { $0.start + $0.count } ?? 0 }
}

/// Where a sequence lies in the rows of a pass.
struct Segment: Sendable {
    /// Its first row.
    let start: Int
    /// Its positions.
    let count: Int
    /// What its random numbers depend on beside seed and step: its place in the step's batch.
    let key: Int

    /// Its rows.
    var range: Range<Int> { start..<start + count }

    /// Sequences of these lengths, one after the other.
    static func list(_ counts: [Int], keys: [Int]) -> [Segment] {
        var start = 0
        return zip(counts, keys).map { count, key in
            defer { start += count }
            return Segment(start: start, count: count, key: key)
        }
    }
}

/// Random numbers that are a function of where they are used, so that threads, pauses and caches change nothing.
struct Dropout: Sendable {
    let seed: UInt64
    let step: Int

    /// A well-mixed number from `x`.
    static func mix(_ x: UInt64) -> UInt64 { SplitMix64.mix(x &+ SplitMix64.step) }

    /// out = x with each element 0 with `probability`, and divided by what is left of one otherwise.
    ///
    /// - Parameter module: tells modules apart.
    func apply<T: Real>(_ x: Matrix<T>, into out: Matrix<T>, probability: Double, module: Int, segments: [Segment]) {
        let bound = UInt64(probability * 0x1p53)
        let kept = T(1 / (1 - probability))
        for segment in segments {
            let key = Self.mix(Self.mix(Self.mix(seed ^ UInt64(step)) ^ UInt64(segment.key)) ^ UInt64(module))
            for position in 0..<segment.count {
                let row = segment.start + position
                let own = Self.mix(key ^ UInt64(position))
                for column in 0..<x.columns {
                    let isKept = Self.mix(own &+ UInt64(column)) >> 11 >= bound
                    out[row, column] = isKept ? x[row, column] * kept : 0
                }
            }
        }
    }
}
