import Archives
import Files
import Problems
import Safetensors

/// Finds the two files of an adapter.
struct AdapterLocation {
    static let tensorName = "adapter_model.safetensors"
    static let pickleName = "adapter_model.bin"
    static let configName = "adapter_config.json"
    /// No config that PEFT writes comes near this size.
    static let configLimit = 16 << 20

    let file: SafetensorsFile
    let configPath: String
    let configBytes: [UInt8]
    /// What else lies beside it, where a directory or an archive was named.
    let folder: (any Folder)?
    /// The archive that it is packed in.
    let archive: Archive?

    init(path: String) throws(Problem) {
        switch Directory.kind(of: path) {
        case nil:
            throw Problem(
                .missing, "no-adapter", file: path, "does not exist",
                hint: "name a directory that PEFT saved, or its adapter_model.safetensors")
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
        if let needed = archive.items.first(where: { $0.needsBase && $0.path.hasPrefix("adapter_") }) {
            throw archive.needsBase(of: needed)
        }
        guard archive.isFile, let only = archive.items.first, let packed = archive.open(only.path),
            only.path.hasSuffix(".safetensors")
        else {
            try self.init(directory: archive.folder(), archive: archive)
            return
        }
        let (path, bytes) = try Self.config(beside: archive.path)
        self.init(try SafetensorsFile(packed), path, bytes, archive)
    }

    private init(_ file: SafetensorsFile, _ configPath: String, _ configBytes: [UInt8], _ archive: Archive) {
        self.file = file
        self.configPath = configPath
        self.configBytes = configBytes
        self.archive = archive
        folder = nil
    }

    init(directory: any Folder, archive: Archive? = nil) throws(Problem) {
        self.archive = archive
        folder = directory
        let entries = try directory.entries()
        let names = Set(entries.map(\.name))
        guard names.contains(Self.tensorName) else {
            throw try Self.absent(directory, entries, isPacked: archive != nil)
        }
        guard names.contains(Self.configName) else { throw Self.configAbsent(directory.path) }
        file = try SafetensorsFile(directory.source(Self.tensorName))
        configPath = directory.path(of: Self.configName)
        configBytes = try directory.source(Self.configName).readAll(limit: Self.configLimit)
    }

    private init(file path: String) throws(Problem) {
        if path.hasSuffix(".bin") || path.hasSuffix(".pt") || path.hasSuffix(".pth") { throw Self.pickle(path) }
        file = try SafetensorsFile(path: path)
        (configPath, configBytes) = try Self.config(beside: path)
        (folder, archive) = (nil, nil)
    }

    private static func config(beside path: String) throws(Problem) -> (path: String, bytes: [UInt8]) {
        let parent = parentPath(of: path)
        let name = parent == "." && !path.hasPrefix("./") ? configName : "\(parent)/\(configName)"
        guard Directory.kind(of: name) == .file else { throw configAbsent(parent) }
        return (name, try InputFile(path: name).readAll(limit: configLimit))
    }

    /// What the `adapters` library calls its files.
    private static let bottleneckNames = ["adapter.safetensors", "pytorch_adapter.bin"]

    private static func absent(
        _ directory: any Folder, _ entries: [DirectoryEntry], isPacked: Bool
    ) throws(Problem) -> Problem {
        if entries.contains(where: { $0.name == pickleName }) { return pickle(directory.path(of: pickleName)) }
        if entries.contains(where: { bottleneckNames.contains($0.name) }) {
            return Problem(
                .incompatible, "not-lora", file: directory.path,
                "is an adapter of the 'adapters' library: it adds layers beside the model, which is no change of weights",
                hint: "adapter-generate runs bottlenecks; LoRA and trainable tokens can be verified and merged")
        }
        var nested: [String] = []
        for entry in entries where entry.kind == .directory {
            let inside = try? directory.folder(entry.name).entries()
            if inside?.contains(where: { $0.name == tensorName }) == true {
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
                : "name a directory that PEFT's save_pretrained wrote")
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
