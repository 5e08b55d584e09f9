import Adapters
import Problems
import Safetensors

/// How several adapters become one.
public enum CombineMethod: String, Sendable, CaseIterable {
    /// The sum of the deltas, exactly, with all ranks.
    case stack
    /// The first delta minus the others, exactly, with all ranks.
    case subtract
    /// The sum of the deltas, at the rank of the largest one.
    case linear
    /// The best approximation of the sum of the deltas.
    case svd
    /// The best approximation of one delta.
    case resize
    /// Small changes dropped, a sign elected for each weight, the mean of those that agree (Yadav et al., 2023).
    case ties
    /// Changes dropped at random, the rest made larger (Yu et al., 2024), then summed.
    case dareLinear = "dare-linear"
    /// The same, then signs as in `ties`.
    case dareTies = "dare-ties"
    /// Small changes dropped, then summed.
    case magnitudePrune = "magnitude-prune"
    /// PEFT's `linear`: sums of factors, whose product has cross terms that belong to no adapter.
    case factorLinear = "factor-linear"

    /// Whether it drops single elements.
    public var isSparse: Bool { sparse != nil }

    var sparse: SparseMethod? {
        switch self {
        case .ties: SparseMethod(isRandom: false, elects: true)
        case .dareLinear: SparseMethod(isRandom: true, elects: false)
        case .dareTies: SparseMethod(isRandom: true, elects: true)
        case .magnitudePrune: SparseMethod(isRandom: false, elects: false)
        default: nil
        }
    }

    /// Whether the result is the sum of the deltas, as far as its rank allows.
    var isSum: Bool { sparse == nil && self != .factorLinear }
}

/// What is to be combined, and how.
public struct CombineRequest: Sendable {
    /// What the sparse methods work on.
    public enum Domain: String, Sendable { case deltas, factors }
    /// How the sign of a weight is elected: by the sum of the changes, or by their number.
    public enum Election: String, Sendable { case total, frequency }

    /// The method.
    public var method: CombineMethod
    /// The adapters with their weights.
    public var operands: [AdapterOperand]
    /// The model that the adapters are for, where their dialects' names are not enough.
    public var base: String?
    /// Beside what path there is room for what is needed only meanwhile.
    public var scratch: String?
    /// How many singular values are kept.
    public var truncation = Truncation()
    /// Whether each module has a rank of its own.
    public var isPerModule = false
    /// What the sparse methods work on.
    public var domain = Domain.deltas
    /// The part of all elements that sparse methods keep.
    public var density: Double?
    /// How signs are elected.
    public var election = Election.total
    /// The seed of everything random.
    public var seed: UInt64 = 0
    /// The dtype of the factors; `nil` for one that loses nothing.
    public var dtype: DType?
    /// Codes of errors that count as warnings.
    public var allowed: Set<String> = []
    /// The version of the program, for provenance.
    public var version: String

    /// A request with everything else as it is by default.
    public init(_ method: CombineMethod, _ operands: [AdapterOperand], version: String) {
        self.method = method
        self.operands = operands
        self.version = version
    }

    /// Codes of errors that a user may turn into warnings.
    public static let allowable = [
        "base-changed", "different-base", "not-targeted", "unknown-config-field", "unused-pattern", "zero-delta",
    ]

    /// The weights with the method's own signs.
    var weights: [Double] {
        operands.enumerated().map { at, operand in method == .subtract && at > 0 ? -operand.weight : operand.weight }
    }

    /// Refuses what makes no sense, before anything is read.
    public func check() throws(Problem) {
        let limits = [
            truncation.rank.map { _ in "--rank" }, truncation.energy.map { _ in "--energy" },
            truncation.ratio.map { _ in "--ratio" },
        ]
        .compactMap { $0 }
        let name = method.rawValue
        if method == .resize, operands.count != 1 {
            throw Problem(
                .usage, "one-adapter", "resize works on one adapter, but \(operands.count) are named",
                hint: "svd does the same for a sum of several")
        }
        if method == .subtract, operands.count < 2 {
            throw Problem(
                .usage, "one-adapter", "subtract needs something to take away, but only one adapter is named",
                hint: "write adapter-combine subtract FROM WHAT... -o OUT")
        }
        switch method {
        case .svd, .resize:
            guard !limits.isEmpty else {
                throw Problem(
                    .usage, "no-rank", "\(name) needs to know what to keep",
                    hint: "say --rank 16, --energy 0.99 or --ratio 100")
            }
        case .stack, .subtract, .factorLinear:
            if let limit = limits.first {
                throw Problem(
                    .usage, "rank-unused", "\(name) keeps all of it, so \(limit) has no place here",
                    hint: "svd is the same sum at a smaller rank")
            }
        default: break
        }
        guard method.isSparse else {
            if density != nil {
                throw Problem(
                    .usage, "density-unused", "--density is for ties, dare-linear, dare-ties and magnitude-prune")
            }
            if domain == .factors {
                throw Problem(
                    .usage, "domain-unused", "--on factors is for ties, dare-linear, dare-ties and magnitude-prune",
                    hint: method == .linear
                        ? "PEFT's linear, which works on factors, is called factor-linear here" : nil)
            }
            return
        }
        guard density != nil else {
            throw Problem(
                .usage, "no-density", "\(name) needs the part of the changes that it keeps",
                hint: "say --density 0.2, as the TIES paper does, or more; DARE's keep between 0.1 and 0.5")
        }
        if domain == .factors, let limit = limits.first {
            throw Problem(.usage, "rank-unused", "on factors the rank stays what it is, so \(limit) has no place here")
        }
    }
}
