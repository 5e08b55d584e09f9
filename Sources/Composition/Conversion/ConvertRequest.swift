import Adapters
import Safetensors

/// What an adapter is to be converted to, and what may be lost.
public struct ConvertRequest: Sendable {
    /// The adapter.
    public let path: String
    /// The dialect that is written.
    public let target: Dialect
    /// The base, where names alone are not enough.
    public var base: String?
    /// Which component of a pipeline is meant, for dialects that need one or can hold only one.
    public var component: String?
    /// Whether what the target cannot say may be dropped, and dense deltas approximated.
    public var allowsLoss = false
    /// Whether rsLoRA and patterns become factors, so that one rank and one alpha are left.
    public var folds = false
    /// The dtype of the factors; `nil` keeps what loses nothing.
    public var dtype: DType?
    /// How many singular values of a dense delta are kept.
    public var truncation = Truncation()
    /// Codes of errors that count as warnings.
    public var allowed: Set<String> = []
    /// The version of the program.
    public var version: String

    /// Converts `path` to `target`.
    public init(_ path: String, to target: Dialect, version: String) {
        self.path = path
        self.target = target
        self.version = version
    }

    /// What `--to` takes.
    public static let targets: [(word: String, dialect: Dialect)] = [
        ("peft", .peft), ("kohya", .kohya), ("diffusers", .diffusers), ("mlx", .mlx), ("gguf", .gguf),
    ]
}
