import Adapters
import Digests
import Files
import Problems
import Safetensors
import StrictJSON

/// A file of the output that is no file of merged weights.
struct OutputDocument {
    enum Content {
        case bytes([UInt8])
        /// A file that is copied as it is, however large.
        case source(any ByteSource)
    }

    /// Its path: a name, or `COMPONENT/NAME` in a pipeline.
    let name: String
    let content: Content

    /// Whether loaders find the weights by it.
    var isIndex: Bool { name.contains(".safetensors.") && name.hasSuffix(".json") }
}

/// The small files of a merged checkpoint: index, config, tokenizer and what else lies beside the base's weights.
struct OutputDocuments {
    /// Larger files are no configuration or vocabulary.
    static let largest = 256 << 20

    let plan: MergePlan
    /// The component of a pipeline whose files these are.
    var component: Checkpoint.Component?

    /// Names of files that hold weights in some other form; they would contradict the merged ones.
    private static let weightSuffixes = [
        ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".onnx", ".onnx_data", ".npz",
        ".ot",
        ".safetensors.index.json", ".bin.index.json", ".partial",
    ]

    /// All small files, by name, and what the user should know of them.
    func files() throws(Problem) -> (files: [OutputDocument], notes: [Problem]) {
        guard let directory = plan.base.directory else { return ([], loneFile) }
        var (result, notes) = try files(in: directory)
        guard plan.base.isPipeline else {
            notes += try adoptTokenizer(&result)
            return (Self.documents(result, ""), notes)
        }
        var documents = Self.documents(result, "")
        for entry in try directory.entries() where entry.kind == .directory && !entry.name.hasPrefix(".") {
            let folder = try directory.folder(entry.name)
            guard let component = plan.base.components.first(where: { $0.name == entry.name }) else {
                documents += try Self.copies(of: folder, entry.name, &notes)
                continue
            }
            let (own, found) = try OutputDocuments(plan: plan, component: component).files(in: folder)
            documents += Self.documents(own, entry.name + "/")
            notes += found
        }
        return (documents, notes)
    }

    private static func documents(_ files: [String: [UInt8]], _ prefix: String) -> [OutputDocument] {
        files.sorted { $0.key < $1.key }.map { OutputDocument(name: prefix + $0.key, content: .bytes($0.value)) }
    }

    /// The files of a directory of a pipeline that no adapter can touch, such as a tokenizer or a scheduler.
    private static func copies(
        of folder: any Folder, _ name: String, _ notes: inout [Problem]
    ) throws(Problem) -> [OutputDocument] {
        var result: [OutputDocument] = []
        for entry in try folder.entries() {
            if entry.kind == .file {
                let source = try folder.source(entry.name)
                result.append(OutputDocument(name: "\(name)/\(entry.name)", content: .source(source)))
            } else {
                notes.append(skipped(entry, folder))
            }
        }
        return result
    }

    /// The small files of the base's directory, or of a component's.
    private func files(in directory: any Folder) throws(Problem) -> (files: [String: [UInt8]], notes: [Problem]) {
        var result: [String: [UInt8]] = [:]
        var notes: [Problem] = []
        for entry in try directory.entries() {
            if Self.weightSuffixes.contains(where: { entry.name.hasSuffix($0) })
                || WeightNames(indexOfVariant: entry.name) != nil
            {
                if !Self.isOurs(entry.name) { notes.append(otherWeights(entry, directory)) }
                continue
            }
            // It lists the base's files, and a merge with digests writes one of its own.
            if entry.name == "SHA256SUMS" { continue }
            if entry.name == "adapter_config.json" {
                notes.append(ofAnotherAdapter(directory))
                continue
            }
            if isDirectoryOfPipeline(entry) { continue }
            guard entry.kind == .file, entry.size <= Self.largest else {
                notes.append(Self.skipped(entry, directory))
                continue
            }
            result[entry.name] = try directory.source(entry.name).readAll(limit: Self.largest)
        }
        // The config of a pipeline names classes only.
        guard !plan.base.isPipeline || component != nil else { return (result, notes) }
        if let config = result["config.json"] { result["config.json"] = try self.config(config) }
        if plan.hasIndex(component) { result[plan.base.weightNames(of: component).index] = try index(directory) }
        return (result, notes)
    }

    private func isDirectoryOfPipeline(_ entry: DirectoryEntry) -> Bool {
        plan.base.isPipeline && component == nil && entry.kind == .directory && !entry.name.hasPrefix(".")
    }

    private static func isOurs(_ name: String) -> Bool {
        [".safetensors", ".safetensors.index.json", ".partial"].contains { name.hasSuffix($0) }
            || WeightNames(indexOfVariant: name) != nil
    }

