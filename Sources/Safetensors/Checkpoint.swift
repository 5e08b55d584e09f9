import Files
import Problems
import StrictJSON

/// A model's weights: one safetensors file, or several with an index, and what lies beside them.
///
/// Or a pipeline of diffusers: a directory of components, each such a model. Then tensors are named `COMPONENT.NAME`.
public final class Checkpoint: Sendable {
    /// One file of weights.
    public struct Shard: Sendable {
        /// Its name in the directory; in a pipeline `COMPONENT/NAME`.
        public let name: String
        /// The open file; in a pipeline, the header's names have the component's before them.
        public let file: SafetensorsFile
        /// The component of a pipeline that it belongs to.
        public var component: String?

        /// What stands before the names that the file itself has.
        package var prefix: String { component.map { $0 + "." } ?? "" }
        /// The name of the file alone.
        package var fileName: String { String(Substring(name.utf8.dropFirst(prefix.utf8.count))) }
    }

    /// A part of a pipeline with weights of its own, such as `unet` or `text_encoder`.
    public struct Component: Sendable {
        /// The name of its directory.
        public let name: String
        /// Its `config.json`, if there is one.
        public let config: JSONValue?
        /// Its index, if there is one.
        public let index: ShardIndex?
        /// Its files among the checkpoint's.
        public let shards: Range<Int>
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
    /// `config.json`, if there is one; of a pipeline, `model_index.json`.
    public let config: JSONValue?
    /// The components of a pipeline that have weights, by name; a model has none.
    public let components: [Component]
    /// Whether it is a pipeline of diffusers.
    public let isPipeline: Bool
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
        case .directory: return try open(Directory(path: path))
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
        if index == nil, let pipeline = try PipelineFiles(folder) { return Checkpoint(pipeline) }
        return try Checkpoint(CheckpointFiles(directory: folder, index: index))
    }

    private init(_ pipeline: PipelineFiles) {
        path = pipeline.directory.path
        directory = pipeline.directory
        index = nil
        config = pipeline.config
        otherFiles = pipeline.otherFiles
        isPipeline = true
        var shards: [Shard] = []
        var tensors: [Place] = []
        var components: [Component] = []
        for (name, part) in pipeline.parts {
            let (first, prefix) = (shards.count, name + ".")
            shards += part.shards.map { shard in
                Shard(
                    name: "\(name)/\(shard.name)", file: SafetensorsFile(shard.file, prefix: prefix), component: name)
            }
            tensors += part.tensors.map { Place(info: $0.info.prefixed(prefix), shard: first + $0.shard) }
            components.append(
                Component(name: name, config: part.config, index: part.index, shards: first..<shards.count))
        }
        (self.shards, self.tensors, self.components) = (shards, tensors, components)
        var names = NameTable()
        for (at, place) in tensors.enumerated() { names.insert(at, NameTable.hash(place.info.name)) }
        self.names = names
        problems = pipeline.problems
    }

    init(_ files: CheckpointFiles) {
        var assembly = CheckpointAssembly(files)
        assembly.run()
        path = files.path
        directory = files.directory
        index = files.index
        config = files.config
        (components, isPipeline) = ([], false)
        otherFiles = files.otherFiles
        shards = files.shards
        tensors = assembly.tensors
        names = assembly.names
        problems = files.problems + assembly.problems
    }

    /// Where the tensor of that name is; names are compared byte by byte.
    public func lookup(_ name: String) -> Place? { names.place(of: name, in: tensors).map { tensors[$0] } }

    /// The component that a tensor of that name belongs to.
    package func component(of name: String) -> Component? {
        guard isPipeline, let dot = name.utf8.firstIndex(of: UInt8(ascii: ".")) else { return nil }
        return components.first { $0.name.utf8.elementsEqual(name.utf8[..<dot]) }
    }

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
