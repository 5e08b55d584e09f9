import Problems
import Safetensors

/// A base and the adapters that are to be used with it, opened and matched, with everything that was found.
public struct LoadedInputs: Sendable {
    /// Codes of errors that the user may turn into warnings, since what happens then is defined.
    public static let allowable = ["base-changed", "not-targeted", "unknown-config-field", "unused-pattern"]

    /// One adapter, as far as it could be read.
    public struct Entry: Sendable {
        /// How the user named it.
        public let operand: AdapterOperand
        /// The adapter; `nil` if it could not be read.
        public let adapter: Adapter?
        /// What it does to the base; `nil` if either could not be read.
        public let resolution: Resolution?
        /// What was found about it.
        public let problems: [Problem]
    }

    /// The base; `nil` if it could not be read.
    public let base: Checkpoint?
    /// What was found about the base.
    public let baseProblems: [Problem]
    /// The adapters, in the user's order.
    public let entries: [Entry]

    /// Reads headers and configs only; problems are collected, so that one run shows them all.
    ///
    /// - Parameter allowed: codes of errors that count as warnings.
    public init(base path: String, operands: [AdapterOperand], allowed: Set<String> = []) {
        var opened: Checkpoint?
        var found: [Problem] = []
        do throws(Problem) {
            let checkpoint = try Checkpoint.open(path: path)
            opened = checkpoint
            found = checkpoint.problems
        } catch {
            found = [error]
        }
        let isSound = !found.contains { $0.severity == .error }
        base = opened
        baseProblems = found
        entries = operands.map { Self.load($0, base: isSound ? opened : nil, allowed: allowed) }
    }

    private static func load(_ operand: AdapterOperand, base: Checkpoint?, allowed: Set<String>) -> Entry {
        do throws(Problem) {
            let adapter = try Adapter(path: operand.path)
            let resolution = base.map { Resolution(adapter: adapter, base: $0) }
            let problems = (resolution?.problems ?? adapter.problems).map { problem in
                guard problem.severity == .error, allowed.contains(problem.code) else { return problem }
                var lowered = problem
                lowered.severity = .warning
                return lowered
            }
            return Entry(operand: operand, adapter: adapter, resolution: resolution, problems: problems)
        } catch {
            return Entry(operand: operand, adapter: nil, resolution: nil, problems: [error])
        }
    }

    /// Everything that was found, the base's problems first.
    public var problems: [Problem] { baseProblems + entries.flatMap(\.problems) }

    /// Whether nothing stands against using them together.
    public var isSound: Bool { !problems.contains { $0.severity == .error } }
}
