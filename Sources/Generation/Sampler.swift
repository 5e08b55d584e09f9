import Glibc
import Problems
import Tensors

/// How the next token is chosen.
public struct Sampling: Sendable, Equatable {
    /// What logits are divided by; 0 takes the largest (greedy).
    public var temperature: Double
    /// Only so many of the largest count; `nil` for all.
    public var topK: Int?
    /// Only the smallest set of the likeliest that has this probability together counts; `nil` for all.
    public var topP: Double?

    /// Greedy unless told otherwise.
    public init(temperature: Double = 0, topK: Int? = nil, topP: Double? = nil) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
    }
}

/// Chooses tokens; the same seed gives the same choices for the same logits.
///
/// Temperature, top-k and top-p in this order and as transformers defines them (`generation/logits_process.py`): top-k keeps
/// all that equal the k-th, top-p keeps the likeliest that are needed to reach p, and always one.
public struct Sampler: Sendable {
    /// How it chooses.
    public let sampling: Sampling
    private var state: UInt64

    /// Begins with a seed.
    public init(_ sampling: Sampling, seed: UInt64) {
        self.sampling = sampling
        state = seed
    }

    /// The next token.
    ///
    /// - Throws: `non-finite` if a logit is NaN, or all are −∞.
    public mutating func choose(_ logits: [Float]) throws(Problem) -> Int {
        if sampling.temperature == 0 { return try Self.largest(logits) }
        let chances = try Self.chances(logits, sampling)
        let target = uniform()
        var sum = 0.0
        for (id, chance) in chances {
            sum += chance
            if target < sum { return id }
        }
        return chances.last?.id ?? 0
    }

    /// The first of the largest.
    private static func largest(_ logits: [Float]) throws(Problem) -> Int {
        var best = -1
        for (id, logit) in logits.enumerated() {
            guard !logit.isNaN else { throw noNumber() }
            if best < 0 || logit > logits[best] { best = id }
        }
        guard best >= 0, logits[best] > -.infinity else { throw noNumber() }
        return best
    }

    static func noNumber() -> Problem {
        Problem(
            .incompatible, "non-finite", "the model's answer is not a number",
            hint:
                "weights of the base or of an adapter are infinite, NaN or far too large: adapter-inspect --norms shows them"
        )
    }

    /// The ids that can be chosen, by id, with their probabilities, which add up to one.
    public static func chances(_ logits: [Float], _ sampling: Sampling) throws(Problem) -> [(id: Int, chance: Double)] {
        let top = logits[try largest(logits)]
        guard top < .infinity else { throw noNumber() }
        var kept = logits.enumerated().map { (id: $0.offset, logit: Double($0.element) / sampling.temperature) }
        if let k = sampling.topK, k < kept.count {
            let limit = kept.map(\.logit).sorted(by: >)[max(0, k - 1)]
            kept.removeAll { $0.logit < limit }
        }
        let largest = Double(top) / sampling.temperature
        var chances = kept.map { (id: $0.id, chance: exp($0.logit - largest)) }
        if let p = sampling.topP, p < 1 { chances = likeliest(chances, p) }
        let total = chances.reduce(0) { $0 + $1.chance }
        return chances.map { ($0.id, $0.chance / total) }
    }

    /// Those of `list` that are needed to reach the part `p` of all, the likeliest first; of equals the lower id goes first.
    private static func likeliest(_ list: [(id: Int, chance: Double)], _ p: Double) -> [(id: Int, chance: Double)] {
        let total = list.reduce(0) { $0 + $1.chance }
        let sorted = list.sorted { ($0.chance, $1.id) > ($1.chance, $0.id) }
        var sum = 0.0
        var count = 0
        while count < sorted.count, count == 0 || sum < p * total {
            sum += sorted[count].chance
            count += 1
        }
        return sorted[..<count].sorted { $0.id < $1.id }
    }

    /// A number from 0 up to 1, which is not reached (splitmix64).
    private mutating func uniform() -> Double {
        state &+= SplitMix64.step
        return SplitMix64.fraction(SplitMix64.mix(state))
    }
}
