import Adapters
import Archives
import Digests
import Files
import Problems
import Safetensors
import Synchronization

/// A record of a merge that is open for reading; only its header and directory were read.
public final class UndoRecord: Sendable {
    /// The path as the user named it.
    public let path: String
    let file: any ByteSource
    let directory: UndoDirectory
    /// Where the streams are in the file.
    let streams: Range<Int>
    private let header: Header
    private let streamsDigest: String
    private let opened = Mutex<[Int: Adapter]>([:])

    /// Opens the record at `path`.
    public convenience init(path: String) throws(Problem) {
        guard Directory.kind(of: path) != nil else {
            throw Problem(
                .missing, "no-undo", file: path, "does not exist",
                hint: "adapter-merge --undo FILE writes a record; without one, a merge cannot be taken back exactly")
        }
        try self.init(InputFile(path: path))
    }

    /// Opens the file at `path` if its header says that it is a record; what else is wrong with it, others tell.
    public static func openIfRecord(path: String) throws(Problem) -> UndoRecord? {
        let file = try InputFile(path: path)
        guard let header = try? Header.read(from: file), header.metadataValue(UndoFormat.versionKey) != nil else {
            return nil
        }
        return try UndoRecord(file)
    }

    /// Reads header and directory of `file`.
    public init(_ file: any ByteSource) throws(Problem) {
        self.file = file
        path = file.path
        do throws(Problem) {
            header = try Header.read(from: file)
            guard let version = header.metadataValue(UndoFormat.versionKey) else {
                throw Problem(
                    .malformed, "not-an-undo-record", "is a safetensors file, but no undo record",
                    hint: "adapter-merge --undo FILE writes them")
            }
            guard version == UndoFormat.version else {
                throw Problem(
                    .malformed, "undo-version",
                    "has version '\(version.excerpt)' of the undo format, but only \(UndoFormat.version) is known here",
                    hint: "get a newer version of this program")
            }
            guard let streams = header[UndoFormat.streamsName], streams.dtype == .u8,
                let digest = header.metadataValue(UndoFormat.streamsKey)
            else { throw UndoFormat.damaged("has no streams") }
            streamsDigest = digest
            self.streams = header.dataStart + streams.begin..<header.dataStart + streams.end
            directory = try UndoDirectory(Self.text(header, file), streams: streams.byteCount)
            for at in directory.inputs.indices where directory.inputs[at].isHeld {
                guard header[UndoFormat.configName(at)] != nil, header[UndoFormat.tensorsName(at)] != nil else {
                    throw UndoFormat.damaged("does not hold an adapter that it says it holds")
                }
            }
        } catch {
            throw error.at(file: file.path)
        }
    }

    private static func text(_ header: Header, _ file: any ByteSource) throws(Problem) -> [UInt8] {
        let fields = (header.metadataValue(UndoFormat.directoryKey) ?? "").split(separator: " ")
        guard fields.count == 2, let size = Int(fields[1]), size >= 0, let tensor = header[UndoFormat.directoryName]
        else { throw UndoFormat.damaged("has no directory") }
        guard size <= tensor.byteCount * UndoFormat.largestRatio, size <= max(64 << 20, file.size) else {
            throw UndoFormat.damaged("has a directory of an impossible size")
        }
        let packed = try file.read(at: header.dataStart + tensor.begin, count: tensor.byteCount)
        guard let text = ZlibText.inflate(packed, size: size), SHA256.hex(text) == String(fields[0]) else {
            throw UndoFormat.damaged("has a damaged directory")
        }
        return text
    }

    // MARK: What it says

    /// An adapter that the merge took.
    public struct Input: Sendable {
        /// What it was called.
        public let name: String
        /// What its delta was multiplied by.
        public let weight: Double
        /// Its digest.
        public let digest: String
        /// Whether the record holds it.
        public let isHeld: Bool
    }

    /// The adapters that the merge took, in their order.
    public var inputs: [Input] {
        directory.inputs.map { Input(name: $0.name, weight: $0.weight, digest: $0.digest, isHeld: $0.isHeld) }
    }

    /// What the base was called.
    public var baseName: String { directory.base }
    /// Whether the base was one file, not a directory.
    public var isFile: Bool { directory.isFile }
    /// How many files it restores.
    public var restoredCount: Int { directory.files.count { !$0.isAside } }
    /// Bytes of all files that it restores.
    public var restoredSize: Int { directory.files.reduce(0) { $0 + ($1.isAside ? 0 : $1.size) } }
    /// Paths of files that base and merged model share; they are not in the record.
    public var linkedPaths: [String] { directory.linked }
    /// Paths of what it restores, if that is more than a flat directory; a base like that may be replaced by itself.
    public var nestedPaths: Set<String>? {
        let paths = directory.files.filter { !$0.isAside }.map(\.path)
        let isFlat = directory.directories.isEmpty && !paths.contains { $0.contains("/") }
        return isFile || isFlat ? nil : Set(paths)
    }
    /// Bytes of the record.
    public var size: Int { file.size }

