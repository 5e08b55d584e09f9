import Adapters
import Archives
import Console
import Files
import Merging
import Problems
import Tensors

/// `adapter-pack`: one small file from an adapter, a model, or anything else.
@main
enum PackTool {
    static let tool = Tool(
        name: "adapter-pack", summary: "pack an adapter or a model into one file, without loss",
        usage: [
            "IN -o FILE", "MODEL --base BASE [--adapter ADAPTER[:WEIGHT]...] -o FILE", "ADAPTER --bind BASE -o FILE",
        ],
        description: [
            "Writes FILE, an archive that holds a directory with all its files, or a single file. Floating-point weights are "
                + "cut into planes of bytes and deflated by zlib, which makes them a good deal smaller than a general compressor "
                + "does; anything else is deflated where that helps. adapter-unpack gives back the same bytes, and "
                + "the other tools take the archive of an adapter as it is.",
            "With --base, tensors that BASE has, too, are stored as their difference to it, which is small for a merged or "
                + "fine-tuned model; unpacking then needs the same base. With --adapter besides, a model that is exactly what "
                + "adapter-merge makes of the two is stored as the adapter.",
            "With --bind, the digests of the base's tensors that the adapter changes are recorded, and adapter-verify "
                + "and adapter-merge refuse any other base.",
            "The archive depends on the input, the options and zlib only: not on threads, CPU or time. It is a valid safetensors "
                + "file; the format is described in formats/adapter-archive.md.",
        ],
        options: [
            Option("output", short: "o", value: "FILE", help: "The archive to make; - for standard output."),
            Option("force", short: "f", help: "Replace FILE if it exists."),
            Option(
                "level", short: "l",
                help: "How much work goes into it; default without it. best tries every method, and unpacks as fast.",
                choices: ArchiveLevel.allCases.map(\.rawValue)),
            Option("base", value: "BASE", help: "Store differences to this model, or to an adapter's parent."),
            Option(
                "adapter", value: "ADAPTER", repeats: true,
                help: "With --base: the adapters that were merged, with PATH:WEIGHT for a weight."),
            Option("bind", value: "BASE", help: "Bind the adapter to this base."),
            Option("name", value: "NAME", help: "What to call a file that comes by standard input; data without it."),
            Option("threads", short: "t", value: "N", help: "Use N threads; by default one for each CPU."),
        ],
        operands: [("IN", "A directory or a file; - for standard input.")],
        examples: [
            ("adapter-pack style/ -o style.adapter", "pack an adapter"),
            ("adapter-pack style/ --bind llama/ -o style.adapter", "and let nobody use it with another base"),
            ("adapter-pack tuned/ --base llama/ -o tuned.delta", "pack what training changed in a model"),
        ],
        versionDetails: { ["zlib: \(zlibVersion)"] })

    static func main() {
        tool.run { arguments, terminal in
            let started = Clock.now
            let output = try PackOutput(arguments)
            let threads = try arguments.int("threads", in: 1...1024) ?? Workers.processors
            var request = PackRequest(try input(arguments))
            request.level = arguments.value("level").flatMap(ArchiveLevel.init) ?? .default
            if let base = arguments.value("bind") {
                request.binding = try bind(arguments.operands[0], base, threads, terminal)
            }
            if let base = arguments.value("base") { request.base = try BaseFiles(path: base) }
            if let base = arguments.value("base"), !arguments.values("adapter").isEmpty {
                request.recipe = try recipe(arguments, base, output, threads, terminal)
            }
            return try pack(request, output, threads, started, terminal)
        }
    }

    private static func input(_ arguments: Arguments) throws -> PackInput {
        let path = arguments.operands[0]
        guard path == "-" else {
            guard try Archive.openIfArchive(path: path) == nil else {
                throw Problem(
                    .incompatible, "packed-already", file: path, "is an archive already",
                    hint:
                        "to pack it anew, with a binding or another level, unpack it first: adapter-unpack \(shellQuoted(path)) -o DIR"
                )
            }
            return try PackInput(path: path)
        }
        let name = arguments.value("name") ?? "data"
        guard Directory.checkComponent(name) else {
            throw Problem(.usage, "bad-name", "'\(name)' is no name for a file", hint: "write a plain name")
        }
        return PackInput(try StandardStreams.spoolInput(), name: name)
    }

    private static func bind(
        _ adapter: String, _ base: String, _ threads: Int, _ terminal: Terminal
    ) throws -> Binding {
        let inputs = LoadedInputs(base: base, operands: [AdapterOperand(path: adapter)])
        guard inputs.isSound else { throw ProblemList(inputs.problems) }
        terminal.report(ProblemList(inputs.problems))
        let progress = Progress(terminal, label: "binding", totalBytes: BaseBinding.bytes(inputs))
        defer { progress.finish() }
        return try BaseBinding.make(inputs, threads: threads) { progress.advance(by: $0) }
    }

    private static func recipe(
        _ arguments: Arguments, _ base: String, _ output: PackOutput, _ threads: Int, _ terminal: Terminal
    ) throws -> PackRecipe? {
        let operands = try arguments.values("adapter").map { try AdapterOperand($0) }
        let progress = Progress(terminal, label: "merging", totalBytes: nil)
        defer { progress.finish() }
        let (recipe, different) = try MergeRecipe.make(
            base: base, operands: operands, model: arguments.operands[0], scratch: output.scratch,
            version: adapterKitVersion, threads: threads
        ) { progress.advance(by: $0) }
        progress.finish()
        if let first = different.first {
            let rest = different.count > 1 ? " and \(Humane.count(different.count - 1, "other"))" : ""
            terminal.report(
                Problem(
                    .warning, .incompatible, "not-the-merge", file: arguments.operands[0], tensor: first,
                    "\(rest.isEmpty ? "is" : "\(rest.dropFirst()) are") not what the merge gives, so the difference to the base is stored",
                    hint: "are these the right adapters, with the right weights?"))
        }
        if !recipe.tensors.isEmpty && !recipe.isWorthIt {
            terminal.note("the adapter is large for what it changes: without --adapter, the difference may take less")
        }
        return recipe.tensors.isEmpty ? nil : recipe
    }

