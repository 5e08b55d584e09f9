/// Something that is wrong, or worth knowing, about a file or a request: the one error type of the core.
///
/// A problem says what is, what was needed, and where; `hint` says what to do next. Its `kind` decides the exit code
/// of the tool that meets it.
public struct Problem: Error, Sendable, Equatable {
    /// How much it matters.
    public enum Severity: String, Sendable, Comparable {
        case note, warning, error

        /// Orders by how much it matters.
        public static func < (a: Severity, b: Severity) -> Bool { a.order < b.order }

        private var order: Int {
            switch self {
            case .note: 0
            case .warning: 1
            case .error: 2
            }
        }
    }

    /// What sort of failure it is; each has one exit code.
    public enum Kind: String, Sendable {
        /// The answer is no: the files are sound but do not fit, or differ.
        case incompatible
        /// The request makes no sense.
        case usage
        /// A file breaks its format.
        case malformed
        /// A file that is needed is not there.
        case missing
        /// A defect of this program.
        case internalFault
        /// The output exists already, or cannot be made.
        case output
        /// Reading or writing failed.
        case io
        /// Something that was interrupted, or goes on, must end first; then the same request works.
        case unfinished
        /// Stopped by a signal; what was there before is untouched.
        case interrupted

        /// The exit code of a tool that ends for this reason.
        public var exitCode: Int32 {
            switch self {
            case .incompatible: 1
            case .usage: 64
            case .malformed: 65
            case .missing: 66
            case .internalFault: 70
            case .output: 73
            case .io: 74
            case .unfinished: 75
            case .interrupted: 130
            }
        }
    }

    /// How much it matters.
    public var severity: Severity
    /// What sort of failure it is.
    public var kind: Kind
    /// A stable, hyphenated name of this problem for scripts: `shape-mismatch`.
    public var code: String
    /// The file it was found in, as the user named it.
    public var file: String?
    /// The tensor it is about.
    public var tensor: String?
    /// What is, and what was needed.
    public var message: String
    /// The next step.
    public var hint: String?
    /// Where in the file, in bytes from its beginning.
    public var offset: Int?

    /// Describes a problem; see the properties.
    public init(
        _ severity: Severity, _ kind: Kind, _ code: String, file: String? = nil, tensor: String? = nil,
        _ message: String, hint: String? = nil, offset: Int? = nil
    ) {
        self.severity = severity
        self.kind = kind
        self.code = code
        self.file = file
        self.tensor = tensor
        self.message = message
        self.hint = hint
        self.offset = offset
    }

    /// Describes an error; see the properties.
    public init(
        _ kind: Kind, _ code: String, file: String? = nil, tensor: String? = nil, _ message: String,
        hint: String? = nil, offset: Int? = nil
    ) {
        self.init(.error, kind, code, file: file, tensor: tensor, message, hint: hint, offset: offset)
    }

    /// The same problem as a warning, which needs no next step, if it is an error whose code is in `allowed`.
    public func lowered(ifIn allowed: Set<String>) -> Problem {
        guard severity == .error, allowed.contains(code) else { return self }
        var copy = self
        copy.severity = .warning
        copy.hint = nil
        return copy
    }

    /// The same problem, said of `file` unless it names one already.
    public func at(file: String) -> Problem {
        var copy = self
        copy.file = copy.file ?? file
        return copy
    }
}

/// Several problems that end a run together, never empty of errors.
public struct ProblemList: Error, Sendable, Equatable {
    /// All that was found, in the order it was found.
    public var problems: [Problem]

    /// Collects `problems`.
    public init(_ problems: [Problem] = []) { self.problems = problems }

    /// Whether any of them is an error.
    public var hasErrors: Bool { problems.contains { $0.severity == .error } }

    /// The kind that decides the exit code: damage and absence outweigh a mere "no".
    public var decidingKind: Kind? {
        let kinds = problems.filter { $0.severity == .error }.map(\.kind)
        return kinds.first { $0 != .incompatible } ?? kinds.first
    }

    /// What sort of failure decides.
    public typealias Kind = Problem.Kind
}
