import Digests
import Files
import Problems
import Safetensors
import StrictJSON
import Synchronization

/// A packed archive that is open for reading; only its header and directory were read.
public final class Archive: Sendable {
    /// The path as the user named it.
    public let path: String
    let file: any ByteSource
    let directory: ArchiveDirectory
    /// The base that it is read with.
    public let base: BaseFiles?
    private let places: [String: Int]
    let cache = ChunkCache()

    /// Opens the archive at `path` if it is one, else gives `nil`; what is no safetensors file is none.
    public static func openIfArchive(path: String) throws(Problem) -> Archive? {
        guard Directory.kind(of: path) == .file else { return nil }
        let file = try InputFile(path: path)
        guard try looksLikeArchive(file) else { return nil }
        return try Archive(file)
    }

    /// A quick look: the header of an archive begins with its metadata.
    static func looksLikeArchive(_ file: any ByteSource) throws(Problem) -> Bool {
        let start = Array("{\"__metadata__\":{\"\(ArchiveFormat.versionKey)\":".utf8)
        guard file.size >= 8 + start.count else { return false }
        return try file.read(at: 8, count: start.count) == start
    }

    /// Opens the archive at `path`; anything else is an error.
    public convenience init(path: String, base: BaseFiles? = nil) throws(Problem) {
        try self.init(InputFile(path: path), base: base)
    }

    /// Reads header and directory of `file`.
    ///
    /// - Parameter base: what archives that were packed against a base are read with.
    public init(_ file: any ByteSource, base: BaseFiles? = nil) throws(Problem) {
        path = file.path
        self.file = file
        self.base = base
        do throws(Problem) {
            directory = try Self.read(file)
        } catch {
            throw error.at(file: file.path)
        }
        var found: [String: Int] = [:]
        for (at, entry) in directory.entries.enumerated() { found[entry.path] = at }
        places = found
    }

    /// Reads an archive from standard input; what is none, or goes on behind its end, is refused as soon as that shows.
    public static func fromStandardInput(base: BaseFiles? = nil) throws(Problem) -> Archive {
        var expected: Int?
        let spool = try StandardStreams.spoolInput { (spool) throws(Problem) in
            if expected == nil { expected = try expectedSize(spool) }
            guard let expected, spool.size > expected else { return }
            throw Problem(
                .malformed, "trailing-bytes", file: spool.path, "goes on after the archive's \(expected) bytes",
                hint: "something was appended to it: get it again")
        }
        return try Archive(spool, base: base)
    }

    /// The size that an archive will have, once its header has come.
    private static func expectedSize(_ spool: OutputFile) throws(Problem) -> Int? {
        guard spool.size >= 64 else { return nil }
        guard try looksLikeArchive(spool) else {
            throw Problem(
                .malformed, "not-an-archive", file: spool.path, "is no packed archive", hint: "adapter-pack makes them")
        }
        let length = try headerLength(spool)
        guard spool.size >= 8 + length else { return nil }
        let text = try spool.read(at: 8, count: length)
        // The offsets that the header gives last are those of the directory, which ends with the archive.
        guard let last = text.lastIndex(of: UInt8(ascii: "]")),
            let comma = text[..<last].lastIndex(of: UInt8(ascii: ",")),
            let end = decimal(text[(comma + 1)..<last])
        else { throw bad("has a damaged header") }
        let (sum, overflow) = (8 + length).addingReportingOverflow(end)
        guard !overflow else { throw bad("has a damaged header") }
        return sum
    }

    private static func headerLength(_ file: any ByteSource) throws(Problem) -> Int {
        let length = try file.read(at: 0, count: min(8, file.size)).reversed().reduce(0) { $0 << 8 | UInt64($1) }
        guard length <= ArchiveFormat.largestHeader || file.size < 8 else {
            throw bad("has a header of \(length) bytes, more than archives have")
        }
        return Int(length)
    }

    // MARK: Header and directory

    private static func read(_ file: any ByteSource) throws(Problem) -> ArchiveDirectory {
        _ = try headerLength(file)
        let header = try Header.read(from: file)
        guard let version = header.metadataValue(ArchiveFormat.versionKey) else {
            throw Problem(
                .malformed, "not-an-archive", "is a safetensors file, but no packed archive",
                hint: "adapter-pack makes archives; this one is used as it is")
        }
        guard version == ArchiveFormat.version else {
            throw Problem(
                .malformed, "archive-version",
                "has version '\(version.excerpt)' of the archive format, but only \(ArchiveFormat.version) is known here",
                hint: "get a newer version of this program")
        }
        let text = try inflatedDirectory(header, file)
        var (directory, streams) = try DirectoryParser.parse(text, archiveSize: file.size)
        guard header.metadataValue(ArchiveFormat.contentKey) == directory.content else {
            throw bad("has a header with another digest of the content than its directory")
        }
        try join(header, streams, &directory)
        return directory
    }

    private static func bad(_ what: String) -> Problem {
        Problem(.malformed, "bad-archive", what, hint: "the archive is damaged: get it again")
    }

