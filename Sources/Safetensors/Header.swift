import Problems
import StrictJSON

/// The header of a safetensors file: which tensors there are, and where.
public struct Header: Sendable {
    /// The reference refuses longer headers, and so do we.
    public static let largestHeader = 100_000_000
    /// Real tensors have a handful of dimensions.
    public static let largestRank = 64
    /// Real headers have some hundred pairs of metadata at most.
    public static let largestMetadataCount = 1_000_000

    /// The tensors, in the order of their data.
    public let tensors: [TensorInfo]
    /// The pairs of `__metadata__`, in the file's order; `nil` if it has none.
    public let metadata: [(key: String, value: String)]?
    /// Bytes of the JSON text, with its padding.
    public let headerLength: Int
    private let names: NameTable

    /// Where the data begins in the file.
    public var dataStart: Int { 8 + headerLength }
    /// Bytes of data.
    public var dataLength: Int { tensors.last?.end ?? 0 }

    /// Puts a header together; `names` must find all of `tensors`.
    init(tensors: [TensorInfo], metadata: [(key: String, value: String)]?, headerLength: Int, names: NameTable) {
        self.tensors = tensors
        self.metadata = metadata
        self.headerLength = headerLength
        self.names = names
    }

    /// The tensor of that name, compared byte by byte.
    public subscript(name: String) -> TensorInfo? { names.place(of: name, in: tensors).map { tensors[$0] } }

    /// The same header with `prefix` before all names; lengths stay those of the file.
    package func prefixed(_ prefix: String) -> Header {
        var table = NameTable()
        var renamed: [TensorInfo] = []
        renamed.reserveCapacity(tensors.count)
        for info in tensors {
            let named = info.prefixed(prefix)
            table.insert(renamed.count, NameTable.hash(named.name))
            renamed.append(named)
        }
        return Header(tensors: renamed, metadata: metadata, headerLength: headerLength, names: table)
    }

    /// The metadata of that key.
    public func metadataValue(_ key: String) -> String? { metadata?.first { $0.key.hasSameBytes(as: key) }?.value }
}

extension NameTable {
    /// Where the tensor of that name is in `tensors`.
    func place(of name: String, in tensors: [TensorInfo]) -> Int? {
        place(of: name, NameTable.hash(name), in: tensors)
    }

    /// Where the tensor of that name, whose hash is known, is in `tensors`.
    func place(of name: String, _ hash: UInt32, in tensors: [TensorInfo]) -> Int? {
        var slot = start(hash)
        while let place = next(hash, &slot) {
            if tensors[place].name.hasSameBytes(as: name) { return place }
        }
        return nil
    }
}
