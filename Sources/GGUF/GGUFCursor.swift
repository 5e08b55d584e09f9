import Files
import Problems
import StrictJSON

/// Reads the header of a GGUF file from front to back; nothing is allocated by the file's word alone.
struct GGUFCursor: ~Copyable {
    private let file: any ByteSource
    /// Where the next byte is in the file.
    private(set) var position = 0
    /// The header ends before this byte: the end of the file, or the limit.
    private let end: Int
    /// Bytes from `windowStart`; the header's length is not known before it is read.
    private var window: [UInt8] = []
    private var windowStart = 0

    private static let windowSize = 1 << 16

    init(_ file: any ByteSource) {
        self.file = file
        end = min(file.size, GGUFHeader.largestHeader)
    }

    /// Bytes that may still follow.
    var remaining: Int { end - position }

    /// The header breaks the format.
    func bad(_ message: String, hint: String? = nil, tensor: String? = nil, at offset: Int? = nil) -> Problem {
        GGUFHeader.bad(file.path, message, hint: hint, tensor: tensor, at: offset ?? position)
    }

    /// Throws unless `count` units of at least `size` bytes can follow.
    func require(_ count: UInt64, of size: Int, _ what: @autoclosure () -> String) throws(Problem) {
        guard count <= UInt64(remaining / size) else { throw short(count, size, what()) }
    }

    private func short(_ count: UInt64, _ size: Int, _ what: String) -> Problem {
        if end < file.size {
            return bad(
                "has a header of more than \(GGUFHeader.largestHeader) bytes", hint: "no real model comes near this")
        }
        let (needed, overflow) = count.multipliedReportingOverflow(by: UInt64(size))
        let claim = overflow ? "more bytes than can be counted" : "at least \(needed) bytes"
        return bad(
            "needs \(claim) for \(what), but only \(remaining) follow",
            hint: "the file is cut short or damaged: download it again")
    }

    /// A little-endian number.
    mutating func integer<T: FixedWidthInteger>(_ what: @autoclosure () -> String) throws(Problem) -> T {
        let size = T.bitWidth / 8
        try require(1, of: size, what())
        try fill(size)
        var value: T = 0
        let start = position - windowStart
        for at in 0..<size { value |= T(truncatingIfNeeded: window[start + at]) << T(8 * at) }
        position += size
        return value
    }

    /// Makes sure that `count` bytes from `position`, which are in the file, are in the window.
    private mutating func fill(_ count: Int) throws(Problem) {
        if position >= windowStart, position + count <= windowStart + window.count { return }
        window = try file.read(at: position, count: min(max(count, Self.windowSize), end - position))
        windowStart = position
    }

    /// A string: its length in eight bytes, then UTF-8.
    mutating func string(_ what: @autoclosure () -> String) throws(Problem) -> String {
        let place = position
        let length: UInt64 = try integer("the length of \(what())")
        try require(length, of: 1, what())
        let count = Int(length)
        let text: String?
        if count <= Self.windowSize {
            try fill(count)
            let start = position - windowStart
            text = Self.decode(window, start..<start + count)
        } else {
            text = Self.decode(try file.read(at: position, count: count), 0..<count)
        }
        guard let text else { throw bad("has text that is no UTF-8 in \(what())", at: place + 8) }
        position += count
        return text
    }

    private static func decode(_ bytes: [UInt8], _ range: Range<Int>) -> String? {
        String(validating: bytes[range], as: UTF8.self)
    }

    /// A string that names something: it is not empty, not too long, and no C program would cut it short.
    mutating func name(_ what: String) throws(Problem) -> String {
        let place = position
        let name = try string("the name of \(what)")
        guard !name.isEmpty else { throw bad("has \(what) with an empty name", at: place) }
        guard name.utf8.count <= GGUFHeader.largestName else {
            throw bad(
                "has \(what) with a name of \(name.utf8.count) bytes, but at most \(GGUFHeader.largestName) make sense",
                at: place)
        }
        guard !name.utf8.contains(0) else { throw bad("has \(what) with a zero byte in its name", at: place) }
        return name
    }
}