    private static func inflatedDirectory(_ header: Header, _ file: any ByteSource) throws(Problem) -> [UInt8] {
        let fields = (header.metadataValue(ArchiveFormat.directoryKey) ?? "").split(separator: " ")
        guard fields.count == 2, let size = decimal(fields[1].utf8), let tensor = header.tensors.last,
            tensor.name == ArchiveFormat.directoryName
        else { throw bad("has no directory") }
        guard size <= ArchiveFormat.largestDirectory(file.size), tensor.byteCount <= size + size / 1000 + 64,
            size <= tensor.byteCount * ArchiveFormat.largestRatio
        else { throw bad("has a directory of an impossible size") }
        let packed = try file.read(at: header.dataStart + tensor.begin, count: tensor.byteCount)
        guard let text = ZlibText.inflate(packed, size: size), SHA256.hex(text) == String(fields[0]) else {
            throw bad("has a damaged directory")
        }
        return text
    }

    /// Finds each entry's stream among the tensors, which must be just those.
    private static func join(
        _ header: Header, _ streams: [Int], _ directory: inout ArchiveDirectory
    ) throws(Problem) {
        guard header.tensors.count == directory.entries.count + 1 else {
            throw bad("has other tensors than its directory says")
        }
        for (at, tensor) in header.tensors.enumerated() {
            guard tensor.dtype == .u8, tensor.shape.count == 1 else { throw bad("has tensors of another kind than U8") }
            guard at < directory.entries.count else { break }
            guard tensor.name.hasSameBytes(as: ArchiveFormat.streamName(directory.entries[at].path)),
                tensor.byteCount == streams[at]
            else { throw bad("has other tensors than its directory says") }
            directory.entries[at].stream = header.dataStart + tensor.begin..<header.dataStart + tensor.end
        }
    }

    // MARK: What it holds

    /// SHA-256 of the manifest of all files.
    public var content: String { directory.content }
    /// Whether a single file was packed.
    public var isFile: Bool { directory.isFile }
    /// What the adapter is bound to.
    public var binding: Binding? { directory.binding }
    /// What the base was called that unpacking needs; `nil` if none is needed.
    public var baseName: String? { directory.baseName }
    /// The digest of that base.
    public var baseDigest: String? { directory.baseName.map { _ in ArchiveDirectory.baseDigest(directory.sources) } }
    /// What is referred to of that base.
    public var sources: [SourceReference] { directory.sources }
    /// How the model is made, if it is held as a recipe.
    public var recipe: JSONObject? { directory.recipe }
    /// Directories with nothing in them.
    public var emptyDirectories: [String] { directory.directories }

    /// A packed file.
    public struct Item: Sendable {
        /// Its path.
        public let path: String
        /// Its bytes.
        public let size: Int
        /// SHA-256 of them.
        public let digest: String
        /// Bytes of its stream in the archive.
        public let packed: Int
        /// Whether it is no part of the content, but an input of the recipe.
        public let isInput: Bool
        /// Whether the base is needed for it.
        public let needsBase: Bool
    }

    /// All packed files, by path.
    public var items: [Item] { directory.entries.map(item) }

    func item(_ entry: ArchiveEntry) -> Item {
        Item(
            path: entry.path, size: entry.size, digest: entry.digest.text, packed: entry.stream.count,
            isInput: entry.isInput, needsBase: directory.parts[entry.parts].contains { $0.code.source != nil })
    }

    /// The adapter's identity, from the digests in the directory; `nil` if it holds no adapter.
    public var adapterDigest: String? {
        directory.adapterDigest
    }

    /// What is referred to of the base by these files; by all, if `nil`.
    public func sources(of paths: Set<String>?) -> [SourceReference] {
        guard let paths else { return directory.sources }
        var used: Set<Int> = []
        for entry in directory.entries where paths.contains(entry.path) {
            for part in directory.parts[entry.parts] { if let source = part.code.source { used.insert(source) } }
        }
        return used.sorted().map { directory.sources[$0] }
    }

    /// Whether any of these files has tensors that the recipe makes.
    public func needsRecipe(_ paths: Set<String>?) -> Bool {
        directory.entries.contains { entry in
            guard paths?.contains(entry.path) ?? true else { return false }
            return directory.parts[entry.parts].contains { if case .merged = $0.code { true } else { false } }
        }
    }

    /// Bytes of the archive.
    public var size: Int { file.size }

    /// The files' digests as `sha256sum -c` reads them.
    public var manifest: [String] {
        directory.files.map { manifestLine(digest: $0.digest.text, name: $0.path) }
    }

    /// The packed file at `path`.
    public func open(_ path: String) -> PackedFile? { places[path].map { PackedFile(self, $0) } }

    /// The packed files as a folder, `prefix` being empty or ending in a slash.
    public func folder(_ prefix: String = "") -> PackedFolder { PackedFolder(self, prefix) }

    /// Why a packed file cannot be read without the base.
    public func needsBase(of item: Item) -> Problem { needsBase(directory.entries[places[item.path] ?? 0]) }

    func needsBase(_ entry: ArchiveEntry) -> Problem {
        let name = (directory.baseName ?? "").excerpt
        return Problem(
            .incompatible, "needs-base", file: path,
            "was packed against the base '\(name)', and '\(entry.path.excerpt)' cannot be read without it",
            hint: "unpack it first: adapter-unpack \(shellQuoted(path)) --base BASE -o DIR")
    }
}

extension Checkpoint {
    /// Opens the model at `path`, which may be packed: headers only.
    public static func openModel(path: String) throws(Problem) -> Checkpoint {
        guard let archive = try Archive.openIfArchive(path: path) else { return try open(path: path) }
        if let needed = archive.items.first(where: \.needsBase) { throw archive.needsBase(of: needed) }
        return try open(archive.folder())
    }
}