    private func otherWeights(_ entry: DirectoryEntry, _ directory: any Folder) -> Problem {
        Problem(
            .note, .incompatible, "not-copied", file: directory.path(of: entry.name),
            "holds weights of the base in another format, and was not copied")
    }

    /// Without its weights, which are not copied, the config would make loaders look for them.
    private func ofAnotherAdapter(_ directory: any Folder) -> Problem {
        Problem(
            .note, .incompatible, "not-copied", file: directory.path(of: "adapter_config.json"),
            "belongs to an adapter that lies beside the base, and was not copied")
    }

    /// A base that was named by its file brings no config along.
    private var loneFile: [Problem] {
        guard plan.base.config != nil else { return [] }
        return [
            Problem(
                .warning, .incompatible, "not-copied", file: plan.base.path,
                "was named as a file, so the config.json and tokenizer beside it were not copied",
                hint: "name its directory as BASE, and the output is a model that loads")
        ]
    }

    private static func skipped(_ entry: DirectoryEntry, _ directory: any Folder) -> Problem {
        Problem(
            .note, .incompatible, "not-copied", file: directory.path(of: entry.name),
            entry.kind == .directory ? "is a directory and was not copied" : "was not copied",
            hint: "copy it yourself if the merged model needs it")
    }

    // MARK: config.json

    private func config(_ bytes: [UInt8]) throws(Problem) -> [UInt8] {
        guard case .object(var config) = try JSONValue.parse(bytes, allowNonFinite: true) else { return bytes }
        let before = config
        if plan.unties { Self.set(&config, "tie_word_embeddings", .bool(false), always: true) }
        if let rows = vocabulary {
            Self.set(&config, "vocab_size", .number(JSONNumber(text: String(rows))), always: true)
        }
        addLabels(&config)
        if let dtype = plan.options.dtype {
            if isDequantized {
                config["quantization_config"] = nil
                if case .object(var text)? = config["text_config"], text["quantization_config"] != nil {
                    text["quantization_config"] = nil
                    config["text_config"] = .object(text)
                }
            }
            let name: JSONValue = .string(Self.torchName(dtype))
            Self.set(&config, "torch_dtype", name, always: false)
            Self.set(&config, "dtype", name, always: false)
        }
        if config == before { return bytes }
        return Array((JSONValue.object(config).encoded(indent: 2) + "\n").utf8)
    }

    /// Sets a field where it stands: at the top, in the part for text, or both.
    private static func set(_ config: inout JSONObject, _ key: String, _ value: JSONValue, always: Bool) {
        var nested = false
        if case .object(var text)? = config["text_config"], text[key] != nil {
            text[key] = value
            config["text_config"] = .object(text)
            nested = true
        }
        if config[key] != nil || (always && !nested) { config[key] = value }
    }

    /// The tensors of the component, or of the model.
    private var tensors: [PlannedTensor] { plan.shards(of: component).flatMap(\.tensors) }

    /// Whether 8-bit weights of the base are stored in another type.
    private var isDequantized: Bool {
        tensors.contains { $0.source.info.dtype.bits == 8 && $0.dtype.bits > 8 }
    }

    /// A new head of a classifier needs its number of labels in the config, and the class that has it.
    private func addLabels(_ config: inout JSONObject) {
        let head = tensors.first { tensor in
            guard tensor.shape.count == 2, tensor.name.hasSuffix(".weight") else { return false }
            guard BaseTraits.isClassifier(String(tensor.name.dropLast(".weight".utf8.count))) else { return false }
            return plan.base.lookup(tensor.name)?.info.shape != tensor.shape
        }
        guard let head, let count = head.shape.first else { return }
        // transformers leaves the labels out where there are two.
        if (config["id2label"]?.object?.entries.count ?? 2) != count {
            let labels = (0..<count).map { ("\($0)", "LABEL_\($0)") }
            config["id2label"] = .object(JSONObject(labels.map { ($0.0, .string($0.1)) }))
            config["label2id"] = .object(JSONObject(labels.map { ($0.1, .number(JSONNumber(text: $0.0))) }))
        }
        guard plan.base.lookup(head.name) == nil, case .array(let items)? = config["architectures"] else { return }
        config["architectures"] = .array(items.map { $0.string.map { .string(classifier(from: $0)) } ?? $0 })
    }

    /// The class with a classifier's head that goes with a class without it.
    private func classifier(from name: String) -> String {
        let configs = plan.inputs.filter { $0.weight != 0 }.map(\.adapter.config)
        let stems = ["ForCausalLM", "LMHeadModel", "ForMaskedLM", "ForPreTraining", "Model"]
        guard let stem = stems.first(where: name.hasSuffix).map({ name.dropLast($0.utf8.count) }) else { return name }
        if let trained = configs.lazy.compactMap(\.modelClass).first, trained.hasPrefix(stem) { return trained }
        let endings = ["SEQ_CLS": "ForSequenceClassification", "TOKEN_CLS": "ForTokenClassification"]
        return configs.lazy.compactMap { endings[$0.taskType ?? ""] }.first.map { stem + $0 } ?? name
    }

