import Adapters
import CKernels
import Composition
import Console
import Files
import Problems
import Reports
import Safetensors

/// `adapter-convert`: the same adapter in another dialect.
@main
enum ConvertTool {
    static let tool = Tool(
        name: "adapter-convert", summary: "write an adapter in another library's format",
        usage: ["IN -o OUT --to DIALECT [options]"],
        description: [
            "Reads an adapter of any dialect (PEFT, kohya and LyCORIS, diffusers, MLX, GGUF, 'adapters') and writes the same "
                + "function in another. Factors are copied byte for byte where nothing has to change. Where the target has no field "
                + "for a scale (rsLoRA, rank_pattern and alpha_pattern in MLX and GGUF), it becomes part of B, in float32.",
            "What the target cannot say (DoRA in GGUF, biases in MLX, ...) is refused by name. --allow-lossy leaves it out instead, "
                + "and says what was lost. LoHa, LoKr and VeRA become pairs of factors: exactly, or with --rank, "
                + "--energy or --ratio and --allow-lossy as the best approximation, with its error.",
            "Before OUT appears it is read back, and what each module does is compared with the source.",
            "OUT is a file if its name ends in .safetensors or .gguf, else a directory. PEFT and MLX need a directory, for their "
                + "config.",
        ],
        options: [
            Option("output", short: "o", value: "OUT", help: "The directory or file to make."),
            Option(
                "to", value: "DIALECT", help: "What to write.", choices: ConvertRequest.targets.map(\.word)),
            Option("force", short: "f", help: "Replace OUT if it exists."),
            Option(
                "base", short: "b", value: "BASE",
                help: "The model that it was trained on. Needed where names alone are ambiguous (kohya, GGUF)."),
            Option(
                "component", value: "NAME",
                help: "The part of a pipeline that the adapter is for: unet, transformer, text_encoder, ..."),
            Option(
                "fold",
                help: "With --to peft: one rank, one alpha and no patterns. rsLoRA and other scales become part of B, "
                    + "and smaller ranks are filled up with zeros."
            ),
            Option("allow-lossy", help: "Leave out what the target cannot say, and approximate; the loss is reported."),
        ] + Option.truncation.filter { $0.name != "per-module" } + [
            Option(
                "dtype", value: "TYPE",
                help:
                    "Store the factors in this type; a narrower one needs --allow-lossy. Without it, nothing is rounded.",
                choices: DType.words, group: "What is kept"),
            Option(
                "allow", value: "CODE", repeats: true, help: "Count this kind of error as a warning.",
                choices: LoadedInputs.allowable),
        ],
        operands: [("IN", "The adapter: a directory, a file, or an archive.")],
        examples: [
            ("adapter-convert style -o style-mlx --to mlx", "for mlx-lm"),
            ("adapter-convert lora.safetensors -o out --to peft --base sd15", "from kohya; names need the base"),
            ("adapter-convert style -o style.gguf --to gguf --base llama", "for llama.cpp"),
            ("adapter-convert loha -o lora --to peft --rank 32 --allow-lossy", "the best pair of rank 32"),
        ],
        versionDetails: { [unsafe "CPU level: \(String(cString: ak_level_name(ak_level())))"] })

    static func main() {
        tool.run { arguments, terminal in
            terminal.warnOfUnknownLevel()
            let request = try request(arguments)
            let path = try place(arguments, request)
            let started = Clock.now
            let plan = try ConvertPlan(request)
            let stage = try StagedOutput(path: path, shape: shape(path), replacing: arguments.flag("force"))
            let result = try Converter(plan).run(to: stage)
            try checkInterrupted()
            let summary = ConvertSummary(plan: plan, result: result, path: path, seconds: Clock.now - started)
            try stage.commit()
            terminal.report(plan.remarks, cap: 8)
            summary.show(on: terminal)
            return 0
        }
    }

