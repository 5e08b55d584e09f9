import Models
import Problems
import Safetensors

/// What a run of the trainer is asked for.
public struct TrainingRequest: Sendable {
    /// What a full fine-tuning is stored as.
    public enum FullOutput: String, Sendable, CaseIterable {
        /// An archive that needs the base: what differs from it.
        case archive
        /// An adapter of low rank, by extraction.
        case adapter
        /// A whole model.
        case model
    }

    /// The base.
    public var base: String
    /// The training text.
    public var data: String
    /// The output.
    public var output: String
    /// Whether an output that exists is replaced.
    public var replaces = false
    /// Held-out text.
    public var validation: String?
    /// The part of the training text, from its end, that is held out instead.
    public var validationShare = 0.0
    /// Text of the base's own domain.
    public var retained: String?
    /// An adapter to go on from.
    public var start: String?
    /// Which blocks are trained; `nil` for the last half, or all for a prefix.
    public var layers: LayerChoice?
    /// What is trained, but for the layers.
    public var plan = TrainingPlan(layers: [])
    /// How long, how fast, on how much at a time.
    public var options = TrainingOptions()
    /// The longest sequence; `nil` for 128, or as many positions as the base has.
    public var length: Int?
    /// Whether examples that are longer are cut.
    public var truncates = false
    /// What the config calls the base; its directory's name otherwise.
    public var baseName: String?
    /// `full`: what is stored.
    public var fullOutput = FullOutput.archive
    /// `full`: the rank of the extracted adapter.
    public var extractedRank = 16
    /// `full`: the dtype of the tuned weights; `nil` for that of the base.
    public var dtype: DType?
    /// Steps between two checkpoints; `nil` for none.
    public var checkpointEvery: Int?
    /// Whether to go on from a checkpoint.
    public var resumes = false
    /// The version that records name.
    public var version: String

    /// A request with everything else as it is by default.
    public init(base: String, data: String, output: String, version: String) {
        (self.base, self.data, self.output, self.version) = (base, data, output, version)
    }

    /// Where checkpoints are kept: beside the output.
    public var checkpointPath: String { output + ".checkpoint" }
}

/// A choice of blocks: `all`, `last:K`, or numbers and ranges such as `0,4-7`.
public enum LayerChoice: Sendable, Equatable {
    /// All blocks.
    case all
    /// The last ones.
    case last(Int)
    /// These.
    case list([Int])

    /// Reads a choice.
    public init(_ text: String) throws(Problem) {
        let bad = Problem(
            .usage, "bad-layers", "'\(text.excerpt)' is no choice of layers",
            hint: "write all, last:2, or numbers from 0 such as 0,4-7")
        if text == "all" {
            self = .all
        } else if text.hasPrefix("last:") {
            guard let count = Int(text.dropFirst(5)), count > 0 else { throw bad }
            self = .last(count)
        } else {
            var list: Set<Int> = []
            for part in text.split(separator: ",", omittingEmptySubsequences: false) {
                let ends = part.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false).map { Int($0) }
                guard let first = ends[0], let last = ends[ends.count - 1], first >= 0, last >= first, last < 1 << 20
                else { throw bad }
                list.formUnion(first...last)
            }
            self = .list(list.sorted())
        }
    }

    /// The blocks of a model that has `count`.
    public func layers(of count: Int) throws(Problem) -> [Int] {
        switch self {
        case .all: return Array(0..<count)
        case .last(let number):
            guard number <= count else {
                throw Problem(
                    .usage, "bad-layers", "the last \(number) layers are asked for, but the base has \(count)")
            }
            return Array(count - number..<count)
        case .list(let list): return list
        }
    }
}
