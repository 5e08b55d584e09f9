import Console
import Merging
import Problems
import Reports

/// What a merge tells at its end.
struct MergeSummary {
    let plan: MergePlan
    let path: String
    let report: LossReport
    let seconds: Double
    let digests: [(name: String, digest: String)]
    /// Codes that count as warnings.
    let allowed: Set<String>
    /// The undo record and its bytes, if one was written.
    var undo: (path: String, size: Int)?

    /// Losses that the user should not overlook.
    var warnings: [Problem] { MergeWarnings(path: path, report: report, allowed: allowed).all }

    /// Prints the result on stdout and the short form of the loss report on stderr.
    func show(on terminal: Terminal) {
        if terminal.json {
            terminal.print(json: document)
            return
        }
        let (changed, copied) = plan.counts
        terminal.print(
            "\(escaped(path)): \(Humane.count(changed, "tensor")) merged, \(Humane.count(copied)) copied, "
                + "\(Humane.bytes(plan.weightFileSize)) in \(Humane.duration(seconds))")
        if let undo {
            terminal.note(
                "undo record: \(escaped(undo.path)), \(Humane.bytes(undo.size)); adapter-unmerge gives the base back with it"
            )
        }
        let deltas = report.deltas
        guard !deltas.isEmpty else { return }
        let sizes = deltas.map(\.relativeSize).sorted()
        let errors = deltas.map(\.relativeError).sorted()
        terminal.note(
            "update: \(Humane.percent(sizes[sizes.count / 2])) of the weights' size (median), up to "
                + "\(Humane.percent(sizes[sizes.count - 1])); rounding left \(Humane.percent(report.swallowed)) of the changes "
                + "without effect; relative error of the applied update \(Humane.percent(errors[errors.count / 2])) (median)"
        )
    }

    /// The document of `--json` and `--report`.
    var document: JSON {
        let (changed, copied) = plan.counts
        return [
            "schema": "adapterkit.merge", "version": 1, "output": .string(path), "base": .string(plan.base.path),
            "adapters": .array(
                plan.inputs.map { ["path": .string($0.adapter.path), "weight": .double($0.weight)] }),
            "tensors": ["merged": .int(changed), "copied": .int(copied)], "bytes": .int(plan.weightFileSize),
            "files": .array(
                plan.files.map { file in
                    [
                        "name": .string(file.name), "bytes": .int(file.size),
                        "sha256": .optional(digests.first { $0.name == file.name }?.digest),
                    ]
                }),
            "loss": [
                "swallowed": .double(report.swallowed), "overflows": .int(report.overflows),
                "non_finite": .int(report.nonFinite), "tensors": .array(report.tensors.map(Self.json)),
            ],
            "undo": undo.map { ["path": .string($0.path), "bytes": .int($0.size)] } ?? .null,
            "warnings": .array((plan.remarks + warnings).map(\.json)),
        ]
    }

    private static func json(_ loss: TensorLoss) -> JSON {
        [
            "name": .string(loss.name), "kind": .string(loss.kind), "modules": .array(loss.modules.map(JSON.string)),
            "elements": .int(loss.elements), "relative_size": .double(loss.relativeSize),
            "swallowed": .double(loss.swallowed), "relative_error": .double(loss.relativeError),
            "overflows": .int(loss.overflows), "non_finite": .int(loss.nonFinite),
        ]
    }
}

/// What `--dry-run` shows.
struct DryRun {
    let plan: MergePlan
    let path: String
    let threads: Int

    func show(on terminal: Terminal) throws {
        let (changed, copied) = plan.counts
        let memory = plan.memoryEstimate(threads: threads)
        if terminal.json {
            terminal.print(json: [
                "schema": "adapterkit.merge-plan", "version": 1, "output": .string(path),
                "base": .string(plan.base.path),
                "files": .array(plan.files.map { ["name": .string($0.name), "bytes": .int($0.size)] }),
                "tensors": ["merged": .int(changed), "copied": .int(copied)], "bytes": .int(plan.weightFileSize),
                "copied_bytes": .int(plan.copiedBytes), "memory_bytes": .int(memory), "threads": .int(threads),
            ])
            return
        }
        var table = Table(columns: [("file", .left), ("bytes", .right)])
        for file in plan.files { table.add([file.name, Humane.count(file.size)]) }
        terminal.print(table)
        terminal.print("")
        terminal.print("\(Humane.count(changed, "tensor")) to merge, \(Humane.count(copied)) to copy as they are")
        terminal.print(
            "\(Humane.bytes(plan.weightFileSize)) on disk, about \(Humane.bytes(memory)) of memory with \(threads) threads"
        )
        terminal.print("nothing was written")
    }
}
