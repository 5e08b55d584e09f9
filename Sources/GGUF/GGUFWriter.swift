import Files
import Problems
import StrictJSON

/// Lays out a new GGUF file, version 3, little-endian: the same content always has the same bytes, those of gguf-py.
///
/// Keys and tensors stay in the order in which they are given. The alignment is 32, or what `general.alignment` says.
public struct GGUFWriter: Sendable {
    /// A tensor to be written.
    public struct Entry: Sendable {
        /// The name, of at most 63 bytes.
        public let name: String
        /// The sizes, row-major: one to four.
        public let shape: [Int]
        /// The type of its elements.
        public let type: GGMLType

        /// Describes a tensor.
        public init(_ name: String, _ shape: [Int], _ type: GGMLType) {
            self.name = name
            self.shape = shape
            self.type = type
        }
    }

    /// ggml keeps names in 64 bytes, with a zero at the end.
    public static let largestName = 63

    /// The file's first bytes, up to where the data begins.
    public let header: [UInt8]
    /// The tensors, with their places in the data.
    public let tensors: [GGUFTensor]
    /// Each tensor begins at a multiple of this, and is padded to one.
    public let alignment: Int
    /// Bytes of the whole file.
    public let size: Int

    /// Lays out a file.
    ///
    /// A name that is too long for llama.cpp is a problem of kind `incompatible`, code `gguf-name`; other things that
    /// no reader would accept are faults of the caller.
    public init(metadata: [(key: String, value: GGUFValue)], tensors list: [Entry]) throws(Problem) {
        let alignment = try Self.alignment(metadata)
        let tensors = try Self.placed(list, alignment)
        var bytes: [UInt8] = []
        Self.put(GGUFFile.magic, &bytes)
        Self.put(UInt32(3), &bytes)
        Self.put(UInt64(tensors.count), &bytes)
        Self.put(UInt64(metadata.count), &bytes)
        try Self.putMetadata(metadata, &bytes)
        for tensor in tensors { Self.put(tensor, &bytes) }
        bytes += [UInt8](repeating: 0, count: GGUFParser.padded(bytes.count, alignment) - bytes.count)
        header = bytes
        self.tensors = tensors
        self.alignment = alignment
        size = bytes.count + GGUFParser.padded(tensors.last?.end ?? 0, alignment)
    }

    /// Writes the file piece by piece, from front to back.
    ///
    /// - Parameter bytes: the data of a tensor, given its place in `tensors`; asked for once each, in order.
    /// - Parameter sink: takes bytes and where they go in the file.
    public func write(
        _ bytes: (Int) throws(Problem) -> [UInt8], to sink: ([UInt8], Int) throws(Problem) -> Void
    ) throws(Problem) {
        try sink(header, 0)
        for (at, tensor) in tensors.enumerated() {
            let data = try bytes(at)
            guard data.count == tensor.byteCount else {
                throw Problem(
                    .internalFault, "bad-size", tensor: tensor.name,
                    "comes with \(data.count) bytes, not \(tensor.byteCount)")
            }
            let place = header.count + tensor.begin
            try sink(data, place)
            let padding = GGUFParser.padded(tensor.end, alignment) - tensor.end
            if padding > 0 { try sink([UInt8](repeating: 0, count: padding), place + data.count) }
        }
    }

    /// The whole file in memory; `data` has the bytes of each tensor.
    public func encoded(_ data: [[UInt8]]) throws(Problem) -> [UInt8] {
        var file: [UInt8] = []
        file.reserveCapacity(size)
        try write({ data[$0] }, to: { bytes, _ in file += bytes })
        return file
    }

    // MARK: Layout

    private static func alignment(_ metadata: [(key: String, value: GGUFValue)]) throws(Problem) -> Int {
        guard let found = metadata.first(where: { $0.key == GGUFFile.alignmentKey })?.value else {
            return GGUFHeader.usualAlignment
        }
        guard case .uint32(let said) = found, GGUFHeader.alignments.contains(Int(said)), said.nonzeroBitCount == 1
        else { throw fault("bad-alignment", "the alignment would be no power of two that readers accept") }
        return Int(said)
    }