    /// Throws if the streams are not what was written, or an adapter that is held is not; reads the whole record.
    public func check() throws(Problem) {
        guard try SHA256.hex(of: file, bytes: streams) == streamsDigest else {
            throw UndoFormat.damaged("has damaged streams").at(file: path)
        }
        for at in directory.inputs.indices where directory.inputs[at].isHeld { _ = try adapter(at) }
    }

    /// An adapter that is held, its digest checked.
    func adapter(_ at: Int) throws(Problem) -> Adapter {
        if let known = opened.withLock({ $0[at] }) { return known }
        let adapter = try open(at)
        opened.withLock { $0[at] = adapter }
        return adapter
    }

    private func open(_ at: Int) throws(Problem) -> Adapter {
        let held = HeldAdapter(self, at, header)
        let adapter = try Adapter(held)
        guard try adapter.digest() == directory.inputs[at].digest else {
            throw Problem(
                .malformed, "bad-undo", file: path,
                "holds the adapter '\(directory.inputs[at].name.excerpt)', but damaged",
                hint: "the record is damaged: get it again")
        }
        return adapter
    }

    /// The adapters: those that are held, and others from `given`, each found by its digest.
    func adapters(given: [Adapter]) throws(Problem) -> [(adapter: Adapter, weight: Double)] {
        var digests: [String] = []
        for adapter in given { digests.append(try adapter.digest()) }
        var result: [(adapter: Adapter, weight: Double)] = []
        for (at, input) in directory.inputs.enumerated() {
            if input.isHeld {
                result.append((try adapter(at), input.weight))
            } else if let place = digests.firstIndex(of: input.digest) {
                result.append((given[place], input.weight))
            } else {
                throw Problem(
                    given.isEmpty ? .missing : .incompatible, "needs-adapter", file: path,
                    "does not hold the adapter '\(input.name.excerpt)', whose SHA-256 begins with \(input.digest.prefix(12))"
                        + (given.isEmpty ? "" : ", and none of the given ones has that digest"),
                    hint: "name it with --adapter PATH")
            }
        }
        return result
    }
}

/// The folder of an adapter that a record holds.
private final class HeldAdapter: Folder {
    let path: String
    private let sources: [(name: String, source: any ByteSource)]

    init(_ record: UndoRecord, _ at: Int, _ header: Header) {
        path = "\(record.path): adapter \(record.directory.inputs[at].name)"
        var sources: [(name: String, source: any ByteSource)] = []
        for (name, tensor) in [
            ("adapter_config.json", UndoFormat.configName(at)),
            ("adapter_model.safetensors", UndoFormat.tensorsName(at)),
        ] {
            // Some dialects have no config.
            guard let info = header[tensor], info.byteCount > 0 else { continue }
            sources.append(
                (
                    name,
                    SourceSlice(
                        record.file, from: header.dataStart + info.begin, size: info.byteCount, path: "\(path)/\(name)",
                        number: 2 * at + sources.count + 1)
                ))
        }
        self.sources = sources
    }

    func entries() -> [DirectoryEntry] {
        sources.map { DirectoryEntry(name: $0.name, kind: .file, size: $0.source.size) }
    }

    func source(_ name: String) throws(Problem) -> any ByteSource {
        guard let found = sources.first(where: { $0.name == name }) else {
            throw Problem(.missing, "missing", file: path(of: name), "does not exist")
        }
        return found.source
    }

    func folder(_ name: String) throws(Problem) -> any Folder {
        throw Problem(.missing, "missing", file: path(of: name), "does not exist")
    }

    func path(of name: String) -> String { "\(path)/\(name)" }
}

/// Some bytes of a source, as a source of their own.
final class SourceSlice: ByteSource {
    let path: String
    let size: Int
    let identity: FileIdentity
    private let source: any ByteSource
    private let start: Int

    init(_ source: any ByteSource, from start: Int, size: Int, path: String, number: Int) {
        self.source = source
        self.start = start
        self.size = size
        self.path = path
        identity = source.identity.entry(number)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(Problem) {
        guard offset >= 0, buffer.count <= size, offset <= size - buffer.count else {
            throw Problem(.internalFault, "short-read", file: path, "was read beyond its end")
        }
        try unsafe source.read(into: buffer, at: start + offset)
    }
}
