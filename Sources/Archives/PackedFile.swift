import Files
import Problems
import Synchronization

/// A file within an archive, read like any other.
public final class PackedFile: ByteSource {
    private let archive: Archive
    private let entry: ArchiveEntry
    /// The archive's path and its own.
    public let path: String
    /// The unpacked size in bytes.
    public var size: Int { entry.size }
    /// Tells it from other files.
    public let identity: FileIdentity

    convenience init(_ archive: Archive, _ place: Int) { self.init(archive, archive.directory.entries[place], place) }

    init(_ archive: Archive, _ entry: ArchiveEntry, _ place: Int = 0) {
        self.archive = archive
        self.entry = entry
        path = "\(archive.path)//\(entry.path)"
        identity = archive.file.identity.entry(place + 1)
    }

    /// Throws unless the bytes have the digest that the directory gives.
    public func require(_ digest: String) throws(Problem) {
        guard digest == entry.digest.text else { throw archive.damage(entry, nil, "does not have its digest") }
    }

    private func part(at start: Int) -> ArchivePart? {
        archive.directory.parts[entry.parts].first { $0.start == start }
    }

    /// What of the base the tensor refers to that begins at that byte.
    public func source(at start: Int) -> SourceReference? {
        part(at: start)?.code.source.map { archive.directory.sources[$0] }
    }

    /// Throws unless the part that begins at that byte, which is a whole tensor, has this digest.
    public func requirePart(at start: Int, digest: String) throws(Problem) {
        guard let part = part(at: start) else { return }
        guard part.digest.text == digest else { throw archive.damage(entry, part, "has a part without its digest") }
    }

    /// Reads and inflates what is needed.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Problem) {
        guard offset >= 0, buffer.count <= size, offset <= size - buffer.count else {
            throw Problem(.internalFault, "short-read", file: path, "a packed file was read beyond its end")
        }
        try unsafe archive.read(entry, into: buffer, at: offset)
    }
}

/// The files of an archive, as a folder.
public final class PackedFolder: Folder {
    /// The archive.
    public let archive: Archive
    private let prefix: String

    init(_ archive: Archive, _ prefix: String) {
        self.archive = archive
        self.prefix = prefix
    }

    /// The archive's path, with that of the folder.
    public var path: String { prefix.isEmpty ? archive.path : archive.path + "//" + prefix.dropLast() }

    /// What is directly in this folder.
    public func entries() -> [DirectoryEntry] {
        var result: [DirectoryEntry] = []
        var seen: Set<String> = []
        let empty = archive.emptyDirectories.map { ($0 + "/", 0) }
        let files = archive.items.filter { !$0.isInput || prefix.hasPrefix(ArchiveFormat.inputPrefix) }
        for (path, size) in empty + files.map({ ($0.path, $0.size) }) where path.hasPrefix(prefix) {
            let rest = path.dropFirst(prefix.count)
            let name = String(rest.prefix { $0 != "/" })
            guard !name.isEmpty, seen.insert(name).inserted else { continue }
            let isFile = name.utf8.count == rest.utf8.count
            result.append(DirectoryEntry(name: name, kind: isFile ? .file : .directory, size: isFile ? size : 0))
        }
        return result.sorted { Array($0.name.utf8).lexicographicallyPrecedes(Array($1.name.utf8)) }
    }

    /// Opens a file of this folder.
    public func source(_ name: String) throws(Problem) -> any ByteSource {
        guard let file = archive.open(prefix + name) else {
            throw Problem(.missing, "no-such-file", file: path(of: name), "is not in the archive")
        }
        return file
    }

    /// A folder in this one.
    public func folder(_ name: String) -> any Folder { PackedFolder(archive, prefix + name + "/") }

    /// The archive's path, and the file's in it.
    public func path(of name: String) -> String { archive.path + "//" + prefix + name }
}

/// The chunks that were read last, so that reading row by row does not inflate them again.
final class ChunkCache: Sendable {
    private static let most = 8

    private struct State {
        var chunks: [(place: Int, bytes: [UInt8])] = []
        var coders: [ChunkCoder] = []

        mutating func takeCoder() -> ChunkCoder { coders.popLast() ?? ChunkCoder() }
    }

    private let state = Mutex(State())

    /// The chunk at `place`, from `make` if it is not here; several threads may make chunks at once.
    func chunk(
        _ place: Int, _ make: (ChunkCoder) throws(Problem) -> [UInt8]
    ) throws(Problem) -> [UInt8] {
        let known: [UInt8]? = state.withLock { state in
            guard let at = state.chunks.lastIndex(where: { $0.place == place }) else { return nil }
            state.chunks.append(state.chunks.remove(at: at))
            return state.chunks.last?.bytes
        }
        if let known { return known }
        let coder = state.withLock { $0.takeCoder() }
        let made = try make(coder)
        state.withLock { state in
            state.coders.append(coder)
            state.chunks.append((place, made))
            if state.chunks.count > Self.most { state.chunks.removeFirst() }
        }
        return made
    }
}