    private static func torchName(_ dtype: DType) -> String {
        switch dtype {
        case .f64: "float64"
        case .f16: "float16"
        case .bf16: "bfloat16"
        default: "float32"
        }
    }

    /// The new number of rows, if an adapter resized the vocabulary.
    private var vocabulary: Int? {
        for tensor in tensors {
            guard let place = plan.base.lookup(tensor.name), place.info.shape != tensor.shape else { continue }
            let module = ParameterName.module(of: tensor.name)
            if BaseTraits.isClassifier(module) { continue }
            return tensor.shape.first
        }
        return nil
    }

    // MARK: Tokenizer

    /// An adapter that resizes the vocabulary comes with the tokenizer that has the new words.
    private func adoptTokenizer(_ files: inout [String: [UInt8]]) throws(Problem) -> [Problem] {
        guard vocabulary != nil else { return [] }
        var notes: [Problem] = []
        for input in plan.inputs {
            guard let directory = input.adapter.folder else { continue }
            for entry in try directory.entries() where entry.kind == .file && entry.size <= Self.largest {
                guard TokenizerFiles.contains(entry.name) else { continue }
                files[entry.name] = try directory.source(entry.name).readAll(limit: Self.largest)
                notes.append(
                    Problem(
                        .note, .incompatible, "tokenizer", file: directory.path(of: entry.name),
                        "is taken instead of the base's, since this adapter resizes the vocabulary"))
            }
        }
        return notes
    }

    // MARK: Index

    /// The base's index as it is where it still holds, else a new one in the form that transformers writes.
    private func index(_ directory: any Folder) throws(Problem) -> [UInt8] {
        let prefix = component.map { $0.name.utf8.count + 1 } ?? 0
        let own = { (name: String) in String(Substring(name.utf8.dropFirst(prefix))) }
        let shards = plan.shards(of: component)
        let places = shards.flatMap { shard in shard.tensors.map { (tensor: own($0.name), file: own(shard.name)) } }
        let size = shards.reduce(0) { $0 + $1.header.dataLength }
        let index = component.map(\.index) ?? plan.base.index
        if let index, index.totalSize == size, index.weightMap.count == places.count, plan.keepsFiles(component),
            tensors.allSatisfy({ plan.base.lookup($0.name) != nil })
        {
            return try directory.source(index.name).readAll(limit: Self.largest)
        }
        var metadata = index?.metadata ?? JSONObject([])
        metadata["total_size"] = .number(JSONNumber(text: String(size)))
        if metadata["total_parameters"] != nil {
            let count = tensors.reduce(0) { $0 + $1.shape.reduce(1, *) }
            metadata["total_parameters"] = .number(JSONNumber(text: String(count)))
        }
        return ShardIndex.encoded(metadata: metadata, places: places)
    }
}

extension Merger {
    /// Names of the small files that a merge writes.
    public static func documentNames(of plan: MergePlan) throws(Problem) -> Set<String> {
        Set(try OutputDocuments(plan: plan).files().files.map(\.name))
    }

    /// Writes the small files; the index comes last, since a checkpoint without it does not load.
    ///
    /// - Parameter digests: SHA-256 of the weight files; if there are any, a manifest is written.
    /// - Returns: what the user should know.
    public static func writeDocuments(
        of plan: MergePlan, to output: StagedOutput, digests: [(name: String, digest: String)]
    ) throws(Problem) -> [Problem] {
        let (files, notes) = try OutputDocuments(plan: plan).files()
        var lines = digests
        for file in files.filter({ !$0.isIndex }) + files.filter(\.isIndex) {
            switch file.content {
            case .bytes(let bytes):
                try output.write(path: file.name, bytes)
                if !digests.isEmpty { lines.append((file.name, SHA256.hex(bytes))) }
            case .source(let source):
                let copy = try output.create(path: file.name, size: source.size)
                try copy.copy(from: source, at: 0, count: source.size, to: 0)
                try copy.finish()
                if !digests.isEmpty { lines.append((file.name, try SHA256.hex(of: source))) }
            }
        }
        if !lines.isEmpty {
            let text = lines.sorted { $0.name < $1.name }.map { manifestLine(digest: $0.digest, name: $0.name) }
                .joined()
            try output.write("SHA256SUMS", Array(text.utf8))
        }
        return notes
    }
}