    private static func request(_ arguments: Arguments) throws -> ConvertRequest {
        guard let word = arguments.value("to"),
            let target = ConvertRequest.targets.first(where: { $0.word == word })?.dialect
        else {
            throw Problem(
                .usage, "no-target", "there is no target",
                hint: "say --to " + ConvertRequest.targets.map(\.word).joined(separator: ", --to "))
        }
        var request = ConvertRequest(arguments.operands[0], to: target, version: adapterKitVersion)
        request.base = arguments.value("base")
        request.component = arguments.value("component")
        request.allowsLoss = arguments.flag("allow-lossy")
        request.folds = arguments.flag("fold")
        request.truncation = try arguments.truncation()
        request.dtype = arguments.value("dtype").flatMap(DType.init(word:))
        request.allowed = Set(arguments.values("allow"))
        return request
    }

    private static func shape(_ path: String) -> StagedOutput.Shape {
        path.hasSuffix(".safetensors") || path.hasSuffix(".gguf") ? .file : .directory
    }

    /// The output's path, refused where it cannot be.
    private static func place(_ arguments: Arguments, _ request: ConvertRequest) throws -> String {
        guard let path = arguments.value("output") else {
            throw Problem(.usage, "no-output", "there is no output", hint: "name it with -o OUT")
        }
        let wanted = request.target == .gguf ? ".gguf" : ".safetensors"
        if shape(path) == .file, !path.hasSuffix(wanted) || request.target == .peft || request.target == .mlx {
            throw Problem(
                .usage, "bad-output", file: path,
                "is the name of a file that \(request.target.rawValue) adapters are not",
                hint: request.target == .peft || request.target == .mlx
                    ? "name a directory: the config belongs to it" : "end the name in \(wanted), or name a directory")
        }
        try StagedOutput.split(path)
        try requireSeparate(output: path, from: [request.path] + [request.base].compactMap { $0 })
        try StagedOutput.checkPlace(path: path, shape: shape(path), replacing: arguments.flag("force"))
        return path
    }
}

/// What a conversion tells at its end.
struct ConvertSummary {
    let plan: ConvertPlan
    let result: ConvertResult
    let path: String
    let seconds: Double

    func show(on terminal: Terminal) {
        if terminal.json {
            terminal.print(json: document)
            return
        }
        if !plan.outcomes.isEmpty { OutcomeTable(plan.outcomes).show(on: terminal, all: false) }
        var parts = ["\(Humane.count(result.modules.count, "module")) from \(plan.adapter.dialect.rawValue)"]
        if result.folded > 0 { parts.append("the scale of \(result.folded) folded into B") }
        terminal.print(
            "\(escaped(path)): \(plan.request.target.rawValue), \(parts.joined(separator: ", ")); "
                + "\(Humane.bytes(result.bytes)) in \(Humane.duration(seconds)); \(proof)")
    }

    /// What the comparison with the source gave.
    private var proof: String {
        let largest = result.largestDistance
        if result.copied == result.modules.count, largest == 0 { return "read back: the same factors, byte for byte" }
        return "read back: deltas differ by at most \(Humane.significant(largest, digits: 2)) of their norm"
    }

    /// The document of `--json`.
    private var document: JSON {
        [
            "schema": "adapterkit.convert", "version": 1, "input": .string(plan.request.path),
            "from": .string(plan.adapter.dialect.rawValue), "to": .string(plan.request.target.rawValue),
            "output": .string(path), "files": .array(result.files.map(JSON.string)), "bytes": .int(result.bytes),
            "modules": .array(result.modules.map { ["path": .string($0.path), "distance": .double($0.distance)] }),
            "copied": .int(result.copied), "folded": .int(result.folded), "distance": .double(result.largestDistance),
            "approximated": OutcomeTable(plan.outcomes).json,
            "dropped": .array(
                plan.dropped.map { ["what": .string($0.what), "path": .string($0.path), "loss": .double($0.relative)] }),
            "warnings": .array(plan.remarks.map(\.json)),
        ]
    }
}
