import Adapters
import CKernels
import Console
import Files
import Merging
import Problems
import Safetensors
import Tensors

/// `adapter-merge`: dense weights from a base and adapters.
@main
enum MergeTool {
    static let tool = Tool(
        name: "adapter-merge", summary: "merge adapters into a base model",
        usage: ["BASE ADAPTER[:WEIGHT]... -o OUT"],
        description: [
            "Writes OUT, a checkpoint whose weights are those of BASE with the deltas of the adapters added: "
                + "W + the sum of weight · scale · B·A, or what another kind of adapter does instead. All deltas of a tensor are summed first, and each weight is rounded "
                + "once, to nearest even. The base's files, tensor order and dtypes are kept unless told otherwise, tensors "
                + "that no adapter touches are copied byte for byte, and config, tokenizer and other small files come along.",
            "Memory stays small whatever the size of the model. The output appears whole or not at all, its bytes depend on "
                + "the inputs and options only, and the inputs are never written to.",
        ],
        options: [
            Option(
                "output", short: "o", value: "OUT",
                help: "The directory to make, or a .safetensors file if BASE is one."),
            Option("force", short: "f", help: "Replace OUT if it exists."),
            Option("dry-run", short: "n", help: "Show what would be written, and what it needs, and stop."),
            Option(
                "dtype", value: "TYPE", help: "Cast all floating-point weights to this type.",
                choices: DType.words),
            Option(
                "max-shard-size", value: "SIZE",
                help:
                    "Distribute the tensors over files of at most SIZE, such as 5GB. Without it the base's files are kept."
            ),
            Option(
                "undo", value: "FILE",
                help: "Write a record with which adapter-unmerge gives back the base, bit for bit, without the base."),
            Option("undo-by-name", help: "Name the adapters in that record by their digests instead of holding them."),
            Option("report", value: "FILE", help: "Write what rounding did to each tensor as JSON."),
            Option(
                "digests",
                help: "Record SHA-256 of base and output, and write SHA256SUMS. Takes about as long as merging."),
            Option(
                "allow", value: "CODE", repeats: true, help: "Count this kind of error as a warning.",
                choices: LoadedInputs.allowableInMerge),
            Option("threads", short: "t", value: "N", help: "Use N threads; by default one for each CPU."),
        ],
        operands: [
            ("BASE", "A checkpoint: a directory (also a pipeline of diffusers), its index, or one .safetensors file."),
            (
                "ADAPTER[:WEIGHT]...",
                "Adapters: directories or files of any dialect, or archives. A weight multiplies the delta."
            ),
        ],
        examples: [
            ("adapter-merge llama/ style/ -o merged/", "merge one adapter"),
            ("adapter-merge llama/ style:0.7 facts:-0.2 -o merged/", "merge two with weights, in one rounding"),
            ("adapter-merge llama/ style/ -o merged/ --dry-run", "see what it would do"),
        ],
        versionDetails: { [unsafe "CPU level: \(String(cString: ak_level_name(ak_level())))"] })

    static func main() {
        tool.run { arguments, terminal in
            guard let path = arguments.value("output") else {
                throw Problem(.usage, "no-output", "there is no output", hint: "name it with -o OUT")
            }
            if !ak_level_variable_ok() {
                terminal.report(
                    Problem(
                        .warning, .usage, "bad-level",
                        "ADAPTERKIT_CPU names no level that this CPU has, so it is ignored",
                        hint: "use baseline, v3 or v4"))
            }
            let threads = try arguments.int("threads", in: 1...1024) ?? Workers.processors
            let plan = try prepare(arguments, path, threads, terminal)
            if arguments.flag("dry-run") {
                let force = arguments.flag("force")
                try StagedOutput.checkPlace(
                    path: path, shape: shape(of: path), replacing: force, replaceable: plan.replaceablePaths())
                for file in [arguments.value("report"), arguments.value("undo")].compactMap({ $0 }) {
                    try StagedOutput.checkPlace(path: file, shape: .file, replacing: force)
                }
                try DryRun(plan: plan, path: path, threads: threads).show(on: terminal)
                return 0
            }
            return try merge(plan, arguments, path, threads, terminal)
        }
    }

