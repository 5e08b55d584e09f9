import Problems
import StrictJSON

/// Reads the JSON of a header entry by entry, without a tree in between.
struct HeaderParser: ~Copyable {
    private var reader: JSONReader
    private(set) var tensors: [TensorInfo] = []
    private(set) var metadata: [(key: String, value: String)]?
    private var names: Set<String> = []
    private let isBlank: Bool

    init(_ bytes: [UInt8]) {
        // Eight bytes of length stand before the text in the file.
        reader = JSONReader(bytes, base: 8)
        isBlank = bytes.isEmpty
    }

    mutating func parse() throws(Problem) {
        guard !isBlank else { throw reader.problem("syntax", "has an empty header, but a JSON object was needed") }
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
                    guard names.insert(name).inserted else {
                        throw bad("duplicate-tensor", name, "is described twice, so its meaning is open", place)
                    }
                    tensors.append(try entry(name, place))
                }
            } while reader.take(",")
            try reader.expect("}")
        }
        try reader.expectEnd()
    }

    private func bad(_ code: String, _ name: String, _ message: String, _ place: Int) -> Problem {
        Problem(.malformed, code, tensor: name, message, offset: 8 + place)
    }

    private mutating func readMetadata() throws(Problem) {
        if reader.take(word: "null") { return }
        try reader.expect("{")
        var pairs: [(key: String, value: String)] = []
        var keys: Set<String> = []
        if !reader.take("}") {
            repeat {
                _ = reader.peek()
                let place = reader.position
                let key = try reader.string()
                guard keys.insert(key).inserted else {
                    throw reader.problem("duplicate", "has the metadata key '\(key)' twice", at: place)
                }
                try reader.expect(":")
                guard reader.peek() == UInt8(ascii: "\"") else {
                    throw reader.problem("metadata", "has metadata '\(key)' that is no string, as the format demands")
                }
                pairs.append((key, try reader.string()))
            } while reader.take(",")
            try reader.expect("}")
        }
        metadata = pairs
    }

    private mutating func entry(_ name: String, _ place: Int) throws(Problem) -> TensorInfo {
        guard reader.peek() == UInt8(ascii: "{") else {
            throw bad("bad-entry", name, "is not described by an object", reader.position)
        }
        try reader.expect("{")
        var dtype: DType?
        var shape: [Int]?
        var offsets: [Int]?
        if !reader.take("}") {
            repeat {
                _ = reader.peek()
                let at = reader.position
                let key = try reader.string()
                try reader.expect(":")
                switch key {
                case "dtype" where dtype == nil: dtype = try readType(name)
                case "shape" where shape == nil: shape = try list(name, key, limit: Header.largestRank)
                case "data_offsets" where offsets == nil: offsets = try list(name, key, limit: 2)
                case "dtype", "shape", "data_offsets": throw bad("bad-entry", name, "has the field '\(key)' twice", at)
                default: throw bad("bad-entry", name, "has a field '\(key)', which the format does not know", at)
                }
            } while reader.take(",")
            try reader.expect("}")
        }
        guard let dtype, let shape, let offsets else {
            let missing = dtype == nil ? "dtype" : shape == nil ? "shape" : "data_offsets"
            throw bad("bad-entry", name, "has no '\(missing)'", place)
        }
        return try TensorInfo(checking: name, dtype, shape, offsets) { self.bad($0, name, $1, place) }
    }

    private mutating func readType(_ name: String) throws(Problem) -> DType {
        let place = reader.position
        let text = try reader.string()
        if let dtype = DType(rawValue: text) { return dtype }
        let upper = DType(rawValue: text.uppercased()).map { "; did you mean '\($0.rawValue)'?" } ?? ""
        throw bad("bad-dtype", name, "has the unknown dtype '\(text)'\(upper)", place)
    }

    private mutating func list(_ name: String, _ key: String, limit: Int) throws(Problem) -> [Int] {
        try reader.expect("[")
        var result: [Int] = []
        if reader.take("]") { return result }
        repeat {
            guard result.count < limit else {
                throw bad("bad-entry", name, "has more than \(limit) numbers in '\(key)'", reader.position)
            }
            do throws(Problem) {
                result.append(try reader.unsigned())
            } catch {
                throw bad("bad-entry", name, "\(error.message) in '\(key)'", (error.offset ?? 8) - 8)
            }
        } while reader.take(",")
        try reader.expect("]")
        return result
    }
}

extension TensorInfo {
    /// Checks one entry by itself: two offsets in order, and a size that is that of the shape.
    fileprivate init(
        checking name: String, _ dtype: DType, _ shape: [Int], _ offsets: [Int], _ bad: (String, String) -> Problem
    ) throws(Problem) {
        guard offsets.count == 2 else {
            throw bad("bad-entry", "has \(offsets.count) numbers in 'data_offsets', but 2 were needed")
        }
        guard offsets[0] <= offsets[1] else {
            throw bad("bad-offsets", "ends at \(offsets[1]) before it begins at \(offsets[0])")
        }
        guard let size = DType.byteCount(shape, dtype) else {
            throw bad("bad-shape", "has a shape \(shape) of \(dtype.rawValue) that is no whole or possible number of bytes")
        }
        guard offsets[1] - offsets[0] == size else {
            throw bad(
                "bad-size", "has \(offsets[1] - offsets[0]) bytes of data, but \(dtype.rawValue) \(shape) needs \(size)")
        }
        self.init(name: name, dtype: dtype, shape: shape, begin: offsets[0], end: offsets[1])
    }
}

/// Checks that tensors cover their data without gap, overlap or rest.
enum HeaderLayout {
    static func check(_ list: [TensorInfo], dataLength: Int) throws(Problem) -> [TensorInfo] {
        var sorted = list
        let isSorted = zip(list, list.dropFirst()).allSatisfy { ($0.begin, $0.end) <= ($1.begin, $1.end) }
        if !isSorted { sorted.sort { ($0.begin, $0.end) < ($1.begin, $1.end) } }
        var end = 0
        for tensor in sorted {
            guard tensor.begin == end else {
                let what = tensor.begin < end ? "overlaps what comes before it" : "leaves a gap before it"
                throw Problem(
                    .malformed, "bad-offsets", tensor: tensor.name,
                    "begins at byte \(tensor.begin) of the data and \(what), which ends at \(end)")
            }
            end = tensor.end
        }
        if end > dataLength {
            throw Problem(
                .malformed, "truncated", "has \(dataLength) bytes of data, but its header describes \(end)",
                hint: "the file ends \(end - dataLength) bytes early: download it again")
        }
        if end < dataLength {
            throw Problem(
                .malformed, "trailing-bytes", "has \(dataLength - end) bytes after the last tensor",
                hint: "something was appended to the file: download it again")
        }
        return sorted
    }
}
