import Archives
import Files
import Problems
import Safetensors

/// Finds the file of an adapter, and the config beside it.
struct AdapterLocation: Sendable {
    static let tensorName = "adapter_model.safetensors"
    static let pickleName = "adapter_model.bin"
    static let configName = "adapter_config.json"
    /// No config that a library writes comes near this size.
    static let configLimit = 16 << 20
    /// What libraries call an adapter's file in its directory: PEFT, mlx-lm, diffusers, `adapters`.
    static let tensorNames = [
        tensorName, "adapters.safetensors", "pytorch_lora_weights.safetensors", "adapter.safetensors",
    ]

    /// The file.
    let source: any ByteSource
    /// The config beside it, if there is one.
    let config: (path: String, bytes: [UInt8])?
    /// What else lies beside it, where a directory or an archive was named.
    let folder: (any Folder)?
    /// The archive that it is packed in.
    let archive: Archive?

    init(path: String) throws(Problem) {
        switch Directory.kind(of: path) {
        case nil:
            throw Problem(
                .missing, "no-adapter", file: path, "does not exist",
                hint: "name an adapter's directory, or its file")
        case .directory: try self.init(directory: Directory(path: path))
        default:
            if let archive = try Archive.openIfArchive(path: path) {
                try self.init(archive)
            } else {
                try self.init(file: path)
            }
        }
    }

    /// A packed directory, or a packed file whose config lies beside the archive.
    private init(_ archive: Archive) throws(Problem) {
        let named = { (path: String) in path.hasPrefix("adapter_") || Self.tensorNames.contains(path) }
        if let needed = archive.items.first(where: { $0.needsBase && named($0.path) }) {
            throw archive.needsBase(of: needed)
        }
        guard archive.isFile, let only = archive.items.first, let packed = archive.open(only.path),
            Self.isTensorFile(only.path)
        else {
            try self.init(directory: archive.folder(), archive: archive)
            return
        }
        self.init(packed, try Self.config(beside: archive.path), archive)
    }

    private init(_ source: any ByteSource, _ config: (path: String, bytes: [UInt8])?, _ archive: Archive) {
        self.source = source
        self.config = config
        self.archive = archive
        folder = nil
    }

    init(directory: any Folder, archive: Archive? = nil) throws(Problem) {
        self.archive = archive
        folder = directory
        let entries = try directory.entries()
        let names = Set(entries.map(\.name))
        guard let name = Self.tensorNames.first(where: names.contains) ?? Self.onlyFile(entries) else {
            throw try Self.absent(directory, entries, isPacked: archive != nil)
        }
        source = try directory.source(name)
        config =
            names.contains(Self.configName)
            ? (
                directory.path(of: Self.configName),
                try directory.source(Self.configName).readAll(limit: Self.configLimit)
            ) : nil
    }

    private init(file path: String) throws(Problem) {
        let file = try InputFile(path: path)
        let head = (try? file.read(at: 0, count: min(file.size, 9))) ?? []
        // A safetensors file has eight bytes of length and a brace; a pickle begins otherwise.
        let isKnown = head.starts(with: Array("GGUF".utf8)) || head.count == 9 && head[8] == UInt8(ascii: "{")
        if !isKnown, [".bin", ".pt", ".pth"].contains(where: path.hasSuffix) { throw Self.pickle(path) }
        source = file
        config = try Self.config(beside: path)
        (folder, archive) = (nil, nil)
    }

    /// The path of the config, or where it would be.
    var configPath: String { config?.path ?? source.path }

    /// What to say where a config is needed and there is none.
    var configAbsent: Problem { Self.configAbsent(folder?.path ?? parentPath(of: archive?.path ?? source.path)) }

    private static func isTensorFile(_ name: String) -> Bool {
        name.hasSuffix(".safetensors") || name.hasSuffix(".gguf")
    }

    /// The one file of tensors in a directory that is no model.
    private static func onlyFile(_ entries: [DirectoryEntry]) -> String? {
        let isModel = entries.contains {
            ["config.json", "model_index.json"].contains($0.name) || $0.name.hasSuffix(".index.json")
        }
        let files = entries.filter { $0.kind != .directory && isTensorFile($0.name) }
        guard !isModel, files.count == 1, let only = files.first, !only.name.hasPrefix("model") else { return nil }
        return only.name
    }

    private static func config(beside path: String) throws(Problem) -> (path: String, bytes: [UInt8])? {
        let parent = parentPath(of: path)
        let name = parent == "." && !path.hasPrefix("./") ? configName : "\(parent)/\(configName)"
        guard Directory.kind(of: name) == .file else { return nil }
        return (name, try InputFile(path: name).readAll(limit: configLimit))
    }

    private static func absent(
        _ directory: any Folder, _ entries: [DirectoryEntry], isPacked: Bool
    ) throws(Problem) -> Problem {
        if let name = [pickleName, "pytorch_adapter.bin", "pytorch_lora_weights.bin"].first(where: { name in
            entries.contains { $0.name == name }
        }) {
            return pickle(directory.path(of: name))
        }
        var nested: [String] = []
        for entry in entries where entry.kind == .directory {
            let inside = try? directory.folder(entry.name).entries()
            if inside?.contains(where: { tensorNames.contains($0.name) }) == true {
                nested.append(directory.path(of: entry.name))
            }
        }
        if !nested.isEmpty {
            return Problem(
                .missing, "no-adapter", file: directory.path, "holds no adapter itself, but its subdirectories do",
                hint: "name one of them: " + nested.joined(separator: ", "))
        }
        let isModel = entries.contains { $0.name == "config.json" || $0.name == "model.safetensors" }
        if isModel, isPacked {
            return Problem(
                .missing, "no-adapter", file: directory.path, "is an archive of a model, not of an adapter",
                hint: "unpack it with adapter-unpack (and --base, if it was packed against one)")
        }
        return Problem(
            .missing, "no-adapter", file: directory.path, "holds no \(tensorName)",
            hint: isModel
                ? "this looks like a model; the order is: BASE first, then the adapter"
                : "name an adapter's directory, or its file")
    }

    private static func configAbsent(_ path: String) -> Problem {
        Problem(
            .missing, "no-config", file: path,
            "holds no \(configName), and without it the scale of the adapter is unknown",
            hint: "copy the \(configName) that was saved with the adapter to the same directory")
    }

    private static func pickle(_ path: String) -> Problem {
        Problem(
            .malformed, "pickle", file: path,
            "is a Python pickle, which can run code when it is loaded, so it is never read here",
            hint: "convert it once where you trust it: python -c \"import torch, safetensors.torch as s; "
                + "s.save_file({k: v.contiguous() for k, v in torch.load('adapter_model.bin', weights_only=True).items()}, "
                + "'adapter_model.safetensors')\"")
    }
}
