import Problems
import StrictJSON

extension Header {
    /// The order of tensors in a new file.
    public enum Order: Sendable {
        /// The reference writer's: wide types first, then names in the order of their bytes.
        case reference
        /// As they are given.
        case asGiven
    }

    /// The header of a new file.
    ///
    /// - Parameter metadata: written sorted by key, so that equal content has equal bytes.
    public static func layout(
        _ list: [(name: String, dtype: DType, shape: [Int])], metadata: [(key: String, value: String)]?, order: Order
    ) throws(Problem) -> Header {
        try arranged(list, metadata: metadata, order: order).header
    }

    /// A whole small file, as the reference would write it.
    public static func encode(
        tensors: [(name: String, dtype: DType, shape: [Int], bytes: [UInt8])], metadata: [(key: String, value: String)]?
    ) throws(Problem) -> [UInt8] {
        let (header, places) = try arranged(
            tensors.map { ($0.name, $0.dtype, $0.shape) }, metadata: metadata, order: .reference)
        var result = header.encoded()
        for (info, place) in zip(header.tensors, places) {
            let bytes = tensors[place].bytes
            guard bytes.count == info.byteCount else {
                throw Problem(
                    .internalFault, "bad-size", tensor: info.name,
                    "comes with \(bytes.count) bytes, not \(info.byteCount)")
            }
            result += bytes
        }
        return result
    }

    /// The header, and where its tensors were in `list`.
    private static func arranged(
        _ list: [(name: String, dtype: DType, shape: [Int])], metadata: [(key: String, value: String)]?, order: Order
    ) throws(Problem) -> (header: Header, places: [Int]) {
        let places = order == .reference ? referenceOrder(list) : Array(list.indices)
        var tensors: [TensorInfo] = []
        var names = NameTable()
        var offset = 0
        for place in places {
            let (name, dtype, shape) = list[place]
            guard let size = DType.byteCount(shape, dtype), offset <= Int.max - size else {
                throw Problem(.internalFault, "overflow", tensor: name, "has an impossible shape \(shape)")
            }
            let hash = NameTable.hash(name)
            guard name != "__metadata__" else {
                throw Problem(
                    .internalFault, "reserved-name", tensor: name, "is a name that the format keeps for metadata")
            }
            guard names.place(of: name, hash, in: tensors) == nil else {
                throw Problem(.internalFault, "duplicate-tensor", tensor: name, "would be written twice")
            }
            names.insert(tensors.count, hash)
            tensors.append(TensorInfo(name: name, dtype: dtype, shape: shape, begin: offset, end: offset + size))
            offset += size
        }
        let own = try sortedByKey(metadata)
        let length = text(tensors, own).count
        guard length <= largestHeader else {
            throw Problem(
                .output, "header-too-large", "the header would have \(length) bytes, more than readers accept")
        }
        return (Header(tensors: tensors, metadata: own, headerLength: length, names: names), places)
    }

    private static func referenceOrder(_ list: [(name: String, dtype: DType, shape: [Int])]) -> [Int] {
        let ranks = list.map(\.dtype.rank)
        return list.indices.sorted { a, b in
            ranks[a] != ranks[b]
                ? ranks[a] > ranks[b] : list[a].name.utf8.lexicographicallyPrecedes(list[b].name.utf8)
        }
    }

    private static func sortedByKey(
        _ metadata: [(key: String, value: String)]?
    ) throws(Problem) -> [(key: String, value: String)]? {
        guard let sorted = metadata?.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) else {
            return nil
        }
        for (a, b) in zip(sorted, sorted.dropFirst()) where a.key.hasSameBytes(as: b.key) {
            throw Problem(.internalFault, "duplicate-metadata", "the metadata '\(a.key)' would be written twice")
        }
        return sorted
    }

    /// The JSON text, padded with spaces so that the data begins at a multiple of 8.
    private static func text(_ tensors: [TensorInfo], _ metadata: [(key: String, value: String)]?) -> [UInt8] {
        var text = Array("{".utf8)
        if let metadata {
            text += "\"__metadata__\":{".utf8
            for (at, pair) in metadata.enumerated() {
                if at > 0 { text.append(UInt8(ascii: ",")) }
                JSONText.write(pair.key, to: &text)
                text.append(UInt8(ascii: ":"))
                JSONText.write(pair.value, to: &text)
            }
            text += (tensors.isEmpty ? "}" : "},").utf8
        }
        for (at, tensor) in tensors.enumerated() {
            if at > 0 { text.append(UInt8(ascii: ",")) }
            JSONText.write(tensor.name, to: &text)
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            text += ":{\"dtype\":\"\(tensor.dtype.rawValue)\",\"shape\":[\(shape)],".utf8
            text += "\"data_offsets\":[\(tensor.begin),\(tensor.end)]}".utf8
        }
        text.append(UInt8(ascii: "}"))
        while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
        return text
    }

    /// The first bytes of the file: the length of the header, and its text.
    public func encoded() -> [UInt8] { encoded(paddedTo: 0) }

    /// The same, padded with spaces so that the data begins at byte `start`, if that is further.
    public func encoded(paddedTo start: Int) -> [UInt8] {
        var text = Self.text(tensors, metadata)
        if text.count + 8 < start {
            text += [UInt8](repeating: UInt8(ascii: " "), count: start - 8 - text.count)
        }
        return (0..<8).map { UInt8(truncatingIfNeeded: text.count >> ($0 * 8)) } + text
    }
}
