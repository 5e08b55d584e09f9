import CKernels

/// The methods that drop single elements, as PEFT defines them (`utils/merge_utils.py`, 0.21.2).
struct SparseMethod: Sendable {
    /// Whether elements are dropped at random and the rest divided by the density, or the smallest dropped.
    let isRandom: Bool
    /// Whether a sign is elected for each element, and the mean taken of those that have it.
    let elects: Bool

    /// Adds the first `count` elements of the tensors up.
    ///
    /// - Parameter tensors: elements of each adapter, all at the same places, after what sieves left of them.
    func sum(
        _ tensors: [[Double]], weights: [Double], election: CombineRequest.Election, count: Int,
        to result: inout [Double]
    ) {
        for at in 0..<count { result[at] = 0 }
        guard elects else {
            for (tensor, weight) in zip(tensors, weights) {
                unsafe Self.with(tensor, &result) { unsafe ak_axpy_f64(weight, $0, $1, count) }
            }
            return
        }
        var balance = [Double](repeating: 0, count: count)
        for tensor in tensors {
            unsafe Self.with(tensor, &balance) { unsafe ak_balance_f64($0, $1, count, election == .frequency) }
        }
        var agreeing = [Double](repeating: 0, count: count)
        for (tensor, weight) in zip(tensors, weights) {
            unsafe agreeing.withUnsafeMutableBufferPointer { counts in
                unsafe Self.with(tensor, &result) { values, sum in
                    unsafe balance.withUnsafeBufferPointer {
                        unsafe ak_agree_f64(values, $0.baseAddress, weight, sum, counts.baseAddress, count)
                    }
                }
            }
        }
        unsafe Self.with(agreeing, &result) { unsafe ak_share_f64($1, $0, count) }
    }

    private static func with(
        _ source: [Double], _ target: inout [Double],
        _ body: (UnsafePointer<Double>?, UnsafeMutablePointer<Double>?) -> Void
    ) {
        unsafe source.withUnsafeBufferPointer { from in
            unsafe target.withUnsafeMutableBufferPointer { to in unsafe body(from.baseAddress, to.baseAddress) }
        }
    }
}

/// Which elements of one tensor are kept.
enum Sieve: Sendable {
    case all
    /// Those of larger magnitude than `bits` says, and of equal ones those up to the place `last`.
    case magnitude(bits: UInt32, last: Int)
    /// Each with the probability `density`, and then divided by it.
    case random(NumberedRandom, density: Double)

    /// Drops elements of a piece that begins at place `start` of its tensor.
    func apply(_ values: inout [Double], count: Int, start: Int) {
        switch self {
        case .all: return
        case .magnitude(let bits, let last):
            if last == .max {
                unsafe values.withUnsafeMutableBufferPointer { unsafe ak_sift_f64($0.baseAddress, count, bits) }
                return
            }
            for at in 0..<count {
                let own = Self.magnitude(values[at])
                if own < bits || (own == bits && start + at > last) { values[at] = 0 }
            }
        case .random(let random, let density):
            for at in 0..<count {
                values[at] = random.unit(start + at) < density ? values[at] / density : 0
            }
        }
    }

    /// What orders magnitudes: the bits of |value| in float32, which has more digits than factors are good for.
    private static func magnitude(_ value: Double) -> UInt32 { Float(value).bitPattern & 0x7FFF_FFFF }

    /// Calls its argument with pieces of a tensor, one after the other, and where they begin.
    typealias Walk = ((_ values: [Double], _ count: Int, _ start: Int) -> Void) throws -> Void

    /// The sieve that keeps the `density` of `total` elements that are largest; of equal ones, the first.
    ///
    /// Three walks over the tensor, which need not be in memory: the upper bits, the lower bits, and where to stop.
    static func largest(_ density: Double, of total: Int, walk: Walk) throws -> Sieve {
        if density >= 1 { return .all }
        var wanted = Int(density * Double(total))
        guard wanted > 0 else { return .magnitude(bits: .max, last: -1) }
        var counts = [Int](repeating: 0, count: 1 << 16)
        try walk { values, count, _ in
            for at in 0..<count { counts[Int(magnitude(values[at]) >> 15)] += 1 }
        }
        let upper = drop(counts, &wanted)
        counts = [Int](repeating: 0, count: 1 << 15)
        try walk { values, count, _ in
            for at in 0..<count {
                let bits = magnitude(values[at])
                if bits >> 15 == upper { counts[Int(bits & 0x7FFF)] += 1 }
            }
        }
        let lower = drop(counts, &wanted)
        let bits = UInt32(upper << 15 | lower)
        if counts[lower] == wanted { return .magnitude(bits: bits, last: .max) }
        var last = -1
        try walk { values, count, start in
            for at in 0..<count where wanted > 0 && magnitude(values[at]) == bits {
                wanted -= 1
                last = start + at
            }
        }
        return .magnitude(bits: bits, last: last)
    }

    /// The bin in which the last of the `wanted` largest lies, and how many are wanted of that bin.
    private static func drop(_ counts: [Int], _ wanted: inout Int) -> Int {
        for bin in counts.indices.reversed() {
            if counts[bin] >= wanted { return bin }
            wanted -= counts[bin]
        }
        return 0
    }
}

/// The dense deltas of several adapters after a sparse method, by blocks of rows.
struct SparseDeltas: RowBlocks {
    /// Factors with the adapter's scale, and the user's weights.
    private var deltas: [ProductRows]
    private let weights: [Double]
    private let method: SparseMethod
    private let election: CombineRequest.Election
    private var sieves: [Sieve] = []
    private var blocks: [[Double]]

    var rows: Int { deltas[0].rows }
    var columns: Int { deltas[0].columns }

    init(
        _ parts: [(factors: LowRank, weight: Double)], _ method: SparseMethod, _ request: CombineRequest, name: String,
        inputs: [Int]
    ) throws {
        deltas = parts.map { ProductRows($0.factors) }
        weights = parts.map(\.weight)
        blocks = parts.map { _ in [] }
        self.method = method
        election = request.election
        let density = request.density ?? 1
        for at in parts.indices {
            if method.isRandom {
                let random = NumberedRandom(seed: request.seed, "dare", name, "\(inputs[at])")
                sieves.append(density >= 1 ? .all : .random(random, density: density))
                continue
            }
            var delta = deltas[at]
            sieves.append(
                try Sieve.largest(density, of: rows * columns) { body in
                    let columns = delta.columns
                    try delta.forEachBlock { range, block in
                        body(block, range.count * columns, range.lowerBound * columns)
                    }
                })
        }
    }

    mutating func read(_ range: Range<Int>, to target: inout [Double]) {
        let count = range.count * columns
        for at in deltas.indices {
            if blocks[at].count < count { blocks[at] = [Double](repeating: 0, count: count) }
            deltas[at].read(range, to: &blocks[at])
            sieves[at].apply(&blocks[at], count: count, start: range.lowerBound * columns)
        }
        method.sum(blocks, weights: weights, election: election, count: count, to: &target)
    }
}

/// A product of factors by blocks of rows.
struct ProductRows: RowBlocks {
    private let factors: LowRank

    var rows: Int { factors.left.length }
    var columns: Int { factors.right.length }

    init(_ factors: LowRank) { self.factors = factors }

    mutating func read(_ range: Range<Int>, to target: inout [Double]) {
        for at in 0..<(range.count * columns) { target[at] = 0 }
        Strided.addProduct(
            Strided(factors.left).transposed.rows(range), Strided(factors.right), to: &target)
    }
}
