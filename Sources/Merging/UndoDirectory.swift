import Adapters
import Archives
import Files
import Problems
import Safetensors
import StrictJSON

/// Names and limits of undo records (`formats/undo-record.md`).
enum UndoFormat {
    static let version = "1"
    static let versionKey = "adapterkit.undo"
    static let directoryKey = "adapterkit.undo.directory"
    static let streamsKey = "adapterkit.undo.streams"
    static let streamsName = "streams"
    static let directoryName = "directory"
    /// No chunk is larger, so that a reader knows what memory it needs.
    static let largestChunk = 64 << 20
    /// What one byte of a zlib stream may inflate to.
    static let largestRatio = 1032
    /// Bytes of other files' chunks, and of tensors that are not computed.
    static let byteChunk = 4 << 20
    /// Files beside the weights that are larger are not held.
    static let largestFile = 256 << 20

    static func configName(_ input: Int) -> String { "adapter.\(input).config" }
    static func tensorsName(_ input: Int) -> String { "adapter.\(input).tensors" }

    static func damaged(_ what: String) -> Problem {
        Problem(.malformed, "bad-undo", what, hint: "the record is damaged: get it again")
    }
}

/// A piece of the base, the stream that gives it back, and its digest.
struct UndoChunk: Sendable, Equatable {
    /// Bytes of the base.
    let size: Int
    /// Bytes of its stream; 0 if the reference is what is wanted.
    let stream: Int
    /// SHA-256 of the base's bytes.
    let digest: String
}

/// What the stream of a chunk is a difference to.
enum UndoReference: String, Sendable {
    /// Nothing: the bytes themselves are in the stream.
    case nothing = "none"
    /// The merged tensor's bytes, or those of the file of the same name.
    case merged
    /// round(M - D), M being the merged tensor and D what the adapters add.
    case unmerged
}

/// A tensor of the base, or a file.
struct UndoPart: Sendable, Equatable {
    var reference: UndoReference
    var chunks: [UndoChunk]
    /// Where its first stream begins among the streams.
    var start: Int

    var size: Int { chunks.reduce(0) { $0 + $1.size } }
    var streamSize: Int { chunks.reduce(0) { $0 + $1.stream } }
}

/// A file of the base.
struct UndoFile: Sendable {
    let path: String
    let size: Int
    /// The header of a file of weights, or all of any other file.
    var head: UndoPart
    /// Its tensors, in the order of the header.
    var tensors: [UndoPart] = []
    /// Whether it is only there to understand the adapters with, and is not restored.
    var isAside = false
}

/// Everything that a record says besides its streams.
struct UndoDirectory: Sendable {
    struct Input: Sendable {
        let name: String
        let weight: Double
        let digest: String
        let isHeld: Bool
    }

    var base = ""
    var inputs: [Input] = []
    var dtype: DType?
    /// The base's index, where it was not the usual one.
    var index: String?
    /// Whether the base was one file, not a directory.
    var isFile = false
    var files: [UndoFile] = []
    var directories: [String] = []
    /// Files that base and merged model share.
    var linked: [String] = []
}

// MARK: Text

extension UndoDirectory {
    func encoded() -> [UInt8] {
        let adapters = inputs.map { input -> JSONValue in
            .object(
                JSONObject([
                    ("name", .string(input.name)), ("weight", .number(JSONNumber(text: Origin.text(input.weight)))),
                    ("sha256", .string(input.digest)),
                    ("held", .bool(input.isHeld)),
                ]))
        }
        var document = JSONObject([
            ("adapters", .array(adapters)), ("base", .string(base)),
            ("dtype", dtype.map { .string($0.rawValue) } ?? .null), ("index", index.map(JSONValue.string) ?? .null),
            ("is_file", .bool(isFile)), ("directories", .array(directories.map(JSONValue.string))),
            ("files", .array(files.map(Self.value))),
        ])
        if !linked.isEmpty { document["linked"] = .array(linked.map(JSONValue.string)) }
        return Array(JSONValue.object(document).encoded().utf8)
    }

    private static func value(_ file: UndoFile) -> JSONValue {
        .object(
            JSONObject([
                ("path", .string(file.path)), ("size", .number(JSONNumber(file.size))),
                ("aside", .bool(file.isAside)), ("head", value(file.head)),
                ("tensors", .array(file.tensors.map(value))),
            ]))
    }

