import Files
import Problems
import StrictJSON

/// Reads and checks the header of a GGUF file, and the file's size against it.
struct GGUFParser: ~Copyable {
    private let file: any ByteSource
    private var cursor: GGUFCursor
    private var metadata: [(key: String, value: GGUFValue)] = []
    private var keys = NameTable()
    private var tensors: [GGUFTensor] = []
    private var names = NameTable()
    private var alignment = GGUFHeader.usualAlignment

    /// A key of one byte, a type, and a value of one byte.
    private static let leastPair = 8 + 1 + 4 + 1
    /// A name of one byte, one size, a type and an offset.
    private static let leastTensor = 8 + 1 + 4 + 8 + 4 + 8

    init(_ file: any ByteSource) {
        self.file = file
        cursor = GGUFCursor(file)
    }

    consuming func header() throws(Problem) -> GGUFHeader {
        let version = try readVersion()
        let tensorCount: UInt64 = try cursor.integer("the number of tensors")
        let pairCount: UInt64 = try cursor.integer("the number of metadata pairs")
        try cursor.require(pairCount, of: Self.leastPair, "\(pairCount) pairs of metadata")
        try cursor.require(tensorCount, of: Self.leastTensor, "\(tensorCount) tensors")
        try readMetadata(Int(pairCount))
        try cursor.require(tensorCount, of: Self.leastTensor, "\(tensorCount) tensors")
        tensors.reserveCapacity(Int(tensorCount))
        for _ in 0..<Int(tensorCount) { try readTensor() }
        let start = Self.padded(cursor.position, alignment)
        try checkLayout(headerEnd: cursor.position, dataStart: start)
        return GGUFHeader(
            version: version, metadata: metadata, keys: keys, tensors: tensors, names: names, alignment: alignment,
            dataStart: start)
    }

    /// `count`, which is far from the largest number, rounded up.
    static func padded(_ count: Int, _ alignment: Int) -> Int { (count + alignment - 1) & ~(alignment - 1) }

    private mutating func readVersion() throws(Problem) -> Int {
        let magic: UInt32 = try cursor.integer("the magic number")
        guard magic == GGUFFile.magic else {
            throw cursor.bad("does not begin with 'GGUF'", hint: "this is no GGUF file", at: 0)
        }
        let version: UInt32 = try cursor.integer("the version")
        switch version {
        case 2, 3: return Int(version)
        case let other where (1...3).contains(other.byteSwapped):
            throw cursor.bad(
                "is a big-endian GGUF file, and only little-endian ones are read",
                hint: "convert it with gguf_convert_endian.py of gguf-py", at: 4)
        default:
            throw cursor.bad(
                "has GGUF version \(version), and only versions 2 and 3 are read",
                hint: "make it again with a llama.cpp of today", at: 4)
        }
    }

    // MARK: Metadata

    private mutating func readMetadata(_ count: Int) throws(Problem) {
        metadata.reserveCapacity(count)
        for _ in 0..<count {
            let place = cursor.position
            let key = try cursor.name("metadata")
            guard keys.place(of: key, count: metadata.count, in: { metadata[$0].key }) == nil else {
                throw cursor.bad("has the metadata key '\(key.excerpt)' twice", at: place)
            }
            let valuePlace = cursor.position
            let value = try cursor.value(of: key)
            if key == GGUFFile.alignmentKey { alignment = try checked(alignment: value, valuePlace) }
            keys.insert(metadata.count, NameTable.hash(key))
            metadata.append((key, value))
        }
    }

    private func checked(alignment value: GGUFValue, _ place: Int) throws(Problem) -> Int {
        guard case .uint32(let said) = value else {
            throw cursor.bad(
                "has '\(GGUFFile.alignmentKey)' of type \(value.typeName), but u32 was needed", at: place)
        }
        guard GGUFHeader.alignments.contains(Int(said)), said.nonzeroBitCount == 1 else {
            throw cursor.bad(
                "has the alignment \(said), but a power of two from \(GGUFHeader.alignments.lowerBound) to "
                    + "\(GGUFHeader.alignments.upperBound) was needed", at: place)
        }
        return Int(said)
    }

    // MARK: Tensors

