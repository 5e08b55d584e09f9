import Adapters
import Archives
import CKernels
import Console
import Files
import Problems
import Safetensors

/// `adapter-inspect`: shows what an adapter, a model or a safetensors file is.
@main
enum InspectTool {
    static let tool = Tool(
        name: "adapter-inspect", summary: "show what an adapter, a model or a safetensors file is",
        usage: ["PATH...", "PATH --norms [--base BASE] [--plot FILE.svg]", "PATH --compare OTHER"],
        description: [
            "Tells what each PATH is: an adapter of any dialect (PEFT, kohya and LyCORIS, diffusers, MLX, GGUF, 'adapters'; and, "
                + "if it cannot be merged, why), a model, or any safetensors file. What counts is the content, not the file's name. Headers and "
                + "configs are enough for that, so it takes milliseconds whatever the size; but for an adapter's identity, a digest of "
                + "its file, for which up to 1 GiB is read. An archive has it in its directory.",
            "What is wrong with a file is told on stderr and decides the exit code; the other files are shown all the same. "
                + "That an adapter cannot be merged is no error here.",
            "--norms reads the adapter's data. The delta of a module is scale · B·A; its norms come from the small Gram "
                + "matrices of A and B, and the delta itself is never formed. The stable rank is (norm / spectral norm)²: how "
                + "many directions of equal size the delta is worth.",
            "--compare tells whether two adapters do the same to every base, however their factors look. Deltas count as the "
                + "same up to a relative distance of 1e-6, a little more than rounding factors to float32 does.",
            "--json prints one document with \"schema\": \"adapterkit.inspect\" and \"version\": 1. Its \"items\" have, for "
                + "each PATH, \"path\", \"type\" (adapter, model, tensors or unreadable), \"problems\" and the fields of that "
                + "type; those of an adapter include \"modules\", where the norms are too. With --compare, \"comparison\" "
                + "stands in place of the items.",
        ],
        options: [
            Option("modules", short: "m", help: "List the adapted modules: rank, alpha, scale, shapes."),
            Option("tensors", short: "t", help: "List the tensors: dtype, shape, bytes, offset in the file."),
            Option(
                "norms",
                help:
                    "Read the data: norm, spectral norm and stable rank of each module's delta. DoRA's magnitudes are left out."
            ),
            Option(
                "base", value: "BASE",
                help: "With --norms or --plot: also the norm of each delta relative to the weights of BASE."),
            Option(
                "plot", value: "FILE",
                help: "Draw the norms, layers by modules, as an SVG picture. Relative to the weights with --base."),
            Option(
                "compare", value: "OTHER", help: "Compare with another adapter: exit 0 if they do the same, else 1."),
            Option("force", short: "f", help: "Replace the picture if it exists."),
        ],
        operands: [
            (
                "PATH...",
                "An adapter's directory or file, a model's directory or index, an undo record, or any safetensors file."
            )
        ],
        examples: [
            ("adapter-inspect style/ llama/", "what are these?"),
            ("adapter-inspect style/ --norms --base llama/ --plot style.svg", "where did training change most?"),
            ("adapter-inspect style/ --compare style-converted/", "did the conversion keep the function?"),
        ],
        exitCodes: Tool.standardExitCodes.map { code in
            switch code.code {
            case 0: (0, "It is shown; with --compare, the two do the same.")
            case 1: (1, "With --compare, the two differ; else an adapter contradicts itself.")
            default: code
            }
        },
        versionDetails: { [unsafe "CPU level: \(String(cString: ak_level_name(ak_level())))"] })

    static func main() {
        tool.run { arguments, terminal in
            try check(arguments)
            if let other = arguments.value("compare") {
                return try compare(arguments.operands[0], other, arguments, terminal)
            }
            return try inspect(arguments, terminal)
        }
    }

    /// Refuses combinations that make no sense, before anything is read.
    private static func check(_ arguments: Arguments) throws {
        let reading = arguments.flag("norms") || arguments.value("plot") != nil
        for name in ["compare", "plot"] where arguments.value(name) != nil && arguments.operands.count > 1 {
            throw Problem(
                .usage, "several-paths", "--\(name) works on one adapter, but \(arguments.operands.count) are named",
                hint: name == "compare" ? "write: adapter-inspect ONE --compare OTHER" : nil)
        }
        if arguments.value("base") != nil, !reading {
            throw Problem(
                .usage, "base-unused", "--base is for relative norms, but neither --norms nor --plot is given",
                hint: "add --norms; adapter-verify BASE ADAPTER checks whether they fit")
        }
        if arguments.value("compare") != nil, reading {
            throw Problem(.usage, "compare-alone", "--compare goes with neither --norms nor --plot")
        }
        if let plot = arguments.value("plot") {
            guard plot.hasSuffix(".svg") else {
                throw Problem(
                    .usage, "bad-plot", "'\(plot)' does not end in .svg, but the picture is an SVG",
                    hint: "write --plot \(plot.split(separator: ".").first.map(String.init) ?? "norms").svg")
            }
            try requireSeparate(output: plot, from: arguments.operands + arguments.values("base"))
            guard Directory.kind(of: plot) == nil || arguments.flag("force") else {
                throw Problem(.output, "output-exists", file: plot, "exists already", hint: "replace it with --force")
            }
        }
    }

    /// Shows one path after the other; one that cannot be read does not stop the others.
    private static func inspect(_ arguments: Arguments, _ terminal: Terminal) throws -> Int32 {
        let base = try arguments.value("base").map(Checkpoint.openModel)
        if let base {
            terminal.report(base.problems)
            try base.requireSound()
        }
        var problems: [Problem] = []
        var documents: [JSON] = []
        var hasShown = false
        for path in arguments.operands {
            do {
                let view = try View(path: path, arguments: arguments, base: base, terminal: terminal)
                terminal.report(view.problems + view.remarks)
                problems += view.problems
                if terminal.json {
                    documents.append(view.document)
                } else {
                    if hasShown { terminal.print() }
                    hasShown = true
                    view.show(on: terminal)
                }
                if let plot = arguments.value("plot") {
                    try view.plot(to: plot, replacing: arguments.flag("force"))
                    terminal.note("the picture is in '\(plot)'")
                }
            } catch let problem as Problem where problem.kind != .interrupted && problem.kind != .output {
                terminal.report(problem)
                problems.append(problem)
                documents.append([
                    "path": .string(path), "type": "unreadable", "problems": .array([problem.json]),
                ])
            }
        }
        if terminal.json {
            terminal.print(json: ["schema": "adapterkit.inspect", "version": 1, "items": .array(documents)])
        }
        return ProblemList(problems).decidingKind?.exitCode ?? 0
    }
}
