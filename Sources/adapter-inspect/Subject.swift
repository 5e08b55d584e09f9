import Adapters
import Archives
import Files
import Merging
import Problems
import Safetensors
import StrictJSON

/// What a path turned out to be.
enum Subject {
    case adapter(AdapterFacts)
    /// A model, or a file of tensors.
    case checkpoint(CheckpointFacts)
    /// An archive that holds something else, or needs a base to be read.
    case archive(Archive)
    /// The record of a merge, with which it is taken back.
    case undo(UndoRecord)

    /// Looks at what `path` holds, not at its name.
    init(path: String) throws(Problem) {
        switch Directory.kind(of: path) {
        case nil:
            throw Problem(
                .missing, "no-such-file", file: path, "does not exist",
                hint: "name an adapter, a model or a safetensors file")
        case .directory: self = try Self.directory(path)
        default:
            if let archive = try Archive.openIfArchive(path: path) {
                self = try Self.packed(archive)
            } else if let record = try UndoRecord.openIfRecord(path: path) {
                self = .undo(record)
            } else {
                self = try Self.file(path)
            }
        }
    }

    private static func packed(_ archive: Archive) throws(Problem) -> Subject {
        let paths = archive.items.filter { !$0.needsBase && !$0.isInput }.map(\.path)
        let isAdapter =
            paths.contains("adapter_model.safetensors") && paths.contains("adapter_config.json")
            || paths.contains { Adapter.fileNames.contains($0) }
            || archive.isFile && paths.first?.hasSuffix(".gguf") == true
        let hasConfig = Directory.kind(of: parentPath(of: archive.path) + "/adapter_config.json") == .file
        if isAdapter || (archive.isFile && hasConfig) { return try adapter(archive.path) }
        guard archive.baseName == nil, paths.contains(where: { $0.hasSuffix(".safetensors") && !$0.contains("/") })
        else { return .archive(archive) }
        return .checkpoint(CheckpointFacts(try Checkpoint.openModel(path: archive.path)))
    }

    private static func adapter(_ path: String) throws(Problem) -> Subject {
        .adapter(AdapterFacts(try Adapter(path: path)))
    }

    private static func directory(_ path: String) throws(Problem) -> Subject {
        let entries = try Directory(path: path).entries()
        let names = Set(entries.map(\.name))
        let weights = names.contains { name in
            name.hasSuffix(".safetensors") && !name.hasPrefix("adapter") || name.hasPrefix("pytorch_model")
        }
        let isAdapter =
            names.contains("adapter_model.bin") || names.contains("pytorch_adapter.bin")
            || Adapter.fileNames.contains(where: names.contains)
        if isAdapter { return try adapter(path) }
        if let only = onlyFile(entries), try isAdapterFile("\(path)/\(only)") { return try adapter(path) }
        if names.contains("adapter_config.json"), !weights { return try adapter(path) }
        if weights || names.contains("model_index.json")
            || names.contains(where: { [".safetensors", ".index.json"].contains(where: $0.hasSuffix) })
        {
            return .checkpoint(CheckpointFacts(try Checkpoint.open(path: path)))
        }
        do throws(Problem) {
            // This looks one level down, too.
            return try adapter(path)
        } catch {
            guard error.code == "no-adapter", error.hint?.hasPrefix("name one of") != true else { throw error }
            throw Problem(
                .missing, "nothing-known", file: path, "holds neither an adapter nor a model",
                hint: "an adapter is one .safetensors or .gguf file, a model has .safetensors files and config.json")
        }
    }

    /// The one file of tensors of a directory without a model's config.
    private static func onlyFile(_ entries: [DirectoryEntry]) -> String? {
        let names = entries.filter { $0.kind != .directory }.map(\.name)
        let files = names.filter { $0.hasSuffix(".safetensors") || $0.hasSuffix(".gguf") }
        return files.count == 1 && !names.contains("config.json") && !names.contains { $0.hasSuffix(".index.json") }
            ? files[0] : nil
    }

    /// Whether a file is an adapter by its content, in a dialect that needs no config.
    private static func isAdapterFile(_ path: String) throws(Problem) -> Bool {
        let file = try InputFile(path: path)
        if file.size >= 4, try file.read(at: 0, count: 4) == Array("GGUF".utf8) { return true }
        guard let header = try? SafetensorsFile(file).header else { return false }
        return Adapter.isForeignDialect(header)
    }

    private static func file(_ path: String) throws(Problem) -> Subject {
        if try beginsAsJSON(path) { return try document(path) }
        if try isAdapterFile(path) { return try adapter(path) }
        let checkpoint: Checkpoint
        do throws(Problem) {
            checkpoint = try Checkpoint.open(path: path)
        } catch {
            let isNamedPickle = [".bin", ".pt", ".pth"].contains(where: path.hasSuffix)
            guard error.code == "not-safetensors", isNamedPickle else { throw error }
            // What this says is how to convert it.
            return try adapter(path)
        }
        let facts = CheckpointFacts(checkpoint)
        let parent = parentPath(of: path)
        guard facts.adapterDialect != nil || checkpoint.config == nil,
            Directory.kind(of: parent + "/adapter_config.json") == .file
        else { return .checkpoint(facts) }
        do throws(Problem) {
            return try adapter(path)
        } catch {
            // Named like a pickle, yet no pickle.
            guard error.code == "pickle" else { throw error }
            return .checkpoint(facts)
        }
    }

    private static func beginsAsJSON(_ path: String) throws(Problem) -> Bool {
        let file = try InputFile(path: path)
        let first = try file.read(at: 0, count: min(file.size, 16))
        // A safetensors file has eight bytes of length first, and no header is as long as this text would mean.
        return first.first { !" \n\r\t".utf8.contains($0) } == UInt8(ascii: "{") && !first.prefix(8).contains(0)
    }

    /// The index or config of something.
    private static func document(_ path: String) throws(Problem) -> Subject {
        let fields: JSONObject?
        do throws(Problem) {
            fields = try JSONValue.parse(InputFile(path: path).readAll(limit: 512 << 20), allowNonFinite: true).object
        } catch {
            throw error.at(file: path)
        }
        if fields?["peft_type"] != nil { return try adapter(parentPath(of: path)) }
        if fields?["weight_map"] != nil, path.hasSuffix(".index.json") {
            return .checkpoint(CheckpointFacts(try Checkpoint.open(path: path)))
        }
        if fields?["model_type"] != nil || fields?["architectures"] != nil {
            return .checkpoint(CheckpointFacts(try Checkpoint.open(path: parentPath(of: path))))
        }
        throw Problem(
            .malformed, "nothing-known", file: path, "is JSON, but no index and no config of an adapter or a model",
            hint: "an index is named like model.safetensors.index.json and has a 'weight_map'")
    }
}
