import Glibc
import Models
import Problems
import Tensors

/// What is trained, and how: everything else of the base is frozen.
public struct TrainingPlan: Sendable, Equatable {
    /// A method of the field.
    public enum Method: String, Sendable, CaseIterable {
        /// Low-rank updates beside linear layers (arXiv:2106.09685).
        case lora
        /// The weights themselves.
        case full
        /// Small layers behind attention and MLP (Houlsby et al., arXiv:1902.00751).
        case bottleneck
        /// Keys and values in front of every sequence (Li & Liang, arXiv:2101.00190).
        case prefix
    }

    /// How.
    public var method = Method.lora
    /// Blocks that are trained, by number.
    public var layers: [Int]
    /// `lora`: short names of the linear modules that are adapted, such as `q_proj`.
    public var targets = TrainingPlan.defaultTargets
    /// `lora`: columns of A's product.
    public var rank = 8
    /// `lora`: the scaling is alpha / rank.
    public var alpha = 16.0
    /// `lora`: alpha / √rank instead (arXiv:2312.03732).
    public var usesRankStabilization = false
    /// `lora`: with a magnitude for each output (DoRA, arXiv:2402.09353).
    public var usesMagnitude = false
    /// `lora`: how often an input of A counts as zero.
    public var dropout = 0.0
    /// `lora`: modules that are trained whole and stored beside the factors: `lm_head`, `embed_tokens`, norms, linear ones.
    public var modulesToSave: [String] = []
    /// `bottleneck`: numbers between the two layers.
    public var bottleneckSize = 16
    /// `prefix`: virtual positions.
    public var prefixLength = 16
    /// What the first values are drawn with.
    public var seed: UInt64 = 0

    /// A plan for these blocks, everything else as usual.
    public init(layers: [Int]) { self.layers = layers }

    /// q, k, v, o and up: what is adapted unless something else is asked for.
    public static let defaultTargets = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj"]
    /// All linear modules of a block.
    public static let linearModules = LlamaNames.linear.map(shortName)
    /// Modules that can be trained whole.
    public static let savableModules = ["embed_tokens", "lm_head", "norm"] + LlamaNames.norms + linearModules

    /// The last part of a path.
    static func shortName(_ path: String) -> String { path.split(separator: ".").last.map(String.init) ?? path }

    /// What products of A and B are multiplied with.
    public var scaling: Double { alpha / (usesRankStabilization ? Double(rank).squareRoot() : Double(rank)) }

    /// Refuses what makes no sense for a model.
    public func check(_ config: LlamaConfig) throws(Problem) {
        if let bad = layers.first(where: { !(0..<config.layers).contains($0) }) {
            throw Problem(
                .usage, "bad-layers", "layer \(bad) is asked for, but the base has the layers 0 to \(config.layers - 1)"
            )
        }
        guard !layers.isEmpty || !modulesToSave.isEmpty else {
            throw Problem(.usage, "bad-layers", "no layer is left to train")
        }
        if method == .lora { try checkNames() }
        if method == .prefix {
            guard layers.count == config.layers else {
                throw Problem(
                    .usage, "bad-layers", "a prefix stands in all layers: PEFT's format has no other",
                    hint: "leave --layers out")
            }
        }
    }

    private func checkNames() throws(Problem) {
        if let bad = targets.first(where: { !Self.linearModules.contains($0) }) {
            throw Problem(
                .usage, "bad-targets", "'\(bad.excerpt)' is no linear module of a block",
                hint: "these are: \(Self.linearModules.joined(separator: ", "))")
        }
        if let bad = modulesToSave.first(where: { !Self.savableModules.contains($0) }) {
            throw Problem(
                .usage, "bad-targets", "'\(bad.excerpt)' is no module that can be trained whole",
                hint: "these are: \(Self.savableModules.joined(separator: ", "))")
        }
        if let twice = modulesToSave.first(where: targets.contains) {
            throw Problem(.usage, "bad-targets", "'\(twice)' cannot have an update and be trained whole as well")
        }
        guard !targets.isEmpty || !modulesToSave.isEmpty else {
            throw Problem(.usage, "bad-targets", "no module is left to train")
        }
    }
}

/// Numbers that are drawn one after the other, the same for the same seed (splitmix64).
struct SeededNumbers: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64, _ name: String) {
        state = name.utf8.reduce(Dropout.mix(seed)) { Dropout.mix($0 ^ UInt64($1)) }
    }

    mutating func next() -> UInt64 {
        defer { state &+= SplitMix64.step }
        return Dropout.mix(state)
    }

    /// Evenly between 0 and 1.
    mutating func fraction() -> Double { SplitMix64.fraction(next()) }

    /// With mean 0 and deviation 1 (Box and Muller 1958).
    mutating func normal() -> Double {
        let radius = (-2 * log(1 - fraction())).squareRoot()
        return radius * cos(2 * Double.pi * fraction())
    }
}
