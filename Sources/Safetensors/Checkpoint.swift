import Files
import Problems
import StrictJSON

/// A model's weights: one safetensors file, or several with an index, and what lies beside them.
public final class Checkpoint: Sendable {
    /// One file of weights.
    public struct Shard: Sendable {
        /// Its name in the directory.
        public let name: String
        /// The open file.
        public let file: SafetensorsFile
    }

    /// Where a tensor is.
    public struct Place: Sendable {
        /// The tensor.
        public let info: TensorInfo
        /// Its file, by its place in `shards`.
        public let shard: Int
    }

    /// The path as the user named it; the directory, if an index was named.
    public let path: String
    /// The directory; `nil` if only one file was named.
    public let directory: (any Folder)?
    /// The files of weights, ordered by name.
    public let shards: [Shard]
    /// All tensors that count, file by file, in the order of their data.
    ///
    /// What the index says counts: a tensor that it does not name, or names in another file, is not here.
    public let tensors: [Place]
    /// The index, if there is one.
    public let index: ShardIndex?
    /// `config.json`, if there is one.
    public let config: JSONValue?
    /// Names of the regular files beside the weights, other than the index and `config.json`.
    public let otherFiles: [String]
    /// What is wrong with the checkpoint.
    public let problems: [Problem]
    private let names: NameTable

    /// Opens the checkpoint at `path`: a directory, an index, or one file; of these, it reads headers only.
    public static func open(path: String) throws(Problem) -> Checkpoint {
        switch Directory.kind(of: path) {
        case nil:
            throw Problem(
                .missing, "no-model", file: path, "does not exist",
                hint: "name a model's directory, or a .safetensors file")
        case .directory: return try Checkpoint(CheckpointFiles(directory: Directory(path: path)))
        default:
            if path.hasSuffix(".index.json") {
                let name = lastComponent(of: path)
                return try Checkpoint(CheckpointFiles(directory: Directory(path: parentPath(of: path)), index: name))
            }
            return try Checkpoint(CheckpointFiles(file: path))
        }
    }

    /// Opens what `folder` holds.
    ///
    /// - Parameter index: the name of the index to follow, where it is not the usual one.
    public static func open(_ folder: any Folder, index: String? = nil) throws(Problem) -> Checkpoint {
        try Checkpoint(CheckpointFiles(directory: folder, index: index))
    }

    private init(_ files: CheckpointFiles) {
        var assembly = CheckpointAssembly(files)
        assembly.run()
        path = files.path
        directory = files.directory
        index = files.index
        config = files.config
        otherFiles = files.otherFiles
        shards = files.shards
        tensors = assembly.tensors
        names = assembly.names
        problems = files.problems + assembly.problems
    }

    /// Where the tensor of that name is; names are compared byte by byte.
    public func lookup(_ name: String) -> Place? { names.place(of: name, in: tensors).map { tensors[$0] } }

    /// Throws all problems if one of them is an error.
    public func requireSound() throws(ProblemList) {
        let list = ProblemList(problems)
        if list.hasErrors { throw list }
    }
}

extension NameTable {
    /// Where the tensor of that name is in `tensors`.
    func place(of name: String, in tensors: [Checkpoint.Place]) -> Int? {
        place(of: name, NameTable.hash(name), in: tensors)
    }

    /// Where the tensor of that name, whose hash is known, is in `tensors`.
    func place(of name: String, _ hash: UInt32, in tensors: [Checkpoint.Place]) -> Int? {
        var slot = start(hash)
        while let place = next(hash, &slot) {
            if tensors[place].info.name.hasSameBytes(as: name) { return place }
        }
        return nil
    }
}
