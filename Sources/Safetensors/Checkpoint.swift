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

    /// The path as the user named it.
    public let path: String
    /// The directory; `nil` if only one file was named.
    public let directory: Directory?
    /// The files of weights, ordered by name.
    public let shards: [Shard]
    /// All tensors that count, file by file, in the order of their data.
    public let tensors: [Place]
    /// The index, if there is one.
    public let index: ShardIndex?
    /// `config.json`, if there is one.
    public let config: JSONValue?
    /// What is wrong with the checkpoint.
    public let problems: [Problem]
    private let places: [String: Int]

    /// Opens the checkpoint at `path`: a directory, an index, or one file. Only headers are read.
    public static func open(path: String) throws(Problem) -> Checkpoint {
        switch Directory.kind(of: path) {
        case nil:
            throw Problem(
                .missing, "no-model", file: path, "does not exist", hint: "name a model's directory, or a .safetensors file")
        case .directory: return try Checkpoint(CheckpointFiles(directory: Directory(path: path)))
        default:
            if path.hasSuffix(".index.json") {
                let name = path.split(separator: "/").last.map(String.init) ?? path
                return try Checkpoint(CheckpointFiles(directory: Directory(path: parentPath(of: path)), index: name))
            }
            return try Checkpoint(CheckpointFiles(file: path))
        }
    }

    private init(_ files: CheckpointFiles) {
        var assembly = CheckpointAssembly(files)
        assembly.run()
        path = files.path
        directory = files.directory
        index = files.index
        config = files.config
        shards = files.shards
        tensors = assembly.tensors
        places = assembly.places
        problems = files.problems + assembly.problems
    }

    /// Where the tensor of that name is.
    public func lookup(_ name: String) -> Place? { places[name].map { tensors[$0] } }

    /// Throws all problems if one of them is an error.
    public func requireSound() throws(ProblemList) {
        let list = ProblemList(problems)
        if list.hasErrors { throw list }
    }
}

/// Holds what the files contain against what the index says.
private struct CheckpointAssembly {
    let files: CheckpointFiles
    var tensors: [Checkpoint.Place] = []
    var places: [String: Int] = [:]
    var problems: [Problem] = []

    init(_ files: CheckpointFiles) { self.files = files }

    mutating func run() {
        let mapped = files.index.map { index in
            Dictionary(index.weightMap.map { ($0.tensor, $0.shard) }) { first, _ in first }
        }
        var elsewhere: [String: [Int]] = [:]
        for (at, shard) in files.shards.enumerated() {
            for tensor in shard.file.header.tensors {
                elsewhere[tensor.name, default: []].append(at)
                guard let mapped else {
                    add(tensor, at)
                    continue
                }
                if mapped[tensor.name] == shard.name {
                    add(tensor, at)
                } else if mapped[tensor.name] == nil {
                    report(
                        .warning, "orphan-tensor", shard.file.path, tensor.name, "is not in the index, so it is ignored",
                        hint: "some loaders use it all the same: remove it, or add it to the index")
                }
            }
        }
        guard let index = files.index else { return }
        for (name, found) in elsewhere.sorted(by: { $0.key < $1.key }) where found.count > 1 {
            let names = found.map { files.shards[$0].name }.joined(separator: ", ")
            report(.error, "duplicate-tensor", files.path, name, "is in \(found.count) files: \(names)")
        }
        for entry in index.weightMap where places[entry.tensor] == nil && files.opened.contains(entry.shard) {
            let other = elsewhere[entry.tensor]?.first.map { files.shards[$0].name }
            report(
                .error, "wrong-shard", files.path, entry.tensor,
                "should be in '\(entry.shard)', as the index says, but it is \(other.map { "in '\($0)'" } ?? "in no file")",
                hint: "download the index and the files again, from the same revision")
        }
        checkSize(index)
    }

    private mutating func add(_ tensor: TensorInfo, _ shard: Int) {
        if places.updateValue(tensors.count, forKey: tensor.name) != nil { return }
        tensors.append(Checkpoint.Place(info: tensor, shard: shard))
    }

    private mutating func checkSize(_ index: ShardIndex) {
        let size = tensors.reduce(0) { $0 + $1.info.byteCount }
        guard let said = index.totalSize, said != size, problems.isEmpty, files.problems.isEmpty else { return }
        problems.append(
            Problem(
                .warning, .malformed, "wrong-total-size", file: files.path,
                "has \(size) bytes of tensors, but its index says total_size \(said)"))
    }

    private mutating func report(
        _ severity: Problem.Severity, _ code: String, _ file: String, _ tensor: String, _ message: String,
        hint: String? = nil
    ) {
        problems.append(Problem(severity, .malformed, code, file: file, tensor: tensor, message, hint: hint))
    }
}
