import Adapters
import Archives
import CKernels
import Console
import Merging
import Problems
import Safetensors
import Tensors

/// `adapter-verify`: whether an adapter fits a base.
@main
enum VerifyTool {
    static let tool = Tool(
        name: "adapter-verify", summary: "check that adapters fit a base model",
        usage: ["BASE ADAPTER...", "[BASE] ADAPTER... --for PROGRAM"],
        description: [
            "Reads the headers and configs of a base checkpoint and of adapters, and tells everything that stands "
                + "against using them together: halves that are missing, shapes and ranks that do not fit, names that match "
                + "nothing, config fields that contradict the tensors, damaged files. All problems are listed, not just "
                + "the first.",
            "Headers are enough for that, so it takes milliseconds whatever the size. With --deep the data is read too. A packed "
                + "adapter that is bound to a base has the digests of what it changes there, and these are always checked.",
            "With --for the question is another one: would that program load the adapter, and would it compute what was trained? "
                + "The rules are those of the program's source, by the version that the documentation names; nothing is run. BASE "
                + "may be left out then. The first path is taken for BASE if it is a model and others follow, and for an adapter "
                + "otherwise. With BASE, names, vocabulary and layers are checked too.",
        ],
        options: [
            Option(
                "deep",
                help:
                    "Read the data as well: values that are NaN or infinite, adapters that change nothing, archives that are damaged."
            ),
            Option(
                "merged", value: "MODEL",
                help: "Check that MODEL is BASE with the adapters merged in. Every weight is computed anew, slowly and "
                    + "independently, in double precision."),
            Option(
                "for", value: "PROGRAM", repeats: true,
                help: "Check that this program would load the adapters and apply them rightly, instead of a merge.",
                choices: ServingTarget.allCases.map(\.rawValue)),
            Option(
                "allow", value: "CODE", repeats: true, help: "Count this kind of error as a warning.",
                choices: LoadedInputs.allowable),
        ],
        operands: [
            (
                "[BASE]",
                "A checkpoint: a directory (also a pipeline of diffusers), its index, or one .safetensors file. May be left out "
                    + "with --for."
            ),
            (
                "ADAPTER...",
                "Adapters: directories or files of any dialect, or archives. PATH:WEIGHT gives a weight."
            ),
        ],
        examples: [
            ("adapter-verify llama/ style/", "check one adapter"),
            ("adapter-verify --deep llama/ style/ facts/", "check two, and read their data"),
            ("adapter-verify llama/ style/ --merged merged/", "check a merge that somebody made"),
            ("adapter-verify style/ --for vllm --for llama.cpp", "where can it be served?"),
        ],
        versionDetails: { [unsafe "CPU level: \(String(cString: ak_level_name(ak_level())))"] })

    static func main() {
        tool.run { arguments, terminal in
            if arguments.isGiven("for") { return try serve(arguments, terminal) }
            guard arguments.operands.count > 1 else {
                throw Problem(.usage, "missing-operand", "ADAPTER is missing", hint: "usage: \(tool.usage[0])")
            }
            let base = arguments.operands[0]
            let operands = try arguments.operands.dropFirst().map(AdapterOperand.init)
            var inputs = LoadedInputs(base: base, operands: operands, allowed: Set(arguments.values("allow")))
            try checkBinding(&inputs, Set(arguments.values("allow")), terminal)
            var problems = inputs.problems + MergePlan.problems(of: inputs)
            if arguments.flag("deep") { problems += try deep(inputs, terminal) }
            var comparison: MergedComparison?
            if let merged = arguments.value("merged"), !problems.contains(where: { $0.severity == .error }) {
                let found = try compare(inputs, merged, terminal)
                comparison = found
                problems += found.problems
            }
            return conclude(inputs, problems, comparison, terminal)
        }
    }

    /// Holds the base against what packed adapters are bound to.
    private static func checkBinding(
        _ inputs: inout LoadedInputs, _ allowed: Set<String>, _ terminal: Terminal
    ) throws {
        let progress = Progress(terminal, label: "checking base", totalBytes: BaseBinding.checkedBytes(inputs))
        defer { progress.finish() }
        try BaseBinding.check(&inputs, allowed: allowed, threads: Workers.processors) { progress.advance(by: $0) }
    }

    static func deep(_ inputs: LoadedInputs, _ terminal: Terminal) throws -> [Problem] {
        let adapters = inputs.entries.compactMap(\.adapter)
        let resolutions = inputs.entries.compactMap(\.resolution)
        let size = adapters.reduce(0) { $0 + $1.file.header.dataLength }
        let touched = inputs.base.map { DeepCheck.bytes(of: $0, touchedBy: resolutions) } ?? 0
        let progress = Progress(terminal, label: "reading", totalBytes: size + touched)
        defer { progress.finish() }
        var result: [Problem] = []
        for archive in adapters.compactMap(\.archive) { try archive.test(threads: Workers.processors) }
        for adapter in adapters { result += try DeepCheck.problems(of: adapter) { progress.advance(by: $0) } }
        if let base = inputs.base {
            result += try DeepCheck.problems(of: base, touchedBy: resolutions) { progress.advance(by: $0) }
        }
        return result
    }

    private static func compare(_ inputs: LoadedInputs, _ path: String, _ terminal: Terminal) throws -> MergedComparison
    {
        guard let base = inputs.base else { return MergedComparison() }
        let parts = inputs.entries.compactMap { entry in
            entry.resolution.map { (entry.adapter, entry.operand.weight, $0) }
        }
        let pairs = parts.compactMap { part in part.0.map { ($0, part.1, part.2) } }
        let merged = try Checkpoint.openModel(path: path)
        let progress = Progress(
            terminal, label: "comparing", totalBytes: merged.tensors.reduce(0) { $0 + $1.info.byteCount })
        defer { progress.finish() }
        return try MergedComparison(base: base, adapters: pairs, merged: merged) { progress.advance(by: $0) }
    }

    private static func conclude(
        _ inputs: LoadedInputs, _ problems: [Problem], _ comparison: MergedComparison?, _ terminal: Terminal
    ) -> Int32 {
        let list = ProblemList(problems)
        terminal.report(list)
        if terminal.json {
            terminal.print(json: document(inputs, problems, comparison))
        } else {
            for line in summary(inputs, problems, comparison) { terminal.print(line) }
        }
        return list.decidingKind?.exitCode ?? 0
    }
}
