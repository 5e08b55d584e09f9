import Problems
import StrictJSON

/// Reads the JSON of a header entry by entry, without a tree in between.
struct HeaderParser: ~Copyable {
    private var reader: JSONReader
    private var tensors: [TensorInfo] = []
    private var names = NameTable()
    private var metadata: [(key: String, value: String)]?
    private let isBlank: Bool
    /// The last dtype and where its text is: most entries repeat it.
    private var lastType: (text: Range<Int>, dtype: DType)?
    private var shapes = ShapePool()
    private var numbers: [Int] = []

    /// Eight bytes of length stand before the text in the file.
    private static let base = 8

    init(_ bytes: [UInt8]) {
        reader = JSONReader(bytes, base: Self.base)
        isBlank = bytes.isEmpty
        // No entry is shorter than this, and pages that are not touched cost nothing.
        tensors.reserveCapacity(bytes.count / 50)
    }

    mutating func parse() throws(Problem) {
        guard !isBlank else { throw reader.problem("syntax", "has an empty header, but a JSON object was needed") }
        try reader.expectNoByteOrderMark()
        try reader.expect("{")
        var sawMetadata = false
        if !reader.take("}") {
            repeat {
                _ = reader.peek()
                let place = reader.position
                let name = try reader.string()
                try reader.expect(":")
                if name == "__metadata__" {
                    guard !sawMetadata else { throw reader.problem("duplicate", "has '__metadata__' twice", at: place) }
                    sawMetadata = true
                    try readMetadata()
                } else {
                    try readTensor(name, place)
                }
            } while reader.take(",")
            try reader.expect("}")
        }
        try reader.expectEnd()
    }

    /// What was read, once it covers `dataLength` bytes of data exactly.
    consuming func header(length: Int, dataLength: Int) throws(Problem) -> Header {
        let layout = HeaderLayout(dataStart: Self.base + length, dataLength: dataLength)
        if let order = layout.order(tensors) { sort(order) }
        try layout.check(tensors)
        return Header(tensors: tensors, metadata: metadata, headerLength: length, names: names)
    }

    private mutating func sort(_ order: [UInt32]) {
        var newPlaces = [UInt32](repeating: 0, count: order.count)
        for (new, old) in order.enumerated() { newPlaces[Int(old)] = UInt32(new) }
        names.move(to: newPlaces)
        tensors = order.map { tensors[Int($0)] }
    }

    private func bad(_ code: String, _ name: String, _ message: String, _ place: Int) -> Problem {
        Problem(.malformed, code, tensor: name, message, offset: Self.base + place)
    }

    // MARK: Metadata

    private mutating func readMetadata() throws(Problem) {
        if reader.take(word: "null") { return }
        try reader.expect("{")
        var pairs: [(key: String, value: String)] = []
        var keys = NameTable()
        if !reader.take("}") {
            repeat {
                _ = reader.peek()
                let place = reader.position
                let key = try reader.string()
                let hash = NameTable.hash(key)
                var slot = keys.start(hash)
                while let other = keys.next(hash, &slot) {
                    guard !pairs[other].key.hasSameBytes(as: key) else {
                        throw reader.problem("duplicate", "has the metadata key '\(key.excerpt)' twice", at: place)
                    }
                }
                guard pairs.count < Header.largestMetadataCount else {
                    throw reader.problem(
                        "metadata", "has more than \(Header.largestMetadataCount) pairs of metadata", at: place)
                }
                keys.insert(pairs.count, hash)
                pairs.append((key, try metadataValue(key)))
            } while reader.take(",")
            try reader.expect("}")
        }
        metadata = pairs
    }

    private mutating func metadataValue(_ key: String) throws(Problem) -> String {
        try reader.expect(":")
        guard reader.peek() == UInt8(ascii: "\"") else {
            throw reader.problem("metadata", "has metadata '\(key.excerpt)' that is no string, as the format demands")
        }
        return try reader.string()
    }

    // MARK: Tensors

    private mutating func readTensor(_ name: String, _ place: Int) throws(Problem) {
        let hash = NameTable.hash(name)
        guard names.place(of: name, hash, in: tensors) == nil else {
            throw bad("duplicate-tensor", name, "is described twice, so its meaning is open", place)
        }
        let tensor = try entry(name, place)
        names.insert(tensors.count, hash)
        tensors.append(tensor)
    }

    private enum Field: CaseIterable {
        case dtype, shape, offsets