    private static func pack(
        _ request: PackRequest, _ output: PackOutput, _ threads: Int, _ started: Double, _ terminal: Terminal
    ) throws -> Int32 {
        let compared = request.base == nil ? 1 : 2
        let progress = Progress(terminal, label: "packing", totalBytes: request.input.size * compared)
        defer { progress.finish() }
        let target = try output.open()
        let result = try ArchiveWriter.write(request, to: target, threads: threads) { progress.advance(by: $0) }
        try checkInterrupted()
        try output.close(target, size: result.size)
        progress.finish()
        if let base = request.base, !result.usesBase {
            terminal.report(
                Problem(
                    .warning, .incompatible, "base-unused", file: base.path,
                    "has next to nothing that helps to store '\(request.input.path)', so the archive does without it",
                    hint: "is this the model that it was made from? tensors are compared by name, dtype and shape"))
        }
        let summary = PackSummary(
            request: request, result: result, path: output.path, seconds: Clock.now - started)
        if output.isStream { terminal.note(summary.sentence) } else { summary.show(on: terminal) }
        return 0
    }
}

/// Where the archive goes.
final class PackOutput {
    let path: String
    let isStream: Bool
    private let stage: StagedOutput?

    init(_ arguments: Arguments) throws {
        guard let path = arguments.value("output") else {
            throw Problem(.usage, "no-output", "there is no output", hint: "name it with -o FILE")
        }
        self.path = path
        isStream = path == "-"
        if !arguments.values("adapter").isEmpty, arguments.value("base") == nil {
            throw Problem(
                .usage, "no-base", "--adapter needs the base that it was merged into", hint: "add --base BASE")
        }
        let inputs = arguments.operands.filter { $0 != "-" } + arguments.values("base") + arguments.values("bind")
        let adapters = try arguments.values("adapter").map { try AdapterOperand($0).path }
        if isStream {
            guard !arguments.flag("json") else {
                throw Problem(.usage, "two-outputs", "--json and the archive cannot both go to standard output")
            }
            guard !StandardStreams.outputIsTerminal else {
                throw Problem(
                    .usage, "terminal", "an archive would only confuse your terminal", hint: "name a file with -o FILE")
            }
            stage = nil
        } else {
            try StagedOutput.split(path)
            try requireSeparate(output: path, from: inputs + adapters)
            stage = try StagedOutput(path: path, shape: .file, replacing: arguments.flag("force"))
        }
    }

    /// A path beside which something may be kept meanwhile.
    var scratch: String {
        isStream ? temporaryDirectory + "/adapter-pack" : path
    }

    func open() throws -> OutputFile {
        guard let stage else { return try OutputFile(temporaryFor: "standard output") }
        return try stage.createGrowing(lastComponent(of: path))
    }

    func close(_ file: OutputFile, size: Int) throws {
        guard let stage else { return try StandardStreams.write(file, count: size) }
        try stage.commit()
    }
}

/// What packing tells at its end.
struct PackSummary {
    let request: PackRequest
    let result: PackResult
    let path: String
    let seconds: Double

    var sentence: String {
        let files = request.input.isFile ? "" : "\(Humane.count(result.fileCount, "file")), "
        let part = Double(result.size) / Double(max(1, result.inputSize))
        var text =
            "\(escaped(path)): \(files)\(Humane.bytes(result.inputSize)) in \(Humane.bytes(result.size))"
            + (result.inputSize > 0 ? " (\(Humane.percent(part)))" : "") + " in \(Humane.duration(seconds))"
        if let base = request.base, result.usesBase {
            let codes = result.codes
            var parts = ["\(Humane.count(codes.copies)) equal", "\(Humane.count(codes.differences)) as differences"]
            if codes.merged > 0 { parts.append("\(Humane.count(codes.merged)) by merging the adapter again") }
            text += "; against \(escaped(base.name)): " + parts.joined(separator: ", ")
        }
        if let binding = request.binding {
            text += "; bound to \(Humane.count(binding.tensors.count, "tensor")) of the base"
        }
        return text
    }

    func show(on terminal: Terminal) {
        if terminal.json {
            terminal.print(json: document)
            return
        }
        terminal.print(sentence)
        terminal.print("  content  \(result.content)")
        if let adapter = result.adapter { terminal.print("  adapter  \(adapter)") }
    }

    private var document: JSON {
        [
            "schema": "adapterkit.pack", "version": 1, "input": .string(request.input.path), "output": .string(path),
            "files": .int(result.fileCount), "input_bytes": .int(result.inputSize), "bytes": .int(result.size),
            "overhead_bytes": .int(result.overhead), "level": .string(request.level.rawValue),
            "content": .string(result.content), "identity": .optional(result.adapter),
            "base": .optional(result.usesBase ? request.base?.name : nil),
            "parts": [
                "plain": .int(result.codes.plain), "differences": .int(result.codes.differences),
                "copies": .int(result.codes.copies), "merged": .int(result.codes.merged),
            ],
            "bound": .bool(request.binding != nil), "seconds": .double(seconds),
        ]
    }
}
