import CKernels
import Composition
import Console
import Files
import Problems
import Reports
import Safetensors
import Tensors

/// `adapter-extract`: an adapter from a base and what training made of it.
@main
enum ExtractTool {
    static let tool = Tool(
        name: "adapter-extract", summary: "make an adapter of what training changed in a model",
        usage: ["BASE TUNED -o OUT --rank R | --energy E | --ratio X"],
        description: [
            "Compares two checkpoints of one model and writes what differs as a LoRA adapter that PEFT loads: for each changed "
                + "linear layer or convolution, the best approximation of low rank of TUNED − BASE; norms, embeddings, biases and "
                + "new heads whole, under modules_to_save or bias. Modules that did not change are left out.",
            "The weights are read in blocks of rows, never a whole matrix at once but for small ones. The singular vectors come "
                + "from random sketches that are refined until they gain no more; the error in the report is not taken "
                + "from theory, but measured on the factors as they are stored.",
            "Names are those that transformers has in memory, which PEFT adapts. Experts become one parameter with a factor pair "
                + "for each expert.",
        ],
        options: [
            Option("output", short: "o", value: "OUT", help: "The directory to make."),
            Option("force", short: "f", help: "Replace OUT if it exists."),
        ] + Option.truncation + [
            Option(
                "no-full",
                help: "Leave out what cannot be a low-rank delta: norms, embeddings, biases. The report lists it.",
                group: "What is kept"),
            Option(
                "dtype", value: "TYPE", help: "Store the factors in this type; float32 without it.",
                choices: DType.words,
                group: "What is kept"),
            Option(
                "seed", value: "N", help: "The seed of the sketches; 0 without it. The same seed gives the same bytes."),
            Option(
                "base-name", value: "NAME",
                help: "What the adapter's config calls the base; its directory's name otherwise."),
            Option("report", value: "FILE", help: "Write rank, norm and errors of each module as JSON."),
            Option("modules", short: "m", help: "List all modules on stderr, not only those that lost most."),
            Option("threads", short: "t", value: "N", help: "Use N threads; by default one for each CPU."),
        ],
        operands: [
            ("BASE", "The checkpoint that training began from: a directory, its index, or one .safetensors file."),
            ("TUNED", "The checkpoint that it ended with."),
        ],
        examples: [
            ("adapter-extract llama/ llama-tuned/ -o tuned-lora --rank 32", "rank 32 for every changed layer"),
            (
                "adapter-extract llama/ llama-tuned/ -o small --energy 0.9 --per-module",
                "as much rank as each layer needs"
            ),
        ],
        versionDetails: { [unsafe "CPU level: \(String(cString: ak_level_name(ak_level())))"] })

    static func main() {
        tool.run { arguments, terminal in
            terminal.warnOfUnknownLevel()
            let request = try request(arguments)
            try request.check()
            let output = try AdapterOutput(arguments, inputs: [request.base, request.tuned])
            let threads = try arguments.int("threads", in: 1...1024) ?? Workers.processors
            return try extract(request, output, threads, arguments, terminal)
        }
    }

    private static func request(_ arguments: Arguments) throws -> ExtractRequest {
        var request = ExtractRequest(
            base: arguments.operands[0], tuned: arguments.operands[1], version: adapterKitVersion)
        request.truncation = try arguments.truncation()
        request.isPerModule = arguments.flag("per-module")
        request.leavesOutWhole = arguments.flag("no-full")
        request.seed = UInt64(try arguments.int("seed", in: 0...Int.max) ?? 0)
        request.baseName = arguments.value("base-name")
        if let type = arguments.value("dtype").flatMap(DType.init(word:)) { request.dtype = type }
        return request
    }

    private static func extract(
        _ request: ExtractRequest, _ output: AdapterOutput, _ threads: Int, _ arguments: Arguments, _ terminal: Terminal
    ) throws -> Int32 {
        let started = Clock.now
        let extractor = try Extractor(request, threads: threads)
        let comparing = Progress(terminal, label: "comparing", totalBytes: extractor.comparedBytes)
        defer { comparing.finish() }
        let work = try extractor.plan { comparing.advance(by: $0) }
        comparing.finish()
        let stage = try output.stage()
        let progress = Progress(terminal, label: "extracting", totalBytes: work.totalWork)
        defer { progress.finish() }
        let result = try work.run(to: stage) { progress.advance(by: $0) }
        try checkInterrupted()
        let summary = ExtractSummary(
            request: request, result: result, path: output.path, seconds: Clock.now - started)
        try stage.commit()
        try output.write(summary.document)
        progress.finish()
        terminal.report(result.remarks, cap: 5)
        summary.show(on: terminal, all: arguments.flag("modules"))
        return 0
    }
}

/// What an extraction tells at its end.
struct ExtractSummary {
    let request: ExtractRequest
    let result: ExtractResult
    let path: String
    let seconds: Double

    private var table: OutcomeTable { OutcomeTable(result.modules) }

    func show(on terminal: Terminal, all: Bool) {
        if terminal.json {
            terminal.print(json: document)
            return
        }
        if !result.modules.isEmpty { table.show(on: terminal, all: all) }
        if let first = result.leftOut.first {
            let more = result.leftOut.count - 1
            terminal.note(
                "left out: \(escaped(first))" + (more > 0 ? " and \(Humane.count(more, "other tensor"))" : "")
                    + ", which no low-rank delta can hold; --report lists all")
        }
        var parts = ["\(Humane.count(result.modules.count, "module")) of rank \(result.rank)"]
        if !result.whole.isEmpty { parts.append("\(Humane.count(result.whole.count, "tensor")) whole") }
        parts.append("\(Humane.count(result.unchanged)) unchanged")
        terminal.print(
            "\(escaped(path)): \(parts.joined(separator: ", ")); \(Humane.bytes(result.bytes)) in \(Humane.duration(seconds)); "
                + table.sentence)
    }

    /// The document of `--json` and `--report`.
    var document: JSON {
        [
            "schema": "adapterkit.extract", "version": 1, "base": .string(request.base),
            "tuned": .string(request.tuned),
            "output": .string(path), "rank": .int(result.rank), "dtype": .string(request.dtype.rawValue),
            "relative_error": .double(table.totalError), "modules": table.json,
            "saved": .array(result.whole.map(JSON.string)), "left_out": .array(result.leftOut.map(JSON.string)),
            "unchanged": .int(result.unchanged), "bytes": .int(result.bytes), "parameters": .int(result.parameters),
            "warnings": .array(result.remarks.map(\.json)),
        ]
    }
}
