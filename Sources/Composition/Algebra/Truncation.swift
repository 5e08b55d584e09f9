/// How many singular values are kept.
public struct Truncation: Sendable, Equatable {
    /// At most so many.
    public var rank: Int?
    /// So many that their squares make up at least this part of the sum of all squares.
    public var energy: Double?
    /// Those that are at least the largest one divided by this.
    public var ratio: Double?

    /// Keeps what all given limits allow; without any, everything.
    public init(rank: Int? = nil, energy: Double? = nil, ratio: Double? = nil) {
        self.rank = rank
        self.energy = energy
        self.ratio = ratio
    }

    /// Whether the rank is known before the data is.
    var isFixed: Bool { energy == nil && ratio == nil }

    /// How many of `values` (descending) are kept.
    ///
    /// - Parameter total: the sum of all squares, where `values` are not all of them.
    func count(of values: [Double], total: Double? = nil) -> Int {
        var count = values.count { $0 > 0 }
        if let ratio, let largest = values.first {
            count = min(count, values.count { $0 > 0 && $0 >= largest / ratio })
        }
        if let energy {
            // Relative to the largest, so that squares stay in range.
            let unit = values.first ?? 0
            let squares = values.map { unit > 0 ? ($0 / unit) * ($0 / unit) : 0 }
            let wanted = energy * (total.map { unit > 0 ? $0 / unit / unit : 0 } ?? squares.reversed().reduce(0, +))
            var sum = 0.0
            var needed = 0
            while needed < count, sum < wanted {
                sum += squares[needed]
                needed += 1
            }
            count = min(count, needed)
        }
        return min(count, rank ?? count)
    }
}

/// A product of two long thin factors that stands for a matrix D (rows × columns): D ≈ leftᵀ·right.
struct LowRank: Sendable {
    /// (rank × rows): the columns of the left factor.
    var left: Vectors
    /// (rank × columns): the rows of the right factor.
    var right: Vectors

    var rank: Int { left.count }
    /// The factors of the transposed matrix.
    var transposed: LowRank { LowRank(left: right, right: left) }

    /// A product of rank 0.
    init(rows: Int, columns: Int) {
        left = Vectors(count: 0, length: rows)
        right = Vectors(count: 0, length: columns)
    }

    /// Two factors of the same rank.
    init(left: Vectors, right: Vectors) {
        precondition(left.count == right.count, "factors of different ranks")
        self.left = left
        self.right = right
    }

    /// σ_k·u_k·v_kᵀ, each σ divided between both sides.
    init(_ values: ArraySlice<Double>, left: Vectors, right: Vectors) {
        self.init(left: left, right: right)
        for (index, value) in values.enumerated() {
            self.left.scale(index, by: value.squareRoot())
            self.right.scale(index, by: value.squareRoot())
        }
    }

    /// ‖leftᵀ·right‖², from the Gram matrices of the factors.
    var squaredNorm: Double {
        let (a, b) = (Self.gram(left), Self.gram(right))
        return zip(a.values, b.values).reduce(0) { $0 + $1.0 * $1.1 }
    }

    /// The inner products of all vectors with each other.
    static func gram(_ vectors: Vectors) -> Vectors {
        Strided.product(Strided(vectors), Strided(vectors).transposed)
    }
}

/// What a truncation gave, and what it cost.
struct Approximation {
    /// The factors.
    var factors: LowRank
    /// The singular values, as far as they are known, descending.
    var values: [Double]
    /// ‖D‖².
    var squaredNorm: Double

    /// The largest singular value that was dropped.
    var largestDropped: Double { values.count > factors.rank ? values[factors.rank] : 0 }
}
