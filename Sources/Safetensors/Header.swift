import Files
import Problems
import StrictJSON

/// The header of a safetensors file: which tensors there are, and where.
public struct Header: Sendable {
    /// The reference refuses longer headers, and so do we.
    public static let largestHeader = 100_000_000
    /// Real tensors have a handful of dimensions.
    public static let largestRank = 64

    /// The order of tensors in a new file.
    public enum Order: Sendable {
        /// The reference writer's: wide types first, then names in the order of their bytes.
        case reference
        /// As they are given.
        case asGiven
    }

    /// The tensors, in the order of their data.
    public let tensors: [TensorInfo]
    /// The pairs of `__metadata__`, in the file's order; `nil` if it has none.
    public let metadata: [(key: String, value: String)]?
    /// Bytes of the JSON text, with its padding.
    public let headerLength: Int
    private let places: [String: Int]

    /// Where the data begins in the file.
    public var dataStart: Int { 8 + headerLength }
    /// Bytes of data.
    public var dataLength: Int { tensors.last?.end ?? 0 }

    init(tensors: [TensorInfo], metadata: [(key: String, value: String)]?, headerLength: Int, places: [String: Int]) {
        self.tensors = tensors
        self.metadata = metadata
        self.headerLength = headerLength
        self.places = places
    }

    /// The tensor of that name.
    public subscript(name: String) -> TensorInfo? { places[name].map { tensors[$0] } }

    /// The metadata of that key.
    public func metadataValue(_ key: String) -> String? { metadata?.first { $0.key == key }?.value }

    // MARK: Reading

    /// Reads and checks the header of `file`, and the file's size against it.
    public static func read(from file: InputFile) throws(Problem) -> Header {
        guard file.size >= 8 else {
            throw Problem(
                .malformed, "too-short", file: file.path, "has \(file.size) bytes, but a safetensors file has at least 8",
                hint: file.size == 0 ? "the file is empty: download it again" : "download it again")
        }
        let prefix = try file.read(at: 0, count: min(file.size, 64))
        var length: UInt64 = 0
        for byte in prefix[..<8].reversed() { length = length << 8 | UInt64(byte) }
        guard length <= largestHeader else {
            throw foreign(prefix, file.path)
                ?? Problem(
                    .malformed, "header-too-large", file: file.path,
                    "says that its header has \(length) bytes, but at most \(largestHeader) are allowed",
                    hint: "this is no safetensors file, or it is damaged", offset: 0)
        }
        let count = Int(length)
        guard count <= file.size - 8 else {
            throw foreign(prefix, file.path)
                ?? Problem(
                    .malformed, "truncated", file: file.path,
                    "says that its header has \(count) bytes, but only \(file.size - 8) bytes follow",
                    hint: "the file ends early: download it again", offset: 0)
        }
        return try parse(json: try file.read(at: 8, count: count), dataLength: file.size - 8 - count, file: file.path)
    }

    /// What the file is instead, by its first bytes.
    private static func foreign(_ prefix: [UInt8], _ path: String) -> Problem? {
        let known: [(magic: [UInt8], what: String, hint: String)] = [
            (Array("version https://git-lfs".utf8), "a Git LFS pointer, not the file itself", "fetch it with: git lfs pull"),
            (Array("PK\u{3}\u{4}".utf8), "a zip archive, as PyTorch's pickles are", "convert it to safetensors first"),
            ([0x80, 0x02], "a Python pickle", "convert it to safetensors first"),
            (Array("GGUF".utf8), "a GGUF file", "use the safetensors file that it was made from"),
            (Array("<!DOCTYPE".utf8), "a web page", "the download failed: download it again"),
            (Array("<html".utf8), "a web page", "the download failed: download it again"),
            ([0x1F, 0x8B], "a gzip file", "unpack it with gunzip first"),
        ]
        guard let found = known.first(where: { prefix.starts(with: $0.magic) }) else { return nil }
        return Problem(
            .malformed, "not-safetensors", file: path, "is \(found.what)", hint: found.hint, offset: 0)
    }

