import Archives
import Console
import Files
import Merging
import Problems
import Safetensors
import Tensors

/// `adapter-unpack`: what an archive holds.
@main
enum UnpackTool {
    static let tool = Tool(
        name: "adapter-unpack", summary: "unpack, list or test an archive",
        usage: ["FILE -o OUT", "FILE NAME... -o OUT", "FILE --list | --test | --manifest"],
        description: [
            "Gives back what adapter-pack packed, byte for byte: OUT becomes the directory, or the file. With NAME, only "
                + "that file of the archive, or all files below a directory; or a tensor by its name, which becomes a safetensors "
                + "file. OUT appears when every byte has been held against its digest, or not at all.",
            "An archive that was packed against a base needs that base. It is checked before anything is written.",
        ],
        options: [
            Option(
                "output", short: "o", value: "OUT", help: "What to make; - writes a single file to standard output."),
            Option("force", short: "f", help: "Replace OUT if it exists and holds nothing that the archive has not."),
            Option("base", value: "BASE", help: "The base that the archive was packed against."),
            Option(
                "rows", value: "FIRST:END",
                help: "Of a tensor, only these rows: counted from 0, END itself left out."),
            Option("list", short: "l", help: "List the files, from the directory alone."),
            Option("test", short: "t", help: "Read everything and hold it against all digests; write nothing."),
            Option("manifest", help: "Print the files' digests as sha256sum -c reads them."),
            Option("threads", value: "N", help: "Use N threads; by default one for each CPU."),
        ],
        operands: [
            ("FILE", "An archive; - for standard input."),
            ("[NAME...]", "Files, directories or tensors in it; everything without them."),
        ],
        examples: [
            ("adapter-unpack style.adapter -o style/", "unpack all of it"),
            ("adapter-unpack style.adapter adapter_config.json -o -", "look at one file"),
            ("adapter-unpack style.adapter --manifest | (cd style && sha256sum -c)", "compare with a directory"),
        ],
        versionDetails: { ["zlib: \(zlibVersion)"] })

    static func main() {
        tool.run { arguments, terminal in
            let modes = ["list", "test", "manifest"].filter { arguments.flag($0) }
            guard modes.count + (arguments.value("output") == nil ? 0 : 1) == 1 else {
                throw Problem(
                    .usage, modes.isEmpty ? "no-output" : "two-modes",
                    modes.isEmpty
                        ? "there is no output" : "only one of -o, --list, --test and --manifest can be done at a time",
                    hint: modes.isEmpty ? "name it with -o OUT, or look inside with --list" : nil)
            }
            let archive = try open(arguments)
            let listing = Listing(archive: archive)
            if arguments.flag("list") {
                listing.show(on: terminal)
                return 0
            }
            if arguments.flag("manifest") {
                for line in listing.manifest { terminal.write(line) }
                return 0
            }
            let run = try UnpackRun(archive, arguments, terminal)
            return try arguments.flag("test") ? run.test() : run.unpack()
        }
    }

    private static func open(_ arguments: Arguments) throws -> Archive {
        let base = try arguments.value("base").map { path throws(Problem) in try BaseFiles(path: path) }
        let path = arguments.operands[0]
        if path == "-" { return try Archive.fromStandardInput(base: base) }
        switch Directory.kind(of: path) {
        case nil: throw Problem(.missing, "no-archive", file: path, "does not exist")
        case .file: return try Archive(path: path, base: base)
        default: throw Problem(.missing, "not-a-file", file: path, "is no file, but an archive is one")
        }
    }
}

/// What an archive holds, for people and programs.
struct Listing {
    let archive: Archive

    private var files: [Archive.Item] { archive.items.filter { !$0.isInput } }

    /// Lines for `sha256sum -c`.
    var manifest: [String] { archive.manifest }

    func show(on terminal: Terminal) {
        if terminal.json {
            terminal.print(json: document)
            return
        }
        var table = Table(columns: [("file", .name), ("bytes", .right), ("packed", .right), ("", .right)])
        for item in archive.items {
            table.add([
                item.path, Humane.count(item.size), Humane.count(item.packed), Self.part(item.packed, item.size),
            ])
        }
        for path in archive.emptyDirectories { table.add([path + "/", "", "", ""]) }
        terminal.print(table)
        terminal.print()
        let size = files.reduce(0) { $0 + $1.size }
        terminal.print(
            "\(Humane.count(files.count, "file")), \(Humane.bytes(size)) in \(Humane.bytes(archive.size))"
                + (size > 0 ? " (\(Self.part(archive.size, size)))" : ""))
        terminal.print("content  \(archive.content)")
        if let adapter = archive.adapterDigest { terminal.print("adapter  \(adapter)") }
        if let name = archive.baseName {
            terminal.print("base     needs '\(escaped(name))', digest \(archive.baseDigest ?? "")")
        }
        if archive.recipe != nil { terminal.print("recipe   unpacking merges the adapter in //input again") }
        if let binding = archive.binding {
            terminal.print("bound    to a base, by \(Humane.count(binding.tensors.count, "tensor")) of it")
        }
    }

    private static func part(_ packed: Int, _ size: Int) -> String {
        size == 0 ? "" : Humane.percent(Double(packed) / Double(size))
    }

    private var document: JSON {
        [
            "schema": "adapterkit.archive", "version": 1, "path": .string(archive.path),
            "input": archive.isFile ? "file" : "directory", "bytes": .int(archive.size),
            "content": .string(archive.content), "identity": .optional(archive.adapterDigest),
            "base": archive.baseName.map { ["name": .string($0), "digest": .optional(archive.baseDigest)] } ?? .null,
            "recipe": .bool(archive.recipe != nil), "bound": archive.binding.map(Self.json) ?? .null,
            "files": .array(
                archive.items.map { item in
                    [
                        "path": .string(item.path), "bytes": .int(item.size), "packed_bytes": .int(item.packed),
                        "sha256": .string(item.digest), "input": .bool(item.isInput),
                        "needs_base": .bool(item.needsBase),
                    ]
                }),
            "empty_directories": .array(archive.emptyDirectories.map(JSON.string)),
        ]
    }

    private static func json(_ binding: Binding) -> JSON {
        [
            "config": .optional(binding.config),
            "tensors": .array(binding.tensors.map { ["name": .string($0.name), "sha256": .string($0.digest)] }),
        ]
    }
}
