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
    let directory: (any Folder)?
    private(set) var index: ShardIndex?
    private(set) var shards: [Checkpoint.Shard] = []
    private(set) var config: JSONValue?
    private(set) var otherFiles: [String] = []
    private(set) var problems: [Problem] = []
    /// For each file of the index its place in `shards`, if it could be opened.
    private(set) var openedShards: [Int?] = []
    /// Names of files that could not be opened.
    private var refused: Set<String> = []

    /// Takes the one file at `path`.
    init(file path: String) throws(Problem) {
        self.path = path
        directory = nil
        let name = lastComponent(of: path)
        shards = [Checkpoint.Shard(name: name, file: try SafetensorsFile(path: path))]
        let beside = parentPath(of: path) + "/config.json"
        if Directory.kind(of: beside) == .file { readConfig { () throws(Problem) in try InputFile(path: beside) } }
    }

    /// Takes what the directory holds, or what the index named `named` there says.
    ///
    /// - Parameter isComponent: whether it is a part of a pipeline, where variants of weights are nothing odd.
    init(directory: any Folder, index named: String? = nil, isComponent: Bool = false) throws(Problem) {
        path = directory.path
        self.directory = directory
        let listing = DirectoryListing(try directory.entries(), index: named)
        if listing.names.contains("config.json") {
            readConfig { () throws(Problem) in try directory.source("config.json") }
        }
        if named == nil, listing.weights.contains(Self.singleName) {
            openSingle(directory, listing)
        } else if let name = listing.indexName {
            let found = try ShardIndex(directory.source(name), name: name)
            index = found
            openShards(of: found, directory, listing)
        } else {
            open(try listing.onlyWeights(in: directory), directory)
        }
        warnOrphans(listing, isComponent)
        otherFiles = listing.otherFiles.filter { $0 != index?.name }
    }

    private mutating func readConfig(_ open: () throws(Problem) -> any ByteSource) {
        do throws(Problem) {
            let file = try open()
            do throws(Problem) {
                config = try JSONValue.parse(try file.readAll(limit: Self.configLimit), allowNonFinite: true)
            } catch {
                throw error.at(file: file.path)
            }
        } catch {
            problems.append(error)
        }
    }

    /// Takes `model.safetensors`, for which transformers looks first, and an index that speaks of just this file.
    private mutating func openSingle(_ directory: any Folder, _ listing: DirectoryListing) {
        if let name = listing.indexName {
            let found = try? ShardIndex(directory.source(name), name: name)
            if let found, found.shards.count == 1, found.shards[0].name == Self.singleName {
                index = found
                return openShards(of: found, directory, listing)
            }
            warn(
                "two-models",
                "holds both '\(Self.singleName)' and '\(name)'; the single file counts, as for transformers",
                hint: "some loaders follow the index: remove one of the two")
        }
        open(Self.singleName, directory)
    }

    /// Opens a file of weights; its place in `shards`, if that could be done.
    @discardableResult private mutating func open(_ name: String, _ directory: any Folder) -> Int? {
        do throws(Problem) {
            shards.append(Checkpoint.Shard(name: name, file: try SafetensorsFile(directory.source(name))))
            return shards.count - 1
        } catch {
            problems.append(error)
            refused.insert(name)
            return nil
        }
    }

    private mutating func openShards(of index: ShardIndex, _ directory: any Folder, _ listing: DirectoryListing) {
        openedShards = Array(repeating: nil, count: index.shards.count)
        let present = Set(listing.names.map { Array($0.utf8) })
        let order = index.shards.indices.sorted {
            index.shards[$0].name.utf8.lexicographicallyPrecedes(index.shards[$1].name.utf8)
        }
        for at in order {
            let (name, count, firstTensor) = index.shards[at]
            if !Directory.checkComponent(name) || !name.hasSuffix(".safetensors") {
                problems.append(Self.unsafe(name, firstTensor, directory.path(of: index.name)))
            } else if !present.contains(Array(name.utf8)) {
                problems.append(
                    Problem(
                        .missing, "missing-shard", file: directory.path(of: name),
                        "is missing, but the index says that \(count) tensors are in it",
                        hint: "the download is incomplete: download it again"))
            } else {
                openedShards[at] = open(name, directory)
            }
        }
    }

    private static func unsafe(_ name: String, _ tensor: String, _ indexPath: String) -> Problem {
        if Directory.checkComponent(name), [".bin", ".pt", ".pth", ".ckpt"].contains(where: { name.hasSuffix($0) }) {
            return Problem(
                .malformed, "pickle", file: indexPath, tensor: tensor,
                "is mapped to '\(name.excerpt)', a Python pickle, which can run code when it is loaded and is never read here",
                hint: "name the index of the .safetensors files, or convert the model once where you trust it")
        }
        return Problem(
            .malformed, "unsafe-name", file: indexPath, tensor: tensor,
            "is mapped to '\(name.excerpt)', which is not the name of a .safetensors file in the same directory, so it is "
                + "not opened", hint: "do not trust this index: download it again from its origin")
    }

    private mutating func warnOrphans(_ listing: DirectoryListing, _ isComponent: Bool) {
        let named = Set((index?.shards.map(\.name) ?? []) + shards.map(\.name)).union(refused)
        for name in listing.weights where !named.contains(name) && !name.hasPrefix("adapter_") {
            if let other = WeightNames(name), other.variant != nil, isComponent || other.stem == WeightNames.diffusers {
                problems.append(
                    Problem(
                        .note, .malformed, "other-variant", file: path,
                        "holds '\(name)' as well, another variant of the weights, which is ignored"))
                continue
            }
            warn(
                "orphan-file", "holds '\(name)', which does not belong to the model, so it is ignored",
                hint: "some loaders read it all the same: move it elsewhere")
        }
    }

    private mutating func warn(_ code: String, _ message: String, hint: String) {
        problems.append(Problem(.warning, .malformed, code, file: path, message, hint: hint))
    }
}
