import Digests
import Files
import Problems
import Safetensors
import Tensors

/// The files of a base that an archive refers to, found by tensors' names and files' paths.
public final class BaseFiles: Sendable {
    /// Where bytes are.
    struct Place: Sendable {
        let file: any ByteSource
        let offset: Int
        let size: Int
        let dtype: DType?

        /// Whether these are the bytes that `source` has from `start`.
        func holds(_ source: any ByteSource, from start: Int) throws(Problem) -> Bool {
            try file.hasSameBytes(at: offset, count: size, as: source, at: start)
        }

        /// SHA-256 of the bytes.
        func digest(_ progress: (Int) -> Void = { _ in }) throws(Problem) -> String {
            try SHA256.hex(of: file, bytes: offset..<offset + size, progress: progress)
        }

        /// What refers to it in an archive.
        func reference(_ name: String, isTensor: Bool) throws(Problem) -> SourceReference {
            SourceReference(isTensor: isTensor, name: name, size: size, digest: try digest())
        }
    }

    /// The path as the user named it.
    public let path: String
    private let tensors: [String: [Place]]
    private let files: [String: any ByteSource]

    /// Opens a directory with all its files, an archive, or one safetensors file; reads headers only.
    public init(path: String) throws(Problem) {
        let path = path.hasSuffix(".index.json") && Directory.kind(of: path) == .file ? parentPath(of: path) : path
        self.path = path
        var found: [(String, any ByteSource)] = []
        switch Directory.kind(of: path) {
        case nil:
            throw Problem(.missing, "no-base", file: path, "does not exist", hint: "name the base's directory or file")
        case .directory: try Self.collect(Directory(path: path), "", [], &found)
        default:
            if let archive = try Archive.openIfArchive(path: path) {
                if let first = archive.directory.entries.first(where: { _ in archive.baseName != nil }) {
                    throw archive.needsBase(first)
                }
                try Self.collect(archive.folder(), "", [], &found)
            } else {
                found = [(lastComponent(of: path), try InputFile(path: path))]
            }
        }
        var places: [String: [Place]] = [:]
        // What the index names comes first: another file may hold something else under the same name.
        let indexed = Self.indexed(found)
        for (name, file) in found.filter({ indexed.contains($0.0) }) + found.filter({ !indexed.contains($0.0) })
        where name.hasSuffix(".safetensors") {
            guard let header = try? Header.read(from: file) else { continue }
            for tensor in header.tensors {
                places[tensor.name, default: []].append(
                    Place(
                        file: file, offset: header.dataStart + tensor.begin, size: tensor.byteCount,
                        dtype: tensor.dtype))
            }
        }
        tensors = places
        files = Dictionary(found) { first, _ in first }
    }

    /// The files that an index among `found` names.
    private static func indexed(_ found: [(String, any ByteSource)]) -> Set<String> {
        guard let file = found.first(where: { !$0.0.contains("/") && $0.0.hasSuffix(".safetensors.index.json") })?.1,
            let index = try? ShardIndex(file, name: lastComponent(of: file.path))
        else { return [] }
        return Set(index.shards.map(\.name))
    }

    private static func collect(
        _ folder: any Folder, _ prefix: String, _ above: Set<FileIdentity>, _ found: inout [(String, any ByteSource)]
    ) throws(Problem) {
        // A link may lead to a directory that it lies in; what is there is listed already.
        let own = (folder as? Directory)?.identity
        if let own, above.contains(own) { return }
        let lineage = above.union(own.map { [$0] } ?? [])
        for entry in try folder.entries() {
            switch entry.kind {
            case .file:
                let source = try folder.source(entry.name)
                let keepsOpen = found.count < 8 || !(source is InputFile)
                found.append(
                    (prefix + entry.name, keepsOpen ? source : (source as? InputFile).map(ReopenedFile.init) ?? source))
            case .directory where prefix.utf8.count < EntryPath.largest:
                try collect(folder.folder(entry.name), prefix + entry.name + "/", lineage, &found)
            default: continue
            }
        }
    }

    /// What the base is called: the last part of its path.
    public var name: String { lastComponent(of: path) }

    /// The tensor of that name.
    func tensor(_ name: String) -> Place? { tensors[name]?.first }

    /// The tensor of that name and size.
    func tensor(_ name: String, size: Int) -> Place? { tensors[name]?.first { $0.size == size } }

    /// Whether a tensor of that name is here, with the bytes that `file` has for `tensor`.
    package func holds(_ tensor: TensorInfo, of file: SafetensorsFile) throws(Problem) -> Bool {
        guard let place = self.tensor(tensor.name, size: tensor.byteCount), place.dtype == tensor.dtype else {
            return false
        }
        return try place.holds(file.file, from: file.header.dataStart + tensor.begin)
    }

    /// The file at that path in the base.
    func file(_ path: String) -> Place? {
        files[path].map { Place(file: $0, offset: 0, size: $0.size, dtype: nil) }
    }

    /// Where the bytes are that an archive refers to.
    func place(of source: SourceReference) throws(Problem) -> Place {
        let place = source.isTensor ? tensor(source.name, size: source.size) : file(source.name)
        guard let place, place.size == source.size else { throw different(source, "is missing or has another size") }
        return place
    }

    private func different(_ source: SourceReference, _ what: String) -> Problem {
        Problem(
            .incompatible, "wrong-base", file: path, tensor: source.isTensor ? source.name : nil,
            (source.isTensor ? "" : "the file '\(source.name.excerpt)' ") + what
                + ", so this is not the base that the archive was packed against",
            hint: "name the same base, of the same revision")
    }

    /// Throws unless all that `archive` refers to is here, with the right digests.
    ///
    /// Reads all of it, with `threads` threads; `progress` is told of bytes.
    public func check(
        _ sources: [SourceReference], threads: Int, progress: @escaping @Sendable (Int) -> Void
    ) throws(Problem) {
        for source in sources { _ = try place(of: source) }
        let base = self
        let digests = try OrderedWork.map(sources.count, threads: threads, worker: { NoScratch() }) {
            (at, _) throws(Problem) in try base.place(of: sources[at]).digest(progress)
        }
        for (source, digest) in zip(sources, digests) where digest != source.digest {
            throw different(source, "has another digest")
        }
    }
}

/// For threads that need nothing to work with.
final class NoScratch: Sendable {}