    /// Opens and checks everything, and plans; problems end the run before anything is written.
    private static func prepare(
        _ arguments: Arguments, _ path: String, _ threads: Int, _ terminal: Terminal
    ) throws -> MergePlan {
        let base = arguments.operands[0]
        let operands = try arguments.operands.dropFirst().map(AdapterOperand.init)
        try StagedOutput.split(path)
        try requireSeparate(output: path, from: [base] + operands.map(\.path))
        if let report = arguments.value("report") {
            guard report != "-" else {
                throw Problem(
                    .usage, "bad-report", "--report needs the name of a file", hint: "--json prints the same on stdout")
            }
            try requireSeparate(output: report, from: [base] + operands.map(\.path))
            try requireApart(report: report, output: path)
        }
        if let undo = arguments.value("undo") {
            try requireSeparate(output: undo, from: [base] + operands.map(\.path))
            try requireApart(report: undo, output: path, what: "undo record")
            if let report = arguments.value("report") {
                try requireApart(report: report, output: undo, what: "report")
            }
        } else if arguments.flag("undo-by-name") {
            throw Problem(
                .usage, "no-undo", "--undo-by-name says what goes into an undo record, but none is written",
                hint: "add --undo FILE")
        }
        var inputs = LoadedInputs(base: base, operands: operands, allowed: Set(arguments.values("allow")))
        guard inputs.isSound else { throw ProblemList(inputs.problems) }
        try checkBinding(&inputs, arguments, threads, terminal)
        guard inputs.isSound else { throw ProblemList(inputs.problems) }
        terminal.report(ProblemList(inputs.problems))
        if var problem = try inputs.untrained() {
            guard arguments.values("allow").contains("zero-delta") else { throw problem }
            problem.severity = .warning
            problem.hint = nil
            terminal.report(problem)
        }
        var options = MergeOptions(version: adapterKitVersion)
        options.dtype = arguments.value("dtype").flatMap(DType.init(word:))
        options.maxShardSize = try arguments.bytes("max-shard-size")
        options.digests = arguments.flag("digests")
        let plan = try MergePlan(inputs, options: options)
        terminal.report(plan.remarks)
        return try shape(of: path) == .file ? plan.renamed(to: name(of: path)) : plan
    }

    /// Holds the base against what packed adapters are bound to.
    private static func checkBinding(
        _ inputs: inout LoadedInputs, _ arguments: Arguments, _ threads: Int, _ terminal: Terminal
    ) throws {
        let progress = Progress(terminal, label: "checking base", totalBytes: BaseBinding.checkedBytes(inputs))
        defer { progress.finish() }
        try BaseBinding.check(
            &inputs, allowed: Set(arguments.values("allow")), threads: threads
        ) { progress.advance(by: $0) }
    }

    /// What the output is to be, by its name.
    private static func shape(of path: String) -> StagedOutput.Shape {
        path.hasSuffix(".safetensors") ? .file : .directory
    }

    private static func name(of path: String) -> String { path.split(separator: "/").last.map(String.init) ?? path }

    private static func merge(
        _ plan: MergePlan, _ arguments: Arguments, _ path: String, _ threads: Int, _ terminal: Terminal
    ) throws -> Int32 {
        let force = arguments.flag("force")
        let report = try arguments.value("report").map { file in
            try StagedOutput(path: file, shape: .file, replacing: force)
        }
        let record = try arguments.value("undo").map { file in
            try StagedOutput(path: file, shape: .file, replacing: force)
        }
        let output = try StagedOutput(
            path: path, shape: shape(of: path), replacing: force, replaceable: plan.replaceablePaths())
        try requireSpace(plan, output)
        let undo = try record.map { record in
            try UndoWriter(plan, output: record, holdsAdapters: !arguments.flag("undo-by-name"))
        }
        let started = Clock.now
        let progress = Progress(terminal, label: "merging", totalBytes: Merger.totalBytes(of: plan))
        defer { progress.finish() }
        let merger = Merger(plan: plan, output: output, undo: undo) { progress.advance(by: $0) }
        let result = try merger.run(threads: threads)
        var notes =
            shape(of: path) == .file ? [] : try Merger.writeDocuments(of: plan, to: output, digests: result.digests)
        let kept = try merger.finishUndo()
        notes += kept?.notes ?? []
        try checkInterrupted()
        var summary = MergeSummary(
            plan: plan, path: path, report: result.report, seconds: Clock.now - started, digests: result.digests,
            allowed: Set(arguments.values("allow")))
        let isBroken = ProblemList(summary.warnings).hasErrors
        if !isBroken {
            if let record { try StagedOutput.commit(record, then: output) } else { try output.commit() }
        }
        summary.undo = zip(record.map { [$0.path] } ?? [], kept.map { [$0.size] } ?? []).first { _ in true }
        progress.finish()
        terminal.report(notes)
        if let report {
            try report.write(name(of: report.path), Array((summary.document.pretty + "\n").utf8))
            try report.commit()
        }
        if isBroken { throw ProblemList(summary.warnings) }
        terminal.report(summary.warnings)
        summary.show(on: terminal)
        return 0
    }

    private static func requireSpace(_ plan: MergePlan, _ output: StagedOutput) throws {
        let free = try output.freeSpace()
        guard free >= plan.weightFileSize else {
            throw Problem(
                .io, "no-space", file: output.path,
                "needs \(Humane.bytes(plan.weightFileSize)), but only \(Humane.bytes(free)) are free there",
                hint: "free \(Humane.bytes(plan.weightFileSize - free)), or choose an output on another disk")
        }
    }
}
