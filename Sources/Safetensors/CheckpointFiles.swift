import Files
import Problems
import StrictJSON

/// Finds and opens the files of a checkpoint.
struct CheckpointFiles {
    static let singleName = "model.safetensors"
    static let indexName = "model.safetensors.index.json"
    /// No config comes near this size.
    static let configLimit = 64 << 20

    let path: String
    let directory: Directory?
    private(set) var index: ShardIndex?
    private(set) var shards: [Checkpoint.Shard] = []
    private(set) var config: JSONValue?
    private(set) var problems: [Problem] = []
    /// Names of shards that could be opened.
    private(set) var opened: Set<String> = []

    init(file path: String) throws(Problem) {
        self.path = path
        directory = nil
        let name = path.split(separator: "/").last.map(String.init) ?? path
        shards = [Checkpoint.Shard(name: name, file: try SafetensorsFile(path: path))]
        opened = [name]
        let beside = parentPath(of: path) + "/config.json"
        if Directory.kind(of: beside) == .file { try readConfig(InputFile(path: beside)) }
    }

    init(directory: Directory, index named: String? = nil) throws(Problem) {
        path = directory.path
        self.directory = directory
        let names = try directory.entries().filter { $0.kind != .directory }.map(\.name)
        let weights = names.filter { $0.hasSuffix(".safetensors") }
        let indexName = named ?? (names.contains(Self.indexName) ? Self.indexName : nil)
        if names.contains("config.json") { try readConfig(directory.openFile("config.json")) }
        if named == nil, names.contains(Self.singleName) {
            // transformers looks for this name first.
            openAll([Self.singleName])
            if indexName != nil {
                warn("two-models", "holds both \(Self.singleName) and \(Self.indexName); the single file counts")
            }
        } else if let indexName {
            let found = try ShardIndex(directory.openFile(indexName), name: indexName)
            index = found
            openShards(of: found)
        } else {
            openAll([try Self.only(weights, names, directory)])
        }
        warnOrphans(weights)
    }

    private mutating func readConfig(_ file: InputFile) throws(Problem) {
        do throws(Problem) {
            config = try JSONValue.parse(try file.readAll(limit: Self.configLimit), allowNonFinite: true)
        } catch {
            throw error.at(file: file.path)
        }
    }

    private mutating func warn(_ code: String, _ message: String, hint: String? = nil) {
        problems.append(Problem(.warning, .malformed, code, file: path, message, hint: hint))
    }

    private mutating func openAll(_ names: [String]) {
        guard let directory else { return }
        for name in names {
            do throws(Problem) {
                shards.append(Checkpoint.Shard(name: name, file: try SafetensorsFile(directory.openFile(name))))
                opened.insert(name)
            } catch {
                problems.append(error)
            }
        }
    }

    private mutating func openShards(of index: ShardIndex) {
        guard let directory else { return }
        let names = Set(index.weightMap.map(\.shard))
        let indexPath = directory.path(of: index.name)
        for name in names.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            guard Directory.checkComponent(name), name.hasSuffix(".safetensors") else {
                let tensor = index.weightMap.first { $0.shard == name }?.tensor
                problems.append(
                    Problem(
                        .malformed, "unsafe-name", file: indexPath, tensor: tensor,
                        "is mapped to '\(name)', which is not the name of a .safetensors file in the same directory, so it "
                            + "is not opened", hint: "do not trust this index: download it again from its origin"))
                continue
            }
            if Directory.kind(of: directory.path(of: name)) == nil {
                problems.append(
                    Problem(
                        .missing, "missing-shard", file: directory.path(of: name),
                        "is missing, but \(index.weightMap.count { $0.shard == name }) tensors are in it, as the index says",
                        hint: "the download is incomplete: download it again"))
                continue
            }
            openAll([name])
        }
    }

    /// The only file of weights of a directory without an index, or why there is none.
    private static func only(_ weights: [String], _ names: [String], _ directory: Directory) throws(Problem) -> String {
        if weights.count == 1, let only = weights.first {
            if let total = shardTotal(only), total != 1 { throw noIndex(weights, directory) }
            return only
        }
        if weights.isEmpty {
            let pickle = names.first { $0.hasPrefix("pytorch_model") && ($0.hasSuffix(".bin") || $0.hasSuffix(".json")) }
            if pickle != nil {
                throw Problem(
                    .malformed, "pickle", file: directory.path,
                    "holds its weights as Python pickles, which can run code when they are loaded, so they are never read here",
                    hint: "convert it once where you trust it: python -c \"from transformers import AutoModelForCausalLM as M; "
                        + "M.from_pretrained('\(directory.path)').save_pretrained('converted')\"")
            }
            let isAdapter = names.contains { $0.hasPrefix("adapter_") }
            throw Problem(
                .missing, "no-model", file: directory.path, "holds no .safetensors files",
                hint: isAdapter ? "this looks like an adapter; BASE comes first, then the adapters" : "name a model's directory")
        }
        if weights.contains(where: { shardTotal($0) != nil }) { throw noIndex(weights, directory) }
        if names.contains("adapter_config.json") {
            throw Problem(
                .missing, "no-model", file: directory.path, "is an adapter, but a model was needed",
                hint: "BASE comes first, then the adapters")
        }
        throw Problem(
            .malformed, "several-files", file: directory.path,
            "holds \(weights.count) .safetensors files and no index that says how they belong together",
            hint: "name one of the files, or add \(indexName)")
    }

    private static func noIndex(_ weights: [String], _ directory: Directory) -> Problem {
        Problem(
            .missing, "missing-index", file: directory.path(of: indexName),
            "is missing, though \(weights.count) of the checkpoint's files are there",
            hint: "the download is incomplete: download it again")
    }

    /// N of a name like `model-00001-of-0000N.safetensors`.
    private static func shardTotal(_ name: String) -> Int? {
        guard let range = name.range(of: "-of-", options: .last) else { return nil }
        return Int(name[range.upperBound...].prefix { $0.isNumber })
    }

    private mutating func warnOrphans(_ weights: [String]) {
        let named = Set(index?.weightMap.map(\.shard) ?? []).union(shards.map(\.name))
        for name in weights where !named.contains(name) && !name.hasPrefix("adapter_") {
            warn(
                "orphan-file", "holds '\(name)', which does not belong to the model, so it is ignored",
                hint: "some loaders read it all the same: move it elsewhere")
        }
    }
}

extension String {
    fileprivate enum SearchEnd { case last }

    /// The last place where `text` stands.
    fileprivate func range(of text: String, options: SearchEnd) -> Range<String.Index>? {
        ranges(of: text).last
    }
}