    private mutating func readTensor() throws(Problem) {
        let place = cursor.position
        let name = try cursor.name("a tensor")
        guard names.place(of: name, count: tensors.count, in: { tensors[$0].name }) == nil else {
            throw cursor.bad("is described twice, so its meaning is open", tensor: name, at: place)
        }
        let ne = try readSizes(name)
        let typePlace = cursor.position
        let raw: UInt32 = try cursor.integer("the type of '\(name.excerpt)'")
        guard let type = GGMLType(rawValue: raw) else {
            throw cursor.bad(
                "has the type \(raw), whose size is not known",
                hint: "this file is newer than this program, or damaged",
                tensor: name, at: typePlace)
        }
        guard let count = type.byteCount(ne: ne) else {
            throw cursor.bad(
                ne[0] % type.blockElements == 0
                    ? "has the sizes \(ne) of \(type.name), which are too large to be counted"
                    : "has rows of \(ne[0]) elements, but \(type.name) has blocks of \(type.blockElements)",
                tensor: name, at: place)
        }
        let begin = try readOffset(name, count)
        names.insert(tensors.count, NameTable.hash(name))
        tensors.append(GGUFTensor(name: name, ne: ne, type: type, begin: begin, byteCount: count))
    }

    private mutating func readSizes(_ name: String) throws(Problem) -> [Int] {
        let place = cursor.position
        let rank: UInt32 = try cursor.integer("the number of sizes of '\(name.excerpt)'")
        guard (1...UInt32(GGUFHeader.largestRank)).contains(rank) else {
            throw cursor.bad(
                "has \(rank) sizes, but 1 to \(GGUFHeader.largestRank) were needed", tensor: name, at: place)
        }
        var ne: [Int] = []
        for _ in 0..<rank {
            let place = cursor.position
            let said: UInt64 = try cursor.integer("the sizes of '\(name.excerpt)'")
            guard let size = Int(exactly: said), size > 0 else {
                throw cursor.bad("has a size of \(said), which no tensor can have", tensor: name, at: place)
            }
            ne.append(size)
        }
        return ne
    }

    private mutating func readOffset(_ name: String, _ count: Int) throws(Problem) -> Int {
        let place = cursor.position
        let said: UInt64 = try cursor.integer("the offset of '\(name.excerpt)'")
        guard said % UInt64(alignment) == 0 else {
            throw cursor.bad(
                "begins at byte \(said) of the data, which is no multiple of the alignment \(alignment)", tensor: name,
                at: place)
        }
        // No file comes near this, and no sum of two such numbers is too large.
        guard said <= 1 << 60, count <= 1 << 60 else {
            throw cursor.bad(
                "has \(count) bytes from byte \(said) of the data, which is beyond any file", tensor: name, at: place)
        }
        return Int(said)
    }

    // MARK: Layout

    /// Throws unless the tensors cover the data, with nothing but padding between and behind them.
    ///
    /// Behind the last tensor, padding may be missing in part: writers differ.
    private func checkLayout(headerEnd: Int, dataStart: Int) throws(Problem) {
        var end = 0
        for tensor in tensors.sorted(by: { $0.begin < $1.begin }) {
            let expected = Self.padded(end, alignment)
            guard tensor.begin == expected else {
                let what =
                    tensor.begin < expected
                    ? "it overlaps another tensor" : "\(tensor.begin - expected) bytes belong to no tensor"
                throw cursor.bad(
                    "begins at byte \(tensor.begin) of the data, but byte \(expected) is the next free one, so \(what)",
                    tensor: tensor.name, at: min(dataStart + tensor.begin, file.size))
            }
            end = tensor.end
        }
        let needed = tensors.isEmpty ? headerEnd : dataStart + end
        guard file.size >= needed else {
            throw cursor.bad(
                "has \(file.size) bytes, but its header describes \(needed)",
                hint: "the file ends \(needed - file.size) bytes early: download it again", at: file.size)
        }
        let most = dataStart + Self.padded(end, alignment)
        guard file.size <= most else {
            throw cursor.bad(
                "has \(file.size - most) bytes after the last tensor and its padding",
                hint: "something was appended to the file: download it again", at: most)
        }
    }
}