    /// Reads and checks the JSON text of a header for `dataLength` bytes of data.
    public static func parse(json bytes: [UInt8], dataLength: Int, file: String) throws(Problem) -> Header {
        do throws(Problem) {
            var parser = HeaderParser(bytes)
            try parser.parse()
            let tensors = try HeaderLayout.check(parser.tensors, dataLength: dataLength)
            return Header(
                tensors: tensors, metadata: parser.metadata, headerLength: bytes.count,
                places: Dictionary(uniqueKeysWithValues: tensors.enumerated().map { ($1.name, $0) }))
        } catch {
            throw error.at(file: file)
        }
    }

    // MARK: Writing

    /// The header of a new file.
    ///
    /// - Parameter metadata: written sorted by key, so that equal content has equal bytes.
    public static func layout(
        _ list: [(name: String, dtype: DType, shape: [Int])], metadata: [(key: String, value: String)]?, order: Order
    ) throws(Problem) -> Header {
        var sorted = list
        if order == .reference {
            sorted.sort { a, b in
                a.dtype != b.dtype ? a.dtype > b.dtype : a.name.utf8.lexicographicallyPrecedes(b.name.utf8)
            }
        }
        var tensors: [TensorInfo] = []
        var places: [String: Int] = [:]
        var offset = 0
        for entry in sorted {
            guard let size = DType.byteCount(entry.shape, entry.dtype), offset <= Int.max - size else {
                throw Problem(.internalFault, "overflow", tensor: entry.name, "has an impossible shape \(entry.shape)")
            }
            guard places.updateValue(tensors.count, forKey: entry.name) == nil else {
                throw Problem(.internalFault, "duplicate-tensor", tensor: entry.name, "would be written twice")
            }
            tensors.append(
                TensorInfo(name: entry.name, dtype: entry.dtype, shape: entry.shape, begin: offset, end: offset + size))
            offset += size
        }
        let own = metadata?.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
        let draft = Header(tensors: tensors, metadata: own, headerLength: 0, places: places)
        let length = draft.json.count
        guard length <= largestHeader else {
            throw Problem(.output, "header-too-large", "the header would have \(length) bytes, more than readers accept")
        }
        return Header(tensors: tensors, metadata: own, headerLength: length, places: places)
    }

    /// The JSON text, padded with spaces so that the data begins at a multiple of 8.
    private var json: [UInt8] {
        var text = "{"
        if let metadata {
            let pairs = metadata.map { JSONText.quoted($0.key) + ":" + JSONText.quoted($0.value) }
            text += "\"__metadata__\":{" + pairs.joined(separator: ",") + "}"
            if !tensors.isEmpty { text += "," }
        }
        for (at, tensor) in tensors.enumerated() {
            if at > 0 { text += "," }
            text += JSONText.quoted(tensor.name) + ":{\"dtype\":\"" + tensor.dtype.rawValue + "\",\"shape\":["
            text += tensor.shape.map(String.init).joined(separator: ",")
            text += "],\"data_offsets\":[\(tensor.begin),\(tensor.end)]}"
        }
        text += "}"
        var bytes = Array(text.utf8)
        while bytes.count % 8 != 0 { bytes.append(UInt8(ascii: " ")) }
        return bytes
    }

    /// The first bytes of the file: the length of the header, and its text.
    public func encoded() -> [UInt8] {
        let text = json
        return (0..<8).map { UInt8(truncatingIfNeeded: text.count >> ($0 * 8)) } + text
    }

    /// A whole small file.
    public static func encode(
        tensors: [(name: String, dtype: DType, shape: [Int], bytes: [UInt8])], metadata: [(key: String, value: String)]?
    ) throws(Problem) -> [UInt8] {
        let header = try layout(tensors.map { ($0.name, $0.dtype, $0.shape) }, metadata: metadata, order: .reference)
        let data = Dictionary(tensors.map { ($0.name, $0.bytes) }) { first, _ in first }
        return header.tensors.reduce(into: header.encoded()) { $0 += data[$1.name] ?? [] }
    }
}
