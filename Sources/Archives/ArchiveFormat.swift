import Problems

/// Constants and limits of the packed archive; `formats/adapter-archive.md` specifies it.
public enum ArchiveFormat {
    /// The version that is written, and the only one that is read.
    public static let version = "1"
    /// Keys of the header's metadata.
    static let versionKey = "adapterkit.archive"
    static let contentKey = "adapterkit.content"
    static let directoryKey = "adapterkit.directory"
    /// The name of the tensor that holds the directory.
    static let directoryName = "//directory"
    /// What the paths of a recipe's inputs begin with.
    static let inputPrefix = "//input/"
    /// Bytes of a chunk of floating-point numbers, whose planes stay in the second-level cache.
    ///
    /// zlib begins a new block, with a new table, after 32,767 symbols: planes of 8, 4, 2 and 1 times that, and a little less.
    static let floatChunk = 262_128
    /// Bytes of a chunk of anything else; larger, since matches do not reach over its start.
    static let byteChunk = 1 << 20
    /// Readers refuse larger chunks.
    static let largestChunk = 16 << 20
    /// No byte that deflate makes stands for more than this many.
    static let largestRatio = 1032
    /// How many parts may refer to one source, so that a few lines cannot stand for very many bytes.
    static let mostUses = 16
    /// Headers of archives are short: they name files, not tensors.
    static let largestHeader = 8 << 20
    /// The most planes in an archive of `size` bytes.
    static func mostPlanes(_ size: Int) -> Int { (1 << 19) + size / 1000 }
    /// The largest directory in an archive of `size` bytes.
    static func largestDirectory(_ size: Int) -> Int { (16 << 20) + size / 1000 }

    /// The name of the tensor that holds the stream of the file at `path`.
    static func streamName(_ path: String) -> String { path == "__metadata__" ? "//" + path : path }
}

/// How the bytes of a part become planes.
public enum PartCode: Hashable, Sendable {
    /// As they are, in one plane.
    case bytes
    /// Elements rotated left by one bit.
    case rotated(width: Int)
    /// Elements rotated, and cut so that the first plane has the exponent's lower six bits and two bits of the mantissa.
    case joint(width: Int)
    /// Elements as differences to a source.
    case difference(width: Int, source: Int)
    /// The same, ordered by the source's bits from `shift`.
    case grouped(width: Int, shift: Int, source: Int)
    /// The source's bytes.
    case copy(source: Int)
    /// What the recipe makes of the source.
    case merged(source: Int)

    /// Planes of a chunk.
    var planes: Int {
        switch self {
        case .bytes: 1
        case .rotated(let width), .difference(let width, _), .grouped(let width, _, _): width
        case .joint(let width): width + 1
        case .copy, .merged: 0
        }
    }

    /// Bytes of an element.
    var width: Int {
        switch self {
        case .bytes, .copy, .merged: 1
        case .rotated(let width), .joint(let width), .difference(let width, _), .grouped(let width, _, _): width
        }
    }

    /// Bytes of plane number `index` of a chunk of `count` elements.
    func planeSize(_ index: Int, _ count: Int) -> Int {
        guard case .joint(let width) = self, index >= width - 1 else { return count }
        return (index == width - 1 ? 3 : 1) * ((count + 3) / 4)
    }

    /// Bytes of all planes of a chunk of `size` bytes.
    func planesSize(_ size: Int) -> Int {
        (0..<planes).reduce(0) { $0 + planeSize($1, size / width) }
    }

    /// The source that it needs, by its place in the directory.
    var source: Int? {
        switch self {
        case .bytes, .rotated, .joint: nil
        case .difference(_, let source), .grouped(_, _, let source), .copy(let source), .merged(let source): source
        }
    }

    /// As it stands in the directory.
    var text: String {
        switch self {
        case .bytes: "bytes"
        case .rotated(let width): "rotated\(width)"
        case .joint(let width): "joint\(width)"
        case .difference(let width, let source): "difference\(width)@\(source)"
        case .grouped(let width, let shift, let source): "grouped\(width).\(shift)@\(source)"
        case .copy(let source): "copy@\(source)"
        case .merged(let source): "merged@\(source)"
        }
    }

    /// Reads the directory's form.
    init?(_ text: String) {
        let ends = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
        let (word, source) = (ends[0], ends.count > 1 ? decimal(ends[1].utf8) : nil)
        if ends.count > 1, source == nil { return nil }
        let stem = word.prefix { $0.isLetter }
        let tail = word.dropFirst(stem.count).split(separator: ".", omittingEmptySubsequences: false)
        let width = tail.first.flatMap { decimal($0.utf8) }
        let isWidth = width.map([1, 2, 4, 8].contains) ?? false
        switch (String(stem), source) {
        case ("bytes", nil) where word == "bytes": self = .bytes
        case ("rotated", nil) where isWidth && tail.count == 1: self = .rotated(width: width ?? 1)
        case ("joint", nil) where isWidth && width != 1 && tail.count == 1: self = .joint(width: width ?? 2)
        case ("difference", let source?) where isWidth && tail.count == 1:
            self = .difference(width: width ?? 1, source: source)
        case ("grouped", let source?) where isWidth && tail.count == 2:
            guard let width, let shift = decimal(tail[1].utf8), shift < 8 * width else { return nil }
            self = .grouped(width: width, shift: shift, source: source)
        case ("copy", let source?) where word == "copy": self = .copy(source: source)
        case ("merged", let source?) where word == "merged": self = .merged(source: source)
        default: return nil
        }
    }
}

extension PartCode {
    /// The same with another source.
    func with(source: Int) -> PartCode {
        switch self {
        case .bytes, .rotated, .joint: self
        case .difference(let width, _): .difference(width: width, source: source)
        case .grouped(let width, let shift, _): .grouped(width: width, shift: shift, source: source)
        case .copy: .copy(source: source)
        case .merged: .merged(source: source)
        }
    }
}

/// A decimal number without sign or leading zeros; `nil` for anything else, and beyond 2^62.
func decimal(_ digits: some Collection<UInt8>) -> Int? {
    guard let first = digits.first, digits.count <= 19, digits.count == 1 || first != UInt8(ascii: "0") else {
        return nil
    }
    var value = 0
    for digit in digits {
        guard (0x30...0x39).contains(digit), value < 1 << 58 else { return nil }
        value = value * 10 + Int(digit - 0x30)
    }
    return value
}