    private static func placed(_ list: [Entry], _ alignment: Int) throws(Problem) -> [GGUFTensor] {
        var tensors: [GGUFTensor] = []
        var names = NameTable()
        var begin = 0
        for entry in list {
            try check(name: entry.name)
            guard names.place(of: entry.name, count: tensors.count, in: { tensors[$0].name }) == nil else {
                throw fault("duplicate-tensor", "would be written twice", tensor: entry.name)
            }
            let ne = Array(entry.shape.reversed())
            guard (1...GGUFHeader.largestRank).contains(ne.count), let count = entry.type.byteCount(ne: ne),
                count <= Int.max / 2 - begin
            else {
                throw fault(
                    "bad-shape", "has the shape \(entry.shape), which \(entry.type.name) cannot have",
                    tensor: entry.name)
            }
            names.insert(tensors.count, NameTable.hash(entry.name))
            tensors.append(GGUFTensor(name: entry.name, ne: ne, type: entry.type, begin: begin, byteCount: count))
            begin = GGUFParser.padded(begin + count, alignment)
        }
        return tensors
    }

    private static func check(name: String) throws(Problem) {
        guard !name.isEmpty, !name.utf8.contains(0) else {
            throw fault("bad-name", "is no name for a tensor", tensor: name)
        }
        guard name.utf8.count <= largestName else {
            throw Problem(
                .incompatible, "gguf-name", tensor: name,
                "has a name of \(name.utf8.count) bytes, but llama.cpp accepts at most \(largestName)",
                hint: "no GGUF file can hold this tensor under this name")
        }
    }

    private static func fault(_ code: String, _ message: String, tensor: String? = nil) -> Problem {
        Problem(.internalFault, code, tensor: tensor, message)
    }

    // MARK: Bytes

    private static func put<T: FixedWidthInteger>(_ value: T, _ bytes: inout [UInt8]) {
        for shift in stride(from: 0, to: T.bitWidth, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: value >> T(shift)))
        }
    }

    private static func put(_ text: String, _ bytes: inout [UInt8]) {
        put(UInt64(text.utf8.count), &bytes)
        bytes += text.utf8
    }

    private static func put(_ tensor: GGUFTensor, _ bytes: inout [UInt8]) {
        put(tensor.name, &bytes)
        put(UInt32(tensor.ne.count), &bytes)
        for size in tensor.ne { put(UInt64(size), &bytes) }
        put(tensor.type.rawValue, &bytes)
        put(UInt64(tensor.begin), &bytes)
    }

    private static func putMetadata(
        _ metadata: [(key: String, value: GGUFValue)], _ bytes: inout [UInt8]
    ) throws(Problem) {
        var keys = NameTable()
        for (at, pair) in metadata.enumerated() {
            let isKey = (1...GGUFHeader.largestName).contains(pair.key.utf8.count) && !pair.key.utf8.contains(0)
            guard isKey, keys.place(of: pair.key, count: at, in: { metadata[$0].key }) == nil else {
                throw fault("bad-metadata", "the metadata '\(pair.key.excerpt)' would be written twice, or has no name")
            }
            keys.insert(at, NameTable.hash(pair.key))
            put(pair.key, &bytes)
            put(pair.value.code.rawValue, &bytes)
            put(pair.value, &bytes)
        }
    }

    private static func put(_ value: GGUFValue, _ bytes: inout [UInt8]) {
        switch value {
        case .uint8(let value): put(value, &bytes)
        case .int8(let value): put(value, &bytes)
        case .uint16(let value): put(value, &bytes)
        case .int16(let value): put(value, &bytes)
        case .uint32(let value): put(value, &bytes)
        case .int32(let value): put(value, &bytes)
        case .uint64(let value): put(value, &bytes)
        case .int64(let value): put(value, &bytes)
        case .float32(let value): put(value.bitPattern, &bytes)
        case .float64(let value): put(value.bitPattern, &bytes)
        case .bool(let value): bytes.append(value ? 1 : 0)
        case .string(let value): put(value, &bytes)
        case .array(let list): put(list, &bytes)
        }
    }

    private static func put(_ array: GGUFArray, _ bytes: inout [UInt8]) {
        put(array.code.rawValue, &bytes)
        put(UInt64(array.count), &bytes)
        switch array {
        case .uint8(let list): bytes += list
        case .int8(let list): for value in list { put(value, &bytes) }
        case .uint16(let list): for value in list { put(value, &bytes) }
        case .int16(let list): for value in list { put(value, &bytes) }
        case .uint32(let list): for value in list { put(value, &bytes) }
        case .int32(let list): for value in list { put(value, &bytes) }
        case .uint64(let list): for value in list { put(value, &bytes) }
        case .int64(let list): for value in list { put(value, &bytes) }
        case .float32(let list): for value in list { put(value.bitPattern, &bytes) }
        case .float64(let list): for value in list { put(value.bitPattern, &bytes) }
        case .bool(let list): for value in list { bytes.append(value ? 1 : 0) }
        case .string(let list): for value in list { put(value, &bytes) }
        case .array(let list): for value in list { put(value, &bytes) }
        }
    }
}
