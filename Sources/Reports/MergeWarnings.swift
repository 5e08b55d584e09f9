import Console
import Merging
import Problems

/// What rounding did to a merge that the user should know, or that keeps its output from appearing.
public struct MergeWarnings {
    private let path: String
    private let report: LossReport
    /// Codes that count as warnings.
    private let allowed: Set<String>

    /// Looks at what a merge into `path` lost.
    public init(path: String, report: LossReport, allowed: Set<String>) {
        self.path = path
        self.report = report
        self.allowed = allowed
    }

    /// Losses that the user should not overlook.
    public var all: [Problem] {
        var result: [Problem] = []
        let lost = nothing == nil ? report.mostlyLost : []
        if let first = lost.max(by: { $0.swallowed < $1.swallowed }) {
            result.append(
                Problem(
                    .warning, .incompatible, "update-lost", file: path, tensor: first.name,
                    "lost \(Humane.percent(first.swallowed)) of its changes to rounding"
                        + (lost.count > 1 ? ", and so did \(Humane.count(lost.count - 1, "other tensor"))" : "")
                        + ": the merged model will act less like base plus adapter",
                    hint: "merge into float32 with --dtype float32, or serve the adapter unmerged"))
        }
        return result + (nothing.map { [$0] } ?? []) + broken
    }

    /// A sum of adapters that is zero but for what the summation itself rounds, and changes no weight.
    private var nothing: Problem? {
        let others = report.tensors.contains {
            !["delta", "cast"].contains($0.kind) || $0.relativeSize > ($0.swallowed < 1 ? 1e-12 : 1e-6)
        }
        guard !others, let first = report.deltas.first else { return nil }
        return problem(
            severity("zero-delta"), "zero-delta", first.name,
            "does not change, and nothing else does: the adapters cancel, or their deltas are far too small, and the merged model "
                + "would be the base",
            hint: "--allow zero-delta writes it all the same")
    }

    /// Weights that are no numbers any more; without `--allow` they keep the output from appearing.
    private var broken: [Problem] {
        var result: [Problem] = []
        let large = report.tensors.filter { $0.overflows > 0 }
        if let first = large.first {
            let clamped = first.dtype.bits == 8
            let range = first.dtype == .f16 ? "--dtype bfloat16 or float32 has the range, or is" : "is"
            result.append(
                problem(
                    clamped ? .warning : severity("overflow"), "overflow", first.name,
                    "\(weights(large) { $0.overflows }) are too large for \(first.dtype.rawValue) and "
                        + (clamped ? "got its largest number" : "became infinite"),
                    hint: "\(range) the adapter's scale or weight too large?"))
        }
        let odd = report.tensors.filter { $0.nonFinite > 0 }
        if let first = odd.first {
            result.append(
                problem(
                    severity("non-finite"), "non-finite", first.name,
                    "\(weights(odd) { $0.nonFinite }) became NaN or infinite, since an input is, or the norm of an output that DoRA divides by is zero",
                    hint:
                        "adapter-verify --deep looks at the adapters and what they change; --allow non-finite writes them all the same"
                ))
        }
        return result
    }

    private func severity(_ code: String) -> Problem.Severity { allowed.contains(code) ? .warning : .error }

    private func weights(_ tensors: [TensorLoss], _ count: (TensorLoss) -> Int) -> String {
        let more =
            tensors.count > 1
            ? ", and \(Humane.count(tensors.dropFirst().reduce(0) { $0 + count($1) })) in "
                + Humane.count(tensors.count - 1, "other tensor") + "," : ""
        return Humane.count(count(tensors[0]), "weight") + more
    }

    private func problem(
        _ severity: Problem.Severity, _ code: String, _ tensor: String, _ message: String, hint: String
    ) -> Problem {
        Problem(severity, .incompatible, code, file: path, tensor: tensor, message, hint: hint)
    }
}