        static let names = ["dtype", "shape", "data_offsets"]
        static let bytes = names.map { Array($0.utf8) }
        var name: String { Self.names[self == .dtype ? 0 : self == .shape ? 1 : 2] }
    }

    private mutating func entry(_ name: String, _ place: Int) throws(Problem) -> TensorInfo {
        guard reader.peek() == UInt8(ascii: "{") else {
            throw bad("bad-entry", name, "is not described by an object", reader.position)
        }
        try reader.expect("{")
        var dtype: DType?
        var shape: [Int]?
        var offsets: (begin: Int, end: Int)?
        if !reader.take("}") {
            repeat {
                _ = reader.peek()
                let at = reader.position
                let field = try readField(name)
                try reader.expect(":")
                switch field {
                case .dtype where dtype == nil: dtype = try readType(name)
                case .shape where shape == nil:
                    try readNumbers(name, field, limit: Header.largestRank)
                    shape = shapes.shared(numbers)
                case .offsets where offsets == nil: offsets = try readOffsets(name)
                default: throw bad("bad-entry", name, "has the field '\(field.name)' twice", at)
                }
            } while reader.take(",")
            try reader.expect("}")
        }
        guard let dtype, let shape, let offsets else {
            let missing: Field = dtype == nil ? .dtype : shape == nil ? .shape : .offsets
            throw bad("bad-entry", name, "has no '\(missing.name)'", place)
        }
        return try TensorInfo(checking: name, dtype, shape, offsets) { self.bad($0, name, $1, place) }
    }

    private mutating func readField(_ name: String) throws(Problem) -> Field {
        let place = reader.position
        if let text = try reader.plainString() {
            if reader.matches(text, Field.bytes[0]) { return .dtype }
            if reader.matches(text, Field.bytes[1]) { return .shape }
            if reader.matches(text, Field.bytes[2]) { return .offsets }
            throw unknown(try reader.text(text), name, place)
        }
        let text = try reader.string()
        guard let field = Field.allCases.first(where: { $0.name == text }) else { throw unknown(text, name, place) }
        return field
    }

    private func unknown(_ field: String, _ name: String, _ place: Int) -> Problem {
        bad("bad-entry", name, "has a field '\(field.excerpt)', which the format does not know", place)
    }

    private mutating func readType(_ name: String) throws(Problem) -> DType {
        guard reader.peek() == UInt8(ascii: "\"") else {
            throw bad("bad-dtype", name, "has a dtype that is no string", reader.position)
        }
        let place = reader.position
        let plain = try reader.plainString()
        if let plain, let lastType, reader.sameBytes(plain, lastType.text) { return lastType.dtype }
        let text = if let plain { try reader.text(plain) } else { try reader.string() }
        guard let dtype = DType(rawValue: text) else {
            let upper = DType(rawValue: text.uppercased()).map { "; did you mean '\($0.rawValue)'?" } ?? ""
            throw bad("bad-dtype", name, "has the unknown dtype '\(text.excerpt)'\(upper)", place)
        }
        if let plain { lastType = (plain, dtype) }
        return dtype
    }

    private mutating func readOffsets(_ name: String) throws(Problem) -> (begin: Int, end: Int) {
        let place = reader.position
        try readNumbers(name, .offsets, limit: 2)
        guard numbers.count == 2 else {
            throw bad("bad-entry", name, "has \(numbers.count) numbers in 'data_offsets', but 2 were needed", place)
        }
        return (numbers[0], numbers[1])
    }

    /// Reads a list of whole numbers into `numbers`.
    private mutating func readNumbers(_ name: String, _ field: Field, limit: Int) throws(Problem) {
        numbers.removeAll(keepingCapacity: true)
        do throws(Problem) {
            try reader.expect("[")
            if reader.take("]") { return }
            repeat {
                guard numbers.count < limit else {
                    throw reader.problem("number", "has more than \(limit) numbers")
                }
                numbers.append(try reader.unsigned())
            } while reader.take(",")
            try reader.expect("]")
        } catch {
            throw bad("bad-entry", name, "\(error.message) in '\(field.name)'", (error.offset ?? Self.base) - Self.base)
        }
    }
}

/// Lets entries of equal shape share one array, as most tensors of a model have one of a few shapes.
private struct ShapePool {
    private var kept = [[Int]](repeating: [], count: 64)

    mutating func shared(_ shape: [Int]) -> [Int] {
        let slot = shape.reduce(0) { ($0 &* 31) &+ $1 } & 63
        if kept[slot] != shape { kept[slot] = Array(shape[...]) }
        return kept[slot]
    }
}