    private static func value(_ part: UndoPart) -> JSONValue {
        let chunks = part.chunks.map { chunk -> JSONValue in
            .array([.number(JSONNumber(chunk.size)), .number(JSONNumber(chunk.stream)), .string(chunk.digest)])
        }
        return .array([.string(part.reference.rawValue), .number(JSONNumber(part.start)), .array(chunks)])
    }

    /// Reads the text of a directory whose record has `streams` bytes of streams.
    init(_ text: [UInt8], streams: Int) throws(Problem) {
        guard let document = try JSONValue.parse(text).object, let base = document["base"]?.string,
            let inputs = document["adapters"]?.array, let files = document["files"]?.array,
            let directories = document["directories"]?.array,
            let isFile = document["is_file"]?.bool
        else { throw UndoFormat.damaged("has a directory that is none") }
        self.base = base
        self.isFile = isFile
        index = document["index"]?.string
        if let index, !Directory.checkComponent(index) {
            throw UndoFormat.damaged("names an index that is no plain file name")
        }
        if let name = document["dtype"]?.string {
            guard let known = DType(rawValue: name) else { throw UndoFormat.damaged("names a dtype that there is not") }
            dtype = known
        }
        self.inputs = try inputs.map { (value) throws(Problem) in try Self.input(value) }
        self.directories = try Self.names(directories)
        self.linked = try Self.names(document["linked"]?.array ?? [])
        self.files = try files.map { (value) throws(Problem) in try Self.file(value, streams) }
        try checkPaths()
    }

    /// Refuses paths that lead elsewhere, or cannot lie beside each other.
    private func checkPaths() throws(Problem) {
        var collisions = EntryPath.Collisions()
        for (path, isDirectory) in files.map({ ($0.path, false) }) + linked.map({ ($0, false) })
            + directories.map({ ($0, true) })
        {
            if let flaw = EntryPath.flaw(path) ?? collisions.add(path, isDirectory: isDirectory) {
                throw UndoFormat.damaged("has a file whose name \(flaw)")
            }
        }
    }

    private static func names(_ values: [JSONValue]) throws(Problem) -> [String] {
        try values.map { (value) throws(Problem) in
            guard let path = value.string else { throw UndoFormat.damaged("has a file or directory without a name") }
            return path
        }
    }

    private static func input(_ value: JSONValue) throws(Problem) -> Input {
        guard let object = value.object, let name = object["name"]?.string, let digest = object["sha256"]?.string,
            let weight = object["weight"]?.number?.double, weight.isFinite, let isHeld = object["held"]?.bool
        else { throw UndoFormat.damaged("names an adapter that is none") }
        return Input(name: name, weight: weight, digest: digest, isHeld: isHeld)
    }

    private static func file(_ value: JSONValue, _ streams: Int) throws(Problem) -> UndoFile {
        guard let object = value.object, let path = object["path"]?.string, let size = object["size"]?.number?.int,
            let head = object["head"], let tensors = object["tensors"]?.array, let isAside = object["aside"]?.bool
        else { throw UndoFormat.damaged("names a file that is none") }
        let file = UndoFile(
            path: path, size: size, head: try part(head, streams),
            tensors: try tensors.map { (value) throws(Problem) in try part(value, streams) }, isAside: isAside)
        let sum = file.tensors.reduce(file.head.size) { $0.addingReportingOverflow($1.size).partialValue }
        guard size >= 0, sum == size else { throw UndoFormat.damaged("has a file whose parts are not its size") }
        return file
    }

    private static func part(_ value: JSONValue, _ streams: Int) throws(Problem) -> UndoPart {
        guard let items = value.array, items.count == 3, let reference = items[0].string.flatMap(UndoReference.init),
            let start = items[1].number?.int, let list = items[2].array
        else { throw UndoFormat.damaged("has a part that is none") }
        var part = UndoPart(reference: reference, chunks: [], start: start)
        part.chunks.reserveCapacity(list.count)
        for value in list {
            guard let fields = value.array, fields.count == 3, let size = fields[0].number?.int,
                let stream = fields[1].number?.int, let digest = fields[2].string, digest.utf8.count == 64
            else { throw UndoFormat.damaged("has a chunk that is none") }
            guard size > 0, size <= UndoFormat.largestChunk, stream >= 0, stream <= 2 * size + 1024 else {
                throw UndoFormat.damaged("has a chunk of an impossible size")
            }
            part.chunks.append(UndoChunk(size: size, stream: stream, digest: digest))
        }
        guard start >= 0, start <= streams, part.streamSize <= streams - start else {
            throw UndoFormat.damaged("has streams that lie outside of it")
        }
        return part
    }
}
