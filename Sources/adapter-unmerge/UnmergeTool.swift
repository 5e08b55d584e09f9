import Adapters
import Archives
import Console
import Files
import Merging
import Problems
import Safetensors
import Tensors

/// `adapter-unmerge`: the base, bit for bit, from a merge and its record.
@main
enum UnmergeTool {
    static let tool = Tool(
        name: "adapter-unmerge", summary: "take a merge back, bit for bit",
        usage: ["MERGED --undo FILE -o OUT", "MERGED --undo FILE --test"],
        description: [
            "Writes OUT, the base that 'adapter-merge ... --undo FILE' merged into: every file with all its bytes, headers, "
                + "index and config included. Neither the base nor the adapters are needed; the record holds what rounding "
                + "took, and the adapters, unless it was told to name them only.",
            "Every piece that is computed is held against the SHA-256 of the base's bytes. If MERGED was changed since, or "
                + "belongs to another record, that is an error that names the tensor, and OUT does not appear.",
        ],
        options: [
            Option(
                "undo", short: "u", value: "FILE", help: "The record that adapter-merge --undo wrote."),
            Option(
                "output", short: "o", value: "OUT",
                help: "The directory to make, or a .safetensors file if the base was one."),
            Option("force", short: "f", help: "Replace OUT if it exists."),
            Option("test", help: "Make and check everything, and write nothing."),
            Option("dry-run", short: "n", help: "Show what would be written, from headers alone, and stop."),
            Option(
                "adapter", short: "a", value: "PATH", repeats: true,
                help: "An adapter that the record only names; it is known by its digest."),
            Option("threads", short: "t", value: "N", help: "Use N threads; by default one for each CPU."),
        ],
        operands: [("MERGED", "The merged model: a directory, its index, or one .safetensors file.")],
        examples: [
            ("adapter-unmerge merged/ --undo merged.undo -o base/", "get the base back"),
            ("adapter-unmerge merged/ --undo merged.undo --test", "see whether that would work, and write nothing"),
        ])

    static func main() {
        tool.run { arguments, terminal in
            guard arguments.operands.count == 1 else {
                throw Problem(
                    .usage, "operands", "takes one merged model, not \(arguments.operands.count)",
                    hint: "adapter-unmerge MERGED --undo FILE -o OUT")
            }
            guard let file = arguments.value("undo") else {
                throw Problem(
                    .usage, "no-undo", "there is no undo record",
                    hint: "name the one that adapter-merge --undo wrote, with --undo FILE")
            }
            let path = arguments.value("output")
            guard (path == nil) == arguments.flag("test") || (path == nil && arguments.flag("dry-run")) else {
                throw Problem(
                    .usage, "no-output",
                    path == nil ? "there is no output" : "--test writes nothing, so there is no output",
                    hint: path == nil ? "name it with -o OUT, or only --test" : "leave -o or --test out")
            }
            return try run(arguments, record: file, path, terminal)
        }
    }

    private static func run(
        _ arguments: Arguments, record file: String, _ path: String?, _ terminal: Terminal
    ) throws -> Int32 {
        let merged = arguments.operands[0]
        let adapters = arguments.values("adapter")
        let threads = try arguments.int("threads", in: 1...1024) ?? Workers.processors
        let started = Clock.now
        let record = try UndoRecord(path: file)
        if let path { try checkPlace(path, record, [merged, file] + adapters, arguments) }
        let model = try Checkpoint.openModel(path: merged)
        try model.requireSound()
        if arguments.flag("dry-run") {
            return try show(Unmerger(RestoredBase(record, merged: model), output: nil) { _ in }, path, terminal)
        }
        try record.check()
        let base = try RestoredBase(record, merged: model, adapters: adapters.map { try Adapter(path: $0) })
        let output = try path.map {
            try StagedOutput(
                path: $0, shape: record.isFile ? .file : .directory, replacing: arguments.flag("force"),
                replaceable: record.nestedPaths)
        }
        if let output { try requireSpace(record, output) }
        let progress = Progress(
            terminal, label: output == nil ? "testing" : "unmerging", totalBytes: record.restoredSize)
        defer { progress.finish() }
        let unmerger = Unmerger(base, output: output) { progress.advance(by: $0) }
        try unmerger.run(threads: threads)
        try checkInterrupted()
        try output?.commit()
        progress.finish()
        report(unmerger, record, path, merged, seconds: Clock.now - started, terminal)
        return 0
    }

    private static func checkPlace(
        _ path: String, _ record: UndoRecord, _ inputs: [String], _ arguments: Arguments
    ) throws {
        guard record.isFile == path.hasSuffix(".safetensors") else {
            throw Problem(
                .usage, "bad-output", file: path,
                record.isFile
                    ? "is a directory, but the base was one file" : "is a file, but the base was a directory",
                hint: record.isFile ? "name a .safetensors file" : "name a directory")
        }
        try StagedOutput.split(path)
        try requireSeparate(output: path, from: inputs)
        try StagedOutput.checkPlace(
            path: path, shape: record.isFile ? .file : .directory, replacing: arguments.flag("force"),
            replaceable: record.nestedPaths)
    }

    private static func requireSpace(_ record: UndoRecord, _ output: StagedOutput) throws {
        let free = try output.freeSpace()
        guard free >= record.restoredSize else {
            throw Problem(
                .io, "no-space", file: output.path,
                "needs \(Humane.bytes(record.restoredSize)), but only \(Humane.bytes(free)) are free there",
                hint: "free \(Humane.bytes(record.restoredSize - free)), or choose an output on another disk")
        }
    }

    private static func show(_ unmerger: Unmerger, _ path: String?, _ terminal: Terminal) throws -> Int32 {
        let total = unmerger.restored.reduce(0) { $0 + $1.size }
        if terminal.json {
            terminal.print(json: [
                "schema": "adapterkit.unmerge-plan", "version": 1, "output": .optional(path),
                "files": .array(unmerger.restored.map { ["name": .string($0.name), "bytes": .int($0.size)] }),
                "bytes": .int(total),
            ])
            return 0
        }
        var table = Table(columns: [("file", .left), ("bytes", .right)])
        for file in unmerger.restored { table.add([file.name, Humane.count(file.size)]) }
        terminal.print(table)
        terminal.print("")
        terminal.print("\(Humane.bytes(total)) on disk")
        terminal.print("nothing was written")
        return 0
    }

    private static func report(
        _ unmerger: Unmerger, _ record: UndoRecord, _ path: String?, _ merged: String, seconds: Double,
        _ terminal: Terminal
    ) {
        if terminal.json {
            terminal.print(json: [
                "schema": "adapterkit.unmerge", "version": 1, "output": .optional(path), "merged": .string(merged),
                "adapters": .array(
                    record.inputs.map {
                        ["name": .string($0.name), "weight": .double($0.weight), "sha256": .string($0.digest)]
                    }),
                "files": .array(unmerger.restored.map { ["name": .string($0.name), "bytes": .int($0.size)] }),
                "bytes": .int(record.restoredSize),
            ])
            return
        }
        let what = Humane.count(unmerger.restored.count, "file") + ", " + Humane.bytes(record.restoredSize)
        let names = record.inputs.map { escaped($0.name) + ($0.weight == 1 ? "" : ":\(Origin.text($0.weight))") }
            .joined(
                separator: ", ")
        if let path {
            terminal.print(
                "\(escaped(path)): \(what), without \(names), in \(Humane.duration(seconds)); all digests agree")
        } else {
            terminal.print("\(escaped(merged)): the base can be restored: \(what); all digests agree")
        }
    }
}
