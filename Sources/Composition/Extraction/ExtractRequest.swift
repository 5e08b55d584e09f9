import Problems
import Safetensors

/// What is to be extracted, and how.
public struct ExtractRequest: Sendable {
    /// The checkpoint that training began from.
    public var base: String
    /// The checkpoint that it ended with.
    public var tuned: String
    /// How many singular values are kept.
    public var truncation = Truncation()
    /// Whether each module has a rank of its own.
    public var isPerModule = false
    /// Whether what is no low-rank delta is left out.
    public var leavesOutWhole = false
    /// The dtype of the factors.
    public var dtype = DType.f32
    /// The seed of the sketches.
    public var seed: UInt64 = 0
    /// What the config calls the base; its directory's name otherwise.
    public var baseName: String?
    /// What records call the tuned checkpoint; its directory's name otherwise.
    public var tunedName: String?
    /// The version of the program, for provenance.
    public var version: String

    /// A request with everything else as it is by default.
    public init(base: String, tuned: String, version: String) {
        self.base = base
        self.tuned = tuned
        self.version = version
    }

    /// Refuses what makes no sense, before anything is read.
    public func check() throws(Problem) {
        guard truncation != Truncation() else {
            throw Problem(
                .usage, "no-rank", "it is not said how much is to be kept",
                hint: "say --rank 32, --energy 0.9 or --ratio 100")
        }
    }
}
